//! What would become of a request: the live code, asked by a request that nobody sends.
//!
//! It goes through the dispatcher and the stack of its route as every request does, in a
//! [rehearsal](a3s_layers::rehearsal): nothing of it is sent, counted, logged or remembered.

mod head;
mod question;
mod redact;
mod story;
mod text;

pub use head::HeadJudge;
pub use question::{MAX_FIELD_BYTES, MAX_FIELDS, MAX_URL, Question, Unaskable};
pub use redact::Secrets;
pub use story::{
    Answer, Asked, Change, Effect, Explanation, Failed, Field, Judged, Layer, LayerAnswer, Server,
    Upstream,
};

use super::connection::ConnectionTables;
use super::session::SessionDispatcher;
use super::table::Table;
use super::{Refusal, RequestDispatcher};
use crate::rule::{Facts, Protocol};
use crate::stack::arrival::introduce;
use crate::stack::{Request, Response};
use a3s_layers::connection::AllowLayer;
use a3s_layers::hop_by_hop::disarm;
use a3s_layers::journal::Journal;
use a3s_layers::peer::{Client, Peer, TlsSession, TrustedProxies};
use a3s_layers::rehearsal::{Candidate, MAX_CANDIDATES};
use axum::body::Body;
use http::{HeaderMap, Uri, Version};
use redact::shown;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use story::Seen;
use tower::ServiceExt;

/// The most routers that are told of.
const MAX_JUDGED: usize = 500;

/// How long a rehearsal may take: passwords may have to be hashed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Knows what becomes of requests, at each entrypoint of a configuration.
#[derive(Debug, Default)]
pub struct Explainer {
    /// The entrypoints, in the order of their declaration.
    pub stages: Vec<Stage>,
    /// What is not shown.
    pub secrets: Secrets,
}

/// An entrypoint.
#[derive(Debug)]
pub struct Stage {
    /// Its name.
    pub name: Arc<str>,
    /// Its port; 0 where it has none, or it is not known yet.
    pub port: AtomicU16,
    /// Whether it ends TLS.
    pub is_tls: bool,
    /// Whose forwarded headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// Who is let in, if not everybody is.
    pub allow: Option<AllowLayer>,
    /// What it refuses of requests by their heads.
    pub head: Option<HeadJudge>,
    /// What it leads to.
    pub serves: Serves,
    /// What is known of its routers, by name.
    pub routers: HashMap<Arc<str>, Facets>,
}

/// What an entrypoint leads to.
#[derive(Debug)]
pub enum Serves {
    /// Requests, after connections that are for servers.
    Http(RequestDispatcher, Arc<Table>, Option<ConnectionTables>),
    /// Connections.
    Tcp(ConnectionTables),
    /// Sessions of datagrams.
    Udp(SessionDispatcher),
}

/// What is known of a router.
#[derive(Clone)]
pub struct Facets {
    /// Its service.
    pub service: Arc<str>,
    /// What stands before that, the outermost first.
    pub chain: Arc<[LayerName]>,
    /// The servers, where they are not those of requests.
    pub servers: Option<Arc<dyn Fn() -> Vec<Candidate> + Send + Sync>>,
}

/// What a layer is called.
#[derive(Debug, Clone)]
pub struct LayerName {
    /// The middleware's name.
    pub name: Arc<str>,
    /// Its type.
    pub kind: Arc<str>,
}

impl fmt::Debug for Facets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facets")
            .field("service", &self.service)
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

impl Explainer {
    /// Tells what would become of a request.
    ///
    /// # Errors
    /// No entrypoint is for it.
    pub async fn explain(&self, question: &Question) -> Result<Explanation, Unaskable> {
        let (stage, note) = self.stage(question)?;
        let mut told = stage.explain(question, &self.secrets).await;
        told.notes.splice(0..0, note);
        Ok(told)
    }

    /// The entrypoint that a client of this URL comes to.
    fn stage(&self, question: &Question) -> Result<(&Stage, Option<String>), Unaskable> {
        let known = || {
            let names = self.stages.iter().map(|stage| &*stage.name);
            names.collect::<Vec<_>>().join(", ")
        };
        if let Some(name) = &question.entrypoint {
            let named = self.stages.iter().find(|stage| *stage.name == **name);
            return match named {
                Some(stage) => Ok((stage, None)),
                None => Err(Unaskable::UnknownEntrypoint {
                    name: shown(name),
                    known: known(),
                }),
            };
        }
        let scheme = question.scheme.as_deref().unwrap_or("http");
        let port = question.port().unwrap_or(0);
        let fitting: Vec<_> = self.stages.iter().filter(|it| it.is_for(scheme)).collect();
        let listens = |stage: &&Stage| port != 0 && stage.port.load(Ordering::Relaxed) == port;
        if let Some(stage) = fitting.iter().copied().find(listens) {
            return Ok((stage, None));
        }
        match &*fitting {
            [only] if port == 0 || only.port.load(Ordering::Relaxed) == 0 => Ok((only, None)),
            [only] => {
                let name = &only.name;
                let note = format!(
                    "no entrypoint listens on port {port}: it is taken to come to `{name}`, the only one for {scheme}"
                );
                Ok((only, Some(note)))
            }
            _ => Err(Unaskable::NoEntrypoint {
                scheme: scheme.to_owned(),
                port,
                known: known(),
            }),
        }
    }
}

