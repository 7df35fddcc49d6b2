//! What is a credential is not shown.

use http::{HeaderName, HeaderValue, Uri};
use std::collections::HashSet;

/// In place of a credential.
pub(super) const HIDDEN: &str = "***";

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

/// Which names are those of credentials, beside those that tell it themselves.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// Headers that hold one, in lower case.
    pub headers: HashSet<String>,
    /// Parameters of the query that do.
    pub parameters: HashSet<String>,
}

impl Secrets {
    pub(super) fn header(&self, name: &HeaderName, value: &HeaderValue) -> String {
        if value.is_sensitive() || self.headers.contains(name.as_str()) || tells(name.as_str()) {
            return HIDDEN.to_owned();
        }
        shown(&String::from_utf8_lossy(value.as_bytes()))
    }

    /// A parameter of the query that is for nobody's eyes.
    pub(super) fn hides_parameter(&self, name: &str) -> bool {
        self.parameters.contains(name) || tells(&name.to_ascii_lowercase()) || name == "key"
    }

    pub(super) fn target(&self, uri: &Uri) -> String {
        let path = uri.path();
        match uri.query() {
            None => shown(path),
            Some(query) => shown(&format!("{path}?{}", self.query(query))),
        }
    }

    pub(super) fn query(&self, query: &str) -> String {
        let pair = |pair: &str| match pair.split_once('=') {
            Some((name, _)) if self.hides_parameter(name) => format!("{name}={HIDDEN}"),
            _ => pair.to_owned(),
        };
        query.split('&').map(pair).collect::<Vec<_>>().join("&")
    }
}

fn tells(name: &str) -> bool {
    TELLING.iter().any(|part| name.contains(part))
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
        let secrets = Secrets {
            headers: ["x-door".to_owned()].into(),
            parameters: ["door".to_owned()].into(),
        };
        for (name, shown) in [
            ("authorization", HIDDEN),
            ("cookie", HIDDEN),
            ("x-api-key", HIDDEN),
            ("x-door", HIDDEN),
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
    }

    #[test]
    fn what_is_shown_is_one_short_line() {
        assert_eq!(shown("a\r\nb"), "a\u{fffd}\u{fffd}b");
        assert_eq!(shown(&"x".repeat(10_000)).chars().count(), LONGEST + 1);
    }
}
