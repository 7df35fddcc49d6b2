//! A3S Gateway: an API gateway and reverse proxy, Tower all the way.

pub mod config;
pub mod provider;
pub mod rule;
pub mod stack;
