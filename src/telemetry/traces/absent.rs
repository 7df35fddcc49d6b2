//! What stands for traces in a gateway that was built without them: there are none, and the compiler knows.

use crate::stack::Request;
use crate::stack::redaction::Redaction;
use a3s_layers::journal::Journal;
use a3s_layers::observe::Outcome;
use http::Response;
use std::sync::Arc;

/// Nobody has one.
#[derive(Debug)]
pub enum Tracer {}

/// Nobody has one.
#[derive(Debug)]
pub enum Traced {}

/// Nobody has one.
#[derive(Debug)]
pub enum Exporter {}

impl Tracer {
    pub(in crate::telemetry) fn begin(
        self: &Arc<Self>,
        _: &Arc<str>,
        _: &mut Request,
        _: &Journal,
    ) -> Option<Box<Traced>> {
        match **self {}
    }
}

impl Traced {
    pub(in crate::telemetry) fn head<B>(&mut self, _: &Response<B>) {
        match *self {}
    }

    pub(in crate::telemetry) fn end(
        self: Box<Self>,
        _: &Outcome,
        _: &Journal,
        _: Option<&str>,
        _: &Redaction,
    ) {
        match *self {}
    }
}

impl Exporter {
    /// Never.
    pub async fn run(self) {
        match self {}
    }
}
