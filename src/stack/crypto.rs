//! The cryptography of this process.

use rustls::crypto::CryptoProvider;
use std::sync::{Arc, OnceLock};

/// aws-lc-rs, with post-quantum key exchange first. It is ours alone: a program that has the gateway in it may have
/// another one for itself.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}
