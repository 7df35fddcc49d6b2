//! Health checks: what each kind has a use for, and what can be asked of a server.

use super::Check;
use super::place::{Key, keys};
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::{HealthCheckConfig, HealthCheckKind, Scheme, ServerConfig, ServiceConfig};
use crate::rule::Protocol;
use a3s_layers::headers::{HeaderEdits, HeaderError};
use http::HeaderName;
use http::uri::{Authority, PathAndQuery};
use std::collections::HashMap;
use std::time::Duration;

/// Each server costs ten questions a second at the most.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
const MIN_TIMEOUT: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const MAX_THRESHOLD: u64 = 100;

/// The longest name of a gRPC service that is asked for.
const MAX_NAME: usize = 1024;

impl Check<'_> {
    pub(super) fn health_check(
        &mut self,
        name: &str,
        check: &HealthCheckConfig,
        service: &ServiceConfig,
    ) {
        let protocol = service.protocol();
        let at = |key: &'static str| keys!["services", name, "load_balancer", "health_check", key];
        self.duration(&at("interval"), check.interval, MIN_INTERVAL, DAY);
        self.duration(&at("timeout"), check.timeout, MIN_TIMEOUT, HOUR);
        for (key, threshold) in [
            ("unhealthy_threshold", check.unhealthy_threshold),
            ("healthy_threshold", check.healthy_threshold),
        ] {
            self.number(&at(key), threshold.into(), 1, MAX_THRESHOLD);
        }
        if let Some(port) = check.port {
            self.number(&at("port"), port.into(), 1, u16::MAX.into());
            let is_unix = |server: &ServerConfig| server.url.scheme() == Scheme::Unix;
            if service.servers().any(is_unix) {
                let problem = Problem::new(Code::Choice, "a Unix socket has no port");
                self.report(&at("port"), problem);
            }
        }
        if !self.is_read(&at("kind")) {
            return;
        }
        let kind = check.kind(protocol);
        let is_written = check.kind.is_some();
        if protocol == Protocol::Udp && !is_written {
            let message = "no question is answered by every server of UDP";
            let help = "add `kind = \"tcp\"`, or another kind, and the `port` where it is answered";
            let problem = Problem::new(Code::Choice, message).help(help.to_owned());
            let place = keys!["services", name, "load_balancer", "health_check"];
            self.report(&place, problem);
        }
        let mut useless = |key: &'static str, kinds: &str| {
            let message = format!(
                "`{key}` is for {kinds}, and this check is of kind `{}`",
                kind.as_str()
            );
            let problem = Problem::new(Code::Choice, message);
            self.report(
                &at(key),
                match is_written {
                    true => problem,
                    false => problem.help(
                        "add `kind`: servers of TCP are asked for a connection only".to_owned(),
                    ),
                },
            );
        };
        if kind != HealthCheckKind::Http && check.status != HealthCheckConfig::default().status {
            useless("status", "`http`");
        }
        if kind == HealthCheckKind::Tcp {
            let given = [
                ("path", check.path.is_some()),
                ("headers", !check.headers.is_empty()),
                ("host", check.host.is_some()),
            ];
            for (key, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
                useless(key, "`http` and `grpc`");
            }
            return;
        }
        if check.status.is_empty() {
            self.invalid(&at("status"), "no status would be a good answer");
        }
        if let Some(path) = &check.path {
            match kind {
                HealthCheckKind::Http if !is_path(path) => {
                    let message = "`path` is not a path that begins with `/`, and perhaps a query";
                    self.invalid(&at("path"), message);
                }
                HealthCheckKind::Grpc if !is_service(path) => {
                    self.invalid(&at("path"), "`path` is not the name of a gRPC service");
                }
                _ => {}
            }
        }
        if let Some(host) = &check.host
            && !is_host(host)
        {
            self.invalid(&at("host"), "`host` is not a host, with or without a port");
        }
        self.fields(name, check, kind);
    }

    fn fields(&mut self, name: &str, check: &HealthCheckConfig, kind: HealthCheckKind) {
        let mut seen: HashMap<String, &String> = HashMap::new();
        for (field, value) in &check.headers {
            let at = |key| {
                keys![
                    "services",
                    name,
                    "load_balancer",
                    "health_check",
                    "headers",
                    key
                ]
            };
            let (entry, value_at) = (at(Key::Entry(field)), at(Key::Name(field)));
            if let Some(first) = seen.insert(field.to_ascii_lowercase(), field) {
                let message = format!("`{field}` and `{first}` are one header");
                self.report(&entry, Problem::new(Code::Duplicate, message));
            }
            let is_ours = |name: HeaderName| {
                name.as_str() == "content-type" || name.as_str().starts_with("grpc-")
            };
            let mut place = &entry;
            let message = match HeaderEdits::new().add(field, value.expose()) {
                Ok(_) if kind == HealthCheckKind::Grpc && field.parse().is_ok_and(is_ours) => {
                    format!("the gateway itself says what is in `{field}`")
                }
                Ok(_) => continue,
                Err(HeaderError::Host) => "the key for this is `host`".to_owned(),
                Err(HeaderError::Name) => "this is not the name of a header".to_owned(),
                Err(HeaderError::Value) => {
                    place = &value_at;
                    format!("the value of `{field}` has characters that a header cannot have")
                }
                Err(HeaderError::Framing) => format!("the gateway writes `{field}` itself"),
            };
            self.report(place, Problem::new(Code::InvalidValue, message));
        }
    }

    fn invalid(&mut self, place: &[Key<'_>], message: &str) {
        self.report(place, Problem::new(Code::InvalidValue, message));
    }
}

fn is_path(path: &str) -> bool {
    let is_plain = path.starts_with('/') && path.is_ascii() && !path.contains('#');
    is_plain && path.parse::<PathAndQuery>().is_ok()
}

fn is_service(name: &str) -> bool {
    name.len() <= MAX_NAME && !name.contains(char::is_control)
}

fn is_host(host: &str) -> bool {
    let authority = host.parse::<Authority>();
    authority.is_ok_and(|authority| {
        let port = authority.port();
        let has_port = authority.as_str().len() > authority.host().len();
        !host.contains('@') && !authority.host().is_empty() && (!has_port || port.is_some())
    })
}
