//! Tower layers for gateways, usable in any axum or Tower app.
#![cfg_attr(feature = "full", doc = "")]
#![cfg_attr(feature = "full", doc = include_str!("../README.md"))]

pub mod answer;
pub mod auth;
pub mod balance;
mod begun;
pub mod body_limit;
pub mod buffering;
pub mod builder;
pub mod catch_panic;
pub mod circuit_breaker;
#[cfg(feature = "claims")]
pub mod claims;
pub mod classify;
#[cfg(feature = "compression")]
pub mod compress;
pub mod connection;
pub mod cors;
mod discard;
pub mod endpoint;
pub mod error;
pub mod error_pages;
pub mod failover;
mod grpc;
#[cfg(feature = "grpc-web")]
pub mod grpc_web;
pub mod headers;
pub mod hop_by_hop;
pub mod in_flight;
pub mod ip_allow;
pub mod journal;
pub mod key;
pub mod mirror;
mod networks;
pub mod observe;
pub mod outlier;
mod own_header;
pub mod path;
pub mod peer;
#[cfg(any(feature = "rate-limit", feature = "redis"))]
pub mod rate_limit;
pub mod redirect;
pub mod rehearsal;
pub mod reject;
#[cfg(feature = "regex")]
mod replacement;
mod replay;
pub mod request_id;
pub mod rescue;
pub mod retry;
pub mod rewrite;
pub mod split;
pub mod strip_prefix;
pub mod timeout;
pub mod trace_context;
pub mod trailers;
pub mod tried;
mod upload;
mod vary;
mod window;
