//! Sessions of a service: the cookie, and the tokens of its servers.

use crate::compile::CompileError;
use crate::config::StickyConfig;
use a3s_layers::balance::Balance;
use a3s_layers::balance::sticky::{KeepLayer, Key, SessionLayer, Sticky};
use a3s_layers::endpoint::Endpoint;

/// How the sessions of a service are kept: nothing of a client, so nothing outlives this, and sessions do all the same.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    sticky: Sticky,
    key: Key,
}

impl Sessions {
    pub(super) fn new(service: &str, config: &StickyConfig) -> Result<Self, CompileError> {
        let sticky = Sticky::new(config.cookie());
        let invalid = |error| CompileError::Invalid(format!("service `{service}`: {error}"));
        let secret = config.secret.as_ref();
        Ok(Self {
            sticky: sticky.map_err(invalid)?,
            key: Key::new(service, secret.map(|secret| secret.expose().as_bytes())),
        })
    }

    /// Reads the cookie, outside of everything that goes by it.
    pub(super) fn read(&self) -> SessionLayer {
        SessionLayer::new(&self.sticky)
    }

    /// Sets the cookie on the answers of a server.
    pub(super) fn keep(&self, server: &Endpoint) -> KeepLayer {
        KeepLayer::new(&self.sticky, self.key.server(server))
    }

    /// Goes by the cookie.
    pub(super) fn balance<S: Clone>(&self, balance: Balance<S>) -> Balance<S> {
        let key = self.key.clone();
        balance.sticky(move |server| key.server(server))
    }
}
