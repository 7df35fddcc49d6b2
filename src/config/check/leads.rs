//! Services that lead to others: by a failover, or with copies for a mirror.

use super::Check;
use super::circle::{MAX_DEPTH, endless};
use super::place::keys;
use super::protocols::kind;
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::{FailoverConfig, MirrorConfig, ServiceConfig};
use crate::rule::Protocol;
use std::time::Duration;

impl Check<'_> {
    pub(super) fn leads(&mut self) {
        let config = self.config;
        for (name, service) in &config.services {
            for (block, other) in service.leads_to() {
                if !self.exists("services", other) {
                    let message = format!("service `{name}` names the unknown service `{other}`");
                    let names = config.services.keys().map(String::as_str);
                    let names = names.filter(|known| *known != name);
                    let place = keys!["services", name, block, "service"];
                    self.unknown(&place, message, other, names);
                }
            }
            if let Some(failover) = &service.failover {
                self.failover(name, failover, service);
            }
            if let Some(mirror) = &service.mirror {
                self.mirror(name, mirror);
            }
        }
        let inner = |name: &str| -> Vec<&str> {
            let service = config.services.get(name);
            let others = service.into_iter().flat_map(ServiceConfig::leads_to);
            others.map(|(_, other)| other).collect()
        };
        if let Some(way) = endless(config.services.keys(), &inner) {
            let message = match way.first() == way.last() {
                true => format!("services lead in a circle: {}", way.join(" -> ")),
                false => format!("more than {MAX_DEPTH} services lead to one another"),
            };
            let mut leads = config.services.get(way[0]).into_iter();
            let mut leads = leads.by_ref().flat_map(ServiceConfig::leads_to);
            let block = leads.find(|(_, other)| Some(other) == way.get(1));
            let block = block.map_or("failover", |(block, _)| block);
            let place = keys!["services", way[0], block, "service"];
            self.report(&place, Problem::new(Code::Cycle, message));
        }
    }

    fn failover(&mut self, name: &str, failover: &FailoverConfig, service: &ServiceConfig) {
        let at = |key| keys!["services", name, "failover", key];
        self.size(
            &at("max_replay_bytes"),
            failover.max_replay_bytes,
            0,
            64 << 20,
        );
        if service.respond.is_some() {
            let message = format!("a fixed answer never fails: `failover` of `{name}` has no use");
            let also = self.at(&keys!["services", name, "respond"]);
            let problem = Problem::new(Code::Choice, message).also(also, "the answer");
            self.report(&keys!["services", name, "failover"], problem);
        }
        if service.protocol() == Protocol::Http {
            return;
        }
        let default = FailoverConfig::to("");
        for (key, is_set) in [
            ("on_status", failover.on_status != default.on_status),
            (
                "max_replay_bytes",
                failover.max_replay_bytes != default.max_replay_bytes,
            ),
        ] {
            if is_set {
                let takes = kind(service.protocol());
                let message = format!("`{key}` is for requests, and the servers are for {takes}");
                self.report(&at(key), Problem::new(Code::Mixed, message));
            }
        }
    }

    fn mirror(&mut self, name: &str, mirror: &MirrorConfig) {
        let at = |key| keys!["services", name, "mirror", key];
        self.number(&at("percentage"), mirror.percentage.into(), 0, 100);
        self.size(&at("max_body"), mirror.max_body, 0, 1 << 30);
        self.number(
            &at("max_in_flight"),
            mirror.max_in_flight.into(),
            1,
            100_000,
        );
        let (least, most) = (Duration::from_millis(1), Duration::from_secs(3_600));
        self.duration(&at("timeout"), mirror.timeout, least, most);
    }
}
