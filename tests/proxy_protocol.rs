//! The PROXY protocol: what those in front of us say of their clients, and what we say of ours.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::json;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use support::tls::Authority;
use support::{End, Server, Setup, TestGateway, Wire, connect_from, eventually, tools, within};

const V1: &str = "PROXY TCP4 192.0.2.7 192.0.2.99 4711 443\r\n";

/// The same in binary, with something behind the addresses.
fn v2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11".to_vec();
    header.extend([192, 0, 2, 7, 192, 0, 2, 99]);
    header.extend([4711u16.to_be_bytes(), 443u16.to_be_bytes()].concat());
    header.extend(b"\x01\0\x02h2");
    header
}

/// The header of a connection of the balancer's own.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn trusting(setup: Setup) -> Setup {
    setup.set(
        "entrypoints/web/proxy_protocol/trusted_ips",
        json!(["127.0.0.1"]),
    )
}

const OPEN: &str = "gateway_open_connections{entrypoint=\"web\"}";

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// An entrypoint of TCP before a server.
fn tcp(server: &Server) -> Setup {
    Setup::to(server.url("tcp"))
        .set("entrypoints/web/protocol", "tcp")
        .set("routers/all/rule", "HostSNI(`*`)")
        .set("routers/all/entrypoints", json!(["web"]))
}

// From those in front.

#[tokio::test]
async fn a_header_says_who_the_client_is_however_it_comes() {
    let server = Server::start().await;
    let gateway = trusting(Setup::to(server.url("http"))).start().await;
    for (header, client, port) in [
        (V1.as_bytes(), "192.0.2.7", "443"),
        (&v2(), "192.0.2.7", "443"),
        (
            b"PROXY TCP6 2001:db8::7 ::1 1 8443\r\n",
            "2001:db8::7",
            "8443",
        ),
        (
            b"PROXY UNKNOWN\r\n",
            "127.0.0.1",
            &gateway.address().port().to_string(),
        ),
        (LOCAL, "127.0.0.1", &gateway.address().port().to_string()),
    ] {
        let whole = [header, GET.as_bytes()].concat();
        let mut one = gateway.wire().await;
        one.send(&whole).await;
        let mut cut = gateway.wire().await;
        let mut apart = gateway.wire().await;
        apart.send(header).await;
        for byte in &whole {
            cut.send([*byte]).await;
        }
        apart.send(GET).await;
        for wire in [&mut one, &mut cut, &mut apart] {
            assert_eq!(wire.answer().await.status(), 200);
            let seen = server.last();
            assert_eq!(seen.header("x-forwarded-for").as_deref(), Some(client));
            assert_eq!(seen.header("x-real-ip").as_deref(), Some(client));
            assert_eq!(seen.header("x-forwarded-port").as_deref(), Some(port));
            // The header is for the connection.
            wire.send(GET).await;
            assert_eq!(wire.answer().await.status(), 200);
            assert_eq!(
                server.last().header("x-forwarded-for").as_deref(),
                Some(client)
            );
        }
    }
}

/// Whether a connection that begins so is reset without an answer.
async fn is_refused(gateway: &TestGateway, from: [u8; 4], bytes: &[u8]) -> bool {
    let Ok(stream) = connect_from(from, gateway.address()).await else {
        return true;
    };
    let mut wire = Wire::new(stream);
    let _ = wire.try_send(bytes).await;
    let (said, end) = wire.rest().await;
    said.is_empty() && end == End::Reset
}

