//! What is wrong with the rules of an entrypoint taken together: those that nothing can meet, those that others leave
//! nothing to, and those of one priority that take some of the same.
//!
//! Each finding is shown by an example, and the example by the table that serves requests: what the search for examples
//! may get wrong is not told. A rule is said to be left nothing only where that is proved.

use super::witness::{Budget, Example, Found, Repeats, Sees, search};
use super::{HostPattern, HostSet, PathPattern, PathSet, Route, Rule, Table};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

/// How many others it may take to leave nothing to a router.
const MAX_WINNERS: usize = 32;

/// How many routers of its priority one is compared with.
const MAX_RIVALS: usize = 16;

/// In how many lists one route may stand; past it, its paths do not count.
const MAX_LISTS: usize = 4096;

/// How many pairs are told of one router.
const MAX_PAIRS: usize = 4;

/// Something about a router that is probably not meant. Routers are told by their names.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// Nothing can meet its rule.
    Impossible {
        /// The router.
        router: Arc<str>,
    },
    /// Others take all of its requests.
    Shadowed {
        /// The router.
        router: Arc<str>,
        /// Those who take them, the first one being the one that takes the example.
        by: Vec<Arc<str>>,
        /// One that it would take, and does not get.
        example: Example,
        /// Whether it gets `OPTIONS *` all the same.
        but_whole_server: bool,
    },
    /// Two of one priority take some of the same.
    Ambiguous {
        /// The one that gets them, for it was declared before.
        first: Arc<str>,
        /// The other one.
        second: Arc<str>,
        /// What both take.
        example: Example,
    },
}

/// Looks at the rules of a table of what `sees` says, as far as `budget` reaches.
pub fn survey<'t, S>(table: &'t Table<S>, sees: Sees, budget: &'t Budget) -> Vec<Finding> {
    let mut survey = Survey {
        table,
        sees,
        budget,
        findings: Vec::new(),
        lost: HashSet::new(),
    };
    for route in table.routes() {
        survey.reach(route);
    }
    survey.pairs();
    survey.findings
}

struct Survey<'t, S> {
    table: &'t Table<S>,
    sees: Sees,
    budget: &'t Budget,
    findings: Vec<Finding>,
    /// Those that get nothing.
    lost: HashSet<&'t str>,
}

