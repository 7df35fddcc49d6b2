//! What the trailers of a request must not say: what its client has no say in.
//!
//! A client may send fields after a body too, and servers may merge them with those before it (RFC 9110, 6.5.1): what
//! a layer sets or removes there, a client could say once more here. So a server puts a [`TrailerGuard`] on each
//! request whose body may end with trailers, the layers of this crate note in it what they have set and removed, and
//! whoever reads the trailers or sends them on has it [strip](TrailerGuard::strip) them.
//!
//! ```
//! use a3s_layers::headers::{HeaderEdits, HeadersLayer};
//! use a3s_layers::trailers::TrailerGuard;
//! use http::{HeaderMap, Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(HeadersLayer::new().request(HeaderEdits::new().remove("X-User")?))
//!     .service(service_fn(|request: Request<()>| async move {
//!         let guard = request.extensions().get::<TrailerGuard>().unwrap();
//!         // As they would come at the end of a body.
//!         let mut trailers = HeaderMap::new();
//!         trailers.insert("x-user", "root".parse().unwrap());
//!         trailers.insert("x-checksum", "1".parse().unwrap());
//!         guard.strip(&mut trailers);
//!         assert_eq!(trailers.len(), 1);
//!         Ok::<_, std::convert::Infallible>(Response::new(()))
//!     }));
//! let mut request = Request::new(());
//! request.extensions_mut().insert(TrailerGuard::new());
//! service.oneshot(request).await.unwrap();
//! # Ok::<_, a3s_layers::headers::HeaderError>(())
//! # }).unwrap();
//! ```

use http::{HeaderMap, HeaderName};

/// The names that the trailers of one request must not have: an extension of the request.
#[derive(Debug, Clone, Default)]
pub struct TrailerGuard {
    names: Vec<HeaderName>,
}

impl TrailerGuard {
    /// Forbids nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forbids a name, also with `_` for `-`: CGI and its heirs cannot tell them apart.
    pub fn forbid(&mut self, name: &HeaderName) {
        self.names.push(name.clone());
    }

    /// Forbids every name that is in `headers`: those of the head, for what stands there is not said twice.
    pub fn forbid_all(&mut self, headers: &HeaderMap) {
        self.names.extend(headers.keys().cloned());
    }

    /// Removes what is forbidden.
    pub fn strip(&self, trailers: &mut HeaderMap) {
        let is_forbidden =
            |name: &&HeaderName| self.names.iter().any(|forbidden| reads_as(forbidden, name));
        let forged: Vec<HeaderName> = trailers.keys().filter(is_forbidden).cloned().collect();
        for name in forged {
            trailers.remove(name);
        }
    }
}

/// Whether some servers take two names for one.
pub(crate) fn reads_as(a: &HeaderName, b: &HeaderName) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte };
    let (a, b) = (a.as_str(), b.as_str());
    a.len() == b.len() && a.bytes().map(plain).eq(b.bytes().map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_stands_in_the_head_or_was_taken_from_it_is_no_trailer() {
        let map = |names: &[&'static str]| -> HeaderMap {
            let fields = names.iter().map(|name| HeaderName::from_static(name));
            fields
                .map(|name| (name, HeaderValue::from_static("1")))
                .collect()
        };
        let mut guard = TrailerGuard::new();
        guard.forbid(&HeaderName::from_static("x-user"));
        guard.forbid_all(&map(&["x_tenant", "accept"]));
        let mut trailers = map(&["x-user", "x_user", "x-tenant", "accept", "x-sum", "x-users"]);
        trailers.append("x-user", HeaderValue::from_static("2"));
        guard.strip(&mut trailers);
        assert_eq!(trailers, map(&["x-sum", "x-users"]));
    }
}
