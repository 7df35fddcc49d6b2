//! The routes of an entrypoint, and what is asked of the clients who come to them.

use crate::rule::{self, Facts, Verdict};
use crate::stack::HttpService;
use crate::stack::asked::Asked;
use std::sync::Arc;

/// A router, ready to serve.
pub type Route<S = HttpService> = rule::Route<S>;

/// Routes in their order.
#[derive(Debug)]
pub struct Table<S = HttpService> {
    index: rule::Table<S>,
    asked: Option<Arc<Asked>>,
}

impl<S> Default for Table<S> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl<S> Table<S> {
    /// Orders and indexes routes given in the order of their declaration.
    pub fn new(routes: Vec<Route<S>>) -> Self {
        Self {
            index: rule::Table::new(routes),
            asked: None,
        }
    }

    /// Beside the routes, what is `asked` of clients by the host that they come to, when their connection is encrypted.
    /// Both change at once: nobody reaches a route who was not asked for what it asks for.
    pub fn asking(mut self, asked: Option<Arc<Asked>>) -> Self {
        self.asked = asked;
        self
    }

    /// What is asked of clients, if anything is known of that.
    pub fn asked(&self) -> Option<&Arc<Asked>> {
        self.asked.as_ref()
    }

    /// The routes, the best first.
    pub fn routes(&self) -> &[Route<S>] {
        self.index.routes()
    }

    /// Each route in its order, whether it takes what has these facts, and why: the first that does is the one that
    /// [`find`](Self::find) finds.
    pub fn judge<'t>(
        &'t self,
        facts: &'t Facts<'_>,
    ) -> impl Iterator<Item = (&'t Route<S>, Verdict<'t>)> {
        self.index.judge(facts)
    }

    /// The best route that takes what has these facts.
    pub fn find(&self, facts: &Facts<'_>) -> Option<&Route<S>> {
        self.index.find(facts)
    }
}
