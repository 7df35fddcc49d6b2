//! TLS with clients: handshakes, and until when we are who we say.

use super::super::live::Snapshot;
use crate::stack::drain::Shaken;
use crate::telemetry::metrics::text::{Exposition, Type};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) fn write(snapshot: &Snapshot, out: &mut Exposition) {
    let with_tls = || {
        let entrypoints = snapshot.entrypoints.iter();
        entrypoints.filter_map(|each| Some((each, each.certificates.as_deref()?)))
    };
    let mut family = out.family(
        "gateway_tls_handshakes",
        "TLS handshakes with clients, by version and result",
        Type::Counter,
    );
    for (entrypoint, _) in with_tls() {
        for (how, count) in entrypoint.drain.shaken() {
            let result = if how == Shaken::Not {
                "failure"
            } else {
                "success"
            };
            let labels = [
                ("entrypoint", &*entrypoint.name),
                ("version", how.version()),
                ("result", result),
            ];
            family.sample(&labels, count);
        }
    }
    let mut family = out.family(
        "gateway_tls_certificate_not_after_seconds",
        "Until when the certificate for a name is good, in seconds since 1970; the first to end where there are several",
        Type::Gauge,
    );
    for (entrypoint, certificates) in with_tls() {
        let mut ends = BTreeMap::new();
        for identity in certificates.list() {
            for name in &*identity.names {
                let end = ends.entry(name.clone()).or_insert(identity.not_after);
                *end = identity.not_after.min(*end);
            }
        }
        for (name, end) in ends {
            family.sample(
                &[("entrypoint", &entrypoint.name), ("name", &name)],
                seconds(end),
            );
        }
    }
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
