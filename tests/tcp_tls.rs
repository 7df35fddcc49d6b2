//! Connections by what a TLS client says of itself first: ended here, passed through, or beside HTTP.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use support::tls::Authority;
use support::{
    End, Port, Process, Server, Setup, TestGateway, Wire, connect, connect_from, eventually, tools,
    within,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, channel};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

type Tls = Wire<TlsStream<TcpStream>>;

/// Says its name, then everything that it is told, and at the end goodbye.
async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, name: &str) {
    let _ = stream.write_all(name.as_bytes()).await;
    let _ = stream.flush().await;
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => break,
            Ok(read) => {
                let _ = stream.write_all(&buffer[..read]).await;
                let _ = stream.flush().await;
            }
            Err(_) => return,
        }
    }
    let _ = stream.write_all(b"bye").await;
    let _ = stream.shutdown().await;
}

/// A server that talks in the clear.
async fn clear(name: &'static str) -> Server {
    Server::raw(move |wire, _| talk(wire.into_io(), name)).await
}

/// A server that has a certificate of its own.
async fn encrypted(name: &'static str, authority: &Authority) -> Server {
    let acceptor = TlsAcceptor::from(Arc::new(authority.server("own.test", &[], false)));
    Server::raw(move |wire, _| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(wire.into_io()).await {
                talk(stream, name).await;
            }
        }
    })
    .await
}

/// A server that reports all that it is told, and how that ends.
async fn listening() -> (Server, Receiver<(Vec<u8>, End)>) {
    let (report, heard) = channel(8);
    let server = Server::raw(move |mut wire, _| {
        let report = report.clone();
        async move {
            let _ = report.send(wire.rest().await).await;
        }
    })
    .await;
    (server, heard)
}

async fn heard(heard: &mut Receiver<(Vec<u8>, End)>) -> (Vec<u8>, End) {
    within("the server hears", heard.recv()).await.unwrap()
}

/// An entrypoint `web` of TCP.
fn tcp() -> Setup {
    Setup::new().set("entrypoints/web/protocol", "tcp")
}

/// Our certificates, and an entrypoint `web` that has them.
fn ours() -> Authority {
    Authority::new()
}

fn ended(setup: Setup, ours: &Authority) -> Setup {
    let (cert_file, key_file) = ours.files("ours.test");
    let tls = json!({ "cert_file": cert_file, "key_file": key_file });
    setup.set("entrypoints/web/tls", tls)
}

/// A router of connections, and a service of its name.
fn to(setup: Setup, name: &str, rule: &str, server: &Server) -> Setup {
    setup
        .route(name, rule, name)
        .set(&format!("routers/{name}/entrypoints"), json!(["web"]))
        .service(name, server.url("tcp"))
}

/// As [`to`], with TLS passed through.
fn past(setup: Setup, name: &str, rule: &str, server: &Server) -> Setup {
    to(setup, name, rule, server).set(
        &format!("routers/{name}/tls"),
        json!({ "passthrough": true }),
    )
}

fn client_config(authority: &Authority, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let pem = authority.pem();
    roots
        .add(rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A client that believes `authority`, and asks for `name`.
async fn shake(
    authority: &Authority,
    address: SocketAddr,
    name: &str,
    alpn: &[&str],
) -> std::io::Result<Tls> {
    // Whoever is refused may find that out while it connects.
    let stream = connect_from([127, 0, 0, 1], address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = TlsConnector::from(client_config(authority, alpn));
    let stream = within("a handshake", connector.connect(name, stream)).await?;
    Ok(Wire::new(stream))
}

/// Such a client, and the name (a letter) of the server that it comes to.
async fn greeted(authority: &Authority, gateway: &TestGateway, name: &str) -> (String, Tls) {
    let mut wire = shake(authority, gateway.address(), name, &[])
        .await
        .unwrap();
    let letter = wire.exactly(1).await;
    (String::from_utf8(letter).unwrap(), wire)
}

async fn says<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, words: &str) {
    wire.send(words).await;
    assert_eq!(wire.exactly(words.len()).await, words.as_bytes());
}

/// What a client says first.
fn hello(name: &str, alpn: &[&str]) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let config = client_config(&Authority::new(), alpn);
    let mut client = ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same in records of so many bytes.
fn in_records(hello: &[u8], length: usize) -> Vec<u8> {
    let record = |part: &[u8]| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[22, 3, 1][..], &length, part].concat()
    };
    hello[5..].chunks(length).flat_map(record).collect()
}

