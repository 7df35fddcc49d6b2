//! Routers taken together: those that get nothing, and those that take some of the same.

use super::Check;
use super::place::keys;
use super::protocols::kind;
use crate::config::code::{Code, Severity};
use crate::config::diagnostic::Problem;
use crate::rule::{Budget, Example, Finding, Protocol, Route, Sees, Table, survey};
use indexmap::IndexMap;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How much is looked at, in comparisons of a matcher with something.
const MAX_COMPARISONS: usize = 5_000_000;

/// A router by its name, and what it takes.
type Named<'c> = (&'c String, Protocol);

/// Routers that stand together, at one entrypoint or at several.
struct Crowd {
    sees: Sees,
    table: Table<()>,
    entrypoints: usize,
}

impl Check<'_> {
    /// What is found at each entrypoint. A router that gets something at one of its entrypoints is reached.
    pub(super) fn survey(&mut self) {
        // What is wrong with a router has been told; the rest waits until it is right.
        let is_error = |problem: &Problem| problem.code.severity() == Severity::Error;
        if self.problems.iter().any(is_error) {
            return;
        }
        let mut findings = Vec::new();
        let mut lost: HashMap<Arc<str>, usize> = HashMap::new();
        let budget = Budget::new(MAX_COMPARISONS);
        for Crowd {
            sees,
            table,
            entrypoints,
        } in self.crowds()
        {
            for finding in survey(&table, sees, &budget) {
                if let Finding::Impossible { router } | Finding::Shadowed { router, .. } = &finding
                {
                    *lost.entry(Arc::clone(router)).or_default() += entrypoints;
                }
                findings.push(finding);
            }
        }
        let config = self.config;
        let is_reached = |router: &str| {
            let entrypoints = config
                .routers
                .get(router)
                .map(|router| config.entrypoints_of(router).count());
            entrypoints > lost.get(router).copied()
        };
        let mut told = HashSet::new();
        for finding in findings {
            match finding {
                Finding::Impossible { router } => {
                    if !is_reached(&router) && told.insert((Arc::clone(&router), None)) {
                        self.impossible(&router);
                    }
                }
                Finding::Shadowed {
                    router,
                    by,
                    example,
                    but_whole_server,
                } => {
                    if !is_reached(&router) && told.insert((Arc::clone(&router), None)) {
                        self.shadowed(&router, &by, example, but_whole_server);
                    }
                }
                Finding::Ambiguous {
                    first,
                    second,
                    example,
                } => {
                    let pair = (Arc::clone(&second), Some(Arc::clone(&first)));
                    if told.insert(pair) {
                        self.ambiguous(&first, &second, example);
                    }
                }
            }
        }
    }

    /// The routers of each entrypoint, as they are looked up there.
    fn crowds(&self) -> Vec<Crowd> {
        let config = self.config;
        let mut places: IndexMap<(&String, Sees), Vec<Named<'_>>> = IndexMap::new();
        for (name, router) in &config.routers {
            let Some(protocol) = self.protocol_of(router) else {
                continue;
            };
            for (entrypoint, its) in config.entrypoints_of(router) {
                // What is passed through, or ended here, begins with TLS.
                let sees = match protocol {
                    Protocol::Http => Sees::Requests,
                    Protocol::Tcp if router.passes_tls() || its.tls.is_some() => Sees::Tls,
                    Protocol::Tcp | Protocol::Udp => Sees::Clients,
                };
                let place = places.entry((entrypoint, sees)).or_default();
                place.push((name, protocol));
            }
        }
        // Most routers are at all entrypoints: what is the same everywhere is looked at once.
        let mut crowds: IndexMap<(Sees, Vec<Named<'_>>), usize> = IndexMap::new();
        for ((_, sees), routers) in places {
            *crowds.entry((sees, routers)).or_default() += 1;
        }
        let route = |(name, protocol): &Named<'_>| {
            let router = &config.routers[*name];
            Some(Route {
                name: name.as_str().into(),
                priority: router.rank(*protocol),
                rule: router.rule.rule(*protocol).ok()?.clone(),
                service: (),
            })
        };
        let crowds = crowds.into_iter();
        crowds
            .map(|((sees, routers), entrypoints)| Crowd {
                sees,
                table: Table::new(routers.iter().filter_map(route).collect()),
                entrypoints,
            })
            .collect()
    }

    fn impossible(&mut self, router: &str) {
        let protocol = self.protocol_of(&self.config.routers[router]);
        let protocol = protocol.unwrap_or(Protocol::Http);
        // What in it can never match has been told.
        let rule = self.config.routers[router].rule.rule(protocol);
        if rule.is_ok_and(|rule| !rule.warnings().is_empty()) {
            return;
        }
        let what = kind(protocol);
        let message = format!("router `{router}` is never reached: no {what} can meet its rule");
        self.report(
            &keys!["routers", router, "rule"],
            Problem::new(Code::Unreachable, message),
        );
    }

    fn shadowed(&mut self, router: &str, by: &[Arc<str>], example: Example, but: bool) {
        let config = self.config;
        let protocol = self.protocol_of(&config.routers[router]);
        let protocol = protocol.unwrap_or(Protocol::Http);
        let what = kind(protocol);
        let Some(winner) = by.first() else { return };
        let rank = |name: &str| config.routers[name].rank(protocol);
        let but = if but { ", but for `OPTIONS *`" } else { "" };
        let also = self.at(&keys!["routers", &**winner, "rule"]);
        let problem = match by {
            [_] if rank(winner) == rank(router) => {
                let message = format!(
                    "router `{router}` is never reached: `{winner}` is declared before it at the same priority and takes all of its {what}{but}"
                );
                Problem::new(Code::SamePriority, message)
            }
            [_] => {
                let message = format!(
                    "router `{router}` is never reached: `{winner}` takes all of its {what} at a higher priority{but}"
                );
                Problem::new(Code::Unreachable, message)
            }
            several => {
                let names: Vec<String> = several.iter().map(|name| format!("`{name}`")).collect();
                let message = format!(
                    "router `{router}` is never reached: {} take all of its {what} before it{but}",
                    names.join(", ")
                );
                Problem::new(Code::Unreachable, message)
            }
        };
        let help = format!("for example, `{winner}` takes: {example}");
        self.shown(
            router,
            by,
            problem.also(also, "the other one"),
            help,
            example,
        );
    }

    fn ambiguous(&mut self, first: &str, second: &str, example: Example) {
        let protocol = self.protocol_of(&self.config.routers[second]);
        let what = kind(protocol.unwrap_or(Protocol::Http));
        let message = format!(
            "routers `{first}` and `{second}` take some of the same {what} at the same priority: `{first}` gets them, for it is declared before"
        );
        let also = self.at(&keys!["routers", first, "rule"]);
        let problem = Problem::new(Code::SamePriority, message).also(also, "the other one");
        let help = format!("set `priority`; for example, both take: {example}");
        self.shown(second, &[first.into()], problem, help, example);
    }

    /// Reports a problem with its example, which may hold what stands in the rules: nothing of what is not to be shown.
    fn shown(
        &mut self,
        router: &str,
        others: &[Arc<str>],
        problem: Problem,
        help: String,
        example: Example,
    ) {
        let is_hidden = |name: &str| {
            let tree = self.tree.as_ref();
            tree.is_some_and(|tree| tree.hidden(&keys!["routers", name, "rule"]).is_some())
        };
        let is_hidden = is_hidden(router) || others.iter().any(|name| is_hidden(name));
        let problem = match is_hidden {
            true => problem,
            false => problem.help(help).example(example),
        };
        self.report(&keys!["routers", router, "rule"], problem);
    }
}
