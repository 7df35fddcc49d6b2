//! Requests that can be sent again, and their bodies, up to a limit: a body streams on the first try, and is recorded
//! as it goes by.

use axum::body::Body;
use bytes::Bytes;
use http::header::UPGRADE;
use http::{HeaderMap, Method, Request};
use http_body::{Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

/// Whether a request is one message that has one answer: a tunnel or an upgrade is not over with that.
pub(crate) fn is_plain<B>(request: &Request<B>) -> bool {
    request.method() != Method::CONNECT && !request.headers().contains_key(UPGRADE)
}

/// The same request with another body.
pub(crate) fn copy<B>(request: &Request<B>, body: Body) -> Request<Body> {
    let mut copy = Request::new(body);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    copy
}

/// A body, and what went by of it. Clones share it.
#[derive(Clone)]
pub(crate) struct Replay(Arc<Mutex<Source>>);

struct Source {
    /// What has not come yet.
    rest: Body,
    recorded: Vec<u8>,
    trailers: Option<HeaderMap>,
    limit: usize,
    course: Course,
    /// Bodies made so far, and the one that reads.
    made: u32,
    reader: u32,
}

/// How far the recording has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Course {
    /// Everything that went by is there, and more may come.
    Running,
    /// Everything is there.
    Over,
    /// Something went by that is not there: it was too much, or the body failed, or nobody wants it any more.
    Lost,
}

impl Replay {
    /// Records as much as `limit` bytes of `body`.
    pub(crate) fn new(body: Body, limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Source {
            rest: body,
            recorded: Vec::new(),
            trailers: None,
            limit,
            course: Course::Running,
            made: 0,
            reader: 0,
        })))
    }

    /// Whether the whole body can still be had.
    pub(crate) fn is_whole(&self) -> bool {
        lock(&self.0).course != Course::Lost
    }

    /// The body from its beginning. When it is first read, those made before it can be read no further: a server
    /// that has failed may still hold one of them.
    pub(crate) fn body(&self) -> Body {
        let mut source = lock(&self.0);
        source.made += 1;
        Body::new(ReplayBody {
            number: source.made,
            source: Arc::clone(&self.0),
            offset: 0,
            trailers_are_told: false,
        })
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").finish_non_exhaustive()
    }
}

/// A panic of the body is its reader's; what was recorded is as it was.
fn lock(source: &Mutex<Source>) -> MutexGuard<'_, Source> {
    source.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source {
    fn lose(&mut self) {
        self.course = Course::Lost;
        self.recorded = Vec::new();
        self.trailers = None;
    }

    fn record(&mut self, frame: &Frame<Bytes>) {
        if self.course != Course::Running {
            return;
        }
        if let Some(data) = frame.data_ref() {
            match extend(&mut self.recorded, data, self.limit) {
                true => {}
                false => self.lose(),
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            match self.recorded.len() + size(trailers) <= self.limit {
                // Nothing comes after them, and many a reader does not ask whether it does.
                true => {
                    self.trailers = Some(trailers.clone());
                    self.course = Course::Over;
                }
                false => self.lose(),
            }
        }
    }
}

/// Adds `data` if there is room for it within `limit`. Copied, because a piece of one byte may be a view of a buffer
/// of many; and never more than `limit` is allocated.
pub(crate) fn extend(buffer: &mut Vec<u8>, data: &[u8], limit: usize) -> bool {
    let needed = buffer.len().saturating_add(data.len());
    if needed > limit {
        return false;
    }
    if needed > buffer.capacity() {
        buffer.reserve_exact(grown(buffer.capacity(), needed, limit) - buffer.len());
    }
    buffer.extend_from_slice(data);
    true
}

/// The capacity that a buffer of `capacity` bytes gets where it needs to be larger.
pub(crate) fn grown(capacity: usize, needed: usize, limit: usize) -> usize {
    (2 * capacity).max(1024).min(limit).max(needed)
}

/// What trailers take in memory, nearly.
pub(crate) fn size(trailers: &HeaderMap) -> usize {
    let fields = trailers.iter();
    fields
        .map(|(name, value)| name.as_str().len() + value.len() + 64)
        .sum()
}

struct ReplayBody {
    source: Arc<Mutex<Source>>,
    number: u32,
    /// How much of what is recorded it has given.
    offset: usize,
    trailers_are_told: bool,
}

impl http_body::Body for ReplayBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let is_alone = Arc::strong_count(&this.source) == 1;
        let mut source = lock(&this.source);
        if source.reader > this.number {
            return Poll::Ready(Some(Err(axum::Error::new(Superseded))));
        }
        source.reader = this.number;
        if this.offset < source.recorded.len() {
            let again = Bytes::copy_from_slice(&source.recorded[this.offset..]);
            this.offset = source.recorded.len();
            return Poll::Ready(Some(Ok(Frame::data(again))));
        }
        if source.course == Course::Over {
            let trailers = source.trailers.clone();
            let untold = trailers.filter(|_| !std::mem::replace(&mut this.trailers_are_told, true));
            return Poll::Ready(untold.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        if is_alone && source.course == Course::Running {
            // Nobody is left who could ask for another.
            source.lose();
        }
        let frame = ready!(Pin::new(&mut source.rest).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                source.record(frame);
                this.offset = source.recorded.len();
                this.trailers_are_told |= frame.is_trailers();
            }
            Some(Err(_)) => source.lose(),
            None if source.course == Course::Running => source.course = Course::Over,
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let source = lock(&self.source);
        self.offset == source.recorded.len()
            && source.trailers.is_none()
            && (source.course == Course::Over || source.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let source = lock(&self.source);
        if source.trailers.is_some() {
            // Trailers come behind a body whose length is not said.
            return SizeHint::default();
        }
        let recorded = (source.recorded.len() - self.offset.min(source.recorded.len())) as u64;
        let rest = match source.course {
            Course::Over => SizeHint::with_exact(0),
            _ => source.rest.size_hint(),
        };
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(recorded));
        }
        hint.set_lower(rest.lower().saturating_add(recorded));
        hint
    }
}

