//! Hashes of passwords, as `htpasswd` and others write them.

use super::super::blind::blind;
use super::apr1;
use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

/// The highest cost of a bcrypt hash: some two seconds of a processor.
const MAX_BCRYPT_COST: u32 = 15;
/// The lowest that there is.
const MIN_BCRYPT_COST: u32 = 4;
/// The most memory that an argon2 hash takes, in KiB.
const MAX_ARGON2_MEMORY: u32 = 256 * 1024;
/// The most that an argon2 hash writes in all its passes, in KiB: some two seconds of a processor.
const MAX_ARGON2_WORK: u64 = 4 * 256 * 1024;
/// The shortest argon2 output that is worth the name, in bytes.
const MIN_ARGON2_OUTPUT: usize = 16;

/// What a password is compared with.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Hash {
    /// A blind digest of a password that was given in plain text.
    Blind([u8; 32]),
    Sha1([u8; 20]),
    Apr1 {
        salt: Box<[u8]>,
        digest: [u8; apr1::DIGEST],
    },
    Bcrypt(Box<str>),
    Argon2id(Box<phc::PasswordHash>),
}

/// Why a hash of a password is not accepted. It never quotes the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Nothing says that it is a hash.
    #[error("the password is not hashed, or by the ancient crypt(3): use `htpasswd -B`")]
    NotHashed,
    /// It is a hash of a kind that is not accepted.
    #[error("hashes of the kind `{0}` are not accepted: use bcrypt (`htpasswd -B`) or argon2id")]
    Kind(&'static str),
    /// It begins like one of a kind and goes on otherwise.
    #[error("the {0} hash is malformed")]
    Malformed(&'static str),
    /// A bcrypt cost out of 4 to 15.
    #[error("the bcrypt cost is {0}, and has to be from {MIN_BCRYPT_COST} to {MAX_BCRYPT_COST}")]
    BcryptCost(u32),
    /// An argon2 hash of more than 256 MiB, or of more than 1 GiB in all its passes.
    #[error(
        "the argon2id hash takes {memory} KiB in {passes} passes: at most {MAX_ARGON2_MEMORY} KiB, and {MAX_ARGON2_WORK} KiB in all passes together"
    )]
    Argon2Cost {
        /// `m`, in KiB.
        memory: u32,
        /// `t`.
        passes: u32,
    },
}

/// The hash could not be computed: there is no memory for it.
#[derive(Debug)]
pub(super) struct OutOfMemory;

const OTHER_KINDS: [(&str, &str); 11] = [
    ("$2x$", "$2x$"),
    ("$2$", "$2$"),
    ("$argon2i$", "argon2i"),
    ("$argon2d$", "argon2d"),
    ("$1$", "md5-crypt"),
    ("$5$", "sha256-crypt"),
    ("$6$", "sha512-crypt"),
    ("$y$", "yescrypt"),
    ("$scrypt$", "scrypt"),
    ("$pbkdf2", "pbkdf2"),
    ("{SSHA}", "{SSHA}"),
];

impl Hash {
    /// What stands for a password that is known in plain text.
    pub(super) fn of_password(password: &[u8]) -> Self {
        Self::Blind(blind([b"password", password]))
    }

    pub(super) fn parse(text: &str) -> Result<Self, HashError> {
        if let Some(base64) = text.strip_prefix("{SHA}") {
            let digest = BASE64_STANDARD.decode(base64).ok();
            let digest = digest.and_then(|digest| digest.try_into().ok());
            return Ok(Self::Sha1(digest.ok_or(HashError::Malformed("{SHA}"))?));
        }
        if let Some(rest) = text.strip_prefix("$apr1$") {
            return parse_apr1(rest).ok_or(HashError::Malformed("apr1"));
        }
        if ["$2a$", "$2b$", "$2y$"]
            .iter()
            .any(|kind| text.starts_with(kind))
        {
            return parse_bcrypt(text);
        }
        if text.starts_with("$argon2id$") {
            return parse_argon2id(text);
        }
        let mut kinds = OTHER_KINDS.iter();
        Err(match kinds.find(|(prefix, _)| text.starts_with(prefix)) {
            Some((_, kind)) => HashError::Kind(kind),
            None => HashError::NotHashed,
        })
    }

