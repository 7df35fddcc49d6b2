//! Who is known, and the hashes of their passwords.

use super::super::blind::blind;
use super::super::lines::{self, LineError};
use super::check::Verified;
use super::credentials::MAX_CREDENTIALS_BYTES;
use super::hash::{Hash, HashError};
use arc_swap::ArcSwapOption;
use http::HeaderValue;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

/// Names and hashes of passwords, as in a file of `htpasswd`.
///
/// | | made by | off the async threads |
/// |---|---|---|
/// | bcrypt: `$2a$`, `$2b$`, `$2y$`, cost 4 to 15 | `htpasswd -B` | yes |
/// | argon2id: up to 256 MiB, and 1 GiB in all passes | `argon2 -id -e` | yes |
/// | apr1: `$apr1$` (weak) | `htpasswd -m` | yes |
/// | SHA-1: `{SHA}` (weak) | `htpasswd -s` | no |
///
/// Of passwords in plain text it keeps a digest under a key of this process.
///
/// ```
/// use a3s_layers::auth::basic_auth::Users;
///
/// let mut users = Users::new();
/// users.add_lines("# staff\nann:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n").unwrap();
/// users.add_password("bob", "correct horse").unwrap();
/// assert_eq!(users.len(), 2);
/// let error = users.add_lines("cid:in plain text").unwrap_err();
/// assert!(error.to_string().starts_with("line 1: the password is not hashed"));
/// ```
#[derive(Clone, Default)]
pub struct Users {
    all: Vec<Arc<User>>,
    numbers: HashMap<Box<str>, usize, foldhash::fast::RandomState>,
}

pub(super) struct User {
    pub(super) name: HeaderValue,
    pub(super) hash: Hash,
    /// The credentials that were found right last.
    pub(super) verified: ArcSwapOption<Verified>,
}

/// Why a user cannot be one. It never quotes what may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// There is no colon between name and hash.
    #[error("it is not `name:hash`")]
    NoColon,
    /// It is empty, or has a colon or control characters in it (RFC 7617, 2).
    #[error("the name is empty, or has a colon or control characters")]
    Name,
    /// It is empty, or has control characters in it.
    #[error("the password is empty, or has control characters")]
    Password,
    /// Name and password have more bytes than a request may carry.
    #[error("name and password are longer than {MAX_CREDENTIALS_BYTES} bytes")]
    TooLong,
    /// The name is there already: which password is right?
    #[error("the name is there already")]
    Duplicate,
    /// The hash is not accepted.
    #[error(transparent)]
    Hash(#[from] HashError),
}

impl Users {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds somebody with the hash of a password.
    pub fn add_hash(&mut self, name: &str, hash: &str) -> Result<(), UserError> {
        self.insert(name, Hash::parse(hash)?)
    }

    /// Adds somebody with a password.
    pub fn add_password(&mut self, name: &str, password: &str) -> Result<(), UserError> {
        if password.is_empty() || password.contains(char::is_control) {
            return Err(UserError::Password);
        }
        if name.len() + 1 + password.len() > MAX_CREDENTIALS_BYTES {
            return Err(UserError::TooLong);
        }
        self.insert(name, Hash::of_password(password.as_bytes()))
    }

    /// Adds those of a file: `name:hash` in a line. Lines that begin with `#` are comments.
    ///
    /// Where a line is wrong, those before it have been added.
    pub fn add_lines(&mut self, text: &str) -> Result<(), LineError<UserError>> {
        lines::read(text, |line| {
            let (name, hash) = line.split_once(':').ok_or(UserError::NoColon)?;
            self.add_hash(name, hash)
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn insert(&mut self, name: &str, hash: Hash) -> Result<(), UserError> {
        if name.is_empty() || name.contains(|c: char| c == ':' || c.is_control()) {
            return Err(UserError::Name);
        }
        if name.len() >= MAX_CREDENTIALS_BYTES {
            return Err(UserError::TooLong);
        }
        let Entry::Vacant(entry) = self.numbers.entry(name.into()) else {
            return Err(UserError::Duplicate);
        };
        let name = HeaderValue::from_bytes(name.as_bytes()).map_err(|_| UserError::Name)?;
        entry.insert(self.all.len());
        self.all.push(Arc::new(User {
            name,
            hash,
            verified: ArcSwapOption::empty(),
        }));
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&Arc<User>> {
        self.numbers.get(name).map(|number| &self.all[*number])
    }

    /// The user of this name, and whether there is one. Where there is none it is another, whose hash takes its time
    /// instead: always the same one for a name, so that names that are not there take as long as those that are, even
    /// where a file has hashes of several kinds.
    pub(super) fn find(&self, name: &str) -> Option<(&Arc<User>, bool)> {
        let [a, b, c, d, ..] = blind([b"decoy", name.as_bytes()]);
        let number = u32::from_le_bytes([a, b, c, d]) as usize;
        let decoy = self.all.get(number.checked_rem(self.all.len())?)?;
        let known = self.get(name);
        Some((known.unwrap_or(decoy), known.is_some()))
    }

    /// Takes over what was found right before, of those whose hash is the same.
    pub(super) fn remember(mut self, before: &Users) -> Self {
        for (name, number) in &self.numbers {
            let user = &mut self.all[*number];
            if let Some(old) = before.get(name).filter(|old| old.hash == user.hash) {
                *user = Arc::clone(old);
            }
        }
        self
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({} users)", self.len())
    }
}
