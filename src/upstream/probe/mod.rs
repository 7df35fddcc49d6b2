//! Asks a server how it is.
//!
//! A [`Prober`] asks one question after the other, so that a server that hangs costs one connection, and keeps its
//! connection from one to the next. What it reads of an answer is bounded.

mod connection;
mod fault;
mod grpc;
mod tasks;

pub use fault::Fault;

use super::connect::Origin;
use super::tls::TlsSettings;
use bytes::Bytes;
use connection::Connection;
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt, Collected, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// What is read of the body of an answer. Where there is more, the connection is closed.
const MAX_BODY: usize = 16 << 10;

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("a3s-gateway-probe/", env!("CARGO_PKG_VERSION")));

/// How, and how often, a server is asked. Two that are equal are one check.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Check {
    /// What is asked.
    pub kind: Kind,
    /// Where it is asked, if that is not the server's own port.
    pub port: Option<u16>,
    /// From one question to the next, give or take a tenth.
    pub interval: Duration,
    /// How long an answer may take, connecting included.
    pub timeout: Duration,
    /// Bad answers in a row that make a server unhealthy.
    pub unhealthy_threshold: u32,
    /// Good answers in a row that make it healthy again.
    pub healthy_threshold: u32,
    /// TLS to the server, and the name that is asked for where it is not the host: another one is another check.
    pub tls: Option<(TlsSettings, Option<String>)>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `GET`, to be answered with a status in one of the ranges.
    Http {
        /// What is asked for.
        path: PathAndQuery,
        /// The statuses of good answers.
        statuses: Vec<RangeInclusive<u16>>,
        /// Beside what is asked.
        fields: Fields,
    },
    /// The gRPC health protocol, over HTTP/2.
    Grpc {
        /// The service; empty for the whole server.
        service: String,
        /// Beside what is asked.
        fields: Fields,
    },
    /// Nothing but a connection, with TLS where the server has it.
    Tcp,
}

/// What is sent beside what is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Fields {
    /// The `Host`, if it is not the server's own.
    pub host: Option<Authority>,
    /// More of them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Asks one server, again and again.
#[derive(Debug)]
pub struct Prober {
    check: Arc<Check>,
    kept: Option<Connection>,
}

impl Prober {
    /// Asks as `check` says.
    pub fn new(check: Arc<Check>) -> Self {
        Self { check, kept: None }
    }

    /// Asks once. A connection that was kept may have ended unnoticed: then a new one is tried.
    pub async fn ask(&mut self, origin: &Origin) -> Result<(), Fault> {
        let timeout = self.check.timeout;
        // Whatever is under way when the time is over is dropped, its connection with it.
        match tokio::time::timeout(timeout, self.answer(origin)).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::Timeout(timeout)),
        }
    }

    async fn answer(&mut self, origin: &Origin) -> Result<(), Fault> {
        let elsewhere = self.check.port.map(|port| origin.at_port(port));
        let origin = elsewhere.as_ref().unwrap_or(origin);
        if self.check.kind == Kind::Tcp {
            let mut io = origin.connect(None).await?;
            // TLS says goodbye; how that goes says nothing of the server.
            let _ = io.shutdown().await;
            return Ok(());
        }
        let (connection, response) = self.exchange(origin).await?;
        let (head, body) = response.into_parts();
        let read = read(body).await;
        let is_whole = matches!(read, Ok(Some(_))) && !head.status.is_informational();
        // Servers and what stands between close what is idle for long: it is not worth its place.
        if is_whole && self.check.interval <= origin.idle_timeout() {
            self.kept = Some(connection).filter(Connection::is_open);
        }
        match &self.check.kind {
            Kind::Grpc { .. } => grpc::judge(&head, read),
            Kind::Http { statuses, .. } => {
                let status = head.status.as_u16();
                match statuses.iter().any(|range| range.contains(&status)) {
                    true => read.map(drop),
                    false => Err(Fault::Status(head.status)),
                }
            }
            Kind::Tcp => Ok(()),
        }
    }

    /// Sends the question, and waits for the head of its answer.
    async fn exchange(
        &mut self,
        origin: &Origin,
    ) -> Result<(Connection, Response<Incoming>), Fault> {
        if let Some(mut kept) = self.kept.take().filter(Connection::is_open) {
            let question = question(&self.check, origin, kept.version());
            match kept.send(question).await {
                Ok(response) => return Ok((kept, response)),
                Err(error) => {
                    tracing::debug!(%error, "a connection that was kept for probes ended")
                }
            }
        }
        let needs_h2 = matches!(self.check.kind, Kind::Grpc { .. });
        let mut fresh = Connection::open(origin, needs_h2).await?;
        let question = question(&self.check, origin, fresh.version());
        let response = fresh.send(question).await?;
        Ok((fresh, response))
    }
}

/// Reads a body to its end, unless it is longer than is read.
async fn read(body: Incoming) -> Result<Option<Collected<Bytes>>, Fault> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(whole) => Ok(Some(whole)),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(_) => Err(Fault::BrokenOff),
    }
}

fn question(check: &Check, origin: &Origin, version: Version) -> Request<Full<Bytes>> {
    let (method, path, body, fields) = match &check.kind {
        Kind::Http { path, fields, .. } => (Method::GET, path.clone(), Bytes::new(), fields),
        Kind::Grpc { service, fields } => {
            let path = PathAndQuery::from_static(grpc::PATH);
            (Method::POST, path, grpc::question(service), fields)
        }
        Kind::Tcp => return Request::default(),
    };
    let authority = fields.host.as_ref().unwrap_or_else(|| origin.authority());
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.version_mut() = version;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, AGENT);
    set(headers, &fields.headers);
    if let Kind::Grpc { .. } = check.kind {
        headers.insert(grpc::TIMEOUT, grpc::timeout(check.timeout));
        headers.insert(CONTENT_TYPE, grpc::CONTENT_TYPE);
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(path);
    if version == Version::HTTP_2 {
        parts.scheme = Some(origin.uri_scheme());
        parts.authority = Some(authority.clone());
    } else if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        headers.insert(HOST, host);
    }
    // These parts always make one.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    request
}

/// What stood there before under these names is gone; a name that is given several times has several lines.
fn set(headers: &mut HeaderMap, fields: &[(HeaderName, HeaderValue)]) {
    for (name, _) in fields {
        headers.remove(name);
    }
    for (name, value) in fields {
        headers.append(name.clone(), value.clone());
    }
}
