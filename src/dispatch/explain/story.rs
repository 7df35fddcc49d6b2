//! What became of a request that nobody sent, as it is shown.

use super::redact::{Secrets, shown};
use super::{Facets, LayerName};
use crate::rule::{Asks, Decider, Facts, Verdict};
use crate::stack::Response;
use a3s_layers::endpoint;
use a3s_layers::error::Failure;
use a3s_layers::rehearsal::{Candidate, Choice, Head, Note, StandIn};
use a3s_layers::reject::Refused;
use http::{HeaderMap, HeaderName, StatusCode};
use serde::Serialize;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// The most differences that are shown of one layer.
const MAX_CHANGES: usize = 100;

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

/// What was seen on the way.
pub(super) struct Seen<'s> {
    pub(super) notes: &'s [(u32, Note)],
    pub(super) secrets: &'s Secrets,
}

impl Seen<'_> {
    fn request(&self, position: usize) -> Option<&Head> {
        self.notes.iter().find_map(|(at, note)| match note {
            Note::Request(head) if *at as usize == position => Some(&**head),
            _ => None,
        })
    }

    fn response(&self, position: usize) -> Option<(StatusCode, &HeaderMap)> {
        self.notes.iter().find_map(|(at, note)| match note {
            Note::Response(status, headers) if *at as usize == position => {
                Some((*status, &**headers))
            }
            _ => None,
        })
    }

    fn would(&self, is_there: impl Fn(usize) -> bool) -> Vec<String> {
        let notes = self.notes.iter().filter_map(|(at, note)| match note {
            Note::Would(what) if is_there(*at as usize) => Some(shown(what)),
            _ => None,
        });
        notes.collect()
    }

    /// The layers of a chain, with what each did; the answer that rose above the first is `last`.
    pub(super) fn layers(&self, chain: &[LayerName], last: &Response) -> Vec<Layer> {
        let last = (last.status(), last.headers());
        let layers = chain.iter().enumerate().map(|(index, name)| {
            let (before, after) = (self.request(index), self.request(index + 1));
            let above = match index {
                0 => Some(last),
                _ => self.response(index),
            };
            let response = match (self.response(index + 1), above) {
                (Some(below), Some(above)) => self.differences_of_answers(below, above),
                _ => Vec::new(),
            };
            let answers = before.is_some() && after.is_none();
            let answer = above
                .filter(|_| answers)
                .map(|(status, headers)| LayerAnswer {
                    status: status.as_u16(),
                    headers: self.fields(headers),
                });
            let request = before.zip(after);
            let request = request.map(|(before, after)| self.differences(before, after));
            Layer {
                name: name.name.to_string(),
                kind: name.kind.to_string(),
                effect: match (before, after) {
                    (None, _) => Effect::NotReached,
                    (Some(_), None) => Effect::Answers,
                    (Some(_), Some(_)) => Effect::Passes,
                },
                notes: self.would(|at| at == index),
                request: request.unwrap_or_default(),
                response,
                answer,
            }
        });
        layers.collect()
    }

    pub(super) fn of_service(&self, chain: &[LayerName]) -> Vec<String> {
        self.would(|at| at >= chain.len())
    }

    fn differences(&self, before: &Head, after: &Head) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut compare = |what: &str, before: String, after: String| {
            if before != after {
                changes.push(Change {
                    what: what.to_owned(),
                    before: Some(before),
                    after: Some(after),
                });
            }
        };
        compare(
            "method",
            before.method.to_string(),
            after.method.to_string(),
        );
        if before.uri != after.uri {
            let target = |head: &Head| self.secrets.target(&head.uri);
            compare("target", target(before), target(after));
        }
        self.compare(&before.headers, &after.headers, &mut changes);
        changes
    }

    fn differences_of_answers(
        &self,
        (before, old): (StatusCode, &HeaderMap),
        (after, new): (StatusCode, &HeaderMap),
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        if before != after {
            changes.push(Change {
                what: "status".to_owned(),
                before: Some(before.as_str().to_owned()),
                after: Some(after.as_str().to_owned()),
            });
        }
        self.compare(old, new, &mut changes);
        changes
    }

    fn compare(&self, before: &HeaderMap, after: &HeaderMap, changes: &mut Vec<Change>) {
        let values = |headers: &HeaderMap, name: &HeaderName| {
            let values = headers.get_all(name).iter();
            let values: Vec<_> = values
                .map(|value| self.secrets.header(name, value))
                .collect();
            (!values.is_empty()).then(|| shown(&values.join(", ")))
        };
        let added = after.keys().filter(|name| !before.contains_key(*name));
        for name in before.keys().chain(added) {
            let same = before.get_all(name).iter().eq(after.get_all(name).iter());
            if !same && changes.len() < MAX_CHANGES {
                changes.push(Change {
                    what: name.to_string(),
                    before: values(before, name),
                    after: values(after, name),
                });
            }
        }
    }

    pub(super) fn upstream(&self) -> Option<Upstream> {
        let sent = self.notes.iter().rev().find_map(|(_, note)| match note {
            Note::Sent(server, head) => Some((server, head)),
            _ => None,
        });
        let (server, head) = sent?;
        Some(Upstream {
            server: server.to_string(),
            method: head.method.to_string(),
            target: self.secrets.target(&head.uri),
            headers: self.fields(&head.headers),
        })
    }

    pub(super) fn fields(&self, headers: &HeaderMap) -> Vec<Field> {
        let fields = headers.iter().map(|(name, value)| Field {
            name: name.to_string(),
            value: self.secrets.header(name, value),
        });
        fields.collect()
    }

    pub(super) fn servers(&self) -> Vec<Server> {
        let mut servers = Vec::new();
        let mut is_told = false;
        for (_, note) in self.notes {
            match note {
                Note::Revision(name, share, list) => {
                    servers.extend(list.iter().map(|each| server(each, Some((name, *share)))));
                    is_told = true;
                }
                // What follows the revisions is one of them again.
                Note::Servers(list) if !std::mem::take(&mut is_told) => {
                    servers.extend(list.iter().map(|each| server(each, None)));
                }
                _ => {}
            }
        }
        servers
    }

    pub(super) fn answer(&self, response: &Response) -> Answer {
        let extensions = response.extensions();
        let is_server = extensions.get::<StandIn>().is_some();
        let failure = extensions
            .get::<Failure>()
            .map(|failure| failure.reason().to_owned());
        let refused = || {
            extensions
                .get()
                .map(|Refused(message)| (*message).to_owned())
        };
        Answer {
            by: if is_server { "server" } else { "gateway" },
            status: (!is_server).then(|| response.status().as_u16()),
            reason: failure.or_else(refused),
            headers: self.fields(response.headers()),
        }
    }
}

