//! The layer: each request stands somewhere in a trace.

#[cfg(doc)]
use super::TraceContext;
use super::{Incoming, Sampler};
use http::Request;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// Gives each request a [`TraceContext`], as an extension: it goes on with the trace that the request's headers say,
/// or begins one. Its decision is that of the request's sender, and the [`Sampler`]'s where there is none.
///
/// The headers of the request say the same from there on, for those who send them on: a proxy, a client. It records
/// nothing; whoever records spans finds their IDs there.
#[derive(Debug, Clone, Copy)]
pub struct TraceContextLayer {
    sampler: Sampler,
}

impl TraceContextLayer {
    /// With this sampler, for traces that begin here.
    pub fn new(sampler: Sampler) -> Self {
        Self { sampler }
    }
}

impl<S> Layer<S> for TraceContextLayer {
    type Service = TraceContextService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TraceContextService {
            inner,
            sampler: self.sampler,
        }
    }
}

/// The service made by [`TraceContextLayer`].
#[derive(Debug, Clone)]
pub struct TraceContextService<S> {
    inner: S,
    sampler: Sampler,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for TraceContextService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let incoming = Incoming::read(request.headers());
        let context = incoming.next(self.sampler);
        incoming.tidy(request.headers_mut());
        context.write(request.headers_mut());
        request.extensions_mut().insert(context);
        self.inner.call(request)
    }
}
