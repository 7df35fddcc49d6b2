//! The series of exchanges under the names of Traefik, version 3, for dashboards and alerts that know those.

use super::series::{Code, Entity};
use super::text::{Exposition, Type};
use super::{Counted, Kind, Metrics};

/// The bounds that Traefik's histograms have unless told otherwise.
const BOUNDS: [&str; 4] = ["0.1", "0.3", "1.2", "5.0"];

/// A count of exchanges: its name, what it is, its value.
type OfExchanges = (&'static str, &'static str, fn(&Counted) -> u64);

impl Metrics {
    /// Writes the series of exchanges as Traefik does.
    pub fn write_as_traefik(&self, out: &mut Exposition) {
        for (of, entities) in self.entities() {
            let counts: [OfExchanges; 3] = [
                ("requests", "Requests", Counted::exchanges),
                ("requests_bytes", "Bytes of requests", |counted| {
                    counted.request_bytes
                }),
                ("responses_bytes", "Bytes of responses", |counted| {
                    counted.response_bytes
                }),
            ];
            for (name, is, value) in counts {
                let name = format!("traefik_{of}_{name}");
                let mut family = out.family(&name, is, Type::Counter);
                for entity in &entities {
                    labelled(entity, |labels, counted| {
                        family.sample(labels, value(counted))
                    });
                }
            }
            let name = format!("traefik_{of}_request_duration_seconds");
            let mut family = out.family(&name, "How long requests took", Type::Histogram);
            for entity in &entities {
                labelled(entity, |labels, counted| {
                    let is_shown = |bound: &str| BOUNDS.contains(&bound);
                    family.histogram(labels, &counted.buckets, counted.seconds(), is_shown);
                });
            }
        }
        let mut family = out.family("traefik_service_retries", "Retries", Type::Counter);
        for ((name, _), counts) in self.services.list() {
            family.sample(&[("service", &name)], counts.retries());
        }
    }
}

fn labelled(entity: &Entity, mut with: impl FnMut(&[(&str, &str)], &Counted)) {
    for (kind, counted) in &entity.counted {
        let code = Code(kind.code()).to_string();
        let labels = [
            ("code", &*code),
            ("method", method(*kind)),
            ("protocol", kind.spoken().as_str()),
        ];
        with(&entity.labels(&labels), counted);
    }
}

fn method(kind: Kind) -> &'static str {
    match kind.verb().as_str() {
        "other" => "EXTENSION_METHOD",
        known => known,
    }
}
