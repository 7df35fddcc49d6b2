//! Sessions stay at a server, by a cookie.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderValue, Request, Response};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use support::server::Recorded;
use support::{Client, Reply, Server, Setup, TestGateway, request, within};

/// Servers that say their number, and set a cookie of their own at `/own`. They never answer `/hold`.
async fn numbered(count: usize) -> Vec<Server> {
    let mut servers = Vec::new();
    for number in 0..count {
        let server = Server::http(move |request: Request<Recorded>| async move {
            let mut response = Response::new(Body::from(number.to_string()));
            match request.uri().path() {
                "/own" => {
                    let own = HeaderValue::from_static("own=1; Path=/");
                    response.headers_mut().insert(SET_COOKIE, own);
                }
                "/hold" => std::future::pending().await,
                _ => {}
            }
            response
        });
        servers.push(server.await);
    }
    servers
}

fn weighted(servers: &[Server], weights: &[u16]) -> Value {
    let list = servers.iter().zip(weights);
    list.map(|(server, weight)| json!({ "url": server.to_string(), "weight": weight }))
        .collect()
}

/// A service of these servers that keeps sessions by the cookie `sid`.
fn sticky(servers: &[Server]) -> Setup {
    Setup::to_each(servers)
        .balancer("sticky", json!({ "cookie": "sid" }))
        .with_all_workers()
}

/// The cookies of a browser.
#[derive(Debug, Clone, Default)]
struct Jar(BTreeMap<String, String>);

impl Jar {
    /// Asks with all cookies, and keeps those that the answer sets. Returns the answer, and what it set `sid` to.
    async fn ask(&mut self, client: &mut Client, path: &str) -> (Reply, Option<String>) {
        let mut request = request("GET", path);
        if !self.0.is_empty() {
            let pairs = self.0.iter().map(|(name, value)| format!("{name}={value}"));
            let line = pairs.collect::<Vec<_>>().join("; ");
            request.headers_mut().insert(COOKIE, line.parse().unwrap());
        }
        let reply = client.ask(request).await;
        let mut set = None;
        for line in reply.headers.get_all(SET_COOKIE) {
            let line = line.to_str().unwrap();
            let pair = line.split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.0.insert(name.to_owned(), value.to_owned());
            if name == "sid" {
                assert_eq!(set, None, "it is set once");
                set = Some(line.to_owned());
            }
        }
        (reply, set)
    }

    /// Who answers, and whether a new cookie came with it.
    async fn get(&mut self, client: &mut Client) -> (usize, bool) {
        let (reply, set) = self.ask(client, "/").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        (reply.text().parse().unwrap(), set.is_some())
    }

    /// Stays where it is, whatever connection is asked on.
    async fn stays(&mut self, gateway: &TestGateway, server: usize, why: &str) {
        for mut client in [gateway.h1().await, gateway.h2().await] {
            for _ in 0..3 {
                assert_eq!(self.get(&mut client).await, (server, false), "{why}");
            }
        }
    }
}

/// So many browsers, each with a session.
async fn sessions(gateway: &TestGateway, count: usize) -> Vec<(Jar, usize)> {
    let mut sessions = Vec::new();
    let mut client = gateway.h1().await;
    for _ in 0..count {
        let mut jar = Jar::default();
        let (server, is_new) = jar.get(&mut client).await;
        assert!(is_new);
        sessions.push((jar, server));
    }
    sessions
}

#[tokio::test]
async fn a_browser_stays_at_one_server_over_every_connection() {
    let servers = numbered(3).await;
    let gateway = sticky(&servers).start().await;
    let mut seen = HashSet::new();
    for (mut jar, server) in sessions(&gateway, 6).await {
        seen.insert(server);
        jar.stays(&gateway, server, "another connection").await;
        // The server's own cookies are no business of ours.
        let mut client = gateway.h2().await;
        let (reply, set) = jar.ask(&mut client, "/own").await;
        assert_eq!((set, reply.text()), (None, server.to_string()));
        assert_eq!(reply.headers[SET_COOKIE], "own=1; Path=/");
        jar.stays(&gateway, server, "with another cookie").await;
    }
    assert_eq!(seen.len(), 3, "sessions are spread");
}

