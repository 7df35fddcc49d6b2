//! Which answers are compressed, and what becomes of their headers.

use super::Settings;
use super::coding::{Coding, choose};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const DIGEST: HeaderName = HeaderName::from_static("digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// What a request says of the form of its answer.
#[derive(Debug)]
pub(super) struct Asked {
    coding: Option<Coding>,
    is_head: bool,
    is_untransformed: bool,
    none_match: Option<HeaderValue>,
}

impl Asked {
    pub(super) fn by<B>(request: &Request<B>, settings: &Settings) -> Self {
        let headers = request.headers();
        Self {
            coding: choose(headers, &settings.codings),
            is_head: request.method() == Method::HEAD,
            is_untransformed: forbids_transformation(headers),
            none_match: headers.get(IF_NONE_MATCH).cloned(),
        }
    }
}

/// What is done with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is as it is, for every client.
    Leave,
    /// It would be compressed in answer to another request.
    Vary,
    /// It is compressed.
    Compress(Coding),
}

pub(super) fn judge<R: Body>(
    asked: &Asked,
    response: &Response<R>,
    settings: &Settings,
) -> Verdict {
    let headers = response.headers();
    if asked.is_untransformed || is_final(headers) {
        return Verdict::Leave;
    }
    if response.status() == StatusCode::NOT_MODIFIED {
        // Its headers are those that the 200 would have had, without a length, and often without a type.
        let may_be = !headers.contains_key(CONTENT_TYPE) || settings.types.contain(headers);
        return if may_be {
            Verdict::Vary
        } else {
            Verdict::Leave
        };
    }
    if !has_content(response.status()) || !settings.types.contain(headers) {
        return Verdict::Leave;
    }
    if length(response).is_some_and(|length| length < settings.min_size.max(1)) {
        return Verdict::Leave;
    }
    match asked.coding {
        Some(coding) if !asked.is_head && !response.body().is_end_stream() => {
            Verdict::Compress(coding)
        }
        _ => Verdict::Vary,
    }
}

/// Whether nobody may change the content: it has been encoded, or is a part of another, or was said to be left alone,
/// or somebody has vouched for each byte of it (RFC 9530).
fn is_final(headers: &HeaderMap) -> bool {
    let names = [
        CONTENT_ENCODING,
        CONTENT_RANGE,
        CONTENT_DIGEST,
        REPR_DIGEST,
        DIGEST,
        CONTENT_MD5,
    ];
    names.iter().any(|name| headers.contains_key(name)) || forbids_transformation(headers)
}

/// `no-transform` (RFC 9111, 5.2.1.6 and 5.2.2.6).
fn forbids_transformation(headers: &HeaderMap) -> bool {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

fn has_content(status: StatusCode) -> bool {
    !status.is_informational()
        && ![
            StatusCode::NO_CONTENT,
            StatusCode::RESET_CONTENT,
            StatusCode::PARTIAL_CONTENT,
        ]
        .contains(&status)
}

fn length<R: Body>(response: &Response<R>) -> Option<u64> {
    let value = response.headers().get(CONTENT_LENGTH);
    let written = value.and_then(|value| value.to_str().ok()?.parse().ok());
    written.or_else(|| response.body().size_hint().exact())
}

/// Says that the content is in `coding` now, and no longer what was said of it before.
pub(super) fn describe(headers: &mut HeaderMap, coding: Coding) {
    headers.remove(CONTENT_LENGTH);
    // A part of it would be a part of the compressed content, which nobody keeps.
    headers.remove(ACCEPT_RANGES);
    headers.insert(CONTENT_ENCODING, coding.value());
    weaken(headers, |_| true);
}

/// A 304 names the content that the client has, by the name that it knows it by: where that is a weak form of the
/// server's strong one, it got it from us, compressed.
pub(super) fn describe_unmodified(headers: &mut HeaderMap, asked: &Asked) {
    let Some(known) = &asked.none_match else {
        return;
    };
    let known = known.as_bytes();
    weaken(headers, |weak| {
        known.windows(weak.len()).any(|part| part == weak)
    });
}

/// Makes a strong `ETag` a weak one if `wanted` is true of it: one that is strong promises the same bytes to everybody
/// (RFC 9110, 8.8.1).
fn weaken(headers: &mut HeaderMap, wanted: impl Fn(&[u8]) -> bool) {
    let Some(tag) = headers
        .get(ETAG)
        .filter(|tag| tag.as_bytes().starts_with(b"\""))
    else {
        return;
    };
    let weak = [b"W/", tag.as_bytes()].concat();
    if wanted(&weak)
        && let Ok(weak) = HeaderValue::from_maybe_shared(bytes::Bytes::from(weak))
    {
        headers.insert(ETAG, weak);
    }
}
