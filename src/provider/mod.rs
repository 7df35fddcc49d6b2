//! Providers: where configurations come from while the gateway runs.

mod file;
mod watch;

pub use file::{FileProvider, Reload};

use crate::config::Loaded;

/// What a provider found: a whole configuration of its own, or why there is none.
#[derive(Debug, Clone)]
pub struct Fragment {
    /// The provider's name, as in `name@provider`.
    pub provider: &'static str,
    /// What came of loading.
    pub loaded: Loaded,
}