    /// Whether it takes long enough to keep others waiting.
    pub(super) fn is_slow(&self) -> bool {
        match self {
            Self::Blind(_) | Self::Sha1(_) => false,
            Self::Apr1 { .. } | Self::Bcrypt(_) | Self::Argon2id(_) => true,
        }
    }

    /// Whether it is the hash of `password`; the comparison takes the same time, wherever they differ.
    pub(super) fn matches(&self, password: &[u8]) -> Result<bool, OutOfMemory> {
        Ok(match self {
            Self::Blind(digest) => blind([b"password", password]).ct_eq(digest).into(),
            Self::Sha1(digest) => Sha1::digest(password).ct_eq(digest).into(),
            Self::Apr1 { salt, digest } => apr1::digest(password, salt).ct_eq(digest).into(),
            // It was parsed before: it cannot fail.
            Self::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Self::Argon2id(hash) => return matches_argon2id(hash, password),
        })
    }
}

fn parse_apr1(rest: &str) -> Option<Hash> {
    let (salt, digest) = rest.split_once('$')?;
    let salt = (salt.len() <= apr1::MAX_SALT).then(|| salt.as_bytes().into())?;
    let digest = digest.as_bytes().try_into().ok()?;
    Some(Hash::Apr1 { salt, digest })
}

fn parse_bcrypt(text: &str) -> Result<Hash, HashError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Malformed("bcrypt"))?;
    match parts.get_cost() {
        MIN_BCRYPT_COST..=MAX_BCRYPT_COST => Ok(Hash::Bcrypt(text.into())),
        cost => Err(HashError::BcryptCost(cost)),
    }
}

fn parse_argon2id(text: &str) -> Result<Hash, HashError> {
    let malformed = HashError::Malformed("argon2id");
    let hash = phc::PasswordHash::new(text).map_err(|_| malformed)?;
    let (params, _) = argon2_parameters(&hash).ok_or(malformed)?;
    let is_whole = hash.salt.is_some()
        && (hash.hash.as_ref()).is_some_and(|output| output.len() >= MIN_ARGON2_OUTPUT);
    if !is_whole {
        return Err(malformed);
    }
    let (memory, passes) = (params.m_cost(), params.t_cost());
    if memory > MAX_ARGON2_MEMORY || u64::from(memory) * u64::from(passes) > MAX_ARGON2_WORK {
        return Err(HashError::Argon2Cost { memory, passes });
    }
    Ok(Hash::Argon2id(Box::new(hash)))
}

fn argon2_parameters(hash: &phc::PasswordHash) -> Option<(Params, Version)> {
    let params = Params::try_from(hash).ok()?;
    let version = Version::try_from(hash.version?).ok()?;
    Some((params, version))
}

