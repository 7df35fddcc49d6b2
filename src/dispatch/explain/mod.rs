//! What would become of a request: the live code, asked by a request that nobody sends.
//!
//! It goes through the dispatcher and the stack of its route as every request does, in a
//! [rehearsal](a3s_layers::rehearsal): nothing of it is sent, counted, logged or remembered.

mod question;
mod redact;
mod rehearse;
mod seen;
mod story;
mod text;

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
use crate::rule::Protocol;
use a3s_layers::connection::AllowLayer;
use a3s_layers::peer::TrustedProxies;
use a3s_layers::rehearsal::Candidate;
use redact::shown;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

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
}
