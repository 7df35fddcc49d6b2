//! Why a request got no answer from an upstream: the one error that crosses layers below the rescue.

use http::StatusCode;
use http_body_util::LengthLimitError;
use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::io;

/// Any error that a service below the rescue may fail with.
pub type BoxError = tower::BoxError;

/// What failed, as a decision that somebody above can take: a retry, an ejection, a status.
///
/// [`RescueLayer`](crate::rescue::RescueLayer) leaves it as an extension on the answers that it makes,
/// so that a connection that never was can be told from a server's own 502.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No connection came to be: nothing was sent.
    Connect,
    /// No connection came to be in time: nothing was sent.
    ConnectTimeout,
    /// The connection ended, or what came back was not HTTP, before there was an answer.
    Reset,
    /// No answer in time.
    ResponseTimeout,
    /// There is no server to ask.
    Unavailable,
    /// Every server that could be asked has as many requests as it may have.
    Overloaded,
    /// The request's own body failed: the client broke off, or sent what is not HTTP.
    RequestBody,
    /// The request's body did not come in time.
    RequestTimeout,
    /// The request's body is larger than it may be.
    BodyTooLarge,
    /// The request asks for another protocol, which the server could not be asked for.
    NoUpgrade,
}

impl Failure {
    /// Each of them, in their order.
    pub const ALL: [Self; 10] = [
        Self::Connect,
        Self::ConnectTimeout,
        Self::Reset,
        Self::ResponseTimeout,
        Self::Unavailable,
        Self::Overloaded,
        Self::RequestBody,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::NoUpgrade,
    ];

    /// The status that a client gets (RFC 9110, 15.5 and 15.6).
    pub fn status(self) -> StatusCode {
        match self {
            Self::Connect | Self::Reset => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::ResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Unavailable | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::RequestBody => StatusCode::BAD_REQUEST,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoUpgrade => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// One word for logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Reset => "reset",
            Self::ResponseTimeout => "response_timeout",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::RequestBody => "request_body",
            Self::RequestTimeout => "request_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::NoUpgrade => "no_upgrade",
        }
    }

    /// What a client is told: never an address, never a cause.
    pub fn message(self) -> &'static str {
        match self {
            Self::Connect | Self::Reset => "the upstream server failed",
            Self::ConnectTimeout | Self::ResponseTimeout => "the upstream server took too long",
            Self::Unavailable => "no upstream server is available",
            Self::Overloaded => "the upstream servers are busy",
            Self::RequestBody => "the request body is malformed or incomplete",
            Self::RequestTimeout => "the request took too long",
            Self::BodyTooLarge => "the request body is too large",
            Self::NoUpgrade => "the upstream server speaks HTTP/2, which has no upgrades",
        }
    }

    /// Whether it was the request's own body that failed: no server is to blame, and none could do better.
    pub fn is_of_request_body(self) -> bool {
        matches!(
            self,
            Self::RequestBody | Self::RequestTimeout | Self::BodyTooLarge
        )
    }

    /// Whether it was for the request that there was no answer, and no server is to blame.
    pub fn is_of_request(self) -> bool {
        self.is_of_request_body() || self == Self::NoUpgrade
    }

    /// Finds what failed in an error and its sources; an error that says nothing is a [`Failure::Reset`], and
    /// one that says that a body was cut at its limit is a [`Failure::BodyTooLarge`].
    pub fn of(error: &(dyn StdError + 'static)) -> Self {
        Self::find(error).unwrap_or(Self::Reset)
    }

    /// As [`Failure::of`], for an error of a request's body: it is one of those of
    /// [`Failure::is_of_request_body`].
    pub fn of_request_body(error: &(dyn StdError + 'static)) -> Self {
        Self::find(error)
            .filter(|failure| failure.is_of_request_body())
            .unwrap_or(Self::RequestBody)
    }

    /// As [`Failure::of`], for an error of any type: a [`BoxError`] is looked into.
    pub(crate) fn of_any(error: &dyn Any) -> Self {
        if let Some(error) = error.downcast_ref::<BoxError>() {
            return Self::of(&**error);
        }
        let error = error.downcast_ref::<axum::Error>();
        error.map_or(Self::Reset, |error| Self::of(error))
    }

    fn find(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<UpstreamError>() {
                return Some(error.failure);
            }
            if error.is::<LengthLimitError>() {
                return Some(Self::BodyTooLarge);
            }
            next = match error.downcast_ref::<io::Error>() {
                // The source of an `io::Error` is the source of what it holds, not what it holds.
                Some(io) => io.get_ref().map(|error| error as _),
                None => error.source(),
            };
        }
        None
    }
}

/// A [`Failure`] with its cause, for those who read logs.
#[derive(Debug)]
pub struct UpstreamError {
    failure: Failure,
    source: Option<BoxError>,
}

impl UpstreamError {
    /// A failure with what caused it.
    pub fn new(failure: Failure, source: impl Into<BoxError>) -> Self {
        Self {
            failure,
            source: Some(source.into()),
        }
    }

    /// What failed.
    pub fn failure(&self) -> Failure {
        self.failure
    }
}

impl From<Failure> for UpstreamError {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            source: None,
        }
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.failure.reason())
    }
}

impl StdError for UpstreamError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

/// An error and its sources on one line: `connect: tcp connect error: connection refused`.
pub struct Chain<'a>(pub &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}