fn matches_argon2id(hash: &phc::PasswordHash, password: &[u8]) -> Result<bool, OutOfMemory> {
    let parsed = argon2_parameters(hash).zip(hash.salt.as_ref().zip(hash.hash.as_ref()));
    let ((params, version), (salt, expected)) = parsed.expect("it was parsed before");
    let mut output = [0; phc::Output::MAX_LENGTH];
    let output = &mut output[..expected.len()];
    Argon2::new(Algorithm::Argon2id, version, params)
        .hash_password_into(password, salt, output)
        .map_err(|_| OutOfMemory)?;
    Ok(output[..].ct_eq(expected.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_matches_its_password_and_no_other() {
        for (text, password) in [
            ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "secret"),
            ("$apr1$r31xyz12$onQKKDsjYs7dR4muzW5nu0", "secret"),
            ("$apr1$r31xyz12$IYyyFqiQbGiWVAnIF5GoW.", "pässwörd"),
            (
                "$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
                "secret",
            ),
            (
                "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
                "secret",
            ),
            (
                "$2y$04$abcdefghijklmnopqrstuuyx2n0Zzopyr9QuYTMCfOJJOj526QVoC",
                "pässwörd",
            ),
            // bcrypt reads 72 bytes.
            (
                "$2y$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i",
                &"x".repeat(100),
            ),
            (
                "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQxMjM0NTY3OA$sJpplSekXew1kEWemINJPY1grzqnCfnieOmsPQkTNy0",
                "secret",
            ),
            (
                "$argon2id$v=16$m=128,t=2,p=2$c29tZXNhbHQxMjM0NTY3OA$8vpVxuX5EKID3d2FJaXA8TBNY3ZGPS26N5vPO6lTWkA",
                "secret",
            ),
        ] {
            let hash = Hash::parse(text).expect("a hash");
            let matches = |password: &str| hash.matches(password.as_bytes()).expect("memory");
            assert!(matches(password), "{text}");
            for wrong in [
                "",
                "Secret",
                "secret ",
                "wrong",
                &password[..password.len() / 2],
            ] {
                assert!(!matches(wrong), "{text}: {wrong}");
            }
        }
        let hash = Hash::of_password(b"secret");
        assert!(hash.matches(b"secret").expect("memory") && !hash.matches(b"").expect("memory"));
    }

    #[test]
    fn what_is_no_hash_of_a_good_kind_is_refused() {
        let argon2 = |parameters: &str| {
            format!(
                "$argon2id${parameters}$c29tZXNhbHQxMjM0NTY3OA$sJpplSekXew1kEWemINJPY1grzqnCfnieOmsPQkTNy0"
            )
        };
        let bcrypt = |cost: &str| {
            format!("$2y${cost}$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW")
        };
        let too_much = |memory, passes| HashError::Argon2Cost { memory, passes };
        for (text, error) in [
            ("", HashError::NotHashed),
            ("secret", HashError::NotHashed),
            ("rqXexS6ZhobKA", HashError::NotHashed),
            ("$", HashError::NotHashed),
            ("$1$ab$cd", HashError::Kind("md5-crypt")),
            ("$6$ab$cd", HashError::Kind("sha512-crypt")),
            ("$2x$04$ab", HashError::Kind("$2x$")),
            ("$argon2i$v=19$m=64,t=1,p=1$a$b", HashError::Kind("argon2i")),
            ("{SSHA}abcd", HashError::Kind("{SSHA}")),
            ("{SHA}", HashError::Malformed("{SHA}")),
            ("{SHA}5en6", HashError::Malformed("{SHA}")),
            ("{SHA}ü", HashError::Malformed("{SHA}")),
            ("$apr1$", HashError::Malformed("apr1")),
            (
                "$apr1$123456789$onQKKDsjYs7dR4muzW5nu0",
                HashError::Malformed("apr1"),
            ),
            ("$apr1$r31xyz12$short", HashError::Malformed("apr1")),
            ("$2y$", HashError::Malformed("bcrypt")),
            (
                "$2y$04$üüüüüüüüüüüüüüüüüüüüüüüüüüü",
                HashError::Malformed("bcrypt"),
            ),
            (&bcrypt("xx"), HashError::Malformed("bcrypt")),
            (&bcrypt("03"), HashError::BcryptCost(3)),
            (&bcrypt("16"), HashError::BcryptCost(16)),
            (&bcrypt("99"), HashError::BcryptCost(99)),
            ("$argon2id$", HashError::Malformed("argon2id")),
            (
                "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQxMjM0NTY3OA",
                HashError::Malformed("argon2id"),
            ),
            (
                "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQxMjM0NTY3OA$AAAAAAAA",
                HashError::Malformed("argon2id"),
            ),
            (
                &argon2("v=18$m=64,t=1,p=1"),
                HashError::Malformed("argon2id"),
            ),
            (&argon2("m=64,t=1,p=1"), HashError::Malformed("argon2id")),
            (
                &argon2("v=19$m=1,t=1,p=1"),
                HashError::Malformed("argon2id"),
            ),
            (
                &argon2("v=19$m=64,t=0,p=1"),
                HashError::Malformed("argon2id"),
            ),
            (&argon2("v=19$m=262145,t=1,p=1"), too_much(262_145, 1)),
            (&argon2("v=19$m=65536,t=17,p=1"), too_much(65_536, 17)),
            (
                &argon2("v=19$m=4294967295,t=4294967295,p=1"),
                too_much(u32::MAX, u32::MAX),
            ),
        ] {
            assert_eq!(Hash::parse(text).err(), Some(error), "{text}");
        }
        for text in [bcrypt("15"), argon2("v=19$m=262144,t=4,p=4")] {
            assert!(Hash::parse(&text).is_ok(), "{text}");
        }
    }
}
