//! What is found, and that it is right.

use super::*;
use crate::rule::{Budget, Finding, Protocol, Route, Rule, Table, survey};
use proptest::prelude::*;

fn table(rules: &[(i64, &str)], protocol: Protocol) -> Table<()> {
    let route = |(index, (priority, text)): (usize, &(i64, &str))| Route {
        name: format!("r{index}").into(),
        priority: *priority,
        rule: Rule::parse(text, protocol).expect(text),
        service: (),
    };
    Table::new(rules.iter().enumerate().map(route).collect())
}

fn told(rules: &[(i64, &str)]) -> Vec<String> {
    let findings = survey(
        &table(rules, Protocol::Http),
        Sees::Requests,
        &Budget::new(5_000_000),
    );
    findings.iter().map(tell).collect()
}

fn tell(finding: &Finding) -> String {
    match finding {
        Finding::Impossible { router } => format!("{router} impossible"),
        Finding::Shadowed {
            router,
            by,
            example,
            but_whole_server,
        } => {
            let but = if *but_whole_server { " but *" } else { "" };
            format!("{router} by {}{but}: {example}", by.join("+"))
        }
        Finding::Ambiguous {
            first,
            second,
            example,
        } => format!("{first}={second}: {example}"),
    }
}

#[test]
fn what_is_wrong_with_rules_is_told_with_an_example() {
    for (rules, expected) in [
        (&[(1, "Host(`a`) && Host(`b`)")][..], &["r0 impossible"][..]),
        (
            &[(1, "Host(`a`, `b`) && !Host(`b`) && !Host(`a`)")],
            &["r0 impossible"],
        ),
        (
            &[(1, "Host(`*.a.com`) && Host(`b.com`)")],
            &["r0 impossible"],
        ),
        (&[(1, "Path(`/a`) && PathPrefix(`/b`)")], &["r0 impossible"]),
        (
            &[(1, "PathPrefix(`/a`) && !PathPrefix(`/`)")],
            &["r0 impossible"],
        ),
        (
            &[(1, "Method(`GET`) && !Method(`GET`, `POST`)")],
            &["r0 impossible"],
        ),
        (
            &[(
                1,
                "ClientIP(`10.0.0.0/8`) && !ClientIP(`10.0.0.0/9`, `10.128.0.0/9`)",
            )],
            &["r0 impossible"],
        ),
        (
            &[(1, "ClientIP(`10.0.0.0/8`) && ClientIP(`192.168.0.0/16`)")],
            &["r0 impossible"],
        ),
        (
            &[(1, "PathRegexp(`x`) && !PathRegexp(`x`)")],
            &["r0 impossible"],
        ),
        // Two lines of a header, two pairs of a query: unusual, and possible.
        (&[(1, "Header(`X`, `1`) && Header(`X`, `2`)")], &[]),
        (&[(1, "Query(`q`, `1`) && Query(`q`, `2`)")], &[]),
        (&[(1, "Path(`/a/../b`)")], &["r0 impossible"]),
        // Only `OPTIONS *` has another path; it is some request.
        (&[(1, "Host(`a`) && !PathPrefix(`/`)")], &[]),
        (
            &[(1, "Host(`a`) && !PathPrefix(`/`) && Method(`GET`)")],
            &["r0 impossible"],
        ),
        (
            &[
                (2, "PathPrefix(`/`)"),
                (1, "Host(`a.com`) && PathPrefix(`/x`)"),
            ],
            &["r1 by r0: GET http://a.com/x"],
        ),
        (
            &[(2, "PathPrefix(`/`)"), (1, "Host(`a.com`)")],
            &["r1 by r0 but *: GET http://a.com/"],
        ),
        (
            &[
                (2, "Method(`GET`, `POST`)"),
                (2, "!Method(`GET`)"),
                (1, "Host(`a.com`)"),
            ],
            &[
                "r2 by r0+r1: GET http://a.com/",
                "r0=r1: POST http://example.com/",
            ],
        ),
        (
            &[
                (2, "Host(`a.com`)"),
                (
                    1,
                    "Host(`a.com`) && Header(`X-Kind`, `v 2`) && Query(`q`, `a b`)",
                ),
            ],
            &["r1 by r0: GET http://a.com/?q=a%20b -H 'x-kind: v 2'"],
        ),
        (
            &[
                (2, "ClientIP(`10.0.0.0/8`)"),
                (1, "Path(`/é x`) && ClientIP(`10.1.0.0/16`)"),
            ],
            &["r1 by r0: GET http://example.com/%C3%A9%20x --client-ip 10.1.0.1"],
        ),
        (
            &[(1, "PathRegexp(`^/[0-9]+$`)"), (1, "PathPrefix(`/1`)")],
            &["r0=r1: GET http://example.com/1"],
        ),
        (
            &[
                (2, "PathRegexp(`[0-9]`)"),
                (1, "Path(`/v1`) || Path(`/v2`)"),
            ],
            &["r1 by r0: GET http://example.com/v1"],
        ),
        // An expression that takes all of another: not known.
        (&[(2, "PathRegexp(`^/`)"), (1, "PathRegexp(`^/a+$`)")], &[]),
        (
            &[
                (2, "PathRegexp(`^/a`)"),
                (1, "PathRegexp(`^/a`) && Method(`GET`)"),
            ],
            &["r1 by r0: GET http://example.com/a"],
        ),
        // One of one priority that only a repeated header meets both of is as it is meant.
        (&[(1, "Header(`X`, `1`)"), (1, "Header(`X`, `2`)")], &[]),
        (
            &[(1, "Header(`X`, `1`)"), (1, "Header(`Y`, `2`)")],
            &["r0=r1: GET http://example.com/ -H 'x: 1' -H 'y: 2'"],
        ),
        // What both take comes to a third.
        (
            &[
                (1, "Host(`a`)"),
                (1, "Path(`/a`)"),
                (2, "Host(`a`) && Path(`/a`)"),
            ],
            &[],
        ),
        (
            &[(1, "Host(`*.a.com`)"), (1, "Host(`x.a.com`)")],
            &["r1 by r0: GET http://x.a.com/"],
        ),
        (
            &[(1, "Host(`x.a.com`)"), (1, "Host(`*.a.com`)")],
            &["r0=r1: GET http://x.a.com/"],
        ),
    ] {
        assert_eq!(told(rules), expected, "{rules:?}");
    }
}

