//! Reads the sections of the tree, and goes on after each problem until there is none left.

use super::code::Code;
use super::de::{Context, Reader};
use super::diagnostic::{Problem, did_you_mean};
use super::fault::{Fault, Step};
use super::tree::{Entry, Kind, Map, Node};
use super::{GatewayConfig, ProvidersConfig};
use indexmap::IndexMap;
use serde::de::DeserializeOwned;

/// Past this many problems the rest is not worth listing.
pub(crate) const MAX_PROBLEMS: usize = 200;

const KEYS: [&str; 14] = [
    "shutdown_timeout_secs",
    "entrypoints",
    "routers",
    "services",
    "middlewares",
    "providers",
    "dns",
    "admin",
    "test",
    "on_test_failure",
    "log",
    "access_log",
    "metrics",
    "tracing",
];

/// Reads sections; problems gather in it.
pub(crate) struct Sections<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) problems: Vec<Problem>,
}

impl Sections<'_> {
    /// Reads everything but the providers, which are read first because they name more files.
    pub(crate) fn config(&mut self, root: &mut Map, providers: ProvidersConfig) -> GatewayConfig {
        for (key, entry) in &root.entries {
            if !KEYS.contains(&key.as_str()) {
                let mut known = KEYS.iter().copied().chain(["variables"]);
                let help = did_you_mean(key, known.by_ref());
                let help = help
                    .unwrap_or_else(|| format!("known here: `{}`, `variables`", KEYS.join("`, `")));
                let problem = Problem::new(Code::UnknownKey, format!("unknown key `{key}`"));
                self.problems.push(problem.at(entry.key_at).help(help));
            }
        }
        let default = GatewayConfig::default();
        GatewayConfig {
            shutdown_timeout_secs: (self.section(root, "shutdown_timeout_secs"))
                .unwrap_or(default.shutdown_timeout_secs),
            entrypoints: self.named(root, "entrypoints"),
            routers: self.named(root, "routers"),
            services: self.named(root, "services"),
            middlewares: self.named(root, "middlewares"),
            providers,
            dns: self.section(root, "dns").unwrap_or_default(),
            admin: self.section(root, "admin"),
            tests: self.named(root, "test"),
            on_test_failure: self.section(root, "on_test_failure").unwrap_or_default(),
            test_places: default.test_places,
            log: self.section(root, "log").unwrap_or_default(),
            access_log: self.section(root, "access_log"),
            metrics: self.section(root, "metrics").unwrap_or_default(),
            tracing: self.section(root, "tracing"),
            source: None,
        }
    }

    pub(crate) fn section<T: DeserializeOwned>(&mut self, root: &mut Map, key: &str) -> Option<T> {
        let node = &mut root.entries.get_mut(key)?.value;
        if node.is_null() {
            return None;
        }
        let value = self.read(node);
        if value.is_none() {
            root.entries.shift_remove(key);
            root.taken.push(key.to_owned());
        }
        value
    }

    /// A section of named blocks, each read on its own.
    fn named<T: DeserializeOwned>(&mut self, root: &mut Map, key: &str) -> IndexMap<String, T> {
        let Some(entry) = root.entries.get_mut(key) else {
            return IndexMap::new();
        };
        let section = &mut entry.value;
        if section.is_null() {
            return IndexMap::new();
        }
        if !matches!(section.kind, Kind::Map(_)) {
            if !section.is_stand_in() {
                let message = format!("expected named blocks, found {}", section.what());
                let problem = Problem::new(Code::WrongType, message).at(section.at);
                self.problems
                    .push(problem.help(format!("write `{key} \"name\" {{ }}`")));
            }
            section.kind = Kind::StandIn;
            return IndexMap::new();
        }
        let Some(map) = section.as_map_mut() else {
            return IndexMap::new();
        };
        let mut blocks = IndexMap::with_capacity(map.entries.len());
        let mut is_told = false;
        for (name, entry) in &mut map.entries {
            if self.problems.len() > MAX_PROBLEMS {
                break;
            }
            if entry.value.is_null() {
                continue;
            }
            if is_nameless(key, name, &entry.value) {
                let message = format!("the block around `{name}` has no name");
                let problem = Problem::new(Code::MissingKey, message).at(entry.key_at);
                let problem = problem.help(format!("write `{key} \"name\" {{`"));
                self.problems
                    .extend((!std::mem::replace(&mut is_told, true)).then_some(problem));
                entry.value.kind = Kind::StandIn;
                continue;
            }
            if !matches!(
                entry.value.kind,
                Kind::Map(_) | Kind::List(_) | Kind::StandIn
            ) {
                let message = format!("expected a block, found {}", entry.value.what());
                let problem = Problem::new(Code::WrongType, message).at(entry.key_at);
                self.problems.push(problem.help(format!(
                    "each of the {key} has a name: `{key} \"name\" {{ }}`"
                )));
                entry.value.kind = Kind::StandIn;
                continue;
            }
            match self.read(&mut entry.value) {
                Some(block) => {
                    blocks.insert(name.clone(), block);
                }
                None => entry.value.kind = Kind::StandIn,
            }
        }
        blocks
    }

    /// Reads one value. What is to blame for a problem is taken out, and the rest tried again.
    fn read<T: DeserializeOwned>(&mut self, node: &mut Node) -> Option<T> {
        loop {
            let mut fault: Fault = match T::deserialize(Reader::new(node, self.context)) {
                Ok(value) => return Some(value),
                Err(fault) => fault,
            };
            fault.path.reverse();
            let known = match fault.missing {
                Some(key) => find(node, &fault.path).is_some_and(|node| is_taken(node, key)),
                None => false,
            };
            let problem = fault.problem.take().filter(|_| !known);
            self.problems.extend(problem.map(|problem| *problem));
            if self.problems.len() > MAX_PROBLEMS || !repair(node, &fault) {
                return None;
            }
        }
    }
}