impl From<endpoint::LastFailure> for LastFailure {
    fn from(failure: endpoint::LastFailure) -> Self {
        let since = failure.at.duration_since(UNIX_EPOCH);
        Self {
            at: since.map_or(0, |since| since.as_secs()),
            reason: failure.reason.into(),
        }
    }
}

pub(super) fn server(candidate: &Candidate, revision: Option<(&Arc<str>, u8)>) -> Server {
    let endpoint = &candidate.endpoint;
    let standing = endpoint.standing();
    let reasons = standing.troubles.iter().map(|(_, why)| &**why);
    let (picked, why) = match candidate.choice {
        _ if revision.is_some_and(|(_, share)| share == 0)
            && candidate.choice != Choice::Certain =>
        {
            ("no", Some("the share of its revision is 0".to_owned()))
        }
        Choice::Possible => ("possible", None),
        Choice::Certain => ("certain", Some("the request belongs to it".to_owned())),
        Choice::Troubled => ("no", Some(shown(&reasons.collect::<Vec<_>>().join("; ")))),
        Choice::Full => (
            "no",
            Some("it has as many requests as it may have".to_owned()),
        ),
        Choice::Weightless => ("no", Some("its weight is 0".to_owned())),
        Choice::Passed => ("no", Some("the request belongs to another".to_owned())),
    };
    Server {
        url: endpoint.id().to_owned(),
        revision: revision.map(|(name, _)| name.to_string()),
        share: revision.map(|(_, share)| share),
        weight: candidate.weight,
        state: standing.as_str(),
        in_flight: endpoint.in_flight(),
        last_failure: endpoint.last_failure().map(LastFailure::from),
        picked,
        why,
    }
}

/// Layers that judge connections, which nobody makes here.
pub(super) fn of_connections(facets: &Facets) -> Vec<Layer> {
    let layers = facets.chain.iter().map(|layer| Layer {
        name: layer.name.to_string(),
        kind: layer.kind.to_string(),
        effect: Effect::NotRehearsed,
        notes: vec!["judges connections when they are made".to_owned()],
        request: Vec::new(),
        response: Vec::new(),
        answer: None,
    });
    layers.collect()
}
