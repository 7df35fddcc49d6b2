//! The values that a configuration is written in: each string is parsed once, into the type that means it.

mod address;
pub(crate) mod duration;
pub(crate) mod hash_on;
pub(crate) mod header;
mod http_url;
pub(crate) mod key_source;
mod keys;
mod name_server;
pub(crate) mod net;
pub(crate) mod page_query;
mod pattern;
mod problem;
mod rule;
mod secret;
pub(crate) mod size;
mod status;
pub(crate) mod texts;
mod url;

pub use address::Address;
pub use http_url::HttpUrl;
pub use keys::Keys;
pub use name_server::NameServer;
pub use pattern::Pattern;
pub use problem::ValueError;
pub use rule::RuleText;
pub use secret::Secret;
pub(crate) use secret::{NEWTYPE as SECRET, SEVERAL as SECRETS};
pub(crate) use status::StatusRange;
pub use status::{AnyStatuses, ErrorStatuses, FinalStatuses};
pub use texts::Accepted;
pub use url::{Scheme, ServerUrl};

pub(crate) use problem::{STAND_IN, parsed};

/// The name of an enum whose variant stands in the block itself, as `type = "..."`.
pub(crate) const TAGGED: &str = "type";
