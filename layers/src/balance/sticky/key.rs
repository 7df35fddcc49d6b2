//! Tokens that are a keyed hash of what they name.

use super::Token;
use crate::endpoint::Endpoint;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// Makes tokens: HMAC-SHA-256 (RFC 2104), the first 128 bits. Equal keys make equal tokens, in any process.
///
/// Without a secret, whoever knows the service's name and guesses a server's URL can tell that a token is that
/// server's. With one, a token says nothing.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// The key of a service. Tokens of another service, or under another secret, are nobody's here.
    pub fn new(service: &str, secret: Option<&[u8]>) -> Self {
        let secret = keyed(secret.unwrap_or_default());
        Self(keyed(&digest(secret, &[b"sticky", service.as_bytes()])))
    }

    /// The token of a server.
    pub fn server(&self, endpoint: &Endpoint) -> Token {
        self.token(b"server", endpoint.id())
    }

    /// The token of a revision.
    pub fn revision(&self, name: &str) -> Token {
        self.token(b"revision", name)
    }

    fn token(&self, kind: &[u8], name: &str) -> Token {
        let digest = digest(self.0.clone(), &[kind, name.as_bytes()]);
        let (bits, _) = digest
            .split_first_chunk()
            .expect("32 bytes are 16 and more");
        Token::new(u128::from_be_bytes(*bits))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key of any length")
}

/// The words are told apart by a NUL, which only the last one might have in it.
fn digest(mut hmac: Hmac<Sha256>, words: &[&[u8]]) -> [u8; 32] {
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            hmac.update(&[0]);
        }
        hmac.update(word);
    }
    hmac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn tokens_are_the_same_in_every_process() {
        // What Python's `hmac` says of it.
        let server = Endpoint::new("http://127.0.0.1:8001");
        let token = |secret| Key::new("backend", secret).server(&server).to_string();
        assert_eq!(token(None), "dca2bbb0b8316dee99e044a229657e46");
        assert_eq!(
            token(Some(b"a secret of some length")),
            "8d065937909ff75f2f3dcaece02f81b6"
        );
    }

    #[test]
    fn whatever_differs_has_another_token() {
        let (one, two) = (Endpoint::new("http://a"), Endpoint::new("http://b"));
        let mut tokens = HashSet::new();
        for service in ["a", "b"] {
            for secret in [None, Some(&b"one"[..]), Some(b"two")] {
                let key = Key::new(service, secret);
                tokens.extend([key.server(&one), key.server(&two)]);
                tokens.extend([key.revision("http://a"), key.revision("b")]);
            }
        }
        assert_eq!(tokens.len(), 2 * 3 * 4);
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", Key::new("a", Some(b"hunter2"))), "Key(***)");
    }
}