impl Stage {
    fn is_for(&self, scheme: &str) -> bool {
        match (&self.serves, scheme) {
            (Serves::Http(..), "http" | "ws") => !self.is_tls,
            (Serves::Http(..), "https" | "wss") => self.is_tls,
            (Serves::Http(_, _, first), "tcp" | "tls") => first.is_some(),
            (Serves::Tcp(_), "tcp" | "tls") | (Serves::Udp(_), "udp") => true,
            _ => false,
        }
    }

    fn protocol(&self) -> Protocol {
        match self.serves {
            Serves::Http(..) => Protocol::Http,
            Serves::Tcp(_) => Protocol::Tcp,
            Serves::Udp(_) => Protocol::Udp,
        }
    }

    async fn explain(&self, question: &Question, secrets: &Secrets) -> Explanation {
        let mut told = self.beginning(question, secrets);
        if let Some(allow) = &self.allow
            && !allow.allows(question.client_ip)
        {
            told.answer = Some(Answer {
                by: "gateway",
                status: None,
                reason: Some("the connection is refused: `tcp_allowed_ips`".to_owned()),
                headers: Vec::new(),
            });
            return told;
        }
        match &self.serves {
            Serves::Udp(sessions) => {
                let facts = Facts::of_connection(question.client_ip, None, &[]);
                told.judge(&sessions.table, &facts, secrets);
                told.connection(self);
            }
            Serves::Tcp(tables) => {
                self.connection(tables, question, secrets, &mut told);
                told.connection(self);
            }
            Serves::Http(dispatcher, table, first) => {
                if let Some(tables) = first {
                    self.connection(tables, question, secrets, &mut told);
                }
                let is_stream = matches!(question.scheme.as_deref(), Some("tcp" | "tls"));
                if told.router.is_some() || is_stream {
                    told.protocol = "tcp";
                    told.connection(self);
                } else {
                    self.request(dispatcher, table, question, secrets, &mut told)
                        .await;
                }
            }
        }
        told
    }

    fn beginning(&self, question: &Question, secrets: &Secrets) -> Explanation {
        let uri = Uri::from(question.target.clone());
        let target = secrets.target(&uri);
        let url = match (&question.scheme, &question.authority) {
            (Some(scheme), Some(authority)) => {
                let host = authority.as_str();
                // A user and a password are for nobody's eyes.
                let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
                format!("{scheme}://{}{target}", shown(host))
            }
            _ => target,
        };
        let url = match self.protocol() {
            Protocol::Http => url,
            // A connection has no path.
            Protocol::Tcp | Protocol::Udp => url.trim_end_matches('/').to_owned(),
        };
        Explanation {
            request: Asked {
                method: shown(question.method.as_str()),
                url,
                client_ip: question.client_ip.to_string(),
                sni: self.server_name(question).map(|name| shown(&name)),
            },
            entrypoint: self.name.to_string(),
            protocol: match self.protocol() {
                Protocol::Http => "http",
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            },
            candidates: Vec::new(),
            candidates_left_out: 0,
            router: None,
            service: None,
            layers: Vec::new(),
            notes: Vec::new(),
            upstream: None,
            servers: Vec::new(),
            answer: None,
            answer_headers: HeaderMap::new(),
        }
    }

    /// The name that the client asks for in the handshake, if there is one.
    fn server_name(&self, question: &Question) -> Option<String> {
        let is_tls = match question.scheme.as_deref() {
            Some("https" | "wss" | "tls") => true,
            None => self.is_tls,
            Some(_) => false,
        };
        let of_url = question.host().filter(|host| {
            // An address is no name (RFC 6066, 3).
            is_tls && !host.starts_with('[') && host.parse::<std::net::IpAddr>().is_err()
        });
        let name = question.server_name.as_deref().or(of_url);
        name.map(str::to_ascii_lowercase)
    }

    fn connection(
        &self,
        tables: &ConnectionTables,
        question: &Question,
        secrets: &Secrets,
        told: &mut Explanation,
    ) {
        let name = self.server_name(question);
        let alpn: Vec<&[u8]> = question.alpn.iter().map(|each| each.as_bytes()).collect();
        let is_tls = name.is_some()
            || !alpn.is_empty()
            || matches!(question.scheme.as_deref(), Some("https" | "wss" | "tls"));
        let sni = is_tls.then_some(name.as_deref());
        for (table, facts) in tables.asked(question.client_ip, sni, &alpn) {
            told.judge(table, &facts, secrets);
        }
    }

