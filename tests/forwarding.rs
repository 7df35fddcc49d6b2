//! What a server sees of a client's request, and the client of the server's answer: all that is theirs, and
//! nothing that belongs to one connection.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::BodyExt;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use support::body::{Feed, feed};
use support::server::Recorded;
use support::{
    Answer, Client, End, Server, Setup, TestGateway, Upload, eventually, request, within,
};

/// A server that answers each request with `answer`, and what it was asked.
async fn listener(answer: &'static str) -> (Server, Arc<Mutex<Vec<Answer>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let server = Server::raw({
        let heard = Arc::clone(&heard);
        move |mut wire, _| {
            let heard = Arc::clone(&heard);
            async move {
                while let Some(request) = wire.request().await {
                    heard.lock().unwrap().push(request);
                    wire.send(answer).await;
                }
            }
        }
    })
    .await;
    (server, heard)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The request that a server hears when a client says `head`.
async fn heard(setup: impl FnOnce(Setup) -> Setup, head: &str) -> (Answer, TestGateway) {
    let (server, heard) = listener(OK).await;
    let gateway = setup(Setup::to(&server)).start().await;
    let answer = gateway.ask(head).await;
    assert_eq!(answer.status(), 200, "{head:?}: {answer:?}");
    let request = heard.lock().unwrap().pop().expect("a request");
    (request, gateway)
}

fn sorted(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    let mut fields: Vec<_> = fields
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    fields.sort_unstable();
    fields
}

#[tokio::test]
async fn a_server_sees_the_request_and_who_sent_it_and_nothing_else() {
    let head = "GET /a/b?c=d&e HTTP/1.1\r\nHost: Test.Example:81\r\nUser-Agent: me\r\nAccept: */*\r\n\
        X-A: 1\r\nx-a: 2\r\nCookie: a=b; c=d\r\ntraceparent: 00-1-2-03\r\nb3: 0\r\n\r\n";
    let (seen, gateway) = heard(|setup| setup, head).await;
    assert_eq!(seen.line, "GET /a/b?c=d&e HTTP/1.1");
    let port = gateway.address().port().to_string();
    assert_eq!(
        sorted(&seen.headers),
        [
            ("accept", "*/*"),
            ("b3", "0"),
            ("cookie", "a=b; c=d"),
            ("host", "Test.Example:81"),
            ("traceparent", "00-1-2-03"),
            ("user-agent", "me"),
            ("x-a", "1"),
            ("x-a", "2"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", "Test.Example:81"),
            ("x-forwarded-port", &port),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "127.0.0.1"),
        ]
    );
}

#[tokio::test]
async fn a_client_sees_the_answer_and_nothing_else() {
    let (server, _) = listener(
        "HTTP/1.1 299 Own Words\r\nContent-Length: 2\r\nServer: mine\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\n\
         Set-Cookie: a=1\r\nX-A: 1\r\nSet-Cookie: b=2\r\nETag: \"x\"\r\nVia: 1.1 other\r\n\
         Connection: keep-alive, X-Secret, close\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n\r\nok",
    )
    .await;
    let gateway = Setup::to(&server).start().await;
    let answer = gateway.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((answer.status(), answer.text()), (299, "ok".to_owned()));
    assert_eq!(
        sorted(&answer.headers),
        [
            ("content-length", "2"),
            ("date", "Tue, 15 Nov 1994 08:12:31 GMT"),
            ("etag", "\"x\""),
            ("server", "mine"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("via", "1.1 other"),
            ("x-a", "1"),
        ]
    );
    let mut h2 = gateway.h2().await;
    let reply = h2.get("/").await;
    assert_eq!(reply.headers.len(), 8, "{:?}", reply.headers);
}

#[tokio::test]
async fn hop_by_hop_fields_of_a_request_end_here() {
    for (lines, te) in [
        ("Connection: keep-alive", None),
        ("Connection: close", None),
        (
            "Connection: X-One, close, x-two\r\nX-One: 1\r\nX-Two: 2",
            None,
        ),
        (
            "Connection: x-one\r\nConnection: x-two\r\nX-One: 1\r\nX-Two: 2",
            None,
        ),
        ("X-One: 1\r\nConnection: ,, x-one ,", None),
        ("Keep-Alive: timeout=5", None),
        ("Proxy-Connection: keep-alive", None),
        ("Proxy-Authorization: Basic x", None),
        ("Upgrade: websocket", None),
        (
            "Upgrade: h2c\r\nHTTP2-Settings: x\r\nConnection: Upgrade, HTTP2-Settings",
            None,
        ),
        ("TE: gzip", None),
        ("TE: gzip\r\nConnection: TE", None),
        ("TE: trailers", Some("trailers")),
        ("TE: trailers\r\nConnection: TE", Some("trailers")),
        ("TE: gzip;q=0.5, Trailers", Some("trailers")),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\nX-End: 1\r\n\r\n");
        let (seen, _gateway) = heard(|setup| setup, &head).await;
        let names: Vec<_> = seen
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| {
                !name.starts_with("x-forwarded-") && *name != "x-real-ip" && *name != "te"
            })
            .collect();
        assert_eq!(names, ["host", "x-end"], "{lines:?}");
        assert_eq!(seen.header("te").as_deref(), te, "{lines:?}");
    }
}

