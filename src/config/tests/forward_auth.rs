//! What is told of `forward-auth`.

use super::*;

#[test]
fn each_key_of_forward_auth_is_judged_where_it_stands() {
    let kind = "type = \"forward-auth\"";
    let whole = "type = \"forward-auth\"\n  forward_auth_url = \"http://127.0.0.1:9000/check\"";
    for (keys, expected) in [
        (
            kind.to_owned(),
            &["17:1 E007 `forward_auth_url` is missing"][..],
        ),
        (whole.to_owned(), &[]),
        (
            format!("{kind}\n  forward_auth_url = \"auth/check\""),
            &["19:22 E006 the scheme is missing; write it like \"http://127.0.0.1:8001\""],
        ),
        (
            format!(
                "{whole}\n  forward_auth_response_headers = [\"X-User\", \"a b\", \"Content-Length\"]"
            ),
            &[
                "20:46 E006 `a b` is not the name of a header",
                "20:53 E006 the server sets this header itself, for each connection",
            ],
        ),
        (
            format!(
                "{whole}\n  forward_auth_response_headers = [\"X-User\", \"Content-Length\", \"Host\"]"
            ),
            &[
                "20:46 E006 the server sets this header itself, for each connection",
                "20:64 E006 `Host` names the server",
            ],
        ),
        (
            format!(
                "{whole}\n  forward_auth_response_headers = [\"X-Forwarded-User\", \"X-Forwarded-For\", \"X_Real_IP\", \"Forwarded\"]"
            ),
            &[
                "20:56 E006 the gateway itself says what is in `x-forwarded-for`",
                "20:75 E006 the gateway itself says what is in `x_real_ip`",
                "20:88 E006 the gateway itself says what is in `forwarded`",
            ],
        ),
        (
            format!(
                "{whole}\n  timeout = \"0s\"\n  max_in_flight = 0\n  max_answer_body = \"1GiB\""
            ),
            &[
                "20:13 E008 `timeout` is out of range: 0s is not from 1ms to 1m",
                "21:19 E008 `max_in_flight` is out of range: 0 is not from 1 to 1000000",
                "22:21 E008 `max_answer_body` is out of range: 1GiB is not from 0B to 64MiB",
            ],
        ),
        (
            format!(
                "{whole}\n  cache {{\n    key = \"cookie:session\"\n    ttl = \"30s\"\n    parts = [\"host\", \"path\", \"header:X-Tenant\"]\n  }}"
            ),
            &[],
        ),
        (
            format!(
                "{whole}\n  cache {{\n    key = \"session\"\n    ttl = \"0s\"\n    max_entries = 0\n    parts = [\"host\", \"body\"]\n  }}"
            ),
            &[
                "21:11 E006 `session` is no credential: write it like `header:Authorization` or `cookie:session`",
                "22:11 E008 `ttl` is out of range: 0s is not from 1s to 1d",
                "23:19 E008 `max_entries` is out of range: 0 is not from 1 to 10000000",
                "24:22 E006 `body` is no part of a request: the parts are `method`, `host`, `uri`, `path`, `client-ip` and `header:NAME`",
            ],
        ),
        (
            format!(
                "{whole}\n  cache {{\n    key = \"cookie:session\"\n    ttl = \"30s\"\n    parts = []\n  }}"
            ),
            &[
                "23:13 W011 neither `uri` nor `path` is in it: who may see one page may see all, for as long as `ttl`; add `uri`, unless the service decides without looking at the path",
            ],
        ),
        (
            format!(
                "{whole}\n  cache {{\n    key = \"cookie:session\"\n    ttl = \"30s\"\n    parts = [\"method\", \"host\", \"client-ip\"]\n  }}"
            ),
            &[
                "23:13 W011 neither `uri` nor `path` is in it: who may see one page may see all, for as long as `ttl`; add `uri`, unless the service decides without looking at the path",
            ],
        ),
        (
            format!("{whole}\n  cache {{\n    key = \"cookie:session\"\n  }}"),
            &["20:3 E007 `ttl` is missing"],
        ),
        (
            format!("{whole}\n  tls {{\n    insecure = true\n  }}"),
            &["20:3 E013 `forward_auth_url` is not an `https` URL"],
        ),
        (
            format!(
                "{kind}\n  forward_auth_url = \"https://auth.example\"\n  tls {{\n    ca_file = \"/nowhere/ca.pem\"\n    cert_file = \"/nowhere/a.pem\"\n  }}"
            ),
            &[
                "21:15 E002 `ca_file` cannot be read: no such file",
                "22:17 E013 `cert_file` needs `key_file`",
                "22:17 E002 `cert_file` cannot be read: no such file",
            ],
        ),
    ] {
        let text = format!("middlewares \"x\" {{\n  {keys}\n}}");
        assert_eq!(told_of(&text), expected, "{text}");
    }
}
