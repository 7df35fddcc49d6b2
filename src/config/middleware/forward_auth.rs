//! `type = "forward-auth"`.

use super::Settings;
use crate::config::check::{Key, Place};
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::schema;
use crate::config::values::{duration, header, size};
use crate::config::{HttpUrl, UpstreamTlsConfig};
use a3s_layers::auth::forward_auth::{Credential, Part};
use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Asks another service whether a request may pass; whoever may not gets the answer of that service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardAuthConfig {
    /// What is asked, with a `GET`.
    pub forward_auth_url: HttpUrl,
    /// Headers of a positive answer that are copied onto the request. What clients say in them is removed.
    #[serde(default, with = "header::list")]
    #[schemars(with = "Vec<schema::HeaderName>")]
    pub forward_auth_response_headers: Vec<HeaderName>,
    /// The headers of a request that are sent with the question; none named is all.
    #[serde(default, with = "header::list")]
    #[schemars(with = "Vec<schema::HeaderName>")]
    pub request_headers: Vec<HeaderName>,
    /// Whether what a trusted proxy said in `X-Forwarded-Method`, `-Host`, `-Uri` and `-For` is handed on.
    #[serde(default)]
    pub trust_forward_header: bool,
    /// How long the service may take.
    #[serde(default = "five_seconds", with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub timeout: Duration,
    /// How many requests may wait for the service at a time.
    #[serde(default = "many")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_in_flight: u32,
    /// How large the body of a refusal may be.
    #[serde(default = "one_mib", with = "size")]
    #[schemars(with = "schema::Size")]
    pub max_answer_body: usize,
    /// Which positive answers are remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<DecisionCacheConfig>,
    /// TLS to an `https` service.
    #[serde(default)]
    pub tls: Box<UpstreamTlsConfig>,
}

/// Which positive answers are remembered, and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionCacheConfig {
    /// What says who sends a request: `header:NAME` or `cookie:NAME`.
    pub key: String,
    /// For how long an answer is good.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub ttl: Duration,
    /// How many answers are remembered.
    #[serde(default = "very_many")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_entries: u32,
    /// In what else requests must be alike to have one answer: `method`, `host`, `uri`, `path`, `client-ip` or
    /// `header:NAME`.
    #[serde(default = "whole_request")]
    pub parts: Vec<String>,
}

impl ForwardAuthConfig {
    /// Asks this URL, everything else as it is by default.
    pub fn new(forward_auth_url: HttpUrl) -> ForwardAuthConfig {
        ForwardAuthConfig {
            forward_auth_url,
            forward_auth_response_headers: Vec::new(),
            request_headers: Vec::new(),
            trust_forward_header: false,
            timeout: five_seconds(),
            max_in_flight: many(),
            max_answer_body: one_mib(),
            cache: None,
            tls: Box::default(),
        }
    }
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

fn many() -> u32 {
    1024
}

fn one_mib() -> usize {
    1 << 20
}

fn very_many() -> u32 {
    10_000
}

fn whole_request() -> Vec<String> {
    ["method", "host", "uri"].map(str::to_owned).to_vec()
}

impl Settings for ForwardAuthConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        for (index, name) in self.forward_auth_response_headers.iter().enumerate() {
            let keys = [Key::from("forward_auth_response_headers"), index.into()];
            place.header(&keys, name);
        }
        let (short, long) = (Duration::from_millis(1), Duration::from_secs(60));
        place.duration("timeout", self.timeout, short, long);
        place.number("max_in_flight", self.max_in_flight.into(), 1, 1_000_000);
        place.size("max_answer_body", self.max_answer_body, 0, 64 << 20);
        if let Some(cache) = &self.cache {
            cache.check(place);
        }
        place.tls("tls", &self.tls);
        if !self.forward_auth_url.is_https() && *self.tls != UpstreamTlsConfig::default() {
            place.choice("tls", "`forward_auth_url` is not an `https` URL");
        }
    }

    fn files(&mut self) -> Vec<&mut PathBuf> {
        let tls = &mut *self.tls;
        let files = [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file];
        files.into_iter().flatten().collect()
    }
}

impl DecisionCacheConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        let invalid = |message| Problem::new(Code::InvalidValue, message);
        let key = ["cache".into(), "key".into()];
        match self.key.parse::<Credential>() {
            Ok(Credential::Header(name)) => place.header(&key, &name),
            Ok(Credential::Cookie(_)) => {}
            Err(error) => {
                let message = format!("`{}` is no credential: {error}", self.key);
                place.report(&key, invalid(message));
            }
        }
        let day = Duration::from_secs(24 * 60 * 60);
        place.duration_at(
            &["cache".into(), "ttl".into()],
            self.ttl,
            Duration::from_secs(1),
            day,
        );
        place.number_at(
            &["cache".into(), "max_entries".into()],
            self.max_entries.into(),
            1,
            10_000_000,
        );
        for (index, part) in self.parts.iter().enumerate() {
            let keys = ["cache".into(), "parts".into(), index.into()];
            match part.parse::<Part>() {
                Ok(Part::Header(name)) => place.header_or_host(&keys, &name),
                Ok(_) => {}
                Err(error) => {
                    let message = format!("`{part}` is no part of a request: {error}");
                    place.report(&keys, invalid(message));
                }
            }
        }
        // What is no part at all may have been meant for one of the two, and is told already.
        let tells_pages_apart =
            |part: &String| matches!(part.parse(), Ok(Part::Uri | Part::Path) | Err(_));
        if !self.parts.iter().any(tells_pages_apart) {
            let message = "neither `uri` nor `path` is in it: who may see one page may see all, for as long as `ttl`";
            let problem = Problem::new(Code::WideCache, message);
            let help = "add `uri`, unless the service decides without looking at the path";
            place.report(
                &["cache".into(), "parts".into()],
                problem.help(help.to_owned()),
            );
        }
    }
}
