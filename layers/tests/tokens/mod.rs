//! Keys made for one run of the tests, and tokens signed with them: by the primitives, and not by what is tested.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    reason = "each test file uses its own part of it, and a test that fails may panic"
)]

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding,
};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

pub const SECRET: &str = "correct horse battery staple, and more";

/// Something that signs tokens.
pub struct Signer {
    pub id: Option<&'static str>,
    pub algorithm: &'static str,
    pair: Pair,
}

enum Pair {
    Secret(Vec<u8>),
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// RSA keys take their time to make.
static RSA: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    der.as_ref().to_vec()
});

/// Seconds since 1970.
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Header, claims and signature as they travel.
pub fn join(header: &str, claims: &str, signature: &[u8]) -> String {
    [encode(header), encode(claims), encode(signature)].join(".")
}

impl Signer {
    /// A new key for `algorithm`; there is one RSA key for all.
    pub fn new(algorithm: &'static str) -> Self {
        let pair = match algorithm {
            "HS256" | "HS384" | "HS512" => Pair::Secret(SECRET.as_bytes().to_vec()),
            "ES256" => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            "ES512" => ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            "EdDSA" | "Ed25519" => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
            _ => Pair::Rsa(RsaKeyPair::from_pkcs8(&RSA).unwrap()),
        };
        Self {
            id: None,
            algorithm,
            pair,
        }
    }

    /// One that says `HS…` and signs with a secret of its choice.
    pub fn with_secret(algorithm: &'static str, secret: impl AsRef<[u8]>) -> Self {
        Self {
            id: None,
            algorithm,
            pair: Pair::Secret(secret.as_ref().to_vec()),
        }
    }

    /// The same, called `id` in tokens and sets.
    pub fn named(mut self, id: &'static str) -> Self {
        self.id = Some(id);
        self
    }

    /// A token that says this, beside `exp` in an hour where it says nothing of it. Null takes a claim away.
    pub fn token(&self, claims: Value) -> String {
        let mut all = json!({ "sub": "ada", "exp": now() + 3600 });
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        let all = all.as_object_mut().unwrap();
        all.retain(|_, value| !value.is_null());
        self.token_with(json!({}), &json!(all).to_string())
    }

    /// A token with more in its header, and whatever claims.
    pub fn token_with(&self, header: Value, claims: &str) -> String {
        let mut all = json!({ "typ": "JWT", "alg": self.algorithm });
        if let Some(id) = self.id {
            all["kid"] = json!(id);
        }
        for (name, value) in header.as_object().unwrap() {
            all[name] = value.clone();
        }
        let message = [encode(all.to_string()), encode(claims)].join(".");
        let signature = self.sign(message.as_bytes());
        [message, encode(signature)].join(".")
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Secret(secret) => {
                let algorithm = match self.algorithm {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                let key = hmac::Key::new(algorithm, secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Pair::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match self.algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut bytes = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut bytes).unwrap();
                bytes
            }
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// The public key as a file has it.
    pub fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = match &self.pair {
            Pair::Secret(_) => panic!("a secret has no public key"),
            Pair::Rsa(pair) => pair.public_key().as_der().unwrap(),
            Pair::Ec(pair) => pair.public_key().as_der().unwrap(),
            Pair::Ed(pair) => pair.public_key().as_der().unwrap(),
        };
        pem("PUBLIC KEY", der.as_ref())
    }

    /// The public key as a set has it.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Secret(secret) => json!({ "kty": "oct", "k": encode(secret) }),
            Pair::Rsa(pair) => {
                let key = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({ "kty": "RSA", "n": encode(key.n), "e": encode(key.e) })
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at(point.len() / 2);
                let curve = match x.len() {
                    32 => "P-256",
                    48 => "P-384",
                    _ => "P-521",
                };
                json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
            }
            Pair::Ed(pair) => {
                let x = encode(pair.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
            }
        };
        if let Some(id) = self.id {
            jwk["kid"] = json!(id);
        }
        jwk
    }
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> Pair {
    Pair::Ec(EcdsaKeyPair::generate(algorithm).unwrap())
}

/// The set of these keys.
pub fn jwks<'s>(signers: impl IntoIterator<Item = &'s Signer>) -> String {
    let keys: Vec<Value> = signers.into_iter().map(Signer::jwk).collect();
    json!({ "keys": keys }).to_string()
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// The DER of an RSA key alone (PKCS #1).
pub fn pkcs1(signer: &Signer) -> Vec<u8> {
    match &signer.pair {
        Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        _ => panic!("not an RSA key"),
    }
}
