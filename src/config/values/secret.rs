//! A value that is never printed.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use subtle::ConstantTimeEq;

/// A password, a token, a key. It prints and serializes as `***`; two are compared in constant time.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one place that has to send or compare it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares with what a client sent; the time taken depends on the lengths alone.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(candidate).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl From<String> for Secret {
    fn from(value: String) -> Secret {
        Secret(value)
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Secret {
        Secret(value.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// The name under which a secret asks for its string: the loader then keeps the text out of everything it prints.
pub(crate) const NEWTYPE: &str = "Secret";

/// The same for several of them, which are kept out only where they are a single text by mistake.
pub(crate) const SEVERAL: &str = "Secrets";

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        struct Wrapped;

        impl<'de> serde::de::Visitor<'de> for Wrapped {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                inner: D,
            ) -> Result<Secret, D::Error> {
                String::deserialize(inner).map(Secret)
            }
        }

        deserializer.deserialize_newtype_struct(NEWTYPE, Wrapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_and_serializes_as_stars() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(serde_json::to_string(&secret).unwrap(), r#""***""#);
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn secrets_are_equal_by_value() {
        assert_eq!(Secret::from("a"), Secret::from("a"));
        assert_ne!(Secret::from("a"), Secret::from("ab"));
        assert!(Secret::from("a").matches(b"a") && !Secret::from("a").matches(b""));
    }
}
