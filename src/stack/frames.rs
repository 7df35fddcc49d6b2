//! Walks through a stream of HTTP/2 frames by their heads alone (RFC 9113, 4.1).

/// Types of frames (RFC 9113, 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// The flag of the last frame with a part of a body, or of a head without one.
pub(crate) const END_STREAM: u8 = 1;

const HEAD: usize = 9;

/// What a client says before its first frame (RFC 9113, 3.4).
const PREFACE: u32 = 24;

/// Where in a stream of frames the next byte stands.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    head: [u8; HEAD],
    /// So much of the next head is there.
    have: usize,
    /// So much of a payload is still to come.
    left: u32,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) length: u32,
}

impl Frames {
    /// Those of a client, with its preface before them.
    pub(crate) fn of_client() -> Self {
        Self {
            left: PREFACE,
            ..Self::default()
        }
    }

    /// Whether a frame has ended and none has begun.
    pub(crate) fn are_whole(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// The type of a frame whose payload is still to come.
    pub(crate) fn under_way(&self) -> Option<u8> {
        (self.have == 0 && self.left > 0).then_some(self.head[3])
    }

    /// Walks on; returns the next head that is whole, and what stands behind it.
    pub(crate) fn next<'b>(&mut self, bytes: &'b [u8]) -> Option<(Frame, &'b [u8])> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let (payload, bytes) = bytes.split_at(left.min(bytes.len()));
        // No more than was left.
        self.left -= u32::try_from(payload.len()).unwrap_or(self.left);
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD - self.have));
        self.head[self.have..self.have + head.len()].copy_from_slice(head);
        self.have += head.len();
        if self.have < HEAD {
            return None;
        }
        self.have = 0;
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        self.left = u32::from_be_bytes([0, a, b, c]);
        let frame = Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & (u32::MAX >> 1),
            length: self.left,
        };
        Some((frame, rest))
    }
}

/// A `GOAWAY` (RFC 9113, 6.8).
pub(crate) fn go_away(last_stream: u32, code: u32) -> [u8; 17] {
    let mut frame = [0; 17];
    frame[2] = 8;
    frame[3] = GOAWAY;
    frame[9..13].copy_from_slice(&last_stream.to_be_bytes());
    frame[13..].copy_from_slice(&code.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, length: u32) -> Vec<u8> {
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.resize(HEAD + usize::try_from(length).unwrap(), 0xff);
        bytes
    }

    #[test]
    fn heads_are_found_in_pieces_of_every_size() {
        let given = [
            (4, 0, 0, 0),
            (1, 5, 1, 3),
            (0, 1, 1, 700),
            (0, 0, 3, 1),
            (6, 1, 0, 8),
        ];
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for (kind, flags, stream, length) in given {
            bytes.extend(frame(kind, flags, stream, length));
        }
        for size in 1..=bytes.len() {
            let mut frames = Frames::of_client();
            let mut found = Vec::new();
            for mut piece in bytes.chunks(size) {
                while let Some((frame, rest)) = frames.next(piece) {
                    let Frame {
                        kind,
                        flags,
                        stream,
                        length,
                    } = frame;
                    found.push((kind, flags, stream, length));
                    piece = rest;
                }
            }
            assert_eq!(found, given, "in pieces of {size}");
            assert!(frames.are_whole());
        }
    }

    #[test]
    fn a_stream_is_a_number_of_31_bits() {
        let bytes = frame(DATA, 0, u32::MAX, 0);
        let (frame, rest) = Frames::default().next(&bytes).unwrap();
        assert_eq!(frame.stream, u32::MAX >> 1);
        assert!(rest.is_empty());
    }
}
