//! TLS with clients: what is agreed on, and with whom.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use support::tls::{Authority, connect};
use support::{End, Process, Server, Setup, TestGateway, Wire, tools, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

/// A gateway whose entrypoint has this `tls`.
async fn gateway(server: &Server, tls: Value) -> TestGateway {
    let setup = Setup::to(server.url("http")).set("entrypoints/web/tls", tls);
    setup.start().await
}

fn one(authority: &Authority) -> Value {
    let (cert_file, key_file) = authority.files("a.test");
    json!({ "cert_file": cert_file, "key_file": key_file })
}

async fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output());
    output.await.unwrap().unwrap()
}

/// What curl says of an exchange with `name`.
async fn curl(authority: &Authority, name: &str, address: SocketAddr, args: &[&str]) -> Output {
    let mut curl = Command::new(tools::program("curl", "curl"));
    curl.args(["--silent", "--show-error", "--max-time", "10", "--cacert"])
        .arg(authority.file())
        .args(["--connect-to", &format!("::{address}")])
        .args(["--write-out", " %{http_version}"])
        .args(args)
        .arg(format!("https://{name}/"));
    run(curl).await
}

/// What `openssl s_client` says of a handshake.
async fn s_client(address: SocketAddr, args: &[&str]) -> (bool, String) {
    let mut openssl = Command::new(tools::program("openssl", "openssl"));
    openssl
        .args(["s_client", "-connect", &address.to_string()])
        .args(args);
    let output = run(openssl).await;
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// The first certificate in a text.
fn certificate(text: &str) -> String {
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    let Some((_, rest)) = text.split_once(begin) else {
        return String::new();
    };
    rest.split(end).next().unwrap().split_whitespace().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_speaks_http_of_either_version_over_tls() {
    let authority = Authority::new();
    let server = Server::start().await;
    let gateway = gateway(&server, one(&authority)).await;
    for (arg, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let output = curl(&authority, "a.test", gateway.address(), &[arg]).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        assert!(said.ends_with(version), "{said}");
    }
    let proto = server.last().header("x-forwarded-proto");
    assert_eq!(proto.as_deref(), Some("https"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_is_that_of_the_name() {
    let authority = Authority::new();
    let server = Server::start().await;
    let certificates = [
        ("default", &["default.test"][..]),
        ("exact", &["x.a.test", "b.test"]),
        ("wildcard", &["*.a.test"]),
    ]
    .map(|(file, names)| authority.pair(file, names));
    let others = certificates[1..].iter();
    let others: Vec<_> = others
        .map(|(cert, key)| json!({ "cert_file": cert, "key_file": key }))
        .collect();
    let tls = json!({
        "cert_file": certificates[0].0, "key_file": certificates[0].1, "certificates": others,
    });
    let shown = certificates.each_ref().map(|(cert, _)| {
        let text = std::fs::read_to_string(cert).unwrap();
        certificate(&text)
    });
    let mut strict = tls.clone();
    strict["sni_strict"] = true.into();
    let lax = gateway(&server, tls).await;
    let strict = gateway(&server, strict).await;
    for (name, expected) in [
        (Some("default.test"), Some(0)),
        (Some("X.A.test"), Some(1)),
        (Some("b.test"), Some(1)),
        (Some("y.a.test"), Some(2)),
        (Some("y.y.a.test"), None),
        (Some("other.test"), None),
        (None, None),
    ] {
        let args: Vec<_> = match name {
            Some(name) => vec!["-servername", name],
            None => vec!["-noservername"],
        };
        let (is_served, text) = s_client(lax.address(), &args).await;
        assert!(is_served, "{name:?}: {text}");
        let index = shown.iter().position(|shown| *shown == certificate(&text));
        assert_eq!(index, expected.or(Some(0)), "{name:?}");
        let (is_served, text) = s_client(strict.address(), &args).await;
        assert_eq!(is_served, expected.is_some(), "{name:?}: {text}");
        if expected.is_none() {
            assert!(text.contains("unrecognized name"), "{name:?}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_protocols_are_those_that_are_written() {
    let authority = Authority::new();
    let server = Server::start().await;
    let mut tls = one(&authority);
    let usual = gateway(&server, tls.clone()).await;
    tls["min_version"] = "1.3".into();
    tls["alpn"] = json!(["http/1.1"]);
    let narrow = gateway(&server, tls).await;
    let h2 = "h2,http/1.1";
    for (gateway, args, expected) in [
        (
            &usual,
            &["-tls1_2", "-alpn", h2][..],
            Some(("TLSv1.2", "ALPN protocol: h2")),
        ),
        (
            &usual,
            &["-tls1_3", "-alpn", h2],
            Some(("TLSv1.3", "ALPN protocol: h2")),
        ),
        (
            &usual,
            &["-alpn", "http/1.1"],
            Some(("TLSv1.3", "ALPN protocol: http/1.1")),
        ),
        (&usual, &[], Some(("TLSv1.3", "No ALPN negotiated"))),
        (&usual, &["-alpn", "postgresql"], None),
        (&usual, &["-tls1_1"], None),
        (&narrow, &["-tls1_2"], None),
        (
            &narrow,
            &["-alpn", h2],
            Some(("TLSv1.3", "ALPN protocol: http/1.1")),
        ),
    ] {
        let (is_served, text) = s_client(gateway.address(), args).await;
        assert_eq!(is_served, expected.is_some(), "{args:?}: {text}");
        if let Some((version, protocol)) = expected {
            assert!(
                text.contains(&format!("New, {version}")),
                "{args:?}: {text}"
            );
            assert!(text.contains(protocol), "{args:?}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_kind_and_form_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let server = Server::start().await;
    let (key, cert, plain) = (file("key"), file("cert"), file("plain"));
    for (make, form) in [
        (
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            "pkey",
        ),
        (
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            "rsa -traditional",
        ),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            "pkey",
        ),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            "ec",
        ),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            "ec",
        ),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521",
            "pkey",
        ),
        ("genpkey -algorithm ED25519", "pkey"),
    ] {
        let run_all = [
            format!("{make} -out {plain}"),
            format!("{form} -in {plain} -out {key}"),
            format!(
                "req -x509 -new -key {plain} -subj /CN=a -addext subjectAltName=DNS:a.test -days 2 -out {cert}"
            ),
        ];
        for words in run_all {
            let mut openssl = Command::new(tools::program("openssl", "openssl"));
            openssl.args(words.split(' '));
            let output = run(openssl).await;
            assert!(output.status.success(), "{words}: {output:?}");
        }
        let tls = json!({ "cert_file": cert, "key_file": key });
        let gateway = gateway(&server, tls).await;
        let args = [
            "-CAfile",
            &cert,
            "-verify_hostname",
            "a.test",
            "-verify_return_error",
        ];
        let (is_served, text) = s_client(gateway.address(), &args).await;
        assert!(is_served, "{make}, {form}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_where_it_was_left_and_over_a_reload() {
    let authority = Authority::new();
    let server = Server::start().await;
    let setup = Setup::to(server.url("http")).set("entrypoints/web/tls", one(&authority));
    let gateway = setup.start().await;
    let directory = tempfile::tempdir().unwrap();
    let session = directory.path().join("session");
    for version in ["-tls1_2", "-tls1_3"] {
        let begun = talk(gateway.address(), &[version, "-sess_out"], &session).await;
        assert!(begun.contains("New, TLSv1."), "{version}: {begun}");
        gateway
            .become_(&setup.clone().route("other", "Path(`/other`)", "backend"))
            .await;
        let resumed = talk(gateway.address(), &[version, "-sess_in"], &session).await;
        assert!(resumed.contains("Reused, TLSv1."), "{version}: {resumed}");
        assert!(resumed.contains("200 OK"), "{version}: {resumed}");
    }
}

/// What `openssl s_client` says of a request, with its session in a file.
async fn talk(address: SocketAddr, args: &[&str], session: &Path) -> String {
    let mut openssl = Command::new(tools::program("openssl", "openssl"));
    openssl
        .args(["s_client", "-ign_eof", "-servername", "a.test"])
        .args(["-connect", &address.to_string()])
        .args(args)
        .arg(session)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let talking = tokio::task::spawn_blocking(move || {
        let mut child = openssl.spawn().unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
        child.stdin.take().unwrap().write_all(request).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = within("a session", talking).await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_exchanged_that_no_quantum_computer_reads() {
    let authority = Authority::new();
    let server = Server::start().await;
    let gateway = gateway(&server, one(&authority)).await;
    let mut provider = default_provider();
    provider.kx_groups = vec![kx_group::X25519MLKEM768];
    let config = authority.trusting_with(Arc::new(provider), &["http/1.1"]);
    let stream = connect(config, gateway.address(), "a.test").await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
}

/// The ClientHello of a client that asks for `a.test`.
fn hello(authority: &Authority) -> Vec<u8> {
    let config = Arc::new(authority.trusting(&["http/1.1"]));
    let mut client = rustls::ClientConnection::new(config, "a.test".try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same message in records of `size` bytes.
fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    let pieces = hello[5..].chunks(size);
    let record = |piece: &[u8]| {
        let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&hello[..3], &length, piece].concat()
    };
    pieces.flat_map(record).collect()
}

#[tokio::test]
async fn a_hello_may_come_in_pieces_and_records() {
    let authority = Authority::new();
    let server = Server::start().await;
    let gateway = gateway(&server, one(&authority)).await;
    let hello = hello(&authority);
    for (bytes, piece) in [
        (hello.clone(), 1),
        (in_records(&hello, 100), usize::MAX),
        (in_records(&hello, 300), 7),
    ] {
        let mut wire = gateway.wire().await;
        for piece in bytes.chunks(piece.min(bytes.len())) {
            wire.send(piece).await;
        }
        let (mut answer, mut stream) = ([0; 6], wire.into_io());
        within("a ServerHello", stream.read_exact(&mut answer))
            .await
            .unwrap();
        // A record of a handshake, whose first message is a ServerHello.
        assert_eq!((answer[0], answer[5]), (22, 2), "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_refused_and_one_that_stalls_ends() {
    let authority = Authority::new();
    let server = Server::start().await;
    let mut tls = one(&authority);
    tls["handshake_timeout"] = "300ms".into();
    let gateway = gateway(&server, tls).await;
    let hello = hello(&authority);
    let half = &hello[..hello.len() / 2];
    let endless = [&b"\x16\x03\x01\x40\x00\x01\xff\xff\xff"[..], &[0; 0x3ffc]].concat();
    let mut next = b"\x16\x03\x01\x40\x00".to_vec();
    next.extend([0; 0x4000]);
    let endless = [endless, next.repeat(8)].concat();
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".as_slice(),
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        &[0xff; 4096],
        &endless,
        b"",
        half,
    ] {
        let mut wire: Wire = gateway.wire().await;
        // It may be refused before all of it is sent.
        let _ = wire.try_send(bytes).await;
        let (_, end) = wire.rest().await;
        assert!(matches!(end, End::Closed | End::Reset));
    }
    assert_eq!(server.accepted(), 0);
}

/// How many clients have nothing to say.
const IDLE: usize = 2_000;

/// What each of them may cost: two buffers of rustls, and what is kept of the handshake.
const EACH: u64 = 40 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_clients_and_those_who_never_finish_a_handshake_cost_little() {
    let authority = Authority::new();
    let server = Server::start().await;
    let mut tls = one(&authority);
    tls["handshake_timeout"] = "5m".into();
    let setup = Setup::to(server.url("http")).set("entrypoints/web/tls", tls);
    let gateway = Process::start(&setup.text(), &["web"]).await;
    let address = gateway.address("web");
    let hello = Arc::new(hello(&authority));
    let config = authority.trusting(&["http/1.1"]);
    let first = connect(config.clone(), address, "a.test").await.unwrap();
    let before = gateway.resident_bytes();
    let mut opening = JoinSet::new();
    let mut clients = vec![first];
    let mut halves = Vec::new();
    for _ in 0..IDLE / 2 {
        let config = config.clone();
        opening.spawn(async move { connect(config, address, "a.test").await.unwrap() });
        let mut half = support::connect(address).await;
        half.write_all(&hello[..hello.len() / 2]).await.unwrap();
        halves.push(half);
        // Some at a time, for this machine may be small.
        while opening.len() > 16 {
            clients.push(opening.join_next().await.unwrap().unwrap());
        }
    }
    clients.extend(opening.join_all().await);
    let grown = gateway.resident_bytes().saturating_sub(before);
    let most = IDLE as u64 * EACH;
    assert!(grown < most, "{} KiB each", (grown / IDLE as u64) >> 10);
    // All of them are still there, and served.
    let last = clients.last_mut().unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    last.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    within("an answer", last.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}
