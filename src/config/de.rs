//! Reads typed blocks out of the tree: a serde deserializer whose errors know their place.

use super::code::Code;
use super::diagnostic::Problem;
use super::fault::{Fault, Step, expectation};
use super::source::{At, Files};
use super::tree::{Entry, Kind, Map, Node, Origin};
use super::values::{SECRET, SECRETS, STAND_IN, TAGGED};
use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use std::cell::RefCell;

/// What is shared by all nodes of one reading.
pub(crate) struct Context<'a> {
    pub(crate) files: &'a Files,
    /// Where secrets are written.
    pub(crate) secrets: RefCell<Vec<At>>,
}

/// A node, ready to be read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) node: &'a Node,
    pub(crate) context: &'a Context<'a>,
    /// Whether the block's `type` has been read already, and is none of its keys.
    typed: bool,
    /// Whether its keys are known ones: a null is then as if it were not written. Of a name that is free it is a value.
    known: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(node: &'a Node, context: &'a Context<'a>) -> Reader<'a> {
        Reader {
            node,
            context,
            typed: false,
            known: false,
        }
    }

    /// A reader of something inside.
    fn inner(self, node: &'a Node) -> Reader<'a> {
        Reader::new(node, self.context)
    }
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
                match (text.trim().parse::<i128>(), text.trim().parse::<f64>()) {
                    (Ok(int), _) => visit_int(int, visitor),
                    (_, Ok(float)) => visitor.visit_f64(float),
                    _ => visitor.visit_str(text),
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

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.number(visitor)
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
        let is_secret = match self.node.kind {
            Kind::List(_) | Kind::Map(_) => name == SECRET,
            _ => [SECRET, SECRETS].contains(&name),
        };
        if !is_secret {
            return visitor.visit_newtype_struct(self);
        }
        self.context.secrets.borrow_mut().push(self.node.at);
        let expected = expectation(&visitor);
        let read = visitor.visit_newtype_struct(self);
        // A secret that is a number by mistake is not to be quoted either.
        read.map_err(|fault| fault.instead(format!("expected {expected}")))
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
        let reader = Reader {
            known: true,
            ..self
        };
        reader.block(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.visit(visitor, |visitor| match &self.node.kind {
            Kind::Map(map) if name == TAGGED => visitor.visit_enum(Typed { reader: self, map }),
            _ if name == TAGGED => self.block(visitor),
            Kind::Str(text) => {
                let text: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
                visitor.visit_enum(text)
            }
            Kind::StandIn => Err(Fault::new(None)),
            _ => self.any(visitor),
        })
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u128 f32 char str string bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
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
            Some((index, node)) => (seed.deserialize(self.reader.inner(node)))
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
        let Reader { typed, known, .. } = self.reader;
        self.value = self.entries.by_ref().find(|(key, entry)| {
            let is_type = typed && key.as_str() == TAGGED;
            let is_unwritten = known && entry.value.is_null();
            !(is_type || is_unwritten)
        });
        let Some((key, entry)) = self.value else {
            return Ok(None);
        };
        let text: StrDeserializer<'_, Fault> = key.as_str().into_deserializer();
        seed.deserialize(text).map(Some).map_err(|fault| {
            let node = Node {
                origin: self.reader.node.origin,
                ..Node::stand_in(entry.key_at)
            };
            let expected = Some("a key that is known here".to_owned());
            fault
                .place(&node, self.reader.context, expected)
                .under(Step::Key(key.clone()))
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, entry) = self
            .value
            .take()
            .expect("serde asks for a key before its value");
        seed.deserialize(self.reader.inner(&entry.value))
            .map_err(|fault| fault.under(Step::Key(key.clone())))
    }
}

/// A block whose `type` says what its other keys are.
struct Typed<'a> {
    reader: Reader<'a>,
    map: &'a Map,
}

impl<'de, 'a> EnumAccess<'de> for Typed<'a> {
    type Error = Fault;
    type Variant = Reader<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Reader<'a>), Fault> {
        let entry = self.map.entries.get(TAGGED);
        let node = &entry.ok_or_else(|| Fault::missing_field(TAGGED))?.value;
        if node.is_stand_in() {
            return Err(Fault::new(None));
        }
        let kind = seed
            .deserialize(self.reader.inner(node))
            .map_err(|fault| fault.under(Step::Key(TAGGED.to_owned())))?;
        let settings = Reader {
            typed: true,
            ..self.reader
        };
        Ok((kind, settings))
    }
}

impl<'de> VariantAccess<'de> for Reader<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.block(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.block(visitor)
    }
}
