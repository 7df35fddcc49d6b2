//! `traceparent` and `tracestate`.

use super::id::hex;
use super::{Decision, Said, SpanId, TraceContext, TraceId};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// `00-` and 32 digits, `-` and 16, `-` and 2.
const LENGTH: usize = 55;

/// What `tracestate` may have of members (3.3.1.1), and what everybody has to send on of it (3.3.1.5).
const MAX_MEMBERS: usize = 32;
const MAX_STATE: usize = 512;
const LARGE_MEMBER: usize = 128;

/// Reads `traceparent`. Versions to come begin as this one does, and may have more behind it (3.2.2 and 4.3).
pub(super) fn read(headers: &HeaderMap) -> Option<Said> {
    let mut lines = headers.get_all(TRACEPARENT).iter();
    let text = lines.next().filter(|_| lines.next().is_none())?.as_bytes();
    let (head, rest) = text.split_at_checked(LENGTH)?;
    let [version] = hex(&head[..2])?;
    let is_whole = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.first().is_none_or(|next| *next == b'-'),
    };
    if !is_whole || [2, 35, 52].iter().any(|at| head[*at] != b'-') {
        return None;
    }
    let [flags] = hex(&head[53..])?;
    let ids = (TraceId::parse(&head[3..35])?, SpanId::parse(&head[36..52])?);
    let is_sampled = flags & SAMPLED != 0;
    Some(Said {
        ids: Some(ids),
        decision: Some(match is_sampled {
            true => Decision::Accepted,
            false => Decision::Denied,
        }),
        is_short: false,
        is_random: flags & RANDOM != 0,
    })
}

pub(super) fn write(context: &TraceContext, headers: &mut HeaderMap) {
    let mut text = [b'-'; LENGTH];
    text[..2].copy_from_slice(b"00");
    text[3..35].copy_from_slice(&context.trace_id.digits());
    text[36..52].copy_from_slice(&context.span_id.digits());
    let sampled = u8::from(context.is_sampled()) * SAMPLED;
    let random = u8::from(context.forms.is_random) * RANDOM;
    text[53] = b'0';
    text[54] = b'0' + (sampled | random);
    headers.insert(TRACEPARENT, value(&text));
}

pub(super) fn value(text: &[u8]) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::copy_from_slice(text))
        .expect("digits, letters and hyphens are visible ASCII")
}

pub(super) fn remove(headers: &mut HeaderMap) {
    headers.remove(TRACEPARENT);
    headers.remove(TRACESTATE);
}

/// Leaves of `tracestate` what may be sent on.
pub(super) fn tidy_state(headers: &mut HeaderMap) {
    let lines = || headers.get_all(TRACESTATE).iter();
    if lines().next().is_none() {
        return;
    }
    let is_small = lines().map(HeaderValue::len).sum::<usize>() <= MAX_STATE;
    let is_one = lines().nth(1).is_none();
    let members = || {
        let all = lines().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        all.map(<[u8]>::trim_ascii)
            .filter(|member| !member.is_empty())
    };
    let (mut count, mut is_sound) = (0, true);
    for member in members() {
        count += 1;
        is_sound &= count <= MAX_MEMBERS && is_member(member);
    }
    match (is_sound, is_small && is_one) {
        (false, _) => drop(headers.remove(TRACESTATE)),
        (true, true) => {}
        (true, false) => {
            let state = shortened(members().collect());
            match HeaderValue::from_bytes(&state) {
                Ok(state) if !state.is_empty() => drop(headers.insert(TRACESTATE, state)),
                _ => drop(headers.remove(TRACESTATE)),
            }
        }
    }
}

/// Whole members: the large ones go first, and then those at the end, which are the oldest.
fn shortened(mut members: Vec<&[u8]>) -> Vec<u8> {
    let length = |members: &[&[u8]]| members.iter().map(|member| member.len() + 1).sum::<usize>();
    while length(&members) > MAX_STATE + 1 {
        let large = members
            .iter()
            .rposition(|member| member.len() > LARGE_MEMBER);
        members.remove(large.unwrap_or(members.len() - 1));
    }
    members.join(&b","[..])
}

/// `key=value` (3.3.1.3).
fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else {
        return false;
    };
    let (key, value) = (&member[..at], &member[at + 1..]);
    let is_lower = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_key = (1..=256).contains(&key.len())
        && is_lower(&key[0])
        && key
            .iter()
            .all(|byte| is_lower(byte) || b"_-*/@".contains(byte));
    let is_value = (1..=256).contains(&value.len())
        && value
            .iter()
            .all(|byte| (b' '..=b'~').contains(byte) && *byte != b'=');
    is_key && is_value
}
