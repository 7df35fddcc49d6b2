//! Where the parts stand that only a start tries: whether what they name is of use.

use super::check::{Key, Tree};
use super::code::Code;
use super::diagnostic::{Diagnostic, Diagnostics, Place, Problem};
use super::source::At;
use super::{GatewayConfig, Loaded};

/// Parts of a configuration, each with its place.
#[derive(Debug, Clone, Default)]
pub(super) struct Tried {
    parts: Vec<Vec<String>>,
    /// For each part one that says its number.
    places: Diagnostics,
}

impl Tried {
    pub(super) fn new(config: &GatewayConfig, tree: Tree<'_>, secrets: &[At]) -> Tried {
        let parts: Vec<Vec<String>> = parts(config)
            .map(|part| part.into_iter().map(str::to_owned).collect())
            .collect();
        let place = |(number, part): (usize, &Vec<String>)| {
            let keys: Vec<Key<'_>> = part.iter().map(Key::from).collect();
            let problem = Problem::new(Code::Unusable, number.to_string());
            Some(problem.at(tree.look(&keys)??))
        };
        let places = parts.iter().enumerate().filter_map(place).collect();
        let places = Diagnostics::new(places, tree.files, secrets);
        Tried { parts, places }
    }

    fn place(&self, part: &[&str]) -> Option<&Place> {
        let number = self.parts.iter().position(|known| known == part)?;
        let number = number.to_string();
        let mut places = self.places.iter();
        places.find(|place| place.message == number)?.place.as_ref()
    }
}

fn parts(config: &GatewayConfig) -> impl Iterator<Item = Vec<&str>> {
    let log = config.access_log.as_ref();
    let log = log.map(|_| vec!["access_log", "file"]);
    let traces = config.tracing.as_ref().map(|_| vec!["tracing"]);
    let names = config.entrypoints.keys();
    let entrypoints = names.map(|name| vec!["entrypoints", name]);
    let names = config.middlewares.keys();
    let middlewares = names.map(|name| vec!["middlewares", name]);
    // Those alone that name a file: there may be very many others.
    let services = config.services.iter().filter_map(|(name, service)| {
        let tls = &service.load_balancer.as_ref()?.tls;
        let names_one = tls.ca_file.is_some() || tls.cert_file.is_some();
        names_one.then(|| vec!["services", name, "load_balancer", "tls"])
    });
    (log.into_iter().chain(traces))
        .chain(entrypoints)
        .chain(middlewares)
        .chain(services)
}

impl Loaded {
    /// Adds what a start would say of it, where it reads well: what the part that `path` leads to names cannot be used.
    /// Of an unknown part, as of none, it is told of the configuration as a whole.
    pub fn refuse(&mut self, path: &[&str], message: String) {
        let whole = || {
            let source = self.config.as_ref()?.source.as_ref()?;
            Some(Place {
                file: source.path.clone(),
                line: 0,
                column: 0,
                span: 0..0,
                label: None,
            })
        };
        let known = self.tried.place(path).cloned();
        if known.is_some() {
            self.diagnostics.keep_texts(&self.tried.places);
        }
        self.diagnostics.push(Diagnostic {
            severity: Code::Unusable.severity(),
            code: Code::Unusable,
            message,
            place: known.or_else(whole),
            label: None,
            help: None,
            also: Vec::new(),
            example: None,
        });
    }
}
