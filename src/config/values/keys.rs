//! Secrets with names or without: `["a", "b"]`, or `{ name = "a" }`.

use super::Secret;
use super::secret::SEVERAL;
use crate::config::check::Key;
use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;

/// Keys, each with a name or none with one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// A list.
    Nameless(Vec<Secret>),
    /// Each under the name of whoever has it.
    Named(IndexMap<String, Secret>),
}

impl Default for Keys {
    fn default() -> Keys {
        Keys::Nameless(Vec::new())
    }
}

impl Keys {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        match self {
            Keys::Nameless(list) => list.is_empty(),
            Keys::Named(map) => map.is_empty(),
        }
    }

    /// All of them, each with its name and its place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key<'_>, Option<&str>, &Secret)> {
        let (list, map) = match self {
            Keys::Nameless(list) => (Some(list), None),
            Keys::Named(map) => (None, Some(map)),
        };
        let list = list.into_iter().flatten().enumerate();
        let list = list.map(|(index, secret)| (Key::from(index), None, secret));
        let map = map.into_iter().flatten();
        list.chain(map.map(|(name, secret)| (Key::from(name), Some(name.as_str()), secret)))
    }
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Keys::Nameless(list) => list.serialize(serializer),
            Keys::Named(map) => map.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Keys, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of keys, or keys under names")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                inner: D,
            ) -> Result<Keys, D::Error> {
                inner.deserialize_any(self)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Keys, A::Error> {
                let mut list = Vec::new();
                while let Some(secret) = items.next_element()? {
                    list.push(secret);
                }
                Ok(Keys::Nameless(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Keys, A::Error> {
                let mut map = IndexMap::new();
                while let Some((name, secret)) = entries.next_entry()? {
                    map.insert(name, secret);
                }
                Ok(Keys::Named(map))
            }
        }

        deserializer.deserialize_newtype_struct(SEVERAL, Read)
    }
}
