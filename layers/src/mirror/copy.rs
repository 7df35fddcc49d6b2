//! A copy on its way: the body is collected as it goes by, and sent when it is whole.

use super::MAX_ANSWER;
use super::counts::{Lost, Place};
use crate::error::BoxError;
use crate::replay::grown;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;
use tower::{Service, ServiceExt};

/// A copy of a request, but for its body.
pub(super) struct Copy<M> {
    pub(super) request: Request<()>,
    pub(super) shadow: M,
    pub(super) max_body: usize,
    pub(super) timeout: Duration,
    pub(super) place: Place,
}

impl<M, R> Copy<M>
where
    M: Service<Request<Body>, Response = Response<R>> + Send + 'static,
    M::Future: Send,
    M::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    /// Sends it without a body.
    pub(super) fn send(self) {
        self.send_with(Vec::new());
    }

    fn send_with(self, body: Vec<u8>) {
        let request = self.request.map(|()| match body.is_empty() {
            true => Body::empty(),
            false => Body::from(body),
        });
        let (shadow, timeout, place) = (self.shadow, self.timeout, self.place);
        tokio::spawn(async move {
            let asked = tokio::time::timeout(timeout, ask(shadow, request)).await;
            match asked {
                Ok(Ok(())) => place.end(true),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a mirrored request failed");
                    place.end(false);
                }
                Err(_) => {
                    tracing::debug!("a mirrored request took too long");
                    place.end(false);
                }
            }
        });
    }
}

/// Reads the answer, so that its connection can be used again.
async fn ask<M, R>(shadow: M, request: Request<Body>) -> Result<(), BoxError>
where
    M: Service<Request<Body>, Response = Response<R>>,
    M::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let response = shadow.oneshot(request).await.map_err(Into::into)?;
    let mut body = pin!(response.into_body());
    let mut left = MAX_ANSWER;
    while let Some(frame) = body.frame().await {
        let length = frame.map_err(Into::into)?.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            // It is answered: what is still to come is nobody's loss.
            None => break,
        }
    }
    Ok(())
}

/// A request's body that is copied as it goes by.
pub(super) struct CopiedBody<M> {
    inner: Body,
    copied: Vec<u8>,
    copy: Option<Copy<M>>,
    /// Set when the client is first waited for: most bodies are there by then.
    deadline: Option<Pin<Box<Sleep>>>,
    send: fn(Copy<M>, Vec<u8>),
}

// Nothing in it is pinned by itself.
impl<M> Unpin for CopiedBody<M> {}

impl<M> CopiedBody<M> {
    pub(super) fn new<R>(inner: Body, copy: Copy<M>) -> Self
    where
        M: Service<Request<Body>, Response = Response<R>> + Send + 'static,
        M::Future: Send,
        M::Error: Into<BoxError>,
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        Self {
            inner,
            copied: Vec::new(),
            copy: Some(copy),
            deadline: None,
            send: Copy::send_with,
        }
    }

    fn lose(&mut self, lost: Lost) {
        self.copied = Vec::new();
        self.deadline = None;
        if let Some(copy) = self.copy.take() {
            copy.place.lose(lost);
        }
    }

    /// The client is waited for. One that takes its time does not keep the place of a copy.
    fn wait(&mut self, cx: &mut Context<'_>) {
        let Some(copy) = &self.copy else { return };
        let timeout = copy.timeout;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if deadline.as_mut().poll(cx).is_ready() {
            self.lose(Lost::Incomplete);
        }
    }

    fn add(&mut self, frame: &Frame<Bytes>) {
        let Some(copy) = &self.copy else { return };
        let limit = copy.max_body;
        let Some(data) = frame.data_ref() else {
            return self.lose(Lost::Incomplete);
        };
        let (length, capacity) = (self.copied.len(), self.copied.capacity());
        let needed = length.saturating_add(data.len());
        if needed > limit {
            return self.lose(Lost::TooLarge);
        }
        if needed > capacity {
            // Never more than the limit.
            self.copied
                .reserve_exact(grown(capacity, needed, limit) - length);
        }
        self.copied.extend_from_slice(data);
    }

    fn finish(&mut self) {
        if let Some(copy) = self.copy.take() {
            (self.send)(copy, std::mem::take(&mut self.copied));
        }
    }
}

impl<M> http_body::Body for CopiedBody<M> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if polled.is_pending() {
            this.wait(cx);
        }
        let frame = ready!(polled);
        match &frame {
            Some(Ok(frame)) => {
                this.add(frame);
                // A reader that knows the length stops here and never asks for the end.
                if http_body::Body::is_end_stream(&this.inner) {
                    this.finish();
                }
            }
            Some(Err(_)) => this.lose(Lost::Incomplete),
            None => this.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<M> Drop for CopiedBody<M> {
    fn drop(&mut self) {
        self.lose(Lost::Incomplete);
    }
}
