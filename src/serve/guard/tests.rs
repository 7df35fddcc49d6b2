use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

const IDLE: Duration = Duration::from_secs(180);
const DAY: Duration = Duration::from_secs(24 * 3600);
const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
const REQUEST: [u8; 10] = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x82];

/// A connection of HTTP/2 that has begun, and the client's end of it.
async fn begun() -> (Guard<DuplexStream>, Arc<Exchanges>, DuplexStream) {
    let (mut client, io) = tokio::io::duplex(1024);
    let limits = GuardLimits {
        header_timeout: IDLE,
        idle_timeout: IDLE,
        max_header_bytes: 1024,
        h2_max_resets: 1,
    };
    let exchanges = Arc::<Exchanges>::default();
    let mut guard = Guard::new(io, BytesMut::new(), false, limits, Arc::clone(&exchanges));
    client
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    guard.read_exact(&mut [0; 24]).await.unwrap();
    (guard, exchanges, client)
}

/// Reads until the connection ends, while its client pings; how long that took, if it has.
async fn ends(guard: &mut Guard<DuplexStream>, client: &mut DuplexStream) -> Option<Duration> {
    let began = Instant::now();
    let pings = async {
        loop {
            tokio::time::sleep(IDLE / 10).await;
            client.write_all(&PING).await.unwrap();
        }
    };
    let reads = async {
        let mut sink = [0; 1024];
        while matches!(guard.read(&mut sink).await, Ok(1..)) {}
    };
    let ended = async {
        tokio::select! {
            () = pings => {}
            () = reads => {}
        }
    };
    timeout(DAY, ended).await.ok().map(|()| began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn pings_do_not_keep_a_connection_that_nobody_uses() {
    let (mut guard, _, mut client) = begun().await;
    client.write_all(&REQUEST).await.unwrap();
    guard.read_exact(&mut [0; REQUEST.len()]).await.unwrap();
    let lived = ends(&mut guard, &mut client).await.unwrap();
    assert!(lived >= IDLE && lived <= 2 * IDLE + IDLE / 10, "{lived:?}");
    // It is told so: GOAWAY, stream 1, NO_ERROR.
    let mut word = [0; 17];
    client.read_exact(&mut word).await.unwrap();
    assert_eq!(word, [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_keeps_it_whatever_happens_on_it() {
    let (mut guard, exchanges, mut client) = begun().await;
    exchanges.begin();
    assert_eq!(ends(&mut guard, &mut client).await, None);
    exchanges.end();
    assert!(ends(&mut guard, &mut client).await.is_some());
}
