//! How a token may be signed (RFC 7518, 3.1; RFC 8037; RFC 9864).

use std::fmt;
use std::str::FromStr;

/// An algorithm that signs tokens. There is none called `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-256 and a secret.
    Hs256,
    /// HMAC with SHA-384 and a secret.
    Hs384,
    /// HMAC with SHA-512 and a secret.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// Ed25519, which tokens call `EdDSA`, or `Ed25519` (RFC 9864). There is no Ed448.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// Its name, as in `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether its key is a secret that signs as well, and not a public key.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

/// A name that is none of an algorithm's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an algorithm that tokens are signed with here")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let mut all = Self::ALL.into_iter();
        match name {
            "Ed25519" => Ok(Self::EdDsa),
            _ => all.find(|each| each.name() == name).ok_or(UnknownAlgorithm),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Some algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Algorithms(u16);

impl Algorithms {
    pub(super) const fn of(list: &[Algorithm]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < list.len() {
            bits |= 1 << list[at] as u16;
            at += 1;
        }
        Self(bits)
    }

    pub(super) fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & Self::of(&[algorithm]).0 != 0
    }

    pub(super) fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    pub(super) fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_one_algorithm() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            assert!(Algorithms::of(&Algorithm::ALL).contains(algorithm));
            assert!(!Algorithms::of(&[]).contains(algorithm));
        }
        assert_eq!("Ed25519".parse(), Ok(Algorithm::EdDsa));
        for name in ["none", "None", "hs256", "ES256K", "Ed448", "RSA-OAEP", ""] {
            assert_eq!(name.parse::<Algorithm>(), Err(UnknownAlgorithm), "{name}");
        }
    }
}