#[tokio::test]
async fn connection_cannot_strip_what_the_gateway_says() {
    let named = "Host, Content-Length, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Port, X-Real-Ip, Connection, Transfer-Encoding, close";
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: {named}\r\nContent-Length: 4\r\n\r\nbody"
    );
    let (seen, _gateway) = heard(|setup| setup, &head).await;
    assert_eq!(seen.text(), "body");
    let names: Vec<_> = sorted(&seen.headers)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        [
            "content-length",
            "host",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-proto",
            "x-real-ip"
        ]
    );
    // And where the peer is trusted, a client behind it has no more say.
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {named}\r\n\r\n");
    let trust = |setup: Setup| setup.set("entrypoints/web/trusted_proxies", json!(["127.0.0.1"]));
    let (seen, _gateway) = heard(trust, &head).await;
    for name in [
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-real-ip",
    ] {
        assert!(seen.header(name).is_some(), "{name}: {seen:?}");
    }
}

#[tokio::test]
async fn forged_forwarded_fields_are_dropped() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\n\
        X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 3.3.3.3\r\n\
        Forwarded: for=4.4.4.4\r\nX-Forwarded-User: root\r\nX-Forwarded-Prefix: /x\r\nX_Forwarded_For: 5.5.5.5\r\n\
        X-Forwarded_Host: evil\r\nX_Real_Ip: 6.6.6.6\r\nX-Forwarded-Client-Cert: x\r\n\r\n";
    let (seen, gateway) = heard(|setup| setup, head).await;
    let port = gateway.address().port().to_string();
    assert_eq!(
        sorted(&seen.headers),
        [
            ("host", "a"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", "a"),
            ("x-forwarded-port", &port),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "127.0.0.1"),
        ]
    );
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_kept_and_added_to() {
    let networks = json!(["127.0.0.0/8", "10.0.0.0/8"]);
    let trust = |setup: Setup| setup.set("entrypoints/web/trusted_proxies", networks.clone());
    for (lines, forwarded_for, real_ip) in [
        ("", "127.0.0.1", "127.0.0.1"),
        (
            "X-Forwarded-For: 1.1.1.1\r\n",
            "1.1.1.1, 127.0.0.1",
            "1.1.1.1",
        ),
        (
            "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 1.1.1.1, 10.0.0.1\r\n",
            "9.9.9.9, 1.1.1.1, 10.0.0.1, 127.0.0.1",
            "1.1.1.1",
        ),
        (
            "X-Forwarded-For: 1.1.1.1\r\nX-Real-Ip: 7.7.7.7\r\n",
            "1.1.1.1, 127.0.0.1",
            "1.1.1.1",
        ),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let (seen, _gateway) = heard(trust, &head).await;
        assert_eq!(
            seen.header("x-forwarded-for").as_deref(),
            Some(forwarded_for),
            "{lines:?}"
        );
        assert_eq!(
            seen.header("x-real-ip").as_deref(),
            Some(real_ip),
            "{lines:?}"
        );
        assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("http"));
        assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("a"));
    }
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n\
        X-Forwarded-Port: 443\r\nForwarded: for=1.1.1.1\r\nX-Forwarded-User: me\r\n\
        X_Forwarded_For: 9.9.9.9\r\nX-Forwarded_Host: c\r\nX_Real_Ip: 9.9.9.9\r\n\r\n";
    let (seen, _gateway) = heard(trust, head).await;
    let mut names = seen.headers.iter().map(|(name, _)| name);
    assert!(!names.any(|name| name.contains('_')), "what no proxy means");
    for (name, value) in [
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "b"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=1.1.1.1"),
        ("x-forwarded-user", "me"),
    ] {
        assert_eq!(seen.header(name).as_deref(), Some(value), "{name}");
    }
}

