//! Serving clients: listeners, workers, and the HTTP server on each connection.

pub mod before;
mod body;
mod door;
mod drive;
mod exchange;
mod exchanges;
mod extended_connect;
mod guard;
mod head;
pub mod http_server;
pub mod listener;
mod patience;
pub mod proxy_protocol;
mod refusal;
pub mod tls;
pub mod udp;
mod upgrade;
mod walk;
pub mod worker;
