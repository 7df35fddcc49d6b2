//! What a configuration means as a whole: references, duplicates, ranges, and what is probably not meant.

mod access_log;
mod balancing;
mod circle;
mod dns;
mod health_checks;
mod leads;
mod middlewares;
mod own_tests;
mod place;
mod protocols;
mod ranges;
mod redirects;
mod revisions;
mod routers;
mod services;
mod sticky;
mod survey;
mod tls;
mod traces;
mod websocket_hubs;

pub(crate) use middlewares::Place;
pub(crate) use place::{Key, Tree};

use super::code::Code;
use super::diagnostic::{Diagnostics, Problem};
use super::source::Files;
use super::tree::Kind;
use super::{Address, GatewayConfig, Protocol};
use place::keys;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

impl GatewayConfig {
    /// Finds every problem at once. A configuration that was built in code is checked like one from a file; its
    /// problems have no place.
    pub fn check(&self) -> Diagnostics {
        self.check_with(&[])
    }

    /// As [`GatewayConfig::check`], for a gateway with middlewares of these `types` beside those that every
    /// gateway has.
    pub fn check_with(&self, types: &[&str]) -> Diagnostics {
        self.checked(types, true)
    }

    /// As [`GatewayConfig::check_with`], for who only wants to know whether it can run: the rules are not looked at
    /// together, which takes longest.
    pub(crate) fn check_errors(&self, types: &[&str]) -> Diagnostics {
        self.checked(types, false)
    }

    fn checked(&self, types: &[&str], surveys: bool) -> Diagnostics {
        let found = self.problems(None, true, surveys);
        let mut diagnostics = Diagnostics::new(found.all, &Files::default(), &[]);
        self.unknown_types(types, &mut diagnostics);
        diagnostics
    }

    /// `whole` is false where parts could not be read: nothing is said then that depends on what is not there.
    pub(super) fn problems(&self, tree: Option<Tree<'_>>, whole: bool, surveys: bool) -> Found {
        let mut check = Check {
            config: self,
            tree,
            whole,
            problems: Vec::new(),
            unusable: Vec::new(),
        };
        check.entrypoints();
        check.admin();
        check.access_log();
        check.dns();
        check.tracing();
        check.ranges();
        check.redirects();
        check.tls_of_clients();
        check.routers();
        if whole && surveys {
            check.survey();
        }
        check.services();
        check.leads();
        check.protocols();
        check.middlewares();
        check.unused();
        check.tests();
        Found {
            all: check.problems,
            unusable: check.unusable,
        }
    }
}

/// What was found.
pub(super) struct Found {
    /// What keeps a configuration from being used, and what is probably not meant.
    pub(super) all: Vec<Problem>,
    /// What keeps it from being started with. A gateway that runs has what it read from these files before.
    pub(super) unusable: Vec<Problem>,
}

struct Check<'a> {
    config: &'a GatewayConfig,
    tree: Option<Tree<'a>>,
    whole: bool,
    problems: Vec<Problem>,
    unusable: Vec<Problem>,
}

