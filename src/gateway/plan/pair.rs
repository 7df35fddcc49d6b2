//! What two configurations have in common once both are compiled, and in what they differ.

use super::super::reload::Key;
use super::names::Names;
use super::{Action, Plan};
use crate::compile::{self, Compiled};
use crate::config::{ClientAuthConfig, GatewayConfig, RuleText};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Both configurations, as they are written and compiled.
pub(super) struct Pair<'c> {
    pub(super) running: &'c GatewayConfig,
    pub(super) new: &'c GatewayConfig,
    pub(super) before: Compiled,
    pub(super) after: Compiled,
    pub(super) names: Names,
}

impl Pair<'_> {
    pub(super) fn entrypoints(&self, plan: &mut Plan) {
        let key =
            |each: &compile::CompiledEntrypoint| Key::of(&each.name, &each.address, each.protocol);
        let before: Vec<_> = self
            .before
            .entrypoints
            .iter()
            .map(|each| (key(each), each))
            .collect();
        let mut left: BTreeSet<usize> = (0..before.len()).collect();
        for entrypoint in &self.after.entrypoints {
            let block = block_of(&entrypoint.name);
            let own = key(entrypoint);
            let Some(at) = before.iter().position(|(key, _)| *key == own) else {
                let existed = before.iter().any(|(_, each)| each.name == entrypoint.name);
                let action = if existed {
                    Action::Changed
                } else {
                    Action::Added
                };
                let effects = vec![format!("bound: {}", entrypoint.address)];
                plan.add(
                    block,
                    action,
                    self.entrypoint_keys(&entrypoint.name),
                    effects,
                );
                continue;
            };
            left.remove(&at);
            let until_now = before[at].1;
            let mut effects = Vec::new();
            if until_now.name != entrypoint.name {
                effects.push(format!("named `{}` until now", until_now.name));
            }
            if until_now.protocol != entrypoint.protocol {
                effects.push("open connections are parted with: they end, and new ones speak the other protocol".to_owned());
            }
            let keys = self.entrypoint_keys(&entrypoint.name);
            effects.extend(self.tls(&entrypoint.name).map(str::to_owned));
            if !keys.is_empty() || !effects.is_empty() {
                effects.insert(0, format!("the socket is kept: {}", entrypoint.address));
                plan.add(block, Action::Changed, keys, effects);
            }
        }
        for at in left {
            let entrypoint = before[at].1;
            let effects = vec![format!("closed and drained: {}", entrypoint.address)];
            plan.add(
                block_of(&entrypoint.name),
                Action::Removed,
                Vec::new(),
                effects,
            );
        }
    }

    /// What becomes of the TLS of an entrypoint.
    fn tls(&self, name: &str) -> Option<&'static str> {
        let of = |config: &'_ GatewayConfig| config.entrypoints.get(name)?.tls.clone();
        let (before, after) = (of(self.running), of(self.new));
        if before.is_some() != after.is_some() {
            return Some("TLS begins, or ends, for new connections");
        }
        let is_same = match (self.before.tls.get(name), self.after.tls.get(name)) {
            (Some(before), Some(after)) => before.is(after),
            // It is not compiled: then it is what is written.
            _ => before == after && asks(self.running, name) == asks(self.new, name),
        };
        let anew =
            "TLS is set up anew: certificates are read again, and tickets of before are not taken";
        (!is_same).then_some(anew)
    }

    fn entrypoint_keys(&self, name: &str) -> Vec<String> {
        if name == compile::ADMIN_ENTRYPOINT {
            return keys(self.running.admin.as_ref(), self.new.admin.as_ref());
        }
        keys(
            self.running.entrypoints.get(name),
            self.new.entrypoints.get(name),
        )
    }

    pub(super) fn routers(&self, plan: &mut Plan) {
        let (before, after) = (&self.running.routers, &self.new.routers);
        for (name, router) in after {
            let block = format!("routers.{name}");
            match before.get(name) {
                None => plan.add(block, Action::Added, Vec::new(), Vec::new()),
                Some(other) if other != router => {
                    let keys = keys(Some(other), Some(router));
                    let effects = vec!["swapped: requests under way keep the old one".to_owned()];
                    plan.add(block, Action::Changed, keys, effects);
                }
                Some(_) => {}
            }
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            plan.add(
                format!("routers.{name}"),
                Action::Removed,
                Vec::new(),
                Vec::new(),
            );
        }
        let common = |one: &indexmap::IndexMap<String, _>,
                      other: &indexmap::IndexMap<String, _>| {
            let names = one.keys().filter(|name| other.contains_key(*name));
            names.cloned().collect::<Vec<String>>()
        };
        if common(before, after) != common(after, before) {
            let effects = vec!["their order decides between equal priorities".to_owned()];
            plan.add("routers".to_owned(), Action::Changed, Vec::new(), effects);
        }
    }

    pub(super) fn services(&self, plan: &mut Plan) {
        let (before, after) = (&self.running.services, &self.new.services);
        for (name, config) in after {
            let block = format!("services.{name}");
            let pair = (
                self.before.services.get(&**name),
                self.after.services.get(&**name),
            );
            let (Some(old), Some(new)) = pair else {
                plan.add(block, Action::Added, Vec::new(), Vec::new());
                continue;
            };
            let keys = keys(before.get(name), Some(config));
            if keys.is_empty() && old.is(new) {
                continue;
            }
            let mut effects = self.service(old, new);
            if keys.is_empty() {
                let others = self.anew(config.leads_to().map(|(_, other)| other));
                effects.insert(0, format!("made anew{others}"));
            }
            plan.add(block, Action::Changed, keys, effects);
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            let effects = vec!["its servers get no new requests".to_owned()];
            plan.add(
                format!("services.{name}"),
                Action::Removed,
                Vec::new(),
                effects,
            );
        }
    }

    /// Which of these services are not what they were, as a reason.
    fn anew<'s>(&self, services: impl Iterator<Item = &'s str>) -> String {
        let is_anew = |name: &&str| {
            let pair = (
                self.before.services.get(*name),
                self.after.services.get(*name),
            );
            !matches!(pair, (Some(old), Some(new)) if old.is(new))
        };
        let names: Vec<_> = services.filter(is_anew).collect();
        match names.is_empty() {
            true => String::new(),
            false => format!(", because of `{}`", names.join("`, `")),
        }
    }

    fn service(&self, old: &compile::Service, new: &compile::Service) -> Vec<String> {
        let mut effects = Vec::new();
        match (old.hub(), new.hub()) {
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {
                effects.push("its channels are kept".to_owned());
            }
            (None, None) => {}
            _ => effects.push("its channels begin anew, or end".to_owned()),
        }
        let is_same =
            |(old, new): (&Arc<compile::Pool>, &Arc<compile::Pool>)| Arc::ptr_eq(old, new);
        let (before, after) = (old.pools(), new.pools());
        if before.len() == after.len() && before.iter().zip(after).all(is_same) {
            if !after.is_empty() {
                effects.push(
                    "its servers go on with everything: health, load, turns, connections"
                        .to_owned(),
                );
            }
            return effects;
        }
        let servers = |pools: &[Arc<compile::Pool>]| {
            let lists = pools.iter().flat_map(|pool| {
                let revision = pool
                    .revision()
                    .map(|name| format!("{name}: "))
                    .unwrap_or_default();
                let list = pool.servers().list();
                list.iter()
                    .map(|server| (revision.clone(), server.clone()))
                    .collect::<Vec<_>>()
            });
            lists.collect::<Vec<_>>()
        };
        let (before, after) = (servers(before), servers(after));
        let of = |server: &crate::upstream::Server| Arc::as_ptr(&server.endpoint);
        let known: HashMap<_, _> = (before.iter().rev())
            .map(|(_, server)| (of(server), server))
            .collect();
        let left: HashSet<_> = after.iter().map(|(_, server)| of(server)).collect();
        for (revision, server) in &after {
            let written = self.names.written(server.endpoint.id());
            effects.push(match known.get(&of(server)) {
                Some(known) if Arc::ptr_eq(&known.origin, &server.origin) => {
                    format!("{revision}{written} is kept, with its state and its connections")
                }
                Some(_) => {
                    format!("{revision}{written} is kept with its state, and is connected to anew")
                }
                None => format!("{revision}{written} is new"),
            });
        }
        for (revision, server) in &before {
            if !left.contains(&of(server)) {
                let written = self.names.written(server.endpoint.id());
                let gone = match written.split("://").next() {
                    Some("tcp") => "gets no new connections",
                    // A session that has lost its server has nothing to wait for.
                    Some("udp") => "gets no more datagrams: its sessions are balanced anew",
                    _ => "gets no new requests",
                };
                effects.push(format!("{revision}{written} {gone}"));
            }
        }
        effects
    }

    pub(super) fn middlewares(&self, plan: &mut Plan) {
        let (before, after) = (&self.running.middlewares, &self.new.middlewares);
        for (name, config) in after {
            let block = format!("middlewares.{name}");
            let Some(other) = before.get(name) else {
                plan.add(block, Action::Added, Vec::new(), Vec::new());
                continue;
            };
            let keys = keys(Some(other), Some(config));
            if keys.is_empty() {
                // It has no state of its own then: where the service is the same, nobody can tell.
                let others = self.anew(config.service().into_iter());
                if !others.is_empty() {
                    let effects = vec![format!("made anew{others}")];
                    plan.add(block, Action::Changed, keys, effects);
                }
                continue;
            }
            let pair = (
                self.before.middlewares.get(&**name),
                self.after.middlewares.get(&**name),
            );
            let effect = match pair {
                (Some(old), Some(new)) if old.is(new) => "kept with its state".to_owned(),
                _ => format!("begins anew{}", state_of(config.kind())),
            };
            plan.add(block, Action::Changed, keys, vec![effect]);
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            plan.add(
                format!("middlewares.{name}"),
                Action::Removed,
                Vec::new(),
                Vec::new(),
            );
        }
    }

    /// The keys and blocks of the top level, but for those that are told one by one.
    pub(super) fn rest(&self, plan: &mut Plan) {
        const TOLD: [&str; 5] = ["entrypoints", "routers", "services", "middlewares", "admin"];
        let (before, after) = (value(Some(self.running)), value(Some(self.new)));
        let names = [&before, &after].map(|value| value.as_object().into_iter().flatten());
        let names: BTreeSet<&String> = names.into_iter().flatten().map(|(name, _)| name).collect();
        for name in names
            .into_iter()
            .filter(|name| !TOLD.contains(&name.as_str()))
        {
            let pair = (before.get(name), after.get(name));
            if pair.0 == pair.1 {
                continue;
            }
            let action = match pair {
                (None, _) => Action::Added,
                (_, None) => Action::Removed,
                _ => Action::Changed,
            };
            let mut keys = Vec::new();
            differ(
                "",
                pair.0.unwrap_or(&Value::Null),
                pair.1.unwrap_or(&Value::Null),
                &mut keys,
            );
            keys.retain(|key| !key.is_empty());
            plan.add(name.clone(), action, keys, Vec::new());
        }
    }
}

