//! `tls { }` of an entrypoint: files that are there, and protocols that can be agreed on.

use super::Check;
use super::place::{Key, keys};
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::{Protocol, TlsConfig};
use std::path::Path;

impl Check<'_> {
    pub(super) fn entrypoints_tls(&mut self) {
        let config = self.config;
        for (name, entrypoint) in &config.entrypoints {
            if let Some(tls) = &entrypoint.tls {
                if entrypoint.protocol == Protocol::Udp {
                    let problem = Problem::new(Code::Mixed, "datagrams know no TLS");
                    self.report(&keys!["entrypoints", name, "tls"], problem);
                }
                self.entrypoint_tls(name, tls);
            }
        }
    }

    fn entrypoint_tls(&mut self, name: &str, tls: &TlsConfig) {
        let at = |key: &'static str| keys!["entrypoints", name, "tls", key];
        self.pair(&at, tls.cert_file.as_deref(), tls.key_file.as_deref());
        for (index, certificate) in tls.certificates.iter().enumerate() {
            let at =
                |key: &'static str| keys!["entrypoints", name, "tls", "certificates", index, key];
            self.file(&at("cert_file"), &certificate.cert_file, "cert_file");
            self.file(&at("key_file"), &certificate.key_file, "key_file");
        }
        let is_read = ["cert_file", "key_file", "certificates"]
            .iter()
            .all(|key| self.is_read(&at(key)));
        if is_read
            && tls.files().next().is_none()
            && tls.cert_file.is_none()
            && tls.key_file.is_none()
        {
            let message = format!("entrypoint `{name}` has no certificate");
            let help = "add `cert_file` and `key_file`".to_owned();
            let problem = Problem::new(Code::Choice, message).help(help);
            self.report(&keys!["entrypoints", name, "tls"], problem);
        }
        if let Some(auth) = &tls.client_auth {
            let place = keys!["entrypoints", name, "tls", "client_auth", "ca_file"];
            self.file(&place, &auth.ca_file, "ca_file");
        }
        for (index, protocol) in tls.alpn.iter().flatten().enumerate() {
            if !(1..=255).contains(&protocol.len()) {
                let message = "the name of a protocol has 1 to 255 bytes";
                let place = keys!["entrypoints", name, "tls", "alpn", index];
                self.report(&place, Problem::new(Code::InvalidValue, message));
            }
        }
    }

    /// A certificate and its key, which go together.
    fn pair<'k, const N: usize>(
        &mut self,
        at: &dyn Fn(&'static str) -> [Key<'k>; N],
        chain: Option<&Path>,
        key: Option<&Path>,
    ) {
        for (given, name, lacking, other) in [
            (chain, "cert_file", key, "key_file"),
            (key, "key_file", chain, "cert_file"),
        ] {
            let Some(path) = given else {
                continue;
            };
            self.file(&at(name), path, name);
            if lacking.is_none() && self.is_read(&at(other)) {
                let problem = Problem::new(Code::Choice, format!("`{name}` needs `{other}`"));
                self.report(&at(name), problem);
            }
        }
    }
}
