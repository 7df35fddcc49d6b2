//! `redirect_to`: an entrypoint that sends every request to another one.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::json;
use support::tls::Authority;
use support::{Port, Server, Setup, request};

/// A gateway whose entrypoint `web` sends everybody to `websecure`, which ends TLS on this port.
fn setup(authority: &Authority, port: &Port, setup: Setup) -> Setup {
    let (cert_file, key_file) = authority.files("a.example");
    let tls = json!({ "cert_file": cert_file, "key_file": key_file });
    let secure = json!({ "address": port.address().to_string(), "tls": tls });
    setup
        .set("entrypoints/websecure", secure)
        .set("entrypoints/web/redirect_to", "websecure")
}

#[tokio::test]
async fn every_request_is_sent_to_the_scheme_and_port_of_the_other() {
    let (authority, port) = (Authority::new(), Port::reserve());
    let server = Server::start().await;
    // With a router for everything on both, and with none on the entrypoint that redirects.
    let everywhere = setup(&authority, &port, Setup::to(&server));
    let secure = everywhere
        .clone()
        .set("routers/all/entrypoints", json!(["websecure"]));
    let gateway = everywhere.start().await;
    for setup in [everywhere, secure] {
        gateway.become_(&setup).await;
        let mut client = gateway.h1().await;
        for method in ["GET", "POST", "DELETE"] {
            let mut request = request(method, "/a%20b?c=d");
            let host = "a.example:8080".parse().unwrap();
            request.headers_mut().insert("host", host);
            let reply = client.ask(request).await;
            assert_eq!(reply.status, 308, "{method}");
            let to = format!("https://a.example:{}/a%20b?c=d", port.number);
            assert_eq!(reply.headers["location"], to, "{method}");
        }
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn what_came_over_tls_to_a_trusted_proxy_is_served() {
    let (authority, port) = (Authority::new(), Port::reserve());
    let server = Server::start().await;
    let setup = setup(&authority, &port, Setup::to(&server))
        .set("entrypoints/web/trusted_proxies", json!(["127.0.0.1"]))
        .set("routers/all/rule", "Path(`/known`)");
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    for (path, host, status) in [
        ("/known", format!("a.example:{}", port.number), 200),
        ("/unknown", format!("a.example:{}", port.number), 404),
        ("/known", "a.example:1".to_owned(), 308),
    ] {
        let mut request = request("GET", path);
        let headers = request.headers_mut();
        headers.insert("host", host.parse().unwrap());
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        assert_eq!(client.ask(request).await.status, status, "{path} {host}");
    }
}

#[tokio::test]
async fn a_reload_begins_and_ends_it() {
    let (authority, port) = (Authority::new(), Port::reserve());
    let server = Server::start().await;
    let plain = Setup::to(&server);
    let redirecting = setup(&authority, &port, Setup::to(&server));
    let gateway = plain.start().await;
    let mut client = gateway.h1().await;
    for (setup, status) in [(&plain, 200), (&redirecting, 308), (&plain, 200)] {
        gateway.become_(setup).await;
        assert_eq!(client.get("/").await.status, status);
    }
}
