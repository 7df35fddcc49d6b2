//! Version 1: a line of text.

use super::{Addresses, HeaderError, Progress, Said};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// The longest line, its end included.
const MAX_LINE: usize = 107;

const MALFORMED: HeaderError = HeaderError::Malformed;

pub(super) fn read(bytes: &[u8]) -> Result<Progress, HeaderError> {
    let window = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        // Neither may stand elsewhere in it.
        let is_cut = window.strip_suffix(b"\r").unwrap_or(window);
        return match is_cut.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            true => Err(MALFORMED),
            false if window.len() == MAX_LINE => Err(HeaderError::TooLong),
            false => Ok(Progress::Partial),
        };
    };
    let line = std::str::from_utf8(&bytes[SIGNATURE.len().min(end)..end]).map_err(|_| MALFORMED)?;
    if line.contains(['\r', '\n']) {
        return Err(MALFORMED);
    }
    Ok(Progress::Whole(said(line)?, end + 2))
}

/// What stands behind `PROXY `: fields with one space between them.
fn said(line: &str) -> Result<Said, HeaderError> {
    let mut fields = line.split(' ');
    let family = fields.next().unwrap_or_default();
    // Whatever follows is of no meaning.
    if family == "UNKNOWN" {
        return Ok(Said::Itself);
    }
    let mut field = || fields.next().ok_or(MALFORMED);
    let [source, destination] = [ip(family, field()?)?, ip(family, field()?)?];
    let ports = [port(field()?)?, port(field()?)?];
    match fields.next() {
        Some(_) => Err(MALFORMED),
        None => Ok(Said::Proxied(Addresses {
            source: SocketAddr::new(source, ports[0]),
            destination: SocketAddr::new(destination, ports[1]),
        })),
    }
}

fn ip(family: &str, text: &str) -> Result<IpAddr, HeaderError> {
    match family {
        "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().map(IpAddr::V6),
        _ => return Err(MALFORMED),
    }
    .map_err(|_| MALFORMED)
}

/// A number from 0 to 65535, without zeros before it.
fn port(text: &str) -> Result<u16, HeaderError> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let has_zeros = text.len() > 1 && text.starts_with('0');
    match text.parse() {
        Ok(port) if is_plain && !has_zeros => Ok(port),
        _ => Err(MALFORMED),
    }
}

pub(super) fn write(said: Said) -> Vec<u8> {
    let Said::Proxied(Addresses {
        source,
        destination,
    }) = said
    else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let family = match source {
        SocketAddr::V4(_) => "TCP4",
        SocketAddr::V6(_) => "TCP6",
    };
    let (from, to) = (plain(source.ip()), plain(destination.ip()));
    let (from_port, to_port) = (source.port(), destination.port());
    format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
}

/// An address as it is written there. Mapped addresses are written in hexadecimal: not every reader knows another way.
fn plain(ip: IpAddr) -> String {
    match ip {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            let [.., high, low] = v6.segments();
            format!("::ffff:{high:x}:{low:x}")
        }
        ip => ip.to_string(),
    }
}
