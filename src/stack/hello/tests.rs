use super::*;
use crate::stack::crypto::provider;
use proptest::prelude::*;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::sync::Arc;

/// What has its length before it.
fn vector(width: usize, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("short").to_be_bytes();
    [&length[4 - width..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(2, content)].concat()
}

fn of_name(name: &[u8]) -> Vec<u8> {
    extension(0, &vector(2, &[&[0][..], &vector(2, name)].concat()))
}

fn of_protocols(protocols: &[&str]) -> Vec<u8> {
    let list: Vec<_> = protocols
        .iter()
        .flat_map(|protocol| vector(1, protocol.as_bytes()))
        .collect();
    extension(16, &vector(2, &list))
}

/// The message of a hello with these extensions.
fn message_of(extensions: &[u8]) -> Vec<u8> {
    let fixed = [&[3, 3][..], &[7; 32]].concat();
    let rest = [
        vector(1, &[1; 32]),
        vector(2, &[0x13, 1]),
        vector(1, &[0]),
        vector(2, extensions),
    ];
    let body = [fixed, rest.concat()].concat();
    [vec![CLIENT_HELLO], vector(3, &body)].concat()
}

/// A message in records of at most so many bytes.
fn in_records(message: &[u8], length: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[HANDSHAKE, 3, 1][..], &vector(2, part)].concat();
    message.chunks(length).flat_map(record).collect()
}

fn read(bytes: &[u8]) -> Heard {
    HelloReader::default().read(bytes)
}

fn named(name: Option<&str>, alpn: &[&str]) -> Heard {
    let alpn = alpn.iter().map(|protocol| protocol.as_bytes().into());
    Heard::Hello(ClientHello {
        server_name: name.map(Into::into),
        alpn: alpn.collect(),
    })
}

#[test]
fn names_and_protocols_are_found() {
    for (extensions, expected) in [
        (vec![], named(None, &[])),
        (of_name(b"a.test"), named(Some("a.test"), &[])),
        (of_name(b"A.Test."), named(Some("a.test"), &[])),
        // What is no name is none; the server may say what it thinks of it.
        (of_name(b"127.0.0.1"), named(None, &[])),
        (of_name(b"::1"), named(None, &[])),
        (of_name(b""), named(None, &[])),
        (of_name(b"."), named(None, &[])),
        (of_name(b"a b"), named(None, &[])),
        (of_name("\u{e9}.test".as_bytes()), named(None, &[])),
        (of_name(&[b'a'; 300]), named(None, &[])),
        // Unknown kinds of names.
        (
            extension(0, &vector(2, &[7, 0, 1, b'x', 0, 0, 1, b'a'])),
            named(Some("a"), &[]),
        ),
        (
            [
                extension(0x0a0a, b"grease"),
                of_protocols(&["h2", "http/1.1"]),
                of_name(b"a"),
            ]
            .concat(),
            named(Some("a"), &["h2", "http/1.1"]),
        ),
        // What two could read in two ways.
        ([of_name(b"a"), of_name(b"b")].concat(), Heard::Other),
        (extension(0, &[0, 9, 0]), Heard::Other),
        (vec![0, 0, 0, 9], Heard::Other),
        (of_protocols(&["h2"])[..6].to_vec(), Heard::Other),
    ] {
        let bytes = in_records(&message_of(&extensions), MAX_RECORD);
        assert_eq!(read(&bytes), expected, "{extensions:?}");
    }
}

#[test]
fn a_hello_without_extensions_is_one() {
    let body = [&[3, 1][..], &[7; 32], &[0], &[0, 2, 0, 10], &[1, 0]].concat();
    let message = [vec![CLIENT_HELLO], vector(3, &body)].concat();
    assert_eq!(read(&in_records(&message, 100)), named(None, &[]));
}

#[test]
fn what_a_client_of_today_says_is_understood() {
    let builder = ClientConfig::builder_with_provider(provider());
    let mut config = builder
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let name = "db.test".try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("written");
    // With a key share of ML-KEM.
    assert!(bytes.len() > 1200, "{}", bytes.len());
    assert_eq!(read(&bytes), named(Some("db.test"), &["postgresql"]));
}

#[test]
fn what_does_not_begin_like_tls_is_known_at_once() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"\x16\x04",
        b"\x16\x03\x01\0\0",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\0\x05\x02",
        b"\x16\x03\x01\0\x05\x01\xff\xff\xff",
        b"\x15\x03\x01\0\x02\x01\0",
    ] {
        assert_eq!(read(bytes), Heard::Other, "{bytes:?}");
    }
    assert_eq!(read(b""), Heard::More);
}

#[test]
fn a_hello_has_an_end() {
    // 60,000 bytes are announced, and come one to a record.
    let message = [&[CLIENT_HELLO, 0, 0xea, 0x60][..], &[0; 60_000]].concat();
    let bytes = in_records(&message, 1);
    let (mut reader, mut given) = (HelloReader::default(), 0);
    while reader.read(&bytes[..given]) == Heard::More {
        given += 1;
    }
    assert_eq!(given, MAX);
}

proptest! {
    #[test]
    fn pieces_and_records_change_nothing(
        record in 1usize..700,
        cuts in prop::collection::vec(0usize..1400, 0..6),
        singly: bool,
        rest in prop::collection::vec(any::<u8>(), 0..20),
        name in "[a-z]{1,20}\\.test",
        filling in 0usize..1000,
    ) {
        let padding = extension(21, &vec![0; filling]);
        let parts = [padding, of_name(name.as_bytes()), of_protocols(&["h2"])];
        let whole = in_records(&message_of(&parts.concat()), record);
        let bytes = [&whole[..], &rest].concat();
        let mut ends: Vec<usize> = match singly {
            true => (0..bytes.len()).collect(),
            false => cuts.iter().map(|cut| *cut.min(&bytes.len())).collect(),
        };
        ends.push(bytes.len());
        ends.sort_unstable();
        let mut reader = HelloReader::default();
        for end in ends {
            match reader.read(&bytes[..end]) {
                Heard::More => prop_assert!(end < whole.len(), "at {end} of {}", whole.len()),
                heard => {
                    prop_assert!(end >= whole.len());
                    prop_assert_eq!(heard, named(Some(&name), &["h2"]));
                    break;
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        record in 1usize..300,
        cut in 0usize..300,
        at in 0usize..200,
        flipped: u8,
    ) {
        let mut nearly = message_of(&[of_name(b"a.test"), of_protocols(&["h2"])].concat());
        let at = at % nearly.len();
        nearly[at] ^= flipped;
        let garbage = [&[CLIENT_HELLO, 0, 0][..], &vector(1, &bytes[..bytes.len().min(255)])];
        for bytes in [bytes.clone(), in_records(&nearly, record), in_records(&garbage.concat(), record)] {
            let mut reader = HelloReader::default();
            let first = reader.read(&bytes[..cut.min(bytes.len())]);
            if first == Heard::More {
                let second = reader.read(&bytes);
                prop_assert_eq!(second, read(&bytes));
            }
        }
    }
}
