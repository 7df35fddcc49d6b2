//! A3S Gateway: an API gateway and reverse proxy, Tower all the way.

pub mod admin;
pub mod compile;
pub mod config;
pub mod dispatch;
pub mod error;
pub mod gateway;
pub mod health;
pub mod provider;
pub mod resolve;
pub mod rule;
pub mod serve;
pub mod stack;
pub mod telemetry;
pub mod upstream;

pub use dispatch::explain::{Explanation, Question};
pub use error::{Error, Result};
pub use gateway::{Action, Change, Gateway, GatewayBuilder, Plan};