#[tokio::test]
async fn what_does_not_begin_with_a_header_and_who_is_not_trusted_is_refused() {
    let server = Server::start().await;
    let gateway = trusting(Setup::to(server.url("http"))).start().await;
    let with = |header: &[u8]| [header, GET.as_bytes()].concat();
    let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    let mut long = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec();
    long.resize(70_000, 0);
    let mut broken = v2();
    broken[16 + 12] = 0x03;
    for bytes in [
        GET.as_bytes(),
        &with(b"PROXY TCP4 192.0.2.7 192.0.2.99 4711\r\n"),
        &with(b"PROXY TCP4 192.0.2.7 192.0.2.99 4711 443\n"),
        &with(b"PROXY UDP4 192.0.2.7 192.0.2.99 4711 443\r\n"),
        &with(too_long.as_bytes()),
        &with(b"\r\n\r\n\0\r\nQUIT\n\x31\0\0\0"),
        &long,
        &with(&broken),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    ] {
        let shown = bytes.escape_ascii().to_string();
        assert!(
            is_refused(&gateway, [127, 0, 0, 1], bytes).await,
            "{shown:.80}"
        );
    }
    // Before a byte is read.
    assert!(is_refused(&gateway, [127, 0, 0, 2], &with(V1.as_bytes())).await);
    assert!(is_refused(&gateway, [127, 0, 0, 2], b"").await);
    // A second one is none.
    let answer = gateway.ask([V1, V1, GET].concat()).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(server.requests(), 0);
    assert_eq!(gateway.ask([V1, GET].concat()).await.status(), 200);
    // The probe of a balancer.
    drop(gateway.wire().await);
    eventually("they are gone", || gateway.metric(OPEN) == Some(0.0)).await;
}

#[tokio::test]
async fn a_header_must_come_in_time() {
    let server = Server::start().await;
    let setup = trusting(Setup::to(server.url("http")));
    let setup = setup.set("entrypoints/web/proxy_protocol/header_timeout", "50ms");
    let gateway = setup.start().await;
    for bytes in [&b""[..], b"PROXY", &v2()[..20]] {
        assert!(is_refused(&gateway, [127, 0, 0, 1], bytes).await);
    }
    assert_eq!(gateway.ask([V1, GET].concat()).await.status(), 200);
}

#[tokio::test]
async fn everything_that_asks_who_it_is_goes_by_the_header() {
    let server = Server::raw(|mut wire, _| async move {
        wire.send("hello").await;
        let heard = wire.exactly(5).await;
        wire.send(heard).await;
    })
    .await;
    let setup = trusting(tcp(&server))
        .set("entrypoints/web/tcp_allowed_ips", json!(["192.0.2.0/24"]))
        .set("routers/all/rule", "ClientIP(`192.0.2.7`)")
        .set("middlewares/few/type", "tcp-filter")
        .set("middlewares/few/max_connections_per_ip", 1)
        .set("entrypoints/web/middlewares", json!(["few"]));
    let gateway = setup.start().await;
    let at = |last: &str| format!("PROXY TCP4 {last} 192.0.2.99 4711 443\r\nwords");
    let mut first = gateway.wire().await;
    first.send(V1).await;
    assert_eq!(first.exactly(5).await, b"hello");
    // Not allowed, no route, and one too many.
    for client in ["198.51.100.7", "192.0.2.8"] {
        assert!(is_refused(&gateway, [127, 0, 0, 1], at(client).as_bytes()).await);
    }
    assert!(is_refused(&gateway, [127, 0, 0, 1], V1.as_bytes()).await);
    first.send("words").await;
    assert_eq!(first.exactly(5).await, b"words");
    drop(first);
    // What comes with the header is heard, too.
    eventually("its place is free", || gateway.metric(OPEN) == Some(0.0)).await;
    let mut wire = gateway.wire().await;
    wire.send(at("192.0.2.7")).await;
    assert_eq!(wire.exactly(10).await, b"hellowords");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_speaks_it_before_tls_and_without() {
    let authority = Authority::new();
    let (cert_file, key_file) = authority.files("a.test");
    let server = Server::start().await;
    let plain = trusting(Setup::to(server.url("http")));
    let tls = json!({ "cert_file": cert_file, "key_file": key_file });
    let encrypted = plain.clone().set("entrypoints/web/tls", tls);
    for (setup, scheme) in [(plain, "http"), (encrypted, "https")] {
        let gateway = setup.start().await;
        let mut curl = Command::new(tools::program("curl", "curl"));
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "10",
            "--haproxy-protocol",
        ])
        .args(["--connect-to", &format!("::{}", gateway.address())])
        .args([
            "--write-out",
            "%{local_port}",
            "--output",
            "/dev/null",
            "--cacert",
        ])
        .arg(authority.file())
        .arg(format!("{scheme}://a.test/"));
        let output = tokio::task::spawn_blocking(move || curl.output());
        let output = output.await.unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");
        let seen = server.last();
        assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
        assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some(scheme));
    }
}

