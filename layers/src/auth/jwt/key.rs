//! The keys that verify tokens.

use super::algorithm::{Algorithm, Algorithms};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, VerificationAlgorithm,
};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most keys without an id that a set may have: a token that names no key is tried with each.
pub const MAX_UNNAMED_KEYS: usize = 8;

/// Why something is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no key in it.
    #[error("there is no key in it")]
    Empty,
    /// It is not PEM, or none that holds a key.
    #[error("not a key in PEM form")]
    NotPem,
    /// It is a private key, which has no place here.
    #[error("a private key: only the public key is needed, and only that should be here")]
    Private,
    /// It is a key of no kind that is known here, or no point of its curve.
    #[error("not an RSA, EC (P-256, P-384, P-521) or Ed25519 public key")]
    Unknown,
    /// It is an RSA key of another size.
    #[error("an RSA key has to have 2048 to 8192 bits")]
    RsaSize,
    /// There are too many of them.
    #[error("more than {MAX_UNNAMED_KEYS} keys")]
    TooMany,
}

/// The keys that verify tokens. It prints none of them.
#[derive(Clone)]
pub struct KeySet {
    keys: Arc<[Key]>,
    /// No other set has it.
    number: u64,
}

impl KeySet {
    /// A secret that signs tokens and verifies them: with HS256, or with HS384 and HS512 where the layer is told to.
    /// RFC 7518 (3.2) wants at least as many bytes as the digest has, 32 for HS256; fewer are taken all the same.
    pub fn secret(secret: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        match secret.as_ref() {
            [] => Err(KeyError::Empty),
            secret => Ok(Self::of(vec![Key::secret(secret)])),
        }
    }

    /// The public keys of a PEM file, at most [`MAX_UNNAMED_KEYS`]: `PUBLIC KEY`, `RSA PUBLIC KEY`, or the
    /// `CERTIFICATE` that has the key, of which nothing else is looked at. Each verifies with the algorithms of its
    /// kind.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for block in blocks(pem) {
            if keys.len() == MAX_UNNAMED_KEYS {
                return Err(KeyError::TooMany);
            }
            keys.push(Key::from_pem(block?)?);
        }
        match keys.is_empty() {
            true => Err(KeyError::Empty),
            false => Ok(Self::of(keys)),
        }
    }

    pub(super) fn of(keys: Vec<Key>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            keys: keys.into(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Tells this set from every other.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether some key can be used with this algorithm.
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        let wanted = Algorithms::of(&[algorithm]);
        !self.algorithms(Some(wanted)).is_empty()
    }

    /// What its keys are used with where this is accepted.
    pub(super) fn algorithms(&self, accepted: Option<Algorithms>) -> Algorithms {
        let each = self.keys.iter().map(|key| key.algorithms(accepted));
        each.fold(Algorithms::default(), Algorithms::or)
    }

    /// Looks for the key that signed `message`: those with the id that the token names; those without an id where none
    /// has it; any where it names none. A key is only ever used with algorithms of its own kind.
    pub(super) fn verify(
        &self,
        signed: &Signed<'_>,
        accepted: Option<Algorithms>,
    ) -> Result<(), Unverified> {
        let is_named = |key: &&Key| signed.key_id.is_some() && key.id.as_deref() == signed.key_id;
        let mut named = self.keys.iter().filter(is_named).peekable();
        if named.peek().is_some() {
            return match first_of(named, signed, accepted) {
                Some(true) => Ok(()),
                Some(false) => Err(Unverified::Forged),
                None => Err(Unverified::Unfit),
            };
        }
        let unnamed = |key: &&Key| signed.key_id.is_none() || key.id.is_none();
        match first_of(self.keys.iter().filter(unnamed), signed, accepted) {
            Some(true) => Ok(()),
            _ => Err(Unverified::Unknown),
        }
    }
}

