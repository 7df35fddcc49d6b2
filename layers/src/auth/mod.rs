//! Who may pass: layers that ask for credentials.

#[cfg(feature = "api-key")]
pub mod api_key;
#[cfg(feature = "basic-auth")]
pub mod basic_auth;
#[cfg(any(feature = "api-key", feature = "basic-auth"))]
mod blind;
#[cfg(any(feature = "api-key", feature = "basic-auth"))]
mod identity;
#[cfg(any(feature = "api-key", feature = "basic-auth"))]
pub mod lines;
#[cfg(feature = "api-key")]
mod query;
#[cfg(any(feature = "api-key", feature = "basic-auth"))]
mod unauthorized;