fn openssl() -> Command {
    Command::new(tools::program("openssl", "openssl"))
}

/// What `openssl s_client` prints that believes `authority`, verifies `name` and says `words`.
async fn s_client(
    authority: &Authority,
    address: SocketAddr,
    name: &str,
    words: &'static str,
) -> Output {
    let mut command = openssl();
    command
        .args(["s_client", "-quiet", "-verify_quiet", "-connect"])
        .arg(address.to_string())
        .args(["-servername", name, "-verify_hostname", name])
        .args(["-verify_return_error", "-CAfile"])
        .arg(authority.file())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // Whoever refuses the certificate reads nothing.
        let _ = child.stdin.as_mut().unwrap().write_all(words.as_bytes());
        child.wait_with_output().unwrap()
    });
    within("s_client", output).await.unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A server that ends what it says with its client's first line.
async fn one_line(acceptor: Option<TlsAcceptor>) -> Server {
    Server::raw(move |wire, _| {
        let acceptor = acceptor.clone();
        async move {
            let io = wire.into_io();
            match acceptor {
                None => answer(io).await,
                Some(acceptor) => {
                    if let Ok(io) = acceptor.accept(io).await {
                        answer(io).await;
                    }
                }
            }
        }
    })
    .await
}

async fn answer(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while byte != *b"\n" && matches!(io.read(&mut byte).await, Ok(1)) {
        line.extend(byte);
    }
    line.reverse();
    let _ = io.write_all(&line).await;
    let _ = io.shutdown().await;
    // Until the client has ended, too.
    let _ = io.read_to_end(&mut line).await;
}

async fn shown(gateway: &TestGateway, path: &str, name: &str) -> Value {
    let list = gateway.admin(&format!("/api/gateway/{path}")).await;
    let mut list = list.as_array().unwrap().iter();
    list.find(|each| each["name"] == name).unwrap().clone()
}

async fn refused(gateway: &TestGateway, why: &str) -> u64 {
    let entrypoint = shown(gateway, "entrypoints", "web").await;
    entrypoint["refused_connections"][why].as_u64().unwrap()
}

async fn ends(gateway: &TestGateway, service: &str, how: &str) -> u64 {
    let service = shown(gateway, "services", service).await;
    service["connections"]["ended"][how].as_u64().unwrap()
}

// Who sees which certificate.

