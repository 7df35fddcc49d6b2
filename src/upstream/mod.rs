//! The way to the servers: connections, the pool they are kept in, and what a request looks like there.

mod body;
pub mod client;
mod connect;
mod copy;
mod counts;
pub mod forward;
mod frames;
pub mod hub;
mod link;
mod pool;
pub mod probe;
mod race;
mod servers;
mod side;
pub mod tcp;
pub mod tls;
mod tunnel;
pub mod udp;
mod upgrade;
mod usage;
mod watched;

pub use body::{AnswerBody, ResponseBody};
pub use connect::{Origin, Scheme, Target};
pub use counts::ConnectionCounts;
pub use pool::sweep_idle_connections;
pub use servers::{Server, Servers};
pub use usage::Usage;
