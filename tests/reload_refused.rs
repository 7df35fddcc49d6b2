//! A reload that is refused: nothing has happened, and everybody can see why.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use a3s_gateway::Gateway;
use a3s_gateway::config::GatewayConfig;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use support::gateway::Port;
use support::{Client, Log, Server, Setup, TestGateway, within};

/// A gateway before a reload, and the client and server that watch it.
struct Watched {
    gateway: TestGateway,
    client: Client,
    server: Server,
    config: Value,
    entrypoints: Value,
    services: Value,
    failures: f64,
    series: Vec<String>,
    log: Log,
}

const FAILURES: &str = r#"gateway_config_reloads_total{result="failure"}"#;

/// The names of all series that are scraped.
fn series(gateway: &TestGateway) -> Vec<String> {
    let text = gateway.metrics();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, _)| name.to_owned())
        .collect()
}

impl Watched {
    async fn start(setup: &Setup, server: Server) -> Self {
        Self::of(setup.clone().admin().start().await, server).await
    }

    async fn of(gateway: TestGateway, server: Server) -> Self {
        let mut client = gateway.h1().await;
        assert_eq!(client.get("/before").await.text(), "/before");
        let log = Log::start();
        Self {
            config: gateway.admin("/api/gateway/config").await,
            entrypoints: gateway.admin("/api/gateway/entrypoints").await,
            services: gateway.admin("/api/gateway/services").await,
            failures: gateway.metric(FAILURES).unwrap(),
            series: series(&gateway),
            log,
            gateway,
            client,
            server,
        }
    }

    /// Nothing has changed, and why is told in `words` by log, admin API and metric.
    async fn is_as_before(&mut self, words: &[&str]) {
        let gateway = &self.gateway;
        assert_eq!(gateway.admin("/api/gateway/config").await, self.config);
        let services = gateway.admin("/api/gateway/services").await;
        assert_eq!(services[0]["servers"], self.services[0]["servers"]);
        assert_eq!(
            services.as_array().unwrap().len(),
            self.services.as_array().unwrap().len()
        );
        let mut entrypoints = gateway.admin("/api/gateway/entrypoints").await;
        let mut before = self.entrypoints.clone();
        for list in [&mut entrypoints, &mut before] {
            // The admin API's own connections come and go.
            list.as_array_mut()
                .unwrap()
                .retain(|e| e["name"] != "admin@internal");
            for entrypoint in list.as_array_mut().unwrap() {
                // And requests go on.
                for key in ["requests", "in_flight", "latency_ms"] {
                    entrypoint.as_object_mut().unwrap().shift_remove(key);
                }
            }
        }
        assert_eq!(entrypoints, before);
        assert_eq!(series(gateway), self.series, "series in the metrics");

        let health = gateway.admin("/api/gateway/health").await;
        assert_eq!(health["status"], "degraded");
        assert_eq!(health["last_reload"]["success"], false);
        let problems = health["last_reload"]["problems"].to_string();
        let logged = self.log.take();
        assert!(
            logged.contains("ERROR") && logged.contains("refused"),
            "{logged}"
        );
        for word in words {
            assert!(problems.contains(word), "no {word} in {problems}");
            assert!(logged.contains(word), "no {word} in {logged}");
        }
        self.failures += 1.0;
        assert_eq!(gateway.metric(FAILURES), Some(self.failures));
        assert_eq!(
            gateway.metric("gateway_config_last_reload_success"),
            Some(0.0)
        );
        // Whoever can serve is ready, whatever was refused.
        assert_eq!(gateway.admin("/ready").await["ready"], true);

        assert_eq!(self.client.get("/after").await.text(), "/after");
        assert_eq!(self.server.accepted(), 1);
        let mut another = gateway.h2().await;
        assert_eq!(another.get("/new").await.text(), "/new");
        drop(another);
        // What was counted for this check is no change.
        self.services = gateway.admin("/api/gateway/services").await;
        support::eventually("the client has gone", || {
            gateway.metric(r#"gateway_open_connections{entrypoint="web"}"#) == Some(1.0)
        })
        .await;
    }

    async fn is_healthy(&self) {
        let health = self.gateway.admin("/api/gateway/health").await;
        assert_eq!(health["status"], "healthy", "{health}");
        assert_eq!(health["last_reload"]["success"], true);
        assert_eq!(
            self.gateway.metric("gateway_config_last_reload_success"),
            Some(1.0)
        );
    }

    async fn refuses(&mut self, config: GatewayConfig, words: &[&str]) {
        let reload = within("a reload", self.gateway.reload(config)).await;
        let error = reload.expect_err("a refused reload").to_string();
        for word in words {
            assert!(error.contains(word), "no {word} in {error}");
        }
        self.is_as_before(words).await;
    }
}

fn is_free(address: SocketAddr) -> bool {
    // Without SO_REUSEPORT: nobody else may have it.
    TcpListener::bind(address).is_ok()
}

/// An address that nobody listens on, for now.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_configuration_that_cannot_run_changes_nothing() {
    let server = Server::start().await;
    let setup = Setup::to(&server);
    let mut watched = Watched::start(&setup, server).await;

