//! What becomes of a request, by the configuration that runs or by one that does not.

use super::Gateway;
use crate::admin::State;
use crate::compile::Addresses;
use crate::config::GatewayConfig;
use crate::dispatch::explain::{Explainer, Explanation, Question};
use crate::error::Result;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

impl Gateway {
    /// Tells what would become of a request now: of the routers, the layers and the servers as they are. Nothing is
    /// sent, counted or remembered. Before the start it is told as by [`Gateway::explain_offline`].
    ///
    /// # Errors
    /// No entrypoint is for it.
    pub async fn explain(&self, question: &Question) -> Result<Explanation> {
        if self.state() == State::Created
            && let Some(config) = &*self.first.lock().await
        {
            return Ok(self.explainer(config)?.explain(question).await?);
        }
        let snapshot = self.shared.live.snapshot();
        Ok(snapshot.explainer.explain(question).await?)
    }

    /// Tells what would become of a request by a configuration that does not run: all of its servers are taken to be
    /// there and well, and nothing was counted before. Nobody is asked, not even for a name.
    ///
    /// ```
    /// use a3s_gateway::{Gateway, Question, config::GatewayConfig};
    ///
    /// # tokio_test::block_on(async {
    /// let config = GatewayConfig::from_hcl(r#"
    ///     entrypoints "web" { address = "127.0.0.1:80" }
    ///     routers "hello" {
    ///       rule    = "Path(`/hello`)"
    ///       service = "hello"
    ///     }
    ///     services "hello" {
    ///       respond { body = "hello" }
    ///     }
    /// "#)?;
    /// let question = Question::new("GET", "http://localhost/bye")?;
    /// let explained = Gateway::explain_offline(&config, &question).await?;
    /// assert_eq!(explained.router, None);
    /// assert_eq!(explained.candidates[0].failed[0].found, "the path is `/bye`");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The configuration cannot be used, or no entrypoint of it is for the request.
    pub async fn explain_offline(
        config: &GatewayConfig,
        question: &Question,
    ) -> Result<Explanation> {
        let explainer = Self::new(config.clone())?.explainer(config)?;
        Ok(explainer.explain(question).await?)
    }

    fn explainer(&self, config: &GatewayConfig) -> Result<Arc<Explainer>> {
        self.shared.rehearse(config)
    }
}

/// Stands for each name of a server, as nobody is asked for any: an address of each kind, so that the server is known
/// by its name.
pub(super) fn stand_ins(config: &GatewayConfig) -> Addresses {
    let nowhere = [
        IpAddr::from(Ipv6Addr::UNSPECIFIED),
        IpAddr::from(Ipv4Addr::UNSPECIFIED),
    ];
    let services = config.services.values();
    let servers = services.flat_map(|service| service.servers());
    let names = servers.filter_map(|server| server.url.name());
    names
        .map(|name| (Arc::from(name), Arc::from(nowhere)))
        .collect()
}
