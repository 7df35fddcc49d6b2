//! HTTP/1.1: the upstream of WebSocket and of streams, and what their clients share.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::HOST;
use hyper::http::request::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

use crate::message::SIZE;
use crate::sse::Streams;
use crate::tally::Failure;
use crate::websocket;

pub type Body = BoxBody<Bytes, Infallible>;

pub async fn serve(addr: &str) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    let streams = Arc::new(Streams::default());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let streams = streams.clone();
        let service = service_fn(move |request| {
            let response = answer(request, &streams);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::spawn(connection);
    }
}

fn answer(request: Request<Incoming>, streams: &Streams) -> Response<Body> {
    match request.uri().path() {
        "/1k" => Response::new(Full::from(vec![b'a'; SIZE]).boxed()),
        "/websocket" => websocket::answer(request),
        "/events" => streams.open(),
        path => match path.strip_prefix("/start/").map(str::parse) {
            Some(Ok(seconds)) => {
                streams.start(seconds);
                status(StatusCode::NO_CONTENT)
            }
            _ => status(StatusCode::NOT_FOUND),
        },
    }
}

pub fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().boxed());
    *response.status_mut() = status;
    response
}

/// A connection on which requests can be made; it runs in a task of its own.
pub async fn handshake<S>(stream: S) -> Result<SendRequest<Empty<Bytes>>, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

pub fn get(path: &str, host: &str) -> Builder {
    Request::get(path).header(HOST, host)
}
