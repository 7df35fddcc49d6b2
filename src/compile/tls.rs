//! `tls { }` of an entrypoint: the terms that are agreed on with its clients, kept from one configuration to the next
//! while what is written stays the same. With them stay what the files hold by now, and the sessions of clients.

use super::file::Followed;
use super::upkeep::{Task, Upkeep};
use super::{CompileError, Kept};
use crate::config::{
    ClientAuthConfig, ClientAuthMode, EntrypointConfig, GatewayConfig, TlsConfig, TlsVersion,
};
use crate::rule::{HostPattern, HostSet, Protocol};
use crate::serve::tls::{Agreed, Certificates, Terms};
use crate::stack::asked::Asked;
use crate::stack::client_auth::ClientAuth;
use crate::stack::crypto::provider;
use crate::stack::identity::{Identity, SOON};
use crate::stack::names::Names;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::version::{TLS12, TLS13};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tower::BoxError;

/// TLS of each entrypoint that has it, by name.
pub type AllTls = HashMap<Arc<str>, Tls>;

/// The application protocols of HTTP, the best first.
const HTTP: [&str; 2] = ["h2", "http/1.1"];

/// How often a certificate is warned of that is about to end.
const REMIND: Duration = Duration::from_secs(24 * 3600);

/// What routers ask of clients who come to their names.
#[derive(Debug, Clone, Default, PartialEq)]
struct Asks {
    /// What the entrypoint asks for, too.
    own: Vec<Box<str>>,
    others: Vec<(ClientAuthConfig, Vec<Box<str>>)>,
}

/// What is agreed on with the clients of an entrypoint.
#[derive(Debug, Clone)]
pub struct Tls {
    config: TlsConfig,
    asks: Asks,
    http: Arc<Terms>,
    tcp: Arc<Terms>,
    upkeep: Arc<Upkeep>,
}

impl Tls {
    /// Whether it is the very same, with the keys of its tickets.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.upkeep, &other.upkeep)
    }

    /// The terms for requests, or for connections that are nothing more.
    pub(super) fn terms(&self, is_http: bool) -> &Arc<Terms> {
        match is_http {
            true => &self.http,
            false => &self.tcp,
        }
    }

    /// What is asked of clients, by the name that they come to.
    pub(super) fn asked(&self) -> &Arc<Asked> {
        self.http.asked()
    }

    /// Its certificates.
    pub fn certificates(&self) -> &Arc<Certificates> {
        self.http.certificates()
    }

    /// Begins to follow its files, if that has not begun.
    pub fn start_upkeep(&self) {
        self.upkeep.start();
    }
}

pub(super) fn all(config: &GatewayConfig, kept: &Kept) -> Result<AllTls, CompileError> {
    let entrypoints = config.entrypoints.iter();
    let with_tls = entrypoints.filter_map(|(name, each)| Some((name, each, each.tls.as_ref()?)));
    let made = with_tls.map(|(name, entrypoint, tls)| {
        let asks = asks(config, name, entrypoint);
        let made = match kept.tls.get(&**name) {
            Some(before) if before.config == *tls && before.asks == asks => before.clone(),
            _ => make(name, tls, asks).map_err(|source| CompileError::Entrypoint {
                entrypoint: name.clone(),
                source,
            })?,
        };
        Ok((name.as_str().into(), made))
    });
    made.collect()
}

fn asks(config: &GatewayConfig, name: &str, entrypoint: &EntrypointConfig) -> Asks {
    let mut asks = Asks::default();
    let own = entrypoint.tls.as_ref();
    let own = own.and_then(|tls| tls.client_auth.as_ref());
    for router in config.routers.values() {
        let listens = config.entrypoints_of(router).any(|(each, _)| each == name);
        let asked = (router.tls.as_ref()).and_then(|tls| tls.client_auth.as_ref());
        let (Some(asked), true) = (asked, listens) else {
            continue;
        };
        let hosts = router.rule.rule(Protocol::Http).map(|rule| rule.hosts());
        let names = names(hosts.ok());
        if own == Some(asked) {
            asks.own.extend(names);
            continue;
        }
        match asks.others.iter_mut().find(|(same, _)| same == asked) {
            Some((_, all)) => all.extend(names),
            None => asks.others.push((asked.clone(), names)),
        }
    }
    asks
}

fn names(hosts: Option<HostSet>) -> Vec<Box<str>> {
    let Some(HostSet::OneOf(hosts)) = hosts else {
        return Vec::new();
    };
    let names = hosts.into_iter().filter_map(|host| match host {
        HostPattern::All => None,
        HostPattern::Exact(name) => Some(name.to_string().into()),
        HostPattern::Suffix(parent) => Some(format!("*.{}", parent.trim_start_matches('.')).into()),
    });
    names.collect()
}

