//! Servers die, hang, lie, slow down and come back under steady load, and clients do not notice; nor do reloads
//! meanwhile lose anything that the gateway knows.
//!
//! What cannot be kept from a client is an answer that its server breaks off: once its head has been passed on, no
//! other try can take it back (though a client may see nothing but the end of its connection or stream, where that has
//! overtaken the head). Such answers are counted: there are some where a server does that, never more than it has broken
//! off, and none otherwise. Everything else is to be 200 and right.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::bystanders::{Bystanders, PER_LOOK};
use support::load::Tally;
use support::rogue::HEALTH;
use support::{
    Load, Manner, Operator, Question, Rogue, Setup, TestGateway, Told, eventually, watched, within,
};

const STRATEGIES: [&str; 2] = ["round-robin", "p2c-ewma"];

/// How long a server that is well takes for an answer, and one that has become slow.
const QUICK: Duration = Duration::from_millis(10);
const SLOW: Duration = Duration::from_millis(100);

/// Clients with a connection of HTTP/1.1 each, and streams on the one of HTTP/2.
const CLIENTS: (usize, usize) = (6, 4);

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(5);

/// What befalls a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ill {
    Killed,
    Hangs,
    Resets,
    Rubbish,
    Slow,
}

const ILLS: [Ill; 5] = [
    Ill::Killed,
    Ill::Hangs,
    Ill::Resets,
    Ill::Rubbish,
    Ill::Slow,
];

/// Asks for one page after the other; every third request is a `PUT` of some bytes that come back.
#[derive(Debug, Default)]
struct Pages {
    may_break: AtomicBool,
}

impl Question for Arc<Pages> {
    type Asked = ();

    fn ask(&self, number: u64) -> (String, ()) {
        (format!("/{number}"), ())
    }

    fn upload(&self, path: &str) -> Option<Bytes> {
        let number: u64 = path[1..].parse().unwrap();
        let body = || Bytes::from(path.repeat(100));
        number.is_multiple_of(3).then(body)
    }

    fn check(&self, path: &str, (): (), body: &str) -> Result<(), String> {
        let sent = self.upload(path).unwrap_or_default();
        let sent = String::from_utf8_lossy(&sent);
        match body.split_once(' ') {
            Some(("a" | "b" | "c", rest)) if rest == format!("{path} {sent}") => Ok(()),
            _ => Err("no server says so".to_owned()),
        }
    }

    fn may_break(&self) -> bool {
        self.may_break.load(Ordering::SeqCst)
    }
}

/// The service that is under load, `backend`, with one configuration or another.
fn setup(strategy: &str, servers: &[Rogue; 3], generation: usize) -> Setup {
    let weight = 1 + generation % 2;
    let list = servers.iter().map(|server| server.to_string());
    let list: Value = list
        .map(|url| json!({ "url": url, "weight": weight }))
        .collect();
    let health_check = json!({
        "path": HEALTH,
        "interval": "100ms",
        "timeout": "500ms",
        "unhealthy_threshold": 2,
        "healthy_threshold": 2,
    });
    let setup = watched(Setup::to_each(servers))
        .balancer("servers", list)
        .balancer("strategy", strategy)
        .balancer("health_check", health_check)
        .balancer(
            "outlier",
            json!({ "consecutive_errors": 3, "ejection": "300ms" }),
        )
        .balancer("timeouts", json!({ "connect": "1s", "response": "500ms" }))
        .set(
            "middlewares/again",
            json!({ "type": "retry", "retry_interval_ms": 10 }),
        )
        .set("routers/all/middlewares", json!(["again"]))
        .with_all_workers();
    match generation % 2 {
        0 => setup,
        _ => setup.route("more", "Path(`/more`)", "backend"),
    }
}

/// Three servers, a gateway before them that looks after them, and clients.
struct Scene {
    strategy: &'static str,
    servers: [Rogue; 3],
    gateway: Arc<TestGateway>,
    operator: Operator,
    pages: Arc<Pages>,
    load: Load,
}