fn block_of(entrypoint: &str) -> String {
    match entrypoint {
        compile::ADMIN_ENTRYPOINT => "admin".to_owned(),
        name => format!("entrypoints.{name}"),
    }
}

/// What routers ask of the clients of an entrypoint.
fn asks<'c>(config: &'c GatewayConfig, name: &str) -> Vec<(&'c RuleText, &'c ClientAuthConfig)> {
    let listens = |router| {
        let mut entrypoints = config.entrypoints_of(router);
        entrypoints.any(|(each, _)| each == name)
    };
    let routers = config.routers.values().filter(|router| listens(router));
    let asks = routers.filter_map(|router| {
        let asked = router.tls.as_ref()?.client_auth.as_ref()?;
        Some((&router.rule, asked))
    });
    asks.collect()
}

/// What is lost with a middleware of a type.
fn state_of(kind: &str) -> &'static str {
    match kind {
        "rate-limit" => ": full buckets for every client",
        "circuit-breaker" => ": the breaker is closed",
        "in-flight" => ": nothing is counted as under way",
        "jwt" => ": keys are fetched and read again",
        "forward-auth" => ": no answer is remembered",
        "basic-auth" => ": no password is remembered",
        "retry" => ": with a full budget",
        "tcp-filter" => ": no connection is counted",
        _ => "",
    }
}

fn value(of: Option<impl Serialize>) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

/// The keys in which two blocks differ. Secrets look all the same, and are compared all the same.
fn keys<T: Serialize + PartialEq>(before: Option<&T>, after: Option<&T>) -> Vec<String> {
    if before == after {
        return Vec::new();
    }
    let mut keys = Vec::new();
    if before.is_some() && after.is_some() {
        differ("", &value(before), &value(after), &mut keys);
        if keys.is_empty() {
            keys.push("a secret".to_owned());
        }
    }
    keys
}

fn differ(at: &str, before: &Value, after: &Value, keys: &mut Vec<String>) {
    if before == after {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        keys.push(at.to_owned());
        return;
    };
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let at = match at {
            "" => name.clone(),
            at => format!("{at}.{name}"),
        };
        let of = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or_default();
        differ(&at, &of(old), &of(new), keys);
    }
}
