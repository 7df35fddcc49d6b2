//! What was seen on the way of a request that nobody sent.

use super::redact::{Secrets, shown};
use super::story::{
    Answer, Change, Effect, Field, LastFailure, Layer, LayerAnswer, Server, Upstream,
};
use super::{Facets, LayerName};
use crate::stack::Response;
use a3s_layers::endpoint;
use a3s_layers::error::Failure;
use a3s_layers::rehearsal::{Candidate, Choice, Head, Note, StandIn};
use a3s_layers::reject::Refused;
use http::{HeaderMap, HeaderName, StatusCode};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// The most differences that are shown of one layer.
const MAX_CHANGES: usize = 100;

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
