//! What clients are asked for by the name that they come to: whether they must show a certificate, and of whom.

use super::names::Names;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is asked of clients, by name. What is asked for can change while they come; which names ask for the same not.
#[derive(Debug)]
pub struct Asked {
    /// The first is for names that no other is for. 0 asks for nothing.
    ids: Box<[AtomicU64]>,
    by_name: Names<usize>,
}

impl Asked {
    /// `ids` say what is asked for, and `by_name` which of them is for a name; the first is for all others.
    pub fn new(ids: impl IntoIterator<Item = u64>, by_name: Names<usize>) -> Self {
        Self {
            ids: ids.into_iter().map(AtomicU64::new).collect(),
            by_name,
        }
    }

    /// Which one is for a name.
    pub fn place(&self, name: Option<&str>) -> usize {
        let place = name.and_then(|name| self.by_name.get(name));
        place.copied().unwrap_or_default()
    }

    /// Asks for something else there.
    pub fn set(&self, place: usize, id: u64) {
        if let Some(asked) = self.ids.get(place) {
            asked.store(id, Ordering::Release);
        }
    }

    /// What is asked of a client who comes to a name.
    pub fn of(&self, name: Option<&str>) -> u64 {
        let asked = self.ids.get(self.place(name));
        asked.map_or(0, |asked| asked.load(Ordering::Acquire))
    }

    /// Whether a client who was asked for `id` may ask under `host`.
    pub fn allows(&self, host: &str, id: u64) -> bool {
        let asked = self.ids.get(self.place(Some(host)));
        asked.is_none_or(|asked| asked.load(Ordering::Acquire) == id)
    }
}
