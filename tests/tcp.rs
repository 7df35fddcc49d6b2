//! Connections before they are anything more: who may open one, and where its bytes go.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::json;
use std::io::ErrorKind;
use std::net::SocketAddr;
use support::{End, Server, Setup, Wire, connect_from};

const ONE: [u8; 4] = [127, 0, 0, 1];
const TWO: [u8; 4] = [127, 0, 0, 2];

/// A client at an address of loopback.
async fn wire_from(ip: [u8; 4], address: SocketAddr) -> Wire {
    Wire::new(connect_from(ip, address).await.expect("a connection"))
}

/// A client at an address of loopback, whose connection is reset without a word.
async fn is_reset(ip: [u8; 4], address: SocketAddr) -> bool {
    match connect_from(ip, address).await {
        Ok(stream) => Wire::new(stream).rest().await == (Vec::new(), End::Reset),
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn only_peers_that_are_allowed_speak_http() {
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .set(
            "entrypoints/web/tcp_allowed_ips",
            json!(["127.0.0.2", "127.0.1.0/24"]),
        )
        .start()
        .await;
    for (ip, is_allowed) in [
        (ONE, false),
        (TWO, true),
        ([127, 0, 1, 200], true),
        ([127, 0, 2, 1], false),
    ] {
        if is_allowed {
            let mut wire = wire_from(ip, gateway.address()).await;
            wire.send(GET).await;
            assert_eq!(wire.answer().await.status(), 200, "{ip:?}");
        } else {
            assert!(is_reset(ip, gateway.address()).await, "{ip:?}");
        }
    }
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn another_list_of_allowed_peers_holds_for_new_connections_and_closes_none() {
    let server = Server::start().await;
    let setup = Setup::to(&server);
    let gateway = setup.start().await;
    let mut open = gateway.wire().await;
    for allowed in [json!(["192.0.2.1"]), json!(["127.0.0.2"])] {
        let setup = setup.clone();
        let next = setup.set("entrypoints/web/tcp_allowed_ips", allowed);
        gateway.become_(&next).await;
        assert!(is_reset(ONE, gateway.address()).await);
        open.send(GET).await;
        assert_eq!(open.answer().await.status(), 200);
    }
    gateway.become_(&setup).await;
    assert_eq!(gateway.ask(GET).await.status(), 200);
}
