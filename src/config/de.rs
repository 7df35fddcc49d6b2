//! Reads typed blocks out of the tree: a serde deserializer whose errors know their place.

use super::code::Code;
use super::diagnostic::{Problem, did_you_mean};
use super::source::{At, Files};
use super::tree::{Entry, Kind, Map, Node, Origin};
use super::values::{STAND_IN, ValueError};
use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use std::{cell::RefCell, fmt};

/// What is shared by all nodes of one reading.
pub(crate) struct Context<'a> {
    pub(crate) files: &'a Files,
    /// Where secrets are written.
    pub(crate) secrets: RefCell<Vec<At>>,
}

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
    pub(crate) problem: Option<Problem>,
    /// The way to the node, from the inside out.
    pub(crate) path: Vec<Step>,
    /// The key that the node lacks.
    pub(crate) missing: Option<&'static str>,
    /// Where in the string.
    span: Option<std::ops::Range<usize>>,
    placed: bool,
}

impl Fault {
    fn new(problem: Option<Problem>) -> Fault {
        Fault {
            problem,
            path: Vec::new(),
            missing: None,
            span: None,
            placed: false,
        }
    }

    /// Points a fault that has no place yet at `node`.
    fn place(mut self, node: &Node, context: &Context<'_>, expected: Option<String>) -> Fault {
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

    fn under(mut self, step: Step) -> Fault {
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
fn expectation(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" | "usize" => "a whole number from 0".to_owned(),
        "i64" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a block".to_owned(),
        text if text.starts_with("struct ") => "a block".to_owned(),
        text if text.starts_with("enum ") => "a string".to_owned(),
        _ => text,
    }
}

/// A node, ready to be read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) node: &'a Node,
    pub(crate) context: &'a Context<'a>,
}

impl<'de> Reader<'_> {
    /// Runs a visitor, and gives its error this node's place.
    fn visit<V: Visitor<'de>>(
        self,
        visitor: V,
        run: impl FnOnce(V) -> Result<V::Value, Fault>,
    ) -> Result<V::Value, Fault> {
        let expected = match self.node.origin {
            Origin::Hidden => Some(expectation(&visitor)),
            _ => None,
        };
        run(visitor).map_err(|fault| fault.place(self.node, self.context, expected))
    }

    fn number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor, |visitor| match &self.node.kind {
            Kind::StandIn => Err(Fault::new(None)),
            // What was computed is often text: `"${PORT}"`.
            Kind::Str(text) if self.node.origin != Origin::Literal => {
                match text.trim().parse::<i128>() {
                    Ok(int) => visit_int(int, visitor),
                    Err(_) => visitor.visit_str(text),
                }
            }
            _ => self.any(visitor),
        })
    }

    fn any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::Int(value) => visit_int(*value, visitor),
            Kind::Float(value) => visitor.visit_f64(*value),
            Kind::Str(text) => visitor.visit_str(text),
            Kind::List(_) => self.list(visitor),
            Kind::Map(map) => self.map(map, visitor),
            Kind::StandIn => visitor.visit_str(STAND_IN),
        }
    }

    fn list<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::List(list) => visitor.visit_seq(Elements {
                items: list.items.iter().enumerate(),
                reader: self,
            }),
            // One block where a list is meant is a list of one.
            Kind::Map(_) => visitor.visit_seq(One(Some(self))),
            Kind::StandIn => visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<&str>())),
            _ => self.any(visitor),
        }
    }

    fn map<V: Visitor<'de>>(self, map: &Map, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(Entries {
            entries: map.entries.iter(),
            value: None,
            reader: self,
        })
    }

    fn block<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor, |visitor| match &self.node.kind {
            Kind::Map(map) => self.map(map, visitor),
            Kind::StandIn => Err(Fault::new(None)),
            Kind::List(list) if list.blocks => {
                let second = list.items.get(1).map_or(self.node.at, |node| node.at);
                let problem = Problem::new(Code::Duplicate, "the block is given twice")
                    .at(second)
                    .label("again here");
                let mut fault =
                    Fault::new(Some(problem.also(Some(self.node.at), "first given here")));
                fault.placed = true;
                Err(fault)
            }
            Kind::List(_) => Err(Fault::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.any(visitor),
        })
    }
}

fn visit_int<'de, V: Visitor<'de>>(value: i128, visitor: V) -> Result<V::Value, Fault> {
    match (u64::try_from(value), i64::try_from(value)) {
        (Ok(value), _) => visitor.visit_u64(value),
        (_, Ok(value)) => visitor.visit_i64(value),
        _ => Err(Fault::invalid_type(
            Unexpected::Float(value as f64),
            &visitor,
        )),
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor, |visitor| self.any(visitor))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor, |visitor| match &self.node.kind {
            Kind::StandIn => Err(Fault::new(None)),
            Kind::Str(text) if self.node.origin != Origin::Literal => match text.parse() {
                Ok(value) => visitor.visit_bool(value),
                Err(_) => visitor.visit_str(text),
            },
            _ => self.any(visitor),
        })
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.number(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.number(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.number(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.number(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == super::values::SECRET {
            self.context.secrets.borrow_mut().push(self.node.at);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor, |visitor| self.list(visitor))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.kind {
            Kind::StandIn => {
                visitor.visit_map(MapDeserializer::new(std::iter::empty::<(&str, &str)>()))
            }
            _ => self.block(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.block(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.visit(visitor, |visitor| match &self.node.kind {
            Kind::Str(text) => {
                let text: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
                visitor.visit_enum(text)
            }
            Kind::StandIn => Err(Fault::new(None)),
            _ => self.any(visitor),
        })
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Elements<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    reader: Reader<'a>,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        // An element that was taken out leaves a stand-in, so that the others keep their places.
        match self.items.by_ref().find(|(_, node)| !node.is_stand_in()) {
            Some((index, node)) => (seed.deserialize(Reader {
                node,
                ..self.reader
            }))
            .map(Some)
            .map_err(|fault| fault.under(Step::Index(index))),
            None => Ok(None),
        }
    }
}

struct One<'a>(Option<Reader<'a>>);

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        self.0
            .take()
            .map(|reader| seed.deserialize(reader))
            .transpose()
    }
}

struct Entries<'a> {
    entries: indexmap::map::Iter<'a, String, Entry>,
    value: Option<(&'a String, &'a Entry)>,
    reader: Reader<'a>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.value = self.entries.next();
        let Some((key, entry)) = self.value else {
            return Ok(None);
        };
        let text: StrDeserializer<'_, Fault> = key.as_str().into_deserializer();
        seed.deserialize(text).map(Some).map_err(|fault| {
            let node = Node::stand_in(entry.key_at);
            fault
                .place(&node, self.reader.context, None)
                .under(Step::Key(key.clone()))
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, entry) = self
            .value
            .take()
            .expect("serde asks for a key before its value");
        let reader = Reader {
            node: &entry.value,
            ..self.reader
        };
        seed.deserialize(reader)
            .map_err(|fault| fault.under(Step::Key(key.clone())))
    }
}
