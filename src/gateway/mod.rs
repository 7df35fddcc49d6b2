//! The gateway: it starts, is changed while it runs, and ends without losing a request.

mod builder;
mod datagrams;
mod entrypoint;
mod explain;
mod plan;
mod prove;
mod reload;
mod signals;
mod watch;

pub use builder::GatewayBuilder;
pub use plan::{Action, Change, Plan};

use crate::admin::{self, Live, State};
use crate::compile::CustomTypes;
use crate::config::{Diagnostics, GatewayConfig};
use crate::error::{Error, Result};
use crate::provider::Reload;
use crate::serve::listener::Bind;
use crate::serve::worker::{self, Workers};
use crate::stack::shard::use_shard;
use crate::telemetry::RunningSignals;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::text::Form;
use crate::upstream::sweep_idle_connections;
use reload::Running;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;

/// A gateway. It has worker threads of its own for requests; the runtime that starts it is used to watch
/// files and to reload.
///
/// ```no_run
/// # async fn run() -> a3s_gateway::Result<()> {
/// use a3s_gateway::{Gateway, config::GatewayConfig};
///
/// let config = GatewayConfig::from_file("gateway.hcl").await?;
/// let gateway = Gateway::new(config)?;
/// gateway.start().await?;
/// gateway.wait_for_shutdown().await;
/// # Ok(())
/// # }
/// ```
pub struct Gateway {
    shared: Arc<Shared>,
    first: Mutex<Option<GatewayConfig>>,
    /// What watches for changes; it ends with the gateway.
    tasks: Mutex<JoinSet<()>>,
    reread: Mutex<Option<Reload>>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// What the gateway and its tasks have in common.
struct Shared {
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    signals: RunningSignals,
    types: Arc<CustomTypes>,
    /// One change at a time.
    running: Mutex<Option<Running>>,
}

impl Gateway {
    /// A gateway that will run `config`.
    ///
    /// # Errors
    /// The configuration has problems: all of them are told at once.
    pub fn new(config: GatewayConfig) -> Result<Self> {
        Self::with_types(config, CustomTypes::new())
    }

    /// A gateway that will run `config`, with types of middlewares of the program's own in its configuration.
    ///
    /// ```
    /// use a3s_gateway::{Gateway, config::GatewayConfig};
    /// use a3s_layers::headers::{HeaderEdits, HeadersLayer};
    ///
    /// let config = GatewayConfig::from_hcl(r#"
    ///     entrypoints "web" { address = "127.0.0.1:0" }
    ///     routers "all" {
    ///       rule        = "PathPrefix(`/`)"
    ///       service     = "hello"
    ///       middlewares = ["stage"]
    ///     }
    ///     services "hello" {
    ///       respond { body = "hello" }
    ///     }
    ///     middlewares "stage" {
    ///       type = "stage"
    ///       name = "test"
    ///     }
    /// "#)?;
    /// let gateway = Gateway::builder(config)
    ///     .layer("stage", |settings| {
    ///         let name = settings["name"].as_str().ok_or("`name` is missing")?;
    ///         Ok(HeadersLayer::new().response(HeaderEdits::new().set("X-Stage", name)?))
    ///     })
    ///     .build()?;
    /// # Ok::<_, a3s_gateway::Error>(())
    /// ```
    pub fn builder(config: GatewayConfig) -> GatewayBuilder {
        GatewayBuilder::new(config)
    }

    fn with_types(config: GatewayConfig, types: CustomTypes) -> Result<Self> {
        reload::check(&config, &types)?;
        let metrics = Arc::new(Metrics::new(worker::available()));
        let live = Arc::new(Live::new(Arc::clone(&metrics)));
        Ok(Self {
            shared: Arc::new(Shared {
                live,
                metrics,
                signals: RunningSignals::default(),
                types: Arc::new(types),
                running: Mutex::default(),
            }),
            first: Mutex::new(Some(config)),
            tasks: Mutex::default(),
            reread: Mutex::default(),
        })
    }

    /// Checks and compiles `config` as a start would, and starts nothing.
    ///
    /// # Errors
    /// What [`Gateway::new`] and [`Gateway::start`] would refuse, but for addresses in use.
    pub fn validate(config: &GatewayConfig) -> Result<()> {
        reload::or_refused(Self::test(config)?)
    }

