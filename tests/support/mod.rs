//! The harness: a server, a client and a gateway in one line each. Ports are the system's choice, nobody sleeps
//! to be in step, and every wait has an end.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    reason = "each test file uses its own part of it, and a test that fails may panic"
)]

pub mod body;
pub mod bystanders;
pub mod client;
#[cfg(feature = "otlp")]
pub mod collector;
pub mod dns;
pub mod fake_redis;
pub mod frames;
pub mod gateway;
pub mod load;
pub mod log;
pub mod operator;
pub mod redis;
pub mod rogue;
pub mod running;
pub mod server;
pub mod switch;
pub mod talk;
pub mod tls;
pub mod tools;
pub mod udp;
pub mod wire;
pub mod witness;

pub use client::{Client, Reply, request};
pub use dns::{Dns, Says};
pub use frames::{Frames, Outcome};
pub use gateway::{Port, Setup, TestGateway, config, connect, connect_from};
pub use load::{Load, Question, Told};
pub use log::Log;
pub use operator::{Operator, watched};
pub use rogue::{Manner, Rogue};
pub use running::Process;
pub use server::{Seen, Server, Upload};
pub use talk::Talk;
pub use udp::{UdpClient, UdpServer};
pub use wire::{Answer, End, Wire};
pub use witness::Witness;

use std::time::Duration;

/// The longest that anything here waits for. A test that comes to it has failed.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Waits for `future`, and no longer than the deadline.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// Waits until `holds`.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
