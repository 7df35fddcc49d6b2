//! `test "name" { }`: what is expected of a request, rehearsed before the configuration takes effect.

use super::diagnostic::{Diagnostic, Diagnostics};
use super::values::{STAND_IN, Secret, ValueError, parsed};
use super::{Code, GatewayConfig};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// For no router, where `router` names one.
pub const NO_ROUTER: &str = "none";

/// A request, and what is expected of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestConfig {
    /// The request.
    pub request: TestRequestConfig,
    /// What is expected; what is not named here may be anything.
    pub expect: ExpectConfig,
}

/// A request that nobody sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestRequestConfig {
    /// Its method.
    #[serde(default = "get")]
    pub method: String,
    /// Its URL; its scheme and port find the entrypoint, unless that is named. `tls://host:port` is a connection.
    pub url: String,
    /// Its headers. The values may be credentials, and are not shown.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, Secret>,
    /// The address that it comes from.
    #[serde(default = "localhost", deserialize_with = "address")]
    #[schemars(with = "String")]
    pub client_ip: IpAddr,
    /// The server name in the TLS handshake, where it is not the URL's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Protocols offered in the TLS handshake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
    /// The entrypoint that it comes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<String>,
}

/// What is expected of a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectConfig {
    /// The router that it finds; `none` for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// The service that it is led to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The status of an answer that the gateway gives itself; a server is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 599))]
    pub status: Option<u16>,
    /// Headers of that answer, or those that the gateway adds to a server's; an empty value is for one that is not
    /// there.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, String>,
}

/// What becomes of a configuration whose tests fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnTestFailure {
    /// It is refused.
    #[default]
    Reject,
    /// It takes effect, with a warning.
    Warn,
}

fn get() -> String {
    "GET".to_owned()
}

fn localhost() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    parsed(deserializer, "an IP address", |text| match text {
        STAND_IN => Ok(localhost()),
        text => {
            let wrong = |_| ValueError::new(format!("`{text}` is not an IP address"));
            text.parse().map_err(wrong)
        }
    })
}

/// Where tests stand in their files. Two are always equal: a configuration is what it is wherever it stands.
#[derive(Debug, Clone, Default)]
pub struct TestPlaces {
    /// Each with its number in place of a message.
    places: Option<Box<Diagnostics>>,
    /// The number of each part, by its mark.
    marks: BTreeMap<String, String>,
    /// The marks of parts that have values from outside their files.
    hidden: BTreeSet<String>,
}

impl PartialEq for TestPlaces {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A part of a test, as a place is found by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TestPart<'a> {
    /// The request.
    Request,
    /// The URL of the request.
    Url,
    /// The value of this key of the request.
    Of(&'a str),
    /// What is expected: the value of this key.
    Expect(&'a str),
    /// The value of a header that is expected.
    Header(&'a str),
}

impl TestPart<'_> {
    /// What stands for the place of this part of a test.
    pub(super) fn mark(self, test: &str) -> String {
        match self {
            TestPart::Request => format!("{test}\0request"),
            TestPart::Url => TestPart::Of("url").mark(test),
            TestPart::Of(key) => format!("{test}\0request\0{key}"),
            TestPart::Expect(key) => format!("{test}\0expect\0{key}"),
            TestPart::Header(name) => format!("{test}\0header\0{name}"),
        }
    }
}

/// A block by which an answer may be known.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Block<'a> {
    /// A router: its rule.
    Router(&'a str),
    /// A middleware.
    Middleware(&'a str),
    /// A service.
    Service(&'a str),
}

impl<'a> Block<'a> {
    /// Its section, and its name there.
    pub(super) fn place(self) -> (&'static str, &'a str) {
        match self {
            Block::Router(name) => ("routers", name),
            Block::Middleware(name) => ("middlewares", name),
            Block::Service(name) => ("services", name),
        }
    }

    /// What stands for it among the marks; no test has such a one.
    pub(super) fn mark(self) -> String {
        let (section, name) = self.place();
        format!("\0{section}\0{name}")
    }
}

/// What is not as it is expected.
#[derive(Debug, Clone)]
pub(crate) struct TestFailure<'a> {
    pub(crate) test: &'a str,
    pub(crate) part: TestPart<'a>,
    /// What was expected and what came.
    pub(crate) message: String,
    /// The explanation, in short.
    pub(crate) why: Option<String>,
}

impl TestPlaces {
    pub(super) fn new(
        places: Diagnostics,
        marks: BTreeMap<String, String>,
        hidden: BTreeSet<String>,
    ) -> Self {
        Self {
            places: Some(Box::new(places)),
            marks,
            hidden,
        }
    }
}

impl GatewayConfig {
    /// Whether nothing may be told of what became of a test's request: it has values from outside its file.
    pub(crate) fn conceals(&self, test: &str) -> bool {
        self.is_from_outside(test, TestPart::Request)
    }

    /// Whether nothing may be told of what a block makes of a request: it has values from outside its file, which its
    /// types would show.
    pub(crate) fn conceals_block(&self, block: Block<'_>) -> bool {
        self.test_places.hidden.contains(&block.mark())
    }

    /// Whether this part of a test has values from outside its file.
    pub(super) fn is_from_outside(&self, test: &str, part: TestPart<'_>) -> bool {
        self.test_places.hidden.contains(&part.mark(test))
    }

    /// Tells of tests that fail, each at its place.
    pub(crate) fn failed_tests(&self, failures: &[TestFailure<'_>]) -> Diagnostics {
        let code = match self.on_test_failure {
            OnTestFailure::Reject => Code::FailedTest,
            OnTestFailure::Warn => Code::FailedTestWarning,
        };
        let mut told = Diagnostics::default();
        let places = self.test_places.places.as_deref();
        if let (Some(places), false) = (places, failures.is_empty()) {
            told.texts = places.texts.clone();
        }
        for failure in failures {
            let number = self.test_places.marks.get(&failure.part.mark(failure.test));
            let mut noted = places.iter().flat_map(|places| places.iter());
            let noted = noted.find(|noted| Some(&noted.message) == number);
            told.push(Diagnostic {
                severity: code.severity(),
                code,
                message: format!("test `{}`: {}", failure.test, failure.message),
                place: noted.and_then(|noted| noted.place.clone()),
                label: None,
                help: failure.why.clone(),
                example: None,
                also: Vec::new(),
            });
        }
        told
    }
}
