//! Walks along the frames of a WebSocket (RFC 6455, 5.2) to know where one ends, and nothing more: what they carry is
//! not looked at.

/// The opcode of the frame with which a peer takes leave.
const CLOSE: u8 = 8;

/// "Going away" (RFC 6455, 7.4.1).
const GOING_AWAY: u16 = 1001;

/// The longest head: two bytes, a length of eight and a mask of four.
const MAX_HEAD: usize = 14;

/// Where in the frames of one direction the next byte stands.
#[derive(Debug)]
pub(super) struct Frames {
    is_from_client: bool,
    head: [u8; MAX_HEAD],
    /// Bytes of the head that are there; none between two frames.
    filled: usize,
    /// Bytes of payload that are still to come; known when the head is whole.
    left: Option<u64>,
    course: Course,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Open,
    /// Leave was taken: nothing comes after that.
    Closed,
    /// These are no frames as we know them, and it is not known where one ends.
    Lost,
}

impl Frames {
    /// At the beginning of what a client says, whose frames are masked, or of what a server does.
    pub(super) fn new(is_from_client: bool) -> Self {
        Self {
            is_from_client,
            head: [0; MAX_HEAD],
            filled: 0,
            left: None,
            course: Course::Open,
        }
    }

    /// Whether a frame may be put here: between two others, and no leave was taken.
    pub(super) fn is_between(&self) -> bool {
        self.filled == 0 && self.course == Course::Open
    }

    /// Whether leave was taken.
    pub(super) fn is_closed(&self) -> bool {
        self.course == Course::Closed
    }

    /// Walks to the end of `bytes`.
    pub(super) fn walk(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.step(bytes);
            bytes = &bytes[taken..];
        }
    }

    /// Walks to the end of the frame that is begun, and no further than `bytes` go. Returns how far that is.
    pub(super) fn step(&mut self, bytes: &[u8]) -> usize {
        if self.course != Course::Open {
            return bytes.len();
        }
        let mut taken = 0;
        let left = match self.left {
            Some(left) => left,
            None => loop {
                let Some(byte) = bytes.get(taken) else {
                    return taken;
                };
                self.head[self.filled] = *byte;
                self.filled += 1;
                taken += 1;
                match self.length() {
                    Ok(Some(length)) => break length,
                    Ok(None) => {}
                    Err(NoFrame) => {
                        self.course = Course::Lost;
                        return bytes.len();
                    }
                }
            },
        };
        let there = bytes.len() - taken;
        let payload = usize::try_from(left).map_or(there, |left| left.min(there));
        taken += payload;
        self.left = Some(left - payload as u64);
        if self.left == Some(0) {
            if self.head[0] & 0x0f == CLOSE {
                self.course = Course::Closed;
            }
            self.left = None;
            self.filled = 0;
        }
        taken
    }

    /// The length of the payload, once the head is whole.
    fn length(&self) -> Result<Option<u64>, NoFrame> {
        let head = &self.head[..self.filled];
        let [first, second, rest @ ..] = head else {
            return Ok(None);
        };
        let (is_final, opcode) = (first & 0x80 != 0, first & 0x0f);
        let (is_masked, short) = (second & 0x80 != 0, second & 0x7f);
        let is_control = opcode >= CLOSE;
        let is_known = matches!(opcode, 0..=2 | CLOSE..=10);
        if !is_known
            || is_masked != self.is_from_client
            || (is_control && (!is_final || short > 125))
        {
            return Err(NoFrame);
        }
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if is_masked { 4 } else { 0 };
        if rest.len() < extended + mask {
            return Ok(None);
        }
        let number = rest[..extended].iter();
        let length = number.fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        match extended {
            0 => Ok(Some(u64::from(short))),
            8 if length >> 63 != 0 => Err(NoFrame),
            _ => Ok(Some(length)),
        }
    }

    /// What takes leave in this direction.
    pub(super) fn farewell(&self) -> Vec<u8> {
        let code = GOING_AWAY.to_be_bytes();
        if !self.is_from_client {
            return [&[0x80 | CLOSE, 2][..], &code].concat();
        }
        let mask = fastrand::u32(..).to_be_bytes();
        let masked = [code[0] ^ mask[0], code[1] ^ mask[1]];
        [&[0x80 | CLOSE, 0x82][..], &mask, &masked].concat()
    }
}

