//! WebSocket (RFC 6455): messages of 1 KiB come back.

use std::io;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};

use crate::Target;
use crate::http::{self, Body};
use crate::load::Client;
use crate::message::{Message, SIZE};
use crate::tally::{Answer, Failure};
use crate::tcp;

/// The key of RFC 6455's example, and what it is accepted with: no SHA-1 is needed for it.
const KEY: HeaderValue = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
const ACCEPT: HeaderValue = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

const BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;
const LENGTH_OF_16_BITS: u8 = 126;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

type Io = BufStream<TokioIo<Upgraded>>;

/// Takes the request's connection over, and echoes on it.
pub fn answer(mut request: Request<Incoming>) -> Response<Body> {
    let asked = |name| request.headers().get(name);
    if asked(UPGRADE) != Some(&WEBSOCKET) || asked(SEC_WEBSOCKET_KEY) != Some(&KEY) {
        return http::status(StatusCode::BAD_REQUEST);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let _ = echo(BufStream::new(TokioIo::new(upgraded))).await;
        }
    });
    let mut response = http::status(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
    headers.insert(SEC_WEBSOCKET_ACCEPT, ACCEPT);
    response
}

async fn echo(mut io: Io) -> io::Result<()> {
    let mut payload = [0; SIZE];
    loop {
        read(&mut io, &mut payload).await?;
        write(&mut io, &payload, None).await?;
    }
}

pub struct Connected {
    io: Io,
    message: Message,
}

pub async fn connect(target: &Target<'_>, connections: usize) -> Result<Vec<Connected>, Failure> {
    let mut clients = Vec::with_capacity(connections);
    for index in 0..connections {
        clients.push(Connected {
            io: upgrade(target).await?,
            message: Message::of(index),
        });
    }
    Ok(clients)
}

async fn upgrade(target: &Target<'_>) -> Result<Io, Failure> {
    let mut sender = http::handshake(tcp::dial(target.addr).await?).await?;
    let request = http::get("/websocket", target.host)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, WEBSOCKET)
        .header("sec-websocket-version", 13)
        .header(SEC_WEBSOCKET_KEY, KEY)
        .body(Default::default())?;
    let response = sender.send_request(request).await?;
    let is_accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT) == Some(&ACCEPT);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS || !is_accepted {
        let status = response.status();
        return Err(Failure::Wrong(format!(
            "answered {status}, and no WebSocket"
        )));
    }
    let upgraded = hyper::upgrade::on(response).await?;
    Ok(BufStream::new(TokioIo::new(upgraded)))
}

impl Client for Connected {
    async fn exchange(&mut self) -> Result<Answer, Failure> {
        write(&mut self.io, self.message.next(), Some(MASK)).await?;
        let mut echo = [0; SIZE];
        read(&mut self.io, &mut echo).await?;
        self.message.check(&echo)?;
        Ok(Answer::of(SIZE))
    }
}

/// One message of 1 KiB in one frame, which is all that either side sends.
async fn read(io: &mut Io, payload: &mut [u8; SIZE]) -> io::Result<()> {
    let mut head = [0; 4];
    io.read_exact(&mut head).await?;
    let is_masked = head[1] & MASKED != 0;
    let length = u16::from_be_bytes([head[2], head[3]]);
    if head[0] != BINARY || head[1] & !MASKED != LENGTH_OF_16_BITS || usize::from(length) != SIZE {
        return Err(io::Error::other(format!("another frame: {head:02x?}")));
    }
    let mut mask = [0; 4];
    if is_masked {
        io.read_exact(&mut mask).await?;
    }
    io.read_exact(payload).await?;
    apply(mask, payload);
    Ok(())
}

async fn write(io: &mut Io, payload: &[u8; SIZE], mask: Option<[u8; 4]>) -> io::Result<()> {
    let [high, low] = (SIZE as u16).to_be_bytes();
    let masked = if mask.is_some() { MASKED } else { 0 };
    io.write_all(&[BINARY, LENGTH_OF_16_BITS | masked, high, low])
        .await?;
    let mut payload = *payload;
    if let Some(mask) = mask {
        io.write_all(&mask).await?;
        apply(mask, &mut payload);
    }
    io.write_all(&payload).await?;
    io.flush().await
}

/// Masks, or takes the mask off again.
fn apply(mask: [u8; 4], payload: &mut [u8; SIZE]) {
    for part in payload.chunks_exact_mut(mask.len()) {
        for (byte, mask) in part.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}