    // Made in code: nobody has checked it yet.
    let mut dangling = watched.gateway.config().as_ref().clone();
    dangling.routers["all"].service = "backnd".to_owned();
    watched.refuses(dangling, &["backnd"]).await;

    let mut nothing = watched.gateway.config().as_ref().clone();
    nothing.services["backend"]
        .load_balancer
        .as_mut()
        .unwrap()
        .servers
        .clear();
    watched.refuses(nothing, &["backend"]).await;

    let missing = setup
        .clone()
        .admin()
        .service("safe", "https://127.0.0.1:1")
        .route("safe", "PathPrefix(`/safe`)", "safe");
    let mut missing = missing.config();
    let balancer = missing.services["safe"].load_balancer.as_mut().unwrap();
    balancer.tls.ca_file = Some("/nowhere/ca.pem".into());
    watched.refuses(missing, &["ca_file"]).await;

    watched.gateway.become_(&setup.clone().admin()).await;
    watched.is_healthy().await;
    assert_eq!(watched.client.get("/").await.text(), "/");
}

#[tokio::test]
async fn an_address_in_use_changes_nothing_and_lets_go_of_what_was_bound_beside_it() {
    let server = Server::start().await;
    let setup = Setup::to(&server).admin();
    let mut watched = Watched::start(&setup, server).await;
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = foreign.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("socket");
    let beside = free();
    // In the order of their declaration: one before it, one after it.
    let next = setup
        .clone()
        .set(
            "entrypoints/a_unix/address",
            format!("unix:{}", file.display()),
        )
        .set("entrypoints/beside/address", beside.to_string())
        .set("entrypoints/taken/address", taken.to_string())
        .set("entrypoints/later/address", "127.0.0.1:0")
        // It would go, and may not.
        .without("entrypoints/web/address")
        .set("entrypoints/web/address", free().to_string())
        .route("new", "PathPrefix(`/new`)", "backend");
    for _ in 0..3 {
        let words = ["`taken`", &taken.to_string(), "in use"];
        watched.refuses(next.config(), &words).await;
        assert!(is_free(beside), "still bound");
        assert!(!file.exists(), "a socket without an owner");
    }
    // The foreign server is not disturbed by it.
    let ours = tokio::net::TcpStream::connect(taken).await.unwrap();
    assert_eq!(foreign.accept().unwrap().1, ours.local_addr().unwrap());

    // When the address is free, the same configuration runs.
    drop((foreign, ours));
    watched.gateway.become_(&next).await;
    watched.is_healthy().await;
    assert!(!is_free(beside) && !is_free(taken) && file.exists());
}

#[tokio::test]
async fn no_client_finds_a_port_open_that_a_refused_reload_would_have_opened() {
    let server = Server::start().await;
    let setup = Setup::to(&server);
    let gateway = setup.start().await;
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = Port::reserve();
    let next = setup
        .set("entrypoints/beside/address", port.address().to_string())
        .set(
            "entrypoints/taken/address",
            foreign.local_addr().unwrap().to_string(),
        );
    let address = port.address();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let knocking = tokio::spawn(async move {
        let mut knocks = 0;
        while stopped.try_recv().is_err() {
            assert!(tokio::net::TcpStream::connect(address).await.is_err());
            knocks += 1;
            tokio::task::yield_now().await;
        }
        knocks
    });
    for _ in 0..50 {
        gateway.reload(next.config()).await.expect_err("in use");
    }
    stop.send(()).unwrap();
    assert!(knocking.await.unwrap() > 50);
}

