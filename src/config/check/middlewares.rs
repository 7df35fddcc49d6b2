//! Middlewares: what their types say of their keys, who uses them, and chains that go round in a circle.

use super::Check;
use super::circle::{MAX_DEPTH, endless};
use super::place::{Key, Tree, keys};
use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostics, Problem};
use crate::config::source::{At, Files};
use crate::config::text_file;
use crate::config::{GatewayConfig, MiddlewareConfig, UpstreamTlsConfig};
use a3s_layers::headers::HeaderEdits;
use a3s_layers::key::KeySource;
use http::HeaderName;
use http::header::HOST;
use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// The place of one middleware in the configuration, for what its type has to say.
pub(crate) struct Place<'p, 'a> {
    check: &'p mut Check<'a>,
    name: &'p str,
}

impl Place<'_, '_> {
    /// Reports a problem at a way of keys below the middleware.
    pub(crate) fn report(&mut self, keys: &[Key<'_>], problem: Problem) {
        let path = path(self.name, keys);
        self.check.report(&path, problem);
    }

    /// A value that means nothing.
    pub(crate) fn invalid(&mut self, key: &str, message: impl Into<String>) {
        self.report(&[key.into()], Problem::new(Code::InvalidValue, message));
    }

    /// A text that means nothing. It is quoted, unless it has what a terminal should not be shown.
    pub(crate) fn invalid_text(&mut self, key: &str, text: &str, error: impl fmt::Display) {
        let message = match text.contains(char::is_control) {
            true => error.to_string(),
            false => format!("`{text}`: {error}"),
        };
        self.invalid(key, message);
    }

    /// An element of a list that means nothing.
    pub(crate) fn invalid_at(&mut self, key: &str, index: usize, message: impl Into<String>) {
        let problem = Problem::new(Code::InvalidValue, message);
        self.report(&[key.into(), index.into()], problem);
    }

    /// Keys that exclude or need one another.
    pub(crate) fn choice(&mut self, key: &str, message: impl Into<String>) {
        self.report(&[key.into()], Problem::new(Code::Choice, message));
    }

    /// Whether a default stands for what was not written, and not for what could not be read: only then is a key's
    /// absence a problem of its own.
    pub(crate) fn is_whole(&self) -> bool {
        let tree = self.check.tree.as_ref();
        tree.is_none_or(|tree| tree.is_whole(&path(self.name, &[])))
    }

    /// Whether a value stands in the file as it is, for everybody to read who reads the file.
    pub(crate) fn is_literal(&self, keys: &[Key<'_>]) -> bool {
        let path = path(self.name, keys);
        (self.check.tree.as_ref()).is_some_and(|tree| tree.hidden(&path).is_none())
    }

    /// A header in which a client shows a credential, or a server is told something of it: none that every request
    /// has, or that is gone when a request comes to a middleware.
    pub(crate) fn header(&mut self, keys: &[Key<'_>], name: &HeaderName) {
        let message = match name {
            _ if name == HOST => "`Host` names the server".to_owned(),
            _ if is_own(name) => format!("the gateway itself says what is in `{name}`"),
            _ => return self.header_or_host(keys, name),
        };
        self.report(keys, Problem::new(Code::InvalidValue, message));
    }

    /// A header by which requests are told apart, if what they are counted by is one. It may be `Host`.
    pub(crate) fn key_source(&mut self, key: &str, source: &KeySource) {
        if let KeySource::Header(name) = source {
            self.header_or_host(&[key.into()], name);
        }
    }

    /// A header that is there when a request comes to a middleware.
    pub(crate) fn header_or_host(&mut self, keys: &[Key<'_>], name: &HeaderName) {
        if let Err(error) = HeaderEdits::new().remove(name.as_str()) {
            self.report(keys, Problem::new(Code::InvalidValue, error.to_string()));
        }
    }

    /// A number that must be in a range.
    pub(crate) fn number(&mut self, key: &str, value: u64, min: u64, max: u64) {
        let path = path(self.name, &[key.into()]);
        self.check.number(&path, value, min, max);
    }

    /// A number further in that must be in a range.
    pub(crate) fn number_at(&mut self, keys: &[Key<'_>], value: u64, min: u64, max: u64) {
        let path = path(self.name, keys);
        self.check.number(&path, value, min, max);
    }

    /// A duration further in that must be in a range.
    pub(crate) fn duration_at(
        &mut self,
        keys: &[Key<'_>],
        value: Duration,
        min: Duration,
        max: Duration,
    ) {
        let path = path(self.name, keys);
        self.check.duration(&path, value, min, max);
    }

    /// A duration that must be in a range.
    pub(crate) fn duration(&mut self, key: &str, value: Duration, min: Duration, max: Duration) {
        let path = path(self.name, &[key.into()]);
        self.check.duration(&path, value, min, max);
    }

    /// A size that must be in a range.
    pub(crate) fn size(&mut self, key: &str, value: usize, min: usize, max: usize) {
        let path = path(self.name, &[key.into()]);
        self.check.size(&path, value, min, max);
    }

    /// TLS to a server.
    pub(crate) fn tls(&mut self, key: &str, tls: &UpstreamTlsConfig) {
        let path = path(self.name, &[key.into()]);
        self.check.tls(&path, tls);
    }

    /// A file that a middleware goes on reading, and that must hold what `parse` takes when a gateway starts: its error
    /// is told at the key, with the file and what it says of the line. Where the key's value must not be shown, it is
    /// left to whoever makes the middleware.
    pub(crate) fn text_file<E: fmt::Display>(
        &mut self,
        key: &str,
        file: &Path,
        parse: impl FnOnce(&str) -> Result<(), E>,
    ) {
        self.file(key, file);
        if !file.is_file() || !self.is_literal(&[key.into()]) {
            return;
        }
        let error = match text_file::read(file).map(|text| parse(&text)) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let message = format!("`{}`: {error}", file.display());
        let before = self.check.problems.len();
        self.report(&[key.into()], Problem::new(Code::Unusable, message));
        let found = self.check.problems.split_off(before);
        self.check.unusable.extend(found);
    }

    /// A file that must be there; one called `key_file` should not be everybody's to read.
    pub(crate) fn file(&mut self, key: &str, file: &Path) {
        let path = path(self.name, &[key.into()]);
        self.check.file(&path, file, key);
    }
}

/// Whether the gateway writes a header itself, where it forwards a request or strips its path, or servers read it as
/// one that it writes (`_` for `-`).
fn is_own(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    matches!(
        &*name,
        "forwarded"
            | "x-forwarded-client-cert"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-forwarded-prefix"
            | "x-forwarded-proto"
            | "x-real-ip"
    )
}

fn path<'k>(name: &'k str, keys: &[Key<'k>]) -> Vec<Key<'k>> {
    let here = [Key::Name("middlewares"), Key::Name(name)];
    here.iter().chain(keys).copied().collect()
}

impl Check<'_> {
    pub(super) fn middlewares(&mut self) {
        let config = self.config;
        for (name, middleware) in &config.middlewares {
            self.name("middlewares", "middleware", name);
            let settings = middleware.settings();
            settings.check(&mut Place { check: self, name });
            self.uses("middleware", "middlewares", name, settings.middlewares());
            if let Some(service) = settings.service()
                && !self.exists("services", service)
            {
                let message = format!("middleware `{name}` names the unknown service `{service}`");
                let names = config.services.keys().map(String::as_str);
                self.unknown(
                    &keys!["middlewares", name, "service"],
                    message,
                    service,
                    names,
                );
            }
        }
        let inner = |name: &str| -> Vec<&str> {
            let middleware = config.middlewares.get(name);
            let names = middleware.map_or(&[][..], |each| each.settings().middlewares());
            names.iter().map(String::as_str).collect()
        };
        if let Some(way) = endless(config.middlewares.keys(), &inner) {
            let message = match way.first() == way.last() {
                true => format!("the chain goes round in a circle: {}", way.join(" -> ")),
                false => format!("chains are nested more than {MAX_DEPTH} deep"),
            };
            let place = keys!["middlewares", way[0], "middlewares"];
            self.report(&place, Problem::new(Code::Cycle, message));
        }
    }

    /// The middlewares that an entrypoint, a router or a chain names.
    pub(super) fn uses(
        &mut self,
        what: &str,
        section: &'static str,
        user: &str,
        middlewares: &[String],
    ) {
        let config = self.config;
        for (index, name) in middlewares.iter().enumerate() {
            if self.exists("middlewares", name) {
                continue;
            }
            let message = format!("{what} `{user}` names the unknown middleware `{name}`");
            let names = config.middlewares.keys().map(String::as_str);
            let place = keys![section, user, "middlewares", index];
            self.unknown(&place, message, name, names);
        }
    }

    pub(super) fn unused_middlewares(&mut self) {
        let config = self.config;
        let entrypoints = config.entrypoints.values().map(|each| &*each.middlewares);
        let routers = config.routers.values().map(|each| &*each.middlewares);
        let chains = (config.middlewares.values()).map(|each| each.settings().middlewares());
        let used: HashSet<&String> = entrypoints.chain(routers).chain(chains).flatten().collect();
        for name in (config.middlewares.keys()).filter(|name| !used.contains(name)) {
            let problem = Problem::new(Code::Unused, format!("nobody uses middleware `{name}`"));
            self.report(&[Key::Name("middlewares"), Key::Entry(name)], problem);
        }
    }
}

impl GatewayConfig {
    /// Notes at each middleware of a type that is not the gateway's own what there is to say about it, and where.
    pub(in crate::config) fn note_unknown_types(&mut self, tree: Tree<'_>, secrets: &[At]) {
        for (name, middleware) in &mut self.middlewares {
            let MiddlewareConfig::Custom(custom) = middleware else {
                continue;
            };
            let mut problem = custom.problem(name, MiddlewareConfig::TYPES.iter().copied());
            problem.at = tree.look(&keys!["middlewares", name, "type"]).flatten();
            let diagnostics = Diagnostics::new(vec![problem], tree.files, secrets);
            custom.unknown = Some(Box::new(diagnostics));
        }
    }

    /// Adds what there is to say about middlewares whose type is neither the gateway's own nor one of `types`.
    pub(in crate::config) fn unknown_types(&self, types: &[&str], diagnostics: &mut Diagnostics) {
        for (name, middleware) in &self.middlewares {
            let MiddlewareConfig::Custom(custom) = middleware else {
                continue;
            };
            if types.contains(&&*custom.kind) {
                continue;
            }
            match &custom.unknown {
                Some(noted) => diagnostics.extend(noted),
                None => {
                    let known = MiddlewareConfig::TYPES.iter().chain(types).copied();
                    let problem = custom.problem(name, known);
                    let found = Diagnostics::new(vec![problem], &Files::default(), &[]);
                    diagnostics.extend(&found);
                }
            }
        }
    }
}
