//! The series of exchanges.

use super::kind::{Kind, Spoken};
use super::slots::Counted;
use super::text::{Exposition, Labels, Type};
use super::{Counts, Metrics};
use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// What has series of exchanges: its own labels, what is counted, and what is under way.
pub(super) struct Entity {
    labels: Vec<(&'static str, String)>,
    pub(super) counted: BTreeMap<Kind, Counted>,
    in_flight: u64,
}

impl Entity {
    fn new(labels: Vec<(&'static str, String)>, counts: &Counts) -> Self {
        Self {
            labels,
            counted: counts.counted(),
            in_flight: counts.in_flight(),
        }
    }

    /// Its labels behind some others.
    pub(super) fn labels<'l>(&'l self, first: &[(&'l str, &'l str)]) -> Vec<(&'l str, &'l str)> {
        let own = self.labels.iter().map(|(name, value)| (*name, &**value));
        first.iter().copied().chain(own).collect()
    }

    /// By what is spoken alone.
    fn by_spoken(&self) -> BTreeMap<Spoken, Counted> {
        let mut all = BTreeMap::<_, Counted>::new();
        for (kind, counted) in &self.counted {
            *all.entry(kind.spoken()).or_default() += counted.clone();
        }
        all
    }
}

/// A status as a label has it.
pub(super) struct Code(pub(super) Option<u16>);

impl Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(code) => code.fmt(f),
            None => f.write_str("other"),
        }
    }
}

impl Metrics {
    /// Entrypoints, routers and services, with what is counted of each.
    pub(super) fn entities(&self) -> [(&'static str, Vec<Entity>); 3] {
        let entrypoints = self.entrypoints.list();
        let entrypoints = entrypoints
            .iter()
            .map(|((name, _), counts)| Entity::new(vec![("entrypoint", name.to_string())], counts));
        let routers = self.routers.list();
        let routers = routers.iter().map(|((name, service), counts)| {
            let labels = vec![
                ("router", name.to_string()),
                ("service", service.to_string()),
            ];
            Entity::new(labels, counts)
        });
        let services = self.services.list();
        let services = services.iter().map(|((name, _), counts)| {
            Entity::new(vec![("service", name.to_string())], &counts.exchanges)
        });
        [
            ("entrypoint", entrypoints.collect()),
            ("router", routers.collect()),
            ("service", services.collect()),
        ]
    }

    /// Writes every series of exchanges.
    pub fn write(&self, out: &mut Exposition) {
        let (all, services) = (self.entities(), self.services.list());
        for (of, entities) in &all {
            exchanges(out, of, entities);
        }
        let mut family = out.family(
            "gateway_in_flight",
            "Exchanges under way, by entrypoint, by router or by service",
            Type::Gauge,
        );
        for entity in all.iter().flat_map(|(_, entities)| entities) {
            // By its own name alone: a router's service has a series of its own.
            family.sample(&entity.labels(&[])[..1], entity.in_flight);
        }
        let mut family = out.family(
            "gateway_service_retries",
            "How often requests were sent once more",
            Type::Counter,
        );
        for ((name, _), counts) in &services {
            family.sample(&[("service", name)], counts.retries());
        }
        let mut family = out.family(
            "gateway_service_failures",
            "Exchanges in which no server, or no whole answer, could be had, by reason",
            Type::Counter,
        );
        for ((name, _), counts) in &services {
            for (reason, count) in counts.failures().filter(|(_, count)| *count > 0) {
                family.sample(&[("service", name), ("reason", reason)], count);
            }
        }
        let mut family = out.family(
            "gateway_middleware_requests",
            "Requests that came to a middleware, by what it made of them",
            Type::Counter,
        );
        for ((name, kind), counts) in self.middlewares.list() {
            for (made, count) in counts.made() {
                let labels = [
                    ("middleware", &*name),
                    ("type", &*kind),
                    ("result", made.as_str()),
                ];
                family.sample(&labels, count);
            }
        }
    }
}

fn exchanges(out: &mut Exposition, of: &str, entities: &[Entity]) {
    type Value = fn(&Counted) -> u64;
    let counts: [(&str, &str, Value); 3] = [
        ("requests", "Exchanges that are over", Counted::exchanges),
        ("request_bytes", "Bytes of requests", |counted| {
            counted.request_bytes
        }),
        ("response_bytes", "Bytes of answers", |counted| {
            counted.response_bytes
        }),
    ];
    for (name, is, value) in counts {
        let name = format!("gateway_{of}_{name}");
        let mut family = out.family(&name, is, Type::Counter);
        for entity in entities {
            for (kind, counted) in &entity.counted {
                let code = Code(kind.code()).to_string();
                let labels = [
                    ("code", &*code),
                    ("method", kind.verb().as_str()),
                    ("protocol", kind.spoken().as_str()),
                ];
                family.sample(&entity.labels(&labels), value(counted));
            }
        }
    }
    let name = format!("gateway_{of}_request_duration_seconds");
    let is = "How long exchanges took, from the head of the request to the end of the answer";
    let mut family = out.family(&name, is, Type::Histogram);
    for entity in entities {
        for (spoken, counted) in entity.by_spoken() {
            let labels: Labels<'_> = &entity.labels(&[("protocol", spoken.as_str())]);
            family.histogram(labels, &counted.buckets, counted.seconds(), |_| true);
        }
    }
}
