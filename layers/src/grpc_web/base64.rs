//! Base64 in pieces, with padding wherever a piece has ended.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

/// Decodes a text that comes in pieces of any size. Up to three characters are kept between them.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    kept: [u8; 4],
    count: usize,
}

/// The text is no base64, or ends within a group of four characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not base64")]
pub(super) struct NotBase64;

impl Decoder {
    /// The bytes of all groups of four characters that are whole with this piece.
    pub(super) fn decode(&mut self, mut piece: &[u8]) -> Result<Bytes, NotBase64> {
        let mut bytes = Vec::with_capacity((piece.len() + self.count) / 4 * 3);
        if self.count > 0 {
            let (head, rest) = piece.split_at(piece.len().min(4 - self.count));
            self.keep(head);
            piece = rest;
            if self.count < 4 {
                return Ok(Bytes::new());
            }
            self.count = 0;
            decode_into(&mut bytes, &self.kept)?;
        }
        let (groups, rest) = piece.split_at(piece.len() / 4 * 4);
        // A text that was put together of several has padding in its middle; each is decoded by itself.
        let mut start = 0;
        for (index, group) in groups.chunks_exact(4).enumerate() {
            if group[3] == b'=' {
                let end = 4 * index + 4;
                decode_into(&mut bytes, &groups[start..end])?;
                start = end;
            }
        }
        decode_into(&mut bytes, &groups[start..])?;
        self.keep(rest);
        Ok(bytes.into())
    }

    /// The text is over.
    pub(super) fn end(&self) -> Result<(), NotBase64> {
        match self.count {
            0 => Ok(()),
            _ => Err(NotBase64),
        }
    }

    fn keep(&mut self, characters: &[u8]) {
        self.kept[self.count..self.count + characters.len()].copy_from_slice(characters);
        self.count += characters.len();
    }
}

fn decode_into(bytes: &mut Vec<u8>, text: &[u8]) -> Result<(), NotBase64> {
    STANDARD.decode_vec(text, bytes).map_err(|_| NotBase64)
}

/// A piece by itself, padded at its end: nothing of it waits for the next one.
pub(super) fn encode(piece: &[u8]) -> Bytes {
    STANDARD.encode(piece).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str, size: usize) -> Result<Vec<u8>, NotBase64> {
        let mut decoder = Decoder::default();
        let mut bytes = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            bytes.extend_from_slice(&decoder.decode(piece)?);
        }
        decoder.end().map(|()| bytes)
    }

    #[test]
    fn pieces_of_every_size_are_decoded_alike() {
        for (text, bytes) in [
            ("", Ok("")),
            ("aGVsbG8=", Ok("hello")),
            ("aA==aGk=", Ok("hhi")),
            ("aGVsaA==bG8hIG9uY2U=bW9y", Ok("helhlo! oncemor")),
            ("aGVsbG8", Err(NotBase64)),
            ("a", Err(NotBase64)),
            ("aGV$bG8=", Err(NotBase64)),
            ("====", Err(NotBase64)),
            ("aG\r\n", Err(NotBase64)),
            ("a=VsbG8=", Err(NotBase64)),
        ] {
            for size in 1..=text.len().max(1) {
                let expected = bytes.map(|bytes| bytes.as_bytes().to_vec());
                assert_eq!(decode(text, size), expected, "{text} in pieces of {size}");
            }
        }
    }

    #[test]
    fn what_is_encoded_in_pieces_is_decoded_as_one() {
        let text = [&b"a"[..], b"", b"\0\xff", b"abc", b"abcd"].map(encode);
        let text = String::from_utf8(text.concat()).unwrap();
        assert_eq!(decode(&text, 5).unwrap(), b"a\0\xffabcabcd");
    }
}
