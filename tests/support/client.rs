//! A client that keeps its connection, over HTTP/1.1 or HTTP/2.

use super::within;
use axum::body::Body;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

/// The host that requests are for where a test names none.
pub const TEST_HOST: &str = "test.example";

/// One connection of a client; it is closed when dropped.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
    host: &'static str,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Sender {
    H1(http1::SendRequest<Body>),
    H2(http2::SendRequest<Body>),
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A request without a body, to be changed as needed.
pub fn request(method: &str, target: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(target)
        .body(Body::empty())
        .expect("a request")
}

impl Client {
    /// Speaks HTTP/1.1 over `io`.
    pub async fn h1(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(io))
            .await
            .expect("a handshake");
        let task = tokio::spawn(async move {
            let _ = connection.await;
        });
        Self {
            sender: Sender::H1(sender),
            host: TEST_HOST,
            task,
        }
    }

    /// Speaks HTTP/2 over `io`, with prior knowledge.
    pub async fn h2(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(TokioIo::new(io));
        let (sender, connection) = handshake.await.expect("a handshake");
        let task = tokio::spawn(async move {
            let _ = connection.await;
        });
        Self {
            sender: Sender::H2(sender),
            host: TEST_HOST,
            task,
        }
    }

    /// Speaks HTTP/1.1 over `io` to the admin API, which wants to be asked for under a name of its own.
    pub async fn admin(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let mut client = Self::h1(io).await;
        client.host = "localhost";
        client
    }

    /// Sends a request and waits for the head of its response.
    pub async fn send(&mut self, request: Request<Body>) -> Response<Incoming> {
        self.try_send(request).await.expect("a response")
    }

    /// As [`Client::send`], where the connection may fail.
    pub async fn try_send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        within("a response", self.start(request)).await
    }

    async fn start(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        self.begin(request).await.await
    }

    /// Begins to send a request, and returns its response to be waited for.
    pub async fn begin(
        &mut self,
        mut request: Request<Body>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send + use<> {
        let response: Pin<Box<dyn Future<Output = _> + Send>> = match &mut self.sender {
            Sender::H1(sender) => {
                if !request.headers().contains_key(HOST) {
                    let host = HeaderValue::from_static(self.host);
                    request.headers_mut().insert(HOST, host);
                }
                match within("the connection is free", sender.ready()).await {
                    Ok(()) => Box::pin(sender.send_request(request)),
                    Err(error) => Box::pin(std::future::ready(Err(error))),
                }
            }
            Sender::H2(sender) => {
                if request.uri().authority().is_none() {
                    let target = request.uri().to_string();
                    let uri = format!("http://{}{target}", self.host);
                    *request.uri_mut() = uri.parse::<Uri>().expect("a URI");
                }
                match within("the connection is free", sender.ready()).await {
                    Ok(()) => Box::pin(sender.send_request(request)),
                    Err(error) => Box::pin(std::future::ready(Err(error))),
                }
            }
        };
        response
    }

    /// Sends a request and reads its response to the end.
    pub async fn ask(&mut self, request: Request<Body>) -> Reply {
        let response = self.send(request).await;
        read(response).await.expect("a whole response")
    }

    /// As [`Client::ask`], for an answer that takes longer than others.
    pub async fn ask_for(&mut self, request: Request<Body>, patience: Duration) -> Reply {
        let sending = self.start(request);
        let response = tokio::time::timeout(patience, sending).await;
        let response = response.expect("a response in time").expect("a response");
        read(response).await.expect("a whole response")
    }

    /// `GET`.
    pub async fn get(&mut self, target: &str) -> Reply {
        self.ask(request("GET", target)).await
    }

    /// Waits until the gateway has closed the connection.
    pub async fn closed(mut self) {
        within("the connection is closed", &mut self.task)
            .await
            .expect("no panic");
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a response to its end.
pub async fn read(response: Response<Incoming>) -> hyper::Result<Reply> {
    let (head, body) = response.into_parts();
    let body = within("the end of the response", body.collect()).await?;
    let trailers = body.trailers().cloned();
    Ok(Reply {
        status: head.status,
        headers: head.headers,
        body: body.to_bytes(),
        trailers,
    })
}