// To servers.

/// A server that notes the header of each connection, and answers requests with it.
async fn noting() -> (Server, Arc<Mutex<Vec<Vec<u8>>>>) {
    let noted = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let notes = Arc::clone(&noted);
    let server = Server::raw(move |mut wire, _| {
        let notes = Arc::clone(&notes);
        async move {
            let Some(header) = header(&mut wire).await else {
                return;
            };
            notes.lock().unwrap().push(header.clone());
            let body = header.escape_ascii().to_string();
            while wire.request().await.is_some() {
                let length = body.len();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
                if wire.try_send(answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (server, noted)
}

/// The header that a connection begins with.
async fn header(wire: &mut Wire) -> Option<Vec<u8>> {
    let mut header = vec![wire.try_byte().await?];
    if header == b"P" {
        header.extend(wire.until(b"\r\n").await?);
        return Some(header);
    }
    header.extend(wire.exactly(15).await);
    let length = u16::from_be_bytes([header[14], header[15]]);
    header.extend(wire.exactly(length.into()).await);
    Some(header)
}

/// The header that says this of a connection of IPv4.
fn expected(version: &str, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    if version == "v1" {
        let (from_ip, to_ip) = (from.ip(), to.ip());
        let ports = format!("{} {}", from.port(), to.port());
        return format!("PROXY TCP4 {from_ip} {to_ip} {ports}\r\n").into_bytes();
    }
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    for end in [from, to] {
        let SocketAddr::V4(end) = end else {
            panic!("{end} is not of IPv4");
        };
        header.extend(end.ip().octets());
    }
    header.extend([from.port().to_be_bytes(), to.port().to_be_bytes()].concat());
    header
}

#[tokio::test]
async fn a_server_of_tcp_is_told_whose_a_connection_is() {
    let server = Server::raw(|mut wire, _| async move {
        let mut said = header(&mut wire).await.unwrap();
        said.extend(wire.exactly(3).await);
        wire.send(said.escape_ascii().to_string()).await;
    })
    .await;
    for version in ["v1", "v2"] {
        let setup = tcp(&server).balancer("proxy_protocol", version);
        // Of all addresses, the one that was asked is told.
        let setup = setup.set("entrypoints/web/address", "0.0.0.0:0");
        let gateway = setup.start().await;
        let asked = SocketAddr::from(([127, 0, 0, 5], gateway.address().port()));
        let stream = connect_from([127, 0, 0, 9], asked).await.unwrap();
        let from = stream.local_addr().unwrap();
        let mut wire = Wire::new(stream);
        wire.send("abc").await;
        let told = [&expected(version, from, asked)[..], b"abc"].concat();
        let told = told.escape_ascii().to_string();
        assert_eq!(String::from_utf8(wire.rest().await.0).unwrap(), told);

        // What was told to us is told on.
        let gateway = trusting(tcp(&server).balancer("proxy_protocol", version));
        let gateway = gateway.start().await;
        let mut wire = gateway.wire().await;
        wire.send([&v2()[..], b"abc"].concat()).await;
        let (from, to) = ("192.0.2.7:4711", "192.0.2.99:443");
        let told = expected(version, from.parse().unwrap(), to.parse().unwrap());
        let told = [&told[..], b"abc"].concat().escape_ascii().to_string();
        assert_eq!(String::from_utf8(wire.rest().await.0).unwrap(), told);
    }
}

#[tokio::test]
async fn a_server_of_http_is_told_and_no_client_has_the_connection_of_another() {
    for version in ["v1", "v2"] {
        let (server, noted) = noting().await;
        let setup = Setup::to(server.url("http")).balancer("proxy_protocol", version);
        let gateway = setup.start().await;
        let mut wires = Vec::new();
        for _ in 0..3 {
            let stream = gateway.connect().await;
            let ends = (stream.local_addr().unwrap(), gateway.address());
            wires.push((Wire::new(stream), ends));
        }
        for _ in 0..3 {
            for (wire, (from, to)) in &mut wires {
                wire.send(GET).await;
                let told = expected(version, *from, *to).escape_ascii().to_string();
                assert_eq!(wire.answer().await.text(), told);
            }
        }
        // The connection of a client is used again for that client.
        assert_eq!(noted.lock().unwrap().len(), 3);
        // A client of ours who is trusted may speak for others, and they have no port.
        let setup = setup.set("entrypoints/web/trusted_proxies", json!(["127.0.0.1"]));
        gateway.become_(&setup).await;
        let mut wire = gateway.wire().await;
        for client in ["192.0.2.1", "192.0.2.2", "192.0.2.1"] {
            wire.send(format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n"
            ))
            .await;
            let from = SocketAddr::new(client.parse().unwrap(), 0);
            let told = expected(version, from, gateway.address());
            assert_eq!(wire.answer().await.text(), told.escape_ascii().to_string());
        }
        assert_eq!(noted.lock().unwrap().len(), 5);
    }
}

#[tokio::test]
async fn connections_that_nobody_comes_back_for_are_few() {
    let (server, noted) = noting().await;
    let setup = Setup::to(server.url("http")).balancer("proxy_protocol", "v1");
    let gateway = setup.start().await;
    for _ in 0..300 {
        assert_eq!(gateway.ask(GET).await.status(), 200);
    }
    assert_eq!(noted.lock().unwrap().len(), 300);
    eventually("the oldest are closed", || server.open() <= 256).await;
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let (report, mut heard) = tokio::sync::mpsc::channel(1);
    let server = Server::raw(move |mut wire, _| {
        let report = report.clone();
        async move {
            let header = header(&mut wire).await.unwrap();
            // The first byte of a handshake.
            let kind = wire.exactly(1).await[0];
            let _ = report.send((header, kind)).await;
        }
    })
    .await;
    let setup = Setup::to(server.url("https")).balancer("proxy_protocol", "v2");
    let setup = setup.balancer("tls/insecure", true);
    let gateway = setup.start().await;
    let mut wire = gateway.wire().await;
    wire.send(GET).await;
    let (header, kind) = within("a handshake", heard.recv()).await.unwrap();
    assert_eq!((header.len(), kind), (28, 0x16));
}

#[tokio::test]
async fn probes_speak_for_nobody() {
    for (version, expected) in [("v1", &b"PROXY UNKNOWN\r\n"[..]), ("v2", LOCAL)] {
        for kind in ["http", "tcp"] {
            let (server, noted) = noting().await;
            let setup = Setup::to(server.url("http"))
                .balancer("proxy_protocol", version)
                .balancer("health_check", json!({ "kind": kind, "interval": "100ms" }));
            let gateway = setup.start().await;
            let up = "gateway_service_server_up{service=\"backend\",";
            let up = format!("{up}server=\"{}\"}}", server.url("http"));
            eventually("it is asked", || !noted.lock().unwrap().is_empty()).await;
            eventually("it is well", || gateway.metric(&up) == Some(1.0)).await;
            let noted = noted.lock().unwrap();
            assert!(noted.iter().all(|header| header == expected), "{noted:?}");
        }
    }
}
