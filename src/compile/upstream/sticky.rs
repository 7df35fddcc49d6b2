//! Sessions of a service: the cookie, and the tokens of its servers.

use crate::compile::CompileError;
use crate::config::{LoadBalancerConfig, StickyConfig, StickyTo};
use a3s_layers::balance::Balance;
use a3s_layers::balance::sticky::{KeepLayer, Key, SessionLayer, Sticky, Token};
use a3s_layers::endpoint::Endpoint;

/// How the sessions of a service are kept: nothing of a client, so nothing outlives this, and sessions do all the same.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    sticky: Sticky,
    key: Key,
    to: StickyTo,
    /// Where they are kept at a revision, the one that this is for.
    revision: Option<Token>,
}

impl Sessions {
    /// Those that the servers of a service keep, if they keep any.
    pub(super) fn of(
        service: &str,
        config: &LoadBalancerConfig,
    ) -> Result<Option<Self>, CompileError> {
        let sticky = config.sticky.as_ref();
        sticky.map(|sticky| Self::new(service, sticky)).transpose()
    }

    fn new(service: &str, config: &StickyConfig) -> Result<Self, CompileError> {
        let sticky = Sticky::new(config.cookie());
        let invalid = |error| CompileError::Invalid(format!("service `{service}`: {error}"));
        let secret = config.secret.as_ref();
        Ok(Self {
            sticky: sticky.map_err(invalid)?,
            key: Key::new(service, secret.map(|secret| secret.expose().as_bytes())),
            to: config.to,
            revision: None,
        })
    }

    /// The token of a revision, if that is what they are kept at.
    pub(super) fn revision(&self, name: &str) -> Option<Token> {
        (self.to == StickyTo::Revision).then(|| self.key.revision(name))
    }

    /// Those of one revision.
    pub(super) fn of_revision(self, name: Option<&str>) -> Self {
        Self {
            revision: name.and_then(|name| self.revision(name)),
            ..self
        }
    }

    /// Reads the cookie, outside of everything that goes by it.
    pub(super) fn read(&self) -> SessionLayer {
        SessionLayer::new(&self.sticky)
    }

    /// Sets the cookie on the answers of a server.
    pub(super) fn keep(&self, server: &Endpoint) -> KeepLayer {
        let token = self.revision.unwrap_or_else(|| self.key.server(server));
        KeepLayer::new(&self.sticky, token)
    }

    /// Goes by the cookie; not where the revision does.
    pub(super) fn balance<S: Clone>(&self, balance: Balance<S>) -> Balance<S> {
        if self.revision.is_some() {
            return balance;
        }
        let key = self.key.clone();
        balance.sticky(move |server| key.server(server))
    }
}
