//! A3S Gateway: an API gateway and reverse proxy, Tower all the way.

pub mod dispatch;
pub mod rule;
pub mod serve;
pub mod stack;
pub mod upstream;
