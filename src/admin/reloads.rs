//! How the changes of the configuration have ended, the last of them, and what each was about.

use crate::config::{Diagnostic, GatewayConfig};
use indexmap::IndexMap;
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// How many are remembered.
const MOST: usize = 50;

/// How many problems, and how many changes, of each.
const MOST_OF_ONE: usize = 100;

/// Why a configuration does not run.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Problem {
    /// It is written wrong, and there.
    Written(Box<Diagnostic>),
    /// The world is not as it needs it.
    World {
        /// What is wrong.
        message: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written(diagnostic) => diagnostic.fmt(f),
            Self::World { message } => f.write_str(message),
        }
    }
}

/// A block of the configuration that is another one than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The block: `router`, `service` and so on.
    pub kind: &'static str,
    /// Its name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `added`, `changed`, `removed` or, of all together, `reordered`.
    pub change: &'static str,
}

/// Changes in one line: ten names of each sort, and how many more there are.
#[derive(Debug)]
pub struct InOneLine<'c>(pub &'c [Change]);

impl fmt::Display for InOneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST_NAMES: usize = 10;
        let mut sorts: IndexMap<_, Vec<&str>> = IndexMap::new();
        for change in self.0 {
            let names = sorts.entry((change.kind, change.change)).or_default();
            names.extend(change.name.as_deref());
        }
        for (index, ((kind, change), names)) in sorts.iter().enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}{kind} {change}")?;
            for (index, name) in names.iter().take(MOST_NAMES).enumerate() {
                let before = if index == 0 { ": " } else { ", " };
                write!(f, "{before}{}", name.escape_debug())?;
            }
            if let Some(more @ 1..) = names.len().checked_sub(MOST_NAMES) {
                write!(f, " and {more} more")?;
            }
        }
        Ok(())
    }
}

/// How one change ended.
#[derive(Debug, Serialize)]
struct Record {
    at: u64,
    /// Whether it was the start.
    start: bool,
    success: bool,
    problems: Vec<Problem>,
    /// How many problems there were beside those.
    more_problems: usize,
    changes: Vec<Change>,
    /// How many changes there were beside those.
    more_changes: usize,
}

/// The last changes, the newest first.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<VecDeque<Arc<Record>>>);

impl History {
    /// Notes one that ended in the second `at`; without problems it took effect.
    pub(super) fn note(&self, at: u64, mut problems: Vec<Problem>, mut changes: Vec<Change>) {
        let more = |count: usize| count.saturating_sub(MOST_OF_ONE);
        let (more_problems, more_changes) = (more(problems.len()), more(changes.len()));
        let success = problems.is_empty();
        problems.truncate(MOST_OF_ONE);
        changes.truncate(MOST_OF_ONE);
        changes.shrink_to_fit();
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let record = Record {
            at,
            start: records.is_empty(),
            success,
            problems,
            more_problems,
            changes,
            more_changes,
        };
        records.truncate(MOST - 1);
        records.push_front(Arc::new(record));
    }

    /// As the admin API shows them.
    pub(super) fn shown(&self) -> serde_json::Value {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let records: Vec<_> = records.iter().cloned().collect();
        serde_json::json!(records.iter().map(|record| &**record).collect::<Vec<_>>())
    }
}

/// What `new` has that `old` has not, block by block.
pub fn changes(old: &GatewayConfig, new: &GatewayConfig) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(
        "entrypoint",
        &old.entrypoints,
        &new.entrypoints,
        &mut changes,
    );
    compare("router", &old.routers, &new.routers, &mut changes);
    compare("service", &old.services, &new.services, &mut changes);
    compare(
        "middleware",
        &old.middlewares,
        &new.middlewares,
        &mut changes,
    );
    compare("test", &old.tests, &new.tests, &mut changes);
    let timeouts = old.shutdown_timeout_secs == new.shutdown_timeout_secs;
    for (kind, is_same) in [
        ("shutdown_timeout_secs", timeouts),
        ("providers", old.providers == new.providers),
        ("dns", old.dns == new.dns),
        ("admin", old.admin == new.admin),
        ("access_log", old.access_log == new.access_log),
        ("log", old.log == new.log),
        ("metrics", old.metrics == new.metrics),
        ("tracing", old.tracing == new.tracing),
        (
            "on_test_failure",
            old.on_test_failure == new.on_test_failure,
        ),
    ] {
        if !is_same {
            changes.push(Change {
                kind,
                name: None,
                change: "changed",
            });
        }
    }
    changes
}

