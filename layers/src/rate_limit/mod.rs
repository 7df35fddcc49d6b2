//! So many requests in so much time, for each client or by another key: [`local`] counts in memory,
//! [`distributed`] in a Redis that several gateways share.
//!
//! Both are GCRA, the leaky bucket of ATM's traffic management (ITU-T I.371; as governor has it): a key has
//! `burst` requests at once, and gets one back each `period / rate`.

#[cfg(feature = "redis")]
pub mod distributed;
mod limit;
#[cfg(feature = "rate-limit")]
pub mod local;
mod policy;
#[cfg(feature = "rate-limit")]
mod store;

pub use limit::{Limit, LimitError};
pub use policy::{Exceeded, InvalidName, Limited, Policy, RateLimitCounts};
