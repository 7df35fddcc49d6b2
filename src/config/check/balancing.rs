//! How servers are chosen: what a strategy needs, and the ranges of what all of them know.

use super::Check;
use super::place::{Key, keys};
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::{LoadBalancerConfig, ServiceConfig, Strategy};
use a3s_layers::balance::HashOn;
use a3s_layers::headers::HeaderEdits;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

/// More requests at a time than any server has.
const MOST_IN_FLIGHT: u64 = 1_000_000;

impl Check<'_> {
    pub(super) fn balancing(&mut self, name: &str, service: &ServiceConfig) {
        let Some(balancer) = &service.load_balancer else {
            return;
        };
        self.consistent_hash(name, service, balancer);
        let at = |key| keys!["services", name, "load_balancer", key];
        self.duration(&at("slow_start"), balancer.slow_start, Duration::ZERO, HOUR);
        if let Some(max) = balancer.max_in_flight {
            self.number(&at("max_in_flight"), max.into(), 1, MOST_IN_FLIGHT);
        }
        let percent = balancer.panic_threshold_percent.into();
        self.number(&at("panic_threshold_percent"), percent, 0, 100);
    }

    fn consistent_hash(
        &mut self,
        name: &str,
        service: &ServiceConfig,
        balancer: &LoadBalancerConfig,
    ) {
        let Some(hash) = &balancer.consistent_hash else {
            return;
        };
        let place = keys!["services", name, "load_balancer", "consistent_hash"];
        let is_read = self.is_read(&keys!["services", name, "load_balancer", "strategy"])
            && (0..service.revisions.len()).all(|index| {
                self.is_read(&keys!["services", name, "revisions", index, "strategy"])
            });
        let mut strategies = service.strategies();
        if is_read && !strategies.any(|strategy| strategy == Strategy::ConsistentHash) {
            let message = "`consistent_hash` is for the strategy `consistent-hash`";
            let problem = Problem::new(Code::Choice, message);
            let help = "write `strategy = \"consistent-hash\"`, or leave it out".to_owned();
            self.report(&place, problem.help(help));
        }
        if let HashOn::Header(header) = &hash.on
            && let Err(error) = HeaderEdits::new().remove(header.as_str())
        {
            let place = place.into_iter().chain([Key::Name("on")]);
            let problem = Problem::new(Code::InvalidValue, error.to_string());
            self.report(&place.collect::<Vec<_>>(), problem);
        }
    }
}
