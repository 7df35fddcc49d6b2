//! Bodies of which the beginning has come: whoever chooses between two answers wants to know that one is more than a
//! head.

use crate::error::BoxError;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, timeout_at};

/// Why a body did not begin.
#[derive(Debug, thiserror::Error)]
enum BeginError {
    /// It broke off.
    #[error("the body broke off")]
    Broken(#[source] BoxError),
    /// Nothing of it came in time.
    #[error("nothing of the body came in time")]
    Silent,
}

/// Waits until `enough` bytes of `body` are here, or its end; at the deadline for as much as there is, if there is
/// any. What comes of it is the same body.
///
/// The bytes are copied into one piece: many small ones would keep much larger buffers.
pub(crate) async fn begun(
    mut body: Body,
    enough: usize,
    deadline: Instant,
) -> Result<Body, BoxError> {
    let (mut data, mut trailers) = (BytesMut::new(), None);
    while data.len() < enough && !body.is_end_stream() {
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(frame) => frame,
            Err(_) if data.is_empty() => return Err(BeginError::Silent.into()),
            Err(_) => break,
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| BeginError::Broken(error.into()))?;
        match frame.into_data() {
            Ok(piece) => data.extend_from_slice(&piece),
            Err(frame) => {
                trailers = Some(frame);
                break;
            }
        }
    }
    if data.is_empty() && trailers.is_none() {
        return Ok(body);
    }
    Ok(Body::new(Begun {
        data: (!data.is_empty()).then(|| data.freeze()),
        trailers,
        rest: body,
    }))
}

/// What has come of a body, and what is to come.
struct Begun {
    data: Option<Bytes>,
    trailers: Option<Frame<Bytes>>,
    rest: Body,
}

impl http_body::Body for Begun {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let here = self.data.take().map(Frame::data);
        match here.or_else(|| self.trailers.take()) {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let here = self.data.as_ref().map_or(0, Bytes::len) as u64;
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(here)) {
            hint.set_upper(upper);
        }
        hint.set_lower(rest.lower().saturating_add(here));
        hint
    }
}
