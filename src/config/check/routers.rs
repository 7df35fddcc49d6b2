//! Routers: what they refer to, and which of them can never be reached.

use super::Check;
use super::place::{Key, keys};
use crate::config::code::Code;
use crate::config::diagnostic::{Problem, did_you_mean};
use crate::config::{ADMIN_SERVICE, EntrypointConfig, RouterConfig};
use crate::rule::{Protocol, Rule, RuleError};
use std::collections::HashSet;
use std::ops::Range;

/// Past this many problems no suggestion is looked for: each costs a walk over every name.
const MAX_SUGGESTIONS: usize = 50;

impl Check<'_> {
    pub(super) fn routers(&mut self) {
        let config = self.config;
        for (name, router) in &config.routers {
            self.name("routers", "router", name);
            if !self.exists("services", &router.service) && router.service != ADMIN_SERVICE {
                let message = format!(
                    "router `{name}` names the unknown service `{}`",
                    router.service
                );
                let names = config
                    .services
                    .keys()
                    .map(String::as_str)
                    .chain([ADMIN_SERVICE]);
                self.unknown(
                    &keys!["routers", name, "service"],
                    message,
                    &router.service,
                    names,
                );
            }
            let mut seen = HashSet::new();
            for (index, entrypoint) in router.entrypoints.iter().enumerate() {
                let place = keys!["routers", name, "entrypoints", index];
                if !seen.insert(entrypoint) {
                    let message = format!("router `{name}` names entrypoint `{entrypoint}` twice");
                    self.report(&place, Problem::new(Code::Duplicate, message));
                } else if !self.exists("entrypoints", entrypoint) {
                    let message =
                        format!("router `{name}` names the unknown entrypoint `{entrypoint}`");
                    let names = config.entrypoints.keys().map(String::as_str);
                    self.unknown(&place, message, entrypoint, names);
                }
            }
            self.uses("router", "routers", name, &router.middlewares);
            self.rule(name, router);
        }
    }

    fn rule(&mut self, name: &str, router: &RouterConfig) {
        let place = |span: Range<usize>| {
            let [routers, rule] = ["routers", "rule"].map(Key::Name);
            [routers, Key::Name(name), rule, span.into()]
        };
        let config = self.config;
        match self.parsed(router) {
            Ok(rule) => {
                for warning in rule.warnings() {
                    let message = format!("router `{name}`: {}", warning.message);
                    let problem = Problem::new(Code::RuleWarning, message).help(warning.help);
                    self.report(&place(warning.span), problem);
                }
                let blind = self.blind(name, router);
                if let Some((span, entrypoint)) = rule.client_hello().zip(blind) {
                    let message = format!(
                        "what a TLS client says of itself is not looked at: entrypoint `{entrypoint}` has no `tls`, and the router passes none through"
                    );
                    let help =
                        "add `tls { passthrough = true }`, or write HostSNI(`*`), or ClientIP";
                    let problem = Problem::new(Code::InvalidValue, message);
                    self.report(&place(span), problem.help(help.to_owned()));
                }
                let listens = config.entrypoints_of(router).next().is_some();
                let is_meant = !router.entrypoints.is_empty() || config.entrypoints.is_empty();
                if self.whole && !listens && !is_meant {
                    let message =
                        format!("router `{name}` is never reached: no entrypoint speaks HTTP");
                    let problem = Problem::new(Code::Unreachable, message);
                    let help = self.lacks_entrypoint(router);
                    self.report(&keys!["routers", name], problem.help(help));
                }
            }
            Err(error) => {
                let problem = Problem::new(Code::InvalidValue, &error.message);
                let help = self.lacks_entrypoint(router).or(error.help.clone());
                self.report(&place(error.span.clone()), problem.help(help));
            }
        }
    }

    /// The entrypoint of a router where TLS is neither ended nor passed through.
    fn blind(&self, name: &str, router: &RouterConfig) -> Option<String> {
        let is_blind = |(name, each): &(&String, &EntrypointConfig)| {
            each.tls.is_none() && self.is_read(&keys!["entrypoints", name.as_str(), "tls"])
        };
        let is_known = self.is_read(&keys!["routers", name, "tls", "passthrough"]);
        let found = self.config.entrypoints_of(router).find(is_blind);
        let found = found.filter(|_| is_known && !router.passes_tls());
        found.map(|(name, _)| name.clone())
    }

    /// The rule of a router, as what its entrypoints make of it.
    fn parsed<'r>(&self, router: &'r RouterConfig) -> Result<&'r Rule, &'r RuleError> {
        let rule = |protocol| router.rule.rule(protocol);
        match self.protocol_of(router) {
            Some(protocol) => rule(protocol),
            // Where nobody knows, the one that makes more of it is meant.
            None => rule(Protocol::Http).or_else(|http| {
                rule(Protocol::Tcp).map_err(|tcp| match tcp.span.start > http.span.start {
                    true => tcp,
                    false => http,
                })
            }),
        }
    }

    /// What to do where a rule is none of requests, and its router names no entrypoint of what it is of.
    fn lacks_entrypoint(&self, router: &RouterConfig) -> Option<String> {
        let entrypoints = &mut self.config.entrypoints.iter();
        let (name, protocol) = entrypoints.find_map(|(name, each)| {
            let protocol = each.given_to(router);
            let is_meant = protocol != Protocol::Http && router.rule.rule(protocol).is_ok();
            is_meant.then_some((name, protocol))
        })?;
        let kind = match protocol {
            Protocol::Udp => "UDP",
            _ => "TCP",
        };
        let is_absent = router.entrypoints.is_empty();
        is_absent.then(|| format!("name an entrypoint of {kind}: `entrypoints = [\"{name}\"]`"))
    }

    /// Whether something of this name was declared, even if it could not be read.
    pub(super) fn exists(&self, section: &'static str, name: &str) -> bool {
        match (&self.tree, section) {
            (Some(tree), _) => tree.declares(section, name),
            (None, "services") => self.config.services.contains_key(name),
            (None, "middlewares") => self.config.middlewares.contains_key(name),
            (None, _) => self.config.entrypoints.contains_key(name),
        }
    }

    pub(super) fn unknown<'n>(
        &mut self,
        path: &[Key<'_>],
        message: String,
        written: &str,
        names: impl Iterator<Item = &'n str>,
    ) {
        let help = match self.problems.len() < MAX_SUGGESTIONS {
            true => did_you_mean(written, names),
            false => None,
        };
        let problem = Problem::new(Code::UnknownReference, message).help(help);
        self.report(path, problem);
    }
}
