use super::*;
use serde_json::Value;

fn cases(text: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(text).expect("JSON");
    file["cases"].as_array().expect("cases").clone()
}

/// What CONFIG accepts and Traefik does not.
const MORE_THAN_TRAEFIK: [&str; 5] = [
    "pathPrefix(`/x`)",
    "hostRegexp(`a`)",
    "Host(`a.com`, `b.com`)",
    "Headers(`X`, `1`)",
    "Host(`a`)\n && Path(`/b`)",
];

#[test]
fn a_rule_parses_as_it_does_on_traefik() {
    for case in cases(include_str!("../../tests/data/rule_parse.json")) {
        let text = case["rule"].as_str().expect("a rule");
        let protocol = match case["kind"].as_str() {
            Some("http") => Protocol::Http,
            _ => Protocol::Tcp,
        };
        let has_tls = case["tls_passthrough"].as_bool().unwrap_or(true);
        let expected = case["ok"].as_bool().expect("ok")
            || (protocol == Protocol::Http && MORE_THAN_TRAEFIK.contains(&text));
        let rule = Rule::parse(text, protocol).ok();
        let accepted = rule.as_ref().filter(|rule| has_tls || !rule.needs_tls());
        assert_eq!(accepted.is_some(), expected, "{case}");
        if let (Some(rule), Some(priority)) = (accepted, case["priority"].as_i64()) {
            assert_eq!(rule.default_priority(), priority, "{case}");
            let again = Rule::parse(&rule.to_string(), protocol).expect("the canonical form");
            assert_eq!(&again, rule, "{rule}");
        }
    }
}

/// The part of `text` that is wrong, with the message and the help.
fn refusal(text: &str) -> (&str, String, String) {
    let protocol = if text.contains("SNI") {
        Protocol::Tcp
    } else {
        Protocol::Http
    };
    let error = Rule::parse(text, protocol).expect_err(text);
    let place = &text[error.span];
    (place, error.message, error.help.unwrap_or_default())
}

