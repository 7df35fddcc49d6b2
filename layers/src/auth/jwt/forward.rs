//! Claims that a server is told in headers.

use crate::claims::{Claims, scalar};
use crate::own_header;
use http::{HeaderName, HeaderValue, Request};
use serde_json::Value;

/// A claim, and the header that tells it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    path: Box<str>,
    header: HeaderName,
}

impl Told {
    pub(super) fn new(path: &str, header: HeaderName) -> Self {
        Self {
            path: path.into(),
            header,
        }
    }

    /// What is to be told: a string, a number or a truth value, or a list of them with commas between. None where the
    /// claim is missing, or could not be told without saying something else: an object, an empty text, one with a
    /// line break or with spaces around it, which a server would not see, or a list one of whose texts has a comma.
    pub(super) fn value(&self, claims: &Claims) -> Option<HeaderValue> {
        let text = match claims.get(&self.path)? {
            Value::Array(list) => {
                let texts = list.iter().map(|each| {
                    let text = scalar(each)?;
                    let is_plain = !text.contains(',') && !text.is_empty() && text.trim() == text;
                    is_plain.then_some(text)
                });
                texts.collect::<Option<Vec<_>>>()?.join(",")
            }
            claim => scalar(claim)?.into_owned(),
        };
        if text.is_empty() || text.trim() != text {
            return None;
        }
        // As UTF-8, whatever its letters.
        HeaderValue::from_bytes(text.as_bytes()).ok()
    }

    /// Removes what the client says, and says what is true.
    pub(super) fn tell<B>(&self, request: &mut Request<B>, value: Option<&HeaderValue>) {
        own_header::set(request, &self.header, value);
    }
}
