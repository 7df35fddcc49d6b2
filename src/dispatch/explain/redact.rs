//! What is a credential is not shown.

use crate::stack::redaction::{MASK, Redaction, Target};
use http::{HeaderName, HeaderValue, Uri};

/// The longest value that is shown, in characters.
const LONGEST: usize = 512;

/// Parts of names that are those of credentials.
const TELLING: [&str; 13] = [
    "authoriz",
    "cookie",
    "token",
    "secret",
    "passw",
    "api-key",
    "apikey",
    "api_key",
    "session",
    "credential",
    "signature",
    "jwt",
    "private",
];

/// What is hidden.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Redaction);

impl Secrets {
    /// What `redaction` hides, and whatever has the name of a credential.
    pub fn new(redaction: Redaction) -> Self {
        Self(redaction.and_with(&TELLING))
    }

    /// A URL without them, however long it is.
    pub fn of_url(&self, url: &str) -> String {
        let (text, redaction) = (url.as_bytes(), &self.0);
        Target { text, redaction }.to_string()
    }

    /// The value of a field without them, by its name.
    pub fn of_header(&self, name: &str, value: &str) -> String {
        let name = HeaderName::try_from(name);
        match name.is_ok_and(|name| self.0.hides_header(&name)) {
            true => MASK.to_owned(),
            false => self.of_url(value),
        }
    }

    /// The value of a field; a URL in it tells no more than one elsewhere.
    pub(super) fn header(&self, name: &HeaderName, value: &HeaderValue) -> String {
        match value.is_sensitive() || self.0.hides_header(name) {
            true => MASK.to_owned(),
            false => self.url(value.as_bytes()),
        }
    }

    /// A parameter of the query that is for nobody's eyes.
    pub(super) fn hides_parameter(&self, name: &str) -> bool {
        self.0.hides_parameter(name.as_bytes())
    }

    pub(super) fn target(&self, uri: &Uri) -> String {
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        self.url(target.as_bytes())
    }

    pub(super) fn query(&self, query: &str) -> String {
        self.url(format!("?{query}").as_bytes()).split_off(1)
    }

    fn url(&self, text: &[u8]) -> String {
        let redaction = &self.0;
        shown(&Target { text, redaction }.to_string())
    }
}

/// Cut where it is too long, and in one line.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_by_their_names() {
        let secrets = Secrets::new(Redaction::new(
            ["door", "key"],
            [HeaderName::from_static("x-door")],
        ));
        for (name, shown) in [
            ("authorization", MASK),
            ("cookie", MASK),
            ("x-api-key", MASK),
            ("x-door", MASK),
            ("www-authenticate", "v"),
            ("accept", "v"),
        ] {
            let name = HeaderName::from_static(name);
            assert_eq!(
                secrets.header(&name, &HeaderValue::from_static("v")),
                shown,
                "{name}"
            );
        }
        let uri: Uri = "/a?door=1&access_token=2&page=3&key=4&x"
            .parse()
            .expect("a URI");
        assert_eq!(
            secrets.target(&uri),
            "/a?door=***&access_token=***&page=3&key=***&x"
        );
        let location = HeaderValue::from_static("https://u:p@a/b?%64oor=1&page=2");
        assert_eq!(
            secrets.header(&http::header::LOCATION, &location),
            "https://a/b?%64oor=***&page=2"
        );
    }

    #[test]
    fn what_is_shown_is_one_short_line() {
        assert_eq!(shown("a\r\nb"), "a\u{fffd}\u{fffd}b");
        assert_eq!(shown(&"x".repeat(10_000)).chars().count(), LONGEST + 1);
    }
}
