//! What would become of a request: the live code, asked by a request that nobody sends.
//!
//! It goes through the dispatcher and the stack of its route as every request does, in a
//! [rehearsal](a3s_layers::rehearsal): nothing of it is sent, counted, logged or remembered.

mod head;
mod question;
mod redact;
mod rehearse;
mod seen;
mod story;
mod text;

pub use head::HeadJudge;
pub use question::{MAX_FIELD_BYTES, MAX_FIELDS, MAX_URL, Question, Unaskable};
pub use redact::Secrets;
pub use story::{
    Answer, Asked, Change, Effect, Explanation, Failed, Field, Judged, Layer, LayerAnswer, Server,
    Upstream,
};

use super::RequestDispatcher;
use super::connection::ConnectionTables;
use super::session::SessionDispatcher;
use super::table::Table;
use crate::rule::{HostPattern, HostSet, Protocol};
use a3s_layers::connection::AllowLayer;
use a3s_layers::peer::TrustedProxies;
use a3s_layers::rehearsal::Candidate;
use redact::shown;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// As many routers are asked for a host that could be meant.
const MAX_LOOKED_AT: usize = 100;

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
        let mut question = Cow::Borrowed(question);
        if question.scheme.is_none() && question.authority.is_some() {
            question.to_mut().scheme = Some(stage.scheme().to_owned());
        }
        let mut told = stage.explain(&question, &self.secrets).await;
        told.notes.splice(0..0, note);
        Ok(told)
    }

    /// The entrypoint that a client of this URL comes to.
    fn stage(&self, question: &Question) -> Result<(&Stage, Option<String>), Unaskable> {
        if let Some(name) = &question.entrypoint {
            let named = self.stages.iter().find(|stage| *stage.name == **name);
            let names = self.stages.iter().map(|stage| &*stage.name);
            return named.map(|stage| (stage, None)).ok_or_else(|| {
                let known = names.collect::<Vec<_>>().join(", ");
                let name = shown(name);
                Unaskable::UnknownEntrypoint { name, known }
            });
        }
        let schemes = match (&question.scheme, &question.authority) {
            (Some(scheme), _) => vec![&**scheme],
            // As clients do that are given no scheme.
            (None, Some(_)) => vec!["http", "https"],
            (None, None) => return self.only(question),
        };
        let fitting = |scheme: &str| -> Vec<&Stage> {
            let stages = self.stages.iter();
            stages.filter(|stage| stage.is_for(scheme)).collect()
        };
        for scheme in &schemes {
            let port = question.port_for(scheme).unwrap_or(0);
            let listens = |stage: &&Stage| port != 0 && stage.port() == port;
            if let Some(stage) = fitting(scheme).into_iter().find(listens) {
                return Ok((stage, None));
            }
        }
        let scheme = schemes.iter().find(|scheme| !fitting(scheme).is_empty());
        let scheme = *scheme.unwrap_or(&schemes[0]);
        let port = question.port_for(scheme).unwrap_or(0);
        match *fitting(scheme) {
            [only] if port == 0 || only.port() == 0 => Ok((only, None)),
            [only] => {
                let name = &only.name;
                let note = format!(
                    "no entrypoint listens on port {port}: it is taken to come to `{name}`, the only one for {scheme}"
                );
                Ok((only, Some(note)))
            }
            _ => Err(Unaskable::NoEntrypoint {
                asked: match port {
                    0 => shown(scheme),
                    port => format!("{} on port {port}", shown(scheme)),
                },
                known: self.known(|stage| match stage.port() {
                    0 => stage.scheme().to_owned(),
                    port => format!("{} on port {port}", stage.scheme()),
                }),
            }),
        }
    }

    /// The only entrypoint that a path can come to.
    fn only(&self, question: &Question) -> Result<(&Stage, Option<String>), Unaskable> {
        let is_http = |stage: &&Stage| matches!(stage.serves, Serves::Http(..));
        let mut stages = self.stages.iter().filter(is_http);
        match (stages.next(), stages.next()) {
            (Some(only), None) => Ok((only, None)),
            _ => Err(Unaskable::WhichEntrypoint {
                known: self.known(|stage| match &stage.serves {
                    Serves::Http(_, table, _) => stage.whole_url(table, question),
                    _ => stage.scheme().to_owned(),
                }),
            }),
        }
    }

    /// The entrypoints, each with something about it.
    fn known(&self, about: impl Fn(&Stage) -> String) -> String {
        let each = |stage: &Stage| format!("`{}` ({})", stage.name, about(stage));
        let all: Vec<_> = self.stages.iter().map(each).collect();
        all.join(", ")
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

    /// What a URL that leads here begins with.
    fn scheme(&self) -> &'static str {
        match (&self.serves, self.is_tls) {
            (Serves::Http(..), false) => "http",
            (Serves::Http(..), true) => "https",
            (Serves::Tcp(_), false) => "tcp",
            (Serves::Tcp(_), true) => "tls",
            (Serves::Udp(_), _) => "udp",
        }
    }

    fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    /// A URL that leads here, for a path: its host is one that a rule asks for.
    fn whole_url(&self, table: &Table, question: &Question) -> String {
        let exact = |set| match set {
            HostSet::OneOf(hosts) => hosts.into_iter().find_map(|host| match host {
                HostPattern::Exact(name) => Some(name),
                _ => None,
            }),
            HostSet::Any => None,
        };
        let hosts = table.routes().iter().map(|route| route.rule.hosts());
        let host = hosts.take(MAX_LOOKED_AT).find_map(exact);
        let host = host.as_deref().unwrap_or("example.com");
        let path = shown(question.target.path());
        match (self.scheme(), self.port()) {
            ("http", 80) | ("https", 443) | (_, 0) => format!("{}://{host}{path}", self.scheme()),
            (scheme, port) => format!("{scheme}://{host}:{port}{path}"),
        }
    }

    fn protocol(&self) -> Protocol {
        match self.serves {
            Serves::Http(..) => Protocol::Http,
            Serves::Tcp(_) => Protocol::Tcp,
            Serves::Udp(_) => Protocol::Udp,
        }
    }
}
