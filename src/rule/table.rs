//! Rules in their order, indexed so that a search costs the same with ten routers and ten thousand.
//!
//! The best route is the first, by priority and then by declaration, whose rule matches. A route is listed
//! under each host of which its rule needs one, there under each path of which it needs one, and under
//! "any" where it needs none in particular. A search looks into the few lists that can hold a match, and
//! into each only as far as a route there would still be better than the best one so far.

use super::{Facts, HostPattern, HostSet, PathPattern, PathSet, Rule, Verdict};
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// How many lists one route may stand in. Past it, its paths are not indexed, so that a rule of thousands
/// of hosts and thousands of paths does not fill the memory with their product.
const MAX_LISTS: usize = 4096;

/// A router, ready to serve.
#[derive(Debug, Clone)]
pub struct Route<S> {
    /// The router's name.
    pub name: Arc<str>,
    /// The higher goes first.
    pub priority: i64,
    /// What it takes.
    pub rule: Rule,
    /// What serves it.
    pub service: S,
}

/// Routes in their order, with an index.
#[derive(Debug)]
pub struct Table<S> {
    routes: Box<[Route<S>]>,
    /// Routes that need exactly this host.
    hosts: HashMap<Box<str>, Bucket, RandomState>,
    /// Routes that need one label before this suffix.
    suffixes: HashMap<Box<str>, Bucket, RandomState>,
    /// Routes that need no particular host.
    rest: Bucket,
}

impl<S> Default for Table<S> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

/// A place in [`Table::routes`]; the lower is the better.
type Rank = u32;

/// Ranks, ascending.
type Ranks = Box<[Rank]>;

/// The routes of one host.
#[derive(Debug, Default)]
struct Bucket {
    /// The paths that its routes need, in the order of their bytes.
    paths: Box<[Node]>,
    /// Routes that need no particular path.
    rest: Ranks,
}

#[derive(Debug)]
struct Node {
    path: Box<str>,
    /// The longest other path of the bucket that this one begins with.
    parent: Option<u32>,
    /// Routes that need exactly this path.
    exact: Ranks,
    /// Routes that need a path that begins with this.
    prefix: Ranks,
}

impl<S> Table<S> {
    /// Orders and indexes routes given in the order of their declaration.
    pub fn new(mut routes: Vec<Route<S>>) -> Self {
        // Stable: what was declared first stays first among equals.
        routes.sort_by_key(|route| std::cmp::Reverse(route.priority));
        let mut hosts = HashMap::<Box<str>, Draft, RandomState>::default();
        let mut suffixes = HashMap::<Box<str>, Draft, RandomState>::default();
        let mut rest = Draft::default();
        for (route, rank) in routes.iter().zip(0..) {
            let paths = route.rule.paths();
            match route.rule.hosts() {
                HostSet::Any => rest.add(rank, &paths),
                HostSet::OneOf(patterns) => {
                    let paths = match paths {
                        PathSet::OneOf(list)
                            if list.len().saturating_mul(patterns.len()) > MAX_LISTS =>
                        {
                            PathSet::Any
                        }
                        few => few,
                    };
                    for pattern in patterns {
                        match pattern {
                            HostPattern::All => rest.add(rank, &paths),
                            HostPattern::Exact(host) => {
                                hosts.entry(host).or_default().add(rank, &paths);
                            }
                            HostPattern::Suffix(suffix) => {
                                suffixes.entry(suffix).or_default().add(rank, &paths);
                            }
                        }
                    }
                }
            }
        }
        let finish = |drafts: HashMap<Box<str>, Draft, RandomState>| {
            drafts
                .into_iter()
                .map(|(host, draft)| (host, draft.finish()))
                .collect()
        };
        Self {
            hosts: finish(hosts),
            suffixes: finish(suffixes),
            rest: rest.finish(),
            routes: routes.into(),
        }
    }

    /// The routes, the best first.
    pub fn routes(&self) -> &[Route<S>] {
        &self.routes
    }

    /// Each route in its order, whether it takes what has these facts, and why: the first that does is the one that
    /// [`Table::find`] finds.
    pub fn judge<'t>(
        &'t self,
        facts: &'t Facts<'_>,
    ) -> impl Iterator<Item = (&'t Route<S>, Verdict<'t>)> {
        self.routes
            .iter()
            .map(|route| (route, route.rule.verdict(facts)))
    }

    /// The best route that takes what has these facts.
    pub fn find(&self, facts: &Facts<'_>) -> Option<&Route<S>> {
        let mut search = Search {
            table: self,
            facts,
            best: Rank::MAX,
        };
        self.lists(facts, |ranks| search.list(ranks));
        self.routes.get(search.best as usize)
    }

    /// How much [`Table::find`] may cost, in comparisons.
    pub(super) fn cost(&self, facts: &Facts<'_>) -> usize {
        let mut cost = 0;
        let of = |rank: &Rank| 1 + self.routes[*rank as usize].rule.as_str().len() / 16;
        self.lists(facts, |ranks| {
            cost += ranks.iter().map(of).sum::<usize>();
        });
        cost
    }

    /// The lists that can hold a match.
    fn lists(&self, facts: &Facts<'_>, mut look: impl FnMut(&[Rank])) {
        let host = facts.host.strip_suffix('.').unwrap_or(facts.host);
        if let Some(bucket) = self.hosts.get(host) {
            bucket.lists(facts.path, &mut look);
        }
        if !self.suffixes.is_empty()
            && let Some((_, suffix)) = host.split_once('.')
            && let Some(bucket) = self.suffixes.get(suffix)
        {
            bucket.lists(facts.path, &mut look);
        }
        self.rest.lists(facts.path, &mut look);
    }
}

