//! Who may pass: layers that ask for credentials.

#[cfg(feature = "api-key")]
pub mod api_key;
#[cfg(feature = "basic-auth")]
pub mod basic_auth;
#[cfg(any(feature = "api-key", feature = "basic-auth"))]
mod blind;
#[cfg(feature = "forward-auth")]
pub mod forward_auth;
#[cfg(feature = "jwt")]
pub mod jwt;
#[cfg(any(feature = "api-key", feature = "basic-auth"))]
pub mod lines;
#[cfg(any(feature = "api-key", feature = "jwt"))]
mod query;
#[cfg(any(feature = "api-key", feature = "basic-auth"))]
mod unauthorized;
