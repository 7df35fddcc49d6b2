//! What was wrong with an answer, in words that are the gateway's own: what a server says is not repeated.

use a3s_layers::error::{Failure, UpstreamError};
use http::StatusCode;
use std::error::Error;
use std::io;
use std::time::Duration;

/// Why an answer is not a good one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There was no connection.
    #[error("{0}")]
    Connect(String),
    /// There was no connection in the time that the service gives its servers.
    #[error("no connection in time")]
    ConnectTimeout,
    /// There was no answer in time, or not all of it.
    #[error("timed out after {0:?}")]
    Timeout(Duration),
    /// The connection ended before an answer.
    #[error("{0}")]
    Reset(String),
    /// What came back is something else.
    #[error("the answer is not HTTP")]
    NotHttp,
    /// The head of the answer does not end.
    #[error("the head of the answer is too large")]
    HeadTooLarge,
    /// The answer ended before its end.
    #[error("the answer broke off")]
    BrokenOff,
    /// The status is not a good one.
    #[error("status {}", .0.as_u16())]
    Status(StatusCode),
    /// gRPC needs HTTP/2, and the server does not offer it.
    #[error("no HTTP/2")]
    NoHttp2,
    /// What came back is HTTP, and not gRPC.
    #[error("the answer is not gRPC")]
    NotGrpc,
    /// The call failed.
    #[error("grpc code {0}")]
    GrpcCode(&'static str),
    /// The server says so itself.
    #[error("grpc status {0}")]
    Grpc(&'static str),
}

impl From<UpstreamError> for Fault {
    fn from(error: UpstreamError) -> Self {
        match error.failure() {
            Failure::ConnectTimeout => Self::ConnectTimeout,
            failure => Self::Connect(match find::<io::Error>(&error) {
                Some(error) => of_io(error),
                None => failure.reason().to_owned(),
            }),
        }
    }
}

impl From<hyper::Error> for Fault {
    fn from(error: hyper::Error) -> Self {
        if error.is_parse_too_large() {
            return Self::HeadTooLarge;
        }
        if error.is_parse() {
            return Self::NotHttp;
        }
        Self::Reset(match find::<io::Error>(&error) {
            Some(error) => of_io(error),
            None => "the connection ended before an answer".to_owned(),
        })
    }
}

fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// `connection refused`; where the system has no word for it, what the library says, as of certificates.
fn of_io(error: &io::Error) -> String {
    /// More than this is no reason but a story.
    const MAX_CHARS: usize = 200;
    let inner = error.get_ref();
    if inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
        // It may quote the names of a certificate.
        let said = format!("tls: {error}");
        let printable = said.chars().filter(|c| !c.is_control());
        return printable.take(MAX_CHARS).collect();
    }
    match error.raw_os_error() {
        Some(_) if error.kind() == io::ErrorKind::NotFound => "no such socket".to_owned(),
        Some(_) => error.kind().to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_short_words() {
        let refused = io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
        let unknown = rustls::CertificateError::UnknownIssuer;
        let unknown = rustls::Error::InvalidCertificate(unknown);
        let odd = rustls::Error::General(format!("a\nb{}", "c".repeat(1000)));
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        for (error, expected) in [
            (refused, "connection refused"),
            (
                invalid(unknown),
                "tls: invalid peer certificate: UnknownIssuer",
            ),
            (io::Error::other("no such name"), "no such name"),
        ] {
            let fault = Fault::from(UpstreamError::new(Failure::Connect, error));
            assert_eq!(fault.to_string(), expected);
        }
        let fault = Fault::from(UpstreamError::new(Failure::Connect, invalid(odd)));
        assert_eq!(fault.to_string().len(), 200);
        assert!(!fault.to_string().contains('\n'));
        let timeout = Fault::Timeout(Duration::from_secs(5));
        assert_eq!(timeout.to_string(), "timed out after 5s");
        let status = Fault::Status(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status.to_string(), "status 503");
    }
}
