//! Revisions: who they are, and how they share the requests.

use super::Check;
use super::place::keys;
use super::protocols::{kind, mixed};
use crate::config::ServiceConfig;
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::rule::Protocol;
use std::collections::HashMap;

impl Check<'_> {
    pub(super) fn revisions(&mut self, name: &str, service: &ServiceConfig) {
        if service.revisions.is_empty() {
            return;
        }
        self.beside_revisions(name, service);
        let mut seen = HashMap::new();
        for (index, revision) in service.revisions.iter().enumerate() {
            let at = |index: usize, key| keys!["services", name, "revisions", index, key];
            self.label(&at(index, "name"), "revision", &revision.name);
            if let Some(first) = seen.insert(&revision.name, index) {
                let message = format!(
                    "service `{name}` has two revisions of the name `{}`",
                    revision.name
                );
                let also = self.at(&at(first, "name"));
                let problem = Problem::new(Code::Duplicate, message).also(also, "the first one");
                self.report(&at(index, "name"), problem);
            }
            let percent = u64::from(revision.traffic_percent);
            self.number(&at(index, "traffic_percent"), percent, 0, 100);
            let whose = format!("revision `{}` of service `{name}`", revision.name);
            let is_used = revision.traffic_percent > 0;
            self.servers_of(&at(index, "servers"), &whose, &revision.servers, is_used);
            for (server, url) in revision.servers.iter().map(|each| &each.url).enumerate() {
                let takes = url.scheme().protocol();
                if takes != Protocol::Http {
                    let place = at(index, "servers").into_iter();
                    let place: Vec<_> = place.chain(keys![server, "url"]).collect();
                    let takes = kind(takes);
                    let message =
                        format!("revisions share requests, and this server is for {takes}");
                    self.report(&place, mixed(message));
                }
            }
        }
        self.shares(name, service);
    }

    /// What a service with revisions has not.
    fn beside_revisions(&mut self, name: &str, service: &ServiceConfig) {
        let (revisions, balancer) = (
            keys!["services", name, "revisions"],
            service.load_balancer.as_ref(),
        );
        if balancer.is_some_and(|balancer| !balancer.servers.is_empty()) {
            let message =
                format!("service `{name}` has revisions, and these servers get no requests");
            let problem = Problem::new(Code::Unused, message)
                .also(self.at(&revisions), "the revisions")
                .help("list them in a revision".to_owned());
            self.report(
                &keys!["services", name, "load_balancer", "servers"],
                problem,
            );
        }
        if service.respond.is_some() && balancer.is_none() {
            let message = format!("service `{name}` has both `revisions` and `respond`");
            let problem = Problem::new(Code::Choice, message);
            let problem = problem.also(self.at(&revisions), "the other one");
            self.report(&keys!["services", name, "respond"], problem);
        }
    }

    /// All of the requests are shared, and no more; silent where a share is not known.
    fn shares(&mut self, name: &str, service: &ServiceConfig) {
        let place = keys!["services", name, "revisions"];
        let is_read = (0..service.revisions.len()).all(|index| {
            let share = place.into_iter().chain(keys![index, "traffic_percent"]);
            self.is_read(&share.collect::<Vec<_>>())
        });
        let shares = service.revisions.iter().map(|each| each.traffic_percent);
        let sum: u32 = shares.clone().map(u32::from).sum();
        if !is_read || sum == 100 || shares.max() > Some(100) {
            return;
        }
        let message = format!("the revisions of service `{name}` share {sum} % of its requests");
        let help = "together they have 100; `traffic_percent` is 100 where it is not set";
        let problem = Problem::new(Code::OutOfRange, message).help(help.to_owned());
        self.report(&place, problem);
    }
}
