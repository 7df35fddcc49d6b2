//! A WebSocket in a stream of HTTP/2 (RFC 8441): a `CONNECT` that everybody behind this file sees as the `GET` that it
//! would have been with HTTP/1.1.

use super::body::Running;
use super::upgrade::{Switched, failed};
use crate::stack::drain::Notice;
use crate::stack::upgrade::{Part, Upgrade};
use crate::stack::{Request, Response};
use a3s_layers::peer::Peer;
use a3s_layers::reject::{Shape, reject};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, Method, StatusCode};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use std::sync::Arc;

const WEBSOCKET: &str = "websocket";

/// What every key is hashed with (RFC 6455, 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A stream that is to become a WebSocket.
pub(super) struct ExtendedConnect {
    stream: OnUpgrade,
    /// What a server says that has understood the key.
    accept: HeaderValue,
    peer: Arc<Peer>,
    notice: Notice,
}

/// What is made of a `CONNECT`; none where it is for no protocol, and left alone.
type Translated = Option<Result<Box<ExtendedConnect>, Box<Response>>>;

/// Makes of an extended `CONNECT` the `GET` of an upgrade. It is refused where it is for another protocol.
pub(super) fn translate(request: &mut Request, peer: &Arc<Peer>, notice: &Notice) -> Translated {
    let protocol = request.extensions_mut().remove::<Protocol>()?;
    if !protocol.as_str().eq_ignore_ascii_case(WEBSOCKET) {
        let shape = Shape::of(request.headers());
        let message = "the only protocol of an extended CONNECT is websocket";
        return Some(Err(Box::new(reject(
            StatusCode::NOT_IMPLEMENTED,
            message,
            shape,
        ))));
    }
    let stream = hyper::upgrade::on(&mut *request);
    *request.method_mut() = Method::GET;
    let key = STANDARD.encode(std::array::from_fn::<u8, 16, _>(|_| fastrand::u8(..)));
    let accept = STANDARD.encode(Sha1::new().chain_update(&key).chain_update(GUID).finalize());
    let value = |text: String| HeaderValue::try_from(text).expect("base64 is ASCII");
    let headers = request.headers_mut();
    headers.insert(SEC_WEBSOCKET_KEY, value(key));
    headers
        .entry(SEC_WEBSOCKET_VERSION)
        .or_insert(HeaderValue::from_static("13"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
    let accept = value(accept);
    let upgrade = Upgrade::new(HeaderValue::from_static(WEBSOCKET));
    let upgrade = upgrade.accepted_with(accept.clone());
    request.extensions_mut().insert(upgrade);
    Some(Ok(Box::new(ExtendedConnect {
        stream,
        accept,
        peer: Arc::clone(peer),
        notice: notice.clone(),
    })))
}

impl ExtendedConnect {
    /// Makes of the answer to the `GET` what the client may see. Where that is yes, the stream goes on in a task of its
    /// own, and a success that is no switch is none.
    pub(super) fn settle(self, response: &mut Response, running: &Running) {
        if response.status().is_success() {
            *response = failed();
        }
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let accept = response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
        let switched = Switched::take(response).filter(|_| accept.as_ref() == Some(&self.accept));
        let Some(switched) = switched else {
            *response = failed();
            return;
        };
        *response.status_mut() = StatusCode::OK;
        let running = running.another();
        tokio::spawn(async move {
            let _running = running;
            // Its error is a stream that has ended before it began.
            if let Ok(stream) = self.stream.await {
                let stream = Part::new(TokioIo::new(stream));
                let goes_on = switched.go_on(stream, Bytes::new(), self.peer, self.notice);
                goes_on.await;
            }
        });
    }
}