fn find<'n>(node: &'n mut Node, path: &[Step]) -> Option<&'n mut Node> {
    path.iter()
        .try_fold(node, |node, step| match (&mut node.kind, step) {
            (Kind::Map(map), Step::Key(key)) => {
                map.entries.get_mut(key).map(|entry| &mut entry.value)
            }
            (Kind::List(list), Step::Index(index)) => list.items.get_mut(*index),
            _ => None,
        })
}

fn is_taken(node: &mut Node, key: &str) -> bool {
    node.as_map_mut()
        .is_some_and(|map| map.taken.iter().any(|taken| taken == key))
}

/// Makes it possible to go on: puts a stand-in where a key is missing, or takes out what is to blame.
fn repair(node: &mut Node, fault: &Fault) -> bool {
    if let Some(key) = fault.missing
        && let Some(Node { kind: Kind::Map(map), at, .. }) = find(node, &fault.path)
        // Where even a stand-in was not accepted, the block goes.
        && map.taken.iter().filter(|taken| *taken == key).count() < 2
    {
        map.taken.push(key.to_owned());
        let entry = Entry {
            key_at: *at,
            value: Node::stand_in(*at),
        };
        map.entries.insert(key.to_owned(), entry);
        return true;
    }
    let Some((last, outer)) = fault.path.split_last() else {
        return false;
    };
    match (find(node, outer).map(|node| &mut node.kind), last) {
        (Some(Kind::Map(map)), Step::Key(key)) => {
            map.taken.push(key.clone());
            map.entries.shift_remove(key).is_some()
        }
        (Some(Kind::List(list)), Step::Index(index)) => match list.items.get_mut(*index) {
            Some(item) if !item.is_stand_in() => {
                item.kind = Kind::StandIn;
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// Whether a block is one of those within a named block, whose name is missing: then it looks like a name.
fn is_nameless(section: &str, name: &str, block: &Node) -> bool {
    let inner: &[&str] = match section {
        "test" => &["request", "expect"],
        "services" => &["load_balancer", "revisions", "respond", "websocket_hub"],
        _ => return false,
    };
    let Kind::Map(map) = &block.kind else {
        return false;
    };
    inner.contains(&name) && !inner.iter().any(|key| map.entries.contains_key(*key))
}
