//! HTTP/2 with clients, as programs of others speak it.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::json;
use std::process::Command;
use support::server::Recorded;
use support::tls::Authority;
use support::{Outcome, Server, Setup, request, tools};

/// How many requests `h2load` sends, on how many connections and streams.
const REQUESTS: &str = "4000";
const CONNECTIONS: &str = "8";
const STREAMS: &str = "50";

/// What `h2load` says of its requests.
async fn h2load(arguments: &[&str]) -> String {
    let mut command = Command::new(tools::program("h2load", "nghttp2-client"));
    command.args(["-n", REQUESTS, "-c", CONNECTIONS, "-m", STREAMS]);
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = told.lines().find(|line| line.starts_with("requests:"));
    line.unwrap_or_else(|| panic!("{output:?}")).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_h2load_is_answered() {
    let server = Server::http(|request: Request<Recorded>| async {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(Body::from(body))
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let upload = directory.path().join("upload");
    std::fs::write(&upload, vec![b'x'; 3000]).unwrap();
    let authority = Authority::new();
    let (cert_file, key_file) = authority.files("localhost");
    for scheme in ["http", "h2c"] {
        let tls = json!({ "cert_file": cert_file, "key_file": key_file });
        let setup = Setup::to(server.url(scheme)).with_all_workers();
        for (name, setup) in [
            ("http", setup.clone()),
            ("https", setup.set("entrypoints/web/tls", tls)),
        ] {
            let gateway = setup.start().await;
            let url = format!("{name}://localhost:{}/", gateway.address().port());
            let upload = upload.to_str().unwrap();
            for arguments in [&[&*url][..], &[&url, "-d", upload]] {
                let told = h2load(arguments).await;
                let all = format!(
                    "requests: {REQUESTS} total, {REQUESTS} started, {REQUESTS} done, {REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout"
                );
                assert_eq!(told, all, "{scheme} {arguments:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_rule_of_hosts_means_the_authority() {
    let server = Server::start().await;
    for scheme in ["http", "h2c"] {
        let gateway = Setup::to(server.url(scheme))
            .set("routers/all/rule", "Host(`a.test`)")
            .start()
            .await;
        let mut client = gateway.frames().await;
        let path = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
        for (stream, fields, outcome) in [
            (1, &[(":authority", "a.test")][..], Outcome::Status(200)),
            (3, &[(":authority", "A.test:80")], Outcome::Status(200)),
            (5, &[(":authority", "b.test")], Outcome::Status(404)),
            // Two hosts are one too many, unless they are one.
            (
                7,
                &[(":authority", "a.test"), ("host", "a.test")],
                Outcome::Status(200),
            ),
            (
                9,
                &[(":authority", "a.test"), ("host", "b.test")],
                Outcome::Status(400),
            ),
            (11, &[("host", "a.test")], Outcome::Status(200)),
        ] {
            let fields = [&path[..], fields].concat();
            client.headers(stream, &fields, true).await;
            assert_eq!(client.outcome(stream).await, outcome, "{scheme} {fields:?}");
            if outcome == Outcome::Status(200) {
                let host = server.last().host.to_ascii_lowercase();
                assert!(host.starts_with("a.test"), "{host}");
            }
        }
    }
}

/// What HTTP/1.1 and HTTP/2 frame in their own ways is the same on each side.
#[tokio::test]
async fn answers_have_a_body_or_none_whatever_is_spoken() {
    let server = Server::http(|request: Request<Recorded>| async move {
        let status: u16 = request.uri().path()[1..].parse().unwrap();
        let body = match status {
            200 => Body::from("body"),
            _ => Body::empty(),
        };
        let response = Response::builder().status(status).header("etag", "\"1\"");
        response.body(body).unwrap()
    })
    .await;
    for scheme in ["http", "h2c"] {
        let gateway = Setup::to(server.url(scheme)).start().await;
        for mut client in [gateway.h1().await, gateway.h2().await] {
            for (method, path, length, text) in [
                ("GET", "/200", Some("4"), "body"),
                ("HEAD", "/200", Some("4"), ""),
                ("GET", "/204", None, ""),
                ("GET", "/304", None, ""),
                ("HEAD", "/304", None, ""),
                ("GET", "/200", Some("4"), "body"),
            ] {
                let reply = client.ask(request(method, path)).await;
                assert_eq!(reply.status.as_u16().to_string(), path[1..]);
                assert_eq!(reply.headers["etag"], "\"1\"");
                let told = reply.headers.get("content-length");
                let told = told.map(|length| length.to_str().unwrap());
                assert_eq!(told, length, "{scheme} {method} {path}");
                assert_eq!(reply.text(), text, "{scheme} {method} {path}");
            }
        }
    }
}
