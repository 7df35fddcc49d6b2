use super::*;
use proptest::prelude::*;

fn proxied(source: &str, destination: &str) -> Said {
    Said::Proxied(Addresses {
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
    })
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family]);
    header.extend((body.len() as u16).to_be_bytes());
    header.extend(body);
    header
}

/// 192.0.2.1:258 to 192.0.2.2:443, and what stands behind it.
fn tcp4(more: &[u8]) -> Vec<u8> {
    let addresses = [192, 0, 2, 1, 192, 0, 2, 2, 1, 2, 1, 187];
    v2(0x21, 0x11, &[&addresses[..], more].concat())
}

#[test]
fn a_header_says_whose_a_connection_is() {
    let four = proxied("192.0.2.1:258", "192.0.2.2:443");
    let mut six = [0; 36];
    six[15] = 1;
    six[31] = 2;
    six[32..].copy_from_slice(&[1, 2, 1, 187]);
    for (header, expected) in [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 258 443\r\n".to_vec(), four),
        (
            b"PROXY TCP6 2001:db8::1 ::2 65535 0\r\n".to_vec(),
            proxied("[2001:db8::1]:65535", "[::2]:0"),
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), Said::Itself),
        (
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
            Said::Itself,
        ),
        (
            // The longest that the specification knows.
            format!(
                "PROXY UNKNOWN {0} {0} 65535 65535\r\n",
                "ffff:".repeat(8).trim_end_matches(':')
            )
            .into_bytes(),
            Said::Itself,
        ),
        (tcp4(&[]), four),
        (tcp4(&[4, 0, 0]), four),
        (tcp4(&[1, 0, 2, b'h', b'2', 0xEE, 0, 1, 7]), four),
        (v2(0x21, 0x21, &six), proxied("[::1]:258", "[::2]:443")),
        (v2(0x20, 0x11, &[0; 12]), Said::Itself),
        (v2(0x20, 0x11, &[]), Said::Itself),
        (v2(0x20, 0, &[]), Said::Itself),
        (v2(0x21, 0, &[]), Said::Itself),
        (v2(0x21, 0x12, &[0; 12]), Said::Itself),
        (v2(0x21, 0x31, &[0; 216]), Said::Itself),
    ] {
        let length = header.len();
        assert_eq!(
            read(&header),
            Ok(Progress::Whole(expected, length)),
            "{header:?}"
        );
        let more = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(read(&more), Ok(Progress::Whole(expected, length)));
        for cut in 0..length {
            assert_eq!(
                read(&header[..cut]),
                Ok(Progress::Partial),
                "{cut} of {header:?}"
            );
        }
    }
}

#[test]
fn what_is_not_exactly_a_header_is_refused() {
    use HeaderError::{Absent, Checksum, Malformed, TooLong, Version};
    let wrong_checksum = tcp4(&[3, 0, 4, 0, 0, 0, 0]);
    for (bytes, expected) in [
        (&b"GET / HTTP/1.1\r\n"[..], Absent),
        (b"proxy TCP4", Absent),
        (b"PROXYTCP4", Absent),
        (b" PROXY ", Absent),
        (b"\r\n\r\n\r\n", Absent),
        (b"\x16\x03\x01", Absent),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 258 443\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 258 443\rx", Malformed),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 258\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 258 443 \r\n", Malformed),
        (b"PROXY TCP4  192.0.2.1 192.0.2.2 258 443\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 258 443 1\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 258 65536\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 258 +443\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 258 0443\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 258 -1\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2  443\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.01 192.0.2.2 258 443\r\n", Malformed),
        (b"PROXY TCP4 192.0.2 192.0.2.2 258 443\r\n", Malformed),
        (b"PROXY TCP4 ::1 ::2 258 443\r\n", Malformed),
        (b"PROXY TCP6 192.0.2.1 192.0.2.2 258 443\r\n", Malformed),
        (b"PROXY TCP6 fe80::1%eth0 ::2 258 443\r\n", Malformed),
        (b"PROXY TCP6 [::1] ::2 258 443\r\n", Malformed),
        (b"PROXY UDP4 192.0.2.1 192.0.2.2 258 443\r\n", Malformed),
        (b"PROXY UNKNOWNS\r\n", Malformed),
        (b"PROXY unknown\r\n", Malformed),
        (b"PROXY \r\n", Malformed),
        (b"PROXY TCP4 \xff\r\n", Malformed),
        (&[b"PROXY UNKNOWN ", &[b'x'; 93][..]].concat(), TooLong),
        (
            &[b"PROXY UNKNOWN ", &[b'x'; 92][..], b"\r\n"].concat(),
            TooLong,
        ),
        (&v2(0x11, 0x11, &[0; 12]), Version),
        (&v2(0x31, 0x11, &[0; 12])[..13], Version),
        (&v2(0x22, 0x11, &[0; 12]), Malformed),
        (&v2(0x21, 0x41, &[0; 12]), Malformed),
        (&v2(0x21, 0x13, &[0; 12]), Malformed),
        (&v2(0x21, 0x11, &[0; 11]), Malformed),
        (&v2(0x21, 0x21, &[0; 35]), Malformed),
        (&tcp4(&[4]), Malformed),
        (&tcp4(&[4, 0]), Malformed),
        (&tcp4(&[4, 0, 1]), Malformed),
        (&tcp4(&[3, 0, 3, 0, 0, 0]), Malformed),
        (&wrong_checksum, Checksum),
        (&v2(0x21, 0x11, &[0; 2049])[..16], TooLong),
    ] {
        assert_eq!(
            read(bytes),
            Err(expected),
            "{:?}",
            bytes.escape_ascii().to_string()
        );
    }
}

