//! CRC-32C (Castagnoli), as RFC 3720, appendix B.4, has it. Headers are short, and few have it: no table is needed.

/// The reflected polynomial.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// The checksum of these bytes, one after the other.
pub(super) fn crc32c(bytes: impl IntoIterator<Item = u8>) -> u32 {
    let mut crc = !0;
    for byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = match crc & 1 {
                1 => (crc >> 1) ^ POLYNOMIAL,
                _ => crc >> 1,
            };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn the_examples_of_the_standard_agree() {
        let ascending = 0..32;
        let descending = (0..32).rev();
        assert_eq!(crc32c([0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c([0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(ascending), 0x46DD_794E);
        assert_eq!(crc32c(descending), 0x113F_DB5C);
        assert_eq!(crc32c(*b"123456789"), 0xE306_9283);
    }
}
