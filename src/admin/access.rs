//! Who may ask.

use super::Live;
use crate::config::AdminConfig;
use crate::stack::{Request, Response};
use a3s_layers::peer::Client;
use a3s_layers::reject::{Shape, reject};
use axum::extract::State;
use axum::middleware::Next;
use http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Only from the configured addresses, if any are.
pub(super) async fn require_address(
    State(live): State<Arc<Live>>,
    request: Request,
    next: Next,
) -> Response {
    let snapshot = live.snapshot();
    let is_allowed = snapshot.config.admin.as_ref().is_none_or(|admin| {
        let client = request.extensions().get::<Client>();
        admin.allowed_ips.is_empty()
            || client.is_some_and(|client| {
                let allowed = &mut admin.allowed_ips.iter();
                allowed.any(|network| network.contains(&client.ip()))
            })
    });
    if !is_allowed {
        let shape = Shape::of(request.headers());
        return reject(StatusCode::FORBIDDEN, "this address may not ask", shape);
    }
    next.run(request).await
}

/// Where whoever is on this machine may ask without a token, only under a name that no web page has: else a page
/// whose name is made to mean this machine could read all of it in the browser of somebody who is (DNS rebinding).
pub(super) async fn require_local_name(
    State(live): State<Arc<Live>>,
    request: Request,
    next: Next,
) -> Response {
    let snapshot = live.snapshot();
    let is_open = (snapshot.config.admin.as_ref())
        .is_some_and(|admin| admin.token.is_none() && admin.address.is_local());
    let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
    if is_open && !host.is_none_or(is_local_name) {
        let shape = Shape::of(request.headers());
        let message = "ask for an address or for localhost, or set `admin.token`";
        return reject(StatusCode::FORBIDDEN, message, shape);
    }
    next.run(request).await
}

/// Nothing that a browser asks for on behalf of a page from elsewhere, whose reader is not asked. The pages for people
/// may be linked to: they hold nothing.
pub(super) async fn refuse_foreign_pages(request: Request, next: Next) -> Response {
    let is_of_api = request.uri().path().starts_with("/api/");
    if is_of_api && is_of_foreign_page(request.headers()) {
        let shape = Shape::of(request.headers());
        let message = "a page from elsewhere may not ask";
        return reject(StatusCode::FORBIDDEN, message, shape);
    }
    next.run(request).await
}

/// What the browser says of the page (Fetch Metadata, 2.3), which no page can say otherwise; of a browser that does not
/// say it, its `Origin`.
fn is_of_foreign_page(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return ![&b"same-origin"[..], b"none"].contains(&site.as_bytes());
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    // TLS may be ended before us: the scheme is not looked at.
    let origin = origin.as_bytes();
    let host = memchr::memmem::find(origin, b"://").map(|at| &origin[at + 3..]);
    let own = headers.get(HOST).map(HeaderValue::as_bytes);
    !host
        .zip(own)
        .is_some_and(|(host, own)| host.eq_ignore_ascii_case(own))
}

/// An address, or `localhost` or a name below it, which no DNS may say otherwise of (RFC 6761, 6.3).
fn is_local_name(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None if host.parse::<Ipv6Addr>().is_ok() => return true,
        None => host.split(':').next().unwrap_or_default(),
    };
    let labels = name.strip_suffix('.').unwrap_or(name).rsplit('.');
    name.parse::<IpAddr>().is_ok()
        || labels
            .take(1)
            .all(|last| last.eq_ignore_ascii_case("localhost"))
}

/// Only with the configured token, if there is one.
pub(super) async fn require_token(
    State(live): State<Arc<Live>>,
    request: Request,
    next: Next,
) -> Response {
    let snapshot = live.snapshot();
    if !has_token(snapshot.config.admin.as_ref(), &request) {
        let shape = Shape::of(request.headers());
        let mut response = reject(StatusCode::UNAUTHORIZED, "a token is needed", shape);
        let challenge = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        return response;
    }
    next.run(request).await
}

fn has_token(admin: Option<&AdminConfig>, request: &Request) -> bool {
    let Some(token) = admin.and_then(|admin| admin.token.as_ref()) else {
        return true;
    };
    let Some(value) = request.headers().get(AUTHORIZATION) else {
        return false;
    };
    match value.as_bytes().split_at_checked(7) {
        Some((scheme, given)) => scheme.eq_ignore_ascii_case(b"bearer ") && token.matches(given),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_from_elsewhere_is_known_by_what_its_browser_says() {
        for (site, origin, is_foreign) in [
            (None, None, false),
            (Some("same-origin"), None, false),
            (Some("same-origin"), Some("http://behind.example"), false),
            (Some("none"), None, false),
            (Some("cross-site"), None, true),
            (Some("same-site"), None, true),
            (Some("cross-site"), Some("http://h:9090"), true),
            (None, Some("http://h:9090"), false),
            (None, Some("https://H:9090"), false),
            (None, Some("http://h"), true),
            (None, Some("http://h:9090.evil.example"), true),
            (None, Some("http://evil.example"), true),
            (None, Some("null"), true),
            (None, Some(""), true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("h:9090"));
            for (name, value) in [(SEC_FETCH_SITE, site), (ORIGIN, origin)] {
                headers.extend(value.map(|value| (name, HeaderValue::from_static(value))));
            }
            assert_eq!(
                is_of_foreign_page(&headers),
                is_foreign,
                "{site:?} {origin:?}"
            );
        }
    }

    #[test]
    fn a_local_name_is_an_address_or_localhost() {
        for (host, is_local) in [
            ("127.0.0.1:9090", true),
            ("127.0.0.1", true),
            ("192.0.2.1:9090", true),
            ("[::1]:9090", true),
            ("[::1]", true),
            ("::1", true),
            ("localhost", true),
            ("LocalHost:9090", true),
            ("localhost.", true),
            ("gateway.localhost:9090", true),
            ("evil.example", false),
            ("evil.example:9090", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("notlocalhost", false),
            ("", false),
        ] {
            assert_eq!(is_local_name(host.as_bytes()), is_local, "{host}");
        }
    }
}
