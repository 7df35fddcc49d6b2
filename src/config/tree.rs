//! A configuration as a tree of values, each with its place. Blocks, objects and repeated blocks are one thing here.

use super::code::Code;
use super::diagnostic::Problem;
use super::source::At;
use indexmap::{IndexMap, map::Entry as Slot};

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) at: At,
    pub(crate) origin: Origin,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// It stands in the file as it is.
    Literal,
    /// It was computed from what stands in the file.
    Computed,
    /// It comes from the environment or another file: it may be a secret, and is never printed.
    Hidden,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(String),
    List(List),
    Map(Map),
    /// Stands for a value whose problem has been reported: nothing about it is said again.
    StandIn,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct List {
    pub(crate) items: Vec<Node>,
    /// Made of repeated blocks: where one block is meant, this is a duplicate and not a wrong type.
    pub(crate) blocks: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Map {
    pub(crate) entries: IndexMap<String, Entry>,
    /// The keys whose values were reported and taken out.
    pub(crate) taken: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key_at: At,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn new(kind: Kind, at: At) -> Node {
        Node {
            kind,
            at,
            origin: Origin::Literal,
        }
    }

    pub(crate) fn stand_in(at: At) -> Node {
        Node::new(Kind::StandIn, at)
    }

    pub(crate) fn is_stand_in(&self) -> bool {
        matches!(self.kind, Kind::StandIn)
    }

    /// HCL's null for a key that is known is "as if it were not written".
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    pub(crate) fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.kind {
            Kind::Map(map) => Some(map),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub(crate) fn what(&self) -> &'static str {
        match self.kind {
            Kind::Null | Kind::StandIn => "nothing",
            Kind::Bool(_) => "true or false",
            Kind::Int(_) | Kind::Float(_) => "a number",
            Kind::Str(_) => "a string",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a block",
        }
    }

    /// Marks it, and all that is in it, as coming from outside.
    pub(crate) fn hide(&mut self) {
        // All that is in it is then, too.
        if self.origin == Origin::Hidden {
            return;
        }
        self.origin = Origin::Hidden;
        match &mut self.kind {
            Kind::List(list) => list.items.iter_mut().for_each(Node::hide),
            Kind::Map(map) => map
                .entries
                .values_mut()
                .for_each(|entry| entry.value.hide()),
            _ => {}
        }
    }

    /// Whether it, or something in it, comes from outside.
    pub(crate) fn has_hidden(&self) -> bool {
        self.origin == Origin::Hidden
            || match &self.kind {
                Kind::List(list) => list.items.iter().any(Node::has_hidden),
                Kind::Map(map) => map.entries.values().any(|entry| entry.value.has_hidden()),
                _ => false,
            }
    }

    /// How many levels of lists and maps it has.
    pub(crate) fn depth(&self) -> usize {
        match &self.kind {
            Kind::List(list) => 1 + list.items.iter().map(Node::depth).max().unwrap_or(0),
            Kind::Map(map) => {
                1 + map
                    .entries
                    .values()
                    .map(|entry| entry.value.depth())
                    .max()
                    .unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// What copying it costs, roughly: nodes, and text by the sixteen bytes.
    pub(crate) fn weight(&self) -> u64 {
        match &self.kind {
            Kind::Str(text) => 1 + text.len() as u64 / 16,
            Kind::List(list) => 1 + list.items.iter().map(Node::weight).sum::<u64>(),
            Kind::Map(map) => {
                1 + map
                    .entries
                    .values()
                    .map(|entry| entry.value.weight())
                    .sum::<u64>()
            }
            _ => 1,
        }
    }
}

/// How a key came to be written, which decides what a second one means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `key = value`: once.
    Attribute,
    /// `key { }`: a second one makes a list.
    Block,
    /// `key "label" { }`: a second one adds to the first.
    Labelled,
}

impl Map {
    /// Adds an entry; what cannot stand beside one that is there already is reported.
    pub(crate) fn add(
        &mut self,
        key: String,
        key_at: At,
        value: Node,
        form: Form,
        problems: &mut Vec<Problem>,
    ) {
        let slot = match self.entries.entry(key) {
            Slot::Vacant(slot) => {
                slot.insert(Entry { key_at, value });
                return;
            }
            Slot::Occupied(slot) => slot,
        };
        let name = slot.key().clone();
        let there = slot.into_mut();
        let Node { kind, at, origin } = value;
        match (&mut there.value.kind, kind, form) {
            (Kind::Map(map), Kind::Map(more), Form::Labelled) => {
                for (key, entry) in more.entries {
                    map.add(key, entry.key_at, entry.value, Form::Block, problems);
                }
            }
            (Kind::List(list), kind, Form::Block) if list.blocks => {
                list.items.push(Node { kind, at, origin });
            }
            (Kind::Map(_), kind, Form::Block) => {
                let second = Node { kind, at, origin };
                let first = std::mem::replace(&mut there.value, Node::stand_in(at));
                let at = first.at;
                let items = vec![first, second];
                there.value = Node::new(
                    Kind::List(List {
                        items,
                        blocks: true,
                    }),
                    at,
                );
            }
            _ => problems.push(
                Problem::new(Code::Duplicate, format!("`{name}` is given twice"))
                    .at(key_at)
                    .label("again here")
                    .also(Some(there.key_at), "first given here"),
            ),
        }
    }
}
