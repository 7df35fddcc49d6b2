use super::*;
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio_test::io::{Builder, Mock};
use tokio_test::task;

/// It only ends.
impl Breaks for DuplexStream {
    async fn broken(&self) -> io::Error {
        std::future::pending().await
    }
}

impl Breaks for Mock {
    async fn broken(&self) -> io::Error {
        std::future::pending().await
    }
}

/// An end of a socket, and what the kernel will tell of the other end.
struct Kernel {
    io: DuplexStream,
    news: tokio::sync::Mutex<oneshot::Receiver<ErrorKind>>,
}

impl Breaks for Kernel {
    async fn broken(&self) -> io::Error {
        let news = &mut *self.news.lock().await;
        news.await.expect("asked once it is known").into()
    }
}

impl AsyncRead for Kernel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Kernel {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

fn kernel(room: usize) -> (DuplexStream, oneshot::Sender<ErrorKind>, Kernel) {
    let (peer, io) = duplex(room);
    let (tell, news) = oneshot::channel();
    let news = tokio::sync::Mutex::new(news);
    (peer, tell, Kernel { io, news })
}

/// A copying between two peers, to be polled by hand, and the peers.
fn between(
    room: usize,
) -> (
    task::Spawn<impl Future<Output = io::Result<Copied>>>,
    DuplexStream,
    DuplexStream,
) {
    let (client, mut client_end) = duplex(room);
    let (server, mut server_end) = duplex(room);
    let copying = async move {
        copy(
            &mut client_end,
            &mut server_end,
            Ahead::default(),
            Watch::default(),
        )
        .await
    };
    (task::spawn(copying), client, server)
}

#[tokio::test]
async fn each_side_may_end_before_the_other() {
    let (mut copying, mut client, mut server) = between(64);
    let mut buffer = [0; 64];
    assert!(copying.poll().is_pending());

    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert!(copying.is_woken() && copying.poll().is_pending());
    let read = server.read(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..read], b"question");
    assert_eq!(server.read(&mut buffer).await.unwrap(), 0);

    server.write_all(b"an").await.unwrap();
    assert!(copying.is_woken() && copying.poll().is_pending());
    server.write_all(b"swer").await.unwrap();
    server.shutdown().await.unwrap();
    let copied = copying.await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer");
    let (to_server, to_client) = (8, 6);
    assert_eq!(
        copied,
        Copied {
            to_server,
            to_client
        }
    );
}

#[tokio::test]
async fn a_peer_who_does_not_read_holds_up_the_other() {
    let (mut copying, mut client, mut server) = between(8);
    let mut sent = 0;
    while let std::task::Poll::Ready(written) = task::spawn(client.write(&[7; 8])).poll() {
        sent += written.unwrap();
        assert!(copying.poll().is_pending());
        assert!(sent <= CHUNK + 2 * 8, "{sent}");
    }
    drop(client);
    let reading = async move {
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.unwrap();
        drop(server);
        read
    };
    let (copied, read) = tokio::join!(copying, reading);
    assert_eq!(read, vec![7; sent]);
    assert_eq!(copied.unwrap().to_server, sent as u64);
}

#[tokio::test]
async fn what_a_server_says_before_it_hangs_up_is_not_lost() {
    let broken = || io::Error::from(ErrorKind::BrokenPipe);
    let mut server = Builder::new()
        .write_error(broken())
        .read(b"no")
        .wait(std::time::Duration::ZERO)
        .read(b" more")
        .build();
    let (client, mut client_end) = duplex(64);
    let copying = async move {
        copy(
            &mut client_end,
            &mut server,
            Ahead::default(),
            Watch::default(),
        )
        .await
    };
    let (mut reading, mut writing) = tokio::io::split(client);
    writing.write_all(b"question").await.unwrap();
    let answering = async move {
        let mut answer = [0; 7];
        reading.read_exact(&mut answer).await.unwrap();
        answer
    };
    let (copied, answer) = tokio::join!(copying, answering);
    assert_eq!(&answer, b"no more");
    assert_eq!(copied.unwrap().to_client, 7);
}

