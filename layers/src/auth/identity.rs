//! The header that tells a server who its client is.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The name of a header that only we may set.
#[derive(Debug, Clone)]
pub(super) struct IdentityHeader(HeaderName);

impl IdentityHeader {
    pub(super) fn new(name: HeaderName) -> Self {
        Self(name)
    }

    #[cfg(feature = "forward-auth")]
    pub(super) fn name(&self) -> &HeaderName {
        &self.0
    }

    /// Removes what the client says of itself, also under names with `_` for `-`: CGI and its heirs cannot tell
    /// them apart. Then says who it is, where that is known.
    pub(super) fn set(&self, headers: &mut HeaderMap, identity: Option<&HeaderValue>) {
        // Nearly always empty, and then it allocates nothing.
        let forged: Vec<HeaderName> = headers
            .keys()
            .filter(|name| self.reads_as(name))
            .cloned()
            .collect();
        for name in forged {
            headers.remove(name);
        }
        if let Some(identity) = identity {
            headers.insert(self.0.clone(), identity.clone());
        }
    }

    fn reads_as(&self, name: &HeaderName) -> bool {
        let plain = |byte: u8| if byte == b'_' { b'-' } else { byte };
        let (own, name) = (self.0.as_str(), name.as_str());
        own.len() == name.len() && own.bytes().map(plain).eq(name.bytes().map(plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_no_say_in_who_it_is() {
        let header = IdentityHeader::new(HeaderName::from_static("x-auth-user"));
        for identity in [None, Some(HeaderValue::from_static("ann"))] {
            let mut headers = HeaderMap::new();
            for name in ["x-auth-user", "x_auth_user", "x-auth_user", "x-auth-users"] {
                headers.append(name, HeaderValue::from_static("root"));
            }
            headers.append("x-auth-user", HeaderValue::from_static("root"));
            header.set(&mut headers, identity.as_ref());
            assert_eq!(headers.get("x-auth-user"), identity.as_ref());
            assert_eq!(headers.len(), 1 + usize::from(identity.is_some()));
            assert_eq!(headers["x-auth-users"], "root");
        }
    }
}
