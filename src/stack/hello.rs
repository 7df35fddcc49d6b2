//! What a TLS client says first, read without being taken from it (RFC 8446, 4.1.2; RFC 6066, 3; RFC 7301, 3.1).
//!
//! It is not judged: what can be found in it is found, and whether it is one to be answered is for the server that
//! answers it, who may be somebody else.

use std::net::IpAddr;

/// The most that is looked at of what may be a ClientHello. One that offers every post-quantum key share there is has a
/// tenth of this.
const MAX: usize = 64 * 1024;

/// The head of a record: its type, its version and its length.
const RECORD_HEAD: usize = 5;

/// The most that a record in the clear may hold.
const MAX_RECORD: usize = 1 << 14;

/// The type of a handshake's records.
const HANDSHAKE: u8 = 22;

/// The type of a ClientHello among the messages of a handshake.
const CLIENT_HELLO: u8 = 1;

/// What a client says of itself before anything is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientHello {
    server_name: Option<Box<str>>,
    alpn: Box<[Box<[u8]>]>,
}

impl ClientHello {
    /// The name of the server that it asks for, in lower case, without a trailing dot; none where it names none, or
    /// something that is no name, as an address.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The application protocols that it offers, the best first.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        self.alpn.iter().map(|protocol| &**protocol)
    }
}

/// What is known of bytes that may begin with a ClientHello.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Too little to know.
    More,
    /// They do not.
    Other,
    /// They do.
    Hello(ClientHello),
}

/// Puts a ClientHello together of pieces and records.
#[derive(Debug, Default)]
pub struct HelloReader {
    /// How far the bytes were looked at.
    at: usize,
    /// What is to come of the record there.
    left: usize,
    /// What was in records so far.
    message: Vec<u8>,
}

impl HelloReader {
    /// Goes on with all that there is now, of which what there was at the last time is the beginning.
    pub fn read(&mut self, bytes: &[u8]) -> Heard {
        while let Some(rest) = bytes.get(self.at..).filter(|rest| !rest.is_empty()) {
            if self.left == 0 {
                match record(rest) {
                    None => return Heard::Other,
                    Some(None) => break,
                    Some(Some(length)) => {
                        self.at += RECORD_HEAD;
                        self.left = length;
                    }
                }
                continue;
            }
            let taken = rest.len().min(self.left);
            self.message.extend_from_slice(&rest[..taken]);
            self.at += taken;
            self.left -= taken;
            match message(&self.message) {
                None => return Heard::Other,
                Some(None) => {}
                Some(Some(body)) => return hello(body).map_or(Heard::Other, Heard::Hello),
            }
        }
        match bytes.len() < MAX {
            true => Heard::More,
            false => Heard::Other,
        }
    }
}

/// The length of a record, as far as that is known; none where it is no record of a handshake.
fn record(bytes: &[u8]) -> Option<Option<usize>> {
    let fits = |at: usize, value: u8| bytes.get(at).is_none_or(|byte| *byte == value);
    if !fits(0, HANDSHAKE) || !fits(1, 3) {
        return None;
    }
    let Some(head) = bytes.get(..RECORD_HEAD) else {
        return Some(None);
    };
    let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
    (1..=MAX_RECORD).contains(&length).then_some(Some(length))
}

/// The body of a ClientHello, as far as it is there; none where it is something else.
fn message(bytes: &[u8]) -> Option<Option<&[u8]>> {
    if bytes.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return None;
    }
    let mut message = Cursor(bytes);
    let Some(_) = message.take(1) else {
        return Some(None);
    };
    match message.number(3) {
        Some(length) if length > MAX => None,
        Some(length) => Some(message.take(length)),
        None => Some(None),
    }
}

fn hello(body: &[u8]) -> Option<ClientHello> {
    let mut body = Cursor(body);
    let _version_and_random = body.take(2 + 32)?;
    let _session = body.vector(1)?;
    let _ciphers = body.vector(2)?;
    let _compressions = body.vector(1)?;
    let (mut names, mut protocols) = (None, None);
    if !body.0.is_empty() {
        let mut extensions = body.vector(2)?;
        while !extensions.0.is_empty() {
            let kind = extensions.number(2)?;
            let data = extensions.vector(2)?;
            let known = match kind {
                0 => &mut names,
                16 => &mut protocols,
                _ => continue,
            };
            // None may come twice, and two who look at them must not see different ones.
            if known.replace(data).is_some() {
                return None;
            }
        }
    }
    Some(ClientHello {
        server_name: match names {
            Some(names) => server_name(names)?,
            None => None,
        },
        alpn: match protocols {
            Some(protocols) => alpn(protocols)?,
            None => Box::default(),
        },
    })
}

/// The first host of the list; those of other types are unknown to everybody.
fn server_name(mut data: Cursor<'_>) -> Option<Option<Box<str>>> {
    let mut list = data.vector(2)?;
    let mut found = None;
    while !list.0.is_empty() {
        let kind = list.number(1)?;
        let name = list.vector(2)?.0;
        if kind == 0 && found.is_none() {
            found = Some(name);
        }
    }
    Some(found.and_then(name))
}

fn name(bytes: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_one = !text.is_empty() && text.len() < 256 && text.bytes().all(is_name);
    let is_address = text.parse::<IpAddr>().is_ok();
    (is_one && !is_address).then(|| text.to_ascii_lowercase().into())
}

fn alpn(mut data: Cursor<'_>) -> Option<Box<[Box<[u8]>]>> {
    let mut list = data.vector(2)?;
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        protocols.push(list.vector(1)?.0.into());
    }
    Some(protocols.into())
}

/// Bytes that are taken from the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of so many bytes.
    fn number(&mut self, width: usize) -> Option<usize> {
        let bytes = self.take(width)?;
        let add = |sum, byte: &u8| sum << 8 | usize::from(*byte);
        Some(bytes.iter().fold(0, add))
    }

    /// What has its length before it, in so many bytes.
    fn vector(&mut self, width: usize) -> Option<Cursor<'a>> {
        let length = self.number(width)?;
        self.take(length).map(Cursor)
    }
}

#[cfg(test)]
mod tests;
