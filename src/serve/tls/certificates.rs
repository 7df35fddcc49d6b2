//! The certificates of an entrypoint, and which of them a client gets to see.

use crate::stack::identity::Identity;
use crate::stack::names::Names;
use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::{Arc, Mutex, PoisonError};

/// Certificates that can be replaced one by one while clients come: by files that have changed, or by whoever obtains
/// new ones.
#[derive(Debug)]
pub struct Certificates {
    /// Each in its place; the first is for names that no other is for.
    all: Mutex<Vec<Identity>>,
    chosen: ArcSwap<Chosen>,
}

#[derive(Debug, Default)]
struct Chosen {
    by_name: Names<Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// These; the first is for names that no other is for.
    pub fn new(all: Vec<Identity>) -> Self {
        Self {
            chosen: ArcSwap::from_pointee(Chosen::of(&all)),
            all: Mutex::new(all),
        }
    }

    /// Puts another one in the place of that at `index`.
    pub fn replace(&self, index: usize, identity: Identity) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = all.get_mut(index) {
            *place = identity;
            self.chosen.store(Arc::new(Chosen::of(&all)));
        }
    }

    /// All of them.
    pub fn list(&self) -> Vec<Identity> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }

    /// Whether one is for this name.
    pub fn has(&self, name: Option<&str>) -> bool {
        let chosen = self.chosen.load();
        name.is_some_and(|name| chosen.by_name.get(name).is_some())
    }
}

impl Chosen {
    fn of(all: &[Identity]) -> Self {
        let mut by_name = Names::default();
        for identity in all {
            for name in &*identity.names {
                by_name.add(name, Arc::clone(&identity.key));
            }
        }
        let default = all.first().map(|first| Arc::clone(&first.key));
        Self { by_name, default }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.chosen.load();
        let own = hello
            .server_name()
            .and_then(|name| chosen.by_name.get(name));
        own.or(chosen.default.as_ref()).cloned()
    }
}