impl<'t, S> Survey<'t, S> {
    /// Who serves an example; none, too, where too much would have to be asked.
    fn winner(&self, example: &Example) -> Option<&'t Route<S>> {
        let table = self.table;
        example.with_facts(|facts| {
            let cost = table.cost(facts);
            self.budget.spend(cost).then(|| table.find(facts)).flatten()
        })
    }

    /// Looks for something that comes to `route`. Whoever takes what was found is excluded, until something is left to
    /// it, or nothing can be.
    fn reach(&mut self, route: &'t Route<S>) {
        let mut winners: Vec<&'t Route<S>> = Vec::new();
        let mut shown = None;
        while !self.budget.is_spent() && winners.len() < MAX_WINNERS {
            let example = match self.search(&[route], &winners, self.sees, Repeats::Allowed) {
                Found::Unknown => return,
                Found::Never => return self.lost(route, &winners, shown),
                Found::One(example) => example,
            };
            let winner = match self.winner(&example) {
                Some(winner) if winner.name != route.name => winner,
                _ => return,
            };
            if winners.iter().any(|known| known.name == winner.name) {
                return;
            }
            shown.get_or_insert(example);
            winners.push(winner);
        }
    }

    fn search(
        &mut self,
        all: &[&'t Route<S>],
        none: &[&'t Route<S>],
        sees: Sees,
        repeats: Repeats,
    ) -> Found<Example> {
        let rules = |routes: &[&'t Route<S>]| -> Vec<&'t Rule> {
            routes.iter().map(|route| &route.rule).collect()
        };
        search(&rules(all), &rules(none), sees, repeats, self.budget)
    }

    /// Nothing for a path comes to `route`.
    fn lost(&mut self, route: &'t Route<S>, winners: &[&'t Route<S>], shown: Option<Example>) {
        let but_whole_server = match self.sees {
            Sees::Requests => {
                let sees = Sees::WholeServer;
                match self.search(&[route], winners, sees, Repeats::Allowed) {
                    Found::Never => false,
                    Found::One(_) => true,
                    Found::Unknown => return,
                }
            }
            _ => false,
        };
        let router = Arc::clone(&route.name);
        let finding = match shown {
            // There is something that it is for.
            None if but_whole_server => return,
            None => Finding::Impossible { router },
            Some(example) => Finding::Shadowed {
                router,
                by: winners
                    .iter()
                    .map(|route| Arc::clone(&route.name))
                    .collect(),
                example,
                but_whole_server,
            },
        };
        self.lost.insert(&route.name);
        self.findings.push(finding);
    }

    /// Looks for routers of one priority that take some of the same.
    fn pairs(&mut self) {
        let mut index = Index::default();
        let routes = self.table.routes();
        for (rank, route) in routes.iter().enumerate() {
            // Whose priority is its own has no rival.
            let of_neighbour = |at: Option<usize>| {
                let other = at.and_then(|at| routes.get(at));
                other.is_some_and(|other| other.priority == route.priority)
            };
            if !of_neighbour(rank.checked_sub(1)) && !of_neighbour(Some(rank + 1)) {
                continue;
            }
            if self.lost.contains(&*route.name) {
                continue;
            }
            let needs = Needs::of(route);
            let rivals = index.rivals(&needs, self.budget);
            let mut told = 0;
            for rival in rivals {
                if self.budget.is_spent() || told == MAX_PAIRS {
                    break;
                }
                told += usize::from(self.pair(&routes[rival], route));
            }
            index.add(rank, &needs);
        }
    }

    /// Something that both take and that comes to the first.
    fn pair(&mut self, first: &'t Route<S>, second: &'t Route<S>) -> bool {
        let mut better: Vec<&'t Route<S>> = Vec::new();
        while better.len() < MAX_PAIRS && !self.budget.is_spent() {
            let found = self.search(&[first, second], &better, self.sees, Repeats::Unusual);
            let Found::One(example) = found else {
                return false;
            };
            if !example.is_usual() {
                return false;
            }
            let takes = |route: &Route<S>| example.with_facts(|facts| route.rule.matches(facts));
            match self.winner(&example) {
                Some(winner) if winner.name == first.name && takes(second) => {
                    self.findings.push(Finding::Ambiguous {
                        first: Arc::clone(&first.name),
                        second: Arc::clone(&second.name),
                        example,
                    });
                    return true;
                }
                Some(winner) if better.iter().all(|known| known.name != winner.name) => {
                    better.push(winner);
                }
                _ => return false,
            }
        }
        false
    }
}

/// What a rule needs of hosts and paths.
struct Needs {
    priority: i64,
    hosts: HostSet,
    paths: PathSet,
}

impl Needs {
    fn of<S>(route: &Route<S>) -> Self {
        let (hosts, paths) = (route.rule.hosts(), route.rule.paths());
        let lists = match (&hosts, &paths) {
            (HostSet::OneOf(hosts), PathSet::OneOf(paths)) => {
                hosts.len().saturating_mul(paths.len())
            }
            _ => 0,
        };
        Self {
            priority: route.priority,
            hosts,
            paths: if lists > MAX_LISTS {
                PathSet::Any
            } else {
                paths
            },
        }
    }
}

/// Under what a route is found.
#[derive(Clone, PartialEq, Eq, Hash)]
enum By {
    /// Everything.
    All,
    /// It needs no host in particular.
    AnyHost,
    Host(Box<str>),
    /// One label before this.
    Suffix(Box<str>),
    /// It needs a host that is one label before this.
    Below(Box<str>),
}

/// Routes by what they need.
#[derive(Default)]
struct Index(HashMap<(i64, By), Bucket>);

#[derive(Default)]
struct Bucket {
    any_path: Vec<usize>,
    paths: BTreeMap<Box<str>, Vec<usize>>,
}

impl Index {
    fn add(&mut self, rank: usize, needs: &Needs) {
        let mut keys = vec![By::All];
        match &needs.hosts {
            HostSet::Any => keys.push(By::AnyHost),
            HostSet::OneOf(hosts) => {
                for host in hosts {
                    match host {
                        HostPattern::All => keys.push(By::AnyHost),
                        HostPattern::Suffix(suffix) => {
                            keys.push(By::Suffix(suffix.clone()));
                        }
                        HostPattern::Exact(name) => {
                            keys.push(By::Host(name.clone()));
                            if let Some((_, above)) = name.split_once('.') {
                                keys.push(By::Below(above.into()));
                            }
                        }
                    }
                }
            }
        }
        for key in keys {
            let bucket = self.0.entry((needs.priority, key)).or_default();
            match &needs.paths {
                PathSet::Any => bucket.any_path.push(rank),
                PathSet::OneOf(paths) => {
                    for path in paths {
                        let (PathPattern::Exact(path) | PathPattern::Prefix(path)) = path;
                        bucket.paths.entry(path.clone()).or_default().push(rank);
                    }
                }
            }
        }
    }

    /// Those that may take some of the same, in the order of their ranks.
    fn rivals(&self, needs: &Needs, budget: &Budget) -> Vec<usize> {
        let mut keys = vec![By::AnyHost];
        match &needs.hosts {
            HostSet::Any => keys = vec![By::All],
            HostSet::OneOf(hosts) if hosts.contains(&HostPattern::All) => keys = vec![By::All],
            HostSet::OneOf(hosts) => {
                for host in hosts {
                    match host {
                        HostPattern::All => {}
                        HostPattern::Suffix(suffix) => {
                            keys.push(By::Suffix(suffix.clone()));
                            keys.push(By::Below(suffix.clone()));
                        }
                        HostPattern::Exact(name) => {
                            keys.push(By::Host(name.clone()));
                            if let Some((_, above)) = name.split_once('.') {
                                keys.push(By::Suffix(above.into()));
                            }
                        }
                    }
                }
            }
        }
        let mut found = Vec::new();
        for key in keys {
            if let Some(bucket) = self.0.get(&(needs.priority, key)) {
                bucket.rivals(&needs.paths, budget, &mut found);
            }
        }
        found.sort_unstable();
        found.dedup();
        found.truncate(MAX_RIVALS);
        found
    }
}

impl Bucket {
    fn rivals(&self, paths: &PathSet, budget: &Budget, found: &mut Vec<usize>) {
        let end = found.len() + MAX_RIVALS;
        found.extend(self.any_path.iter().take(MAX_RIVALS));
        match paths {
            PathSet::Any => found.extend(self.paths.values().flatten().take(MAX_RIVALS)),
            PathSet::OneOf(paths) => {
                for path in paths {
                    if found.len() > end {
                        break;
                    }
                    let (PathPattern::Exact(path) | PathPattern::Prefix(path)) = path;
                    // Each of its beginnings is looked up, and compared with others.
                    if !budget.spend(path.len() * (1 + path.len() / 64)) {
                        break;
                    }
                    // Those that begin with it, and those that it begins with.
                    let below = self
                        .paths
                        .range::<str, _>((Bound::Included(&**path), Bound::Unbounded));
                    let below = below.take_while(|(other, _)| other.starts_with(&**path));
                    found.extend(below.flat_map(|(_, ranks)| ranks).take(MAX_RIVALS));
                    let starts = (1..path.len()).filter_map(|at| path.get(..at));
                    let above = starts.filter_map(|start| self.paths.get(start));
                    found.extend(above.flatten().take(MAX_RIVALS));
                }
            }
        }
    }
}
