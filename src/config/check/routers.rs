//! Routers: what they refer to, and which of them can never be reached.

use super::Check;
use super::place::{Key, keys};
use super::protocols::kind;
use crate::config::code::Code;
use crate::config::diagnostic::{Problem, did_you_mean};
use crate::config::{ADMIN_SERVICE, EntrypointConfig, RouterConfig};
use crate::rule::{Protocol, Rule, RuleError};
use std::collections::{HashMap, HashSet};
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
        if self.whole {
            self.overlaps();
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

    /// Among routers of one rule, only the first of the highest priority is ever reached.
    fn overlaps(&mut self) {
        let config = self.config;
        let mut groups: HashMap<_, Vec<(&String, &RouterConfig)>> = HashMap::new();
        let mut order = Vec::new();
        for (name, router) in &config.routers {
            let Some(protocol) = self.protocol_of(router) else {
                continue;
            };
            if router.rule.rule(protocol).is_err() {
                continue;
            }
            // What is passed through and what is not are not the same connections, as a rule.
            let rule = (protocol, router.passes_tls(), normal(router.rule.as_str()));
            let group = groups.entry(rule.clone()).or_default();
            group.push((name, router));
            if group.len() == 2 {
                order.push(rule);
            }
        }
        for rule in order {
            self.overlap(rule.0, &groups[&rule]);
        }
    }

    fn overlap(&mut self, protocol: Protocol, group: &[(&String, &RouterConfig)]) {
        let config = self.config;
        let entrypoints = |router: &RouterConfig| -> Vec<&String> {
            let entrypoints = config.entrypoints_of(router);
            entrypoints.map(|(name, _)| name).collect()
        };
        let kind = kind(protocol);
        let mut best: HashMap<&String, (&String, &RouterConfig)> = HashMap::new();
        for (name, router) in group {
            for entrypoint in entrypoints(router) {
                let first = best.entry(entrypoint).or_insert((name, router));
                if router.rank(protocol) > first.1.rank(protocol) {
                    *first = (name, router);
                }
            }
        }
        for (name, router) in group {
            let winners: Vec<_> = entrypoints(router)
                .into_iter()
                .map(|entrypoint| best[entrypoint])
                .collect();
            let Some((winner, first)) = winners.first().copied() else {
                continue;
            };
            if winners.iter().any(|(winner, _)| winner == name) {
                continue;
            }
            let also = self.at(&keys!["routers", winner, "rule"]);
            let problem = match first.rank(protocol) == router.rank(protocol) {
                true => {
                    let message = format!(
                        "routers `{winner}` and `{name}` match the same {kind} at the same priority: the first takes them all"
                    );
                    Problem::new(Code::SamePriority, message)
                }
                false => {
                    let message = format!(
                        "router `{name}` is never reached: `{winner}` matches the same {kind} at a higher priority"
                    );
                    Problem::new(Code::Unreachable, message)
                }
            };
            self.report(
                &keys!["routers", *name, "rule"],
                problem.also(also, "the other one"),
            );
        }
    }
}

/// A rule without the white space and the order that mean nothing: `A && B` and `B&&A` are one.
fn normal(rule: &str) -> String {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut quote, mut escaped, mut depth, mut ordered) = (None, false, 0usize, false);
    let mut chars = rule.chars().peekable();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some('"'), _) if escaped => escaped = false,
            (Some('"'), '\\') => escaped = true,
            (Some(open), _) if open == char => quote = None,
            (Some(_), _) => {}
            (None, '"' | '`') => quote = Some(char),
            (None, char) if char.is_whitespace() => continue,
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, '|' | '/') => ordered = true,
            (None, '&') if depth == 0 && chars.next_if_eq(&'&').is_some() => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(char);
    }
    parts.push(part);
    // With `||` the order of parts has a meaning, and a comment is not taken apart.
    match ordered {
        true => rule.to_owned(),
        false => {
            parts.sort();
            parts.join("&&")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn the_order_of_conjunctions_and_white_space_mean_nothing() {
        for (left, right, same) in [
            ("Host(`a`) && Path(`/b`)", "Path( `/b` )&&Host(`a`)", true),
            ("Host(`a b`)", "Host(`ab`)", false),
            (
                "Host(`a`) || Path(`/b`) && Path(`/c`)",
                "Path(`/c`) && Host(`a`) || Path(`/b`)",
                false,
            ),
            ("Path(`/a&&b`)", "Path(`b&&/a`)", false),
            (r#"Host("a\" && b")"#, r#"Host("b && a\"")"#, false),
            ("!(A() && B())", "!(B() && A())", false),
        ] {
            assert_eq!(normal(left) == normal(right), same, "{left} {right}");
        }
    }
}
