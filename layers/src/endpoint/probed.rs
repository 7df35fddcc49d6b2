//! What an active health check has heard last.

use super::Endpoint;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The last answer to a health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastProbe {
    /// When it came, or was given up.
    pub at: SystemTime,
    /// What was wrong with it, if anything was.
    pub fault: Option<Box<str>>,
}

/// Written by a health check once an interval, never in the way of a request.
#[derive(Debug, Default)]
pub(super) struct Probed(Mutex<Option<LastProbe>>);

impl Probed {
    fn lock(&self) -> MutexGuard<'_, Option<LastProbe>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoint {
    /// Notes the answer to a health check, and what was wrong with it. How the server stands is another thing: one bad
    /// answer may not be enough to [call it unhealthy](super::Trouble::Unhealthy).
    pub fn probed(&self, fault: Option<Box<str>>) {
        let at = SystemTime::now();
        *self.probed.lock() = Some(LastProbe { at, fault });
    }

    /// The last answer to a health check; none where there was none.
    pub fn last_probe(&self) -> Option<LastProbe> {
        self.probed.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_is_remembered_and_changes_nothing() {
        let endpoint = Endpoint::new("http://127.0.0.1:8001");
        assert_eq!(endpoint.last_probe(), None);
        endpoint.probed(Some("status 500".into()));
        let probe = endpoint.last_probe().unwrap();
        assert_eq!(probe.fault.as_deref(), Some("status 500"));
        assert!(endpoint.is_available());
        endpoint.probed(None);
        assert_eq!(endpoint.last_probe().unwrap().fault, None);
    }
}