#[tokio::test]
async fn many_browsers_at_once_stay_where_they_are() {
    let servers = numbered(4).await;
    let gateway = sticky(&servers).start().await;
    let mut browsers = tokio::task::JoinSet::new();
    for mut client in [
        gateway.h1().await,
        gateway.h2().await,
        gateway.h1().await,
        gateway.h2().await,
        gateway.h1().await,
        gateway.h2().await,
    ] {
        browsers.spawn(async move {
            let mut jar = Jar::default();
            let (server, _) = jar.get(&mut client).await;
            for _ in 0..50 {
                assert_eq!(jar.get(&mut client).await, (server, false));
            }
        });
    }
    within("all browsers", browsers.join_all()).await;
}

#[tokio::test]
async fn the_cookie_is_as_configured_and_does_not_reveal_the_server() {
    let servers = numbered(1).await;
    let full = json!({
        "cookie": "__Host-sid",
        "ttl": "1h",
        "secure": true,
        "http_only": true,
        "same_site": "none",
        "secret": "a secret of the operator",
    });
    for (sticky, attributes) in [
        (json!({ "cookie": "sid" }), "; Path=/"),
        (
            json!({ "cookie": "sid", "path": "/app", "same_site": "lax" }),
            "; Path=/app; SameSite=Lax",
        ),
        (
            full,
            "; Path=/; Max-Age=3600; SameSite=None; Secure; HttpOnly",
        ),
    ] {
        let setup = Setup::to_each(&servers).balancer("sticky", sticky);
        let gateway = setup.start().await;
        let reply = gateway.h1().await.get("/").await;
        let cookie = reply.headers[SET_COOKIE].to_str().unwrap();
        let (pair, rest) = cookie.split_at(cookie.find(';').unwrap());
        assert_eq!(rest, attributes);
        let (_, value) = pair.split_once('=').unwrap();
        let token = value.split('.').next().unwrap();
        assert_eq!(token.len(), 32, "{cookie}");
        assert!(token.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let port = servers[0].to_string();
        assert!(!cookie.contains(port.rsplit(':').next().unwrap()));
        // The cookie goes on to the server, as other cookies do.
        let mut request = request("GET", "/");
        request.headers_mut().insert(COOKIE, pair.parse().unwrap());
        let reply = gateway.h1().await.ask(request).await;
        assert!(!reply.headers.contains_key(SET_COOKIE));
        let seen = servers[0].seen();
        assert_eq!(seen.last().unwrap().header("cookie").unwrap(), pair);
    }
}

#[tokio::test]
async fn sessions_outlive_the_gateway() {
    let servers = numbered(3).await;
    let setup = sticky(&servers);
    let gateway = setup.start().await;
    let sessions = sessions(&gateway, 3).await;
    drop(gateway);
    // The same servers in another order, and with another strategy: a second gateway beside, or the next one.
    let mut urls = weighted(&servers, &[1, 1, 1]);
    urls.as_array_mut().unwrap().reverse();
    let another = setup
        .clone()
        .balancer("servers", urls)
        .balancer("strategy", "random");
    for setup in [setup, another] {
        let gateway = setup.start().await;
        for (jar, server) in &sessions {
            jar.clone().stays(&gateway, *server, "a new gateway").await;
        }
    }
}

#[tokio::test]
async fn sessions_outlive_reloads() {
    let servers = numbered(3).await;
    let setup = sticky(&servers);
    let gateway = setup.start().await;
    let mut sessions = sessions(&gateway, 3).await;
    let more = numbered(2).await;
    let all = servers
        .iter()
        .chain(&more)
        .map(|it| json!({ "url": it.to_string() }));
    for (what, setup) in [
        (
            "something else",
            setup.clone().set("shutdown_timeout_secs", 7),
        ),
        (
            "the strategy",
            setup.clone().balancer("strategy", "least-connections"),
        ),
        (
            "other servers",
            setup.clone().balancer("servers", all.collect::<Value>()),
        ),
        (
            "a timeout",
            setup.clone().balancer("timeouts/response", "7s"),
        ),
        ("as before", setup.clone()),
    ] {
        gateway.become_(&setup).await;
        for (jar, server) in &mut sessions {
            jar.stays(&gateway, *server, what).await;
        }
    }
}

#[tokio::test]
async fn a_server_of_weight_0_keeps_its_sessions_and_takes_no_new_ones() {
    let servers = numbered(2).await;
    let setup = sticky(&servers);
    let gateway = setup.start().await;
    let mut sessions = sessions(&gateway, 2).await;
    let drained = setup
        .clone()
        .balancer("servers", weighted(&servers, &[0, 1]));
    gateway.become_(&drained).await;
    for (jar, server) in &mut sessions {
        jar.stays(&gateway, *server, "drained").await;
    }
    for _ in 0..4 {
        let (server, is_new) = Jar::default().get(&mut gateway.h1().await).await;
        assert_eq!((server, is_new), (1, true));
    }
    // The last one that there is, too.
    let closed = setup
        .clone()
        .balancer("servers", weighted(&servers, &[0, 0]));
    gateway.become_(&closed).await;
    for (jar, server) in &mut sessions {
        jar.stays(&gateway, *server, "all are drained").await;
    }
    assert_eq!(gateway.h1().await.get("/").await.status, 503);
}

#[tokio::test]
async fn a_server_that_is_drained_by_hand_keeps_its_sessions() {
    let servers = numbered(2).await;
    let setup = sticky(&servers).admin().set("admin/token", "hunter2");
    let gateway = setup.start().await;
    let mut sessions = sessions(&gateway, 2).await;
    let url = servers[0].to_string();
    let host = url.strip_prefix("http://").unwrap();
    let mut drain = Request::put(format!("/api/gateway/services/backend/servers/{host}"))
        .header("authorization", "Bearer hunter2")
        .header("content-type", "application/json");
    drain = drain.header("host", "localhost");
    let drain = drain.body(Body::from(r#"{"state": "drain"}"#)).unwrap();
    let address = gateway.address_of("admin@internal").await;
    let mut admin = Client::admin(support::connect(address).await).await;
    assert_eq!(admin.ask(drain).await.status, 200);
    for (jar, server) in &mut sessions {
        jar.stays(&gateway, *server, "drained").await;
    }
    for _ in 0..4 {
        assert_eq!(Jar::default().get(&mut gateway.h1().await).await, (1, true));
    }
}

#[tokio::test]
async fn a_session_whose_server_is_removed_goes_on_elsewhere() {
    let servers = numbered(3).await;
    let setup = sticky(&servers);
    let gateway = setup.start().await;
    let mut sessions = sessions(&gateway, 3).await;
    let removed = setup
        .clone()
        .balancer("servers", weighted(&servers[..2], &[1, 1]));
    gateway.become_(&removed).await;
    for (jar, server) in &mut sessions {
        match *server {
            2 => {
                let (now, is_new) = jar.get(&mut gateway.h1().await).await;
                assert!(now < 2 && is_new, "a new server and a new cookie");
                jar.stays(&gateway, now, "a new session").await;
            }
            _ => jar.stays(&gateway, *server, "it is still there").await,
        }
    }
}

#[tokio::test]
async fn a_session_whose_server_dies_goes_on_elsewhere_without_an_error() {
    let mut servers = numbered(3).await;
    let setup = sticky(&servers)
        .set(
            "middlewares/again",
            json!({ "type": "retry", "max_retries": 2 }),
        )
        .set("routers/all/middlewares", json!(["again"]));
    let gateway = setup.start().await;
    let mut sessions = sessions(&gateway, 3).await;
    let killed = servers.remove(0);
    let address = killed.address();
    drop(killed);
    within("nobody listens there", async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for (jar, server) in &mut sessions {
        match *server {
            0 => {
                let (now, is_new) = jar.get(&mut gateway.h2().await).await;
                assert!(now > 0 && is_new, "the cookie of the one that answered");
                jar.stays(&gateway, now, "a new session").await;
            }
            _ => jar.stays(&gateway, *server, "it lives").await,
        }
    }
}

#[tokio::test]
async fn a_server_without_room_is_left() {
    let servers = numbered(2).await;
    let setup = sticky(&servers).balancer("max_in_flight", 1);
    let gateway = setup.start().await;
    let (mut jar, server) = sessions(&gateway, 1).await.remove(0);
    let mut hold = request("GET", "/hold");
    let line = format!("sid={}", jar.0["sid"]);
    hold.headers_mut().insert(COOKIE, line.parse().unwrap());
    let mut holding = gateway.h1().await;
    let _unanswered = holding.begin(hold).await;
    servers[server].has_seen(2).await;
    let other = 1 - server;
    let moved = jar.get(&mut gateway.h1().await).await;
    assert_eq!(moved, (other, true));
    jar.stays(&gateway, other, "a new session").await;
}

#[tokio::test]
async fn a_forged_cookie_is_as_good_as_none() {
    let servers = numbered(2).await;
    let gateway = sticky(&servers).start().await;
    let mut client = gateway.h1().await;
    let (jar, _) = sessions(&gateway, 1).await.remove(0);
    let token = &jar.0["sid"];
    let url = servers[0].to_string();
    for value in [
        "",
        "0",
        &url,
        "00000000000000000000000000000000",
        "ffffffffffffffffffffffffffffffff",
        &token.to_uppercase(),
        &token[1..],
        &format!("{token}.x"),
        &"x".repeat(8 << 10),
        &format!("{token}{}", "0".repeat(8 << 10)),
    ] {
        let mut seen = HashSet::new();
        for _ in 0..2 {
            let mut jar = Jar(BTreeMap::from([("sid".to_owned(), value.to_owned())]));
            let (server, is_new) = jar.get(&mut client).await;
            assert!(is_new, "{value:.60}");
            seen.insert(server);
        }
        assert_eq!(seen.len(), 2, "it is nobody's: {value:.60}");
    }
}

#[tokio::test]
async fn a_token_is_found_among_other_cookies() {
    let servers = numbered(3).await;
    let gateway = sticky(&servers).start().await;
    let (jar, server) = sessions(&gateway, 1).await.remove(0);
    let token = &jar.0["sid"];
    let long = "x".repeat(8 << 10);
    for lines in [
        vec![format!("a=b; sid={token}; c=d")],
        vec![format!("sid=\"{token}\"")],
        vec![format!("big={long}; sid={token}")],
        vec![format!("big={long}"), format!("sid={token}")],
        vec![format!("sid=rubbish; sid={token}")],
        vec![
            "sid=00000000000000000000000000000000".to_owned(),
            format!("sid={token}"),
        ],
        vec![format!("SID=x; xsid=y; sid={token}")],
    ] {
        for mut client in [gateway.h1().await, gateway.h2().await] {
            for _ in 0..2 {
                let mut request = request("GET", "/");
                for line in &lines {
                    request.headers_mut().append(COOKIE, line.parse().unwrap());
                }
                let reply = client.ask(request).await;
                assert_eq!(reply.text(), server.to_string(), "{lines:.60?}");
                assert!(!reply.headers.contains_key(SET_COOKIE), "{lines:.60?}");
            }
        }
    }
}

#[tokio::test]
async fn a_new_secret_ends_the_sessions() {
    let servers = numbered(2).await;
    let setup = sticky(&servers);
    let secret = |secret: &str| {
        let sticky = json!({ "cookie": "sid", "secret": secret });
        setup.clone().balancer("sticky", sticky)
    };
    let gateway = setup.start().await;
    let (mut jar, _) = sessions(&gateway, 1).await.remove(0);
    for next in [
        secret("the first of two secrets"),
        secret("the second of the two"),
    ] {
        gateway.become_(&next).await;
        let (server, is_new) = jar.get(&mut gateway.h1().await).await;
        assert!(is_new);
        jar.stays(&gateway, server, "the new secret").await;
    }
    // And with the secret of before they are what they were.
    let kept = jar.clone();
    gateway.become_(&setup).await;
    assert!(jar.get(&mut gateway.h1().await).await.1);
    gateway.become_(&secret("the second of the two")).await;
    assert!(!kept.clone().get(&mut gateway.h1().await).await.1);
}

#[tokio::test]
async fn the_answers_of_the_gateway_itself_keep_nobody() {
    let gateway = Setup::to("http://127.0.0.1:1")
        .balancer("sticky", json!({ "cookie": "sid" }))
        .start()
        .await;
    let reply = gateway.h1().await.get("/").await;
    assert_eq!(reply.status, 502);
    assert!(!reply.headers.contains_key(SET_COOKIE));
}
