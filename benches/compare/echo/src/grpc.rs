//! gRPC over HTTP/2 without TLS: unary calls whose message of 1 KiB comes back.

use std::convert::Infallible;
use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::Target;
use crate::http::Body;
use crate::load::Client;
use crate::message::{Message, SIZE};
use crate::tally::{Answer, Failure};
use crate::tcp;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: &str = "grpc-status";
const OK: HeaderValue = HeaderValue::from_static("0");
/// Whether a message is compressed, and its length.
const PREFIX: usize = 5;

pub async fn serve(addr: &str) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(connection);
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    let message = request.into_body().collect().await?.to_bytes();
    let trailers = HeaderMap::from_iter([(STATUS.parse().expect("a header's name"), OK)]);
    let body = Full::new(message).with_trailers(async { Some(Ok::<_, Infallible>(trailers)) });
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    Ok(response)
}

pub struct Connected {
    sender: SendRequest<Full<Bytes>>,
    uri: String,
    message: Message,
}

pub async fn connect(target: &Target<'_>, connections: usize) -> Result<Vec<Connected>, Failure> {
    let mut clients = Vec::with_capacity(connections);
    for index in 0..connections {
        let stream = TokioIo::new(tcp::dial(target.addr).await?);
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        clients.push(Connected {
            sender,
            uri: format!("http://{}/echo.Echo/Unary", target.host),
            message: Message::of(index),
        });
    }
    Ok(clients)
}

impl Client for Connected {
    async fn exchange(&mut self) -> Result<Answer, Failure> {
        let mut body = BytesMut::with_capacity(PREFIX + SIZE);
        body.put_u8(0);
        body.put_u32(SIZE as u32);
        body.put_slice(self.message.next());
        let request = Request::post(self.uri.as_str())
            .header(CONTENT_TYPE, GRPC)
            .header(TE, "trailers")
            .body(Full::new(body.freeze()))?;
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        if head.status != 200 || head.headers.get(CONTENT_TYPE) != Some(&GRPC) {
            return Err(Failure::Wrong(format!("answered {}", head.status)));
        }
        let body = body.collect().await?;
        let status = body.trailers().and_then(|trailers| trailers.get(STATUS));
        let status = status.or(head.headers.get(STATUS));
        if status != Some(&OK) {
            return Err(Failure::Wrong(format!("{STATUS} {status:?}")));
        }
        let message = body.to_bytes();
        self.message
            .check(message.get(PREFIX..).unwrap_or_default())?;
        Ok(Answer::of(message.len()))
    }
}