#[tokio::test]
async fn a_side_that_breaks_off_ends_both() {
    for server_breaks in [true, false] {
        let broken = || io::Error::from(ErrorKind::ConnectionReset);
        let mut one = Builder::new().read(b"half").read_error(broken()).build();
        let (_other, mut other_end) = duplex(64);
        let copied = match server_breaks {
            true => copy(&mut other_end, &mut one, Ahead::default(), Watch::default()).await,
            false => copy(&mut one, &mut other_end, Ahead::default(), Watch::default()).await,
        };
        assert_eq!(copied.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test(start_paused = true)]
async fn a_side_that_breaks_off_while_the_other_does_not_read_ends_both() {
    use ErrorKind::{BrokenPipe, ConnectionReset};
    for (is_client, kind, ends) in [
        (true, ConnectionReset, true),
        (false, ConnectionReset, true),
        // It had said everything before.
        (true, BrokenPipe, false),
        (false, BrokenPipe, false),
    ] {
        let (mut one, tell, mut one_end) = kernel(64);
        let (mut other, _alive, mut other_end) = kernel(8);
        let copying = async move {
            match is_client {
                true => {
                    copy(
                        &mut one_end,
                        &mut other_end,
                        Ahead::default(),
                        Watch::default(),
                    )
                    .await
                }
                false => {
                    copy(
                        &mut other_end,
                        &mut one_end,
                        Ahead::default(),
                        Watch::default(),
                    )
                    .await
                }
            }
        };
        let mut copying = task::spawn(copying);
        one.write_all(&[7; 40]).await.unwrap();
        assert!(copying.poll().is_pending());
        // Whoever waits for a peer does nothing else, however much there is to read.
        one.write_all(&[7; 40]).await.unwrap();
        assert!(!copying.is_woken());

        tell.send(kind).unwrap();
        assert!(copying.is_woken(), "{is_client} {kind}");
        match copying.poll() {
            Poll::Ready(copied) => assert_eq!(copied.unwrap_err().kind(), kind),
            Poll::Pending => assert!(!ends, "{is_client} {kind}"),
        }
        if ends {
            continue;
        }
        assert!(!copying.is_woken(), "what is known is not told again");
        drop(one);
        let reading = async move {
            let mut read = Vec::new();
            other.read_to_end(&mut read).await.unwrap();
            drop(other);
            read
        };
        let (copied, read) = tokio::join!(copying, reading);
        assert_eq!(read, [7; 80]);
        let copied = copied.unwrap();
        assert_eq!(copied.to_client + copied.to_server, 80);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_hears_a_client_out_who_is_gone_as_long_as_it_listens() {
    let (mut client, tell, mut client_end) = kernel(64);
    let (mut server, _alive, mut server_end) = kernel(8);
    let copying = async move {
        copy(
            &mut client_end,
            &mut server_end,
            Ahead::default(),
            Watch::default(),
        )
        .await
    };
    let mut copying = task::spawn(copying);
    client.write_all(&[7; 40]).await.unwrap();
    assert!(copying.poll().is_pending());
    tell.send(ErrorKind::BrokenPipe).unwrap();
    let almost = PATIENCE - Duration::from_millis(1);
    for _ in 0..3 {
        assert!(copying.poll().is_pending());
        tokio::time::sleep(almost).await;
        server.read_exact(&mut [0; 8]).await.unwrap();
    }
    assert!(copying.poll().is_pending());
    tokio::time::sleep(almost).await;
    assert!(!copying.is_woken());
    let copied = copying.await;
    assert_eq!(copied.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_side_that_has_ended_and_breaks_off_then_is_not_waited_for() {
    for is_client in [true, false] {
        let (mut one, tell, mut one_end) = kernel(64);
        let (mut other, _alive, mut other_end) = kernel(64);
        let copying = async move {
            match is_client {
                true => {
                    copy(
                        &mut one_end,
                        &mut other_end,
                        Ahead::default(),
                        Watch::default(),
                    )
                    .await
                }
                false => {
                    copy(
                        &mut other_end,
                        &mut one_end,
                        Ahead::default(),
                        Watch::default(),
                    )
                    .await
                }
            }
        };
        let mut copying = task::spawn(copying);
        one.write_all(b"bye").await.unwrap();
        one.shutdown().await.unwrap();
        assert!(copying.poll().is_pending());
        assert!(!copying.is_woken());
        tell.send(ErrorKind::BrokenPipe).unwrap();
        assert!(copying.is_woken());
        let copied = copying.await.unwrap();
        assert_eq!(copied.to_client + copied.to_server, 3);
        let mut read = [0; 3];
        other.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"bye");
    }
}

#[tokio::test]
async fn a_reset_that_writing_has_told_of_is_not_taken_for_an_end() {
    let reset = io::Error::from(ErrorKind::ConnectionReset);
    let mut client = Builder::new().write_error(reset).read(b"ha").build();
    let (mut server, mut server_end) = duplex(64);
    server.write_all(b"answer").await.unwrap();
    let copied = copy(
        &mut client,
        &mut server_end,
        Ahead::default(),
        Watch::default(),
    )
    .await;
    assert_eq!(copied.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn what_is_still_for_too_long_ends() {
    const LIMIT: Duration = Duration::from_secs(60);
    let almost = LIMIT - Duration::from_millis(1);
    let told = std::sync::Mutex::new((0, 0));
    let moved = |to_server: u64, to_client: u64| {
        let mut told = told.lock().unwrap();
        *told = (told.0 + to_server, told.1 + to_client);
    };
    let watch = Watch {
        idle: Some(LIMIT),
        moved: Some(&moved),
    };
    let (mut client, mut client_end) = duplex(64);
    let (mut server, mut server_end) = duplex(64);
    let copying = async move {
        let ahead = Ahead {
            of_client: BytesMut::from(&b"a"[..]),
            of_server: BytesMut::new(),
        };
        copy(&mut client_end, &mut server_end, ahead, watch).await
    };
    let mut copying = task::spawn(copying);
    assert!(copying.poll().is_pending());
    for _ in 0..3 {
        tokio::time::sleep(almost).await;
        client.write_all(b"b").await.unwrap();
        assert!(copying.poll().is_pending());
        tokio::time::sleep(almost).await;
        assert!(copying.poll().is_pending());
        server.write_all(b"cd").await.unwrap();
        assert!(copying.poll().is_pending());
    }
    let began = Instant::now();
    let error = copying.await.unwrap_err();
    assert!(is_idle(&error), "{error}");
    // The timer of tokio goes by whole milliseconds.
    let waited = began.elapsed();
    assert!(
        (LIMIT..LIMIT + Duration::from_millis(2)).contains(&waited),
        "{waited:?}"
    );
    assert_eq!(*told.lock().unwrap(), (4, 6));
}
