//! Texts where one is as good as a list of one: `"a"`, `["a", "b"]`.

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;

/// One text, or a list of them.
pub(crate) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Read;

    impl<'de> Visitor<'de> for Read {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string, or a list of strings")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<String>, A::Error> {
            let mut list = Vec::new();
            while let Some(text) = items.next_element()? {
                list.push(text);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_any(Read)
}

/// What something may be: texts, numbers and truth values, one or a list, as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted(pub Vec<String>);

impl Serialize for Accepted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Accepted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Accepted, D::Error> {
        struct Read;

        macro_rules! written {
            ($($visit:ident($type:ty)),*) => {$(
                fn $visit<E: Error>(self, value: $type) -> Result<Accepted, E> {
                    Ok(Accepted(vec![value.to_string()]))
                }
            )*};
        }

        impl<'de> Visitor<'de> for Read {
            type Value = Accepted;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number, true or false, or a list of them")
            }

            written!(
                visit_str(&str),
                visit_bool(bool),
                visit_i64(i64),
                visit_u64(u64),
                visit_f64(f64)
            );

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Accepted, A::Error> {
                let mut list = Vec::new();
                while let Some(Accepted(mut texts)) = items.next_element()? {
                    list.append(&mut texts);
                }
                Ok(Accepted(list))
            }
        }

        deserializer.deserialize_any(Read)
    }
}
