//! What a reload would change. It is no second set of rules: both configurations are compiled as a reload compiles
//! them, the new one with what the other keeps for it, and what the two have in common then is what would be kept.

use super::reload::Key;
use super::{Gateway, Shared};
use crate::compile::{self, Compiled, Kept};
use crate::config::GatewayConfig;
use crate::error::Result;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// What a reload would change, block by block. Empty where nothing would.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Plan {
    /// The blocks that change.
    pub changes: Vec<Change>,
}

/// A block that changes.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// The block, as `services.backend`; the name alone where it is one of the top level.
    pub block: String,
    /// What becomes of it.
    pub action: Action,
    /// The keys that are not what they were; never a value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// What is kept, begins, and ends with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<String>,
}

/// What becomes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It was not there.
    Added,
    /// It is another one.
    Changed,
    /// It is there no more.
    Removed,
}

impl Plan {
    /// Whether a reload would change nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn add(&mut self, block: String, action: Action, keys: Vec<String>, effects: Vec<String>) {
        self.changes.push(Change {
            block,
            action,
            keys,
            effects,
        });
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            let sign = match change.action {
                Action::Added => '+',
                Action::Changed => '~',
                Action::Removed => '-',
            };
            write!(f, "{sign} {}", change.block)?;
            if !change.keys.is_empty() {
                write!(f, ": {}", change.keys.join(", "))?;
            }
            writeln!(f)?;
            for effect in &change.effects {
                writeln!(f, "    {effect}")?;
            }
        }
        Ok(())
    }
}

impl Gateway {
    /// What a gateway that runs `running` would change to run `new`. Nothing is started, and no name is looked up.
    ///
    /// # Errors
    /// One of the two could not run: as [`Gateway::validate`].
    pub fn plan(running: &GatewayConfig, new: &GatewayConfig) -> Result<Plan> {
        let gateway = Self::new(new.clone())?;
        gateway.shared.plan(running, new)
    }
}

impl Shared {
    fn plan(&self, running: &GatewayConfig, new: &GatewayConfig) -> Result<Plan> {
        let names = Names::of([running, new]);
        let nothing = Kept {
            addresses: names.addresses(),
            ..self.kept(None)
        };
        let before = compile::compile(running, &nothing)?;
        let kept = Kept {
            services: before.services.clone(),
            middlewares: before.middlewares.clone(),
            tls: before.tls.clone(),
            ..nothing
        };
        let after = compile::compile(new, &kept)?;
        let pair = Pair {
            running,
            new,
            before,
            after,
            names,
        };
        let mut plan = Plan::default();
        pair.entrypoints(&mut plan);
        pair.routers(&mut plan);
        pair.services(&mut plan);
        pair.middlewares(&mut plan);
        pair.rest(&mut plan);
        Ok(plan)
    }
}

/// Names of servers, each with an address that stands for it: those of RFC 6666, which lead nowhere.
struct Names(HashMap<Arc<str>, IpAddr>);

impl Names {
    fn of(configs: [&GatewayConfig; 2]) -> Self {
        let services = configs
            .into_iter()
            .flat_map(|config| config.services.values());
        let names = services.flat_map(|service| {
            let names = service.servers().filter_map(|server| server.url.name());
            names.map(str::to_owned).collect::<Vec<_>>()
        });
        let names: BTreeSet<String> = names.collect();
        let address = |number| IpAddr::from(Ipv6Addr::from((0x100_u128 << 112) | number));
        let all = names.into_iter().zip(1..);
        Self(
            all.map(|(name, number)| (name.into(), address(number)))
                .collect(),
        )
    }

    fn addresses(&self) -> compile::Addresses {
        let each = |(name, ip): (&Arc<str>, &IpAddr)| (Arc::clone(name), Arc::from([*ip]));
        self.0.iter().map(each).collect()
    }

    /// A server as it is written.
    fn written(&self, id: &str) -> String {
        let found = self.0.iter().find_map(|(name, ip)| {
            let address = format!("[{ip}]");
            id.contains(&address).then(|| id.replace(&address, name))
        });
        found.unwrap_or_else(|| id.to_owned())
    }
}

struct Pair<'c> {
    running: &'c GatewayConfig,
    new: &'c GatewayConfig,
    before: Compiled,
    after: Compiled,
    names: Names,
}

impl Pair<'_> {
    fn entrypoints(&self, plan: &mut Plan) {
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
            let is_tls = |tls: &compile::AllTls| tls.contains_key(&entrypoint.name);
            match (self.before.tls.get(&entrypoint.name), self.after.tls.get(&entrypoint.name)) {
                (Some(before), Some(after)) if !before.is(after) => effects.push(
                    "TLS is set up anew: certificates are read again, and tickets of before are not taken"
                        .to_owned(),
                ),
                _ if is_tls(&self.before.tls) != is_tls(&self.after.tls) => {
                    effects.push("TLS begins, or ends, for new connections".to_owned());
                }
                _ => {}
            }
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

    fn entrypoint_keys(&self, name: &str) -> Vec<String> {
        if name == compile::ADMIN_ENTRYPOINT {
            return keys(self.running.admin.as_ref(), self.new.admin.as_ref());
        }
        keys(
            self.running.entrypoints.get(name),
            self.new.entrypoints.get(name),
        )
    }

    fn routers(&self, plan: &mut Plan) {
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

    fn services(&self, plan: &mut Plan) {
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
            if !keys.is_empty() {
                let effects = self.service(old, new);
                plan.add(block, Action::Changed, keys, effects);
            }
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
        for (revision, server) in &after {
            let written = self.names.written(server.endpoint.id());
            let known =
                (before.iter()).find(|(_, known)| Arc::ptr_eq(&known.endpoint, &server.endpoint));
            effects.push(match known {
                Some((_, known)) if Arc::ptr_eq(&known.origin, &server.origin) => {
                    format!("{revision}{written} is kept, with its state and its connections")
                }
                Some(_) => {
                    format!("{revision}{written} is kept with its state, and is connected to anew")
                }
                None => format!("{revision}{written} is new"),
            });
        }
        for (revision, server) in &before {
            let is_kept = |(_, other): &(String, _)| is_server(other, server);
            if !after.iter().any(is_kept) {
                let written = self.names.written(server.endpoint.id());
                effects.push(format!("{revision}{written} gets no new requests"));
            }
        }
        effects
    }

    fn middlewares(&self, plan: &mut Plan) {
        let (before, after) = (&self.running.middlewares, &self.new.middlewares);
        for (name, config) in after {
            let block = format!("middlewares.{name}");
            let Some(other) = before.get(name) else {
                plan.add(block, Action::Added, Vec::new(), Vec::new());
                continue;
            };
            let keys = keys(Some(other), Some(config));
            if keys.is_empty() {
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
    fn rest(&self, plan: &mut Plan) {
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

fn is_server(one: &crate::upstream::Server, other: &crate::upstream::Server) -> bool {
    Arc::ptr_eq(&one.endpoint, &other.endpoint)
}

fn block_of(entrypoint: &str) -> String {
    match entrypoint {
        compile::ADMIN_ENTRYPOINT => "admin".to_owned(),
        name => format!("entrypoints.{name}"),
    }
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
