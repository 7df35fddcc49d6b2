//! What stands behind a middleware.

use super::{HttpService, Request, Response};
use a3s_layers::journal::Journal;
use a3s_layers::rehearsal::{Head, Note};
use std::convert::Infallible;
use std::task::{Context, Poll};
use tower::Service;
use tower::util::BoxCloneSyncService;

/// The service that a middleware is put on: the next middleware, or what the chain leads to. It notes in the request's
/// [`Journal`] that the request has come there.
#[derive(Debug, Clone)]
pub struct Next {
    inner: HttpService,
    position: u32,
}

impl Next {
    /// `inner`, behind so many middlewares.
    pub fn new(inner: HttpService, position: u32) -> Self {
        Self { inner, position }
    }
}

impl Service<Request> for Next {
    type Response = Response;
    type Error = Infallible;
    type Future = <BoxCloneSyncService<Request, Response, Infallible> as Service<Request>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if let Some(journal) = request.extensions().get::<Journal>() {
            journal.reach(self.position);
            if journal.is_rehearsal() {
                let journal = journal.clone();
                return self.rehearse(request, journal);
            }
        }
        self.inner.call(request)
    }
}

impl Next {
    /// Notes the request and the answer as they are here.
    fn rehearse(
        &mut self,
        request: Request,
        journal: Journal,
    ) -> <Self as Service<Request>>::Future {
        journal.note(Note::Request(Head::of(&request)));
        let position = self.position;
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            journal.note_response(position, &response);
            // What is noted on the way back is of the middleware before.
            journal.reach(position.saturating_sub(1));
            Ok(response)
        })
    }
}