#[test]
fn connections_are_looked_at_as_what_is_known_of_them() {
    let tell_all = |rules: &[(i64, &str)], sees| -> Vec<String> {
        let table = table(rules, Protocol::Tcp);
        survey(&table, sees, &Budget::new(5_000_000))
            .iter()
            .map(tell)
            .collect()
    };
    let rules = [(2, "HostSNI(`*`)"), (1, "HostSNI(`a.com`) && ALPN(`h2`)")];
    let expected = ["r1 by r0: a connection --sni a.com --alpn h2"];
    assert_eq!(tell_all(&rules, Sees::Tls), expected);
    let rules = [(1, "HostSNI(`*`)"), (1, "ClientIP(`10.0.0.0/8`)")];
    let expected = ["r1 by r0: a connection --client-ip 10.0.0.1"];
    assert_eq!(tell_all(&rules, Sees::Clients), expected);
    let rules = [(1, "!HostSNI(`*`)")];
    assert_eq!(tell_all(&rules, Sees::Tls), ["r0 impossible"]);
}

#[test]
fn thousands_of_routers_are_looked_at_within_the_budget() {
    for rule in [
        |i: usize| format!("Host(`h{i:05}.example.com`)"),
        |i: usize| format!("PathPrefix(`/service-{i:05}`)"),
        |i: usize| format!("Header(`X-Tenant`, `{i:05}`)"),
        |i: usize| format!("Host(`a.com`) && Query(`id`, `{i:05}`) && PathRegexp(`^/{i:05}/`)"),
    ] {
        let rules: Vec<String> = (0..1_000).map(rule).collect();
        let rules: Vec<(i64, &str)> = rules.iter().map(|text| (1, text.as_str())).collect();
        assert_eq!(told(&rules), [""; 0]);
    }
}

/// Everything that rules of few words can tell apart.
fn everything() -> Vec<Example> {
    let mut all = Vec::new();
    let headers = [&[][..], &["1"], &["2"], &["1", "2"]];
    for host in ["a.c", "b.c", "x.c", "y.z"] {
        for path in ["/", "/a", "/a/", "/ab", "/b", "/q", "/a/q"] {
            for method in ["GET", "POST", "PUT"] {
                for header in headers {
                    for query in headers {
                        for client in ["10.0.0.1", "10.200.0.1", "192.0.2.1"] {
                            let lines = header.iter().map(|value| {
                                let name = http::HeaderName::from_static("x");
                                (name, http::HeaderValue::from_static(value))
                            });
                            let pairs = query
                                .iter()
                                .map(|value| ("q".to_owned(), value.as_bytes().to_vec()));
                            all.push(Example {
                                sees: Sees::Requests,
                                host: host.to_owned(),
                                path: path.to_owned(),
                                method: method.to_owned(),
                                headers: lines.collect(),
                                query: pairs.collect(),
                                client_ip: client.parse().expect("an address"),
                                shows_client: false,
                                alpn: Vec::new(),
                            });
                        }
                    }
                }
            }
        }
    }
    all
}