/// What no peer says who knows RFC 6455.
struct NoFrame;

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the frames of `bytes` end, and how the walk stands at the end; the same in pieces of every size.
    fn ends(is_from_client: bool, bytes: &[u8]) -> (Vec<usize>, Course) {
        let mut results = (1..=bytes.len()).map(|size| {
            let (mut frames, mut at, mut ends) = (Frames::new(is_from_client), 0, Vec::new());
            for piece in bytes.chunks(size) {
                let mut rest = piece;
                while !rest.is_empty() {
                    let taken = frames.step(rest);
                    assert!(taken > 0, "no progress");
                    at += taken;
                    rest = &rest[taken..];
                    if frames.is_between() {
                        ends.push(at);
                    }
                }
            }
            (ends, frames.course)
        });
        let first = results.next().unwrap();
        assert!(results.all(|result| result == first), "{bytes:?}");
        first
    }

    #[test]
    fn frames_of_every_length_end_where_they_do() {
        let of_server = |head: &[u8], payload: usize| [head, &vec![0x88; payload]].concat();
        let bytes = [
            of_server(&[0x81, 5], 5),
            of_server(&[0x02, 0], 0),
            of_server(&[0x80, 126, 1, 0], 256),
            of_server(&[0x89, 0], 0),
            of_server(&[0xc2, 127, 0, 0, 0, 0, 0, 1, 0, 0], 65_536 / 64 * 64),
        ]
        .concat();
        let lengths = [7, 2, 260, 2, 65_546];
        let expected = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        // Every size would take long: a prefix, and the whole at once.
        let mut frames = Frames::new(false);
        let mut at = 0;
        let mut found = Vec::new();
        while at < bytes.len() {
            at += frames.step(&bytes[at..]);
            found.push(at);
        }
        assert_eq!(found, expected.collect::<Vec<_>>());
        assert_eq!(
            ends(false, &bytes[..271]),
            (vec![7, 9, 269, 271], Course::Open)
        );
        let masked = [0x81, 0x82, 1, 2, 3, 4, 9, 9, 0x8a, 0x80, 1, 2, 3, 4];
        assert_eq!(ends(true, &masked), (vec![8, 14], Course::Open));
    }

    #[test]
    fn nothing_stands_behind_a_close_frame() {
        for (is_from_client, close) in [
            (false, &[0x88, 2, 3, 0xe8][..]),
            (false, &[0x88, 0]),
            (true, &[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8]),
        ] {
            let bytes = [close, &[0x81, 5, 1]].concat();
            assert_eq!(ends(is_from_client, &bytes), (vec![], Course::Closed));
        }
    }

    #[test]
    fn what_is_no_frame_has_no_end() {
        for (is_from_client, bytes) in [
            (false, &[0x81, 0x85, 1, 2, 3, 4][..]),
            (true, &[0x81, 5]),
            (false, &[0x83, 0]),
            (false, &[0x8b, 0]),
            (false, &[0x08, 0]),
            (false, &[0x89, 126, 0, 1, 0]),
            (false, &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            (false, b"GET / HTTP/1.1\r\n"),
        ] {
            assert_eq!(ends(is_from_client, bytes), (vec![], Course::Lost));
        }
    }

    #[test]
    fn a_farewell_is_a_close_frame() {
        for is_from_client in [true, false] {
            let mut frames = Frames::new(is_from_client);
            let farewell = frames.farewell();
            assert_eq!(frames.step(&farewell), farewell.len());
            assert!(frames.is_closed());
            let code: Vec<u8> = match is_from_client {
                true => (0..2).map(|n| farewell[2 + n] ^ farewell[6 + n]).collect(),
                false => farewell[2..].to_vec(),
            };
            assert_eq!(code, [3, 0xe9]);
        }
    }
}
