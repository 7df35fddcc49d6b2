//! Walks through a stream of HTTP/1 requests, line by line, to know where heads begin and end, and refuses those
//! whose framing is ambiguous (RFC 9112, 6 and 7).

use super::refusal::Refusal;

/// Where in a stream of HTTP/1 requests the next byte stands (RFC 9112).
#[derive(Debug, Default)]
pub(super) struct Walk {
    place: Place,
    /// The part of a line whose rest is still to come.
    line: Vec<u8>,
    head_bytes: usize,
    length: Option<u64>,
    chunked: bool,
    has_upgrade: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between requests; empty lines are skipped (RFC 9112, 2.2).
    #[default]
    Between,
    RequestLine,
    Fields,
    /// So many bytes of body or chunk are left; `true`: a chunk, with its line end.
    Body(u64, bool),
    ChunkSize,
    Trailers,
}

pub(super) struct Step {
    pub(super) taken: usize,
    pub(super) ends_head: bool,
    /// What follows may be of another protocol: the head that ends here has an `Upgrade`, and no body.
    pub(super) may_switch: bool,
}

impl Walk {
    /// Whether the next byte is the first of a request.
    pub(super) fn is_between(&self) -> bool {
        self.place == Place::Between
    }

    pub(super) fn is_in_head(&self) -> bool {
        matches!(self.place, Place::RequestLine | Place::Fields)
    }

    /// Takes a line, or as much of a body as there is.
    pub(super) fn step(&mut self, bytes: &[u8], max_head: usize) -> Result<Step, Refusal> {
        let step = |taken| Step {
            taken,
            ends_head: false,
            may_switch: false,
        };
        if let Place::Body(left, is_chunk) = self.place {
            let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.place = match left - taken as u64 {
                0 if is_chunk => Place::ChunkSize,
                0 => Place::Between,
                left => Place::Body(left, is_chunk),
            };
            return Ok(step(taken));
        }
        if self.place == Place::Between {
            match bytes[0] {
                b'\r' | b'\n' => return Ok(step(1)),
                _ => self.place = Place::RequestLine,
            }
        }
        let end = memchr::memchr(b'\n', bytes);
        let taken = end.map_or(bytes.len(), |end| end + 1);
        self.head_bytes += taken;
        if self.head_bytes > max_head {
            return Err(match self.place {
                Place::RequestLine => Refusal::TargetTooLong,
                _ => Refusal::HeadTooLarge,
            });
        }
        if end.is_none() {
            self.line.extend_from_slice(bytes);
            return Ok(step(taken));
        }
        let ends_head = if self.line.is_empty() {
            self.take_line(&bytes[..taken])?
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(&bytes[..taken]);
            self.take_line(&line)?
        };
        let has_upgrade = ends_head && std::mem::take(&mut self.has_upgrade);
        Ok(Step {
            taken,
            ends_head,
            may_switch: has_upgrade && self.place == Place::Between,
        })
    }

    /// Takes a whole line with its end; true where it ends a head.
    fn take_line(&mut self, line: &[u8]) -> Result<bool, Refusal> {
        let line = line
            .strip_suffix(b"\r\n")
            .ok_or(Refusal::Malformed("a line ends in a bare line feed"))?;
        match self.place {
            Place::RequestLine => self.place = Place::Fields,
            Place::Fields if line.is_empty() => {
                self.place = match (self.chunked, self.length) {
                    (true, _) => Place::ChunkSize,
                    (false, Some(length)) if length > 0 => Place::Body(length, false),
                    _ => Place::Between,
                };
                self.head_bytes = 0;
                self.length = None;
                self.chunked = false;
                return Ok(true);
            }
            Place::Fields => self.take_field(line)?,
            Place::ChunkSize => {
                self.head_bytes = 0;
                self.place = match chunk_size(line)? {
                    0 => Place::Trailers,
                    // The chunk's own line end is walked over with it.
                    size => Place::Body(size.saturating_add(2), true),
                };
            }
            Place::Trailers if line.is_empty() => {
                self.head_bytes = 0;
                self.place = Place::Between;
            }
            Place::Trailers | Place::Between | Place::Body(..) => {}
        }
        Ok(false)
    }

    /// Looks at the two fields that frame a message (RFC 9112, 6), and at the one after which it may be the last.
    fn take_field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        const AMBIGUOUS: Refusal =
            Refusal::Malformed("Content-Length stands beside Transfer-Encoding");
        // Names of 7, 14 and 17 bytes that start with u, c or t: other lines are left at once.
        let (Some(b'c' | b'C' | b't' | b'T' | b'u' | b'U'), Some(name)) =
            (line.first(), field_name(line))
        else {
            return Ok(());
        };
        let value = line[name.len() + 1..].trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.chunked {
                return Err(AMBIGUOUS);
            }
            if self.length.is_some() {
                return Err(Refusal::Malformed("more than one Content-Length"));
            }
            self.length = Some(decimal(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.length.is_some() {
                return Err(AMBIGUOUS);
            }
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::Malformed(
                    "the only transfer coding known is chunked",
                ));
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.has_upgrade = true;
        }
        Ok(())
    }
}

