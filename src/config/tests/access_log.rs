//! What is told of the access log.

use super::*;

fn with_log(log: &str) -> String {
    with(&format!("access_log {{\n  {log}\n}}\n"))
}

#[test]
fn each_problem_is_told_where_it_is() {
    for (log, expected) in [
        ("", &[][..]),
        (
            "format = \"clf\"\n  sample = 0.01\n  status = [101, \"400-599\"]\n  min_duration = \"1s\"\n  fields {\n    drop = [\"timestamp\"]\n    reveal = [\"code\"]\n  }",
            &[],
        ),
        (
            "sample = 10\n  min_duration = \"0s\"\n  file = \"\"\n  status = [600, \"99-200\"]\n  fields {\n    drop = [\"tme\"]\n    redact = [\"a\", \"\"]\n    reveal = [\"A\"]\n    headers = [\"a b\"]\n  }",
            &[
                "18:12 E008 `sample` is a share above 0 and up to 1, not 10; 10 % is 0.1",
                "19:18 E008 `min_duration` is out of range: 0s is not from 1ms to 1h",
                "20:10 E006 the name of the file is empty; leave it out to write to standard output",
                "21:13 E006 `600` is neither the status of an answer nor a range of them; write it like 204 or \"200-399\", from 100 to 599",
                "21:18 E006 `99-200` is neither the status of an answer nor a range of them; write it like 204 or \"200-399\", from 100 to 599",
                "23:13 E006 `tme` is not one of `timestamp`, `client_ip`, `method`, `host`, `path`, `protocol`, `status`, `request_bytes`, `response_bytes`, `duration_ms`, `upstream_duration_ms`, `entrypoint`, `router`, `service`, `backend`, `retries`, `reason`, `user_agent`, `request_id`, `trace_id`, `tls_version`",
                "24:20 E006 the name is empty",
                "25:15 E013 `A` is in `redact`, too",
                "26:16 E006 `a b` is not the name of a header",
            ],
        ),
        (
            "fields {\n    redact = [\"X-Key: a\", \"?code\", \"code=a b\", \"user name\", \"ids[]\", \"a%20b\", \"X-*\", \" \", \"X-Tenant\", \"größe\", \"user.name\"]\n    reveal = [\"&a\"]\n  }",
            &[
                "19:15 E006 `X-Key: a` is the name of neither a header nor a parameter; write the name alone: `X-Key`",
                "19:27 E006 `?code` is the name of neither a header nor a parameter; write the name alone: `code`",
                "19:36 E006 `code=a b` is the name of neither a header nor a parameter; write the name alone: `code`",
                "19:48 E006 `user name` is the name of neither a header nor a parameter; write the name alone: `user`",
                "19:61 E006 `ids[]` is the name of neither a header nor a parameter; write `ids`, which stands for `ids[]` as well",
                "19:70 E006 `a%20b` is the name of neither a header nor a parameter; write it without escapes",
                "19:79 E006 `X-*` is the name of neither a header nor a parameter; names are compared as a whole: write each of them",
                "19:86 E006 ` ` is the name of neither a header nor a parameter",
                "20:15 E006 `&a` is the name of neither a header nor a parameter; write the name alone: `a`",
            ],
        ),
        (
            "fields {\n    redact = [\"${TOKEN}=a\"]\n  }",
            &[
                "19:15 E006 a value from outside this file: A value is of the right type and means nothing.",
            ],
        ),
        (
            "format = \"xml\"\n  fiel = \"a\"",
            &[
                "18:12 E006 `xml` is not one of `json`, `clf`",
                "19:3 E004 unknown key `fiel`; did you mean `file`?",
            ],
        ),
    ] {
        assert_eq!(told(&with_log(log)), expected, "{log}");
    }
}
