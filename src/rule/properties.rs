//! What holds for every rule, tried on generated ones.

use super::*;
use http::HeaderMap;
use proptest::prelude::*;

const HTTP: Protocol = Protocol::Http;

/// Texts that look like rules, so that the parser gets far into them.
fn nearly_a_rule() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "Host",
        "path",
        "PathRegexp",
        "Query",
        "ClientIP",
        "HostSNI",
        "x",
        "(",
        ")",
        "`a`",
        "`/a`",
        "\"/\\x2e\"",
        "\"\\",
        "`",
        "\"",
        "'",
        "&&",
        "||",
        "!",
        "&",
        ",",
        "...",
        " ",
        "\n",
        "//",
        "/*",
        "*/",
        "é",
        "\u{a0}",
        "1",
        "`(`",
        "`{`",
        "`[[:`",
        "\\Q",
    ]);
    prop::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

fn matcher() -> impl Strategy<Value = String> {
    let string = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        "[ -~é\r\n]{1,6}",
    ];
    let quoted = string.prop_map(|text| text.replace(['\\', '"', '\n'], "_"));
    let name = prop::sample::select(vec![
        "Host",
        "HostRegexp",
        "Path",
        "PathPrefix",
        "PathRegexp",
        "Method",
        "Query",
        "QueryRegexp",
    ]);
    (name, quoted).prop_map(|(name, text)| match name {
        "Path" | "PathPrefix" => format!("{name}(\"/{text}\")"),
        "Method" => format!("{name}(`GET`, `POST`)"),
        _ => format!("{name}(\"{text}\")"),
    })
}

/// Rules of matchers, most of which parse.
fn rule_text() -> impl Strategy<Value = String> {
    matcher().prop_recursive(4, 24, 4, |inner| {
        let list = |operator: &'static str| {
            prop::collection::vec(inner.clone(), 1..4)
                .prop_map(move |parts| format!("({})", parts.join(operator)))
        };
        prop_oneof![
            list(" && "),
            list("||"),
            inner.clone().prop_map(|text| format!("!{text}")),
        ]
    })
}

fn matches(text: &str, host: &str, path: &str, query: &str) -> Option<bool> {
    let rule = Rule::parse(text, HTTP).ok()?;
    let facts = Facts {
        host,
        path,
        query,
        method: "GET",
        headers: &HeaderMap::new(),
        client_ip: "192.0.2.1".parse().expect("an address"),
        sni: None,
        alpn: &[],
    };
    let found = rule.matches(&facts);
    if found {
        if let HostSet::OneOf(hosts) = rule.hosts() {
            assert!(hosts.iter().any(|pattern| pattern.matches(host)), "{text}");
        }
        if let PathSet::OneOf(paths) = rule.paths() {
            let takes = |pattern: &PathPattern| match pattern {
                PathPattern::Exact(own) => **own == *path,
                PathPattern::Prefix(own) => path.starts_with(&**own),
            };
            assert!(paths.iter().any(takes), "{text}");
        }
    }
    Some(found)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_the_parser_panic(
        text in prop_oneof![nearly_a_rule(), ".{0,40}", rule_text()],
        host in "[a-z.*:]{0,6}",
        query in "[a-z%+=&0-9]{0,12}",
    ) {
        for protocol in [Protocol::Http, Protocol::Tcp] {
            match Rule::parse(&text, protocol) {
                Ok(rule) => {
                    for warning in rule.warnings() {
                        prop_assert!(text.get(warning.span).is_some());
                    }
                }
                Err(error) => prop_assert!(text.get(error.span.clone()).is_some(), "{error:?}"),
            }
        }
        matches(&text, &host, "/a", &query);
    }

    #[test]
    fn a_printed_rule_parses_to_the_same_rule(text in rule_text()) {
        if let Ok(rule) = Rule::parse(&text, HTTP) {
            let printed = rule.to_string();
            let again = Rule::parse(&printed, HTTP);
            prop_assert_eq!(again.as_ref(), Ok(&rule), "{}", printed);
            prop_assert_eq!(again.map(|again| again.to_string()), Ok(printed));
        }
    }

    #[test]
    fn negation_and_de_morgan_hold(
        a in rule_text(),
        b in rule_text(),
        host in "[ab]",
        path in "/[ab]?",
        query in "[ab]=?[ab]?",
    ) {
        let on = |text: &str| matches(text, &host, &path, &query);
        if let (Some(a_holds), Some(b_holds)) = (on(&a), on(&b)) {
            prop_assert_eq!(on(&format!("!{a}")), Some(!a_holds));
            prop_assert_eq!(on(&format!("!!{a}")), Some(a_holds));
            prop_assert_eq!(on(&format!("{a} && {b}")), Some(a_holds && b_holds));
            prop_assert_eq!(on(&format!("{a} || {b}")), Some(a_holds || b_holds));
            prop_assert_eq!(on(&format!("!({a} && {b})")), on(&format!("!{a} || !{b}")));
            prop_assert_eq!(on(&format!("!({a} || {b})")), on(&format!("!{a} && !{b}")));
        }
    }
}
