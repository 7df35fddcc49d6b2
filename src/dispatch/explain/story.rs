//! What became of a request that nobody sent, as it is shown.

use super::redact::{Secrets, shown};
use crate::rule::{Asks, Decider, Facts, Verdict};
use http::HeaderMap;
use serde::Serialize;

/// The whole of it.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// What was asked.
    pub request: Asked,
    /// The entrypoint that it came to.
    pub entrypoint: String,
    /// What is spoken there: `http`, `tcp` or `udp`.
    pub protocol: &'static str,
    /// Each router in its order, the first that matches is the one.
    pub candidates: Vec<Judged>,
    /// How many more there are.
    pub candidates_left_out: usize,
    /// The router that was found.
    pub router: Option<String>,
    /// The service that it leads to.
    pub service: Option<String>,
    /// What stands before the service, in order.
    pub layers: Vec<Layer>,
    /// What the service would do beside asking a server.
    pub notes: Vec<String>,
    /// The request as a server would see it.
    pub upstream: Option<Upstream>,
    /// The servers, and whether they could be picked.
    pub servers: Vec<Server>,
    /// The answer, as far as it is known.
    pub answer: Option<Answer>,
    /// Its headers as they are, for those who compare them.
    #[serde(skip)]
    pub(crate) answer_headers: HeaderMap,
}

/// What was asked.
#[derive(Debug, Clone, Serialize)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The client's address, as rules see it.
    pub client_ip: String,
    /// The server name of TLS.
    pub sni: Option<String>,
}

/// A router, and whether it takes the request.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// Its name.
    pub router: String,
    /// Its priority; of two with the same, the first that was declared goes first.
    pub priority: i64,
    /// Its rule.
    pub rule: String,
    /// Whether that matches.
    pub matches: bool,
    /// Whether it is the one.
    pub chosen: bool,
    /// The matchers that kept it from that, the first one first.
    pub failed: Vec<Failed>,
}

/// A matcher that kept a rule from matching.
#[derive(Debug, Clone, Serialize)]
pub struct Failed {
    /// As it is written.
    pub matcher: String,
    /// Where it begins in the rule, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// What the request has: ``the path is `/x` ``.
    pub found: String,
}

/// What one layer does.
#[derive(Debug, Clone, Serialize)]
pub struct Layer {
    /// The middleware's name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// In one word.
    pub effect: Effect,
    /// What it would do beside.
    pub notes: Vec<String>,
    /// What it changes of the request.
    pub request: Vec<Change>,
    /// What it changes of the answer.
    pub response: Vec<Change>,
    /// The answer that it gives.
    pub answer: Option<LayerAnswer>,
}

/// The answer of a layer, before those outside of it change it.
#[derive(Debug, Clone, Serialize)]
pub struct LayerAnswer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<Field>,
}

/// What a layer does, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The request passes.
    Passes,
    /// The layer answers it.
    Answers,
    /// The request does not come there.
    NotReached,
    /// Nobody has tried: it judges connections.
    NotRehearsed,
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `method`, `target`, `status`, or the name of a header.
    pub what: String,
    /// Before; none where it was not there.
    pub before: Option<String>,
    /// After; none where it is no more.
    pub after: Option<String>,
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value; `***` for credentials.
    pub value: String,
}

/// The request as a server would see it.
#[derive(Debug, Clone, Serialize)]
pub struct Upstream {
    /// One of the servers that could be picked; the request is the same for the others.
    pub server: String,
    /// The method.
    pub method: String,
    /// The path, and the query.
    pub target: String,
    /// The headers.
    pub headers: Vec<Field>,
}

/// A server.
#[derive(Debug, Clone, Serialize)]
pub struct Server {
    /// Its URL.
    pub url: String,
    /// The revision that it is of.
    pub revision: Option<String>,
    /// The revision's share of requests, in hundredths.
    pub share: Option<u8>,
    /// Its weight.
    pub weight: u32,
    /// How it stands: `healthy`, or what is wrong.
    pub state: &'static str,
    /// Requests under way.
    pub in_flight: usize,
    /// What it did wrong last; it may stand well all the same.
    pub last_failure: Option<LastFailure>,
    /// `possible`, `certain` or `no`.
    pub picked: &'static str,
    /// Why not, or why certainly.
    pub why: Option<String>,
}

/// What a server did wrong last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastFailure {
    /// When, in seconds since 1970.
    pub at: u64,
    /// How, in one word of the access log, or `status 503`.
    pub reason: String,
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// `gateway`, or `server`: then the status is not known.
    pub by: &'static str,
    /// The status, where the gateway answers.
    pub status: Option<u16>,
    /// Why, in a word or a sentence, where it refuses.
    pub reason: Option<String>,
    /// The headers; where a server answers, those that the gateway adds to its.
    pub headers: Vec<Field>,
}

impl Explanation {
    /// Whether a router was found.
    pub fn is_routed(&self) -> bool {
        self.router.is_some()
    }
}

impl Judged {
    pub(super) fn new(
        (name, priority): (&str, i64),
        verdict: &Verdict<'_>,
        rule: &str,
        facts: &Facts<'_>,
        secrets: &Secrets,
    ) -> Self {
        let failed = verdict.deciders.iter().filter(|_| !verdict.matches);
        let failed = failed.map(|decider| Failed {
            matcher: shown(rule.get(decider.span.clone()).unwrap_or_default()),
            start: decider.span.start,
            end: decider.span.end,
            found: found(decider, facts, secrets),
        });
        Self {
            router: name.to_owned(),
            priority,
            rule: rule.to_owned(),
            matches: verdict.matches,
            chosen: false,
            failed: failed.collect(),
        }
    }
}

/// What there is where a matcher looked.
fn found(decider: &Decider<'_>, facts: &Facts<'_>, secrets: &Secrets) -> String {
    let of = |what: &str, value: &str| match value {
        "" => format!("there is no {what}"),
        value => format!("the {what} is `{}`", shown(value)),
    };
    match &decider.asks {
        Asks::Host => of("host", facts.host),
        Asks::Path => of("path", facts.path),
        Asks::Method => of("method", facts.method),
        Asks::Header(name) if **name == http::header::HOST => {
            "`Host` is no header for rules".to_owned()
        }
        Asks::Header(name) => {
            let values = facts.headers.get_all(*name).iter();
            let values: Vec<_> = values.map(|value| secrets.header(name, value)).collect();
            match values.len() {
                0 => format!("there is no header `{name}`"),
                _ => format!("the header `{name}` is `{}`", shown(&values.join("`, `"))),
            }
        }
        Asks::Query(key) if secrets.hides_parameter(key) => {
            format!("`{key}` of the query is another")
        }
        Asks::Query(_) => match facts.query {
            "" => "there is no query".to_owned(),
            query => format!("the query is `{}`", shown(&secrets.query(query))),
        },
        Asks::ClientIp => format!("the client is {}", facts.client_ip),
        Asks::ServerName => of("server name", facts.sni.unwrap_or_default()),
        Asks::Protocols => {
            let names = facts.alpn.iter().map(|name| String::from_utf8_lossy(name));
            match names.collect::<Vec<_>>() {
                none if none.is_empty() => "no protocol is offered".to_owned(),
                names => format!("`{}` is offered", shown(&names.join("`, `"))),
            }
        }
    }
}