/// Whether one of the first `keys` that may be used has signed it; none where there is no such key.
fn first_of<'k>(
    keys: impl Iterator<Item = &'k Key>,
    signed: &Signed<'_>,
    accepted: Option<Algorithms>,
) -> Option<bool> {
    let mut found = None;
    let usable = |key: &&Key| key.algorithms(accepted).contains(signed.algorithm);
    for key in keys.filter(usable).take(MAX_UNNAMED_KEYS) {
        if key.verifies(signed) {
            return Some(true);
        }
        found = Some(false);
    }
    found
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&*self.keys).finish()
    }
}

/// What is to be verified.
pub(super) struct Signed<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<&'t str>,
    pub(super) message: &'t [u8],
    pub(super) signature: Vec<u8>,
}

/// Why a signature is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unverified {
    /// The key that the token names did not sign it.
    Forged,
    /// The key that the token names is not for this algorithm.
    Unfit,
    /// The token names a key that is not here, or none, and none that is here signed it.
    Unknown,
}

/// One key.
pub(super) struct Key {
    id: Option<Box<str>>,
    /// What it can be used with.
    able: Algorithms,
    /// What it is used with where nobody says more.
    usual: Algorithms,
    material: Material,
}

enum Material {
    Common(DecodingKey),
    /// jsonwebtoken has no ES512.
    P521(ParsedPublicKey),
}

const HMAC: Algorithms = Algorithms::of(&[Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512]);
const RSA: Algorithms = Algorithms::of(&[
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
]);

impl Key {
    fn secret(secret: &[u8]) -> Self {
        Self {
            id: None,
            able: HMAC,
            usual: Algorithms::of(&[Algorithm::Hs256]),
            material: Material::Common(DecodingKey::from_secret(secret)),
        }
    }

    fn public(able: Algorithms, material: Material) -> Self {
        Self {
            id: None,
            able,
            usual: able,
            material,
        }
    }

