//! Names of algorithms.

use crate::config::diagnostic::did_you_mean;
use crate::config::values::{STAND_IN, ValueError, parsed};
use a3s_layers::auth::jwt::Algorithm;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

struct Named(Algorithm);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Named, D::Error> {
        parsed(deserializer, "the name of an algorithm", parse).map(Named)
    }
}

fn parse(text: &str) -> Result<Algorithm, ValueError> {
    if text == STAND_IN {
        return Ok(Algorithm::Hs256);
    }
    text.parse().map_err(|_| {
        let error = ValueError::new(format!(
            "`{text}` is not an algorithm that tokens are signed with"
        ));
        let names = Algorithm::ALL.map(Algorithm::name);
        let help = did_you_mean(&text.to_uppercase(), names);
        error.help(help.unwrap_or_else(|| format!("there are {}", names.join(", "))))
    })
}

pub(super) fn serialize<S: Serializer>(
    list: &[Algorithm],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let names = list.iter().map(|algorithm| algorithm.name());
    names.collect::<Vec<_>>().serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Algorithm>, D::Error> {
    let list = Vec::<Named>::deserialize(deserializer)?;
    Ok(list.into_iter().map(|Named(algorithm)| algorithm).collect())
}
