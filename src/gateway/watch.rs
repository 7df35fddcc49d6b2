//! Watching.

use super::Gateway;

impl Gateway {
    pub(super) async fn watch(&self, _source: Option<String>) {}
}
