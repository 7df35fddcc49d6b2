//! HTTP/2 frames written by hand: for requests that a library refuses to send.

use super::wire::{End, Wire};
use tokio::net::TcpStream;

/// A client's end of an HTTP/2 connection.
#[derive(Debug)]
pub struct Frames {
    wire: Wire,
}

/// What became of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A response with this status.
    Status(u16),
    /// `RST_STREAM` with this code.
    Reset(u32),
    /// `GOAWAY` with this code.
    GoAway(u32),
    /// The connection ended without a word.
    Ended(End),
}

/// Types of frames (RFC 9113, 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl Frames {
    /// Says the preface.
    pub async fn new(io: TcpStream) -> Self {
        let mut wire = Wire::new(io);
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        wire.send(frame(SETTINGS, 0, 0, &[])).await;
        Self { wire }
    }

    /// Opens `stream` with these fields, as they are; the stream ends with them where there is no body.
    pub async fn headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        stream: u32,
        fields: &[(N, V)],
        ends_stream: bool,
    ) {
        let mut block = Vec::new();
        for (name, value) in fields {
            // A literal that no table remembers, without Huffman coding (RFC 7541, 6.2.2).
            block.push(0);
            for text in [name.as_ref(), value.as_ref()] {
                assert!(text.len() < 127, "short texts only");
                block.push(text.len() as u8);
                block.extend_from_slice(text);
            }
        }
        let flags = END_HEADERS | if ends_stream { END_STREAM } else { 0 };
        let _ = self
            .wire
            .try_send(frame(HEADERS, flags, stream, &block))
            .await;
    }

    /// Sends a piece of a body.
    pub async fn data(&mut self, stream: u32, bytes: &[u8], ends_stream: bool) {
        let flags = if ends_stream { END_STREAM } else { 0 };
        let _ = self.wire.try_send(frame(DATA, flags, stream, bytes)).await;
    }

    /// Resets a stream (`CANCEL`).
    pub async fn reset(&mut self, stream: u32) {
        let frame = frame(RST_STREAM, 0, stream, &8u32.to_be_bytes());
        self.wire.send(frame).await;
    }

    /// Reads until it is known what became of `stream`.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            let Some((kind, flags, id, payload)) = read(&mut self.wire).await else {
                return Outcome::Ended(End::Closed);
            };
            let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            match kind {
                SETTINGS if flags & 1 == 0 => {
                    let _ = self.wire.try_send(frame(SETTINGS, 1, 0, &[])).await;
                }
                HEADERS if id == stream => return Outcome::Status(status(&payload)),
                RST_STREAM if id == stream => return Outcome::Reset(code(0)),
                GOAWAY if code(4) != 0 => return Outcome::GoAway(code(4)),
                _ => {}
            }
        }
    }
}

/// Reads a frame: its type, flags, stream and payload. `None` where the other side ends instead.
pub async fn read(wire: &mut Wire) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = Vec::new();
    while head.len() < 9 {
        head.push(wire.try_byte().await?);
    }
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
    let payload = wire.exactly(length).await;
    Some((head[3], head[4], stream, payload))
}

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The status at the beginning of the first header block of a connection (RFC 7541).
fn status(block: &[u8]) -> u16 {
    match block {
        // A change of the table's size may come first.
        [0x20..=0x3f, rest @ ..] => status(rest),
        [first @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(first - 0x88)],
        [0x48 | 0x08 | 0x18, 3, a, b, c, ..] => String::from_utf8_lossy(&[*a, *b, *c])
            .parse()
            .expect("a status"),
        [0x48 | 0x08 | 0x18, length, rest @ ..] if length & 0x80 != 0 => {
            digits(&rest[..usize::from(length & 0x7f)])
        }
        other => panic!("no status in {other:02x?}"),
    }
}

/// Three digits in HPACK's Huffman code: five bits for 0 to 2, six for the others.
fn digits(bytes: &[u8]) -> u16 {
    let mut bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |shift| u16::from(byte >> shift & 1)));
    let mut number = 0;
    for _ in 0..3 {
        let mut code = 0;
        for _ in 0..5 {
            code = code << 1 | bits.next().unwrap();
        }
        let digit = if code <= 2 {
            code
        } else {
            (code << 1 | bits.next().unwrap()) - 0b01_1001 + 3
        };
        number = number * 10 + digit;
    }
    number
}
