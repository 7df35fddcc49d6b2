//! Where in the files a part of the configuration stands.

use crate::config::source::{At, Files};
use crate::config::tree::{Kind, Map, Node, Origin};
use std::collections::BTreeSet;
use std::ops::Range;

/// A step from a part of the configuration to one inside it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key<'a> {
    /// The value of a key.
    Name(&'a str),
    /// The key itself.
    Entry(&'a str),
    /// An element of a list.
    Index(usize),
    /// The bytes of a string.
    Span(usize, usize),
}

impl<'a> From<&'a str> for Key<'a> {
    fn from(name: &'a str) -> Key<'a> {
        Key::Name(name)
    }
}

impl<'a> From<&'a String> for Key<'a> {
    fn from(name: &'a String) -> Key<'a> {
        Key::Name(name)
    }
}

impl From<usize> for Key<'_> {
    fn from(index: usize) -> Self {
        Key::Index(index)
    }
}

impl From<Range<usize>> for Key<'_> {
    fn from(span: Range<usize>) -> Self {
        Key::Span(span.start, span.end)
    }
}

macro_rules! keys {
    ($($key:expr),* $(,)?) => { [$($crate::config::check::place::Key::from($key)),*] };
}
pub(super) use keys;

/// The tree that a configuration was read from.
#[derive(Clone, Copy)]
pub(crate) struct Tree<'a> {
    pub(crate) root: &'a Map,
    pub(crate) files: &'a Files,
}

impl Tree<'_> {
    /// The place of a part; of the nearest part around it where it is not written. None where something on the way was
    /// taken out or stood in for: its problem is known, and one that follows from it would only confuse.
    pub(in crate::config) fn look(&self, path: &[Key<'_>]) -> Option<Option<At>> {
        let mut at = None;
        let mut map = Some(self.root);
        let mut list: Option<&[_]> = None;
        let mut literal = false;
        for key in path {
            let node = match key {
                Key::Span(start, end) => {
                    return Some(at.map(|at| match literal {
                        true => self.files.within(at, *start..*end),
                        false => at,
                    }));
                }
                Key::Name(name) | Key::Entry(name) => {
                    let Some(map) = map else { return Some(at) };
                    if map.taken.iter().any(|taken| taken == name) {
                        return None;
                    }
                    let Some(entry) = map.entries.get(*name) else {
                        return Some(at);
                    };
                    if let Key::Entry(_) = key {
                        return Some(Some(entry.key_at));
                    }
                    &entry.value
                }
                Key::Index(index) => match list {
                    Some(items) => match items
                        .iter()
                        .filter(|item: &&Node| !item.is_stand_in())
                        .nth(*index)
                    {
                        Some(node) => node,
                        None => return Some(at),
                    },
                    // A list of one, written as a block.
                    None => continue,
                },
            };
            at = Some(node.at);
            literal = node.origin == Origin::Literal;
            (map, list) = match &node.kind {
                Kind::Map(map) => (Some(map), None),
                Kind::List(list) => (None, Some(list.items.as_slice())),
                Kind::StandIn => return None,
                _ => (None, None),
            };
        }
        // A list that lost an element is not what was written.
        match list {
            Some(items) if items.iter().any(|item| item.is_stand_in()) => None,
            _ => Some(at),
        }
    }
}

fn shows_hidden(node: &Node, secrets: &BTreeSet<At>) -> bool {
    if secrets.contains(&node.at) {
        return false;
    }
    match &node.kind {
        Kind::List(list) => list.items.iter().any(|item| shows_hidden(item, secrets)),
        Kind::Map(map) => {
            let mut entries = map.entries.values();
            entries.any(|entry| shows_hidden(&entry.value, secrets))
        }
        _ => node.origin == Origin::Hidden,
    }
}

fn is_whole(map: &Map) -> bool {
    let mut values = map.entries.values().map(|entry| &entry.value);
    map.taken.is_empty() && values.all(is_whole_value)
}

fn is_whole_value(node: &Node) -> bool {
    match &node.kind {
        Kind::StandIn => false,
        Kind::Map(map) => is_whole(map),
        Kind::List(list) => list.items.iter().all(is_whole_value),
        _ => true,
    }
}

impl Tree<'_> {
    /// Whether `name` was declared in a section, readable or not. Where the section itself is broken, everything is
    /// taken for declared.
    pub(super) fn declares(&self, section: &str, name: &str) -> bool {
        match self
            .root
            .entries
            .get(section)
            .map(|entry| &entry.value.kind)
        {
            Some(Kind::Map(map)) => map.entries.contains_key(name),
            Some(_) => true,
            None => self.root.taken.iter().any(|taken| taken == section),
        }
    }

    /// Whether nothing is written in a block, right or wrong.
    pub(super) fn is_empty(&self, path: &[Key<'_>]) -> bool {
        let mut map = self.root;
        for key in path {
            let (Key::Name(name) | Key::Entry(name)) = key else {
                return true;
            };
            match map.entries.get(*name).map(|entry| &entry.value.kind) {
                Some(Kind::Map(inner)) => map = inner,
                Some(_) => return false,
                None => return true,
            }
        }
        let mut values = map.entries.values().map(|entry| &entry.value);
        map.taken.is_empty() && values.all(Node::is_null)
    }

    /// Whether nothing of a block, or of what is in it, was taken out.
    pub(super) fn is_whole(&self, path: &[Key<'_>]) -> bool {
        let mut map = self.root;
        for key in path {
            let (Key::Name(name) | Key::Entry(name)) = key else {
                return true;
            };
            match map.entries.get(*name).map(|entry| &entry.value.kind) {
                Some(Kind::Map(inner)) => map = inner,
                Some(Kind::StandIn) => return false,
                _ => return true,
            }
        }
        is_whole(map)
    }

    /// A value that comes from outside the files, and must not be printed.
    pub(super) fn hidden(&self, path: &[Key<'_>]) -> Option<&Node> {
        let mut outer = None;
        for key in path {
            let node = self.within(outer, key)?;
            if node.origin == Origin::Hidden {
                return Some(node);
            }
            outer = Some(node);
        }
        None
    }

    /// Whether a value, or something in it, comes from outside the files.
    pub(super) fn has_hidden(&self, path: &[Key<'_>]) -> bool {
        let mut steps = path.iter();
        let found = steps.try_fold(None, |outer, key| self.within(outer, key).map(Some));
        found.flatten().is_some_and(Node::has_hidden)
    }

    /// The same, but for what `secrets` has the places of: its types show it to nobody.
    pub(super) fn shows_hidden(&self, path: &[Key<'_>], secrets: &BTreeSet<At>) -> bool {
        let mut steps = path.iter();
        let found = steps.try_fold(None, |outer, key| self.within(outer, key).map(Some));
        found
            .flatten()
            .is_some_and(|node| shows_hidden(node, secrets))
    }

    /// The node that a key leads to, from the root or from `outer`.
    fn within<'n>(&'n self, outer: Option<&'n Node>, key: &Key<'_>) -> Option<&'n Node> {
        match (key, outer.map(|outer| &outer.kind)) {
            (Key::Name(name), None) => self.root.entries.get(*name).map(|entry| &entry.value),
            (Key::Name(name), Some(Kind::Map(map))) => {
                map.entries.get(*name).map(|entry| &entry.value)
            }
            (Key::Index(index), Some(Kind::List(list))) => list
                .items
                .iter()
                .filter(|item| !item.is_stand_in())
                .nth(*index),
            // A list of one, written as a block.
            (Key::Index(_), Some(Kind::Map(_))) => outer,
            _ => None,
        }
    }
}
