//! Entrypoints that send requests to others.

use super::Check;
use super::circle::{MAX_DEPTH, endless};
use super::place::keys;
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::{Address, Protocol};

impl Check<'_> {
    pub(super) fn redirects(&mut self) {
        let config = self.config;
        for (name, entrypoint) in &config.entrypoints {
            let Some(to) = &entrypoint.redirect_to else {
                continue;
            };
            let place = keys!["entrypoints", name, "redirect_to"];
            if entrypoint.protocol != Protocol::Http {
                let message =
                    format!("`redirect_to` is for requests, and entrypoint `{name}` takes none");
                self.report(&place, Problem::new(Code::Mixed, message));
            }
            if !self.exists("entrypoints", to) {
                let message = format!("entrypoint `{name}` names the unknown entrypoint `{to}`");
                let names = config.entrypoints.keys().map(String::as_str);
                self.unknown(&place, message, to, names.filter(|known| *known != name));
            }
            let Some(target) = config.entrypoints.get(to) else {
                continue;
            };
            if target.protocol != Protocol::Http {
                let message = format!("entrypoint `{to}` takes no requests");
                self.report(&place, Problem::new(Code::Mixed, message));
            }
            if port(&target.address).is_none() {
                let message = format!("entrypoint `{to}` has no port that is known beforehand");
                let also = self.at(&keys!["entrypoints", to, "address"]);
                let problem = Problem::new(Code::Choice, message).also(also, "its address");
                self.report(&place, problem);
            }
        }
        let inner = |name: &str| -> Vec<&str> {
            let entrypoint = config.entrypoints.get(name);
            let to = entrypoint.and_then(|entrypoint| entrypoint.redirect_to.as_deref());
            to.into_iter().collect()
        };
        if let Some(way) = endless(config.entrypoints.keys(), &inner) {
            let message = match way.first() == way.last() {
                true => format!("entrypoints redirect in a circle: {}", way.join(" -> ")),
                false => format!("more than {MAX_DEPTH} entrypoints redirect to one another"),
            };
            let place = keys!["entrypoints", way[0], "redirect_to"];
            self.report(&place, Problem::new(Code::Cycle, message));
        }
    }
}

/// The port that clients are sent to.
fn port(address: &Address) -> Option<u16> {
    let port = match address {
        Address::Socket(address) => address.port(),
        Address::Host { port, .. } => *port,
        Address::Unix(_) => 0,
    };
    (port > 0).then_some(port)
}
