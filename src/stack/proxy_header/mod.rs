//! The header of the PROXY protocol: who a connection is really from, said before anything else on it.
//!
//! Source: `doc/proxy-protocol.txt` of HAProxy, version 2.2 of the protocol (2020/03/05). Version 1 is a line of text
//! (section 2.1), version 2 is binary (2.2). The parser is our own, for it has to be strict: what is not exactly a
//! header is refused, so that nobody can take for a header what another takes for data.

mod crc32c;
mod v1;
mod v2;

use std::net::SocketAddr;

/// The longest header that is read: a version 1 has 107 bytes at the most, and of version 2 this leaves 2 KiB for what
/// stands beside the addresses. More is refused.
pub const MAX_LENGTH: usize = 2048 + 16;

/// The version of a header to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// Where a connection comes from, and where it went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The client's end.
    pub source: SocketAddr,
    /// The end that the client has connected to.
    pub destination: SocketAddr,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The connection was made for somebody else.
    Proxied(Addresses),
    /// The connection is of the one who has opened it (`LOCAL`), or nobody knows whose it is (`UNKNOWN`, `UNSPEC`): its
    /// own addresses count.
    Itself,
}

/// How far the reading of a header has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is whole, and so many bytes long.
    Whole(Said, usize),
    /// What there is of it is a header, and more is to come.
    Partial,
}

/// Why something is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It begins otherwise.
    #[error("there is no PROXY header")]
    Absent,
    /// It is longer than it may be.
    #[error("the PROXY header is too long")]
    TooLong,
    /// It is of another version than 1 and 2.
    #[error("the PROXY header is of an unknown version")]
    Version,
    /// It does not say what it has to, or how it has to.
    #[error("the PROXY header is malformed")]
    Malformed,
    /// Its checksum is another one.
    #[error("the PROXY header has a wrong checksum")]
    Checksum,
}

/// Reads the header that `bytes` begin with. They may hold a part of it, and more than it.
pub fn read(bytes: &[u8]) -> Result<Progress, HeaderError> {
    let begins = |signature: &[u8]| {
        let length = bytes.len().min(signature.len());
        bytes[..length] == signature[..length]
    };
    if begins(v2::SIGNATURE) {
        v2::read(bytes)
    } else if begins(v1::SIGNATURE) {
        v1::read(bytes)
    } else {
        Err(HeaderError::Absent)
    }
}

/// The header that says this.
pub fn write(version: Version, said: Said) -> Vec<u8> {
    // Both ends are of one family there. An IPv4 address has a place in IPv6, and not the other way round.
    let said = match said {
        Said::Proxied(Addresses {
            source,
            destination,
        }) => {
            let ends = [source, destination].map(canonical);
            let ends = match ends.iter().all(SocketAddr::is_ipv4) {
                true => ends,
                false => ends.map(mapped),
            };
            Said::Proxied(Addresses {
                source: ends[0],
                destination: ends[1],
            })
        }
        Said::Itself => Said::Itself,
    };
    match version {
        Version::V1 => v1::write(said),
        Version::V2 => v2::write(said),
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 => v6,
    }
}

#[cfg(test)]
mod tests;
