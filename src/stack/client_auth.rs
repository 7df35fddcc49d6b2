//! Who may be a client: authorities, and whether a certificate of theirs is needed.

use super::crypto::provider;
use super::identity::certificates;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What is asked of clients.
#[derive(Debug, Clone)]
pub struct ClientAuth {
    /// Judges their certificates.
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// The same for all that ask for the same; never 0, which is for those that ask for nothing.
    pub id: u64,
}

impl ClientAuth {
    /// Believes the authorities of a PEM file; who has no certificate is refused where it is `required`.
    pub fn new(authorities: &str, required: bool) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let mut authorities = certificates(authorities)?;
        // Their order and what stands between them mean nothing.
        authorities.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
        authorities.dedup();
        let mut hasher = DefaultHasher::new();
        for authority in &authorities {
            authority.as_ref().hash(&mut hasher);
        }
        required.hash(&mut hasher);
        for authority in authorities {
            let added = roots.add(authority);
            added.map_err(|error| format!("a certificate is that of no authority: {error}"))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let builder = match required {
            true => builder,
            false => builder.allow_unauthenticated(),
        };
        Ok(Self {
            verifier: builder.build().map_err(|error| error.to_string())?,
            id: hasher.finish().max(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    fn authority() -> String {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn what_asks_for_the_same_is_the_same() {
        let (one, other) = (authority(), authority());
        let id = |authorities: &str, required| ClientAuth::new(authorities, required).unwrap().id;
        assert_eq!(id(&one, true), id(&format!("# ours\n{one}{one}"), true));
        let (both, turned) = (format!("{one}{other}"), format!("{other}{one}"));
        assert_eq!(id(&both, true), id(&turned, true));
        assert_ne!(id(&one, true), id(&one, false));
        assert_ne!(id(&one, true), id(&other, true));
        assert!(ClientAuth::new("", true).is_err());
    }
}
