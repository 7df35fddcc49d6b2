//! A service of which something is known that is not to be forgotten: sessions, servers that are drained, ejected and
//! unhealthy, an answer that has not ended.

use super::client::{Client, read, request};
use super::gateway::{Setup, TestGateway};
use super::operator::Operator;
use super::rogue::{HEALTH, HELD, Manner, Rogue};
use super::within;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderValue, Response};
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::time::Duration;

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(5);

/// The servers of the service, `steady`.
#[derive(Debug)]
pub struct Bystanders {
    /// Two that are well.
    well: [Rogue; 2],
    /// It is drained, and keeps a session.
    drained: Rogue,
    /// It is ejected, for an hour.
    ejected: Rogue,
    /// It is unhealthy.
    unhealthy: Rogue,
}

/// What is known of them.
#[derive(Debug)]
pub struct Known {
    operator: Operator,
    client: Client,
    /// Sessions, by their cookie and the name of the server.
    sessions: Vec<(HeaderValue, String)>,
    /// How each server stands, and since when.
    standing: Vec<Value>,
    /// An answer that has not ended.
    held: Response<Incoming>,
    _holder: Client,
}

const STEADY: &str = "/steady";

/// Requests of each session after a reload.
pub const PER_LOOK: usize = 3;

impl Bystanders {
    /// Three that are well, and two that are not.
    pub fn new() -> Self {
        let start = |name| Rogue::start(name, Duration::ZERO);
        let (ejected, unhealthy) = (start("ejected"), start("unhealthy"));
        ejected.behave(Manner::Resets);
        unhealthy.behave(Manner::Hangs);
        Self {
            well: [start("d"), start("e")],
            drained: start("drained"),
            ejected,
            unhealthy,
        }
    }

    fn all(&self) -> [&Rogue; 5] {
        let [d, e] = &self.well;
        [d, e, &self.drained, &self.ejected, &self.unhealthy]
    }

    /// Requests so far at each.
    pub fn requests(&self) -> [usize; 5] {
        self.all().map(Rogue::requests)
    }

    /// Adds the service, with one configuration or another.
    pub fn beside(&self, setup: Setup, generation: usize) -> Setup {
        let servers: Value = (self.all().iter().enumerate())
            .map(|(number, server)| {
                json!({ "url": server.to_string(), "weight": 1 + (generation + number) % 2 })
            })
            .collect();
        let balancer = json!({
            "servers": servers,
            "health_check": { "path": HEALTH, "interval": "100ms", "timeout": "400ms" },
            "outlier": { "consecutive_errors": 3, "ejection": "1h" },
            "sticky": { "cookie": "session" },
        });
        setup.set("services/steady/load_balancer", balancer).route(
            "steady",
            &format!("Path(`{STEADY}`) || Path(`{HELD}`)"),
            "steady",
        )
    }

    async fn becomes(&self, operator: &mut Operator, server: &Rogue, state: &str) {
        let what = format!("{server} is {state}");
        within(&what, async {
            while operator.server("steady", server.address()).await["state"] != state {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }

    /// Comes to know what is not to be forgotten.
    pub async fn settle(&self, gateway: &TestGateway) -> Known {
        let mut operator = Operator::of(gateway).await;
        self.becomes(&mut operator, &self.unhealthy, "unhealthy")
            .await;
        let mut sessions: Vec<(HeaderValue, String)> = Vec::new();
        let is_ejected = async |operator: &mut Operator| {
            let shown = operator.server("steady", self.ejected.address()).await;
            shown["state"] == "ejected"
        };
        within("sessions, and an ejection", async {
            while sessions.len() < 3 || !is_ejected(&mut operator).await {
                let mut client = gateway.h1().await;
                // Whose answer breaks off has no session worth having.
                let Ok(response) = client.try_send(request("GET", STEADY)).await else {
                    continue;
                };
                let cookie = response.headers()[SET_COOKIE].clone();
                let Ok(reply) = read(response).await else {
                    continue;
                };
                let name = reply.text().split(' ').next().unwrap().to_owned();
                if sessions.iter().all(|(_, known)| *known != name) {
                    let pair = cookie.to_str().unwrap().split(';').next().unwrap();
                    sessions.push((pair.parse().unwrap(), name));
                }
            }
        })
        .await;
        let drained = self.drained.address().to_string();
        operator.steer("steady", &drained, "drain").await;
        let mut holder = gateway.h1().await;
        let mut request = request("GET", HELD);
        let (cookie, _) = sessions.iter().find(|(_, name)| name == "d").unwrap();
        request.headers_mut().insert(COOKIE, cookie.clone());
        let held = holder.send(request).await;
        let mut known = Known {
            operator,
            client: gateway.h1().await,
            sessions,
            standing: Vec::new(),
            held,
            _holder: holder,
        };
        known.standing = known.look().await;
        let states = known.standing.iter().map(|standing| &standing["state"]);
        let states: Vec<_> = states.collect();
        let expected = ["healthy", "healthy", "drained", "ejected", "unhealthy"];
        assert_eq!(states, expected);
        known
    }

    /// Lets the answer end that has not.
    pub async fn end(&self, known: Known) {
        assert_eq!(known.standing[0]["in_flight"], 1);
        self.well[0].release();
        let held = read(known.held).await.unwrap();
        assert_eq!(held.text(), format!("d {HELD} "));
    }
}

impl Known {
    /// How each server stands, why, since when, and what is under way there.
    async fn look(&mut self) -> Vec<Value> {
        let services = self.operator.look("/api/gateway/services").await;
        let mut services = services.as_array().unwrap().iter();
        let steady = services.find(|each| each["name"] == "steady").unwrap();
        let servers = steady["servers"].as_array().unwrap().iter();
        let standing = servers.map(|server| {
            json!({
                "url": server["url"],
                "state": server["state"],
                "since": server["since"],
                "in_flight": server["in_flight"],
            })
        });
        standing.collect()
    }

    /// Nothing has been forgotten.
    pub async fn is_as_before(&mut self) {
        let sessions = self.sessions.clone();
        for (cookie, name) in sessions {
            for _ in 0..PER_LOOK {
                let mut request = request("GET", STEADY);
                request.headers_mut().insert(COOKIE, cookie.clone());
                let reply = self.client.ask(request).await;
                assert_eq!(reply.text(), format!("{name} {STEADY} "));
                assert!(!reply.headers.contains_key(SET_COOKIE), "{reply:?}");
            }
        }
        // The gateway may know of the end of an answer a moment after its client.
        let expected = self.standing.clone();
        within("how all of them stand", async {
            while self.look().await != expected {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }
}