#[tokio::test]
async fn the_client_that_rules_see_is_the_one_behind_the_trusted_proxy() {
    let gateway = Setup::new()
        .set("entrypoints/web/trusted_proxies", json!(["127.0.0.1"]))
        .route("inside", "ClientIP(`192.0.2.0/24`)", "inside")
        .set("services/inside/respond/status", 201)
        .start()
        .await;
    for (line, status) in [
        ("", 404),
        ("X-Forwarded-For: 192.0.2.7\r\n", 201),
        ("X-Forwarded-For: 192.0.2.7, 198.51.100.1\r\n", 404),
    ] {
        let answer = gateway
            .ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n"))
            .await;
        assert_eq!(answer.status(), status, "{line:?}");
    }
}

#[tokio::test]
async fn host_is_kept_or_replaced_as_told() {
    let server = Server::start().await;
    for (scheme, pass_host) in [
        ("http", true),
        ("http", false),
        ("h2c", true),
        ("h2c", false),
    ] {
        let gateway = Setup::to(server.url(scheme))
            .balancer("pass_host", pass_host)
            .start()
            .await;
        for h2 in [false, true] {
            let mut client = if h2 {
                gateway.h2().await
            } else {
                gateway.h1().await
            };
            assert_eq!(client.get("/").await.status, 200);
            let seen = server.last();
            let own = server.address().to_string();
            let host = if pass_host {
                "test.example"
            } else {
                own.as_str()
            };
            assert_eq!(seen.host, host, "{scheme} {pass_host} {h2}");
            assert_eq!(
                seen.header("x-forwarded-host").as_deref(),
                Some("test.example")
            );
            let version = if scheme == "h2c" {
                Version::HTTP_2
            } else {
                Version::HTTP_11
            };
            assert_eq!(seen.version, version);
        }
    }
}

