//! The slash at the end of a path.

use http::Uri;

/// Whether paths end with a slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrailingSlash {
    /// They do, but for those that look like files (a dot in the last segment) and those under `/.well-known/`.
    Add,
    /// They do not, but for `/` itself.
    Remove,
}

impl TrailingSlash {
    /// The path and the query to go to, where they differ.
    pub(super) fn settle(self, uri: &Uri) -> Option<String> {
        let path = uri.path();
        let new = match self {
            Self::Add if wants_slash(path) => [path, "/"].concat(),
            Self::Remove if path.len() > 1 && path.ends_with('/') => {
                path.trim_end_matches('/').to_owned()
            }
            _ => return None,
        };
        // Two slashes, or a backslash for one, would be the beginning of a host.
        let rest = new.trim_start_matches(['/', '\\']);
        let query = uri.query().map(|query| ["?", query].concat());
        Some(["/", rest, query.as_deref().unwrap_or_default()].concat())
    }
}

fn wants_slash(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    path.starts_with('/')
        && !last.is_empty()
        && !last.contains('.')
        && !path.starts_with("/.well-known/")
}
