//! Who a request is of: what is said of its client, and by nobody else.

use super::Request;
use a3s_layers::peer::{
    Client, Peer, TlsSession, X_FORWARDED_CLIENT_CERT, remove_forwarded, remove_misspelt_forwarded,
};
use http::HeaderMap;
use std::sync::Arc;

/// Puts the [`Client`] on a request that has come from `peer`, and takes off what only a proxy that is trusted may say.
pub fn introduce(request: &mut Request, peer: &Arc<Peer>) {
    match peer.is_trusted() {
        true => remove_misspelt_forwarded(request.headers_mut()),
        false => remove_forwarded(request.headers_mut()),
    }
    if let Some(tls) = peer.tls().filter(|tls| tls.asked != 0) {
        set_client_cert(request.headers_mut(), tls);
    }
    let client = Client::of(Arc::clone(peer), request.headers());
    request.extensions_mut().insert(client);
}

/// Says who the client is where it was asked, and nothing else: whatever stands there is not its word.
fn set_client_cert(headers: &mut HeaderMap, tls: &TlsSession) {
    match &tls.client {
        Some(client) => headers.insert(X_FORWARDED_CLIENT_CERT, client.clone()),
        None => headers.remove(X_FORWARDED_CLIENT_CERT),
    };
}
