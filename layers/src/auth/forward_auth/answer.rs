//! What the service answers.

use crate::error::BoxError;
use crate::hop_by_hop::strip_response;
use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep, timeout};

/// How much of a positive answer's body is read, and for how long. Nobody needs it, but a connection whose answer was
/// not read to its end is lost.
const DRAINED: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_millis(50);

/// Why a refusal cannot be handed on.
#[derive(Debug, thiserror::Error)]
enum RefusalError {
    /// Its body is longer than what is allowed.
    #[error("the answer of the authentication service is longer than {0} bytes")]
    Long(usize),
    /// Its body has paused for too long.
    #[error("the answer of the authentication service came to a halt")]
    Silent,
    /// It speaks of a connection that no client has.
    #[error("the authentication service answered with status {0}")]
    Status(StatusCode),
}

/// Makes of the service's answer the client's.
pub(super) fn refusal<R>(
    answer: Response<R>,
    max_body: usize,
    idle: Duration,
) -> Result<Response<Body>, BoxError>
where
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let (mut head, body) = answer.into_parts();
    if head.status.is_informational() {
        return Err(RefusalError::Status(head.status).into());
    }
    if body.size_hint().lower() > max_body as u64 {
        return Err(RefusalError::Long(max_body).into());
    }
    strip_response(&mut head.headers);
    head.version = Version::HTTP_11;
    // They speak of the connection to the service.
    head.extensions.clear();
    let body = RefusalBody {
        inner: body,
        left: max_body,
        max: max_body,
        idle,
        sleep: None,
    };
    Ok(Response::from_parts(head, Body::new(body)))
}

/// Reads a body that nobody needs.
pub(super) async fn drain<R>(body: R)
where
    R: http_body::Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        return;
    }
    let mut body = pin!(Limited::new(body, DRAINED));
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = timeout(PATIENCE, read).await;
}

pin_project! {
    /// The body of a refusal, which has a limit and may not pause for too long. Trailers are not handed on.
    struct RefusalBody<R> {
        #[pin]
        inner: R,
        left: usize,
        max: usize,
        idle: Duration,
        sleep: Option<Pin<Box<Sleep>>>,
    }
}

impl<R> http_body::Body for RefusalBody<R>
where
    R: http_body::Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        loop {
            let Poll::Ready(frame) = this.inner.as_mut().poll_frame(cx) else {
                let idle = *this.idle;
                let sleep = (this.sleep).get_or_insert_with(|| Box::pin(sleep(idle)));
                ready!(sleep.as_mut().poll(cx));
                return Poll::Ready(Some(Err(RefusalError::Silent.into())));
            };
            *this.sleep = None;
            let data = match frame {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => frame.into_data(),
            };
            let Ok(data) = data else { continue };
            return Poll::Ready(Some(match this.left.checked_sub(data.len()) {
                Some(left) => {
                    *this.left = left;
                    Ok(Frame::data(data))
                }
                None => Err(RefusalError::Long(*this.max).into()),
            }));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
