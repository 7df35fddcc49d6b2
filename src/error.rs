//! What can go wrong when a gateway is started or changed.

use crate::compile::CompileError;
use crate::config::{Address, ConfigError};
use crate::dispatch::explain::Unaskable;
use std::io;

/// Why a gateway does not start, or keeps running as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration has problems, each with its place.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration reads well, but what it names cannot be used.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// An entrypoint's address cannot be listened on.
    #[error("entrypoint `{entrypoint}`: cannot listen on {address}: {source}")]
    Bind {
        /// The entrypoint.
        entrypoint: String,
        /// Its address.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// The worker threads cannot be started.
    #[error("cannot start the workers: {0}")]
    Workers(io::Error),
    /// Signals cannot be listened to.
    #[error("cannot listen to signals: {0}")]
    Signals(io::Error),
    /// The gateway has been shut down, or was started already.
    #[error("the gateway is {0}")]
    State(&'static str),
    /// There is nothing to be explained.
    #[error(transparent)]
    Unaskable(#[from] Unaskable),
    /// The task that compiles configurations ended early.
    #[error("the configuration could not be compiled: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A result of the gateway's.
pub type Result<T> = std::result::Result<T, Error>;
