//! What is told of middlewares, whatever their type.

use super::*;

#[test]
fn each_problem_of_a_middleware_is_told_where_it_is() {
    let mut wrong = Vec::new();
    for (text, expected) in [
        (
            "middlewares \"x\" { }",
            &["17:1 E007 `type` is missing"][..],
        ),
        (
            "middlewares \"x\" { type = 1 }",
            &["17:26 E005 expected a string, found 1"],
        ),
        (
            "middlewares \"x\" {\n  type = \"headers\"\n  securty = true\n}",
            &["19:3 E004 unknown key `securty`; did you mean `security`?"],
        ),
        (
            "middlewares \"x\" {\n  type = \"headers\"\n}",
            &["17:1 E013 the middleware changes no header"],
        ),
        (
            "middlewares \"x\" {\n  type = \"headers\"\n  request_headers = { \"a b\" = \"1\", connection = \"x\" }\n  add_response_headers = { x = \"a\\nb\" }\n}",
            &[
                "19:23 E006 `a b`: not a header name",
                "19:36 E006 `connection`: the server sets this header itself, for each connection",
                "20:28 E006 `x`: not a header value",
            ],
        ),
        (
            "middlewares \"x\" {\n  type = \"ip-allow\"\n  denied_ips = [\"::1\", \"10.0.0.0/33\"]\n  depth = 101\n}",
            &[
                "19:24 E006 `10.0.0.0/33` is neither an IP address nor a network; write it like \"10.0.0.0/8\", \"192.0.2.1\" or \"2001:db8::/32\"",
                "20:11 E008 `depth` is out of range: 101 is not from 0 to 100",
            ],
        ),
        (
            "middlewares \"x\" {\n  type = \"headers\"\n  request_headers = { \"X-A\" = \"3\", \"x-a\" = \"4\" }\n}",
            &["19:36 E011 `x-a` and `X-A` are one header"],
        ),
        (
            "middlewares \"x\" {\n  type = \"headers\"\n  security = null\n  response_headers = { x = null }\n}",
            &["20:28 E005 expected a string, found nothing"],
        ),
        (
            "middlewares \"x\" {\n  type = \"jwt\"\n  jwks_url = \"http://127.0.0.1/\"\n  tls { insecure = true }\n  required_claims = { scope = null }\n}",
            &[
                "20:3 E013 `jwks_url` is not an `https` URL",
                "21:31 E005 expected a string, a number, true or false, or a list of them, found nothing",
            ],
        ),
        (
            "middlewares \"x\" {\n  type = \"ip-allow\"\n}",
            &["17:1 E013 `allowed_ips` and `denied_ips` are both empty: nobody would be refused"],
        ),
        (
            "middlewares \"x\" {\n  type = \"strip-prefix\"\n}",
            &["17:1 E007 `prefixes` is missing"],
        ),
        (
            "middlewares \"x\" {\n  type = \"strip-prefix\"\n  prefixes = [\"/a\", \"b\", \"/\", \"/a b\"]\n}",
            &[
                "19:21 E006 the prefix `b` does not begin with `/`",
                "19:26 E006 `/` is a prefix of everything, and stripping it changes nothing",
                "19:31 E006 `/a b` is not a path",
            ],
        ),
        (
            "middlewares \"x\" {\n  type = \"in-flight\"\n  max = 0\n  key = \"cookie:a\"\n}",
            &[
                "19:9 E008 `max` is out of range: 0 is not from 1 to 10000000",
                "20:9 E006 requests are not counted by `cookie:a`; write `client-ip`, `header:NAME`, `claim:NAME`, `path` or `global`",
            ],
        ),
        (
            "middlewares \"x\" {\n  type = \"rate-limit\"\n}",
            &["17:1 E007 `rate` is missing"],
        ),
        (
            "middlewares \"x\" {\n  type = \"rate-limit\"\n  rate = 0\n  max_keys = 0\n}",
            &[
                "19:10 E006 a rate is a number above 0",
                "20:14 E008 `max_keys` is out of range: 0 is not from 1 to 10000000",
            ],
        ),
        (
            "middlewares \"x\" {\n  type = \"rate-limit\"\n  rate = \"many\"\n}",
            &["19:10 E005 expected a number, found a string"],
        ),
        (
            "middlewares \"x\" {\n  type = \"rate-limit\"\n  rate = format(\"%s.5\", 1)\n  period = \"0s\"\n}",
            &["20:12 E008 `period` is out of range: 0s is not from 1ms to 366d"],
        ),
        (
            "middlewares \"x\" {\n  type = \"rate-limit\"\n  rate = 1\n  burst = 0\n}",
            &["20:11 E006 a burst is 1 at least"],
        ),
        (
            "middlewares \"x\" {\n  type = \"rate-limit\"\n  rate = 1\n  period = \"1d\"\n  burst = 1000\n}",
            &["21:11 E006 a burst that takes longer than a year to come back at that rate"],
        ),
        (
            "middlewares \"x\" {\n  type = \"rate-limit\"\n  rate = 2000000000\n  period = \"1s\"\n}",
            &["19:10 E006 a rate of more than 1000000000 requests in a second"],
        ),
        (
            "middlewares \"x\" {\n  type = \"rate-limit\"\n  rate = 1\n  policy = \"\u{e9}\"\n}",
            &["20:12 E006 the name of a policy is ASCII without control characters"],
        ),
        (
            "middlewares \"x\" {\n  type = \"chain\"\n  middlewares = [\"y\", \"z\"]\n}\nmiddlewares \"y\" {\n  type = \"chain\"\n  middlewares = [\"x\"]\n}",
            &[
                "19:17 E019 the chain goes round in a circle: x -> y -> x",
                "19:23 E012 middleware `x` names the unknown middleware `z`; did you mean `x`?",
            ],
        ),
        (
            "middlewares \"x\" {\n  type = \"chain\"\n  middlewares = []\n}",
            &["19:17 E006 the chain has no middlewares"],
        ),
        (
            "middlewares \"x@file\" {\n  type = \"headers\"\n  security = true\n}",
            &[
                "6:18 E012 router `api` names the unknown middleware `x`",
                "17:13 E006 the name `x@file` has an `@`, which is reserved",
            ],
        ),
        (
            "middlewares \"x\" {\n  type = \"headers\"\n  security = true\n}\nmiddlewares \"y\" {\n  type = \"headers\"\n  security = true\n}",
            &["21:13 W004 nobody uses middleware `y`"],
        ),
    ] {
        let told = told_of(text);
        if told != expected {
            wrong.push(format!("{text}\n  told {told:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_type_that_nobody_knows_is_told_with_its_place_where_nobody_brings_it() {
    let text = "middlewares \"x\" {\n  type = \"header\"\n  anything = [1]\n}";
    let used = MINIMAL.replace("rule ", "middlewares = [\"x\"]\n  rule ");
    let loaded = loaded(&format!("{used}{text}"));
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics);
    let config = loaded.config.clone().unwrap();
    assert!(config.check_with(&["header"]).is_empty());
    let strict = loaded.without_custom_types();
    assert!(strict.config.is_none());
    for diagnostics in [config.check(), strict.diagnostics] {
        assert_eq!(
            diagnostics.to_string(),
            "configuration:19:10: error[E020]: middleware `x` is of the unknown type `header`; did you mean `headers`?"
        );
    }
}

#[test]
fn a_type_that_nobody_knows_is_told_beside_what_else_is_wrong() {
    let text = "middlewares \"x\" {\n  type = \"ratelimit\"\n  average = 10\n}\nrouters \"y\" {\n  rule = \"PathPrefx(`/`)\"\n  service = \"backend\"\n}";
    let loaded = loaded(&with(text));
    assert!(loaded.config.is_none());
    let told = loaded.without_custom_types().diagnostics;
    let told = lines(&told);
    let unknown =
        "18:10 E020 middleware `x` is of the unknown type `ratelimit`; did you mean `rate-limit`?";
    assert!(
        told.iter().any(|line| line.contains("PathPrefx")),
        "{told:#?}"
    );
    assert!(told.iter().any(|line| line == unknown), "{told:#?}");
}

#[test]
fn chains_are_nested_so_deep_and_no_deeper() {
    let chain = |depth: usize| {
        let links = (0..depth).map(|link| {
            let next = link + 1;
            format!(
                "middlewares \"x{link}\" {{\n type = \"chain\"\n middlewares = [\"x{next}\"]\n}}\n"
            )
        });
        let last =
            format!("middlewares \"x{depth}\" {{\n type = \"headers\"\n security = true\n}}\n");
        let first = "middlewares \"x\" {\n type = \"chain\"\n middlewares = [\"x0\"]\n}\n";
        told_of(&(first.to_owned() + &links.collect::<String>() + &last))
    };
    assert_eq!(chain(30), [""; 0]);
    let told = chain(2000);
    assert!(
        told[0].contains("E019 chains are nested more than 32 deep"),
        "{told:?}"
    );
}

#[cfg(feature = "redis")]
#[test]
fn each_problem_of_a_rate_limit_in_redis_is_told_where_it_is() {
    for (keys, expected) in [
        ("rate = 1", &["17:1 E007 `redis_url` is missing"][..]),
        (
            "rate = -1\nredis_url = \"http://:hunter2@localhost\"\ntimeout = \"1m\"\non_error = \"pass\"",
            &[
                "19:8 E006 a rate is a number above 0",
                "20:13 E006 Redis URL did not parse",
                "21:11 E008 `timeout` is out of range: 1m is not from 1ms to 10s",
                "22:12 E006 `pass` is not one of `allow`, `deny`",
            ],
        ),
        (
            "rate = 1\nredis_url = \"redis://localhost\"\nca_file = \"Cargo.toml\"\nkey_file = \"none\"",
            &[
                "21:11 E013 `ca_file` is for a `rediss://` server",
                "22:12 E002 `key_file` cannot be read: no such file",
                "22:12 E013 `key_file` is for a `rediss://` server",
                "22:12 E013 `key_file` needs `cert_file`",
            ],
        ),
    ] {
        let text = format!("middlewares \"x\" {{\ntype = \"rate-limit-redis\"\n{keys}\n}}");
        assert_eq!(told_of(&text), expected);
    }
}

#[cfg(not(feature = "redis"))]
#[test]
fn without_its_feature_a_rate_limit_in_redis_says_so() {
    let text = "middlewares \"x\" {\n  type = \"rate-limit-redis\"\n  rate = 1\n  redis_url = \"redis://localhost\"\n}";
    let expected = "18:10 E006 this gateway was built without the feature `redis`";
    assert_eq!(told_of(text), [expected]);
}
