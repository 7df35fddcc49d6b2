//! Digests that mean something in this process only.

use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// SHA-256 that has read a secret of this process: one block, so that it costs nothing for each digest.
static KEYED: LazyLock<Sha256> = LazyLock::new(|| {
    let mut key = [0; 64];
    getrandom::fill(&mut key).expect("the system has random bytes");
    Sha256::new_with_prefix(key)
});

/// A digest of `parts` that nobody outside can compute, foresee or steer. What is compared or looked up by it may
/// take its time: it tells nothing of the parts.
pub(super) fn blind<const N: usize>(parts: [&[u8]; N]) -> [u8; 32] {
    let mut digest = KEYED.clone();
    for part in parts {
        // With its length, so that no two lists of parts are one text.
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::blind;

    #[test]
    fn parts_are_told_apart() {
        assert_eq!(blind([b"ab", b"c"]), blind([b"ab", b"c"]));
        assert_ne!(blind([b"ab", b"c"]), blind([b"a", b"bc"]));
        assert_ne!(blind([b"a"]), blind([b"a", b""]));
    }
}
