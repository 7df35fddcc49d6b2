//! Apache's variant of the MD5-based crypt: a thousand rounds, and no choice of more.
//!
//! After `apr_md5_encode` in APR's `crypto/apr_md5.c`.

use md5::{Digest, Md5};

const MAGIC: &[u8] = b"$apr1$";
const ROUNDS: usize = 1000;
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The longest salt, in bytes.
pub(super) const MAX_SALT: usize = 8;

/// The length of a digest as it is written.
pub(super) const DIGEST: usize = 22;

/// The digest of `password`, as it is written.
pub(super) fn digest(password: &[u8], salt: &[u8]) -> [u8; DIGEST] {
    let mut state: [u8; 16] = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into();
    let mut first = Md5::new()
        .chain_update(password)
        .chain_update(MAGIC)
        .chain_update(salt);
    for chunk in password.chunks(state.len()) {
        first.update(&state[..chunk.len()]);
    }
    let mut length = password.len();
    while length > 0 {
        match length & 1 {
            1 => first.update([0]),
            _ => first.update(&password[..1]),
        }
        length >>= 1;
    }
    state = first.finalize().into();
    for round in 0..ROUNDS {
        let (before, after) = match round % 2 {
            1 => (password, &state[..]),
            _ => (&state[..], password),
        };
        let mut next = Md5::new().chain_update(before);
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(after);
        state = next.finalize().into();
    }
    text(&state)
}

/// Six bits to a character, the lowest first, of bytes in an order of its own.
fn text(state: &[u8; 16]) -> [u8; DIGEST] {
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut text = [0; DIGEST];
    let groups = ORDER.map(|group| {
        let [high, middle, low] = group.map(|index| u32::from(state[index]));
        high << 16 | middle << 8 | low
    });
    for (group, characters) in groups
        .iter()
        .chain(&[u32::from(state[11])])
        .zip(text.chunks_mut(4))
    {
        for (index, character) in characters.iter_mut().enumerate() {
            *character = ALPHABET[(group >> (6 * index) & 63) as usize];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn it_agrees_with_openssl() {
        // openssl passwd -apr1 -salt SALT PASSWORD
        for (salt, password, expected) in [
            ("r31xyz12", "secret", "onQKKDsjYs7dR4muzW5nu0"),
            ("r31xyz12", "", "eQ8p80YY7VHALTsABsPE3."),
            ("r31xyz12", "a", "QOIhhQW6osTA6Q.HV.S3c/"),
            ("r31xyz12", &"x".repeat(40), "MB8Bw7dM2YfhxwioXyXF20"),
            ("r31xyz12", "pässwörd", "IYyyFqiQbGiWVAnIF5GoW."),
            ("ab", "secret", "jiiV6N7hIIuIoJbc1hxOE/"),
        ] {
            let found = digest(password.as_bytes(), salt.as_bytes());
            assert_eq!(found, expected.as_bytes(), "{password}");
        }
    }
}
