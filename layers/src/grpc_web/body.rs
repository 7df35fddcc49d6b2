//! The bodies of gRPC-Web, as they are made of those of gRPC and the other way round.

use super::base64::{Decoder, NotBase64, encode};
use crate::error::{BoxError, Failure, UpstreamError};
use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The highest bit of a frame's first byte says that it holds trailers.
const TRAILERS: u8 = 0x80;

/// The messages of a client that writes them in base64.
pub(super) struct DecodedBody {
    inner: Body,
    decoder: Decoder,
}

impl DecodedBody {
    pub(super) fn new(inner: Body) -> Self {
        Self {
            inner,
            decoder: Decoder::default(),
        }
    }
}

fn malformed(error: NotBase64) -> BoxError {
    UpstreamError::new(Failure::RequestBody, error).into()
}

impl http_body::Body for DecodedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            let Some(frame) = ready!(Pin::new(&mut this.inner).poll_frame(cx)) else {
                let end = this.decoder.end();
                return Poll::Ready(end.err().map(|error| Err(malformed(error))));
            };
            // gRPC-Web knows no trailers of a request.
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            match this.decoder.decode(&data) {
                // The rest of a group is still to come.
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Err(error) => return Poll::Ready(Some(Err(malformed(error)))),
            }
        }
    }
}

/// The messages of a server, with its trailers behind them as a message of their own.
pub(super) struct WebBody {
    inner: Body,
    is_text: bool,
}

impl WebBody {
    pub(super) fn new(inner: Body, is_text: bool) -> Self {
        Self { inner, is_text }
    }

    fn write(&self, bytes: Bytes) -> Frame<Bytes> {
        Frame::data(match self.is_text {
            true => encode(&bytes),
            false => bytes,
        })
    }
}

impl http_body::Body for WebBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            let bytes = match frame?.into_data() {
                Ok(data) => data,
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => message_of(&trailers),
                    Err(_) => Bytes::new(),
                },
            };
            Ok(self.write(bytes))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // How long the trailers are, nobody knows before they come.
        match self.inner.is_end_stream() {
            true => SizeHint::with_exact(0),
            false => SizeHint::default(),
        }
    }
}

/// Trailers as the last message: lines as in HTTP/1, with names in lower case, as they are kept anyway.
fn message_of(trailers: &HeaderMap) -> Bytes {
    const HEAD: usize = 5;
    const PUNCTUATION: usize = ": \r\n".len();
    let length = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        name.as_str().len() + value.len() + PUNCTUATION
    };
    let length: usize = trailers.iter().map(length).sum();
    let mut message = BytesMut::with_capacity(HEAD + length);
    message.put_u8(TRAILERS);
    // What was parsed as a head is far from 4 GiB.
    message.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    for (name, value) in trailers {
        message.put_slice(name.as_str().as_bytes());
        message.put_slice(b": ");
        message.put_slice(value.as_bytes());
        message.put_slice(b"\r\n");
    }
    message.freeze()
}
