//! A body that is compressed while it streams.

use super::coding::Coding;
use super::encoder::Encoder;
use crate::error::BoxError;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::OwnedSemaphorePermit;

/// After so much input the others that share the thread have their turn: some milliseconds at most.
const TURN: usize = 64 * 1024;

pin_project! {
    /// The compressed body of a response.
    ///
    /// Whatever has come in is out before it waits for more. An error of the body within is its own, and no end of
    /// a stream is written then: nobody can take the half for the whole.
    pub(super) struct CompressBody<B> {
        #[pin]
        inner: B,
        step: Step,
        // None once it is over, so that a body that nobody drops takes no memory.
        running: Option<Running>,
        input: Bytes,
        trailers: Option<HeaderMap>,
        // Since the others had their turn.
        taken: usize,
    }
}

struct Running {
    encoder: Encoder,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// There may be more.
    Reading,
    /// There was no more when we asked, and everybody else has had a turn since.
    Waiting,
    /// What has come in is on its way out.
    Flushing,
    /// Nothing more will come.
    Finishing,
    Over,
}

impl<B: Body<Data = Bytes>> CompressBody<B> {
    pub(super) fn new(
        inner: B,
        coding: Coding,
        level: Option<u8>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let length = inner.size_hint().exact();
        Self {
            inner,
            step: Step::Reading,
            running: Some(Running {
                encoder: Encoder::new(coding, level, length),
                _permit: permit,
            }),
            input: Bytes::new(),
            trailers: None,
            taken: 0,
        }
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

impl<B> Body for CompressBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let result = match self.as_mut().advance(cx) {
            Poll::Ready(Ok(frame)) => frame.map(Ok),
            Poll::Ready(Err(error)) => {
                self.as_mut().end();
                Some(Err(error))
            }
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(result)
    }

    fn is_end_stream(&self) -> bool {
        self.step == Step::Over && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.is_end_stream() {
            true => SizeHint::with_exact(0),
            false => SizeHint::default(),
        }
    }
}

impl<B> CompressBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// The next frame, or none at the end.
    fn advance(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, BoxError>> {
        loop {
            let this = self.as_mut().project();
            let Some(Running { encoder, .. }) = this.running else {
                return Poll::Ready(Ok(this.trailers.take().map(Frame::trailers)));
            };
            match this.step {
                Step::Reading | Step::Waiting if !this.input.is_empty() => {
                    if *this.taken >= TURN {
                        *this.taken = 0;
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    let some = this.input.len().min(TURN - *this.taken);
                    let taken = encoder.write(&this.input[..some])?;
                    this.input.advance(taken);
                    *this.taken += taken;
                    if encoder.is_full() {
                        return Poll::Ready(Ok(encoder.take().map(Frame::data)));
                    }
                }
                Step::Reading | Step::Waiting if this.inner.is_end_stream() => {
                    *this.step = Step::Finishing;
                }
                Step::Reading | Step::Waiting => match this.inner.poll_frame(cx) {
                    Poll::Ready(Some(frame)) => {
                        *this.step = Step::Reading;
                        match frame.map_err(Into::into)?.into_data() {
                            Ok(data) => *this.input = data,
                            Err(frame) => {
                                *this.trailers = frame.into_trailers().ok();
                                *this.step = Step::Finishing;
                            }
                        }
                    }
                    Poll::Ready(None) => *this.step = Step::Finishing,
                    Poll::Pending => {
                        *this.taken = 0;
                        if !encoder.holds() {
                            return Poll::Pending;
                        }
                        if *this.step == Step::Waiting {
                            *this.step = Step::Flushing;
                        } else {
                            // What is already on its way to us may come while the others have their turn, and
                            // a flush costs a block that could have been longer.
                            *this.step = Step::Waiting;
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                    }
                },
                Step::Flushing => {
                    let is_flushed = encoder.flush()?;
                    if is_flushed {
                        *this.step = Step::Reading;
                    }
                    if let Some(data) = encoder.take() {
                        return Poll::Ready(Ok(Some(Frame::data(data))));
                    }
                    if !is_flushed {
                        return Poll::Ready(Err(still()));
                    }
                }
                Step::Finishing => {
                    let is_finished = encoder.finish()?;
                    let data = encoder.take();
                    if is_finished {
                        self.as_mut().end();
                    }
                    if let Some(data) = data {
                        return Poll::Ready(Ok(Some(Frame::data(data))));
                    }
                    if !is_finished {
                        return Poll::Ready(Err(still()));
                    }
                }
                Step::Over => return Poll::Ready(Ok(None)),
            }
        }
    }

    fn end(self: Pin<&mut Self>) {
        let this = self.project();
        *this.step = Step::Over;
        *this.running = None;
    }
}

fn still() -> BoxError {
    io::Error::other("the encoder stands still").into()
}