#[tokio::test]
async fn a_request_without_a_host_has_the_server_s() {
    let server = Server::start().await;
    for scheme in ["http", "h2c"] {
        let gateway = Setup::to(server.url(scheme)).start().await;
        let (answer, _, _) = gateway.ask_to_end("GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(answer.status(), 200);
        let seen = server.last();
        assert_eq!(seen.host, server.address().to_string(), "{scheme}");
        assert_eq!(seen.header("x-forwarded-host"), None, "{scheme}");
    }
}

#[tokio::test]
async fn a_redirect_is_passed_on() {
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary",
        "308 Permanent",
    ] {
        let says =
            format!("HTTP/1.1 {status}\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
        let (server, heard) = listener(Box::leak(says.into_boxed_str())).await;
        let gateway = Setup::to(&server).start().await;
        let reply = gateway.h1().await.get("/").await;
        assert_eq!(reply.status.as_str(), &status[..3]);
        assert_eq!(reply.headers["location"], "/elsewhere");
        assert_eq!(heard.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_pass_in_values() {
    let (server, heard) =
        listener("HTTP/1.1 200 OK\r\nX-A: \u{e9}\u{4e2d}\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = Setup::to(&server).start().await;
    let answer = gateway
        .ask("GET / HTTP/1.1\r\nHost: a\r\nX-A: \u{e9}\u{4e2d}\r\n\r\n")
        .await;
    assert_eq!(answer.header("x-a").as_deref(), Some("\u{e9}\u{4e2d}"));
    let seen = heard.lock().unwrap().pop().unwrap();
    assert_eq!(seen.header("x-a").as_deref(), Some("\u{e9}\u{4e2d}"));
}

#[test]
fn a_proxy_named_in_the_environment_is_not_asked() {
    // The same test program again, for only a new process has a new environment.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host_is_kept_or_replaced_as_told"])
        .envs(
            [
                "HTTP_PROXY",
                "http_proxy",
                "ALL_PROXY",
                "all_proxy",
                "HTTPS_PROXY",
            ]
            .map(|name| (name, "http://127.0.0.1:1")),
        )
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[tokio::test]
async fn an_h2_client_s_cookies_reach_an_h1_server_on_one_line() {
    let server = Server::start().await;
    let gateway = Setup::to(&server).start().await;
    let mut client = gateway.h2().await;
    let mut crumbs = request("GET", "/");
    for crumb in ["a=1", "b=2", "c=3"] {
        crumbs
            .headers_mut()
            .append("cookie", HeaderValue::from_static(crumb));
    }
    assert_eq!(client.ask(crumbs).await.status, 200);
    // RFC 9113, 8.2.3.
    assert_eq!(
        server.last().header("cookie").as_deref(),
        Some("a=1; b=2; c=3")
    );
}

#[tokio::test]
async fn options_of_the_server_itself_are_asked_as_such() {
    // It has no path, not even `/`.
    let any = |setup: Setup| setup.route("any", "Method(`OPTIONS`)", "backend");
    let (seen, _gateway) = heard(any, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(seen.line, "OPTIONS * HTTP/1.1");
}

// Framing.

#[tokio::test]
async fn a_request_is_framed_upstream_as_it_was_here() {
    for (head, body, length, coding) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", None, None),
        ("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", "", None, None),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
            "hi",
            Some("2"),
            None,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "",
            Some("0"),
            None,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
            "hi",
            Some("2"),
            None,
        ),
        (
            "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
            "hi",
            Some("2"),
            None,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
            "hi",
            None,
            Some("chunked"),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
            "hi",
            None,
            Some("chunked"),
        ),
    ] {
        let (seen, _gateway) = heard(|setup| setup, head).await;
        assert_eq!(seen.text(), body, "{head:?}");
        assert_eq!(seen.header("content-length").as_deref(), length, "{head:?}");
        assert_eq!(
            seen.header("transfer-encoding").as_deref(),
            coding,
            "{head:?}"
        );
    }
    // A POST without a body is one of length 0, or says nothing (RFC 9110, 8.6).
    let (seen, _gateway) = heard(|setup| setup, "POST / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(seen.body.is_empty());
    assert_eq!(seen.header("transfer-encoding"), None);
}

#[tokio::test]
async fn an_answer_without_a_body_has_none_here() {
    for (method, says, status, length) in [
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n",
            304,
            Some("5"),
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
            304,
            None,
        ),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            200,
            Some("5"),
        ),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            200,
            None,
        ),
        (
            "HEAD",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n",
            404,
            Some("5"),
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            200,
            Some("0"),
        ),
        (
            "GET",
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            204,
            None,
        ),
        (
            "GET",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            204,
            None,
        ),
    ] {
        let (server, _) = listener(says).await;
        let gateway = Setup::to(&server).start().await;
        let mut wire = gateway.wire().await;
        let next = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        wire.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n{next}"))
            .await;
        let mut head = wire.head().await;
        while head.status() < 200 {
            head = wire.head().await;
        }
        assert_eq!(head.status(), status, "{method} {says:?}");
        let said = head.header("content-length");
        // A 304 may leave out the length of what it does not send (RFC 9110, 8.6).
        if status != 304 || said.is_some() {
            assert_eq!(said.as_deref(), length, "{method} {says:?}");
        }
        if status != 200 || method == "GET" {
            assert_eq!(head.header("transfer-encoding"), None, "{method} {says:?}");
        }
        // What follows at once is the next head.
        let next = wire.head().await;
        assert!(next.status() >= 100, "{method} {says:?}");
        if method == "GET" {
            let mut h2 = gateway.h2().await;
            let reply = h2.get("/").await;
            assert_eq!(
                (reply.status.as_u16(), reply.body.len()),
                (status, 0),
                "{says:?}"
            );
        } else {
            let reply = gateway.h2().await.ask(request("HEAD", "/")).await;
            assert_eq!(
                (reply.status.as_u16(), reply.body.len()),
                (status, 0),
                "{says:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_and_then_its_answer() {
    let server = Server::start().await;
    for scheme in ["http", "h2c"] {
        let gateway = Setup::to(server.url(scheme)).start().await;
        let mut wire = gateway.wire().await;
        wire.send(
            "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        )
        .await;
        assert_eq!(wire.head().await.status(), 100, "{scheme}");
        wire.send("body").await;
        let answer = wire.answer().await;
        assert_eq!(
            (answer.status(), answer.text()),
            (200, "/up".to_owned()),
            "{scheme}"
        );
        assert_eq!(server.last().body, b"body", "{scheme}");
    }
}

// Trailers.

fn trailer(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static(value))])
}

/// A server that reads all and answers with trailers.
async fn trailing() -> Server {
    Server::http(|request: Request<Recorded>| async {
        request.into_body().collect().await.unwrap();
        let (feed, body) = feed();
        tokio::spawn(async move {
            feed.data("down").await;
            feed.trailers(trailer("2")).await;
        });
        Response::builder()
            .header("trailer", "x-sum")
            .body(body)
            .unwrap()
    })
    .await
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let server = trailing().await;
    for scheme in ["http", "h2c"] {
        let gateway = Setup::to(server.url(scheme)).start().await;
        for h2 in [false, true] {
            let what = format!("{scheme} {h2}");
            let mut client = if h2 {
                gateway.h2().await
            } else {
                gateway.h1().await
            };
            let (feed, body) = feed();
            let mut up = request("POST", "/");
            *up.body_mut() = body;
            let headers = up.headers_mut();
            headers.insert("te", HeaderValue::from_static("trailers"));
            headers.insert("trailer", HeaderValue::from_static("x-sum"));
            tokio::spawn(async move {
                feed.data("up").await;
                feed.trailers(trailer("1")).await;
            });
            let reply = client.ask(up).await;
            assert_eq!(reply.text(), "down", "{what}");
            assert_eq!(reply.trailers, Some(trailer("2")), "{what}");
            let seen = server.last();
            assert_eq!(seen.trailers, Some(trailer("1")), "{what}");
            assert_eq!(seen.header("te").as_deref(), Some("trailers"), "{what}");
            assert_eq!(seen.header("trailer").as_deref(), Some("x-sum"), "{what}");
        }
    }
}

#[tokio::test]
async fn trailers_say_nothing_that_a_head_would_not_let_them() {
    let server = Server::start().await;
    for scheme in ["http", "h2c"] {
        let gateway = Setup::to(server.url(scheme)).start().await;
        let mut client = gateway.h2().await;
        let (feed, body) = feed();
        let mut up = request("POST", "/");
        *up.body_mut() = body;
        let mut trailers = trailer("1");
        for name in [
            "x-forwarded-for",
            "x-real-ip",
            "forwarded",
            "host",
            "content-length",
        ] {
            trailers.insert(name, HeaderValue::from_static("6"));
        }
        let names: Vec<_> = trailers.keys().map(|name| name.as_str()).collect();
        let names = HeaderValue::from_str(&names.join(", ")).unwrap();
        up.headers_mut().insert("trailer", names);
        tokio::spawn(async move {
            feed.data("up").await;
            feed.trailers(trailers).await;
        });
        assert_eq!(client.ask(up).await.status, 200, "{scheme}");
        assert_eq!(server.last().trailers, Some(trailer("1")), "{scheme}");
    }
}

#[tokio::test]
async fn trailers_are_not_for_a_client_that_does_not_take_them() {
    let server = trailing().await;
    let gateway = Setup::to(&server).start().await;
    let answer = gateway.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((answer.status(), answer.text()), (200, "down".to_owned()));
    assert!(answer.trailers.is_empty());
    let old = "GET / HTTP/1.0\r\nHost: a\r\nTE: trailers\r\n\r\n";
    let (answer, _, end) = gateway.ask_to_end(old).await;
    assert_eq!((answer.text(), end), ("down".to_owned(), End::Closed));
}

// Ends before the end.

/// A request that a server still works on.
struct Working(Arc<AtomicUsize>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A server that never answers, and how many requests it works on.
async fn never() -> (Server, Arc<AtomicUsize>) {
    let working = Arc::new(AtomicUsize::new(0));
    let server = Server::http({
        let working = Arc::clone(&working);
        move |_: Request<Recorded>| {
            working.fetch_add(1, Ordering::SeqCst);
            let working = Working(Arc::clone(&working));
            async move {
                let _working = working;
                std::future::pending().await
            }
        }
    })
    .await;
    (server, working)
}

async fn client(gateway: &TestGateway, h2: bool) -> Client {
    if h2 {
        gateway.h2().await
    } else {
        gateway.h1().await
    }
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_request() {
    let (server, working) = never().await;
    for scheme in ["http", "h2c"] {
        let gateway = Setup::to(server.url(scheme)).start().await;
        for h2 in [false, true] {
            let mut gone = client(&gateway, h2).await;
            let before = server.requests();
            let asking = gone.get("/");
            let seen = server.has_seen(before + 1);
            tokio::select! {
                reply = asking => panic!("{reply:?}"),
                () = seen => {}
            }
            drop(gone);
            eventually("the server is told", || working.load(Ordering::SeqCst) == 0).await;
        }
    }
}

#[tokio::test]
async fn an_h2_stream_that_is_reset_cancels_its_request() {
    let (server, working) = never().await;
    let gateway = Setup::to(&server).start().await;
    let mut frames = gateway.frames().await;
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "test.example"),
        (":path", "/"),
    ];
    frames.headers(1, &fields, true).await;
    server.has_seen(1).await;
    frames.reset(1).await;
    eventually("the server is told", || working.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_reads_stops_the_server() {
    let feeds: Arc<Mutex<Vec<Feed>>> = Arc::default();
    let server = Server::http({
        let feeds = Arc::clone(&feeds);
        move |_: Request<Recorded>| {
            let (feed, body) = feed();
            feeds.lock().unwrap().push(feed);
            std::future::ready(Response::new(body))
        }
    })
    .await;
    for scheme in ["http", "h2c"] {
        let gateway = Setup::to(server.url(scheme)).start().await;
        for h2 in [false, true] {
            let mut gone = client(&gateway, h2).await;
            let response = gone.send(request("GET", "/")).await;
            let feed = feeds.lock().unwrap().pop().unwrap();
            feed.data("some").await;
            let mut body = response.into_body();
            let frame = within("a frame", body.frame()).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "some");
            drop((body, gone));
            feed.closed().await;
        }
    }
}

#[tokio::test]
async fn an_upload_that_is_broken_off_is_never_completed() {
    let server = Server::start().await;
    for scheme in ["http", "h2c"] {
        let gateway = Setup::to(server.url(scheme)).start().await;
        for (framing, part) in [
            ("Content-Length: 10", "half"),
            ("Content-Length: 10", "123456789"),
            ("Transfer-Encoding: chunked", "4\r\nhalf\r\n"),
            ("Transfer-Encoding: chunked", "8\r\nhalf"),
            ("Transfer-Encoding: chunked", "4\r\nhalf\r\n0\r\n"),
            ("Transfer-Encoding: chunked", "4\r\nhalf\r\n0\r\nX-A: 1\r\n"),
        ] {
            for resets in [false, true] {
                let what = format!("{scheme} {framing} {part:?} {resets}");
                println!("{what:?}");
                let before = server.requests();
                let mut wire = gateway.wire().await;
                wire.send(format!(
                    "POST /bad HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{part}"
                ))
                .await;
                server.has_seen(before + 1).await;
                if resets {
                    wire.reset();
                } else {
                    wire.end().await;
                    let (answer, _) = wire.rest().await;
                    let text = String::from_utf8_lossy(&answer);
                    assert!(
                        text.is_empty() || text.starts_with("HTTP/1.1 400 "),
                        "{what}: {text}"
                    );
                }
                assert_eq!(server.upload_over().await, Upload::Broken, "{what}");
                // The next on the way upstream is not taken for the rest of it.
                assert_eq!(
                    gateway.h1().await.get("/next").await.text(),
                    "/next",
                    "{what}"
                );
                assert_eq!(server.last().target, "/next");
            }
        }
        for resets in [false, true] {
            let before = server.requests();
            let mut frames = gateway.frames().await;
            let fields = [
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", "test.example"),
                (":path", "/bad"),
            ];
            frames.headers(1, &fields, false).await;
            frames.data(1, b"half", false).await;
            server.has_seen(before + 1).await;
            if resets {
                frames.reset(1).await;
            }
            drop(frames);
            assert_eq!(
                server.upload_over().await,
                Upload::Broken,
                "{scheme} {resets}"
            );
            assert_eq!(gateway.h1().await.get("/next").await.text(), "/next");
        }
    }
}

#[tokio::test]
async fn an_h2_upload_that_is_not_as_long_as_it_says_is_never_completed() {
    let server = Server::start().await;
    for scheme in ["http", "h2c"] {
        let gateway = Setup::to(server.url(scheme)).start().await;
        for (body, length) in [("short", "10"), ("long", "2")] {
            let before = server
                .seen()
                .iter()
                .filter(|seen| seen.upload == Upload::Complete)
                .count();
            let mut frames = gateway.frames().await;
            let fields = [
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", "test.example"),
                (":path", "/bad"),
                ("content-length", length),
            ];
            frames.headers(1, &fields, false).await;
            frames.data(1, body.as_bytes(), true).await;
            let outcome = frames.outcome(1).await;
            let is_refused = !matches!(outcome, support::Outcome::Status(200..400));
            assert!(is_refused, "{scheme} {length}: {outcome:?}");
            eventually("the uploads are over", || {
                server
                    .seen()
                    .iter()
                    .all(|seen| seen.upload != Upload::Running)
            })
            .await;
            let after = server
                .seen()
                .iter()
                .filter(|seen| seen.upload == Upload::Complete)
                .count();
            assert_eq!(after, before, "{scheme} {length}: {:?}", server.last());
            assert_eq!(gateway.h1().await.get("/next").await.text(), "/next");
        }
    }
}

#[tokio::test]
async fn a_body_passes_while_it_comes() {
    let server = Server::http(|request: Request<Recorded>| async {
        Response::new(Body::new(request.into_body()))
    })
    .await;
    for scheme in ["http", "h2c"] {
        let gateway = Setup::to(server.url(scheme)).start().await;
        for h2 in [false, true] {
            let mut client = client(&gateway, h2).await;
            let (feed, body) = feed();
            let mut up = request("POST", "/");
            *up.body_mut() = body;
            let mut down = client.send(up).await.into_body();
            for word in ["one", "two", "three"] {
                feed.data(word).await;
                let frame = within("an echo", down.frame()).await.unwrap().unwrap();
                assert_eq!(frame.into_data().unwrap(), word, "{scheme} {h2}");
            }
            drop(feed);
            let rest = within("the end", down.collect()).await.unwrap();
            assert!(rest.to_bytes().is_empty(), "{scheme} {h2}");
        }
    }
}
