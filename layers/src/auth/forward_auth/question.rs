//! What the service is asked.

use crate::hop_by_hop::strip_request;
use crate::peer::{
    Client, X_FORWARDED_FOR, X_FORWARDED_PROTO, is_https, remove_forwarded,
    remove_misspelt_forwarded,
};
use axum::body::Body;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, EXPECT, FORWARDED, HOST, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use std::net::IpAddr;

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Of the body, which is not sent, and conditions, which would be taken for conditions on the decision.
const NOT_SENT: [HeaderName; 13] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    EXPECT,
    HOST,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
    TE,
    TRAILER,
];

/// Whether a header belongs to a message or its connection, and is no one's to copy.
pub(super) fn is_of_message(name: &HeaderName) -> bool {
    [
        CONNECTION,
        CONTENT_LENGTH,
        HOST,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ]
    .contains(name)
}

/// How the service is asked.
#[derive(Clone)]
pub(super) struct Question {
    uri: Uri,
    name: Option<Box<str>>,
    host: Option<HeaderValue>,
    only: Option<Vec<HeaderName>>,
    trusts: bool,
}

/// What the service is told of a request.
pub(super) struct Facts {
    pub(super) client: Option<IpAddr>,
    pub(super) method: Option<HeaderValue>,
    pub(super) proto: HeaderValue,
    pub(super) host: Option<HeaderValue>,
    pub(super) uri: Option<HeaderValue>,
    /// Whether what came with the request is handed on.
    hands_on: bool,
}

impl Question {
    pub(super) fn new(uri: Uri) -> Self {
        let host = uri.authority().map(|authority| {
            // A user and a password are for nobody's eyes.
            let host = authority.as_str();
            host.rsplit_once('@').map_or(host, |(_, host)| host)
        });
        Self {
            host: host.and_then(|host| HeaderValue::from_str(host).ok()),
            uri,
            name: None,
            only: None,
            trusts: false,
        }
    }

    pub(super) fn call(&mut self, name: &str) {
        self.name = Some(name.into());
    }

    /// Where it is asked, without a user, a password, or a query.
    pub(super) fn shown(&self) -> String {
        if let Some(name) = &self.name {
            return name.to_string();
        }
        let uri = &self.uri;
        let host = self.host.as_ref().and_then(|host| host.to_str().ok());
        match (uri.scheme_str(), host) {
            (Some(scheme), Some(host)) => format!("{scheme}://{host}{}", uri.path()),
            _ => uri.path().to_owned(),
        }
    }

    pub(super) fn only(&mut self, names: Vec<HeaderName>) {
        self.only = Some(names);
    }

    pub(super) fn trust(&mut self, trusts: bool) {
        self.trusts = trusts;
    }

    pub(super) fn facts<B>(&self, request: &Request<B>) -> Facts {
        let headers = request.headers();
        let client = request.extensions().get::<Client>();
        let hands_on = self.trusts && client.is_some_and(|client| client.peer().is_trusted());
        let told = |name| headers.get(name).filter(|_| hands_on).cloned();
        let value = |text: &str| {
            HeaderValue::from_maybe_shared(Bytes::copy_from_slice(text.as_bytes())).ok()
        };
        let uri = request.uri();
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Facts {
            client: client.map(Client::ip),
            method: told(X_FORWARDED_METHOD).or_else(|| value(request.method().as_str())),
            proto: HeaderValue::from_static(if is_https(request) { "https" } else { "http" }),
            host: told(X_FORWARDED_HOST)
                .or_else(|| headers.get(HOST).cloned())
                .or_else(|| uri.authority().and_then(|host| value(host.as_str()))),
            uri: told(X_FORWARDED_URI).or_else(|| value(target)),
            hands_on,
        }
    }

    /// The question about a request.
    pub(super) fn ask<B>(&self, request: &Request<B>, facts: &Facts) -> Request<Body> {
        let mut question = Request::new(Body::empty());
        question.uri_mut().clone_from(&self.uri);
        let headers = question.headers_mut();
        *headers = match &self.only {
            None => request.headers().clone(),
            Some(names) => only(request.headers(), names),
        };
        strip_request(headers);
        for name in NOT_SENT {
            headers.remove(name);
        }
        match facts.client {
            None => remove_forwarded(headers),
            Some(_) => remove_misspelt_forwarded(headers),
        }
        if !facts.hands_on {
            headers.remove(FORWARDED);
        }
        if let Some(host) = &self.host {
            headers.insert(HOST, host.clone());
        }
        facts.tell(headers, request);
        question
    }
}

fn only(all: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in names {
        for value in all.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}

impl Facts {
    fn tell<B>(&self, headers: &mut HeaderMap, request: &Request<B>) {
        let ip = |ip: IpAddr| HeaderValue::from_str(&ip.to_string()).ok();
        let client = self.client.and_then(ip);
        let peer = request.extensions().get::<Client>().map(Client::peer);
        let chain = match peer.filter(|_| self.hands_on) {
            Some(peer) => chain(request.headers(), peer.ip_text()),
            None => client.clone(),
        };
        for (name, value) in [
            (X_FORWARDED_FOR, chain.as_ref()),
            (X_REAL_IP, client.as_ref()),
            (X_FORWARDED_METHOD, self.method.as_ref()),
            (X_FORWARDED_PROTO, Some(&self.proto)),
            (X_FORWARDED_HOST, self.host.as_ref()),
            (X_FORWARDED_URI, self.uri.as_ref()),
        ] {
            match value {
                Some(value) => headers.insert(name, value.clone()),
                None => headers.remove(name),
            };
        }
    }
}

/// `X-Forwarded-For` with the peer at its end, on one line.
fn chain(headers: &HeaderMap, peer: &HeaderValue) -> Option<HeaderValue> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().chain([peer]);
    let lines: Vec<_> = lines.map(HeaderValue::as_bytes).collect();
    HeaderValue::from_maybe_shared(Bytes::from(lines.join(&b", "[..]))).ok()
}
