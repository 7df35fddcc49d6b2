//! Requests that ask to go on in another protocol, and what becomes of those that may.

use super::body::Running;
use crate::stack::Response;
use crate::stack::drain::{Notice, Phase};
use crate::stack::upgrade::{AnyStream, Handover, Upgrade};
use a3s_layers::peer::Peer;
use a3s_layers::reject::{Shape, reject};
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use http_body::Body as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

/// What a request of HTTP/1.1 without a body asks for (RFC 9110, 7.8).
///
/// It must ask for one protocol. HTTP and TLS are none that it can have: what came of that would be requests that
/// nobody judges.
pub(super) fn asked(version: Version, headers: &HeaderMap) -> Option<Upgrade> {
    let mut lines = headers.get_all(UPGRADE).iter();
    let (protocol, None) = (lines.next()?, lines.next()) else {
        return None;
    };
    let is_meant = || {
        let lines = headers.get_all(CONNECTION).iter();
        let mut options = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    };
    let is_asked = version == Version::HTTP_11 && is_protocol(protocol.as_bytes()) && is_meant();
    is_asked.then(|| Upgrade::new(protocol.clone()))
}

/// Whether it is one protocol, and another one than those that we speak.
fn is_protocol(text: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(byte);
    let begins_with = |name: &&[u8]| {
        let start = text.get(..name.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    // With drafts and versions: `h2c-17`, `HTTP/2.0`. SPDY is not among them: tools for Kubernetes tunnel streams in it.
    let ours: [&[u8]; 4] = [b"h2", b"h3", b"http", b"tls"];
    let is_ours = ours.iter().any(begins_with);
    !text.is_empty() && text.iter().all(is_token) && !is_ours
}

/// A connection, or a stream of one, that goes on in another protocol.
#[derive(Debug)]
pub(super) struct Switched {
    handover: Handover,
    goes_on: Body,
}

impl Switched {
    /// Takes out of a 101 what goes on; none where nothing does.
    pub(super) fn take(response: &mut Response) -> Option<Self> {
        let handover = response.extensions_mut().remove::<Handover>()?;
        let headers = response.headers_mut();
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE] {
            headers.remove(name);
        }
        let goes_on = std::mem::take(response.body_mut());
        Some(Self { handover, goes_on })
    }

    /// Runs what goes on, to its end or that of the drain.
    pub(super) async fn go_on(
        self,
        stream: impl Into<AnyStream>,
        ahead: Bytes,
        peer: Arc<Peer>,
        mut notice: Notice,
    ) {
        let Self {
            handover,
            mut goes_on,
        } = self;
        handover.hand_over(stream, ahead, peer, notice.clone());
        poll_fn(|cx| {
            if notice.poll_phase(cx) == Phase::Over {
                return Poll::Ready(());
            }
            // It has no frames, and whoever watched it has heard of its end.
            while let Some(Ok(_)) = ready!(Pin::new(&mut goes_on).poll_frame(cx)) {}
            Poll::Ready(())
        })
        .await;
    }
}

/// Makes of a 101 what the client of HTTP/1.1 may see, and notes what goes on. One that nobody asked for is no answer.
pub(super) fn settle(response: &mut Response, asked: Option<Upgrade>, running: &Running) {
    let Some((upgrade, switched)) = asked.zip(Switched::take(response)) else {
        *response = failed();
        return;
    };
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, upgrade.protocol().clone());
    running.switch(switched);
}

/// What is said for an answer that is none.
pub(super) fn failed() -> Response {
    let status = StatusCode::BAD_GATEWAY;
    reject(status, "the upstream server failed", Shape::default())
}