fn rule_text() -> impl Strategy<Value = String> {
    let matcher = prop::sample::select(vec![
        "Host(`a.c`)",
        "Host(`a.c`, `b.c`)",
        "Host(`*.c`)",
        "HostRegexp(`^[ab]`)",
        "Path(`/a`)",
        "Path(`/`)",
        "PathPrefix(`/a`)",
        "PathPrefix(`/a/`)",
        "PathPrefix(`/`)",
        "PathRegexp(`b$`)",
        "Method(`GET`)",
        "Method(`GET`, `POST`)",
        "Header(`X`, `1`)",
        "HeaderRegexp(`X`, `^[12]$`)",
        "Query(`q`, `1`)",
        "QueryRegexp(`q`, `.`)",
        "ClientIP(`10.0.0.0/8`)",
        "ClientIP(`10.128.0.0/9`)",
    ]);
    let matcher = matcher.prop_map(str::to_owned);
    matcher.prop_recursive(3, 10, 3, |inner| {
        let list = |operator: &'static str| {
            prop::collection::vec(inner.clone(), 2..4)
                .prop_map(move |parts| format!("({})", parts.join(operator)))
        };
        prop_oneof![
            3 => list(" && "),
            2 => list(" || "),
            1 => inner.clone().prop_map(|text| format!("!{text}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_finding_is_a_false_alarm(
        rules in prop::collection::vec((0i64..3, rule_text()), 1..7),
    ) {
        let rules: Vec<(i64, &str)> = rules.iter().map(|(at, text)| (*at, text.as_str())).collect();
        let table = table(&rules, Protocol::Http);
        let all = everything();
        let find = |example: &Example| {
            example.with_facts(|facts| table.find(facts)).map(|route| &*route.name)
        };
        let takes = |name: &str, example: &Example| {
            let mut routes = table.routes().iter();
            let route = routes.find(|route| &*route.name == name).expect("a route");
            example.with_facts(|facts| route.rule.matches(facts))
        };
        let findings = survey(&table, Sees::Requests, &Budget::new(5_000_000));
        for finding in &findings {
            match finding {
                Finding::Impossible { router } => {
                    prop_assert!(!all.iter().any(|each| takes(router, each)), "{}", router);
                }
                Finding::Shadowed { router, by, example, .. } => {
                    prop_assert!(!all.iter().any(|each| find(each) == Some(&**router)), "{}", router);
                    prop_assert!(takes(router, example));
                    prop_assert_eq!(find(example), Some(&*by[0]));
                }
                Finding::Ambiguous { first, second, example } => {
                    prop_assert!(takes(first, example) && takes(second, example));
                    prop_assert_eq!(find(example), Some(&**first));
                }
            }
        }
        // And nothing is missed that these few words can show, but where an expression is asked for.
        if rules.iter().any(|(_, text)| text.contains("Regexp")) {
            return Ok(());
        }
        let lost: Vec<&str> = findings.iter().filter_map(|finding| match finding {
            Finding::Impossible { router } | Finding::Shadowed { router, .. } => Some(&**router),
            Finding::Ambiguous { .. } => None,
        }).collect();
        for route in table.routes() {
            let is_reached = all.iter().any(|each| find(each) == Some(&*route.name));
            // Of what is negated, values that are not tried here may meet it.
            let is_odd = || !is_reached && route.rule.to_string().contains('!');
            prop_assert!(
                is_reached != lost.contains(&&*route.name) || is_odd(),
                "{} {:?}", route.name, findings
            );
        }
    }
}

/// Whatever is asked, and however many routers there are: a survey spends what it was given, and then ends.
#[test]
fn no_rules_take_more_than_what_is_given_to_them() {
    let alternatives = |of: &dyn Fn(usize) -> String| {
        let all: Vec<_> = (0..400).map(of).collect();
        all.join(" || ")
    };
    let hosts = alternatives(&|at| format!("Host(`h{at}.com`)"));
    let paths = alternatives(&|at| format!("PathPrefix(`/p{at}`)"));
    let regexps = alternatives(&|at| format!("PathRegexp(`^/[a-z]+{at}$`)"));
    let nested = (0..20).fold("Path(`/z`)".to_owned(), |inner, at| {
        format!("!(Host(`h{at}.com`) && (Path(`/p{at}`) || {inner}))")
    });
    let rules = [
        format!("({hosts}) && ({paths})"),
        format!("({paths}) && !({hosts})"),
        format!("({regexps}) && ({paths})"),
        format!("!({regexps}) && ({hosts})"),
        nested,
        format!("Path(`/{}`)", "a".repeat(4000)),
    ];
    let rules = rules.iter().map(|rule| (1, &**rule)).cycle();
    let rules: Vec<(i64, &str)> = rules.take(60).collect();
    let table = table(&rules, Protocol::Http);
    let budget = Budget::new(200_000);
    survey(&table, Sees::Requests, &budget);
    assert!(budget.is_spent());
    // Nothing is said of what was not looked at.
    assert_eq!(survey(&table, Sees::Requests, &budget), []);
}
