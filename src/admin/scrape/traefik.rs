//! What Traefik, version 3, has beside exchanges, under its names.

use super::super::Live;
use super::super::live::Snapshot;
use super::{servers, tls};
use crate::config::Protocol;
use crate::telemetry::metrics::text::{Exposition, Type};

pub(super) fn write(live: &Live, snapshot: &Snapshot, out: &mut Exposition) {
    live.metrics().write_as_traefik(out);
    let mut family = out.family(
        "traefik_service_server_up",
        "Whether a server is up",
        Type::Gauge,
    );
    let mut shown = std::collections::BTreeSet::new();
    servers::each(snapshot, |labels, server| {
        let url = server.endpoint.id();
        // It has no revisions.
        if shown.insert((labels[0].1.to_owned(), url.to_owned())) {
            family.sample(
                &[labels[0], ("url", url)],
                u8::from(server.endpoint.takes_new()),
            );
        }
    });
    let mut family = out.family("traefik_open_connections", "Open connections", Type::Gauge);
    for entrypoint in &snapshot.entrypoints {
        let protocol = match entrypoint.protocol {
            Protocol::Http | Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        };
        let labels = [("entrypoint", &*entrypoint.name), ("protocol", protocol)];
        family.sample(&labels, entrypoint.drain.open());
    }
    let (successes, _) = live.metrics().reloads();
    out.family(
        "traefik_config_reloads",
        "Reloads that took effect",
        Type::Counter,
    )
    .sample(&[], successes);
    out.family(
        "traefik_config_last_reload_success",
        "When the last reload took effect",
        Type::Gauge,
    )
    .sample(&[], live.running_since());
    let mut family = out.family(
        "traefik_tls_certs_not_after",
        "Until when a certificate is good",
        Type::Gauge,
    );
    let entrypoints = snapshot.entrypoints.iter();
    let certificates = entrypoints.filter_map(|each| each.certificates.as_deref());
    let mut shown = std::collections::BTreeSet::new();
    for identity in certificates.flat_map(|certificates| certificates.list()) {
        let sans = identity.names.join(",");
        if shown.insert(sans.clone()) {
            let cn = identity.names.first().map_or("", |name| name);
            family.sample(
                &[("cn", cn), ("sans", &sans)],
                tls::seconds(identity.not_after),
            );
        }
    }
}