impl Check<'_> {
    /// Reports a problem at the value of `path`; silent where something on the way was reported already.
    fn report(&mut self, path: &[Key<'_>], problem: Problem) {
        let place = match &self.tree {
            Some(tree) => tree.look(path),
            None => Some(None),
        };
        let Some(at) = place else { return };
        let mut problem = Problem { at, ..problem };
        if let Some(node) = self.tree.as_ref().and_then(|tree| tree.hidden(path)) {
            // The message may quote the value, and the value may be a secret in the wrong place.
            let summary = problem.code.summary();
            (problem.message, problem.help) = match &node.kind {
                Kind::Str(text) if text.is_empty() => (
                    format!("a value from outside this file is empty: {summary}"),
                    Some("set the variable, or write something into the file".to_owned()),
                ),
                _ => (format!("a value from outside this file: {summary}"), None),
            };
        }
        self.problems.push(problem);
    }

    /// Whether a value is what was written, or the default of what was not; not where it stands in for something that
    /// could not be read.
    fn is_read(&self, path: &[Key<'_>]) -> bool {
        let tree = self.tree.as_ref();
        tree.is_none_or(|tree| tree.look(path).is_some())
    }

    /// The place of a value, for problems that name a second one.
    fn at(&self, path: &[Key<'_>]) -> Option<super::source::At> {
        self.tree.as_ref()?.look(path)?
    }

    fn entrypoints(&mut self) {
        let config = self.config;
        let is_there = |tree: &Tree<'_>| !tree.is_empty(&keys!["entrypoints"]);
        // One that could not be read is told of.
        if config.entrypoints.is_empty() && !self.tree.as_ref().is_some_and(is_there) {
            let problem = Problem::new(
                Code::NoEntrypoint,
                "there is no entrypoint: nothing would listen",
            );
            let help = "add `entrypoints \"web\" { address = \"0.0.0.0:8080\" }`".to_owned();
            self.report(&keys!["entrypoints"], problem.help(help));
        }
        let mut owners: HashMap<Listener, Option<&str>> = HashMap::new();
        // A port of UDP is another one than that of TCP.
        let mut udp_owners = HashMap::new();
        for (name, entrypoint) in &config.entrypoints {
            self.name("entrypoints", "entrypoint", name);
            let owners = match entrypoint.protocol {
                Protocol::Udp => &mut udp_owners,
                Protocol::Http | Protocol::Tcp => &mut owners,
            };
            self.listener(owners, &entrypoint.address, Some(name));
            self.uses("entrypoint", "entrypoints", name, &entrypoint.middlewares);
            let is_unix = matches!(entrypoint.address, Address::Unix(_));
            if is_unix && !entrypoint.tcp_allowed_ips.is_empty() {
                let message = "the clients of a Unix socket have no address to be judged by";
                let place = keys!["entrypoints", name, "tcp_allowed_ips"];
                self.report(&place, Problem::new(Code::Choice, message));
            }
        }
        if let Some(admin) = &config.admin {
            self.listener(&mut owners, &admin.address, None);
        }
    }

    fn admin(&mut self) {
        let Some(admin) = &self.config.admin else {
            return;
        };
        match &admin.token {
            Some(token) if token.matches(b"") => {
                let problem = Problem::new(Code::InvalidValue, "the token is empty");
                self.report(&keys!["admin", "token"], problem);
            }
            None if admin.allowed_ips.is_empty() && !admin.address.is_local() => {
                let message = "the admin API listens beyond this machine and asks for no token";
                let help = "add `token` or `allowed_ips`, or listen on 127.0.0.1".to_owned();
                let problem = Problem::new(Code::OpenAdmin, message).help(help);
                self.report(&keys!["admin", "address"], problem);
            }
            _ => {}
        }
    }

    /// Two listeners of one address; the admin API's has no name.
    fn listener<'c>(
        &mut self,
        owners: &mut HashMap<Listener, Option<&'c str>>,
        address: &Address,
        name: Option<&'c str>,
    ) {
        let place = |name| match name {
            Some(name) => vec![
                Key::Name("entrypoints"),
                Key::Name(name),
                Key::Name("address"),
            ],
            None => vec![Key::Name("admin"), Key::Name("address")],
        };
        let what = |name| match name {
            Some(name) => format!("entrypoint `{name}`"),
            None => "the admin API".to_owned(),
        };
        let Some(listener) = Listener::of(address) else {
            return;
        };
        if let Some(owner) = owners.get(&listener) {
            let message = format!(
                "{} listens on `{address}`, and so does {}",
                what(name),
                what(*owner)
            );
            let problem =
                Problem::new(Code::SameAddress, message).also(self.at(&place(*owner)), "also here");
            self.report(&place(name), problem);
            return;
        }
        owners.insert(listener, name);
    }

    /// Names are printed, compared and put into metrics; `@` is for the names that providers give.
    fn name(&mut self, section: &'static str, what: &str, name: &str) {
        self.label(&[Key::Name(section), Key::Entry(name)], what, name);
    }

    fn label(&mut self, place: &[Key<'_>], what: &str, name: &str) {
        let message = match name {
            "" => format!("the {what} has no name"),
            _ if name.contains('@') => format!("the name `{name}` has an `@`, which is reserved"),
            _ if name.chars().any(char::is_control) => {
                format!("the name of the {what} has a control character in it")
            }
            _ => return,
        };
        self.report(place, Problem::new(Code::InvalidValue, message));
    }
}

/// An address as far as the system tells it from another one.
#[derive(PartialEq, Eq, Hash)]
enum Listener {
    /// Every address, IPv4 and IPv6.
    Any(u16),
    Other(String),
}

impl Listener {
    /// None for port 0, which is a new one each time.
    fn of(address: &Address) -> Option<Listener> {
        match address {
            Address::Socket(socket) if socket.port() == 0 => None,
            Address::Host { port: 0, .. } => None,
            Address::Socket(socket) if socket.ip().is_unspecified() => {
                Some(Listener::Any(socket.port()))
            }
            Address::Socket(SocketAddr::V6(v6)) if v6.ip().to_ipv4_mapped().is_some() => {
                let ip = IpAddr::V6(*v6.ip()).to_canonical();
                Some(Listener::Other(SocketAddr::new(ip, v6.port()).to_string()))
            }
            address => Some(Listener::Other(address.to_string().to_lowercase())),
        }
    }
}

#[cfg(test)]
mod tests;
