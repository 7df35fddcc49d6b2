//! The page for people: files that are written by hand and served as they are. It holds nothing of the gateway; what it
//! shows it reads from the admin API, with the token of whoever looks at it.

use super::Live;
use crate::stack::Response;
use a3s_layers::reject::{Shape, reject};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Of};
use axum::response::IntoResponse;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

/// Everything comes from here, and nothing runs that is not a file of ours: not even if a name in the configuration got
/// into the page as markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// A file of the page, under the name that it is asked for.
#[derive(Debug)]
struct Asset {
    name: &'static str,
    content_type: HeaderValue,
    text: &'static str,
    tag: HeaderValue,
}

macro_rules! assets {
    ($($name:literal: $kind:ident,)*) => {
        [$(Asset::new($name, $kind, include_str!(concat!("dashboard/", $name)))),*]
    };
}

static ASSETS: LazyLock<Box<[Asset]>> = LazyLock::new(|| {
    let assets = assets! {
        "index.html": HTML,
        "dashboard.css": STYLE,
        "icon.svg": IMAGE,
        "main.js": SCRIPT,
        "api.js": SCRIPT,
        "dom.js": SCRIPT,
        "format.js": SCRIPT,
        "parts.js": SCRIPT,
        "rates.js": SCRIPT,
        "theme.js": SCRIPT,
        "views.js": SCRIPT,
        "details.js": SCRIPT,
        "explain.js": SCRIPT,
    };
    assets.into()
});

impl Asset {
    fn new(name: &'static str, content_type: &'static str, text: &'static str) -> Self {
        let mut tag = String::from('"');
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        for byte in &digest.as_ref()[..12] {
            // Writing into a String does not fail.
            let _ = write!(tag, "{byte:02x}");
        }
        tag.push('"');
        Self {
            name,
            content_type: HeaderValue::from_static(content_type),
            text,
            tag: HeaderValue::try_from(tag).expect("hexadecimal digits in quotes"),
        }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let mut values = headers.get_all(IF_NONE_MATCH).iter();
        // Exactly what we have sent, or one of several; a weak tag is good enough (RFC 9110, 13.1.2).
        let is_known = values.any(|value| {
            let mut tags = value.as_bytes().split(|byte| *byte == b',');
            tags.any(|tag| {
                let tag = tag.trim_ascii();
                tag.strip_prefix(b"W/").unwrap_or(tag) == self.tag.as_bytes()
            })
        });
        let said: [(HeaderName, HeaderValue); 6] = [
            (ETAG, self.tag.clone()),
            // Another version of the gateway has another page: it is asked each time whether it is still the same.
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (CONTENT_TYPE, self.content_type.clone()),
            (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        match is_known {
            true => (StatusCode::NOT_MODIFIED, said).into_response(),
            false => (said, self.text).into_response(),
        }
    }
}

fn answer(live: &Live, name: &str, headers: &HeaderMap) -> Response {
    let snapshot = live.snapshot();
    let is_on = (snapshot.config.admin.as_ref()).is_some_and(|admin| admin.dashboard);
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    match asset.filter(|_| is_on) {
        Some(asset) => asset.answer(headers),
        None => reject(StatusCode::NOT_FOUND, "no such page", Shape::Json),
    }
}

pub(super) async fn page(Of(live): Of<Arc<Live>>, headers: HeaderMap) -> Response {
    answer(&live, "index.html", &headers)
}

pub(super) async fn file(
    Of(live): Of<Arc<Live>>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let name = name.map(|Path(name)| name).unwrap_or_default();
    answer(&live, &name, &headers)
}

/// The page finds its files and the API relative to itself, so it must end in a slash. The target is relative too: a
/// router may have taken a prefix off the path.
pub(super) async fn slash(Of(live): Of<Arc<Live>>, headers: HeaderMap) -> Response {
    let mut response = answer(&live, "index.html", &headers);
    if response.status() != StatusCode::NOT_FOUND {
        response = StatusCode::PERMANENT_REDIRECT.into_response();
        let target = HeaderValue::from_static("dashboard/");
        response.headers_mut().insert(LOCATION, target);
    }
    response
}
