//! What is refused of a request by its head alone, before a router is looked for.

use http::{HeaderMap, Method, StatusCode, Uri};
use std::fmt;

/// Judges heads as whoever reads them from sockets does.
pub struct HeadJudge(Box<Judge>);

type Judge = dyn Fn(&Method, &Uri, &HeaderMap) -> Option<(StatusCode, &'static str)> + Send + Sync;

impl HeadJudge {
    /// What `judge` answers, and why; none where it lets a head pass.
    pub fn new(
        judge: impl Fn(&Method, &Uri, &HeaderMap) -> Option<(StatusCode, &'static str)>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Box::new(judge))
    }

    /// What is answered to this head in place of asking a router.
    pub(super) fn refuses(
        &self,
        method: &Method,
        target: &Uri,
        fields: &HeaderMap,
    ) -> Option<(StatusCode, &'static str)> {
        (self.0)(method, target, fields)
    }
}

impl fmt::Debug for HeadJudge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadJudge").finish_non_exhaustive()
    }
}
