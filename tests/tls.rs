//! TLS with clients.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::json;
use std::net::SocketAddr;
use std::process::{Command, Output};
use support::tls::Authority;
use support::{Server, Setup, tools};

/// What curl says of an exchange with `name`.
async fn curl(authority: &Authority, name: &str, address: SocketAddr, args: &[&str]) -> Output {
    let mut curl = Command::new(tools::program("curl", "curl"));
    curl.args(["--silent", "--show-error", "--max-time", "10", "--cacert"])
        .arg(authority.file())
        .args(["--connect-to", &format!("::{address}")])
        .args(["--write-out", " %{http_version}"])
        .args(args)
        .arg(format!("https://{name}/"));
    let output = tokio::task::spawn_blocking(move || curl.output());
    output.await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_speaks_http_of_either_version_over_tls() {
    let authority = Authority::new();
    let (cert_file, key_file) = authority.files("a.test");
    let server = Server::start().await;
    let tls = json!({ "cert_file": cert_file, "key_file": key_file });
    let setup = Setup::to(server.url("http")).set("entrypoints/web/tls", tls);
    let gateway = setup.start().await;
    for (arg, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let output = curl(&authority, "a.test", gateway.address(), &[arg]).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        assert!(said.ends_with(version), "{said}");
    }
    let proto = server.last().header("x-forwarded-proto");
    assert_eq!(proto.as_deref(), Some("https"));
}
