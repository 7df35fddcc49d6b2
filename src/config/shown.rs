//! Reads a configuration as the admin API shows it: whole, without variables, and with `***` where a secret is.

use super::code::Code;
use super::de::Context;
use super::diagnostic::{Diagnostics, Problem};
use super::read::Sections;
use super::source::{At, Files};
use super::test::TestPart;
use super::tree::{Entry, Kind, List, Map, Node};
use super::{ConfigError, GatewayConfig};
use serde_json::Value;
use std::cell::RefCell;
use std::path::PathBuf;

/// What is shown in place of a secret.
const MASK: &str = "***";

/// Takes the credentials out of what may hold some.
#[derive(Clone, Copy)]
pub(crate) struct Redactor<'r> {
    /// A URL without them.
    pub(crate) url: &'r dyn Fn(&str) -> String,
    /// The value of a header without them, by its name.
    pub(crate) header: &'r dyn Fn(&str, &str) -> String,
}

/// What is read here stands in no file, and nothing is said of places in it.
const NOWHERE: At = At {
    file: 0,
    start: 0,
    end: 0,
};

impl GatewayConfig {
    /// Reads what `GET /api/gateway/config` answers. Its secrets are `***`, paths in it are those of the gateway that
    /// showed it, and it is not checked: it is to be compared, and does not run.
    ///
    /// # Errors
    /// It is not the configuration of a gateway, or of one whose version has other keys.
    pub fn from_shown(shown: &Value) -> Result<GatewayConfig, ConfigError> {
        let mut files = Files::default();
        files.add(PathBuf::new(), String::new());
        let context = Context {
            files: &files,
            secrets: RefCell::default(),
        };
        let mut sections = Sections {
            context: &context,
            problems: Vec::new(),
        };
        let mut config = None;
        match node(shown).kind {
            // A gateway shows these always, and nobody else is likely to.
            Kind::Map(mut root)
                if ["entrypoints", "routers", "services"]
                    .iter()
                    .all(|key| root.entries.contains_key(*key)) =>
            {
                let providers = sections.section(&mut root, "providers").unwrap_or_default();
                config = Some(sections.config(&mut root, providers));
            }
            _ => sections.problems.push(Problem::new(
                Code::WrongType,
                "it is not the configuration of a gateway",
            )),
        }
        let mut problems = sections.problems;
        for problem in &mut problems {
            problem.at = None;
            problem.also.clear();
        }
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(Diagnostics::new(problems, &files, &[]).into()),
        }
    }

    /// The same as the admin API shows it.
    pub(crate) fn as_shown(&self, redactor: Redactor<'_>) -> Result<GatewayConfig, ConfigError> {
        let shown = self.without_secrets(redactor);
        GatewayConfig::from_shown(&serde_json::to_value(shown).unwrap_or_default())
    }

    /// The same without what is to be shown to nobody: what tests have from outside their files, and the credentials in
    /// their URLs and headers. Those elsewhere are of types that show none.
    pub(crate) fn without_secrets(&self, redactor: Redactor<'_>) -> GatewayConfig {
        let mut shown = self.clone();
        for (name, test) in &mut shown.tests {
            let show =
                |part: TestPart<'_>, text: &mut String, redacted: &dyn Fn(&str) -> String| {
                    *text = match self.is_from_outside(name, part) {
                        true => MASK.to_owned(),
                        false => redacted(text),
                    };
                };
            let request = &mut test.request;
            show(TestPart::Url, &mut request.url, redactor.url);
            show(TestPart::Of("method"), &mut request.method, &str::to_owned);
            if let Some(name) = &mut request.sni {
                show(TestPart::Of("sni"), name, &str::to_owned);
            }
            for (header, value) in &mut test.expect.headers {
                let redacted = |text: &str| (redactor.header)(header, text);
                show(TestPart::Header(header), value, &redacted);
            }
        }
        shown
    }
}

fn node(value: &Value) -> Node {
    let kind = match value {
        Value::Null => Kind::Null,
        Value::Bool(value) => Kind::Bool(*value),
        Value::Number(number) => match number.as_i128() {
            Some(number) => Kind::Int(number),
            None => Kind::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Kind::Str(text.clone()),
        Value::Array(items) => Kind::List(List {
            items: items.iter().map(node).collect(),
            blocks: false,
        }),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| {
                let value = node(value);
                let key_at = NOWHERE;
                (key.clone(), Entry { key_at, value })
            });
            Kind::Map(Map {
                entries: entries.collect(),
                taken: Vec::new(),
            })
        }
    };
    Node::new(kind, NOWHERE)
}