/// A search under way.
struct Search<'a, S> {
    table: &'a Table<S>,
    facts: &'a Facts<'a>,
    /// The best match so far.
    best: Rank,
}

impl<S> Search<'_, S> {
    fn list(&mut self, ranks: &[Rank]) {
        let found = ranks
            .iter()
            .take_while(|rank| **rank < self.best)
            .find(|rank| self.table.routes[**rank as usize].rule.matches(self.facts));
        self.best = found.copied().unwrap_or(self.best);
    }
}

impl Bucket {
    /// The lists that can hold a match for a path.
    fn lists(&self, path: &str, look: &mut impl FnMut(&[Rank])) {
        let after = self.paths.partition_point(|node| *node.path <= *path);
        // Every path of the bucket that this one begins with is its predecessor, or a parent of that.
        let mut next = after.checked_sub(1).map(|at| &self.paths[at]);
        if let Some(node) = next
            && *node.path == *path
        {
            look(&node.exact);
        }
        while let Some(node) = next {
            if path.starts_with(&*node.path) {
                look(&node.prefix);
            }
            next = node.parent.map(|at| &self.paths[at as usize]);
        }
        look(&self.rest);
    }
}

/// A bucket while routes are added to it, in the order of their ranks.
#[derive(Default)]
struct Draft {
    /// The exact and the prefix routes of each path.
    paths: BTreeMap<Box<str>, (Vec<Rank>, Vec<Rank>)>,
    rest: Vec<Rank>,
}

impl Draft {
    fn add(&mut self, rank: Rank, paths: &PathSet) {
        let PathSet::OneOf(paths) = paths else {
            self.rest.push(rank);
            return;
        };
        for path in paths {
            match path {
                PathPattern::Exact(path) => {
                    self.paths.entry(path.clone()).or_default().0.push(rank);
                }
                PathPattern::Prefix(path) => {
                    self.paths.entry(path.clone()).or_default().1.push(rank);
                }
            }
        }
    }

