//! The rehearsal of a request at an entrypoint.

use super::redact::{Secrets, shown};
use super::seen::{self, Seen};
use super::story::{Answer, Asked, Explanation, Judged};
use super::{Question, Serves, Stage};
use crate::dispatch::connection::ConnectionTables;
use crate::dispatch::table::Table;
use crate::dispatch::{Refusal, RequestDispatcher};
use crate::rule::{Facts, Protocol};
use crate::stack::arrival::introduce;
use crate::stack::{Request, Response};
use a3s_layers::hop_by_hop::disarm;
use a3s_layers::journal::Journal;
use a3s_layers::peer::{Client, Peer, TlsSession};
use a3s_layers::rehearsal::MAX_CANDIDATES;
use axum::body::Body;
use http::{HeaderMap, Uri, Version};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tower::ServiceExt;

/// The most routers that are told of.
const MAX_JUDGED: usize = 500;

/// How long a rehearsal may take: passwords may have to be hashed.
const PATIENCE: Duration = Duration::from_secs(5);

impl Stage {
    pub(super) async fn explain(&self, question: &Question, secrets: &Secrets) -> Explanation {
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
        if !question.has_host() {
            let url = self.whole_url(table, question);
            let note = format!(
                "it names no host: ask for a whole URL, such as {url}, or give it a header `Host`"
            );
            told.notes.push(note);
        }
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
        self.layers = seen::of_connections(facets);
        if let Some(servers) = &facets.servers {
            let servers = servers().into_iter().take(MAX_CANDIDATES);
            self.servers = servers.map(|each| seen::server(&each, None)).collect();
        }
    }
}
