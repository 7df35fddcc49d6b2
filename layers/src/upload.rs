//! Tells whether a request's body waits for its client: then no server is to blame for the time that it takes.

use crate::error::BoxError;
use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// A body that is on its way, as seen by whoever watches it.
#[derive(Debug)]
pub(crate) struct Upload(Arc<Mutex<Course>>);

#[derive(Debug, Default)]
struct Course {
    /// Since when the one who reads the body waits for more of it.
    awaited_since: Option<Instant>,
    /// For how long that was the case before.
    waited: Duration,
}

impl Upload {
    /// Watches the body of a request, if it has one: most have none, and cost nothing.
    pub(crate) fn watch<B>(request: Request<B>) -> (Request<Body>, Option<Self>)
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if request.body().is_end_stream() {
            return (request.map(Body::new), None);
        }
        let course = Arc::<Mutex<Course>>::default();
        let upload = Self(Arc::clone(&course));
        let request = request.map(|body| {
            Body::new(UploadBody {
                inner: Body::new(body),
                course,
            })
        });
        (request, Some(upload))
    }

    /// Whether somebody waits for more of the body now. Not so where nobody reads it, as where a server does not take
    /// what there is already, and not where it has ended.
    pub(crate) fn is_awaited(&self) -> bool {
        lock(&self.0).awaited_since.is_some()
    }

    /// For how long somebody waited for more of the body, so far.
    pub(crate) fn waited(&self) -> Duration {
        let course = lock(&self.0);
        let now = course.awaited_since.map(|since| since.elapsed());
        course.waited + now.unwrap_or_default()
    }
}

/// Nothing in there can panic between two changes.
fn lock(course: &Mutex<Course>) -> MutexGuard<'_, Course> {
    course.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Course {
    fn begin_wait(&mut self) {
        self.awaited_since.get_or_insert_with(Instant::now);
    }

    fn end_wait(&mut self) {
        if let Some(since) = self.awaited_since.take() {
            self.waited += since.elapsed();
        }
    }
}

struct UploadBody {
    inner: Body,
    course: Arc<Mutex<Course>>,
}

impl http_body::Body for UploadBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        let mut course = lock(&self.course);
        match polled.is_pending() {
            true => course.begin_wait(),
            false => course.end_wait(),
        }
        drop(course);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for UploadBody {
    fn drop(&mut self) {
        lock(&self.course).end_wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Channel};
    use tokio_test::task;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn only_the_time_in_which_somebody_waits_for_more_counts() {
        let (mut feed, body) = Channel::<Bytes>::new(1);
        let (request, upload) = Upload::watch(Request::new(body));
        let (mut body, upload) = (request.into_body(), upload.expect("a body"));
        let told = |awaited, seconds| {
            assert_eq!(upload.is_awaited(), awaited);
            assert_eq!(upload.waited(), SECOND * seconds);
        };
        tokio::time::advance(SECOND).await;
        told(false, 0);
        assert!(task::spawn(body.frame()).poll().is_pending());
        tokio::time::advance(SECOND).await;
        assert!(task::spawn(body.frame()).poll().is_pending());
        tokio::time::advance(SECOND).await;
        told(true, 2);
        feed.send_data("x".into()).await.expect("a reader");
        assert!(task::spawn(body.frame()).poll().is_ready());
        tokio::time::advance(SECOND).await;
        told(false, 2);
        assert!(task::spawn(body.frame()).poll().is_pending());
        tokio::time::advance(SECOND).await;
        told(true, 3);
        drop(body);
        tokio::time::advance(SECOND).await;
        told(false, 3);
    }

    #[test]
    fn a_request_without_a_body_is_not_watched() {
        let (_, upload) = Upload::watch(Request::new(Body::empty()));
        assert!(upload.is_none());
    }
}
