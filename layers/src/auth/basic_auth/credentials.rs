//! A name and a password, out of `Authorization` (RFC 7617, 2).

use super::super::blind::blind;
use super::check::Verdict;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The longest name, colon and password, in bytes.
pub const MAX_CREDENTIALS_BYTES: usize = 1023;

/// Padding is often forgotten, and means nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// They lie on the stack: who remembers a password does it on purpose.
pub(super) struct Credentials {
    bytes: [u8; MAX_CREDENTIALS_BYTES],
    length: usize,
    colon: usize,
}

impl Credentials {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Verdict> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(Verdict::Missing)?.as_bytes();
        if values.next().is_some() {
            return Err(Verdict::Wrong);
        }
        let encoded = match value.split_at_checked("Basic ".len()) {
            Some((scheme, encoded)) if scheme.eq_ignore_ascii_case(b"Basic ") => encoded,
            _ => return Err(Verdict::Missing),
        };
        Self::decode(encoded.trim_ascii_start()).ok_or(Verdict::Wrong)
    }

    fn decode(encoded: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_CREDENTIALS_BYTES];
        let length = BASE64.decode_slice(encoded, &mut bytes).ok()?;
        // We ask for UTF-8, and RFC 7617 has no place for control characters.
        let text = std::str::from_utf8(&bytes[..length]).ok()?;
        let colon = text
            .find(':')
            .filter(|_| !text.contains(char::is_control))?;
        Some(Self {
            bytes,
            length,
            colon,
        })
    }

    pub(super) fn name(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.colon]).expect("it ends before a colon of a text")
    }

    pub(super) fn password(&self) -> &[u8] {
        &self.bytes[self.colon + 1..self.length]
    }

    /// By which they are recognised without being kept.
    pub(super) fn digest(&self) -> [u8; 32] {
        blind([b"credentials", self.name().as_bytes(), self.password()])
    }
}
