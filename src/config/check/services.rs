//! Services: what they are made of, and whether anybody uses them.

use super::Check;
use super::place::{Key, keys};
use crate::config::code::{Code, Severity};
use crate::config::diagnostic::Problem;
use crate::config::files::reason;
use crate::config::{LoadBalancerConfig, RespondConfig, Scheme, ServerConfig, UpstreamTlsConfig};
use http::{HeaderName, HeaderValue};
use rustls_pki_types::ServerName;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// The headers that the gateway writes itself: they say how the message is framed.
const FRAMING: [&str; 6] = [
    "connection",
    "content-length",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

impl Check<'_> {
    pub(super) fn services(&mut self) {
        let config = self.config;
        for (name, service) in &config.services {
            self.name("services", "service", name);
            match (&service.load_balancer, &service.respond) {
                (None, None) if service.revisions.is_empty() && service.websocket_hub.is_none() => {
                    self.neither(name);
                }
                (Some(_), Some(_)) => {
                    let message =
                        format!("service `{name}` has both `load_balancer` and `respond`");
                    let also = self.at(&keys!["services", name, "load_balancer"]);
                    let problem = Problem::new(Code::Choice, message).also(also, "the other one");
                    self.report(&keys!["services", name, "respond"], problem);
                }
                _ => {}
            }
            self.revisions(name, service);
            if let Some(balancer) = &service.load_balancer {
                let revisions = keys!["services", name, "revisions"];
                let has_revisions = !service.revisions.is_empty() || !self.is_read(&revisions);
                self.load_balancer(name, balancer, has_revisions);
                if let Some(sticky) = &balancer.sticky {
                    self.sticky(name, service, sticky);
                }
                if let Some(check) = &balancer.health_check {
                    self.health_check(name, check, service);
                }
            }
            self.balancing(name, service);
            if let Some(respond) = &service.respond {
                self.respond(name, respond);
            }
            if let Some(hub) = &service.websocket_hub {
                self.websocket_hub(name, hub, service);
            }
        }
    }

    /// Only where nothing is wrong: the service that a misspelt name was meant for is not unused.
    pub(super) fn unused(&mut self) {
        if !self.whole
            || self
                .problems
                .iter()
                .any(|problem| problem.code.severity() == Severity::Error)
        {
            return;
        }
        let config = self.config;
        let used: HashSet<&str> = (config.routers.values())
            .map(|router| router.service.as_str())
            .chain((config.middlewares.values()).filter_map(|each| each.settings().service()))
            .chain(
                (config.services.values()).flat_map(|each| each.leads_to().map(|(_, other)| other)),
            )
            .collect();
        for name in config
            .services
            .keys()
            .filter(|name| !used.contains(name.as_str()))
        {
            let problem = Problem::new(Code::Unused, format!("no router uses service `{name}`"));
            self.report(&[Key::Name("services"), Key::Entry(name)], problem);
        }
        self.unused_middlewares();
    }

    fn neither(&mut self, name: &str) {
        let places = ["load_balancer", "respond", "revisions", "websocket_hub"]
            .map(|key| keys!["services", name, key]);
        let known = (self.tree.as_ref())
            .is_some_and(|tree| places.iter().any(|place| tree.look(place).is_none()));
        if !known {
            let message = format!(
                "service `{name}` has none of `load_balancer`, `revisions`, `respond` and `websocket_hub`"
            );
            self.report(
                &keys!["services", name],
                Problem::new(Code::Choice, message),
            );
        }
    }

    fn load_balancer(&mut self, name: &str, balancer: &LoadBalancerConfig, has_revisions: bool) {
        let servers = keys!["services", name, "load_balancer", "servers"];
        if !has_revisions {
            let whose = format!("service `{name}`");
            self.servers_of(&servers, &whose, &balancer.servers, true);
        }
        let tls = keys!["services", name, "load_balancer", "tls"];
        let is_unix = |server: &ServerConfig| server.url.scheme() == Scheme::Unix;
        if balancer.tls != UpstreamTlsConfig::default()
            && !balancer.servers.is_empty()
            && balancer.servers.iter().all(is_unix)
        {
            let message = format!("every server of service `{name}` is a Unix socket, without TLS");
            self.report(&tls, Problem::new(Code::Choice, message));
        }
        self.tls(&tls, &balancer.tls);
    }

    /// The servers of a pool; `is_used` where it is to take new requests.
    pub(super) fn servers_of(
        &mut self,
        place: &[Key<'_>],
        whose: &str,
        servers: &[ServerConfig],
        is_used: bool,
    ) {
        if servers.is_empty() {
            let message = format!("{whose} has no servers");
            self.report(place, Problem::new(Code::InvalidValue, message));
        } else if is_used && servers.iter().all(|server| server.weight == 0) {
            let message = format!("every server of {whose} has weight 0: none takes new requests");
            self.report(place, Problem::new(Code::NoTraffic, message));
        }
        let mut seen = HashMap::new();
        for (index, server) in servers.iter().enumerate() {
            let url = |index: usize| -> Vec<Key<'_>> {
                let place = place.iter().copied();
                place.chain(keys![index, "url"]).collect()
            };
            if let Some(first) = seen.insert(&server.url, index) {
                let message = format!("{whose} lists one server twice");
                let problem = Problem::new(Code::Duplicate, message)
                    .also(self.at(&url(first)), "first listed here");
                self.report(
                    &url(index),
                    problem.help("give it more `weight` instead".to_owned()),
                );
            }
        }
    }

    pub(super) fn tls(&mut self, above: &[Key<'_>], tls: &UpstreamTlsConfig) {
        let place = |key: &'static str| -> Vec<Key<'_>> {
            let key = Key::Name(key);
            above.iter().copied().chain([key]).collect()
        };
        for (given, key, other) in [
            (&tls.cert_file, "cert_file", "key_file"),
            (&tls.key_file, "key_file", "cert_file"),
        ] {
            let lacking = match key {
                "cert_file" => tls.key_file.is_none(),
                _ => tls.cert_file.is_none(),
            };
            let known = (self.tree.as_ref()).is_some_and(|tree| tree.look(&place(other)).is_none());
            if given.is_some() && lacking && !known {
                let problem = Problem::new(Code::Choice, format!("`{key}` needs `{other}`"));
                self.report(&place(key), problem);
            }
        }
        for (path, key) in [
            (&tls.ca_file, "ca_file"),
            (&tls.cert_file, "cert_file"),
            (&tls.key_file, "key_file"),
        ] {
            if let Some(path) = path {
                self.file(&place(key), path, key);
            }
        }
        if let Some(server_name) = &tls.server_name
            && ServerName::try_from(server_name.as_str()).is_err()
        {
            let problem = Problem::new(
                Code::InvalidValue,
                "`server_name` is neither a host name nor an IP address",
            );
            self.report(&place("server_name"), problem);
        }
    }

    pub(super) fn file(&mut self, place: &[Key<'_>], path: &Path, key: &str) {
        match std::fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => {
                self.report(
                    place,
                    Problem::new(Code::Unreadable, format!("`{key}` is not a regular file")),
                );
            }
            Ok(metadata) if key == "key_file" && everybody_reads(&metadata) => {
                let problem = Problem::new(Code::OpenKey, "everybody can read this private key");
                self.report(place, problem.help("chmod 600".to_owned()));
            }
            Ok(_) => {}
            Err(error) => {
                self.report(
                    place,
                    Problem::new(
                        Code::Unreadable,
                        format!("`{key}` cannot be read: {}", reason(&error)),
                    ),
                );
            }
        }
    }

    fn respond(&mut self, name: &str, respond: &RespondConfig) {
        let status = keys!["services", name, "respond", "status"];
        if matches!(respond.status, 204 | 205 | 304) && !respond.body.is_empty() {
            let message = format!("an answer of status {} has no body", respond.status);
            self.report(&status, Problem::new(Code::Choice, message));
        }
        let mut seen: HashMap<HeaderName, &String> = HashMap::new();
        for (header, value) in &respond.headers {
            let entry = [
                Key::Name("services"),
                Key::Name(name),
                Key::Name("respond"),
                Key::Name("headers"),
                Key::Entry(header),
            ];
            let Ok(parsed) = HeaderName::try_from(header.as_str()) else {
                self.report(
                    &entry,
                    Problem::new(Code::InvalidValue, "this is not the name of a header"),
                );
                continue;
            };
            if FRAMING.contains(&parsed.as_str()) {
                let message = format!("the gateway writes `{header}` itself");
                self.report(&entry, Problem::new(Code::InvalidValue, message));
            }
            if let Some(first) = seen.insert(parsed, header) {
                let message = format!("`{header}` and `{first}` are one header");
                self.report(&entry, Problem::new(Code::Duplicate, message));
            }
            if HeaderValue::try_from(value.as_str()).is_err() {
                let place = keys!["services", name, "respond", "headers", header];
                let message =
                    format!("the value of `{header}` has characters that a header cannot have");
                self.report(&place, Problem::new(Code::InvalidValue, message));
            }
        }
    }
}

#[cfg(unix)]
fn everybody_reads(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o004 != 0
}

#[cfg(not(unix))]
fn everybody_reads(_: &std::fs::Metadata) -> bool {
    false
}
