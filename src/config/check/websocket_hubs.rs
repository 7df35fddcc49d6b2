//! Hubs of channels: what they are beside, and who leads to them.

use super::Check;
use super::place::keys;
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::{ServiceConfig, WebsocketHubConfig};

impl Check<'_> {
    pub(super) fn websocket_hub(
        &mut self,
        name: &str,
        hub: &WebsocketHubConfig,
        service: &ServiceConfig,
    ) {
        let at = |key| keys!["services", name, "websocket_hub", key];
        self.number(&at("max_channels"), hub.max_channels.into(), 1, 10_000);
        self.number(&at("channel_buffer"), hub.channel_buffer.into(), 1, 65_536);
        self.size(&at("max_message"), hub.max_message, 1 << 10, 16 << 20);
        let connections = hub.max_connections.into();
        self.number(&at("max_connections"), connections, 1, 1_000_000);
        self.size(&at("max_buffered"), hub.max_buffered, 1 << 20, 64 << 30);
        let others = [
            ("load_balancer", service.load_balancer.is_some()),
            ("revisions", !service.revisions.is_empty()),
            ("respond", service.respond.is_some()),
        ];
        let place = keys!["services", name, "websocket_hub"];
        for (other, _) in others.iter().filter(|(_, is_there)| *is_there) {
            let message = format!("service `{name}` has both `{other}` and `websocket_hub`");
            let also = self.at(&keys!["services", name, *other]);
            let problem = Problem::new(Code::Choice, message).also(also, "the other one");
            self.report(&place, problem);
        }
        let beside = [
            ("failover", service.failover.is_some()),
            ("mirror", service.mirror.is_some()),
        ];
        for (block, _) in beside.iter().filter(|(_, is_there)| *is_there) {
            let message =
                format!("a hub has no server behind it: `{block}` of `{name}` has no use");
            let problem = Problem::new(Code::Choice, message).also(self.at(&place), "the hub");
            self.report(&keys!["services", name, *block], problem);
        }
        for (user, service) in &self.config.services {
            for (block, _) in service.leads_to().filter(|(_, other)| *other == name) {
                let message = format!(
                    "`{block}` of service `{user}` leads to a hub, which is for WebSockets only"
                );
                let problem = Problem::new(Code::Choice, message).also(self.at(&place), "the hub");
                self.report(&keys!["services", user, block, "service"], problem);
            }
        }
    }
}
