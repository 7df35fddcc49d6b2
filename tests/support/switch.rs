//! Connections that go on in another protocol, byte by byte.

use super::{Answer, Server, TestGateway, Wire};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A request to go on as a WebSocket.
pub const ASK: &str = "GET /chat?x=1 HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\
    Origin: http://a\r\nCookie: c=1\r\n\r\n";

/// The answer that lets it.
pub const GRANT: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

/// A server that answers each head with `grant`, and says after that everything that it is told, and at its end "bye".
/// The heads are told.
pub async fn echo(grant: &'static str) -> (Server, UnboundedReceiver<Answer>) {
    let (tell, heads) = unbounded_channel();
    let server = Server::raw(move |mut wire, _| {
        let tell = tell.clone();
        async move {
            let Some(head) = wire.try_head().await else {
                return;
            };
            let _ = tell.send(head);
            wire.send(grant).await;
            let mut stream = wire.into_io();
            let (mut reading, mut writing) = stream.split();
            if tokio::io::copy(&mut reading, &mut writing).await.is_ok() {
                let _ = writing.write_all(b"bye").await;
            }
        }
    })
    .await;
    (server, heads)
}

/// A client whose connection goes on with an [`echo`].
pub async fn switched(gateway: &TestGateway) -> Wire {
    let mut wire = gateway.wire().await;
    wire.send(ASK).await;
    assert_eq!(wire.head().await.status(), 101);
    wire
}

/// The other end says the same.
pub async fn says_and_hears(wire: &mut Wire, words: &str) {
    wire.send(words).await;
    let heard = wire.exactly(words.len()).await;
    assert_eq!(String::from_utf8_lossy(&heard), words);
}