fn make(entrypoint: &str, config: &TlsConfig, asks: Asks) -> Result<Tls, BoxError> {
    let mut tasks = Vec::new();
    let (certificates, pairs) = certificates(config)?;
    for (index, pair) in pairs.into_iter().enumerate() {
        let certificates = Arc::clone(&certificates);
        tasks.push(
            pair.follow(&format!("entrypoint `{entrypoint}`"), move |texts| {
                let identity = identity(texts)?;
                if identity.left().is_none() {
                    let names = identity.names.join(", ");
                    tracing::warn!(%names, "the new certificate has expired");
                }
                certificates.replace(index, identity);
                Ok(())
            }),
        );
    }
    let mut by_name = Names::default();
    let others = asks.others.iter().map(|(_, names)| names);
    for (place, names) in std::iter::once(&asks.own).chain(others).enumerate() {
        for name in names {
            by_name.add(name, place);
        }
    }
    let own = std::iter::once(config.client_auth.as_ref());
    let asked: Vec<_> = own
        .chain(asks.others.iter().map(|(asked, _)| Some(asked)))
        .collect();
    let followed = (asked.iter()).map(|asked| asked.map(|asked| Followed::read(&asked.ca_file)));
    let followed = followed
        .map(Option::transpose)
        .collect::<Result<Vec<_>, _>>()?;
    let auths = followed.iter().zip(&asked).map(|(file, asked)| {
        let (Some(file), Some(asked)) = (file, asked) else {
            return Ok(None);
        };
        client_auth(&file.texts()[0], asked)
            .map(Some)
            .map_err(|error| format!("{}: {error}", asked.ca_file.display()).into())
    });
    let auths = auths.collect::<Result<Vec<_>, BoxError>>()?;
    let ids = auths
        .iter()
        .map(|auth| auth.as_ref().map_or(0, |auth| auth.id));
    let ids = Arc::new(Asked::new(ids, by_name));
    let terms = |is_http| -> Result<Arc<Terms>, BoxError> {
        let agreed = auths
            .iter()
            .map(|auth| agreed(config, &certificates, auth.as_ref(), is_http));
        Ok(Arc::new(Terms::new(
            agreed.collect::<Result<_, _>>()?,
            Arc::clone(&ids),
            Arc::clone(&certificates),
            config.sni_strict,
            config.handshake_timeout,
        )))
    };
    let (http, tcp) = (terms(true)?, terms(false)?);
    for (place, (file, asked)) in followed.into_iter().zip(&asked).enumerate() {
        let (Some(file), Some(asked)) = (file, *asked) else {
            continue;
        };
        let (asked, config) = (asked.clone(), config.clone());
        let (http, tcp) = (Arc::clone(&http), Arc::clone(&tcp));
        let certificates = Arc::clone(&certificates);
        tasks.push(
            file.follow(&format!("entrypoint `{entrypoint}`"), move |texts| {
                let auth = client_auth(texts.first().map_or("", String::as_str), &asked)?;
                let of_http = agreed(&config, &certificates, Some(&auth), true)?;
                tcp.agree(place, agreed(&config, &certificates, Some(&auth), false)?);
                http.agree(place, of_http);
                Ok(())
            }),
        );
    }
    tasks.push(remind(entrypoint, Arc::clone(&certificates)));
    Ok(Tls {
        config: config.clone(),
        asks,
        http,
        tcp,
        upkeep: Arc::new(Upkeep::new(tasks)),
    })
}

fn certificates(config: &TlsConfig) -> Result<(Arc<Certificates>, Vec<Followed>), BoxError> {
    let (mut identities, mut pairs) = (Vec::new(), Vec::new());
    for (chain, key) in config.files() {
        let pair = Followed::read_all(&[chain, key])?;
        let read = identity(pair.texts());
        identities.push(read.map_err(|error| format!("{}: {error}", chain.display()))?);
        pairs.push(pair);
    }
    Ok((Arc::new(Certificates::new(identities)), pairs))
}

fn identity(texts: &[String]) -> Result<Identity, BoxError> {
    match texts {
        [chain, key] => Ok(Identity::from_pem(chain, key)?),
        _ => Err("a certificate and a key are needed".into()),
    }
}

fn client_auth(authorities: &str, asked: &ClientAuthConfig) -> Result<ClientAuth, BoxError> {
    let is_required = asked.mode == ClientAuthMode::Require;
    Ok(ClientAuth::new(authorities, is_required)?)
}

/// What is agreed on with clients who are asked for the same. Sessions are theirs alone: one that began where nothing
/// was asked for does not go on where something is.
fn agreed(
    config: &TlsConfig,
    certificates: &Arc<Certificates>,
    auth: Option<&ClientAuth>,
    is_http: bool,
) -> Result<Agreed, BoxError> {
    let versions: &[_] = match config.min_version {
        TlsVersion::V1_2 => &[&TLS13, &TLS12],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
    let builder = match auth {
        Some(auth) => builder.with_client_cert_verifier(Arc::clone(&auth.verifier)),
        None => builder.with_no_client_auth(),
    };
    let certificates: Arc<Certificates> = Arc::clone(certificates);
    let mut server = builder.with_cert_resolver(certificates);
    server.alpn_protocols = match &config.alpn {
        Some(protocols) => bytes(protocols),
        None if is_http => bytes(&HTTP),
        None => Vec::new(),
    };
    server.ticketer = Ticketer::new()?;
    Ok(Agreed {
        config: Arc::new(server),
        asked: auth.map_or(0, |auth| auth.id),
    })
}

fn bytes(protocols: &[impl AsRef<str>]) -> Vec<Vec<u8>> {
    let bytes = |protocol: &_| AsRef::<str>::as_ref(protocol).as_bytes().to_vec();
    protocols.iter().map(bytes).collect()
}

/// Tells in the log of certificates that end soon.
fn remind(entrypoint: &str, certificates: Arc<Certificates>) -> Task {
    let entrypoint = entrypoint.to_owned();
    Box::pin(async move {
        loop {
            for identity in certificates.list() {
                let names = identity.names.join(", ");
                match identity.left() {
                    None => {
                        tracing::warn!(%entrypoint, %names, "a certificate has expired");
                    }
                    Some(left) if left < SOON => {
                        let hours = left.as_secs() / 3600;
                        tracing::warn!(%entrypoint, %names, hours, "a certificate expires soon");
                    }
                    Some(_) => {}
                }
            }
            tokio::time::sleep(REMIND).await;
        }
    })
}
