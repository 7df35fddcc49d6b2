//! The future of every layer that answers a request itself or passes it on.

use crate::error::BoxError;
use axum::body::Body;
use bytes::Bytes;
use http::Response;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// An answer of the layer's own, or that of the service below, or one that takes a decision first.
    ///
    /// `F` is the future of the service below and `E` its error.
    pub struct AnswerFuture<F, E> {
        #[pin]
        state: State<F, E>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<F, E> {
        Refused { response: Option<Box<Response<Body>>> },
        Passed { #[pin] future: F },
        Deciding { future: Deciding<E> },
    }
}

type Deciding<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<F, E> AnswerFuture<F, E> {
    /// Answers with `response`; the service below is not called.
    pub(crate) fn refuse(response: Response<Body>) -> Self {
        // Boxed, because the rare way must not make the common one larger.
        let response = Some(Box::new(response));
        Self {
            state: State::Refused { response },
        }
    }

    /// Answers as the service below does.
    pub(crate) fn pass(future: F) -> Self {
        Self {
            state: State::Passed { future },
        }
    }

    /// Waits for something before it answers or calls the service below.
    pub(crate) fn decide(
        future: impl Future<Output = Result<Response<Body>, E>> + Send + 'static,
    ) -> Self {
        Self {
            state: State::Deciding {
                future: Box::pin(future),
            },
        }
    }
}

impl<F, R, E> Future for AnswerFuture<F, E>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Refused { response } => {
                let response = response.take().expect("polled after it was ready");
                Poll::Ready(Ok(*response))
            }
            // A body of axum's goes on as it is, without another box around it.
            Projected::Passed { future } => {
                future.poll(cx).map_ok(|response| response.map(Body::new))
            }
            Projected::Deciding { future } => future.as_mut().poll(cx),
        }
    }
}
