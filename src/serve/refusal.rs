//! An answer to a request that never became one: written to the socket, for there is no parser any more.

use super::door::Door;
use crate::stack::reason;
use a3s_layers::reject::{Shape, reject};
use http::StatusCode;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a refused client may take to read its answer, and how much of what it sends meanwhile is read
/// and thrown away. A socket closed with bytes unread would reset, and the answer be lost.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 1 << 20;

/// Why a head was refused before it reached the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed(&'static str),
    NotSpoken(&'static str),
    TargetTooLong,
    HeadTooLarge,
    SlowHead,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::NotSpoken(_) => StatusCode::BAD_REQUEST,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::SlowHead => StatusCode::REQUEST_TIMEOUT,
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Malformed(what) | Self::NotSpoken(what) => what,
            Self::TargetTooLong => "the request target is too long",
            Self::HeadTooLarge => "the request header is too large",
            Self::SlowHead => "the request header took too long",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Malformed(_) => reason::MALFORMED,
            Self::NotSpoken(_) => reason::NOT_SPOKEN,
            Self::TargetTooLong => reason::TARGET_TOO_LONG,
            Self::HeadTooLarge => reason::HEAD_TOO_LARGE,
            Self::SlowHead => reason::SLOW_HEAD,
        }
    }

    /// Writes the answer and closes. `door` hears of it first.
    pub(super) async fn write_to<I: AsyncRead + AsyncWrite + Unpin>(
        self,
        mut io: I,
        door: &Door,
        took: Duration,
    ) {
        let status = self.status();
        let response = reject(status, self.message(), Shape::Json);
        let Ok(body) = axum::body::to_bytes(response.into_body(), usize::MAX).await else {
            return;
        };
        door.turned_away(status, self.reason(), body.len() as u64, took);
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let answer = [head.as_bytes(), &body].concat();
        let talk = async {
            io.write_all(&answer).await?;
            io.shutdown().await?;
            let mut rest = io.take(LINGER_BYTES);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
        };
        // Who goes away, or stays and never ends, gets no more than this.
        let _ = tokio::time::timeout(LINGER, talk).await;
    }
}