impl Scene {
    async fn new(strategy: &'static str, servers: [Rogue; 3], setup: &Setup) -> Self {
        let gateway = Arc::new(setup.start().await);
        let pages = Arc::new(Pages::default());
        let question = Arc::clone(&pages);
        Self {
            strategy,
            load: Load::start(gateway.address(), CLIENTS, Told::Reconnects, question).await,
            operator: Operator::of(&gateway).await,
            servers,
            gateway,
            pages,
        }
    }

    fn tally(&self) -> &Tally {
        &self.load.tally
    }

    fn requests(&self) -> [usize; 3] {
        [0, 1, 2].map(|server| self.servers[server].requests())
    }

    /// How a server stands.
    async fn state(&mut self, server: usize) -> String {
        let address = self.servers[server].address();
        let shown = self.operator.server("backend", address).await;
        shown["state"].as_str().unwrap().to_owned()
    }

    async fn becomes(&mut self, server: usize, state: &str) {
        let what = format!("server {server} is {state}");
        within(&what, async {
            while self.state(server).await != state {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }

    /// So many more answers come, while a server goes on to stand so.
    async fn more(&mut self, answers: u64, server: usize, state: &str) {
        let answered = |scene: &Self| scene.tally().answered.load(Ordering::Relaxed);
        let enough = answered(self) + answers;
        within("answers", async {
            while answered(self) < enough {
                assert_eq!(self.state(server).await, state);
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }

    /// Every ill befalls one server, and then another.
    async fn suffers_all(&mut self) {
        for (number, ill) in ILLS.into_iter().enumerate() {
            self.suffers(ill, number % 3).await;
        }
    }

    /// One server falls ill, its clients are served by the others, and it recovers.
    async fn suffers(&mut self, ill: Ill, server: usize) {
        let broken = self.tally().broken.load(Ordering::Relaxed);
        let halves = self.servers[server].halves();
        self.pages
            .may_break
            .store(ill == Ill::Resets, Ordering::SeqCst);
        match ill {
            Ill::Killed => self.servers[server].kill().await,
            Ill::Hangs => self.servers[server].behave(Manner::Hangs),
            Ill::Resets => self.servers[server].behave(Manner::Resets),
            Ill::Rubbish => self.servers[server].behave(Manner::Rubbish),
            Ill::Slow => self.servers[server].behave(Manner::Well(SLOW)),
        }
        match ill {
            Ill::Killed | Ill::Hangs | Ill::Rubbish => {
                self.becomes(server, "unhealthy").await;
                self.more(300, server, "unhealthy").await;
            }
            Ill::Resets => {
                self.becomes(server, "ejected").await;
                self.load.more(300).await;
            }
            Ill::Slow => self.has_its_share(server).await,
        }
        self.servers[server].behave(Manner::Well(QUICK));
        if ill == Ill::Killed {
            self.servers[server].come_back();
        }
        self.becomes(server, "healthy").await;
        let before = self.servers[server].requests();
        let is_asked = || self.servers[server].requests() > before;
        eventually("it is asked again", is_asked).await;
        self.tally().is_clean();
        let broken = self.tally().broken.load(Ordering::Relaxed) - broken;
        let halves = (self.servers[server].halves() - halves) as u64;
        println!("{ill:?}: {broken} of {halves}, {}", self.tally().numbers());
        match ill {
            Ill::Resets => assert!((1..=halves).contains(&broken), "{broken} of {halves}"),
            _ => assert_eq!((broken, halves), (0, 0)),
        }
    }

    /// A server has become slow, and gets what its strategy gives to a slow one.
    async fn has_its_share(&mut self, slow: usize) {
        // What is under way when it becomes slow, and what is learnt from that, is not counted.
        self.load.more(100).await;
        let before = self.requests();
        self.load.more(600).await;
        let after = self.requests();
        let counts = [0, 1, 2].map(|server| after[server] - before[server]);
        let all: usize = counts.iter().sum();
        let share = counts[slow] as f64 / all as f64;
        println!("slow: {share:.3} of {counts:?}");
        match self.strategy {
            // Turns are exact. They are counted by the servers, where those that are under way at the first count or
            // at the last, ten each, are off; and a machine that is busy may fail a request by its timeout.
            "round-robin" => assert!((share - 1.0 / 3.0).abs() < 0.05, "{counts:?}"),
            // Were all equally busy, a server that takes ten times as long would have a 21st, 4.8 %. It has less, for
            // two choices look at latency too, and it gets a request only where the others have a queue: 2 to 3 % as a
            // rule. On a busy machine the quick ones have peaks as well: hence twice the 21st.
            "p2c-ewma" => assert!(share < 2.0 / 21.0, "{counts:?}"),
            other => panic!("{other}: what is its share?"),
        }
    }

    /// Everything that was begun has ended.
    async fn ends(self) {
        let Self {
            load,
            gateway,
            mut operator,
            servers,
            ..
        } = self;
        let tally = load.stop().await;
        tally.is_clean();
        within("nothing is under way", async {
            let is_over = |services: &Value| {
                let services = services.as_array().unwrap().iter();
                let mut servers = services.flat_map(|each| each["servers"].as_array().unwrap());
                servers.all(|server| server["in_flight"] == 0)
            };
            while !is_over(&operator.look("/api/gateway/services").await) {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
        eventually("nor at the servers", || {
            servers.iter().all(|server| server.under_way() == 0)
        })
        .await;
        gateway.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_do_not_notice_what_befalls_servers() {
    for strategy in STRATEGIES {
        let servers = ["a", "b", "c"].map(|name| Rogue::start(name, QUICK));
        let setup = setup(strategy, &servers, 0);
        let mut scene = Scene::new(strategy, servers, &setup).await;
        scene.suffers_all().await;
        scene.ends().await;
    }
}

/// Between two reloads. The promise is for one each second; more of them in the same time are no easier.
const PAUSE: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_meanwhile_forget_nothing() {
    for strategy in STRATEGIES {
        reloads_forget_nothing(strategy).await;
    }
}

async fn reloads_forget_nothing(strategy: &'static str) {
    let servers = ["a", "b", "c"].map(|name| Rogue::start(name, QUICK));
    let bystanders = Bystanders::new();
    let setups = [0, 1].map(|generation| {
        let setup = setup(strategy, &servers, generation);
        bystanders.beside(setup, generation)
    });
    let mut scene = Scene::new(strategy, servers, &setups[0]).await;
    let gateway = Arc::clone(&scene.gateway);
    let mut known = bystanders.settle(&gateway).await;
    let requests = bystanders.requests();
    let is_over = AtomicBool::new(false);
    let reloads = async {
        let mut reloads = 0;
        while !is_over.load(Ordering::SeqCst) {
            let next = tokio::time::Instant::now() + PAUSE;
            reloads += 1;
            gateway.become_(&setups[reloads % 2]).await;
            known.is_as_before().await;
            tokio::time::sleep_until(next).await;
        }
        reloads
    };
    let ills = async {
        scene.suffers_all().await;
        is_over.store(true, Ordering::SeqCst);
    };
    let (reloads, ()) = tokio::join!(reloads, ills);
    println!("{strategy}: {reloads} reloads");
    assert!(reloads >= 10, "{reloads}");
    // Each server has had the requests of its own session, and nothing else.
    let own = reloads * PER_LOOK;
    let now = bystanders.requests();
    let more = [0, 1, 2, 3, 4].map(|server| now[server] - requests[server]);
    assert_eq!(more, [own, own, own, 0, 0]);
    bystanders.end(known).await;
    scene.ends().await;
}
