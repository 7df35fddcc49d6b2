//! `test "name" { }`.

use super::place::{Tree, keys};
use super::{Check, Key};
use crate::config::ADMIN_SERVICE;
use crate::config::GatewayConfig;
use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostics, Problem};
use crate::config::source::At;
use crate::config::test::{Block, NO_ROUTER, TestPart, TestPlaces};
use std::collections::{BTreeMap, BTreeSet};

/// More tests than this are not run before each reload.
const MAX_TESTS: usize = 1000;

impl Check<'_> {
    pub(super) fn tests(&mut self) {
        let config = self.config;
        for (index, (name, test)) in config.tests.iter().enumerate() {
            if index == MAX_TESTS {
                let message = format!("there are more than {MAX_TESTS} tests");
                let problem = Problem::new(Code::OutOfRange, message);
                self.report(&[Key::Name("test"), Key::Entry(name)], problem);
                return;
            }
            self.name("test", "test", name);
            let expect = &test.expect;
            let names_nothing = expect.router.is_none()
                && expect.service.is_none()
                && expect.status.is_none()
                && expect.headers.is_empty();
            let place = keys!["test", name, "expect"];
            // What is wrong in it has been told.
            let is_empty = self.tree.is_none_or(|tree| tree.is_empty(&place));
            if names_nothing && is_empty && self.is_read(&place) {
                let message = format!("test `{name}` expects nothing");
                let help = "name `router`, `service`, `status` or `headers`".to_owned();
                self.report(&place, Problem::new(Code::Choice, message).help(help));
            }
            if let Some(status) = expect.status {
                let place = keys!["test", name, "expect", "status"];
                self.number(&place, status.into(), 100, 599);
            }
            let known = |wanted: &Option<String>, own: &str| {
                let wanted = wanted.clone();
                wanted.filter(|wanted| wanted != own)
            };
            if let Some(router) = known(&expect.router, NO_ROUTER) {
                let place = keys!["test", name, "expect", "router"];
                self.refers(name, "router", &router, "routers", &place);
            }
            if let Some(service) = known(&expect.service, ADMIN_SERVICE) {
                let place = keys!["test", name, "expect", "service"];
                self.refers(name, "service", &service, "services", &place);
            }
            if let Some(entrypoint) = &test.request.entrypoint {
                let place = keys!["test", name, "request", "entrypoint"];
                self.refers(name, "entrypoint", entrypoint, "entrypoints", &place);
            }
        }
    }

    fn refers(
        &mut self,
        test: &str,
        what: &str,
        written: &str,
        section: &'static str,
        place: &[Key<'_>],
    ) {
        let config = self.config;
        let names: Vec<&String> = match section {
            "routers" => config.routers.keys().collect(),
            "services" => config.services.keys().collect(),
            _ => config.entrypoints.keys().collect(),
        };
        let is_declared = names.iter().any(|name| *name == written)
            || (self.tree.as_ref()).is_some_and(|tree| tree.declares(section, written));
        if !is_declared {
            let message = format!("test `{test}` names the unknown {what} `{written}`");
            self.unknown(
                place,
                message,
                written,
                names.into_iter().map(String::as_str),
            );
        }
    }
}

impl GatewayConfig {
    /// Notes where the tests stand, to tell of those that fail.
    pub(in crate::config) fn note_test_places(&mut self, tree: Tree<'_>, secrets: &[At]) {
        let mut places = Vec::new();
        let mut marks = BTreeMap::new();
        let mut hidden = BTreeSet::new();
        for (name, test) in &self.tests {
            let mut note = |part: TestPart<'_>, path: &[Key<'_>]| {
                let number = places.len().to_string();
                let mut problem = Problem::new(Code::FailedTest, number.as_str());
                problem.at = tree.look(path).flatten();
                places.push(problem);
                marks.insert(part.mark(name), number);
            };
            let mut hide = |part: TestPart<'_>, path: &[Key<'_>]| {
                if tree.has_hidden(path) {
                    hidden.insert(part.mark(name));
                }
            };
            hide(TestPart::Request, &keys!["test", name, "request"]);
            for key in ["url", "method", "sni"] {
                hide(TestPart::Of(key), &keys!["test", name, "request", key]);
            }
            for header in test.expect.headers.keys() {
                let path = keys!["test", name, "expect", "headers", header];
                hide(TestPart::Header(header), &path);
            }
            let url = keys!["test", name, "request", "url"];
            note(TestPart::Url, &url);
            for key in ["router", "service", "status"] {
                note(TestPart::Expect(key), &keys!["test", name, "expect", key]);
            }
            for header in test.expect.headers.keys() {
                let path = keys!["test", name, "expect", "headers", header];
                note(TestPart::Header(header), &path);
            }
        }
        if !places.is_empty() {
            let secret: BTreeSet<_> = secrets.iter().copied().collect();
            let blocks = (self.routers.keys().map(|name| Block::Router(name)))
                .chain(self.middlewares.keys().map(|name| Block::Middleware(name)))
                .chain(self.services.keys().map(|name| Block::Service(name)));
            for block in blocks {
                let (section, name) = block.place();
                let path = match block {
                    Block::Router(_) => &keys![section, name, "rule"][..],
                    Block::Middleware(_) | Block::Service(_) => &keys![section, name],
                };
                if tree.shows_hidden(path, &secret) {
                    hidden.insert(block.mark());
                }
            }
            let places = Diagnostics::new(places, tree.files, secrets);
            self.test_places = TestPlaces::new(places, marks, hidden);
        }
    }
}
