//! Finds the stack that serves a request.

pub mod path;
pub mod request;