#[test]
fn an_error_says_where_it_is_and_what_would_be_right() {
    let example = "write a matcher such as Host(`example.com`)";
    for (text, place, message, help) in [
        (
            "Hots(`a`)",
            "Hots",
            "unknown matcher `Hots`",
            "did you mean `Host`?",
        ),
        (
            "!(Path(`/a`) && PathPrefx(`/`))",
            "PathPrefx",
            "unknown matcher `PathPrefx`",
            "did you mean `PathPrefix`?",
        ),
        ("Foo(`a`)", "Foo", "unknown matcher `Foo`", ""),
        (
            "HostHeader(`a`)",
            "HostHeader",
            "unknown matcher `HostHeader`",
            "did you mean `Host`?",
        ),
        (
            "Host('a.com')",
            "'a.com'",
            "single quotes do not make a string",
            "write it in backticks: `a.com`",
        ),
        (
            "Host(a.com)",
            "a.com",
            "expected a string, found `a.com`",
            "write it in backticks: `a.com`",
        ),
        (
            "Host(`a`) & Path(`/`)",
            "&",
            "`&` is not an operator",
            "write `&&`",
        ),
        (
            "Host(`a`) and Path(`/`)",
            "and",
            "`and` is not an operator",
            "write `&&`",
        ),
        (
            "Host(`a`) OR Path(`/`)",
            "OR",
            "`OR` is not an operator",
            "write `||`",
        ),
        ("Host(`a`) &&", "&&", "nothing follows `&&`", example),
        ("(Host(`a`) || )", "||", "nothing follows `||`", example),
        ("!", "!", "nothing follows `!`", example),
        ("", "", "expected a matcher, the rule ends", example),
        ("`x`", "`x`", "expected a matcher, found a string", example),
        (
            "Host(`a`) Path(`/`)",
            "Path",
            "expected `&&` or `||` between two matchers",
            "",
        ),
        (
            "Host(`a`) == Host(`b`)",
            "=",
            "expected `&&`, `||` or the end of the rule, found `=`",
            "",
        ),
        (
            "Host(`a`))",
            ")",
            "`)` closes nothing",
            "remove it, or open it with `(`",
        ),
        (
            "(Host(`a`)",
            "(",
            "`(` is never closed",
            "add the missing `)`",
        ),
        (
            "Host(`a`",
            "(",
            "`(` is never closed",
            "add the missing `)`",
        ),
        (
            "Host(`a)",
            "`a)",
            "the string is never closed",
            "end it with a backtick",
        ),
        (
            "Host(\"a\\q\")",
            "\\q",
            "invalid escape",
            "write `\\\\` for a backslash, or put the string in backticks",
        ),
        (
            "Host()",
            "Host()",
            "`Host` takes at least one argument, not 0",
            "write Host(`name`[, ...])",
        ),
        (
            "Path(`/a`, `/b`)",
            "`/b`",
            "`Path` takes one argument, not 2",
            "write Path(`/path`)",
        ),
        (
            "Query(`a`,`b`,`c`)",
            "`c`",
            "`Query` takes one or two arguments, not 3",
            "write Query(`key`[, `value`])",
        ),
        (
            "Header(`X`)",
            "Header(`X`)",
            "`Header` takes two arguments, not 1",
            "write Header(`name`, `value`)",
        ),
        (
            "Host",
            "Host",
            "`Host` has no arguments",
            "write Host(`name`[, ...])",
        ),
        ("Host(`a`, ``)", "``", "empty argument", ""),
        (
            "Host(`*.`)",
            "`*.`",
            "`*.` names no host",
            "write `*` for every host",
        ),
        (
            "Path(`foo`)",
            "`foo`",
            "the path `foo` does not begin with `/`",
            "write `/foo`",
        ),
        (
            "PathRegexp(`(`)",
            "`(`",
            "`(` is not a regular expression: unclosed group",
            "",
        ),
        (
            "ClientIP(`10.0.0.0/33`)",
            "`10.0.0.0/33`",
            "`10.0.0.0/33` is not an address or a network",
            "write an address like `10.0.0.1` or a network like `10.0.0.0/8`",
        ),
        (
            "Host(`münchen.de`)",
            "`münchen.de`",
            "`münchen.de` is not ASCII",
            "write international names in punycode (`xn--...`)",
        ),
        (
            "Method(`GET, POST`)",
            "`GET, POST`",
            "`GET, POST` is not an HTTP method",
            "give each method as an argument of its own",
        ),
        (
            "HostSNI(`*`) && Host(`a`)",
            "Host",
            "`Host` is not for TCP routers",
            "use `HostSNI`",
        ),
        (
            "Host(`a`) /* c",
            "/* c",
            "the comment is never closed",
            "end it with `*/`",
        ),
    ] {
        let (found, found_message, found_help) = refusal(text);
        assert_eq!(
            (found, &*found_message, &*found_help),
            (place, message, help),
            "{text}"
        );
    }
}

#[test]
fn deep_nesting_is_refused_and_long_lists_are_not() {
    let nested = |open: &str, close: &str, n: usize| {
        format!("{}Host(`a`){}", open.repeat(n), close.repeat(n))
    };
    for n in [65, 100_000] {
        for text in [
            nested("(", ")", n),
            nested("!", "", n),
            nested("!(", ")", n),
        ] {
            let error = Rule::parse(&text, Protocol::Http).expect_err("too deep");
            assert!(error.message.contains("in each other"), "{error}");
        }
    }
    let deep = Rule::parse(&nested("(", ")", 64), Protocol::Http).expect("not too deep");
    assert_eq!(deep.to_string(), "Host(`a`)");

    let long = vec!["Host(`a`) && Path(`/`)"; 20_000].join(" || ");
    assert!(Rule::parse(&long, Protocol::Http).is_ok());
}

