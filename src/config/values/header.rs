//! Names of header fields.

use super::{STAND_IN, ValueError, parsed};
use http::HeaderName;
use serde::de::{Deserialize, Deserializer};
use serde::ser::Serializer;

fn parse(text: &str) -> Result<HeaderName, ValueError> {
    if text == STAND_IN {
        return Ok(HeaderName::from_static("x-stand-in"));
    }
    text.parse()
        .map_err(|_| ValueError::new(format!("`{text}` is not the name of a header")))
}

pub(crate) fn serialize<S: Serializer>(
    name: &HeaderName,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<HeaderName, D::Error> {
    parsed(deserializer, "the name of a header", parse)
}

struct Name(HeaderName);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        deserialize(deserializer).map(Name)
    }
}

/// A list of names.
pub(crate) mod list {
    use super::{Deserialize, Deserializer, HeaderName, Name, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        names: &[HeaderName],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(names.iter().map(HeaderName::as_str))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<HeaderName>, D::Error> {
        let names = Vec::<Name>::deserialize(deserializer)?;
        Ok(names.into_iter().map(|Name(name)| name).collect())
    }
}

/// Names under keys.
pub(crate) mod map {
    use super::{Deserialize, Deserializer, HeaderName, Name, Serializer};
    use indexmap::IndexMap;

    pub(crate) fn serialize<S: Serializer>(
        map: &IndexMap<String, HeaderName>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(map.iter().map(|(key, name)| (key, name.as_str())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<IndexMap<String, HeaderName>, D::Error> {
        let map = IndexMap::<String, Name>::deserialize(deserializer)?;
        Ok(map
            .into_iter()
            .map(|(key, Name(name))| (key, name))
            .collect())
    }
}

/// The same for a name that may be absent.
pub(crate) mod option {
    use super::{Deserializer, HeaderName, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        name: &Option<HeaderName>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match name {
            Some(name) => super::serialize(name, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<HeaderName>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}
