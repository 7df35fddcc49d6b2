//! What is told of retries, breakers, timeouts and limits of bodies.

use super::*;

#[test]
fn each_problem_is_told_where_it_is() {
    let mut wrong = Vec::new();
    for (settings, expected) in [
        ("type = \"retry\"", &[][..]),
        (
            "type = \"retry\"\n  on = [\"connect\", \"5xx\", 200, 503]",
            &[
                "19:20 E006 `5xx` is nothing to try again; there are \"connect\", \"reset\", \"timeout\" and statuses like 503",
                "19:27 E008 `on` is out of range: 200 is not from 400 to 599",
            ],
        ),
        (
            "type = \"retry\"\n  on = []\n  max_retries = 21\n  retry_interval_ms = 10001",
            &[
                "19:8 E006 nothing would be tried again",
                "20:17 E008 `max_retries` is out of range: 21 is not from 0 to 20",
                "21:23 E008 `retry_interval_ms` is out of range: 10001 is not from 0 to 10000",
            ],
        ),
        (
            "type = \"retry\"\n  per_try_timeout = \"0s\"\n  max_replay_bytes = \"1GiB\"\n  budget_percent = 101",
            &[
                "19:21 E008 `per_try_timeout` is out of range: 0s is not from 1ms to 1h",
                "20:22 E008 `max_replay_bytes` is out of range: 1GiB is not from 0B to 64MiB",
                "21:20 E008 `budget_percent` is out of range: 101 is not from 0 to 100",
            ],
        ),
        (
            "type = \"retry\"\n  budget_min_per_second = 1000001\n  non_idempotent = 1\n  max_retry = 1",
            &[
                "19:27 E008 `budget_min_per_second` is out of range: 1000001 is not from 0 to 1000000",
                "20:20 E005 expected true or false, found 1",
                "21:3 E004 unknown key `max_retry`; did you mean `max_retries`?",
            ],
        ),
        ("type = \"circuit-breaker\"", &[]),
        (
            "type = \"circuit-breaker\"\n  error_ratio = 50\n  failure_threshold = 0\n  success_threshold = 1001\n  cooldown_secs = 0",
            &[
                "19:17 E008 `error_ratio` is a share above 0 and up to 1, not 50; 50 % is 0.5",
                "20:23 E008 `failure_threshold` is out of range: 0 is not from 1 to 1000000",
                "21:23 E008 `success_threshold` is out of range: 1001 is not from 1 to 1000",
                "22:19 E008 `cooldown_secs` is out of range: 0 is not from 1 to 86400",
            ],
        ),
        (
            "type = \"circuit-breaker\"\n  error_ratio = 0\n  window = \"999ms\"\n  min_requests = 0\n  latency_ms = 0",
            &[
                "19:17 E008 `error_ratio` is a share above 0 and up to 1, not 0",
                "20:12 E008 `window` is out of range: 999ms is not from 1s to 5m",
                "21:18 E008 `min_requests` is out of range: 0 is not from 1 to 1000000",
                "22:16 E008 `latency_ms` is out of range: 0 is not from 1 to 3600000",
            ],
        ),
        (
            "type = \"circuit-breaker\"\n  window = \"20s\"\n  min_requests = 5",
            &[
                "19:12 E013 `window` needs `error_ratio`",
                "20:18 E013 `min_requests` needs `error_ratio`",
            ],
        ),
        (
            "type = \"circuit-breaker\"\n  fallback {\n    status = 199\n    content_type = \"a\\nb\"\n    text = \"\"\n  }",
            &[
                "20:14 E008 `status` is out of range: 199 is not from 200 to 599",
                "21:20 E006 not a header value",
                "22:5 E004 unknown key `text`; known here: `status`, `content_type`, `body`",
            ],
        ),
        (
            "type = \"circuit-breaker\"\n  error_ratio = 1\n  fallback {\n    body = \"[]\"\n  }",
            &[],
        ),
        ("type = \"timeout\"", &["17:1 E007 `duration` is missing"]),
        (
            "type = \"timeout\"\n  duration = \"25h\"",
            &["19:14 E008 `duration` is out of range: 1d1h is not from 1ms to 1d"],
        ),
        (
            "type = \"body-limit\"",
            &["17:1 E007 `max_body_bytes` is missing"],
        ),
        (
            "type = \"body-limit\"\n  max_body_bytes = \"10 MB\"",
            &[
                "19:23 E006 unknown unit ` MB`; the units are `KiB`, `MiB`, `GiB`, `KB`, `MB`, `GB` and `B`",
            ],
        ),
        ("type = \"body-limit\"\n  max_body_bytes = 0", &[]),
        ("type = \"buffering\"", &[]),
        (
            "type = \"buffering\"\n  max_request_body = 0\n  max_response_body = 0",
            &[
                "19:22 E013 `max_request_body` and `max_response_body` are both 0: nothing would be buffered",
            ],
        ),
        (
            "type = \"buffering\"\n  max_request_body = \"2GiB\"\n  max_memory = \"1MiB\"",
            &["19:22 E008 `max_request_body` is out of range: 2GiB is not from 0B to 1GiB"],
        ),
        (
            "type = \"buffering\"\n  max_request_body = \"2GiB\"",
            &["19:22 E008 `max_request_body` is out of range: 2GiB is not from 0B to 1GiB"],
        ),
        (
            "type = \"buffering\"\n  max_request_body = \"1GiB\"",
            &[
                "19:22 E013 `max_request_body` (1GiB) is more than `max_memory` (64MiB): one body alone could need more",
            ],
        ),
        (
            "type = \"buffering\"\n  max_response_body = \"2MiB\"\n  max_memory = \"1MiB\"",
            &[
                "20:16 E013 `max_response_body` (2MiB) is more than `max_memory` (1MiB): one body alone could need more",
            ],
        ),
    ] {
        let told = told_of(&format!("middlewares \"x\" {{\n  {settings}\n}}"));
        if told != expected {
            wrong.push(format!("{settings}\n  told {told:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_written_out_is_read_back() {
    let text = "middlewares \"x\" {\n  type = \"retry\"\n  on = [\"reset\", 429]\n  per_try_timeout = \"2s\"\n}";
    let used = MINIMAL.replace("rule ", "middlewares = [\"x\"]\n  rule ");
    let config = loaded(&format!("{used}{text}")).config.unwrap();
    let written = serde_json::to_value(&config.middlewares["x"]).unwrap();
    assert_eq!(written["on"], serde_json::json!(["reset", 429]));
    assert_eq!(written["per_try_timeout"], "2s");
    assert_eq!(written["max_replay_bytes"], "64KiB");
}
