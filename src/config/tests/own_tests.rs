//! What is told of the tests of a configuration.

use super::*;
use crate::config::test::{TestFailure, TestPart};

/// What is told where there are these blocks, which begin in line 17.
fn told_of(blocks: &str) -> Vec<String> {
    told(&with(blocks))
}

#[test]
fn a_test_has_its_defaults() {
    let config = good(&with(
        "test \"it\" {\n  request {\n    url = \"/x\"\n  }\n  expect {\n    router = \"none\"\n  }\n}\n",
    ));
    let test = &config.tests["it"];
    assert_eq!(test.request.method, "GET");
    assert_eq!(test.request.client_ip.to_string(), "127.0.0.1");
    assert_eq!(config.on_test_failure, OnTestFailure::Reject);
    assert!(good(MINIMAL).tests.is_empty());
    let warns = good(&with("on_test_failure = \"warn\"\n"));
    assert_eq!(warns.on_test_failure, OnTestFailure::Warn);
}

#[test]
fn each_problem_is_told_where_it_is() {
    let of = |request: &str, expect: &str| {
        format!("test \"it\" {{\n  request {{\n {request}\n }}\n  expect {{\n {expect}\n }}\n}}\n")
    };
    let url = "url = \"/\"";
    let router = "router = \"api\"";
    for (blocks, expected) in [
        (of(url, router), vec![]),
        (of("", router), vec!["18:3 E007 `url` is missing"]),
        (
            of(&format!("{url}\n client_ip = \"here\""), router),
            vec!["20:14 E006 `here` is not an IP address"],
        ),
        (
            of(&format!("{url}\n methd = \"GET\""), router),
            vec!["20:2 E004 unknown key `methd`; did you mean `method`?"],
        ),
        (
            of(&format!("{url}\n entrypoint = \"wob\""), router),
            vec!["20:15 E012 test `it` names the unknown entrypoint `wob`; did you mean `web`?"],
        ),
        (
            of(url, ""),
            vec![
                "21:3 E013 test `it` expects nothing; name `router`, `service`, `status` or `headers`",
            ],
        ),
        // What is wrong with the only expectation is enough to be told.
        (
            of(url, "body = \"x\""),
            vec![
                "22:2 E004 unknown key `body`; known here: `router`, `service`, `status`, `headers`",
            ],
        ),
        (
            of(url, "status = \"200\""),
            vec!["22:11 E005 expected a whole number from 0 to 65535, found a string"],
        ),
        (
            of(url, "router = null"),
            vec![
                "21:3 E013 test `it` expects nothing; name `router`, `service`, `status` or `headers`",
            ],
        ),
        (
            of(url, router).replace("test \"it\"", "test"),
            vec!["18:3 E007 the block around `request` has no name; write `test \"name\" {`"],
        ),
        (
            of(url, "router = \"apo\""),
            vec!["22:11 E012 test `it` names the unknown router `apo`; did you mean `api`?"],
        ),
        (
            of(url, "service = \"backnd\""),
            vec![
                "22:12 E012 test `it` names the unknown service `backnd`; did you mean `backend`?",
            ],
        ),
        (
            of(url, "status = 600"),
            vec!["22:11 E008 `status` is out of range: 600 is not from 100 to 599"],
        ),
        (
            "on_test_failure = \"ignore\"\n".to_owned(),
            vec!["17:19 E006 `ignore` is not one of `reject`, `warn`"],
        ),
        (
            "test \"\" {\n  request {\n url = \"/\"\n }\n  expect {\n router = \"api\"\n }\n}\n"
                .to_owned(),
            vec!["17:6 E006 the test has no name"],
        ),
    ] {
        assert_eq!(told_of(&blocks), expected, "{blocks}");
    }
}

#[test]
fn no_more_tests_than_may_be() {
    let tests: String = (0..1001)
        .map(|index| {
            format!(
                "test \"t{index}\" {{\n request {{ url = \"/\" }}\n expect {{ status = 404 }}\n}}\n"
            )
        })
        .collect();
    let told = told_of(&tests);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].ends_with("E008 there are more than 1000 tests"),
        "{told:?}"
    );
}

#[test]
fn a_failed_test_is_told_at_its_expectation_and_shows_no_secret() {
    let text = with(
        "test \"it\" {\n  request {\n    url     = \"/\"\n    headers = { X-Key = \"hunter2\" }\n  }\n  expect {\n    status  = 404\n    headers = { X-A = \"b\" }\n  }\n}\n",
    );
    let config = good(&text);
    let failure = |part| TestFailure {
        test: "it",
        part,
        message: "no".to_owned(),
        why: Some("so".to_owned()),
    };
    let told = config.failed_tests(&[
        failure(TestPart::Expect("status")),
        failure(TestPart::Header("X-A")),
        failure(TestPart::Url),
    ]);
    let expected = [
        "23:15 E022 test `it`: no; so",
        "24:23 E022 test `it`: no; so",
        "19:15 E022 test `it`: no; so",
    ];
    assert_eq!(lines(&told), expected);
    let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!told.render(false).contains("hunter2"));
    // Where they stand is no part of the configuration.
    assert_eq!(
        config,
        good(&text.replace("# gateway.hcl", "\n\n# gateway.hcl"))
    );
}

#[test]
fn a_block_whose_name_is_missing_is_told() {
    let text = "entrypoints \"web\" {\n  address = \":80\"\n}\nservices {\n  respond {\n    body = \"x\"\n  }\n}\n";
    assert_eq!(
        told(text),
        ["5:3 E007 the block around `respond` has no name; write `services \"name\" {`"]
    );
}