/// Somebody else reads this body now.
#[derive(Debug, thiserror::Error)]
#[error("the request is being sent again")]
struct Superseded;

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;
    use http_body_util::{BodyExt, Channel};

    async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, axum::Error>> {
        body.frame().await
    }

    async fn data(body: &mut Body) -> Bytes {
        let frame = next(body).await.unwrap().unwrap();
        frame.into_data().unwrap()
    }

    fn trailers() -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static("x-sum"),
            http::HeaderValue::from_static("1"),
        )])
    }

    #[tokio::test]
    async fn a_body_streams_and_comes_again_with_its_trailers() {
        let (mut feed, body) = Channel::<Bytes>::new(4);
        let replay = Replay::new(Body::new(body), 100);
        let mut first = replay.body();
        feed.send_data("ab".into()).await.unwrap();
        assert_eq!(data(&mut first).await, "ab");
        feed.send_data("cd".into()).await.unwrap();
        assert_eq!(data(&mut first).await, "cd");
        // Another begins with what went by, and goes on where the first one stood.
        let mut second = replay.body();
        assert_eq!(data(&mut second).await, "abcd");
        feed.send_data("ef".into()).await.unwrap();
        assert_eq!(data(&mut second).await, "ef");
        assert!(next(&mut first).await.unwrap().is_err(), "superseded");
        feed.send_trailers(trailers()).await.unwrap();
        drop(feed);
        let rest = next(&mut second).await.unwrap().unwrap();
        assert_eq!(rest.into_trailers().ok(), Some(trailers()));
        assert!(next(&mut second).await.is_none());
        let third = replay.body();
        assert!(!third.is_end_stream());
        let third = third.collect().await.unwrap();
        assert_eq!(third.trailers(), Some(&trailers()));
        assert_eq!(third.to_bytes(), "abcdef");
        assert!(replay.is_whole());
    }

    #[tokio::test]
    async fn what_is_said_of_the_length_is_true_on_every_try() {
        let replay = Replay::new(Body::from("abc"), 3);
        let mut first = replay.body();
        assert_eq!(first.size_hint().exact(), Some(3));
        data(&mut first).await;
        assert_eq!(first.size_hint().exact(), Some(0));
        assert!(first.is_end_stream());
        let second = replay.body();
        assert_eq!(second.size_hint().exact(), Some(3));
        assert!(!second.is_end_stream());
        assert_eq!(second.collect().await.unwrap().to_bytes(), "abc");
        assert_eq!(replay.body().size_hint().exact(), Some(3));
    }

    #[tokio::test]
    async fn a_body_past_the_limit_streams_on_and_is_not_kept() {
        for (limit, pieces, is_whole) in [
            (4, &["ab", "cd"][..], true),
            (3, &["ab", "cd"], false),
            (0, &[], true),
            (0, &["a"], false),
        ] {
            let (mut feed, body) = Channel::<Bytes>::new(4);
            let replay = Replay::new(Body::new(body), limit);
            for piece in pieces {
                feed.send_data((*piece).into()).await.unwrap();
            }
            drop(feed);
            let whole = replay.body().collect().await.unwrap().to_bytes();
            assert_eq!(whole, pieces.concat());
            assert_eq!(replay.is_whole(), is_whole, "{limit} {pieces:?}");
            assert!(lock(&replay.0).recorded.capacity() <= limit);
        }
        // Trailers count as well.
        let (mut feed, body) = Channel::<Bytes>::new(4);
        let replay = Replay::new(Body::new(body), 60);
        feed.send_trailers(trailers()).await.unwrap();
        drop(feed);
        let whole = replay.body().collect().await.unwrap();
        assert!(whole.trailers().is_some());
        assert!(!replay.is_whole());
    }

    #[tokio::test]
    async fn a_body_that_fails_does_not_come_again() {
        let (mut feed, body) = Channel::<Bytes, axum::Error>::new(4);
        let replay = Replay::new(Body::new(body), 100);
        feed.send_data("ab".into()).await.unwrap();
        feed.abort(axum::Error::new("broken off"));
        assert!(replay.body().collect().await.is_err());
        assert!(!replay.is_whole());
    }

    #[tokio::test]
    async fn nothing_is_recorded_for_nobody() {
        let replay = Replay::new(Body::from("abc"), 100);
        let source = Arc::downgrade(&replay.0);
        let mut body = replay.body();
        drop(replay);
        data(&mut body).await;
        let source = source.upgrade().unwrap();
        assert_eq!(lock(&source).recorded.capacity(), 0);
    }

    #[test]
    fn a_buffer_never_has_more_room_than_its_limit() {
        for limit in [0, 1, 1023, 1024, 5000] {
            let mut buffer = Vec::new();
            while extend(&mut buffer, b"x", limit) {
                assert!(buffer.capacity() <= limit, "{limit}");
            }
            assert_eq!(buffer.len(), limit);
        }
    }
}