fn compare<T: PartialEq>(
    kind: &'static str,
    old: &IndexMap<String, T>,
    new: &IndexMap<String, T>,
    changes: &mut Vec<Change>,
) {
    let before = changes.len();
    let change = |name: &String, change| Change {
        kind,
        name: Some(name.clone()),
        change,
    };
    for (name, value) in new {
        match old.get(name) {
            None => changes.push(change(name, "added")),
            Some(known) if known != value => changes.push(change(name, "changed")),
            Some(_) => {}
        }
    }
    let removed = old.keys().filter(|name| !new.contains_key(*name));
    changes.extend(removed.map(|name| change(name, "removed")));
    if changes.len() == before && !old.keys().eq(new.keys()) {
        changes.push(Change {
            kind,
            name: None,
            change: "reordered",
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(routers: &[(&str, &str)]) -> GatewayConfig {
        let routers = routers.iter().map(|(name, path)| {
            format!(
                "routers \"{name}\" {{\n rule = \"Path(`{path}`)\"\n service = \"admin@internal\"\n}}\n"
            )
        });
        let entrypoint = "entrypoints \"web\" { address = \"127.0.0.1:0\" }\n";
        let text: String = std::iter::once(entrypoint.to_owned())
            .chain(routers)
            .collect();
        GatewayConfig::from_hcl(&text).unwrap()
    }

    fn told(old: &GatewayConfig, new: &GatewayConfig) -> String {
        let changes = changes(old, new);
        let told = changes.iter().map(|change| {
            let name = change.name.as_deref().unwrap_or("-");
            format!("{} {name} {}", change.kind, change.change)
        });
        told.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_changed_is_told_block_by_block() {
        let old = config(&[("a", "/a"), ("b", "/b"), ("c", "/c")]);
        assert_eq!(told(&old, &old), "");
        let new = config(&[("a", "/a"), ("b", "/x"), ("d", "/d")]);
        assert_eq!(
            told(&old, &new),
            "router b changed, router d added, router c removed"
        );
        let turned = config(&[("b", "/b"), ("a", "/a"), ("c", "/c")]);
        assert_eq!(told(&old, &turned), "router - reordered");
        let slower = GatewayConfig {
            shutdown_timeout_secs: 1,
            admin: Some(Default::default()),
            ..old.clone()
        };
        assert_eq!(
            told(&old, &slower),
            "shutdown_timeout_secs - changed, admin - changed"
        );
    }

    #[test]
    fn a_line_has_ten_names_of_each_sort() {
        let change = |name: usize, change| Change {
            kind: "router",
            name: Some(format!("r{name}")),
            change,
        };
        let mut all: Vec<_> = (0..12).map(|name| change(name, "added")).collect();
        all.push(change(99, "removed"));
        all.push(Change {
            kind: "log",
            name: None,
            change: "changed",
        });
        assert_eq!(
            InOneLine(&all).to_string(),
            "router added: r0, r1, r2, r3, r4, r5, r6, r7, r8, r9 and 2 more; router removed: r99; log changed"
        );
        assert_eq!(InOneLine(&all[..10]).to_string().matches("more").count(), 0);
        assert_eq!(InOneLine(&[]).to_string(), "");
    }

    #[test]
    fn the_last_are_remembered_and_no_more() {
        let history = History::default();
        for at in 0..60 {
            let message = "no".to_owned();
            let problems = vec![Problem::World { message }; at % 2 * 150];
            history.note(at as u64, problems, Vec::new());
        }
        let shown = history.shown();
        let shown = shown.as_array().unwrap();
        assert_eq!(shown.len(), MOST);
        assert_eq!(
            (&shown[0]["at"], &shown[0]["success"]),
            (&59.into(), &false.into())
        );
        assert_eq!(shown[0]["problems"].as_array().unwrap().len(), MOST_OF_ONE);
        assert_eq!(shown[0]["more_problems"], 50);
        assert_eq!(
            (&shown[1]["success"], &shown[1]["start"]),
            (&true.into(), &false.into())
        );
    }
}
