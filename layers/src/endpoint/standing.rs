//! What is wrong with a server: one word that a balance reads, and the reasons beside it for those who look.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Why a server gets no requests. Each has its own author, and several may be so at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Trouble {
    /// Active health checks say so.
    Unhealthy = 1,
    /// It failed too many requests (passive health).
    Ejected = 2,
    /// Somebody is draining it by hand: it keeps what is its own, and takes nothing new.
    Drained = 4,
}

impl Trouble {
    /// All of them, the gravest first.
    pub const ALL: [Self; 3] = [Self::Unhealthy, Self::Ejected, Self::Drained];

    /// One word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Drained => "drained",
        }
    }

    fn bit(self) -> u8 {
        self as u8
    }
}

/// How a server stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What is wrong with it, the gravest first, and why.
    pub troubles: Vec<(Trouble, Box<str>)>,
    /// Since when it stands so; the time of its making where nothing has ever been wrong.
    pub since: SystemTime,
}

impl Standing {
    /// `healthy`, or the gravest trouble.
    pub fn as_str(&self) -> &'static str {
        let worst = self.troubles.first();
        worst.map_or("healthy", |(trouble, _)| trouble.as_str())
    }
}

/// Counts the changes of all servers: whoever has counted them need not do so again while it stays.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// How many changes there have been. What is counted after this has seen them all.
pub(crate) fn changes() -> u64 {
    CHANGES.load(Ordering::Acquire)
}

/// An ejection that ends when it is cleared.
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Troubles {
    bits: AtomicU8,
    /// When the ejection ends by itself. Written with the lock held.
    ejected_until: AtomicU64,
    /// Written by control planes and at ejections, never in the way of a request that goes well.
    told: Mutex<Standing>,
}

impl Troubles {
    pub(super) fn new() -> Self {
        Self {
            bits: AtomicU8::new(0),
            ejected_until: AtomicU64::new(NEVER),
            told: Mutex::new(Standing {
                troubles: Vec::new(),
                since: SystemTime::now(),
            }),
        }
    }

    pub(super) fn is_none(&self) -> bool {
        self.bits.load(Ordering::Relaxed) == 0
    }

    pub(super) fn is_available(&self) -> bool {
        self.bits.load(Ordering::Relaxed) & !Trouble::Drained.bit() == 0
    }

    pub(super) fn has(&self, trouble: Trouble) -> bool {
        self.bits.load(Ordering::Relaxed) & trouble.bit() != 0
    }

    pub(super) fn set(&self, trouble: Trouble, why: Box<str>) {
        self.note(&mut self.lock(), trouble, why);
    }

    pub(super) fn clear(&self, trouble: Trouble) -> bool {
        self.forget(&mut self.lock(), trouble)
    }

    /// It is ejected, until then.
    pub(super) fn eject(&self, why: Box<str>, until: u64) {
        let told = &mut self.lock();
        self.ejected_until.store(until, Ordering::Relaxed);
        self.note(told, Trouble::Ejected, why);
    }

    pub(super) fn ejected_until(&self) -> Option<u64> {
        let until = self.ejected_until.load(Ordering::Relaxed);
        (until != NEVER).then_some(until)
    }

    /// Ends an ejection that is over, and tells when it was.
    pub(super) fn end_ejection(&self, now: u64) -> Option<u64> {
        let over = || self.ejected_until().filter(|until| *until <= now);
        over()?;
        let told = &mut self.lock();
        // Another one may have begun since.
        let until = over()?;
        self.forget(told, Trouble::Ejected).then_some(until)
    }

    pub(super) fn standing(&self) -> Standing {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, told: &mut Standing, trouble: Trouble, why: Box<str>) {
        let known = told.troubles.iter_mut().find(|(each, _)| *each == trouble);
        match known {
            Some((_, reason)) => *reason = why,
            None => {
                told.troubles.push((trouble, why));
                told.troubles.sort_by_key(|(each, _)| each.bit());
                told.since = SystemTime::now();
            }
        }
        self.bits.fetch_or(trouble.bit(), Ordering::Relaxed);
        CHANGES.fetch_add(1, Ordering::Release);
    }

    fn forget(&self, told: &mut Standing, trouble: Trouble) -> bool {
        let before = told.troubles.len();
        told.troubles.retain(|(each, _)| *each != trouble);
        let was = told.troubles.len() < before;
        if was {
            told.since = SystemTime::now();
        }
        if trouble == Trouble::Ejected {
            self.ejected_until.store(NEVER, Ordering::Relaxed);
        }
        self.bits.fetch_and(!trouble.bit(), Ordering::Relaxed);
        CHANGES.fetch_add(1, Ordering::Release);
        was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_comes_and_goes_by_itself() {
        let troubles = Troubles::new();
        assert!(troubles.is_none());
        troubles.set(Trouble::Drained, "by hand".into());
        assert!(troubles.is_available() && !troubles.is_none());
        troubles.set(Trouble::Unhealthy, "status 500".into());
        troubles.set(Trouble::Unhealthy, "status 503".into());
        let standing = troubles.standing();
        assert_eq!(standing.as_str(), "unhealthy");
        let reasons: Vec<_> = standing.troubles.iter().map(|(_, why)| &**why).collect();
        assert_eq!(reasons, ["status 503", "by hand"]);
        assert!(troubles.clear(Trouble::Unhealthy));
        assert!(!troubles.clear(Trouble::Unhealthy));
        assert!(troubles.is_available());
        assert!(troubles.clear(Trouble::Drained));
        assert!(troubles.is_none());
        assert_eq!(troubles.standing().as_str(), "healthy");
    }
}
