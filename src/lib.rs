//! A3S Gateway: an API gateway and reverse proxy, Tower all the way.

pub mod compile;
pub mod config;
pub mod dispatch;
pub mod rule;
pub mod serve;
pub mod stack;
pub mod telemetry;
pub mod upstream;
