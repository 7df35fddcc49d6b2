//! Version 2: binary.

use super::crc32c::crc32c;
use super::{Addresses, HeaderError, MAX_LENGTH, Progress, Said};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family and transport, and the length of the rest.
const HEAD: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// `PP2_TYPE_CRC32C`.
const TYPE_CRC32C: u8 = 0x03;

const MALFORMED: HeaderError = HeaderError::Malformed;

pub(super) fn read(bytes: &[u8]) -> Result<Progress, HeaderError> {
    // What is wrong already need not be waited for.
    if bytes.get(12).is_some_and(|byte| byte >> 4 != 2) {
        return Err(HeaderError::Version);
    }
    let Some(head) = bytes.get(..HEAD) else {
        return Ok(Progress::Partial);
    };
    let is_local = match head[12] {
        LOCAL => true,
        PROXY => false,
        _ => return Err(MALFORMED),
    };
    let length = HEAD + usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > MAX_LENGTH {
        return Err(HeaderError::TooLong);
    }
    let Some(header) = bytes.get(..length) else {
        return Ok(Progress::Partial);
    };
    let (said, more) = said(is_local, head[13], &header[HEAD..])?;
    checked(header, length - more.len())?;
    Ok(Progress::Whole(said, length))
}

/// What the addresses say, and what stands behind them.
fn said(is_local: bool, family: u8, body: &[u8]) -> Result<(Said, &[u8]), HeaderError> {
    let length = match family >> 4 {
        0 => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Err(MALFORMED),
    };
    if family & 0xF > 2 {
        return Err(MALFORMED);
    }
    // Of `LOCAL` the addresses are of no meaning, and need not even be there.
    let Some((addresses, more)) = body.split_at_checked(length) else {
        return match is_local {
            true => Ok((Said::Itself, &[])),
            false => Err(MALFORMED),
        };
    };
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    let v6 = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&addresses[at..at + 16]);
        Ipv6Addr::from(octets)
    };
    let v4 = |at: usize| {
        let mut octets = [0; 4];
        octets.copy_from_slice(&addresses[at..at + 4]);
        Ipv4Addr::from(octets)
    };
    let said = match family {
        _ if is_local => Said::Itself,
        TCP4 => Said::Proxied(Addresses {
            source: SocketAddr::new(v4(0).into(), port(8)),
            destination: SocketAddr::new(v4(4).into(), port(10)),
        }),
        TCP6 => Said::Proxied(Addresses {
            source: SocketAddr::new(v6(0).into(), port(32)),
            destination: SocketAddr::new(v6(16).into(), port(34)),
        }),
        // Of no family that a connection of ours is of: a Unix socket, datagrams, or nobody knows.
        _ => Said::Itself,
    };
    Ok((said, more))
}

/// Walks over what stands behind the addresses (2.2.2): types, lengths and values that fill it. A checksum must be right.
fn checked(header: &[u8], mut at: usize) -> Result<(), HeaderError> {
    while at < header.len() {
        let Some([kind, high, low]) = header.get(at..at + 3) else {
            return Err(MALFORMED);
        };
        let value = at + 3..at + 3 + usize::from(u16::from_be_bytes([*high, *low]));
        let Some(bytes) = header.get(value.clone()) else {
            return Err(MALFORMED);
        };
        if *kind == TYPE_CRC32C {
            let told: [u8; 4] = bytes.try_into().map_err(|_| MALFORMED)?;
            // It is of the header with zeros in its own place.
            let without = (0..).zip(header).map(|(i, byte)| match value.contains(&i) {
                true => 0,
                false => *byte,
            });
            if crc32c(without) != u32::from_be_bytes(told) {
                return Err(HeaderError::Checksum);
            }
        }
        at = value.end;
    }
    Ok(())
}

pub(super) fn write(said: Said) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let Said::Proxied(Addresses {
        source,
        destination,
    }) = said
    else {
        header.extend([LOCAL, 0, 0, 0]);
        return header;
    };
    match (source, destination) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            header.extend([PROXY, TCP4, 0, 12]);
            header.extend(from.ip().octets());
            header.extend(to.ip().octets());
        }
        (from, to) => {
            header.extend([PROXY, TCP6, 0, 36]);
            for end in [from, to] {
                let ip = match end {
                    SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped(),
                    SocketAddr::V6(v6) => *v6.ip(),
                };
                header.extend(ip.octets());
            }
        }
    }
    header.extend(source.port().to_be_bytes());
    header.extend(destination.port().to_be_bytes());
    header
}
