//! Reads a body to its end, within its own limit and that of all.

use crate::replay::{grown, size};
use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// A body is handed on in pieces of this size, so that whoever sends it takes no more than he can send soon: hyper
/// copies what it cannot write at once.
const PIECE: usize = 64 << 10;

/// Why a body was not read to its end.
pub(super) enum Unread {
    TooLarge,
    NoMemory,
    Failed(axum::Error),
}

pub(super) async fn read(mut body: Body, max: usize, memory: &Arc<Memory>) -> Result<Body, Unread> {
    let hint = body.size_hint();
    if hint.lower() > max as u64 {
        return Err(Unread::TooLarge);
    }
    let upper = hint.upper().and_then(|upper| usize::try_from(upper).ok());
    let mut whole = Whole {
        data: Vec::new(),
        room: upper.map_or(max, |upper| upper.min(max)),
        trailers: None,
        reserved: Reserved::none(memory),
    };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Unread::Failed)?;
        if let Some(data) = frame.data_ref() {
            whole.add(data, max)?;
        } else if let Ok(trailers) = frame.into_trailers() {
            whole.keep(trailers, max)?;
        }
    }
    let reserved = Arc::new(whole.reserved);
    let kept = Kept {
        data: whole.data,
        _reserved: Arc::clone(&reserved),
    };
    Ok(Body::new(BufferedBody {
        data: Bytes::from_owner(kept),
        trailers: whole.trailers,
        _reserved: reserved,
    }))
}

struct Whole {
    /// Copied, because a piece of one byte may be a view of a buffer of many.
    data: Vec<u8>,
    /// More is not needed, as far as one knows.
    room: usize,
    trailers: Option<HeaderMap>,
    reserved: Reserved,
}

impl Whole {
    fn add(&mut self, data: &[u8], max: usize) -> Result<(), Unread> {
        let needed = self.data.len().saturating_add(data.len());
        if needed > max {
            return Err(Unread::TooLarge);
        }
        let capacity = self.data.capacity();
        if needed > capacity {
            let target = grown(capacity, needed, self.room);
            self.reserved.add(target - capacity)?;
            self.data.reserve_exact(target - self.data.len());
        }
        self.data.extend_from_slice(data);
        Ok(())
    }

    fn keep(&mut self, trailers: HeaderMap, max: usize) -> Result<(), Unread> {
        let size = size(&trailers);
        if self.data.len() + size > max {
            return Err(Unread::TooLarge);
        }
        self.reserved.add(size)?;
        self.trailers = Some(trailers);
        Ok(())
    }
}

/// The bytes of a body, and the memory that is reserved for them: what a connection has still to write is held, though
/// the body has ended.
struct Kept {
    data: Vec<u8>,
    _reserved: Arc<Reserved>,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// A body that is here.
struct BufferedBody {
    data: Bytes,
    trailers: Option<HeaderMap>,
    _reserved: Arc<Reserved>,
}

impl http_body::Body for BufferedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let length = self.data.len().min(PIECE);
        let frame = match length {
            0 => self.trailers.take().map(Frame::trailers),
            _ => Some(Frame::data(self.data.split_to(length))),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.trailers {
            None => SizeHint::with_exact(self.data.len() as u64),
            // Trailers come behind a body whose length is not said.
            Some(_) => SizeHint::default(),
        }
    }
}

/// The bytes that all buffers hold.
#[derive(Debug)]
pub(super) struct Memory {
    used: AtomicUsize,
    max: usize,
}

impl Memory {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            max,
        })
    }
}

/// A part of the memory, given back when dropped.
struct Reserved {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Reserved {
    fn none(memory: &Arc<Memory>) -> Self {
        Self {
            memory: Arc::clone(memory),
            bytes: 0,
        }
    }

    fn add(&mut self, bytes: usize) -> Result<(), Unread> {
        let max = self.memory.max;
        // Relaxed: it is a sum, and guards no other memory.
        self.memory
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|used| *used <= max)
            })
            .map_err(|_| Unread::NoMemory)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
