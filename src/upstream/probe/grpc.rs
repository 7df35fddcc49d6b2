//! `grpc.health.v1.Health/Check` ([GRPC Health Checking Protocol]): one small message each way.
//!
//! The messages are written by hand: a string one way, an enum the other ([Protocol Buffers encoding]), each behind the
//! five bytes of its frame ([gRPC over HTTP/2]).
//!
//! [GRPC Health Checking Protocol]: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
//! [Protocol Buffers encoding]: https://protobuf.dev/programming-guides/encoding/
//! [gRPC over HTTP/2]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

use super::fault::Fault;
use bytes::Bytes;
use http::header::CONTENT_TYPE as TYPE;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::Collected;
use std::time::Duration;

pub(super) const PATH: &str = "/grpc.health.v1.Health/Check";
pub(super) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

pub(super) const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

const STATUS: &str = "grpc-status";

/// By number, as gRPC's status codes have it.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

const SERVING: u64 = 1;

/// `HealthCheckRequest { service = 1 }` in its frame.
pub(super) fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(field(1, LENGTH_DELIMITED));
        put_varint(&mut message, service.len() as u64);
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    // A name in a configuration is not longer than a mebibyte.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&message);
    frame.into()
}

/// In milliseconds: eight digits are the most that there may be, which is a day and more.
pub(super) fn timeout(timeout: Duration) -> HeaderValue {
    let millis = timeout.as_millis().min(99_999_999);
    let value = HeaderValue::from_str(&format!("{millis}m"));
    value.unwrap_or_else(|_| HeaderValue::from_static("5S"))
}

/// Whether an answer says that the server, or the service, is well.
pub(super) fn judge(
    head: &Parts,
    read: Result<Option<Collected<Bytes>>, Fault>,
) -> Result<(), Fault> {
    if head.status != StatusCode::OK {
        return Err(Fault::Status(head.status));
    }
    if !is_grpc(&head.headers) {
        return Err(Fault::NotGrpc);
    }
    // None is longer than any answer to this.
    let whole = read?.ok_or(Fault::NotGrpc)?;
    // An error may come without a message; its trailers are then the head.
    let code = whole.trailers().and_then(|trailers| trailers.get(STATUS));
    let code = code.or_else(|| head.headers.get(STATUS));
    match code.map(HeaderValue::as_bytes) {
        None => return Err(Fault::NotGrpc),
        Some(b"0") => {}
        Some(code) => return Err(Fault::GrpcCode(code_name(code))),
    }
    match serving_status(&whole.to_bytes()).ok_or(Fault::NotGrpc)? {
        SERVING => Ok(()),
        2 => Err(Fault::Grpc("NOT_SERVING")),
        3 => Err(Fault::Grpc("SERVICE_UNKNOWN")),
        _ => Err(Fault::Grpc("UNKNOWN")),
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(TYPE).map_or(&[][..], HeaderValue::as_bytes);
    let rest = value.strip_prefix(CONTENT_TYPE.as_bytes());
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn code_name(code: &[u8]) -> &'static str {
    let code = std::str::from_utf8(code).ok();
    let code = code.and_then(|code| code.parse::<usize>().ok());
    let name = code.and_then(|code| CODES.get(code));
    name.copied().unwrap_or("UNKNOWN")
}

/// The `status = 1` of a `HealthCheckResponse` in its frame; 0, which is `UNKNOWN`, where it is not written. `None` where
/// this is not one message, whole and uncompressed.
fn serving_status(frame: &[u8]) -> Option<u64> {
    let (&[compressed, length @ ..], mut message) = frame.split_first_chunk::<5>()?;
    if compressed != 0 || u32::from_be_bytes(length) as usize != message.len() {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (1, VARINT) => status = varint(&mut message)?,
            (1, _) | (0, _) => return None,
            // What later versions add.
            (_, VARINT) => drop(varint(&mut message)?),
            (_, FIXED_64) => drop(take(&mut message, 8)?),
            (_, FIXED_32) => drop(take(&mut message, 4)?),
            (_, wire) if wire == u64::from(LENGTH_DELIMITED) => {
                let length = varint(&mut message)?;
                take(&mut message, usize::try_from(length).ok()?)?;
            }
            _ => return None,
        }
    }
    Some(status)
}

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FIXED_32: u64 = 5;

const fn field(number: u8, wire: u8) -> u8 {
    (number << 3) | wire
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_frame_with_the_name() {
        assert_eq!(*question(""), [0, 0, 0, 0, 0]);
        assert_eq!(*question("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = question(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
        assert_eq!(long.len(), 308);
    }

    #[test]
    fn a_status_is_read_whatever_stands_beside_it() {
        let frame = |message: &[u8]| [&[0, 0, 0, 0, message.len() as u8], message].concat();
        for (message, expected) in [
            (&[][..], Some(0)),
            (&[8, 1], Some(1)),
            (&[8, 2], Some(2)),
            // The last one counts.
            (&[8, 2, 8, 1], Some(1)),
            (&[8, 0x81, 0], Some(1)),
            // Other fields of every type.
            (&[16, 5, 8, 1], Some(1)),
            (&[8, 1, 0x12, 2, 9, 9], Some(1)),
            (
                &[0x19, 1, 2, 3, 4, 5, 6, 7, 8, 8, 3, 0x25, 1, 2, 3, 4],
                Some(3),
            ),
            // Cut short, of the wrong type, a group, a field 0, a number without end.
            (&[8], None),
            (&[8, 0x80], None),
            (&[0x0a, 1, 1], None),
            (&[0x12, 9, 9], None),
            (&[0x1b, 8, 1], None),
            (&[0, 1], None),
            (
                &[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
                None,
            ),
            (
                &[0x12, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
                None,
            ),
        ] {
            assert_eq!(serving_status(&frame(message)), expected, "{message:?}");
        }
        for bad in [
            &[][..],
            &[0, 0, 0, 0],
            &[1, 0, 0, 0, 2, 8, 1],
            &[0, 0, 0, 0, 3, 8, 1],
            &[0, 0, 0, 0, 1, 8, 1],
            &[0, 255, 255, 255, 255, 8, 1],
        ] {
            assert_eq!(serving_status(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn codes_have_names() {
        assert_eq!(code_name(b"12"), "UNIMPLEMENTED");
        for odd in [
            &b"17"[..],
            b"-1",
            b"",
            b"x",
            b"99999999999999999999",
            b"\xff",
        ] {
            assert_eq!(code_name(odd), "UNKNOWN");
        }
    }

    #[test]
    fn what_is_grpc_says_so() {
        let says = |value: &'static str| {
            is_grpc(&HeaderMap::from_iter([(
                TYPE,
                HeaderValue::from_static(value),
            )]))
        };
        assert!(says("application/grpc") && says("application/grpc+proto"));
        assert!(!says("application/grpc-web") && !says("text/html"));
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
