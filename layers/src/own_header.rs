//! Headers of a request in which its client has no say.

use crate::trailers::{TrailerGuard, reads_as};
use http::{HeaderMap, HeaderName, HeaderValue, Request};

/// Removes what the client says in the header `name`, also where it writes `_` for `-`: CGI and its heirs cannot tell
/// them apart. It must not say it in trailers either.
pub(crate) fn clear<B>(request: &mut Request<B>, name: &HeaderName) {
    let headers = request.headers_mut();
    headers.remove(name);
    if has_lookalikes(name) {
        remove_lookalikes(headers, name);
    }
    forbid_in_trailers(request, name);
}

/// The same, and then says what is true, where that is known.
pub(crate) fn set<B>(request: &mut Request<B>, name: &HeaderName, value: Option<&HeaderValue>) {
    clear(request, name);
    if let Some(value) = value {
        request.headers_mut().insert(name.clone(), value.clone());
    }
}

/// Only the trailers: for a header of which the client keeps a part.
pub(crate) fn forbid_in_trailers<B>(request: &mut Request<B>, name: &HeaderName) {
    if let Some(guard) = request.extensions_mut().get_mut::<TrailerGuard>() {
        guard.forbid(name);
    }
}

fn has_lookalikes(name: &HeaderName) -> bool {
    name.as_str().contains(['-', '_'])
}

fn remove_lookalikes(headers: &mut HeaderMap, name: &HeaderName) {
    // Nearly always empty, and then it allocates nothing.
    let forged: Vec<HeaderName> = headers
        .keys()
        .filter(|other| reads_as(name, other))
        .cloned()
        .collect();
    for name in forged {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_no_say_in_who_it_is() {
        let name = HeaderName::from_static("x-auth-user");
        for identity in [None, Some(HeaderValue::from_static("ann"))] {
            let mut request = Request::new(());
            request.extensions_mut().insert(TrailerGuard::new());
            let headers = request.headers_mut();
            for name in ["x-auth-user", "x_auth_user", "x-auth_user", "x-auth-users"] {
                headers.append(name, HeaderValue::from_static("root"));
            }
            headers.append("x-auth-user", HeaderValue::from_static("root"));
            let mut trailers = headers.clone();
            set(&mut request, &name, identity.as_ref());
            let headers = request.headers();
            assert_eq!(headers.get("x-auth-user"), identity.as_ref());
            assert_eq!(headers.len(), 1 + usize::from(identity.is_some()));
            assert_eq!(headers["x-auth-users"], "root");
            let guard = request.extensions().get::<TrailerGuard>().expect("a guard");
            guard.strip(&mut trailers);
            assert_eq!(trailers.len(), 1);
        }
    }
}
