//! Why a block was not read: serde's errors, with places and in the words of the file.

use super::code::Code;
use super::de::Context;
use super::diagnostic::{Problem, did_you_mean};
use super::tree::{Node, Origin};
use super::values::ValueError;
use serde::de::{Error, Expected, Unexpected};
use std::fmt;

/// A step from a node to one inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// Why a block was not read, and which node of it is to blame.
#[derive(Debug)]
pub(crate) struct Fault {
    /// None where it has been reported already.
    pub(crate) problem: Option<Box<Problem>>,
    /// The way to the node, from the inside out.
    pub(crate) path: Vec<Step>,
    /// The key that the node lacks.
    pub(crate) missing: Option<&'static str>,
    /// Where in the string.
    span: Option<std::ops::Range<usize>>,
    pub(super) placed: bool,
}

impl Fault {
    pub(super) fn new(problem: Option<Problem>) -> Fault {
        Fault {
            problem: problem.map(Box::new),
            path: Vec::new(),
            missing: None,
            span: None,
            placed: false,
        }
    }

    /// Points a fault that has no place yet at `node`.
    pub(super) fn place(
        mut self,
        node: &Node,
        context: &Context<'_>,
        expected: Option<String>,
    ) -> Fault {
        if std::mem::replace(&mut self.placed, true) {
            return self;
        }
        let Some(problem) = &mut self.problem else {
            return self;
        };
        let within = |span| context.files.within(node.at, span);
        let span = self.span.take().filter(|_| node.origin == Origin::Literal);
        problem.at = Some(span.map_or(node.at, within));
        // What is said about a text may quote it: of one from outside, only what it should have been is said.
        if let Some(expected) = expected.filter(|_| node.origin == Origin::Hidden) {
            problem.message = format!("the value is not {expected}");
            problem.help = Some("it comes from outside this file, and is not shown".to_owned());
        }
        self
    }

    /// Says this, where there was something else to say.
    pub(super) fn instead(mut self, message: String) -> Fault {
        if let Some(problem) = &mut self.problem {
            problem.message = message;
        }
        self
    }

    pub(super) fn under(mut self, step: Step) -> Fault {
        self.path.push(step);
        self
    }
}

impl Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        let error = ValueError::decode(&format!("{message:#}"));
        let mut fault = Fault::new(Some(
            Problem::new(Code::InvalidValue, error.message).help(error.help),
        ));
        fault.span = error.span;
        fault
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Fault {
        let expected = expectation(expected);
        let found = match found {
            Unexpected::Bool(value) => value.to_string(),
            Unexpected::Unsigned(value) => value.to_string(),
            Unexpected::Signed(value) => value.to_string(),
            Unexpected::Float(value) => value.to_string(),
            Unexpected::Str(_) | Unexpected::Char(_) => "a string".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Map => "a block".to_owned(),
            _ => "nothing".to_owned(),
        };
        let code = match found.parse::<f64>() {
            Ok(_) if expected.starts_with("a whole number") => Code::OutOfRange,
            _ => Code::WrongType,
        };
        Fault::new(Some(Problem::new(
            code,
            format!("expected {expected}, found {found}"),
        )))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Fault {
        Fault::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Fault {
        let help = did_you_mean(variant, expected.iter().copied());
        let message = format!("`{variant}` is not {}", one_of(expected));
        Fault::new(Some(Problem::new(Code::InvalidValue, message).help(help)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Fault {
        let mut help = did_you_mean(field, expected.iter().copied());
        if help.is_none() {
            help = Some(format!("known here: {}", quoted(expected).join(", ")));
        }
        Fault::new(Some(
            Problem::new(Code::UnknownKey, format!("unknown key `{field}`")).help(help),
        ))
    }

    fn missing_field(field: &'static str) -> Fault {
        let mut fault = Fault::new(Some(Problem::new(
            Code::MissingKey,
            format!("`{field}` is missing"),
        )));
        fault.missing = Some(field);
        fault
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.problem.as_ref().map_or("", |problem| &problem.message))
    }
}

impl std::error::Error for Fault {}

fn quoted(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("`{name}`")).collect()
}

fn one_of(names: &[&str]) -> String {
    match names {
        [only] => format!("`{only}`, which is all that is served"),
        _ => format!("one of {}", quoted(names).join(", ")),
    }
}

/// Rust's words for types, in words of the file.
pub(super) fn expectation(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" | "usize" => "a whole number from 0".to_owned(),
        "i64" => "a whole number".to_owned(),
        "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a block".to_owned(),
        text if text.starts_with("struct ") => "a block".to_owned(),
        text if text.starts_with("enum ") => "one of the words that are known here".to_owned(),
        _ => text,
    }
}