    fn peer(&self, table: &Table, question: &Question) -> Arc<Peer> {
        let port = match self.port.load(Ordering::Relaxed) {
            0 => question
                .port()
                .unwrap_or(if self.is_tls { 443 } else { 80 }),
            port => port,
        };
        let address = SocketAddr::new(question.client_ip, 0);
        let peer = Peer::new(address, port, self.is_tls, &self.trusted_proxies);
        if !self.is_tls {
            return Arc::new(peer);
        }
        let name = self.server_name(question);
        Arc::new(peer.encrypted(TlsSession {
            asked: table.asked().map_or(0, |asked| asked.of(name.as_deref())),
            server_name: name.map(String::into_boxed_str),
            alpn: None,
            version: "TLSv1.3",
            client: None,
        }))
    }

    async fn request(
        &self,
        dispatcher: &RequestDispatcher,
        table: &Table,
        question: &Question,
        secrets: &Secrets,
        told: &mut Explanation,
    ) {
        let target = Uri::from(question.target.clone());
        let fields = question.fields();
        let refused =
            (self.head.as_ref()).and_then(|head| head.refuses(&question.method, &target, &fields));
        if let Some((status, reason)) = refused {
            told.answer = Some(Answer {
                by: "gateway",
                status: Some(status.as_u16()),
                reason: Some(reason.to_owned()),
                headers: Vec::new(),
            });
            return;
        }
        let peer = self.peer(table, question);
        let journal = Journal::rehearsal();
        let arrived = || {
            let mut request = Request::new(Body::empty());
            *request.method_mut() = question.method.clone();
            *request.uri_mut() = target.clone();
            *request.version_mut() = Version::HTTP_11;
            *request.headers_mut() = fields.clone();
            disarm(request.headers_mut());
            introduce(&mut request, &peer);
            request.extensions_mut().insert(journal.clone());
            request
        };
        let mut seen = arrived();
        if let Some(client) = seen.extensions().get::<Client>() {
            told.request.client_ip = client.ip().to_string();
        }
        let looked = dispatcher.look(&mut seen, |table, facts| told.judge(table, facts, secrets));
        if let Err(Refusal::Misdirected) = looked {
            told.notes
                .push("its connection asks for a certificate on other terms".to_owned());
        }
        let answer = tokio::time::timeout(PATIENCE, dispatcher.clone().oneshot(arrived())).await;
        let Ok(Ok(response)) = answer else {
            told.notes
                .push("the layers took longer than 5 seconds: the rest is not known".to_owned());
            return;
        };
        self.tell(&journal, secrets, &response, told);
    }

    /// What was noted on the way.
    fn tell(
        &self,
        journal: &Journal,
        secrets: &Secrets,
        response: &Response,
        told: &mut Explanation,
    ) {
        let notes = journal.notes();
        let seen = Seen {
            notes: &notes,
            secrets,
        };
        let facets = told
            .router
            .as_deref()
            .and_then(|name| self.routers.get(name));
        if let Some(facets) = facets {
            told.service = Some(facets.service.to_string());
            told.layers = seen.layers(&facets.chain, response);
            told.notes.extend(seen.of_service(&facets.chain));
        }
        told.upstream = seen.upstream();
        told.servers = seen.servers();
        told.answer = Some(seen.answer(response));
        told.answer_headers = response.headers().clone();
    }
}

impl Explanation {
    /// Whether a router was found.
    pub fn is_routed(&self) -> bool {
        self.router.is_some()
    }

    /// Adds the routers of a table. One that was found in an earlier one stays.
    fn judge<S>(&mut self, table: &Table<S>, facts: &Facts<'_>, secrets: &Secrets) {
        let found = table.find(facts).filter(|_| self.router.is_none());
        let is_found = |route| found.is_some_and(|found| std::ptr::eq(found, route));
        let room = MAX_JUDGED.saturating_sub(self.candidates.len());
        for (index, (route, verdict)) in table.judge(facts).enumerate() {
            if index >= room && !is_found(route) {
                self.candidates_left_out += 1;
                continue;
            }
            let of = (&*route.name, route.priority);
            let mut judged = Judged::new(of, &verdict, route.rule.as_str(), facts, secrets);
            judged.chosen = is_found(route);
            self.candidates.push(judged);
        }
        if let Some(found) = found {
            self.router = Some(found.name.to_string());
        }
    }

    /// What is known of the route of a connection.
    fn connection(&mut self, stage: &Stage) {
        let facets = self
            .router
            .as_deref()
            .and_then(|name| stage.routers.get(name));
        let Some(facets) = facets else {
            self.answer = Some(Answer {
                by: "gateway",
                status: None,
                reason: Some("no router takes it: it is refused".to_owned()),
                headers: Vec::new(),
            });
            return;
        };
        self.service = Some(facets.service.to_string());
        self.layers = story::of_connections(facets);
        if let Some(servers) = &facets.servers {
            let servers = servers().into_iter().take(MAX_CANDIDATES);
            self.servers = servers.map(|each| story::server(&each, None)).collect();
        }
    }
}
