//! The opening of a WebSocket (RFC 6455, 4.2).

use super::{Hub, session};
use crate::stack::upgrade::{self, Upgrade, Upgraded};
use crate::stack::{Request, Response};
use a3s_layers::error::{Failure, UpstreamError};
use a3s_layers::reject::{Shape, reject};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use sha1::{Digest, Sha1};
use std::sync::Arc;

/// The version of the protocol, the only one there is.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// What the key is hashed with.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a request opens no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It asks for none.
    NoUpgrade,
    Method,
    Version,
    Key,
    /// The hub has as many connections as it may.
    Full,
}

impl Hub {
    /// Answers a request that opens a WebSocket, and serves that from then on; refuses any other.
    pub fn answer(self: &Arc<Self>, request: &Request) -> Response {
        self.open(request)
            .unwrap_or_else(|fault| fault.answer(request))
    }

    fn open(self: &Arc<Self>, request: &Request) -> Result<Response, Fault> {
        let upgrade = request.extensions().get::<Upgrade>();
        if !upgrade.is_some_and(|upgrade| upgrade.is("websocket")) {
            return Err(Fault::NoUpgrade);
        }
        let accept = accept(request.method(), request.headers())?;
        let member = self.enter().ok_or(Fault::Full)?;
        let mut response = upgrade::switch(move |client: Upgraded| async move {
            let Upgraded { io, mut notice, .. } = client;
            match session::serve(member, io, move |cx| notice.poll_phase(cx)).await {
                true => Ok(()),
                false => {
                    let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                    Err(UpstreamError::new(Failure::RequestBody, error).into())
                }
            }
        });
        response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
        Ok(response)
    }
}

impl Fault {
    fn answer(self, request: &Request) -> Response {
        let (status, message) = match self {
            Self::NoUpgrade => (StatusCode::UPGRADE_REQUIRED, "a WebSocket is spoken here"),
            Self::Version => (
                StatusCode::UPGRADE_REQUIRED,
                "the version of a WebSocket is 13",
            ),
            Self::Method => (StatusCode::BAD_REQUEST, "a WebSocket is opened with a GET"),
            Self::Key => {
                let message = "the key of the WebSocket is missing or malformed";
                (StatusCode::BAD_REQUEST, message)
            }
            Self::Full => (StatusCode::SERVICE_UNAVAILABLE, "too many connections"),
        };
        let mut response = reject(status, message, Shape::of(request.headers()));
        let headers = response.headers_mut();
        match self {
            Self::NoUpgrade | Self::Version => {
                headers.insert(SEC_WEBSOCKET_VERSION, VERSION);
                // RFC 9110, 15.5.22. HTTP/2 has no such headers.
                if request.version() < Version::HTTP_2 {
                    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                }
            }
            Self::Full => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Method | Self::Key => {}
        }
        response
    }
}

/// The value of `Sec-WebSocket-Accept` that answers a request for a WebSocket.
fn accept(method: &Method, headers: &HeaderMap) -> Result<HeaderValue, Fault> {
    if method != Method::GET {
        return Err(Fault::Method);
    }
    if only(headers, &SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return Err(Fault::Version);
    }
    let key = only(headers, &SEC_WEBSOCKET_KEY).ok_or(Fault::Key)?;
    let nonce = STANDARD.decode(key).map_err(|_| Fault::Key)?;
    if nonce.len() != 16 {
        return Err(Fault::Key);
    }
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    STANDARD.encode(digest).try_into().map_err(|_| Fault::Key)
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_answered_or_refused() {
        // The key, and the answer to it, of RFC 6455, 1.3.
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let answer = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let (get, post) = (Method::GET, Method::POST);
        for (method, versions, keys, outcome) in [
            (&get, &["13"][..], &[key][..], Ok(answer)),
            (&post, &["13"], &[key], Err(Fault::Method)),
            (&get, &[], &[key], Err(Fault::Version)),
            (&get, &["8"], &[key], Err(Fault::Version)),
            (&get, &["13, 8"], &[key], Err(Fault::Version)),
            (&get, &["13", "13"], &[key], Err(Fault::Version)),
            (&get, &["13"], &[], Err(Fault::Key)),
            (&get, &["13"], &[""], Err(Fault::Key)),
            (&get, &["13"], &["dGhlIHNhbXBsZQ=="], Err(Fault::Key)),
            (
                &get,
                &["13"],
                &["not base 64 at all, no!!"],
                Err(Fault::Key),
            ),
            (&get, &["13"], &[key, key], Err(Fault::Key)),
        ] {
            let mut headers = HeaderMap::new();
            for version in versions {
                headers.append(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(version));
            }
            for key in keys {
                headers.append(SEC_WEBSOCKET_KEY, HeaderValue::from_static(key));
            }
            assert_eq!(accept(method, &headers), outcome, "{headers:?}");
        }
    }
}
