//! The IDs of traces and spans: 16 and 8 bytes, not all of them zero, in lower-case hexadecimal.

use std::fmt;

/// The ID of a trace. One of 64 bits, as B3 may have it, is filled up with zeros in front.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// The ID of a span.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// A new one.
    pub fn random() -> Self {
        Self(fastrand::u128(1..).to_be_bytes())
    }

    /// Its bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// From 32 digits.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        hex(text).filter(|id| *id != [0; 16]).map(Self)
    }

    /// From 16 digits.
    pub(super) fn parse_short(text: &[u8]) -> Option<Self> {
        let low: [u8; 8] = hex(text)?;
        let id = u128::from(u64::from_be_bytes(low));
        (id != 0).then(|| Self(id.to_be_bytes()))
    }

    /// The 56 bits that W3C level 2 has random.
    pub(super) fn random_part(self) -> u64 {
        u128::from_be_bytes(self.0) as u64 & (super::VALUES - 1)
    }

    pub(super) fn digits(self) -> [u8; 32] {
        let mut out = [0; 32];
        write(&self.0, &mut out);
        out
    }
}

impl SpanId {
    /// A new one.
    pub fn random() -> Self {
        Self(fastrand::u64(1..).to_be_bytes())
    }

    /// Its bytes.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0
    }

    /// From 16 digits.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        hex(text).filter(|id| *id != [0; 8]).map(Self)
    }

    pub(super) fn digits(self) -> [u8; 16] {
        let mut out = [0; 16];
        write(&self.0, &mut out);
        out
    }
}

/// Exactly `N` bytes.
pub(super) fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut out = [0; N];
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}

fn digit(text: u8) -> Option<u8> {
    match text {
        b'0'..=b'9' => Some(text - b'0'),
        b'a'..=b'f' => Some(text - b'a' + 10),
        _ => None,
    }
}

fn write(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.digits()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.digits()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
