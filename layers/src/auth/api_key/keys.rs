//! The keys that are known: their digests, and whose they are.

use super::super::blind::blind;
use super::super::lines::{self, LineError};
use http::HeaderValue;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// The longest name of a key, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Keys, each with a name or without. It holds SHA-256 digests of them, and no key.
///
/// ```
/// use a3s_layers::auth::api_key::KeySet;
///
/// let mut keys = KeySet::new();
/// keys.add(None, "a key without a name").unwrap();
/// // What `printf %s 5e0c-a1f7 | sha256sum` prints.
/// let digest = "6eb03028c73217455098a6f43da3a551b0099331897faf82eea75c39f9d3e07c";
/// keys.add_sha256(Some("build"), digest).unwrap();
/// keys.add_lines("# for the nightly run\nnightly:b41d-77c2\n").unwrap();
/// assert_eq!(keys.len(), 3);
/// ```
#[derive(Clone, Default)]
pub struct KeySet {
    /// By a digest of the digest that nobody outside can foresee: neither where a search goes nor when it ends tells
    /// anything of the keys.
    names: HashMap<[u8; 32], Option<HeaderValue>, foldhash::fast::RandomState>,
}

/// Why a key cannot be one. It never quotes the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is empty.
    #[error("the key is empty")]
    Empty,
    /// It has more than [`MAX_KEY_BYTES`].
    #[error("the key is longer than {MAX_KEY_BYTES} bytes")]
    TooLong,
    /// It has control characters, or white space around it, and no header can carry it.
    #[error("the key has control characters, or spaces around it")]
    Unsendable,
    /// It is not what `sha256sum` prints.
    #[error("a digest is 64 hexadecimal digits")]
    NotSha256,
    /// The name is empty, longer than 256 bytes, or has control characters, or spaces around it.
    #[error("the name is empty, too long, or has control characters or spaces around it")]
    Name,
    /// The key is there already: whose is it?
    #[error("the key is there already")]
    Duplicate,
}

impl KeySet {
    /// No key: nobody passes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key. Several may have one name, as while one takes the place of the other.
    pub fn add(&mut self, name: Option<&str>, key: &str) -> Result<(), KeyError> {
        if key.is_empty() {
            return Err(KeyError::Empty);
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong);
        }
        if key.trim() != key || key.contains(char::is_control) {
            return Err(KeyError::Unsendable);
        }
        self.insert(name, Sha256::digest(key).into())
    }

    /// Adds a key by its SHA-256 digest: 64 hexadecimal digits, with `sha256:` before them or not.
    pub fn add_sha256(&mut self, name: Option<&str>, digest: &str) -> Result<(), KeyError> {
        let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
        self.insert(name, unhex(hex).ok_or(KeyError::NotSha256)?)
    }

    /// Adds those of a file: `key`, `name:key`, `sha256:digest` or `name:sha256:digest` in a line. Lines that begin
    /// with `#` are comments. A key with a colon in it needs a name.
    ///
    /// Where a line is wrong, those before it have been added.
    pub fn add_lines(&mut self, text: &str) -> Result<(), LineError<KeyError>> {
        lines::read(text, |line| match line.split_once(':') {
            Some(("sha256", digest)) => self.add_sha256(None, digest),
            Some((name, key)) => match key.strip_prefix("sha256:") {
                Some(digest) => self.add_sha256(Some(name), digest),
                None => self.add(Some(name), key),
            },
            None => self.add(None, line),
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none, and nobody passes.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn insert(&mut self, name: Option<&str>, digest: [u8; 32]) -> Result<(), KeyError> {
        let name = name.map(header_value).transpose()?;
        match self.names.entry(blind([&digest])) {
            Entry::Occupied(_) => Err(KeyError::Duplicate),
            Entry::Vacant(entry) => {
                entry.insert(name);
                Ok(())
            }
        }
    }

    /// The name that belongs to a key, if the key is known.
    pub(super) fn find(&self, key: &[u8]) -> Option<Option<&HeaderValue>> {
        let name = self.names.get(&blind([&Sha256::digest(key)]))?;
        Some(name.as_ref())
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({} keys)", self.len())
    }
}

fn header_value(name: &str) -> Result<HeaderValue, KeyError> {
    let is_plain = name.trim() == name && !name.contains(char::is_control);
    if !is_plain || !(1..=MAX_NAME_BYTES).contains(&name.len()) {
        return Err(KeyError::Name);
    }
    HeaderValue::from_bytes(name.as_bytes()).map_err(|_| KeyError::Name)
}

fn unhex(hex: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let digit = |hex: u8| char::from(hex).to_digit(16);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(bytes)
}
