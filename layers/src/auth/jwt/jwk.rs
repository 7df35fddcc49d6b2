//! Keys as JSON (RFC 7517).

use super::algorithm::Algorithm;
use super::key::{Key, KeySet, MAX_UNNAMED_KEYS};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

/// The most keys that are taken of a set; those behind are left.
pub(super) const MAX_KEYS: usize = 128;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The public keys of a set that verify tokens: each is looked at alone, and one of no use spoils no other. None where
/// it is no set, or has no such key. Secrets (`oct`) are not taken from it, for whoever reads it could sign with them.
pub(super) fn read(json: &[u8]) -> Option<KeySet> {
    let set: Set = serde_json::from_slice(json).ok()?;
    let mut unnamed = 0;
    let keys = set.keys.into_iter().filter_map(key).filter(|key| {
        unnamed += usize::from(!key.has_id());
        key.has_id() || unnamed <= MAX_UNNAMED_KEYS
    });
    let keys: Vec<Key> = keys.take(MAX_KEYS).collect();
    (!keys.is_empty()).then(|| KeySet::of(keys))
}

fn key(json: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(json).ok()?;
    let is_for_signatures = jwk
        .purpose
        .as_deref()
        .is_none_or(|purpose| purpose == "sig");
    let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
    if !is_for_signatures || !jwk.key_ops.as_ref().is_none_or(verifies) {
        return None;
    }
    let only = match &jwk.alg {
        Some(name) => Some(name.parse::<Algorithm>().ok()?),
        None => None,
    };
    let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => Key::rsa(&bytes(&jwk.n)?, &bytes(&jwk.e)?),
        ("EC", Some(curve)) => {
            let length = match curve {
                "P-256" => 32,
                "P-384" => 48,
                "P-521" => 66,
                _ => return None,
            };
            let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
            if [x.len(), y.len()] != [length; 2] {
                return None;
            }
            Key::ec(&[&[4], &*x, &*y].concat())
        }
        ("OKP", Some("Ed25519")) => Key::ed25519(&bytes(&jwk.x)?),
        _ => return None,
    };
    key.ok()?.described(jwk.kid, only)
}

fn bytes(text: &Option<String>) -> Option<Vec<u8>> {
    // Some write padding, which has no place there (RFC 7515, 2).
    let text = text.as_deref()?.trim_end_matches('=');
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}
