//! `type = "compress"`.

use super::Settings;
use crate::config::check::Place;
use crate::config::schema;
use crate::config::values::size;
use a3s_layers::compress::{Coding, ContentTypes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Compresses answers for clients that accept it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CompressConfig {
    /// The codings that may be used; of those that a client likes as much the first is taken.
    pub encodings: Vec<Encoding>,
    /// Answers that say that they are shorter go as they are.
    #[serde(with = "size")]
    #[schemars(with = "schema::Size")]
    pub min_size: usize,
    /// The types of content that are compressed, such as `text/*` and `application/*+json`; none named is those that
    /// are worth it.
    pub content_types: Vec<String>,
    /// How much time to take, from 1 to 9; absent is what suits each coding.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9))]
    pub level: Option<u8>,
    /// The most answers that are compressed at a time; the others go as they are.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_concurrent: usize,
}

/// A way to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Zstandard.
    Zstd,
    /// Brotli.
    Br,
    /// Gzip.
    Gzip,
    /// Zlib, as HTTP calls it.
    Deflate,
}

impl From<Encoding> for Coding {
    fn from(encoding: Encoding) -> Coding {
        match encoding {
            Encoding::Zstd => Coding::Zstd,
            Encoding::Br => Coding::Brotli,
            Encoding::Gzip => Coding::Gzip,
            Encoding::Deflate => Coding::Deflate,
        }
    }
}

impl Default for CompressConfig {
    fn default() -> CompressConfig {
        CompressConfig {
            encodings: vec![
                Encoding::Zstd,
                Encoding::Br,
                Encoding::Gzip,
                Encoding::Deflate,
            ],
            min_size: 1024,
            content_types: Vec::new(),
            level: None,
            max_concurrent: 500,
        }
    }
}

/// Longer bodies are never said to be too short.
const MAX_MIN_SIZE: usize = 1 << 30;

impl Settings for CompressConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        if self.encodings.is_empty() {
            place.invalid("encodings", "there is no encoding to use");
        }
        for (index, encoding) in self.encodings.iter().enumerate() {
            if self.encodings[..index].contains(encoding) {
                let name = Coding::from(*encoding).name();
                place.invalid_at("encodings", index, format!("`{name}` is there already"));
            }
        }
        place.size("min_size", self.min_size, 0, MAX_MIN_SIZE);
        for (index, text) in self.content_types.iter().enumerate() {
            if let Err(error) = ContentTypes::parse([text]) {
                place.invalid_at("content_types", index, format!("`{text}`: {error}"));
            }
        }
        if let Some(level) = self.level {
            place.number("level", level.into(), 1, 9);
        }
        place.number("max_concurrent", self.max_concurrent as u64, 1, 1_000_000);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::told_of;

    #[test]
    fn what_is_no_setting_is_told_where_it_is() {
        let no_type =
            "not a content type; write it like `text/html`, `text/*` or `application/*+json`";
        for (keys, expected) in [
            ("", vec![]),
            (
                "encodings = [\"zstd\", \"brotli\"]",
                vec![
                    "19:22 E006 `brotli` is not one of `zstd`, `br`, `gzip`, `deflate`".to_owned(),
                ],
            ),
            (
                "encodings = []",
                vec!["19:13 E006 there is no encoding to use".to_owned()],
            ),
            (
                "encodings = [\"br\", \"gzip\", \"br\"]",
                vec!["19:28 E006 `br` is there already".to_owned()],
            ),
            (
                "content_types = [\"text/*\", \"text\", \"*/json\"]",
                vec![
                    format!("19:28 E006 `text`: {no_type}"),
                    format!("19:36 E006 `*/json`: {no_type}"),
                ],
            ),
            (
                "min_size = \"2GiB\"\nlevel = 10\nmax_concurrent = 0",
                vec![
                    "19:12 E008 `min_size` is out of range: 2GiB is not from 0B to 1GiB".to_owned(),
                    "20:9 E008 `level` is out of range: 10 is not from 1 to 9".to_owned(),
                    "21:18 E008 `max_concurrent` is out of range: 0 is not from 1 to 1000000"
                        .to_owned(),
                ],
            ),
        ] {
            let told = told_of(&format!(
                "middlewares \"x\" {{\ntype = \"compress\"\n{keys}\n}}"
            ));
            assert_eq!(told, expected, "{keys}");
        }
    }
}