    fn finish(self) -> Bucket {
        let mut nodes = Vec::<Node>::with_capacity(self.paths.len());
        let mut last = None;
        for ((path, (exact, prefix)), at) in self.paths.into_iter().zip(0..) {
            // In the order of bytes, the parent is the node before, or one of its parents.
            let mut parent = last;
            while let Some(at) = parent
                && !path.starts_with(&*nodes[at as usize].path)
            {
                parent = nodes[at as usize].parent;
            }
            nodes.push(Node {
                path,
                parent,
                exact: exact.into(),
                prefix: prefix.into(),
            });
            last = Some(at);
        }
        Bucket {
            paths: nodes.into(),
            rest: self.rest.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Protocol;
    use http::HeaderMap;
    use proptest::prelude::*;

    fn table(rules: &[(i64, String)]) -> Table<usize> {
        let route = |(i, (priority, text)): (usize, &(i64, String))| Route {
            name: i.to_string().into(),
            priority: *priority,
            rule: Rule::parse(text, Protocol::Http).expect(text),
            service: i,
        };
        Table::new(rules.iter().enumerate().map(route).collect())
    }

    fn with_facts<T>(host: &str, path: &str, with: impl FnOnce(&Facts<'_>) -> T) -> T {
        with(&Facts {
            host,
            path,
            query: "",
            method: "GET",
            headers: &HeaderMap::new(),
            client_ip: std::net::IpAddr::from([127, 0, 0, 1]),
            sni: None,
            alpn: &[],
        })
    }

    fn find(table: &Table<usize>, host: &str, path: &str) -> Option<usize> {
        with_facts(host, path, |facts| table.find(facts).map(|r| r.service))
    }

    #[test]
    fn the_first_by_priority_and_then_by_declaration_wins() {
        let rules: Vec<_> = [
            (1, "PathPrefix(`/`)"),
            (5, "Host(`a.com`)"),
            (5, "Host(`a.com`) && PathPrefix(`/x`)"),
            (9, "Host(`a.com`) && Path(`/x/y`)"),
            (7, "Host(`*.com`) && PathPrefix(`/x/`)"),
            (6, "PathPrefix(`/x`) && Method(`POST`)"),
        ]
        .map(|(priority, text)| (priority, text.to_owned()))
        .into();
        let table = table(&rules);
        for (host, path, expected) in [
            ("b.org", "/", Some(0)),
            ("a.com", "/", Some(1)),
            ("a.com", "/x", Some(1)),
            ("a.com", "/x/y", Some(3)),
            ("a.com.", "/x/z", Some(4)),
            ("b.com", "/x/z", Some(4)),
            ("b.com", "/x", Some(0)),
            ("a.com", "*", Some(1)),
            ("b.org", "*", None),
        ] {
            assert_eq!(find(&table, host, path), expected, "{host} {path}");
        }
        let priorities: Vec<_> = table.routes().iter().map(|route| route.priority).collect();
        assert_eq!(priorities, [9, 7, 6, 5, 5, 1]);
        assert_eq!(find(&self::table(&[]), "a", "/"), None);
    }

    #[test]
    fn connections_are_found_by_their_server_name() {
        let routes = ["HostSNI(`*`)", "HostSNI(`a.com`)", "HostSNI(`*.a.com`)"];
        let route = |(i, text): (usize, &&str)| {
            let rule = Rule::parse(text, Protocol::Tcp).expect(text);
            Route {
                name: "r".into(),
                priority: rule.default_priority(),
                rule,
                service: i,
            }
        };
        let table = Table::new(routes.iter().enumerate().map(route).collect());
        let ip = std::net::IpAddr::from([127, 0, 0, 1]);
        for (sni, expected) in [
            (None, 0),
            (Some("b.com"), 0),
            (Some("a.com"), 1),
            (Some("x.a.com"), 2),
        ] {
            let found = table.find(&Facts::of_connection(ip, sni, &[]));
            assert_eq!(found.map(|route| route.service), Some(expected), "{sni:?}");
        }
    }

    #[test]
    fn a_product_of_hosts_and_paths_does_not_fill_the_memory() {
        let list = |name: &str, value: &dyn Fn(u32) -> String| {
            let parts: Vec<_> = (0..2000)
                .map(|i| format!("{name}(`{}`)", value(i)))
                .collect();
            format!("({})", parts.join(" || "))
        };
        let hosts = list("Host", &|i| format!("h{i}.com"));
        let paths = list("PathPrefix", &|i| format!("/p{i}/"));
        let table = table(&[(1, format!("{hosts} && {paths}"))]);
        assert_eq!(find(&table, "h7.com", "/p1999/x"), Some(0));
        assert_eq!(find(&table, "h7.com", "/q"), None);
        assert!(table.hosts.values().all(|bucket| bucket.paths.is_empty()));
    }

    fn rule_text() -> impl Strategy<Value = String> {
        let matcher = prop_oneof![
            "Host\\(`(\\*\\.|)[ab](\\.[ab]|)`\\)",
            "Host\\(`\\*`\\)",
            "Path\\(`/[ab]{0,3}(/[ab]?|)`\\)",
            "PathPrefix\\(`/[ab]{0,3}(/[ab]?|)`\\)",
            "PathRegexp\\(`[ab]`\\)",
        ];
        matcher.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4)
                    .prop_map(|parts| format!("({})", parts.join(" && "))),
                prop::collection::vec(inner.clone(), 1..4)
                    .prop_map(|parts| format!("({})", parts.join(" || "))),
                inner.prop_map(|text| format!("!{text}")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn the_index_finds_what_a_scan_of_all_routes_finds(
            rules in prop::collection::vec((0i64..3, rule_text()), 0..12),
            requests in prop::collection::vec(("[ab]{0,1}(\\.[ab]){0,2}\\.?", "/[ab]{0,4}(/[ab]{0,2}|)"), 8),
        ) {
            let table = table(&rules);
            for (host, path) in requests {
                let scan = with_facts(&host, &path, |facts| {
                    table.routes().iter().find(|route| route.rule.matches(facts)).map(|r| r.service)
                });
                prop_assert_eq!(find(&table, &host, &path), scan, "{} {}", host, path);
                let (judged, agrees) = with_facts(&host, &path, |facts| {
                    let first = table.judge(facts).find(|(_, verdict)| verdict.matches);
                    let agrees = table.judge(facts).all(|(route, verdict)| {
                        // Who decides, decides by himself what he says of himself.
                        let deciders = &verdict.deciders;
                        verdict.matches == route.rule.matches(facts) && !deciders.is_empty()
                    });
                    (first.map(|(route, _)| route.service), agrees)
                });
                prop_assert_eq!(judged, scan, "{} {}", host, path);
                prop_assert!(agrees, "{} {}", host, path);
            }
        }
    }
}