#[tokio::test]
async fn a_unix_socket_in_use_is_not_taken_over() {
    let server = Server::start().await;
    let setup = Setup::to(&server).admin();
    let mut watched = Watched::start(&setup, server).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("socket");
    let foreign = std::os::unix::net::UnixListener::bind(&file).unwrap();
    let address = format!("unix:{}", file.display());
    let next = setup.set("entrypoints/local/address", address);
    watched.refuses(next.config(), &["`local`", "in use"]).await;
    assert!(std::os::unix::net::UnixStream::connect(&file).is_ok());
    // One that nobody listens on any more is.
    drop(foreign);
    watched.gateway.become_(&next).await;
    watched.is_healthy().await;
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing_bound_and_may_be_tried_again() {
    let server = Server::start().await;
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let beside = free();
    let setup = Setup::to(&server)
        .set("entrypoints/beside/address", beside.to_string())
        .set(
            "entrypoints/taken/address",
            foreign.local_addr().unwrap().to_string(),
        );
    let gateway = Gateway::new(setup.config()).unwrap();
    let error = gateway.start().await.expect_err("in use").to_string();
    assert!(error.contains("`taken`"), "{error}");
    assert!(is_free(beside));
    assert_eq!(json!(gateway.state()), "created");
    drop(foreign);
    gateway.start().await.expect("free now");
    assert!(!is_free(beside));
    assert_eq!(json!(gateway.state()), "running");
    let error = gateway
        .start()
        .await
        .expect_err("started twice")
        .to_string();
    assert!(error.contains("started already"), "{error}");
    within("the end", gateway.shutdown()).await;
    let reload = gateway.reload(setup.config()).await;
    assert!(reload.is_err(), "a reload of what has ended");
}

// From a file.

/// A configuration in a file, and a gateway that runs it.
struct Filed {
    _directory: tempfile::TempDir,
    file: std::path::PathBuf,
    text: String,
    watched: Watched,
}

impl Filed {
    async fn start(setup: Setup, server: Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gateway.hcl");
        let text = setup.admin().text();
        std::fs::write(&file, &text).unwrap();
        let config = GatewayConfig::from_file(&file).await.unwrap();
        let gateway = TestGateway::start(config, true).await;
        Self {
            _directory: directory,
            file,
            text,
            watched: Watched::of(gateway, server).await,
        }
    }

    async fn write(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
    }

    /// Waits until the last reload is one that ended so.
    async fn noted(&self, success: bool) {
        let gateway = &self.watched.gateway;
        support::eventually("the reload is noted", || {
            let last = gateway.health().last_reload;
            last.is_some_and(|last| last.success == success)
        })
        .await;
    }
}

#[tokio::test]
async fn a_file_with_a_problem_changes_nothing_and_the_way_back_is_a_good_reload() {
    let server = Server::start().await;
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = foreign.local_addr().unwrap().to_string();
    let setup = Setup::to(&server);
    let new = |key: &str, value: &str| setup.clone().set(key, value).admin().text();
    let rule = new("routers/all/rule", "PathPrefx(`/`)");
    let dangling = new("routers/all/service", "backnd");
    let unknown = new("entrypoints/web/adress", "127.0.0.1:1");
    let in_use = new("entrypoints/taken/address", &taken);
    let missing = setup
        .clone()
        .admin()
        .service("safe", "https://127.0.0.1:1")
        .set("services/safe/load_balancer/tls/ca_file", "ca.pem")
        .route("safe", "PathPrefix(`/safe`)", "safe")
        .text();
    let mut filed = Filed::start(setup.clone(), server).await;
    let half = filed.text[..filed.text.len() / 2].to_owned();
    for (text, words) in [
        (
            rule.as_str(),
            &["gateway.hcl:", "PathPrefx", "PathPrefix"][..],
        ),
        (&dangling, &["gateway.hcl:", "`backnd`", "`backend`"]),
        (&unknown, &["gateway.hcl:", "`adress`", "`address`"]),
        ("", &["gateway.hcl", "empty"]),
        ("\n  \n", &["gateway.hcl", "empty"]),
        ("# nothing but a remark\n", &["entrypoint"]),
        (&half, &["gateway.hcl:"]),
        (&in_use, &["`taken`", &taken, "in use"]),
        (&missing, &["gateway.hcl:", "`ca_file`", "no such file"]),
    ] {
        filed.write(text).await;
        filed.noted(false).await;
        filed.watched.is_as_before(words).await;
        // Nothing is new: the configuration that runs is in the file again.
        filed.write(&filed.text).await;
        filed.noted(true).await;
        filed.watched.is_healthy().await;
        filed.watched.log.take();
    }
    // The file itself may go, and come back.
    std::fs::remove_file(&filed.file).unwrap();
    filed.noted(false).await;
    filed.watched.is_as_before(&["gateway.hcl"]).await;
    filed.write(&filed.text).await;
    filed.noted(true).await;
    filed.watched.is_healthy().await;
}

#[tokio::test]
async fn several_problems_are_told_at_once_and_the_last_of_several_refusals_is_shown() {
    let server = Server::start().await;
    let setup = Setup::to(&server);
    let mut filed = Filed::start(setup.clone(), server).await;
    let text = setup
        .clone()
        .route("bad", "Host(", "backend")
        .route("worse", "Path(`/`)", "nobody")
        .admin()
        .text();
    filed.write(&text).await;
    filed.noted(false).await;
    filed
        .watched
        .is_as_before(&["never closed", "`nobody`"])
        .await;
    let problems = filed.watched.gateway.health().last_reload.unwrap().problems;
    assert_eq!(problems.len(), 2, "{problems:?}");

    filed.write("").await;
    let gateway = &filed.watched.gateway;
    support::eventually("the second refusal is noted", || {
        let last = gateway.health().last_reload.unwrap();
        last.problems.len() == 1
    })
    .await;
    filed.watched.is_as_before(&["empty"]).await;
    // From one that is refused to one that is new.
    filed
        .write(&setup.admin().route("x", "Path(`/x`)", "backend").text())
        .await;
    filed.noted(true).await;
    filed.watched.is_healthy().await;
    assert!(filed.watched.gateway.config().routers.contains_key("x"));
}
