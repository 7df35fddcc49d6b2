//! A token as it comes: three parts of base64url with dots between (RFC 7515, 3.1; RFC 7519, 7.2).

use super::algorithm::Algorithm;
use super::key::Signed;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A token in its parts, nothing of it verified.
pub(super) struct Token<'t> {
    algorithm: Option<Algorithm>,
    key_id: Option<String>,
    message: &'t [u8],
    claims: &'t str,
    signature: &'t str,
}

/// What is read of a token's header. `jwk`, `jku`, `x5c` and `x5u` are not: a token has no say in its key.
#[derive(Deserialize)]
struct Header<'t> {
    #[serde(borrow)]
    alg: Cow<'t, str>,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl<'t> Token<'t> {
    /// None where it is no signed token, or one with extensions that must be understood (`crit`), as none is here.
    pub(super) fn read(text: &'t str) -> Option<Self> {
        if text.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let (message, signature) = text.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        if claims.contains('.') {
            return None;
        }
        let header = decode(header)?;
        let header: Header<'_> = serde_json::from_slice(&header).ok()?;
        if header.crit.is_some() {
            return None;
        }
        Some(Self {
            algorithm: header.alg.parse().ok(),
            key_id: header.kid,
            message: message.as_bytes(),
            claims,
            signature,
        })
    }

    /// How it says that it is signed; none where that is no algorithm that is known here, or is `none`.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// The key that it says it is signed with.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// What of it is to be verified, with an algorithm that is accepted.
    pub(super) fn signed(&self, algorithm: Algorithm) -> Option<Signed<'_>> {
        Some(Signed {
            algorithm,
            key_id: self.key_id(),
            message: self.message,
            signature: decode(self.signature)?,
        })
    }

    /// What it says, to be read when it is verified.
    pub(super) fn claims(&self) -> Option<Map<String, Value>> {
        serde_json::from_slice(&decode(self.claims)?).ok()
    }
}

/// Strictly: a token that could be written in two ways could be two to a cache.
fn decode(part: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(part).ok()
}
