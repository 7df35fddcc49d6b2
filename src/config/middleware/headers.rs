//! `type = "headers"`.

use super::Settings;
use crate::config::Secret;
use crate::config::check::{Key, Place};
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use a3s_layers::headers::{HeaderEdits, HeaderError};
use http::HeaderName;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sets, adds and removes header fields of requests and responses: first what is removed, then what is set, then what
/// is added.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeadersConfig {
    /// Fields to set on requests; an empty value removes the field. The values may be credentials, and are not shown.
    pub request_headers: IndexMap<String, Secret>,
    /// Fields to set on responses; an empty value removes the field.
    pub response_headers: IndexMap<String, String>,
    /// Fields to add to requests, beside those of the same name. The values may be credentials, and are not shown.
    pub add_request_headers: IndexMap<String, Secret>,
    /// Fields to add to responses, beside those of the same name.
    pub add_response_headers: IndexMap<String, String>,
    /// Fields to remove from requests.
    pub remove_request_headers: Vec<String>,
    /// Fields to remove from responses.
    pub remove_response_headers: Vec<String>,
    /// Whether responses get the fields that keep browsers safe, where the server has not set them.
    pub security: bool,
}

impl HeadersConfig {
    /// What is done to requests.
    pub(crate) fn request_edits(&self) -> Result<HeaderEdits, HeaderError> {
        let set = (self.request_headers.iter()).map(|(name, value)| (name, value.expose()));
        let add = (self.add_request_headers.iter()).map(|(name, value)| (name, value.expose()));
        edits(&self.remove_request_headers, set, add)
    }

    /// The fields of requests whose values are not shown.
    pub(crate) fn secret_names(&self) -> impl Iterator<Item = HeaderName> {
        let fields = self.request_headers.iter();
        let fields = fields.chain(&self.add_request_headers);
        // Nothing is a removal.
        let set = fields.filter(|(_, value)| !value.expose().is_empty());
        set.filter_map(|(name, _)| name.parse().ok())
    }

    /// What is done to responses.
    pub(crate) fn response_edits(&self) -> Result<HeaderEdits, HeaderError> {
        let set = (self.response_headers.iter()).map(|(name, value)| (name, value.as_str()));
        let add = (self.add_response_headers.iter()).map(|(name, value)| (name, value.as_str()));
        edits(&self.remove_response_headers, set, add)
    }
}

fn edits<'c>(
    remove: &'c [String],
    set: impl Iterator<Item = (&'c String, &'c str)>,
    add: impl Iterator<Item = (&'c String, &'c str)>,
) -> Result<HeaderEdits, HeaderError> {
    let removed = (remove.iter()).try_fold(HeaderEdits::new(), |edits, name| edits.remove(name))?;
    let set = { set }.try_fold(removed, |edits, (name, value)| edits.set(name, value))?;
    { add }.try_fold(set, |edits, (name, value)| edits.add(name, value))
}

impl Settings for HeadersConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        let mut twice = Vec::new();
        let mut told = |keys: &[Key<'_>], name: &str, result: Result<HeaderEdits, HeaderError>| {
            if let Err(error) = result {
                let problem = Problem::new(Code::InvalidValue, format!("`{name}`: {error}"));
                place.report(keys, problem);
            }
        };
        let new = HeaderEdits::new;
        for (key, names) in [
            ("request_headers", self.request_headers.keys().collect()),
            ("response_headers", self.response_headers.keys().collect()),
            (
                "add_request_headers",
                self.add_request_headers.keys().collect(),
            ),
            (
                "add_response_headers",
                self.add_response_headers.keys().collect::<Vec<_>>(),
            ),
        ] {
            for (index, name) in names.iter().enumerate() {
                let same = |other: &&&String| other.eq_ignore_ascii_case(name);
                if let Some(first) = names[..index].iter().find(same) {
                    let message = format!("`{name}` and `{first}` are one header");
                    twice.push((key, *name, message));
                }
            }
        }
        for (name, value) in &self.request_headers {
            let keys = ["request_headers".into(), Key::Entry(name)];
            told(&keys, name, new().set(name, value.expose()));
        }
        for (name, value) in &self.response_headers {
            let keys = ["response_headers".into(), Key::Entry(name)];
            told(&keys, name, new().set(name, value));
        }
        for (name, value) in &self.add_request_headers {
            let keys = ["add_request_headers".into(), Key::Entry(name)];
            told(&keys, name, new().add(name, value.expose()));
        }
        for (name, value) in &self.add_response_headers {
            let keys = ["add_response_headers".into(), Key::Entry(name)];
            told(&keys, name, new().add(name, value));
        }
        for (key, names) in [
            ("remove_request_headers", &self.remove_request_headers),
            ("remove_response_headers", &self.remove_response_headers),
        ] {
            for (index, name) in names.iter().enumerate() {
                told(&[key.into(), index.into()], name, new().remove(name));
            }
        }
        for (key, name, message) in twice {
            place.report(
                &[key.into(), Key::Entry(name)],
                Problem::new(Code::Duplicate, message),
            );
        }
        if *self == HeadersConfig::default() && place.is_whole() {
            place.choice("security", "the middleware changes no header");
        }
    }
}
