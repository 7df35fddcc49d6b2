//! `tls { }` of entrypoints and routers: files that are of use, protocols that can be agreed on, and names under which
//! something is asked of clients.

use super::Check;
use super::place::{Key, keys};
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::{ClientAuthConfig, Protocol, RouterConfig, TlsConfig, text_file};
use crate::rule::{self, HostPattern, HostSet};
use crate::stack::client_auth::ClientAuth;
use crate::stack::identity::{Identity, IdentityError};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

impl Check<'_> {
    pub(super) fn tls_of_clients(&mut self) {
        let config = self.config;
        for (name, entrypoint) in &config.entrypoints {
            if let Some(tls) = &entrypoint.tls {
                if entrypoint.protocol == Protocol::Udp {
                    let problem = Problem::new(Code::Mixed, "datagrams know no TLS");
                    self.report(&keys!["entrypoints", name, "tls"], problem);
                }
                self.entrypoint_tls(name, tls);
                if entrypoint.protocol == Protocol::Http {
                    self.alpn_of_http(name, tls);
                }
            }
        }
        // What is asked of clients under a name, and who asks for it.
        let mut asked = HashMap::new();
        for (name, router) in &config.routers {
            let auth = router.tls.as_ref().and_then(|tls| tls.client_auth.as_ref());
            if let Some(auth) = auth {
                self.router_client_auth(name, router, auth, &mut asked);
            }
        }
    }

    fn entrypoint_tls(&mut self, name: &str, tls: &TlsConfig) {
        let above = keys!["entrypoints", name, "tls"];
        let at = |key: &'static str| keys!["entrypoints", name, "tls", key];
        for (given, key, lacking, other) in [
            (&tls.cert_file, "cert_file", &tls.key_file, "key_file"),
            (&tls.key_file, "key_file", &tls.cert_file, "cert_file"),
        ] {
            if given.is_some() && lacking.is_none() && self.is_read(&at(other)) {
                let problem = Problem::new(Code::Choice, format!("`{key}` needs `{other}`"));
                self.report(&at(key), problem);
            }
        }
        if let (Some(chain), Some(key)) = (&tls.cert_file, &tls.key_file) {
            self.identity(&above, chain, key);
        }
        for (index, certificate) in tls.certificates.iter().enumerate() {
            let place = keys!["entrypoints", name, "tls", "certificates", index];
            self.identity(&place, &certificate.cert_file, &certificate.key_file);
        }
        let files = ["cert_file", "key_file", "certificates"];
        let is_read = files.iter().all(|key| self.is_read(&at(key)));
        let has_none = tls.cert_file.is_none() && tls.key_file.is_none();
        if is_read && has_none && tls.certificates.is_empty() {
            let message = format!("entrypoint `{name}` has no certificate");
            let help = "add `cert_file` and `key_file`".to_owned();
            self.report(&above, Problem::new(Code::Choice, message).help(help));
        }
        if let Some(auth) = &tls.client_auth {
            let place = keys!["entrypoints", name, "tls", "client_auth", "ca_file"];
            self.authorities(&place, &auth.ca_file);
        }
        for (index, protocol) in tls.alpn.iter().flatten().enumerate() {
            if !(1..=255).contains(&protocol.len()) {
                let message = "the name of a protocol has 1 to 255 bytes";
                let place = keys!["entrypoints", name, "tls", "alpn", index];
                self.report(&place, Problem::new(Code::InvalidValue, message));
            }
        }
    }

    /// Clients who offer protocols are refused where none of theirs is there.
    fn alpn_of_http(&mut self, name: &str, tls: &TlsConfig) {
        let Some(protocols) = &tls.alpn else {
            return;
        };
        let is_http = |protocol: &String| matches!(protocol.as_str(), "h2" | "http/1.1");
        if !protocols.iter().any(is_http) {
            let message =
                format!("`{name}` is an entrypoint of HTTP, and its `alpn` names no HTTP");
            let help = "the names are `h2` and `http/1.1`".to_owned();
            let place = keys!["entrypoints", name, "tls", "alpn"];
            self.report(&place, Problem::new(Code::InvalidValue, message).help(help));
        }
    }

    /// A certificate and its key, each in its place below `above`.
    fn identity(&mut self, above: &[Key<'_>], chain: &Path, key: &Path) {
        let at = |name: &'static str| -> Vec<Key<'_>> {
            let above = above.iter().copied();
            above.chain([Key::Name(name)]).collect()
        };
        self.file(&at("cert_file"), chain, "cert_file");
        self.file(&at("key_file"), key, "key_file");
        if !chain.is_file() || !key.is_file() {
            return;
        }
        let read = |path| text_file::read(path).map_err(|error| error.to_string());
        let (chain_text, key_text) = match (read(chain), read(key)) {
            (Ok(chain), Ok(key)) => (chain, key),
            (Err(error), _) => return self.unusable(&at("cert_file"), chain, &error),
            (_, Err(error)) => return self.unusable(&at("key_file"), key, &error),
        };
        match Identity::from_pem(&chain_text, &key_text) {
            Ok(identity) if identity.left().is_none() => {
                let message = format!("`{}`: the certificate has expired", chain.display());
                self.report(&at("cert_file"), Problem::new(Code::Expired, message));
            }
            Ok(_) => {}
            Err(IdentityError::Chain(error)) => self.unusable(&at("cert_file"), chain, &error),
            Err(IdentityError::Key(error)) => self.unusable(&at("key_file"), key, &error),
        }
    }

    fn authorities(&mut self, place: &[Key<'_>], file: &Path) {
        self.file(place, file, "ca_file");
        if file.is_file() {
            let read = text_file::read(file).map_err(|error| error.to_string());
            if let Err(error) = read.and_then(|text| ClientAuth::new(&text, true)) {
                self.unusable(place, file, &error);
            }
        }
    }

    /// A gateway that runs goes on with what the file held before.
    fn unusable(&mut self, place: &[Key<'_>], file: &Path, error: &str) {
        let is_literal = (self.tree.as_ref()).is_none_or(|tree| tree.hidden(place).is_none());
        let message = match is_literal {
            true => format!("`{}`: {error}", file.display()),
            false => error.to_owned(),
        };
        let before = self.problems.len();
        self.report(place, Problem::new(Code::Unusable, message));
        let found = self.problems.split_off(before);
        self.unusable.extend(found);
    }

    /// What is asked of clients goes by the name that they come to, before there is a request.
    fn router_client_auth<'c>(
        &mut self,
        name: &'c str,
        router: &'c RouterConfig,
        auth: &'c ClientAuthConfig,
        asked: &mut HashMap<(String, HostPattern), (&'c str, &'c ClientAuthConfig)>,
    ) {
        let config = self.config;
        let place = keys!["routers", name, "tls", "client_auth"];
        self.authorities(
            &keys!["routers", name, "tls", "client_auth", "ca_file"],
            &auth.ca_file,
        );
        if self.protocol_of(router) != Some(rule::Protocol::Http) {
            let message = format!(
                "router `{name}` takes no requests: the entrypoint asks clients who they are"
            );
            self.report(&place, Problem::new(Code::Mixed, message));
            return;
        }
        for (entrypoint, there) in config.entrypoints_of(router) {
            if there.tls.is_none() {
                let message = format!(
                    "router `{name}` asks clients who they are, and entrypoint `{entrypoint}` has no TLS"
                );
                let help = "name entrypoints with `tls`".to_owned();
                self.report(&place, Problem::new(Code::Choice, message).help(help));
            }
        }
        let hosts = router
            .rule
            .rule(rule::Protocol::Http)
            .map(|rule| rule.hosts());
        let hosts = match hosts {
            Ok(HostSet::OneOf(hosts)) if hosts.iter().all(is_server_name) => hosts,
            Ok(HostSet::OneOf(hosts)) if !hosts.contains(&HostPattern::All) => {
                let message = format!(
                    "router `{name}` takes requests for an address, which is no name that clients come to in TLS"
                );
                self.report(&place, Problem::new(Code::Choice, message));
                return;
            }
            Ok(_) => {
                let message = format!(
                    "router `{name}` takes requests for any host, and clients are asked by the name that they come to"
                );
                let help = "write the names with Host()".to_owned();
                self.report(&place, Problem::new(Code::Choice, message).help(help));
                return;
            }
            // Told elsewhere.
            Err(_) => return,
        };
        let entrypoints = config.entrypoints_of(router);
        let names = entrypoints.flat_map(|(entrypoint, _)| {
            let of_host = |host: &HostPattern| (entrypoint.clone(), host.clone());
            hosts.iter().map(of_host).collect::<Vec<_>>()
        });
        for under in names.collect::<Vec<_>>() {
            let first = *asked.entry(under).or_insert((name, auth));
            if first.1 != auth {
                let message = format!(
                    "routers `{}` and `{name}` ask different things of clients who come to one name",
                    first.0
                );
                let also = self.at(&keys!["routers", first.0, "tls", "client_auth"]);
                let problem = Problem::new(Code::Choice, message);
                self.report(&place, problem.also(also, "the other one"));
                return;
            }
        }
    }
}

/// Whether a client can ask for it in a handshake, which has names and no addresses (RFC 6066, 3).
fn is_server_name(host: &HostPattern) -> bool {
    match host {
        HostPattern::All => false,
        HostPattern::Exact(name) => name.parse::<IpAddr>().is_err(),
        HostPattern::Suffix(_) => true,
    }
}