/// The name on a line, if it has the length of one that matters.
fn field_name(line: &[u8]) -> Option<&[u8]> {
    [7, 14, 17]
        .into_iter()
        .find(|end| line.get(*end) == Some(&b':'))
        .map(|end| &line[..end])
}

fn decimal(digits: &[u8]) -> Result<u64, Refusal> {
    const MALFORMED: Refusal = Refusal::Malformed("Content-Length is not a number");
    // The parser keeps the last two for itself, and would call them too large.
    const MAX: u64 = u64::MAX - 2;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(MALFORMED);
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .filter(|length| *length <= MAX)
        .ok_or(MALFORMED)
}

fn chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    const MALFORMED: Refusal = Refusal::Malformed("a chunk's size is not a number");
    let end = memchr::memchr(b';', line).unwrap_or(line.len());
    let digits = line[..end].trim_ascii_end();
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(MALFORMED);
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or(MALFORMED)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks through `input` in pieces of every size; returns the heads passed or the refusal.
    fn walk(input: &[u8]) -> Result<u32, Refusal> {
        let mut results = (1..=input.len()).map(|size| {
            let (mut walk, mut heads) = (Walk::default(), 0);
            for piece in input.chunks(size) {
                let mut at = 0;
                while at < piece.len() {
                    let Step {
                        taken, ends_head, ..
                    } = walk.step(&piece[at..], 200)?;
                    assert!(taken > 0, "no progress");
                    at += taken;
                    heads += u32::from(ends_head);
                }
            }
            Ok(heads)
        });
        let first = results.next().expect("an input");
        assert!(
            results.all(|result| result == first),
            "pieces change the walk"
        );
        first
    }

    #[test]
    fn heads_are_found_behind_every_kind_of_body() {
        let input = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n\
            POST / HTTP/1.1\r\nContent-Length: 12\r\n\r\nGET / HTTP\r\n\
            \r\nPOST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n\
            5;x=y\r\n12\r\n3\r\n00a\r\n\n\n\n\n\n\n\n\n\n\n\r\n0\r\nt: x\r\n\r\n\
            GET / HTTP/1.1\r\n\r\n";
        assert_eq!(walk(input), Ok(4));
    }

    #[test]
    fn only_a_head_without_a_body_may_switch() {
        for (fields, may_switch) in [
            ("upgrade: websocket\r\n", true),
            ("UPGRADE:\r\ncontent-length: 0\r\n", true),
            ("upgrade: x\r\ncontent-length: 1\r\n", false),
            ("transfer-encoding: chunked\r\nupgrade: x\r\n", false),
            ("upgrades: x\r\nx-upgrade: x\r\n", false),
        ] {
            let mut walk = Walk::default();
            // What one head says is not true of the next.
            for fields in [fields, ""] {
                let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
                let (mut at, mut last) = (0, None);
                while at < head.len() && walk.place != Place::ChunkSize {
                    let step = walk.step(&head.as_bytes()[at..], 200).unwrap();
                    at += step.taken;
                    last = Some(step.may_switch);
                }
                let expected = may_switch && !fields.is_empty();
                assert_eq!(last, Some(expected), "{fields:?}");
                if walk.place != Place::Between {
                    break;
                }
            }
        }
    }

    #[test]
    fn ambiguous_and_endless_heads_are_refused() {
        let long = "a".repeat(200);
        for (input, refusal) in [
            ("GET / HTTP/1.1\nhost: a\n\n".to_owned(), "bare"),
            ("GET / HTTP/1.1\r\nhost: a\n\r\n".to_owned(), "bare"),
            (
                "GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"
                    .to_owned(),
                "beside",
            ),
            (
                "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n"
                    .to_owned(),
                "beside",
            ),
            (
                "GET / HTTP/1.1\r\ncontent-length: 1\r\nContent-Length: 1\r\n\r\n".to_owned(),
                "more than one",
            ),
            (
                "GET / HTTP/1.1\r\ncontent-length: +1\r\n\r\n".to_owned(),
                "not a number",
            ),
            (
                "GET / HTTP/1.1\r\ncontent-length: 18446744073709551616\r\n\r\n".to_owned(),
                "not a number",
            ),
            (
                "GET / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n".to_owned(),
                "coding",
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\n"
                    .to_owned(),
                "size",
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n".to_owned(),
                "size",
            ),
            (format!("GET /{long} HTTP/1.1\r\n"), "TargetTooLong"),
            (format!("GET / HTTP/1.1\r\na: {long}\r\n"), "HeadTooLarge"),
        ] {
            let result = walk(input.as_bytes());
            let text = format!("{result:?}");
            assert!(
                result.is_err() && text.contains(refusal),
                "{input:?}: {text}"
            );
        }
    }
}