    /// An RSA key of its modulus and exponent, big-endian.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let [n, e] = [n, e].map(|number| {
            let zeros = number.iter().take_while(|byte| **byte == 0).count();
            &number[zeros..]
        });
        let leading = n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !(2048..=8192).contains(&(n.len() * 8 - leading)) {
            return Err(KeyError::RsaSize);
        }
        let components = RsaPublicKeyComponents { n, e };
        components
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .map_err(|_| KeyError::Unknown)?;
        let key = DecodingKey::from_rsa_raw_components(n, e);
        Ok(Self::public(RSA, Material::Common(key)))
    }

    /// An EC key of its uncompressed point, whose length tells the curve.
    pub(super) fn ec(point: &[u8]) -> Result<Self, KeyError> {
        let (algorithm, curve): (_, &'static dyn VerificationAlgorithm) = match point.len() {
            65 => (Algorithm::Es256, &ECDSA_P256_SHA256_FIXED),
            97 => (Algorithm::Es384, &ECDSA_P384_SHA384_FIXED),
            133 => (Algorithm::Es512, &ECDSA_P521_SHA512_FIXED),
            _ => return Err(KeyError::Unknown),
        };
        let parsed = ParsedPublicKey::new(curve, point).map_err(|_| KeyError::Unknown)?;
        let material = match algorithm {
            Algorithm::Es512 => Material::P521(parsed),
            _ => Material::Common(DecodingKey::from_ec_der(point)),
        };
        Ok(Self::public(Algorithms::of(&[algorithm]), material))
    }

    /// An Ed25519 key of its 32 bytes.
    pub(super) fn ed25519(bytes: &[u8]) -> Result<Self, KeyError> {
        ParsedPublicKey::new(&ED25519, bytes).map_err(|_| KeyError::Unknown)?;
        let key = DecodingKey::from_ed_der(bytes);
        let algorithms = Algorithms::of(&[Algorithm::EdDsa]);
        Ok(Self::public(algorithms, Material::Common(key)))
    }

    fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            return Self::ec(bytes(&key));
        }
        if let Ok(key) = DecodingKey::from_ed_pem(pem) {
            return Self::ed25519(bytes(&key));
        }
        let key = DecodingKey::from_rsa_pem(pem).map_err(|_| KeyError::Unknown)?;
        let key = rsa::PublicKey::from_der(bytes(&key)).map_err(|_| KeyError::Unknown)?;
        let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(&key);
        Self::rsa(&n, &e)
    }

    /// The same key, which tokens name so, and which is used with one algorithm only where one is given. None where
    /// it cannot be used with that.
    pub(super) fn described(self, id: Option<String>, only: Option<Algorithm>) -> Option<Self> {
        let able = match only {
            Some(only) => self.able.and(Algorithms::of(&[only])),
            None => self.able,
        };
        let usual = self.usual.and(able);
        let id = id.map(String::into_boxed_str);
        (!able.is_empty()).then_some(Self {
            id,
            able,
            usual,
            ..self
        })
    }

    pub(super) fn has_id(&self) -> bool {
        self.id.is_some()
    }

    fn algorithms(&self, accepted: Option<Algorithms>) -> Algorithms {
        accepted.map_or(self.usual, |accepted| self.able.and(accepted))
    }

    fn verifies(&self, signed: &Signed<'_>) -> bool {
        match &self.material {
            Material::Common(key) => {
                let Some(algorithm) = common(signed.algorithm) else {
                    return false;
                };
                // The provider is called by name: the default of the process may be anybody's.
                let verifier = (DEFAULT_PROVIDER.verifier_factory)(&algorithm, key);
                verifier.is_ok_and(|verifier| {
                    verifier.verify(signed.message, &signed.signature).is_ok()
                })
            }
            Material::P521(key) => {
                signed.algorithm == Algorithm::Es512
                    && key.verify_sig(signed.message, &signed.signature).is_ok()
            }
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn bytes(key: &DecodingKey) -> &[u8] {
    match key.kind() {
        DecodingKeyKind::SecretOrDer(bytes) => bytes,
        DecodingKeyKind::RsaModulusExponent { .. } => &[],
    }
}

/// The algorithm as jsonwebtoken has it.
fn common(algorithm: Algorithm) -> Option<jsonwebtoken::Algorithm> {
    use jsonwebtoken::Algorithm as Common;
    Some(match algorithm {
        Algorithm::Hs256 => Common::HS256,
        Algorithm::Hs384 => Common::HS384,
        Algorithm::Hs512 => Common::HS512,
        Algorithm::Rs256 => Common::RS256,
        Algorithm::Rs384 => Common::RS384,
        Algorithm::Rs512 => Common::RS512,
        Algorithm::Ps256 => Common::PS256,
        Algorithm::Ps384 => Common::PS384,
        Algorithm::Ps512 => Common::PS512,
        Algorithm::Es256 => Common::ES256,
        Algorithm::Es384 => Common::ES384,
        Algorithm::EdDsa => Common::EdDSA,
        Algorithm::Es512 => return None,
    })
}

/// The blocks of a PEM file that are public keys. What stands between blocks is a comment (RFC 7468, 2).
fn blocks(pem: &str) -> impl Iterator<Item = Result<&[u8], KeyError>> {
    const BEGIN: &str = "-----BEGIN ";
    let starts = pem.match_indices(BEGIN).map(|(at, _)| &pem[at..]);
    starts.map(|block| {
        let (label, _) = block[BEGIN.len()..]
            .split_once("-----")
            .ok_or(KeyError::NotPem)?;
        if label.ends_with("PRIVATE KEY") {
            return Err(KeyError::Private);
        }
        if !matches!(label, "PUBLIC KEY" | "RSA PUBLIC KEY" | "CERTIFICATE") {
            return Err(KeyError::NotPem);
        }
        let end = format!("-----END {label}-----");
        let at = block.find(&end).ok_or(KeyError::NotPem)?;
        Ok(&block.as_bytes()[..at + end.len()])
    })
}