#[test]
fn a_string_in_double_quotes_has_the_escapes_of_go() {
    let rule = |text: &str| Rule::parse(text, Protocol::Http).expect(text);
    for (quoted, raw) in [
        (r#"Path("/\x61\101\u00e9\U0001F600")"#, "Path(`/aAé😀`)"),
        (r#"Path("/\"\\")"#, r#"Path(`/"\`)"#),
        (r#"Path("/\xc3\xa9")"#, "Path(`/é`)"),
    ] {
        assert_eq!(rule(quoted), rule(raw));
    }
    for text in [
        r#"Path("/\xff")"#,
        r#"Path("/\x6")"#,
        r#"Path("/\400")"#,
        r#"Path("/\ud800")"#,
        r#"Path("/\'")"#,
        r#"Path("/\u+061")"#,
        "Path(\"/\n\")",
        "Path(\"/\\",
        "Path(\"/\\é\")",
    ] {
        assert!(Rule::parse(text, Protocol::Http).is_err(), "{text}");
    }
}

#[test]
fn equal_rules_may_be_written_differently() {
    for (left, right) in [
        ("!!Host(`a`)", "host(\"A.\")"),
        ("Host(`*.a..`)", "host(`*.A..`)"),
        (
            "(Path(`/a`) || Path(`/b`)) || Path(`/c`)",
            "Path(`/a`)||(Path(`/b`)||Path(`/c`))",
        ),
        ("Headers(`X-A`, `1`)", "Header(`x-a`, `1`)"),
        ("ClientIP(`10.0.0.1`)", "ClientIP(`10.0.0.1/32`)"),
        ("QueryRegexp(`a`)", "Query(`a`, ``)"),
        ("Method(`get`)", "Method(`GET`)"),
    ] {
        let rule = |text: &str| Rule::parse(text, Protocol::Http).expect(text);
        assert_eq!(rule(left), rule(right));
        assert_eq!(rule(left), rule(&rule(right).to_string()));
    }
}

#[test]
fn hosts_and_paths_are_those_that_a_match_needs() {
    let sets = |text: &str| {
        let rule = Rule::parse(text, Protocol::Http).expect(text);
        let hosts = match rule.hosts() {
            HostSet::Any => "any".to_owned(),
            HostSet::OneOf(hosts) => hosts
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
        };
        let paths = match rule.paths() {
            PathSet::Any => "any".to_owned(),
            PathSet::OneOf(paths) => paths
                .iter()
                .map(|path| match path {
                    PathPattern::Exact(path) => path.to_string(),
                    PathPattern::Prefix(path) => format!("{path}*"),
                })
                .collect::<Vec<_>>()
                .join(" "),
        };
        (hosts, paths)
    };
    for (text, hosts, paths) in [
        ("Host(`A.com`, `*.b.com.`)", "a.com *.b.com", "any"),
        ("Host(`a`) && PathPrefix(`/x`)", "a", "/x*"),
        ("Host(`a`) || PathPrefix(`/x`)", "any", "any"),
        ("Host(`a`) || Host(`b`) || Host(`a`)", "a b", "any"),
        ("Host(`a`) || Host(`*`)", "any", "any"),
        ("(Host(`a`) || Host(`b`)) && Host(`b`)", "b", "any"),
        ("!Host(`a`)", "any", "any"),
        ("!(!Host(`a`) || !Path(`/x`))", "a", "/x"),
        ("!(!Host(`a`) && !Host(`b`))", "a b", "any"),
        ("HostRegexp(`a`) && Path(`/x`)", "any", "/x"),
        ("PathPrefix(`/`)", "any", "any"),
    ] {
        let found = sets(text);
        assert_eq!((&*found.0, &*found.1), (hosts, paths), "{text}");
    }
}

#[test]
fn what_can_never_match_is_warned_of() {
    for (text, message, help) in [
        (
            "Host(`a.com:80`)",
            "`a.com:80` can never match: a port is not part of the host",
            "write `a.com`",
        ),
        (
            "Host(`ok.com`, `http://a.com/x`)",
            "`http://a.com/x` can never match: a host has no scheme",
            "write `a.com`",
        ),
        (
            "Host(`a.com/x`)",
            "`a.com/x` can never match: a host has no path; `PathPrefix` is for that",
            "write `a.com`",
        ),
        (
            "Host(`[::1]`)",
            "`[::1]` can never match: addresses stand without brackets here",
            "write `::1`",
        ),
        (
            "Host(`a*.com`)",
            "`a*.com` can never match: `*` stands for a whole first label only; `HostRegexp` can do more",
            "",
        ),
        (
            "Host(`a b`)",
            "`a b` can never match: no host is written so",
            "",
        ),
        (
            "HostRegexp(`^Example`)",
            "`^Example` asks for upper case, but hosts are matched in lower case",
            "write it in lower case",
        ),
        (
            "HostRegexp(`{sub:[a-z]+}.a.com`)",
            "`{sub` is matched as it stands",
            "use a regular expression without the braces and the name",
        ),
        (
            "Path(`/{id:[0-9]+}`)",
            "`{id` is matched as it stands",
            "`PathRegexp` can do that",
        ),
        (
            "Path(`/a?b=c`)",
            "`/a?b=c` can never match: a path has no query; `Query` is for that",
            "write `/a`",
        ),
        (
            "PathPrefix(`/a//b`)",
            "`/a//b` can never match: empty segments are removed from a request's path",
            "",
        ),
        (
            "Path(`/a/..`)",
            "`/a/..` can never match: dot segments are resolved in a request's path",
            "",
        ),
        (
            "Path(`/a%41`)",
            "`/a%41` can never match: in a request's path only reserved characters stay escaped, in upper case",
            "",
        ),
        (
            "Header(`Host`, `a`)",
            "the host is not among the headers",
            "use `Host` or `HostRegexp`",
        ),
    ] {
        let warnings = Rule::parse(text, Protocol::Http).expect(text).warnings();
        let [warning] = &warnings[..] else {
            panic!("{text}: {warnings:?}");
        };
        assert_eq!(warning.message, message, "{text}");
        assert_eq!(warning.help.as_deref().unwrap_or_default(), help, "{text}");
    }
    for text in [
        "Host(`a.com`, `*`, `*.a.com`, `::1`, `a_b.com.`, `A.com`)",
        "HostRegexp(`^[A-Za-z]+\\.\\Da(?P<Name>b)\\pL\\p{Greek}$`)",
        "HostRegexp(`(?i)^ABC`)",
        "Path(`/a%2Fb/é`) || Path(`/a b`) || PathPrefix(`/.`) || PathPrefix(`/a%`)",
        "PathRegexp(`^/a{2}/[^/]+$`)",
    ] {
        let warnings = Rule::parse(text, Protocol::Http).expect(text).warnings();
        assert_eq!(warnings, [], "{text}");
    }
}

#[test]
fn a_path_prefix_of_a_connection_is_the_catch_all() {
    let rule = Rule::parse("PathPrefix(`/`)", Protocol::Tcp).expect("a rule");
    assert_eq!(rule.to_string(), "HostSNI(`*`)");
    assert_eq!(rule.default_priority(), -1);
    assert_eq!(rule.warnings()[0].span, 0..15);
    assert!(Rule::parse("PathPrefix(`/a`)", Protocol::Tcp).is_err());
}

#[test]
fn a_connection_is_matched_by_its_server_name_and_protocols() {
    let ip = "192.0.2.1".parse().expect("an address");
    let h2: &[&[u8]] = &[b"h2"];
    for (text, place) in [
        ("HostSNI(`*`)", None),
        ("ClientIP(`::1`) && !HostSNI(`*`)", None),
        ("PathPrefix(`/`)", None),
        ("HostSNI(`*`) || HostSNI( `a` )", Some("HostSNI( `a` )")),
        (
            "!(HostSNIRegexp(`a`) && ALPN(`b`))",
            Some("HostSNIRegexp(`a`)"),
        ),
        ("ALPN(`h2`)", Some("ALPN(`h2`)")),
    ] {
        let rule = Rule::parse(text, Protocol::Tcp).expect(text);
        assert_eq!(rule.client_hello().map(|span| &text[span]), place, "{text}");
    }
    for (text, sni, alpn, expected) in [
        ("HostSNI(`*`)", None, &[][..], true),
        ("HostSNI(`A.com`)", Some("a.com"), &[], true),
        ("HostSNI(`a.com`)", None, &[], false),
        ("HostSNI(`*.a.com`)", Some("x.a.com"), &[], true),
        ("HostSNI(`*.a.com`)", Some("x.y.a.com"), &[], false),
        ("HostSNIRegexp(`^a`)", Some("a.com"), &[], true),
        ("ALPN(`h2`)", None, h2, true),
        ("ALPN(`h2`)", None, &[], false),
        ("ClientIP(`192.0.2.0/24`)", None, &[], true),
    ] {
        let rule = Rule::parse(text, Protocol::Tcp).expect(text);
        let facts = Facts::of_connection(ip, sni, alpn);
        assert_eq!(rule.matches(&facts), expected, "{text} {sni:?}");
    }
}

#[test]
fn no_client_asks_for_an_address_in_tls() {
    for (text, is_told) in [
        ("HostSNI(`192.0.2.1`)", true),
        ("HostSNI(`a.test`)", false),
        ("HostSNI(`*`)", false),
    ] {
        let warnings = Rule::parse(text, Protocol::Tcp).expect(text).warnings();
        assert_eq!(!warnings.is_empty(), is_told, "{text} {warnings:?}");
    }
}
