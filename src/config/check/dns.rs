//! `dns { }`.

use super::Check;
use super::place::keys;
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use std::collections::HashSet;
use std::time::Duration;

/// Two are asked at a time: more than a few help nobody.
const MAX_SERVERS: usize = 8;

impl Check<'_> {
    pub(super) fn dns(&mut self) {
        let dns = &self.config.dns;
        let [least, day] = [Duration::from_millis(10), Duration::from_secs(86_400)];
        let minute = Duration::from_secs(60);
        self.duration(&keys!["dns", "min_ttl"], dns.min_ttl, least, day);
        self.duration(&keys!["dns", "max_ttl"], dns.max_ttl, least, day);
        self.duration(&keys!["dns", "timeout"], dns.timeout, least, minute);
        if dns.min_ttl > dns.max_ttl {
            let problem = Problem::new(Code::Choice, "`min_ttl` is longer than `max_ttl`")
                .also(self.at(&keys!["dns", "max_ttl"]), "the longest");
            self.report(&keys!["dns", "min_ttl"], problem);
        }
        let mut seen = HashSet::new();
        for (index, server) in dns.servers.iter().enumerate() {
            let message = match seen.insert(server) {
                _ if index == MAX_SERVERS => "there are more than 8 DNS servers",
                false if index < MAX_SERVERS => "this DNS server is listed twice",
                _ => continue,
            };
            let code = match index == MAX_SERVERS {
                true => Code::OutOfRange,
                false => Code::Duplicate,
            };
            self.report(&keys!["dns", "servers", index], Problem::new(code, message));
        }
    }
}
