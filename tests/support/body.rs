//! Bodies that a test feeds while they are read.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// The end into which a test feeds a body. Dropping it ends the body; [`Feed::break_off`] does not.
#[derive(Debug)]
pub struct Feed(mpsc::Sender<Result<Frame<Bytes>, Broken>>);

/// Why a body that was broken off has no end.
#[derive(Debug)]
pub struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken off by the test")
    }
}

impl std::error::Error for Broken {}

/// A body, and where to feed it.
pub fn feed() -> (Feed, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (Feed(sender), Body::new(Fed(receiver)))
}

/// `length` bytes, made as they are asked for.
pub fn long(length: u64) -> Body {
    counted(length, Arc::default())
}

/// As [`long`], and how many of them were asked for.
pub fn counted(length: u64, made: Arc<AtomicU64>) -> Body {
    const PIECE: &[u8] = &[b'x'; 64 * 1024];
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut left = length;
        while left > 0 {
            let size = left.min(PIECE.len() as u64);
            left -= size;
            let frame = Frame::data(Bytes::from_static(&PIECE[..size as usize]));
            if sender.send(Ok(frame)).await.is_err() {
                return;
            }
            made.fetch_add(size, Ordering::Relaxed);
        }
    });
    Body::new(Fed(receiver))
}

impl Feed {
    /// Gives a piece; false where nobody reads any more.
    pub async fn data(&self, bytes: impl Into<Bytes>) -> bool {
        self.0.send(Ok(Frame::data(bytes.into()))).await.is_ok()
    }

    /// Ends the body with trailers.
    pub async fn trailers(self, trailers: HeaderMap) {
        let _ = self.0.send(Ok(Frame::trailers(trailers))).await;
    }

    /// Ends the body with an error.
    pub async fn break_off(self) {
        let _ = self.0.send(Err(Broken)).await;
    }

    /// Whether nobody reads the body any more.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Waits until nobody reads the body any more.
    pub async fn closed(&self) {
        super::within("the body is given up", self.0.closed()).await;
    }
}

struct Fed(mpsc::Receiver<Result<Frame<Bytes>, Broken>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll_recv(cx)
    }
}