#[tokio::test(flavor = "multi_thread")]
async fn openssl_sees_the_servers_certificate_past_us_and_ours_where_tls_ends() {
    let (ours, theirs) = (ours(), Authority::new());
    let acceptor = TlsAcceptor::from(Arc::new(theirs.server("own.test", &[], false)));
    let (own, plain) = (one_line(Some(acceptor)).await, one_line(None).await);
    let setup = past(ended(tcp(), &ours), "own", "HostSNI(`own.test`)", &own);
    let setup = to(setup, "plain", "HostSNI(`*`)", &plain);
    let gateway = setup.start().await;
    for (authority, name, is_seen) in [
        (&theirs, "own.test", true),
        (&ours, "ours.test", true),
        (&ours, "own.test", false),
        (&theirs, "ours.test", false),
    ] {
        let output = s_client(authority, gateway.address(), name, "hello\n").await;
        let expected = if is_seen { "\nolleh" } else { "" };
        assert_eq!(printed(&output), expected, "{name} {output:?}");
    }
    assert_eq!((own.accepted(), plain.accepted()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_openssl_is_passed_through_to() {
    let theirs = Authority::new();
    let (cert, key) = theirs.files("own.test");
    let port = Port::reserve();
    let mut server = openssl()
        .args(["s_server", "-rev", "-accept"])
        .arg(port.address().to_string())
        .args(["-cert", &cert, "-key", &key])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let setup = tcp()
        .route("own", "HostSNI(`own.test`)", "own")
        .set("routers/own/entrypoints", json!(["web"]))
        .set("routers/own/tls", json!({ "passthrough": true }))
        .service("own", format!("tcp://{}", port.address()));
    let gateway = setup.start().await;
    let mut said = None;
    // It takes its time to listen.
    within("s_server answers", async {
        while said.is_none() {
            if let Ok(mut wire) = shake(&theirs, gateway.address(), "own.test", &[]).await {
                wire.send("hello\n").await;
                said = wire.until(b"\n").await;
            }
        }
    })
    .await;
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(said.unwrap(), b"olleh\n");
}

// Who takes what.

#[tokio::test]
async fn routers_choose_by_name_pattern_protocol_and_address() {
    let ours = ours();
    let servers = [
        ("a", "HostSNI(`ours.test`) && ALPN(`one`)"),
        ("b", "HostSNI(`ours.test`) && ALPN(`two`)"),
        ("c", "HostSNI(`ours.test`) && ClientIP(`127.0.0.1`)"),
        ("d", "HostSNIRegexp(`^[0-9]\\.test$`)"),
        ("e", "HostSNI(`*`)"),
    ];
    let mut setup = ended(tcp(), &ours);
    let mut running = Vec::new();
    for (name, rule) in servers {
        let server = clear(name).await;
        setup = to(setup, name, rule, &server);
        running.push(server);
    }
    // Without it, the longer rule goes first.
    let gateway = setup.set("routers/c/priority", 9).start().await;
    for (name, alpn, expected) in [
        ("ours.test", &["one"][..], "a"),
        ("OURS.test", &["zero", "two"], "b"),
        ("ours.test", &["three"], "c"),
        ("ours.test", &[], "c"),
        ("7.test", &[], "d"),
        ("77.test", &["one"], "e"),
        // An address is no name.
        ("127.0.0.1", &[], "e"),
    ] {
        let stream = connect(gateway.address()).await;
        let named = ServerName::try_from(name.to_owned()).unwrap();
        let mut config = Arc::unwrap_or_clone(client_config(&ours, alpn));
        // Which certificate is shown is not asked here.
        let verifier = Arc::new(Anyone(Arc::clone(config.crypto_provider())));
        config.dangerous().set_certificate_verifier(verifier);
        let connector = TlsConnector::from(Arc::new(config));
        let stream = within("a handshake", connector.connect(named, stream)).await;
        let mut wire = Wire::new(stream.unwrap());
        let letter = wire.exactly(1).await;
        assert_eq!(letter, expected.as_bytes(), "{name} {alpn:?}");
        // Nothing of HTTP is agreed on with those who do not speak it.
        assert_eq!(wire.into_io().get_ref().1.alpn_protocol(), None);
    }
}

/// Believes every certificate.
#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &[rustls_pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls_pki_types::CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.verify_tls12_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn a_hello_in_single_bytes_over_many_records_arrives_as_it_was_sent() {
    let (server, mut told) = listening().await;
    let (other, _) = listening().await;
    let setup = past(tcp(), "a", "HostSNI(`a.test`) && ALPN(`h2`)", &server);
    let gateway = to(setup, "other", "HostSNI(`*`)", &other).start().await;
    let hello = hello("a.test", &["h2"]);
    for length in [1, 7, 1000] {
        let bytes = in_records(&hello, length);
        let mut stream = gateway.connect().await;
        stream.set_nodelay(true).unwrap();
        for byte in &bytes {
            stream.write_all(&[*byte]).await.unwrap();
        }
        stream.shutdown().await.unwrap();
        assert_eq!(heard(&mut told).await, (bytes, End::Closed));
    }
    assert_eq!(other.accepted(), 0);
}

#[tokio::test]
async fn a_hello_in_single_bytes_over_many_records_is_answered_where_tls_ends() {
    let ours = ours();
    let server = clear("a").await;
    let tcp = to(ended(tcp(), &ours), "a", "HostSNI(`a.test`)", &server);
    let http = ended(Setup::to("http://127.0.0.1:1"), &ours);
    // With and without somebody who looks at it first.
    for setup in [
        tcp,
        to(http.clone(), "a", "HostSNI(`b.test`)", &server),
        http,
    ] {
        let gateway = setup.start().await;
        for length in [1, 1000] {
            let mut stream = gateway.connect().await;
            stream.set_nodelay(true).unwrap();
            for byte in in_records(&hello("a.test", &[]), length) {
                stream.write_all(&[byte]).await.unwrap();
            }
            // A handshake, of which the second message is the server's hello.
            let mut wire = Wire::new(stream);
            let record = wire.exactly(6).await;
            assert_eq!((record[0], record[5]), (22, 2), "{record:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_tls_goes_to_those_who_pass_none_through_and_at_once() {
    let theirs = Authority::new();
    let (own, plain) = (encrypted("a", &theirs).await, clear("b").await);
    let setup = past(tcp(), "own", "HostSNI(`own.test`)", &own);
    let setup = to(setup, "plain", "HostSNI(`*`)", &plain);
    let gateway = setup.start().await;
    assert_eq!(greeted(&theirs, &gateway, "own.test").await.0, "a");
    let endless = [&[22, 3, 3, 0, 5, 1, 255, 255, 255, 0][..], &[0; 100]].concat();
    let mut large = in_records(
        &[&[0; 5][..], &[1, 1, 0, 0], &[7; 65_536]].concat(),
        1 << 14,
    );
    large.truncate(65_536);
    for begins in [
        // A request for TLS of PostgreSQL, which its server answers with a letter.
        b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec(),
        b"GET / HTTP/1.1\r\n".to_vec(),
        vec![22, 4],
        endless,
        large,
        // TLS that nobody passes through.
        hello("other.test", &[]),
        hello("127.0.0.1", &[]),
    ] {
        let mut wire = gateway.wire().await;
        wire.send(&begins).await;
        let came = wire.exactly(1 + begins.len()).await;
        assert!(came.starts_with(b"b") && came.ends_with(&begins));
        wire.end().await;
        assert_eq!(wire.rest().await, (b"bye".to_vec(), End::Closed));
    }
}

/// A server as PostgreSQL is: no TLS, and messages with their length before them.
async fn database() -> Server {
    Server::raw(|mut wire, _| async move {
        assert_eq!(wire.exactly(8).await, b"\0\0\0\x08\x04\xd2\x16\x2f");
        wire.send("N").await;
        let length = wire.exactly(4).await;
        let length = u32::from_be_bytes(length.try_into().unwrap());
        let startup = wire.exactly(length as usize - 4).await;
        assert_eq!(startup[..4], [0, 3, 0, 0]);
        // Ready.
        wire.send(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await;
        wire.hang().await;
    })
    .await
}

#[tokio::test]
async fn databases_are_spoken_to_in_the_clear_beside_tls() {
    let (server, first) = (database().await, clear("first").await);
    let theirs = Authority::new();
    let own = encrypted("a", &theirs).await;
    let setup = past(tcp(), "own", "HostSNI(`own.test`)", &own);
    let setup = to(setup, "db", "HostSNI(`*`)", &server)
        .set(
            "entrypoints/first",
            json!({ "address": "127.0.0.1:0", "protocol": "tcp" }),
        )
        .route("first", "HostSNI(`*`)", "first")
        .set("routers/first/entrypoints", json!(["first"]))
        .service("first", first.url("tcp"));
    let gateway = setup.start().await;
    let mut wire = gateway.wire().await;
    wire.send(b"\0\0\0\x08\x04\xd2\x16\x2f").await;
    assert_eq!(wire.exactly(1).await, b"N");
    let startup = b"\0\x03\0\0user\0me\0\0";
    let length = u32::try_from(startup.len() + 4).unwrap().to_be_bytes();
    wire.send([&length[..], startup].concat()).await;
    assert_eq!(wire.exactly(15).await[..2], *b"R\0");
    // Where nobody asks for TLS, a server may speak first.
    let mut wire = Wire::new(connect(gateway.address_of("first").await).await);
    assert_eq!(wire.exactly(5).await, b"first");
}

#[tokio::test]
async fn connections_that_nobody_takes_are_reset_and_counted() {
    let (ours, theirs) = (ours(), Authority::new());
    let own = encrypted("a", &theirs).await;
    for (setup, is_ended) in [(tcp(), false), (ended(tcp(), &ours), true)] {
        let setup = past(setup, "own", "HostSNI(`own.test`)", &own).admin();
        let gateway = setup.start().await;
        let mut count = 0;
        for begins in [hello("other.test", &[]), b"GET / HTTP/1.1\r\n".to_vec()] {
            let mut wire = gateway.wire().await;
            wire.send(&begins).await;
            assert_eq!(wire.rest().await, (Vec::new(), End::Reset), "{is_ended}");
            count += 1;
            assert_eq!(refused(&gateway, "no_router").await, count);
        }
        assert_eq!(greeted(&theirs, &gateway, "own.test").await.0, "a");
    }
    assert_eq!(own.accepted(), 2);
}

#[tokio::test]
async fn a_handshake_that_is_not_finished_gives_its_place_back() {
    let ours = ours();
    let server = clear("a").await;
    let setup = to(ended(tcp(), &ours), "a", "HostSNI(`*`)", &server)
        .set("entrypoints/web/tls/handshake_timeout", "300ms")
        .set("entrypoints/web/max_connections", 3)
        .admin();
    let gateway = setup.start().await;
    let hello = hello("ours.test", &[]);
    let mut open = Vec::new();
    // Nothing, a part, and a hello without what comes after it.
    for part in [0, 100, hello.len()] {
        let mut wire = gateway.wire().await;
        wire.send(&hello[..part]).await;
        open.push(wire);
    }
    for (number, mut wire) in open.into_iter().enumerate() {
        let end = wire.rest().await.1;
        assert!(number == 2 || end == End::Reset, "{number}");
    }
    within("all are counted", async {
        while refused(&gateway, "handshake").await < 3 {}
    })
    .await;
    assert_eq!(greeted(&ours, &gateway, "ours.test").await.0, "a");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn past_the_limit_and_the_filter_there_is_no_handshake() {
    let ours = ours();
    let server = clear("a").await;
    let filter = json!({ "type": "tcp-filter", "max_connections": 1 });
    let base = to(ended(tcp(), &ours), "a", "HostSNI(`ours.test`)", &server).admin();
    let limited = base.clone().set("entrypoints/web/max_connections", 1);
    let filtered = base
        .set("middlewares/few", filter)
        .set("routers/a/middlewares", json!(["few"]));
    for (setup, why) in [(limited, "full"), (filtered, "filtered")] {
        let gateway = setup.start().await;
        let (_, mut open) = greeted(&ours, &gateway, "ours.test").await;
        let refusal = shake(&ours, gateway.address(), "ours.test", &[]).await;
        assert!(refusal.is_err(), "{why}");
        assert_eq!(refused(&gateway, why).await, 1, "{why}");
        says(&mut open, "still here").await;
    }
}

// Bytes through an end of TLS.

#[tokio::test]
async fn each_side_may_end_before_the_other_through_tls() {
    let ours = ours();
    let server = clear("a").await;
    let setup = to(ended(tcp(), &ours), "a", "HostSNI(`*`)", &server);
    let gateway = setup.start().await;
    let (_, mut wire) = greeted(&ours, &gateway, "ours.test").await;
    says(&mut wire, "one").await;
    wire.end().await;
    assert_eq!(wire.rest().await, (b"bye".to_vec(), End::Closed));

    let (report, mut told) = channel(1);
    let first = Server::raw(move |mut wire, _| {
        let report = report.clone();
        async move {
            wire.send("enough").await;
            wire.end().await;
            let _ = report.send(wire.rest().await).await;
        }
    })
    .await;
    let setup = to(ended(tcp(), &ours), "a", "HostSNI(`*`)", &first);
    let gateway = setup.start().await;
    let mut wire = shake(&ours, gateway.address(), "ours.test", &[])
        .await
        .unwrap();
    assert_eq!(wire.rest().await, (b"enough".to_vec(), End::Closed));
    wire.send("and yet").await;
    wire.end().await;
    assert_eq!(heard(&mut told).await, (b"and yet".to_vec(), End::Closed));
}

#[tokio::test]
async fn a_client_that_vanishes_has_not_ended() {
    let ours = ours();
    let (server, mut told) = listening().await;
    let setup = to(ended(tcp(), &ours), "a", "HostSNI(`*`)", &server).admin();
    let gateway = setup.start().await;
    let mut wire = shake(&ours, gateway.address(), "ours.test", &[])
        .await
        .unwrap();
    wire.send("half of").await;
    let (mut stream, _) = wire.into_io().into_inner();
    // The end of TCP, and none of TLS.
    stream.shutdown().await.unwrap();
    let (words, end) = heard(&mut told).await;
    assert_eq!(end, End::Reset);
    assert!(b"half of".starts_with(&words[..]), "{words:?}");
    eventually("it is gone", || server.open() == 0).await;
    assert_eq!(ends(&gateway, "a", "broken").await, 1);
}

#[tokio::test]
async fn much_goes_both_ways_through_tls_and_is_counted() {
    const LENGTH: usize = 4 << 20;
    let ours = ours();
    let server = clear("").await;
    let setup = to(ended(tcp(), &ours), "a", "HostSNI(`*`)", &server).admin();
    let gateway = setup.start().await;
    let wire = shake(&ours, gateway.address(), "ours.test", &[])
        .await
        .unwrap();
    let (mut reading, mut writing) = tokio::io::split(wire.into_io());
    let sent: Vec<u8> = (0..LENGTH).map(|i| ((i * i) >> 7) as u8).collect();
    let send = async {
        writing.write_all(&sent).await.unwrap();
        writing.shutdown().await.unwrap();
    };
    let mut read = Vec::new();
    let both = async { tokio::join!(send, reading.read_to_end(&mut read)) };
    within("all is there", both).await.1.unwrap();
    assert!(read == [&sent[..], b"bye"].concat(), "{}", read.len());
    let open = "gateway_open_connections{entrypoint=\"web\"}";
    eventually("it has ended", || gateway.metric(open) == Some(0.0)).await;
    let counts = shown(&gateway, "services", "a").await["connections"].clone();
    assert_eq!(
        counts,
        json!({
            "open": 0, "opened": 1,
            "ended": { "whole": 1, "broken": 0, "idle": 0, "unserved": 0, "cut_off": 0 },
            "received_bytes": LENGTH, "sent_bytes": LENGTH + 3,
        })
    );
}

#[tokio::test]
async fn a_connection_on_which_nothing_goes_is_reset() {
    let ours = ours();
    let server = clear("a").await;
    let idle = "services/a/load_balancer/timeouts/idle";
    for setup in [
        to(tcp(), "a", "HostSNI(`*`)", &server),
        to(ended(tcp(), &ours), "a", "HostSNI(`*`)", &server),
    ] {
        let is_ended = setup.text().contains("cert_file");
        let gateway = setup.set(idle, "200ms").admin().start().await;
        let end = if is_ended {
            let (_, mut wire) = greeted(&ours, &gateway, "ours.test").await;
            wire.rest().await.1
        } else {
            let mut wire = gateway.wire().await;
            wire.exactly(1).await;
            wire.rest().await.1
        };
        assert_eq!(end, End::Reset);
        eventually("the server's, too", || server.open() == 0).await;
        assert_eq!(ends(&gateway, "a", "idle").await, 1);
    }
}

// Services.

#[tokio::test]
async fn strategies_and_failover_work_behind_names() {
    let ours = ours();
    let (a, b, spare) = (clear("a").await, clear("b").await, clear("s").await);
    let gone = Port::reserve();
    let servers = |urls: &[&dyn Display]| -> Value {
        urls.iter()
            .map(|url| json!({ "url": url.to_string() }))
            .collect()
    };
    let (one, two) = (a.url("tcp"), b.url("tcp"));
    let nowhere = format!("tcp://{}", gone.address());
    for strategy in [
        "round-robin",
        "weighted",
        "least-connections",
        "random",
        "p2c-ewma",
        "consistent-hash",
    ] {
        let setup = to(ended(tcp(), &ours), "pair", "HostSNI(`ours.test`)", &a)
            .set("services/pair/load_balancer/strategy", strategy)
            .set(
                "services/pair/load_balancer/servers",
                servers(&[&one, &two, &nowhere]),
            );
        let gateway = setup.start().await;
        for _ in 0..6 {
            let (name, mut wire) = greeted(&ours, &gateway, "ours.test").await;
            assert!(["a", "b"].contains(&&*name), "{strategy} {name}");
            says(&mut wire, "hello").await;
        }
    }
    let setup = to(ended(tcp(), &ours), "a", "HostSNI(`ours.test`)", &a)
        .set("services/a/load_balancer/servers", servers(&[&nowhere]))
        .service("spare", spare.url("tcp"))
        .set("services/a/failover", json!({ "service": "spare" }));
    let gateway = setup.start().await;
    assert_eq!(greeted(&ours, &gateway, "ours.test").await.0, "s");
}

// Beside HTTP.

#[tokio::test(flavor = "multi_thread")]
async fn http_and_connections_share_an_entrypoint() {
    let (ours, theirs) = (ours(), Authority::new());
    let (http, plain) = (Server::start().await, one_line(None).await);
    let acceptor = TlsAcceptor::from(Arc::new(theirs.server("own.test", &[], false)));
    let own = one_line(Some(acceptor)).await;
    let setup = ended(Setup::to(http.url("http")), &ours);
    let setup = to(setup, "plain", "ALPN(`postgresql`)", &plain);
    let setup = past(setup, "own", "HostSNI(`own.test`)", &own);
    let gateway = setup.start().await;
    let address = gateway.address();
    let curl = |arg: &str| {
        let mut curl = Command::new(tools::program("curl", "curl"));
        curl.args(["--silent", "--show-error", "--max-time", "10", arg])
            .args(["--cacert", &ours.file(), "--write-out", " %{http_version}"])
            .args(["--connect-to", &format!("::{address}")])
            .arg("https://ours.test/path");
        tokio::task::spawn_blocking(move || curl.output().unwrap())
    };
    let database = async {
        let wire = shake(&ours, address, "ours.test", &["postgresql"]).await;
        let mut wire = wire.unwrap();
        wire.send("hello\n").await;
        wire.rest().await
    };
    let (h2, h1, passed, (said, end)) = tokio::join!(
        curl("--http2"),
        curl("--http1.1"),
        s_client(&theirs, address, "own.test", "hello\n"),
        database,
    );
    assert_eq!(printed(&h2.unwrap()), "/path 2");
    assert_eq!(printed(&h1.unwrap()), "/path 1.1");
    assert_eq!(printed(&passed), "\nolleh");
    assert_eq!((&said[..], end), (&b"\nolleh"[..], End::Closed));
    assert_eq!(
        (http.requests(), own.accepted(), plain.accepted()),
        (2, 1, 1)
    );
    // What is no TLS is refused as without them.
    let mut wire = gateway.wire().await;
    wire.send("GET / HTTP/1.1\r\nhost: ours.test\r\n\r\n").await;
    wire.ended().await;
    assert_eq!(http.requests(), 2);
}

// Reloads.

#[tokio::test]
async fn reloads_end_no_connection_and_lose_none() {
    const RELOADS: usize = 60;
    let (ours, theirs) = (ours(), Authority::new());
    let (own, plain) = (encrypted("a", &theirs).await, clear("b").await);
    // TCP with TLS ended, without, with names, and with another router.
    let through = past(tcp(), "own", "HostSNI(`own.test`)", &own);
    let base = to(through.clone(), "plain", "HostSNI(`*`)", &plain);
    let with_tls = ended(base.clone(), &ours);
    let alone = to(tcp(), "plain", "HostSNI(`*`)", &plain);
    let gateway = base.start().await;
    let (_, mut passed) = greeted(&theirs, &gateway, "own.test").await;
    let mut bytes = gateway.wire().await;
    bytes.send("!").await;
    assert_eq!(bytes.exactly(2).await, b"b!");
    gateway.become_(&with_tls).await;
    let (_, mut ending) = greeted(&ours, &gateway, "ours.test").await;
    let hello = hello("own.test", &[]);
    for round in 0..RELOADS {
        // One that has half begun goes on as it would have.
        let mut early = gateway.connect().await;
        early.write_all(&hello[..20]).await.unwrap();
        let next = [&base, &alone, &through, &with_tls][round % 4];
        gateway.become_(next).await;
        early.write_all(&hello[20..]).await.unwrap();
        says(&mut passed, "passed").await;
        says(&mut bytes, "bytes").await;
        says(&mut ending, "ended").await;
        match round % 4 {
            1 => assert_eq!(gateway.wire().await.exactly(1).await, b"b"),
            3 => {
                assert_eq!(greeted(&ours, &gateway, "ours.test").await.0, "b");
                assert_eq!(greeted(&theirs, &gateway, "own.test").await.0, "a");
            }
            _ => assert_eq!(greeted(&theirs, &gateway, "own.test").await.0, "a"),
        }
        // The server of whoever took it answers, with its hello or with its letter.
        assert!(Wire::new(early).try_byte().await.is_some(), "{round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_do_not_notice_that_an_entrypoint_gains_and_loses_names() {
    const RELOADS: usize = 100;
    let theirs = Authority::new();
    let (own, other) = (encrypted("a", &theirs).await, encrypted("a", &theirs).await);
    // The one peeks, and the other does not.
    let named = past(tcp(), "own", "HostSNI(`own.test`)", &own);
    let blind = to(tcp(), "all", "HostSNI(`*`)", &other);
    let gateway = Arc::new(named.clone().with_all_workers().start().await);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let (gateway, stopped) = (Arc::clone(&gateway), stopped.clone());
            let theirs = client_config(&theirs, &[]);
            tokio::spawn(async move {
                let mut served = 0;
                while !*stopped.borrow() {
                    let name = ServerName::try_from("own.test").unwrap();
                    let stream = gateway.connect().await;
                    let connector = TlsConnector::from(Arc::clone(&theirs));
                    let stream = within("a handshake", connector.connect(name, stream)).await;
                    assert_eq!(Wire::new(stream.unwrap()).exactly(1).await, b"a");
                    served += 1;
                }
                served
            })
        })
        .collect();
    for round in 0..RELOADS {
        gateway.become_([&blind, &named][round % 2]).await;
    }
    stop.send(true).unwrap();
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
}

// Memory.

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_idle_connections_cost_little() {
    const COUNT: usize = 2000;
    /// Of each, with the connection to its server, and what the allocator keeps.
    const BYTES: u64 = 16 * 1024;
    let own = clear("").await;
    let setup = past(tcp(), "own", "HostSNI(`own.test`)", &own);
    let process = Process::start(&setup.text(), &["web"]).await;
    let address = process.address("web");
    let hello = hello("own.test", &[]);
    let mut open = Vec::new();
    for half in [&hello[..], &hello[..7]] {
        let before = process.resident_bytes();
        for _ in 0..COUNT / 2 {
            let mut stream = connect(address).await;
            stream.write_all(half).await.unwrap();
            open.push(Wire::new(stream));
        }
        if half.len() == hello.len() {
            for wire in &mut open {
                assert_eq!(wire.exactly(hello.len()).await, hello);
            }
        }
        let grown = process.resident_bytes().saturating_sub(before) / (COUNT as u64 / 2);
        println!("{grown} bytes for each, after {} bytes", half.len());
        assert!(grown <= BYTES, "{grown} bytes for each");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_whose_tls_ends_here_cost_little() {
    const COUNT: usize = 300;
    const BYTES: u64 = 64 * 1024;
    let ours = ours();
    let server = clear("a").await;
    let setup = to(ended(tcp(), &ours), "a", "HostSNI(`*`)", &server);
    let process = Process::start(&setup.text(), &["web"]).await;
    let mut open = Vec::new();
    let mut before = 0;
    for number in 0..COUNT + 20 {
        // What is made once is not theirs.
        if number == 20 {
            before = process.resident_bytes();
        }
        let mut wire = shake(&ours, process.address("web"), "ours.test", &[])
            .await
            .unwrap();
        assert_eq!(wire.exactly(1).await, b"a");
        says(&mut wire, "hello").await;
        open.push(wire);
    }
    let grown = process.resident_bytes().saturating_sub(before) / COUNT as u64;
    println!("{grown} bytes for each whose TLS ends here");
    assert!(grown <= BYTES, "{grown} bytes for each");
}