    /// As [`Gateway::validate`], and tells of the configuration's own tests that fail, each at its place. Those are
    /// errors unless `on_test_failure` says otherwise.
    ///
    /// # Errors
    /// What [`Gateway::new`] and [`Gateway::start`] would refuse before they run the tests.
    pub fn test(config: &GatewayConfig) -> Result<Diagnostics> {
        let gateway = Self::new(config.clone())?;
        let explainer = gateway.shared.rehearse(config)?;
        Ok(prove::prove(config, &explainer))
    }

    /// Binds every entrypoint and serves.
    ///
    /// # Errors
    /// An address cannot be listened on, or what the configuration names cannot be used; nothing runs then.
    pub async fn start(&self) -> Result<()> {
        let mut first = self.first.lock().await;
        let Some(config) = first.as_ref() else {
            return Err(Error::State("started already"));
        };
        let prepare = |index| {
            use_shard(index);
            tokio::spawn(sweep_idle_connections());
        };
        let workers = Workers::start(worker::available(), prepare).map_err(Error::Workers)?;
        *self.shared.running.lock().await = Some(Running::new(workers));
        let source = config.source.clone();
        if let Err(error) = self.shared.apply(config.clone()).await {
            *self.shared.running.lock().await = None;
            return Err(error);
        }
        *first = None;
        if let Some(source) = source {
            *self.reread.lock().await = Some(self.watch(source).await);
        }
        Ok(())
    }

    /// Runs `config` from now on. What has not changed goes on: connections, counts, requests under way.
    ///
    /// # Errors
    /// As [`Gateway::new`] and [`Gateway::start`]; the running configuration stays.
    pub async fn reload(&self, config: GatewayConfig) -> Result<()> {
        self.shared.reload(config).await
    }

    /// Stops listening, lets requests under way finish within `shutdown_timeout_secs`, and ends.
    pub async fn shutdown(&self) {
        self.tasks.lock().await.abort_all();
        self.shared.shutdown().await;
    }

    /// Waits until the gateway has ended, by [`Gateway::shutdown`] or by a signal: SIGTERM and SIGINT shut
    /// it down, a second one ends the process at once, SIGHUP reads the configuration again, SIGUSR1 opens the access
    /// log anew.
    pub async fn wait_for_shutdown(&self) {
        let ended = self.shared.live.wait_for(State::Stopped);
        tokio::select! {
            () = ended => {}
            () = signals::run(self) => {}
        }
    }

    /// Reads the configuration's file again, if it came from one, and runs it.
    pub async fn reread(&self) {
        match &*self.reread.lock().await {
            Some(reload) => reload.now(),
            None => tracing::warn!(
                "the configuration came from no file: there is nothing to read again"
            ),
        }
    }

    /// Opens the file of the access log anew, as SIGUSR1 does: after it was moved away.
    pub fn reopen_access_log(&self) {
        if let Some(log) = &self.shared.signals.load().access_log {
            log.sink().reopen();
        }
    }

    /// How the gateway is.
    pub fn health(&self) -> admin::Health {
        self.shared.live.health()
    }

    /// All metrics, in the text of Prometheus.
    pub fn metrics(&self) -> String {
        self.shared.live.metrics_text(Form::Prometheus)
    }

    /// The running configuration.
    pub fn config(&self) -> Arc<GatewayConfig> {
        Arc::clone(&self.shared.live.snapshot().config)
    }

    /// Tells of each configuration that takes effect; it has the empty one until the first does.
    pub fn watch_config(&self) -> Receiver<Arc<GatewayConfig>> {
        self.shared.live.configs()
    }

    /// Where it is in its life.
    pub fn state(&self) -> State {
        self.shared.live.state()
    }

    /// Where an entrypoint listens, with the port that the system chose; the admin API's is `admin@internal`.
    pub async fn local_address(&self, entrypoint: &str) -> Option<Bind> {
        let running = self.shared.running.lock().await;
        running.as_ref()?.local_address(entrypoint)
    }
}
