//! The ranges of numbers and durations, in one table.

use super::Check;
use super::place::{Key, keys};
use crate::config::OutlierConfig;
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::values::{duration, size};
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

impl Check<'_> {
    pub(super) fn ranges(&mut self) {
        let config = self.config;
        self.number(
            &keys!["shutdown_timeout_secs"],
            config.shutdown_timeout_secs,
            0,
            86_400,
        );
        for (name, entrypoint) in &config.entrypoints {
            let http = &entrypoint.http;
            let at = |key| keys!["entrypoints", name, "http", key];
            if let Some(limit) = entrypoint.max_connections {
                self.number(
                    &keys!["entrypoints", name, "max_connections"],
                    limit,
                    1,
                    10_000_000,
                );
            }
            let at_udp = |key| keys!["entrypoints", name, key];
            let secs = entrypoint.udp_session_timeout_secs;
            self.number(&at_udp("udp_session_timeout_secs"), secs, 1, 86_400);
            let sessions = entrypoint.udp_max_sessions;
            self.number(&at_udp("udp_max_sessions"), sessions, 1, 10_000_000);
            if let Some(proxy) = &entrypoint.proxy_protocol {
                let place = keys!["entrypoints", name, "proxy_protocol", "header_timeout"];
                self.duration(&place, proxy.header_timeout, MILLISECOND, MINUTE);
            }
            if let Some(tls) = &entrypoint.tls {
                let place = keys!["entrypoints", name, "tls", "handshake_timeout"];
                self.duration(&place, tls.handshake_timeout, MILLISECOND, HOUR);
            }
            self.duration(
                &at("header_timeout"),
                http.header_timeout,
                MILLISECOND,
                HOUR,
            );
            self.duration(&at("idle_timeout"), http.idle_timeout, MILLISECOND, DAY);
            if let Some(timeout) = http.request_timeout {
                self.duration(&at("request_timeout"), timeout, MILLISECOND, DAY);
            }
            self.number(&at("max_headers"), http.max_headers as u64, 1, 4_096);
            self.size(
                &at("max_header_bytes"),
                http.max_header_bytes,
                8 << 10,
                16 << 20,
            );
            self.number(&at("h2_max_streams"), http.h2_max_streams.into(), 1, 65_535);
            self.number(
                &at("h2_max_resets"),
                http.h2_max_resets.into(),
                1,
                1_000_000,
            );
        }
        for (name, router) in &config.routers {
            if let Some(timeout) = router.timeout {
                let place = keys!["routers", name, "timeout"];
                self.duration(&place, timeout, MILLISECOND, DAY);
            }
        }
        for (name, service) in &config.services {
            if let Some(balancer) = &service.load_balancer {
                let timeouts = &balancer.timeouts;
                let at = |key| keys!["services", name, "load_balancer", "timeouts", key];
                self.duration(&at("connect"), timeouts.connect, MILLISECOND, HOUR);
                self.duration(&at("response"), timeouts.response, MILLISECOND, DAY);
                if let Some(idle) = timeouts.idle {
                    self.duration(&at("idle"), idle, MILLISECOND, DAY);
                }
                self.outlier(name, &balancer.outlier);
                if let Some(ttl) = balancer.sticky.as_ref().and_then(|sticky| sticky.ttl) {
                    let at = keys!["services", name, "load_balancer", "sticky", "ttl"];
                    // RFC 6265bis, 5.5: no browser keeps a cookie for longer.
                    self.duration(&at, ttl, SECOND, 400 * DAY);
                }
            }
            if let Some(respond) = &service.respond {
                let status = u64::from(respond.status);
                self.number(
                    &keys!["services", name, "respond", "status"],
                    status,
                    200,
                    599,
                );
            }
        }
    }

    fn outlier(&mut self, service: &str, outlier: &OutlierConfig) {
        let at = |key| keys!["services", service, "load_balancer", "outlier", key];
        let errors = u64::from(outlier.consecutive_errors);
        self.number(&at("consecutive_errors"), errors, 0, 1_000);
        self.duration(&at("window"), outlier.window, MILLISECOND, HOUR);
        self.duration(&at("ejection"), outlier.ejection, MILLISECOND, DAY);
        self.duration(&at("max_ejection"), outlier.max_ejection, MILLISECOND, DAY);
        let percent = u64::from(outlier.max_ejected_percent);
        self.number(&at("max_ejected_percent"), percent, 0, 100);
    }

    pub(super) fn number(&mut self, path: &[Key<'_>], value: u64, min: u64, max: u64) {
        if !(min..=max).contains(&value) {
            let [value, min, max] = [value, min, max].map(|number| number.to_string());
            self.out_of_range(path, &value, &min, &max);
        }
    }

    pub(super) fn duration(
        &mut self,
        path: &[Key<'_>],
        value: Duration,
        min: Duration,
        max: Duration,
    ) {
        if !(min..=max).contains(&value) {
            let [value, min, max] = [value, min, max].map(duration::format);
            self.out_of_range(path, &value, &min, &max);
        }
    }

    pub(super) fn size(&mut self, path: &[Key<'_>], value: usize, min: usize, max: usize) {
        if !(min..=max).contains(&value) {
            let [value, min, max] = [value, min, max].map(size::format);
            self.out_of_range(path, &value, &min, &max);
        }
    }

    fn out_of_range(&mut self, path: &[Key<'_>], value: &str, min: &str, max: &str) {
        let names = path.iter().rev().find_map(|key| match key {
            Key::Name(name) | Key::Entry(name) => Some(*name),
            Key::Index(_) | Key::Span(..) => None,
        });
        let key = names.unwrap_or_default();
        let message = format!("`{key}` is out of range: {value} is not from {min} to {max}");
        self.report(path, Problem::new(Code::OutOfRange, message));
    }
}
