use super::*;
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{sleep, timeout};

const HOUR: Duration = Duration::from_secs(3600);

/// The body of an answer, without a pool, and the server's end of its connection.
async fn answer(idle_timeout: Duration) -> (ResponseBody, DuplexStream) {
    let (ours, mut theirs) = tokio::io::duplex(1024);
    let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(ours))
        .await
        .unwrap();
    tokio::spawn(connection);
    let asked = sender.send_request(Request::new(Body::empty()));
    let answers = async {
        let mut head = [0; 256];
        assert!(theirs.read(&mut head).await.unwrap() > 0);
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        theirs.write_all(head).await.unwrap();
    };
    let (response, ()) = tokio::join!(asked, answers);
    let body = ResponseBody {
        incoming: response.unwrap().into_body(),
        lease: None,
        idle_timeout,
        idle: None,
        moved: false,
        upload: None,
    };
    (body, theirs)
}

#[tokio::test(start_paused = true)]
async fn a_stream_runs_for_days_as_long_as_something_comes_in_time() {
    let (mut body, mut server) = answer(HOUR).await;
    let began = Instant::now();
    let tells = async {
        for _ in 0..100 {
            sleep(HOUR - Duration::from_secs(1)).await;
            server.write_all(b"5\r\nevent\r\n").await.unwrap();
        }
        server
    };
    let hears = async {
        for _ in 0..100 {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "event");
        }
        body
    };
    let (_server, mut body) = tokio::join!(tells, hears);
    assert!(began.elapsed() > 99 * HOUR);
    // And no longer.
    let silent = Instant::now();
    let error = body.frame().await.unwrap().unwrap_err();
    let failure = Failure::of(&*error);
    assert_eq!(failure, Failure::ResponseTimeout);
    let silence = silent.elapsed();
    assert!(
        silence >= HOUR - Duration::from_secs(1) && silence <= 2 * HOUR,
        "{silence:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_does_not_time_out() {
    let (mut body, mut server) = answer(HOUR).await;
    server.write_all(b"5\r\nevent\r\n").await.unwrap();
    sleep(100 * HOUR).await;
    let frame = timeout(HOUR, body.frame()).await.unwrap().unwrap();
    assert_eq!(frame.unwrap().into_data().unwrap(), "event");
}
