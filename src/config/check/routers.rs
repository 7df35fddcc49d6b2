//! Routers: what they refer to, and which of them can never be reached.

use super::Check;
use super::place::{Key, keys};
use crate::config::code::Code;
use crate::config::diagnostic::{Problem, did_you_mean};
use crate::config::{ADMIN_SERVICE, RouterConfig};
use crate::rule::Protocol;
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
        match router.rule.rule(Protocol::Http) {
            Ok(rule) => {
                for warning in rule.warnings() {
                    let message = format!("router `{name}`: {}", warning.message);
                    let problem = Problem::new(Code::RuleWarning, message).help(warning.help);
                    self.report(&place(warning.span), problem);
                }
            }
            Err(error) => {
                let problem = Problem::new(Code::InvalidValue, &error.message);
                let problem = problem.help(error.help.clone());
                self.report(&place(error.span.clone()), problem);
            }
        }
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
        let mut groups: HashMap<String, Vec<(&String, &RouterConfig)>> = HashMap::new();
        let mut order = Vec::new();
        for (name, router) in &config.routers {
            if router.rule.rule(Protocol::Http).is_err() {
                continue;
            }
            let rule = normal(router.rule.as_str());
            let group = groups.entry(rule.clone()).or_default();
            group.push((name, router));
            if group.len() == 2 {
                order.push(rule);
            }
        }
        for rule in order {
            self.overlap(&groups[&rule]);
        }
    }

    fn overlap(&mut self, group: &[(&String, &RouterConfig)]) {
        let config = self.config;
        let all: Vec<&String> = config.entrypoints.keys().collect();
        let entrypoints = |router: &RouterConfig| -> Vec<&String> {
            match router.entrypoints.as_slice() {
                [] => all.clone(),
                names => (names.iter())
                    .filter_map(|name| config.entrypoints.get_key_value(name))
                    .map(|(name, _)| name)
                    .collect(),
            }
        };
        let mut best: HashMap<&String, (&String, &RouterConfig)> = HashMap::new();
        for (name, router) in group {
            for entrypoint in entrypoints(router) {
                let first = best.entry(entrypoint).or_insert((name, router));
                if router.rank(Protocol::Http) > first.1.rank(Protocol::Http) {
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
            let problem = match first.rank(Protocol::Http) == router.rank(Protocol::Http) {
                true => {
                    let message = format!(
                        "routers `{winner}` and `{name}` match the same requests at the same priority: the first takes them all"
                    );
                    Problem::new(Code::SamePriority, message)
                }
                false => {
                    let message = format!(
                        "router `{name}` is never reached: `{winner}` matches the same requests at a higher priority"
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
