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
