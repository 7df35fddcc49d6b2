//! Clients that show certificates: who may come in, what servers are told, and which hosts a connection is for.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use support::tls::{Authority, connect};
use support::{Client, End, Server, Setup, Wire, request, tools};

const CLIENT_CERT: &str = "x-forwarded-client-cert";

/// What curl says of a request for `host` on a connection that asks for `name`.
async fn curl(
    authority: &Authority,
    (name, host): (&str, &str),
    address: SocketAddr,
    args: &[&str],
) -> Output {
    let mut curl = Command::new(tools::program("curl", "curl"));
    curl.args(["--silent", "--show-error", "--max-time", "10", "--cacert"])
        .arg(authority.file())
        .args(["--connect-to", &format!("::{address}")])
        .args(["--header", &format!("Host: {host}")])
        .args(["--write-out", " %{http_code}"])
        .args(args)
        .arg(format!("https://{name}/"))
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || curl.output());
    output.await.unwrap().unwrap()
}

fn status(output: &Output) -> Option<String> {
    let said = String::from_utf8_lossy(&output.stdout);
    let status = said.rsplit(' ').next()?.to_owned();
    (output.status.success()).then_some(status)
}

/// One certificate for the names of all tests.
fn tls(authority: &Authority) -> Value {
    let names = ["public.test", "admin.test", "x.admin.test"];
    let (cert_file, key_file) = authority.pair("server", &names);
    json!({ "cert_file": cert_file, "key_file": key_file })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_must_show_a_certificate_does_and_the_server_is_told_of_it() {
    let (authority, others) = (Authority::new(), Authority::new());
    let (cert, key) = authority.client("ann", "spiffe://test/ann");
    let (stranger, stranger_key) = others.client("ann", "spiffe://test/ann");
    let ours = ["--cert", &*cert, "--key", &*key];
    let theirs = ["--cert", &*stranger, "--key", &*stranger_key];
    let server = Server::start().await;
    for mode in ["require", "optional"] {
        let mut tls = tls(&authority);
        tls["client_auth"] = json!({ "ca_file": authority.file(), "mode": mode });
        let setup = Setup::to(server.url("http"))
            .set("entrypoints/web/tls", tls)
            // Whom it trusts to speak for others: even they do not say who shows certificates here.
            .set("entrypoints/web/trusted_proxies", json!(["127.0.0.1"]));
        let gateway = setup.start().await;
        for version in ["--http1.1", "--http2"] {
            let forged = ["--header", "X-Forwarded-Client-Cert: Hash=forged", version];
            let names = ("public.test", "public.test");
            let output = curl(
                &authority,
                names,
                gateway.address(),
                &[&forged[..], &ours].concat(),
            )
            .await;
            assert_eq!(status(&output).as_deref(), Some("200"), "{output:?}");
            let told = server.last().header(CLIENT_CERT).unwrap();
            let expected = ";Subject=\"CN=ann\";URI=spiffe://test/ann";
            assert!(
                told.starts_with("Hash=") && told.ends_with(expected),
                "{told}"
            );

            let output = curl(&authority, names, gateway.address(), &forged).await;
            let expected = (mode == "optional").then_some("200");
            assert_eq!(status(&output).as_deref(), expected, "{output:?}");
            if expected.is_some() {
                assert_eq!(server.last().header(CLIENT_CERT), None);
            }
            let output = curl(
                &authority,
                names,
                gateway.address(),
                &[&forged[..], &theirs].concat(),
            )
            .await;
            assert_eq!(status(&output), None, "{output:?}");
        }
    }
}

/// A gateway whose hosts under `admin.test` ask clients for certificates of an authority.
fn admins(server: &Server, authority: &Authority) -> Setup {
    let asks = json!({ "client_auth": { "ca_file": authority.file() } });
    open(server, authority)
        .set("routers/admin/tls", asks.clone())
        .set("routers/admins/tls", asks)
}

/// The same, without asking.
fn open(server: &Server, authority: &Authority) -> Setup {
    Setup::to(server.url("http"))
        .set("entrypoints/web/tls", tls(authority))
        .route("admin", "Host(`admin.test`) && PathPrefix(`/`)", "backend")
        .route("admins", "Host(`*.admin.test`)", "backend")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_for_hosts_that_ask_for_the_same() {
    let authority = Authority::new();
    let (cert, key) = authority.client("ann", "spiffe://test/ann");
    let ours = ["--cert", &*cert, "--key", &*key];
    let server = Server::start().await;
    let gateway = admins(&server, &authority).start().await;
    for version in ["--http1.1", "--http2"] {
        for (names, has_one, expected) in [
            (("public.test", "public.test"), false, Some("200")),
            (("public.test", "other.test"), false, Some("200")),
            (("admin.test", "admin.test"), true, Some("200")),
            (("x.admin.test", "x.admin.test"), true, Some("200")),
            (("admin.test", "X.ADMIN.test.:443"), true, Some("200")),
            (("admin.test", "admin.test"), false, None),
            (("x.admin.test", "x.admin.test"), false, None),
            (("public.test", "admin.test"), false, Some("421")),
            (("public.test", "admin.test"), true, Some("421")),
            (("public.test", "admin.test."), true, Some("421")),
            (("public.test", "Y.Admin.test:443"), true, Some("421")),
            (("admin.test", "public.test"), true, Some("421")),
        ] {
            let before = server.requests();
            let ours: &[&str] = if has_one { &ours } else { &[] };
            let args = [&[version][..], ours].concat();
            let output = curl(&authority, names, gateway.address(), &args).await;
            assert_eq!(
                status(&output).as_deref(),
                expected,
                "{names:?}: {output:?}"
            );
            let has_seen = server.requests() > before;
            assert_eq!(has_seen, expected == Some("200"), "{names:?}");
        }
    }
    // Who names nobody came to nobody who asks.
    let mut config = authority.trusting(&["http/1.1"]);
    config.enable_sni = false;
    let stream = connect(config, gateway.address(), "admin.test").await;
    let mut wire = Wire::new(stream.unwrap());
    wire.send("GET / HTTP/1.1\r\nHost: admin.test\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.status(), 421);
    assert_eq!(wire.rest().await.1, End::Closed);
}

#[tokio::test]
async fn a_reload_that_asks_for_more_asks_those_who_are_there() {
    let authority = Authority::new();
    let server = Server::start().await;
    let open = open(&server, &authority);
    let whole = |setup: Setup, asks: bool| match asks {
        true => setup.set(
            "entrypoints/web/tls/client_auth",
            json!({ "ca_file": authority.file() }),
        ),
        false => setup,
    };
    for asks_all in [false, true] {
        let gateway = open.start().await;
        let stream = async |protocol: &str| {
            let config = authority.trusting(&[protocol]);
            connect(config, gateway.address(), "admin.test")
                .await
                .unwrap()
        };
        let mut h1 = Client::h1(stream("http/1.1").await).await;
        let mut h2 = Client::h2(stream("h2").await).await;
        let ask = || {
            let mut request = request("GET", "/");
            let host = "admin.test".parse().unwrap();
            request.headers_mut().insert("host", host);
            request
        };
        let ask_h2 = || {
            let mut request = request("GET", "/");
            *request.uri_mut() = "https://admin.test/".parse().unwrap();
            request
        };
        assert_eq!(h1.ask(ask()).await.status, 200);
        assert_eq!(h2.ask(ask_h2()).await.status, 200);
        let next = match asks_all {
            true => whole(open.clone(), true),
            false => admins(&server, &authority),
        };
        gateway.become_(&next).await;
        assert_eq!(h1.ask(ask()).await.status, 421, "{asks_all}");
        assert_eq!(h2.ask(ask_h2()).await.status, 421, "{asks_all}");
        assert_eq!(server.requests() % 2, 0);
    }
}
