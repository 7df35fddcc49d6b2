//! Answers that nobody wants: an HTTP/1 connection is free again only when its answer has ended.

use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use std::pin::Pin;
use std::task::{Context, Poll};

/// So much of an answer is read to free its connection, where nothing else is said.
pub(crate) const ENOUGH: usize = 64 * 1024;

/// Reads a body to its end and keeps nothing. It is dropped, and its connection with it, where it has failed or is
/// longer than it may be.
#[derive(Debug)]
pub(crate) struct Discard {
    body: Option<Body>,
    left: usize,
}

impl Discard {
    /// Reads up to `most` bytes.
    pub(crate) fn new(body: Body, most: usize) -> Self {
        Self {
            body: Some(body),
            left: most,
        }
    }

    /// Reads what there is. Ready when no more will be read.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(body) = &mut self.body {
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    match self.left.checked_sub(length) {
                        Some(left) => self.left = left,
                        None => self.body = None,
                    }
                }
                Poll::Ready(_) => self.body = None,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}
