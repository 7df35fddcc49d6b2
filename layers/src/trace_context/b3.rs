//! `b3`, and `X-B3-TraceId` with its kin.

use super::w3c::value;
use super::{Decision, Said, SpanId, TraceContext, TraceId};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What the names of those begin with that have a header for each part.
pub(super) const PREFIX: &str = "x-b3-";

const B3: HeaderName = HeaderName::from_static("b3");
const TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
const SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
const PARENT_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// The longest value: 32 digits, 16, the decision and 16.
const LENGTH: usize = 68;

/// `TRACE-SPAN`, `TRACE-SPAN-DECISION`, `TRACE-SPAN-DECISION-PARENT`, or the decision alone.
pub(super) fn read_single(headers: &HeaderMap) -> Option<Said> {
    let text = only(headers, &B3).ok()??;
    if let [decision] = text {
        return Some(Said {
            ids: None,
            decision: Some(decided(*decision)?),
            is_short: false,
            is_random: false,
        });
    }
    let mut parts = text.split(|byte| *byte == b'-');
    let (trace_id, is_short) = trace_id(parts.next()?)?;
    let span_id = SpanId::parse(parts.next()?)?;
    let decision = match parts.next() {
        None => None,
        Some([decision]) => Some(decided(*decision)?),
        Some(_) => return None,
    };
    if let Some(parent) = parts.next() {
        SpanId::parse(parent)?;
    }
    parts.next().is_none().then_some(Said {
        ids: Some((trace_id, span_id)),
        decision,
        is_short,
        is_random: false,
    })
}

/// Each part in a header of its own; one that is malformed takes the others with it.
pub(super) fn read_multi(headers: &HeaderMap) -> Option<Said> {
    let sampled = match only(headers, &SAMPLED).ok()? {
        None => None,
        // Those from before the specification say it in words.
        Some(b"1" | b"true") => Some(Decision::Accepted),
        Some(b"0" | b"false") => Some(Decision::Denied),
        Some(_) => return None,
    };
    let decision = match only(headers, &FLAGS).ok()? {
        Some(b"1") => Some(Decision::Debug),
        None | Some(b"0") => sampled,
        Some(_) => return None,
    };
    let parent = only(headers, &PARENT_SPAN_ID).ok()?;
    let (ids, is_short) = match (
        only(headers, &TRACE_ID).ok()?,
        only(headers, &SPAN_ID).ok()?,
    ) {
        (Some(trace), Some(span)) => {
            let (trace_id, is_short) = trace_id(trace)?;
            if let Some(parent) = parent {
                SpanId::parse(parent)?;
            }
            (Some((trace_id, SpanId::parse(span)?)), is_short)
        }
        (None, None) if parent.is_none() && decision.is_some() => (None, false),
        _ => return None,
    };
    Some(Said {
        ids,
        decision,
        is_short,
        is_random: false,
    })
}

/// The value of a header that may stand there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, ()> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (line, None) => Ok(line.map(HeaderValue::as_bytes)),
        (_, Some(_)) => Err(()),
    }
}

fn decided(text: u8) -> Option<Decision> {
    match text {
        b'0' => Some(Decision::Denied),
        b'1' => Some(Decision::Accepted),
        b'd' => Some(Decision::Debug),
        _ => None,
    }
}

fn trace_id(text: &[u8]) -> Option<(TraceId, bool)> {
    match text.len() {
        16 => TraceId::parse_short(text).map(|id| (id, true)),
        _ => TraceId::parse(text).map(|id| (id, false)),
    }
}

pub(super) fn write_single(context: &TraceContext, headers: &mut HeaderMap) {
    let digits = context.trace_id.digits();
    let mut text = [b'-'; LENGTH];
    let mut at = 0;
    let mut put = |part: &[u8]| {
        text[at..at + part.len()].copy_from_slice(part);
        at += part.len() + 1;
    };
    put(shown(context, &digits));
    put(&context.span_id.digits());
    put(match context.decision {
        Decision::Denied => b"0",
        Decision::Accepted => b"1",
        Decision::Debug => b"d",
    });
    if let Some(parent) = context.parent {
        put(&parent.digits());
    }
    headers.insert(B3, value(&text[..at - 1]));
}

pub(super) fn write_multi(context: &TraceContext, headers: &mut HeaderMap) {
    headers.insert(TRACE_ID, value(shown(context, &context.trace_id.digits())));
    headers.insert(SPAN_ID, value(&context.span_id.digits()));
    match context.parent {
        Some(parent) => headers.insert(PARENT_SPAN_ID, value(&parent.digits())),
        None => headers.remove(PARENT_SPAN_ID),
    };
    // The flag says the decision as well, and the two are not sent together.
    let (name, other, text) = match context.decision {
        Decision::Denied => (SAMPLED, FLAGS, "0"),
        Decision::Accepted => (SAMPLED, FLAGS, "1"),
        Decision::Debug => (FLAGS, SAMPLED, "1"),
    };
    headers.remove(other);
    headers.insert(name, HeaderValue::from_static(text));
}

/// In as many bits as it came.
fn shown<'d>(context: &TraceContext, digits: &'d [u8; 32]) -> &'d [u8] {
    match context.forms.is_short {
        true => &digits[16..],
        false => digits,
    }
}

pub(super) fn remove_single(headers: &mut HeaderMap) {
    headers.remove(B3);
}

pub(super) fn remove_multi(headers: &mut HeaderMap) {
    for name in [TRACE_ID, SPAN_ID, PARENT_SPAN_ID, SAMPLED, FLAGS] {
        headers.remove(name);
    }
}