#[test]
fn a_checksum_is_that_of_the_whole_header() {
    let mut header = tcp4(&[4, 0, 2, 0, 0, 3, 0, 4, 0, 0, 0, 0, 1, 0, 1, b'x']);
    let checksum = super::crc32c::crc32c(header.iter().copied());
    let at = header.len() - 8;
    header[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
    assert!(matches!(read(&header), Ok(Progress::Whole(..))));
    // But for the byte that says that there is one.
    let is_told = |index: &usize| *index != at - 3;
    for index in (16..header.len()).filter(is_told) {
        let mut other = header.clone();
        other[index] ^= 1;
        assert!(read(&other).is_err(), "{index}");
    }
}

#[test]
fn both_ends_are_written_in_one_family() {
    let mixed = proxied("192.0.2.1:1", "[2001:db8::1]:2");
    let expected = b"PROXY TCP6 ::ffff:c000:201 2001:db8::1 1 2\r\n";
    assert_eq!(write(Version::V1, mixed), expected);
    let mapped = proxied("[::ffff:192.0.2.1]:1", "192.0.2.2:2");
    let expected = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
    assert_eq!(write(Version::V1, mapped), expected);
    assert_eq!(write(Version::V1, Said::Itself), b"PROXY UNKNOWN\r\n");
    assert_eq!(write(Version::V2, Said::Itself), v2(0x20, 0, &[]));
    let four = proxied("192.0.2.1:258", "192.0.2.2:443");
    assert_eq!(write(Version::V2, four), tcp4(&[]));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        source: SocketAddr,
        destination: SocketAddr,
        is_v1: bool,
        more: Vec<u8>,
    ) {
        let version = if is_v1 { Version::V1 } else { Version::V2 };
        let plain = |end: SocketAddr| (end.ip().to_canonical(), end.port());
        let header = write(version, Said::Proxied(Addresses { source, destination }));
        prop_assert!(header.len() <= 107);
        let read = read(&[&header[..], &more].concat());
        let Ok(Progress::Whole(Said::Proxied(said), length)) = read else {
            return Err(TestCaseError::fail(format!("{read:?}")));
        };
        prop_assert_eq!(length, header.len());
        prop_assert_eq!(plain(said.source), plain(source));
        prop_assert_eq!(plain(said.destination), plain(destination));
    }

    #[test]
    fn no_bytes_do_harm(bytes: Vec<u8>, begins in 0..3, command: u8, family: u8) {
        let _ = read(&bytes);
        let text = [b"PROXY ", &bytes[..]].concat();
        let binary = v2(command, family, &bytes);
        let header = [&bytes, &text, &binary][begins as usize];
        // More never makes a header of what is none, nor another one of what is one.
        let whole = read(header);
        for cut in 0..header.len() {
            match read(&header[..cut]) {
                Ok(Progress::Partial) => {}
                other => prop_assert_eq!(other, whole),
            }
        }
    }
}
