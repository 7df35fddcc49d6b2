//! What of a request its line tells: kept from its beginning, for what lies below changes it, and takes it away.

use super::{AccessLog, Format};
use crate::stack::Request;
use crate::stack::redaction::without_user;
use crate::telemetry::exchange::method_of;
use a3s_layers::journal::Journal;
use a3s_layers::peer::{Client, Peer};
use a3s_layers::trace_context::{Incoming, TraceId};
use http::header::{HOST, REFERER, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Uri, Version};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What is kept of a request, by reference counts: nothing is copied.
#[derive(Debug)]
pub struct Captured {
    pub(super) client_ip: IpAddr,
    pub(super) peer: Option<Arc<Peer>>,
    pub(super) head: Option<Head>,
    /// Where the journal has none.
    pub(super) trace_id: Option<TraceId>,
}

/// What is kept of a head that could be read.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) host: Option<HeaderValue>,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) referer: Option<HeaderValue>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Captured {
    /// Of a request for the lines of `log`. The trace that `journal` knows of is not read again.
    pub fn of(request: &Request, journal: &Journal, log: &AccessLog) -> Self {
        let client = request.extensions().get::<Client>();
        Self {
            client_ip: client.map_or(Ipv4Addr::UNSPECIFIED.into(), Client::ip),
            peer: client.map(|client| Arc::clone(client.peer())),
            head: Some(Head::of(
                request,
                journal.method().unwrap_or(request.method()),
                log,
            )),
            trace_id: match journal.trace_id() {
                Some(_) => None,
                None => Incoming::read(request.headers()).trace_id(),
            },
        }
    }

    /// Of a request that was refused before it had a client, if it was any.
    pub fn turned_away(peer: &Arc<Peer>, request: Option<&Request>, log: &AccessLog) -> Self {
        Self {
            client_ip: peer.address().ip(),
            peer: Some(Arc::clone(peer)),
            head: request.map(|request| Head::of(request, method_of(request), log)),
            trace_id: None,
        }
    }
}

impl Head {
    fn of(request: &Request, method: &Method, log: &AccessLog) -> Self {
        let (headers, settings) = (request.headers(), &log.settings);
        let asked = settings.headers.iter().flat_map(|name| {
            let values = headers.get_all(name).iter();
            values.map(|value| (name.clone(), value.clone()))
        });
        Self {
            method: method.clone(),
            uri: request.uri().clone(),
            version: request.version(),
            host: headers.get(HOST).cloned(),
            user_agent: headers.get(USER_AGENT).cloned(),
            referer: match settings.format {
                Format::Clf => headers.get(REFERER).cloned(),
                Format::Json => None,
            },
            headers: asked.collect(),
        }
    }

    /// The host as it was asked for: that of the target, if it has one.
    pub(super) fn host(&self) -> Option<&[u8]> {
        let host = match self.uri.authority() {
            Some(authority) => Some(authority.as_str().as_bytes()),
            None => self.host.as_ref().map(HeaderValue::as_bytes),
        };
        host.map(without_user)
    }

    /// The target: a path with its query, or the authority of a `CONNECT`.
    pub(super) fn target(&self) -> &[u8] {
        let path = self.uri.path_and_query().map(|target| target.as_str());
        let authority = || self.uri.authority().map(|authority| authority.as_str());
        let authority = || authority().map(|authority| without_user(authority.as_bytes()));
        path.map(str::as_bytes)
            .or_else(authority)
            .unwrap_or_default()
    }

    pub(super) fn version(&self) -> &'static str {
        match self.version {
            Version::HTTP_09 => "HTTP/0.9",
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_11 => "HTTP/1.1",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/3.0",
        }
    }
}
