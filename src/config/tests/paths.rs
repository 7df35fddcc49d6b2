//! What is told of middlewares that change paths.

use super::*;

fn check(table: &[(&str, &[&str])]) {
    for (keys, expected) in table {
        let keys = keys.replace("; ", "\n  ");
        let text = format!("middlewares \"x\" {{\n  {keys}\n}}");
        assert_eq!(told_of(&text), *expected, "{text}");
    }
}

#[test]
fn a_prefix_to_add_is_a_path() {
    const PATH: &str = "not a path as it stands in a URL, or one with `..`";
    let bad = |text: &str| [format!("19:12 E006 `{text}`: {PATH}")];
    let whole = "type = \"add-prefix\"; prefix";
    check(&[
        ("type = \"add-prefix\"", &["17:1 E007 `prefix` is missing"]),
        (&format!("{whole} = \"/a/\""), &[]),
        (
            &format!("{whole} = \"a\""),
            &["19:12 E006 `a`: a path begins with `/`"],
        ),
        (
            &format!("{whole} = \"/\""),
            &["19:12 E006 `/` before a path changes nothing"],
        ),
        (&format!("{whole} = \"/a b\""), &[&bad("/a b")[0]]),
        (&format!("{whole} = \"/a?b\""), &[&bad("/a?b")[0]]),
        (&format!("{whole} = \"/a/../b\""), &[&bad("/a/../b")[0]]),
    ]);
}

#[test]
fn a_path_is_replaced_by_a_path_or_by_pattern() {
    let kind = "type = \"replace-path\"";
    check(&[
        (
            kind,
            &["17:1 E013 needs `path`, or `regex` and `replacement`"],
        ),
        (&format!("{kind}; path = \"/a\""), &[]),
        (
            &format!("{kind}; path = \"a\""),
            &["19:10 E006 `a`: a path begins with `/`"],
        ),
        (&format!("{kind}; regex = \"a\"; replacement = \"\""), &[]),
        (
            &format!("{kind}; regex = \"(a)\"; replacement = \"/$${{1}}b\""),
            &[],
        ),
        (
            &format!("{kind}; regex = \"a\""),
            &["19:11 E013 `regex` needs `replacement`"],
        ),
        (
            &format!("{kind}; replacement = \"a\""),
            &["19:17 E013 `replacement` needs `regex`"],
        ),
        (
            &format!("{kind}; path = \"/a\"; regex = \"a\""),
            &["19:10 E013 `path` and `regex` exclude each other"],
        ),
        (
            &format!("{kind}; regex = \"(\"; replacement = \"/$1\""),
            &["19:11 E006 `(` is not a regular expression: unclosed group"],
        ),
        (
            &format!("{kind}; regex = \"a\"; replacement = \"/$1\""),
            &["20:17 E006 `/$1`: the pattern has no group `1`"],
        ),
        (
            &format!("{kind}; regex = \"a\"; replacement = \"/b?c\""),
            &["20:17 E006 `/b?c`: not a path as it stands in a URL, or one with `..`"],
        ),
        (
            &format!("{kind}; regex = \"^/(.*)\"; replacement = \"/../$1\""),
            &["20:17 E006 `/../$1`: not a path as it stands in a URL, or one with `..`"],
        ),
        (
            &format!("{kind}; regex = \"^/(.*)\"; replacement = \"$1/%2E.\""),
            &["20:17 E006 `$1/%2E.`: not a path as it stands in a URL, or one with `..`"],
        ),
        (
            &format!("{kind}; regex = \"^/(.*)\"; replacement = \"/..$1.../.a\""),
            &[],
        ),
        (
            &format!("{kind}; regex = \"^/(.*)\"; replacement = \"/a\\n$1\""),
            &["20:17 E006 it has a control character in it"],
        ),
        (
            &format!("{kind}; path = \"/a\\u001b[2J\""),
            &["19:10 E006 not a path as it stands in a URL, or one with `..`"],
        ),
        (
            &format!("{kind}; path = \"/a/..\""),
            &["19:10 E006 `/a/..`: not a path as it stands in a URL, or one with `..`"],
        ),
    ]);
}

#[test]
fn a_redirect_leads_one_way() {
    let kind = "type = \"redirect\"";
    check(&[
        (
            kind,
            &["17:1 E013 needs one of `scheme`, `regex` and `trailing_slash`"],
        ),
        (
            &format!("{kind}; scheme = \"https\"; port = 8443; permanent = true"),
            &[],
        ),
        (&format!("{kind}; trailing_slash = \"add\""), &[]),
        (
            &format!("{kind}; regex = \"^http://(.*)\"; replacement = \"https://$1\""),
            &[],
        ),
        (
            &format!("{kind}; scheme = \"ftp\""),
            &["19:12 E006 `ftp` is not one of `http`, `https`"],
        ),
        (
            &format!("{kind}; scheme = \"https\"; port = 0"),
            &["20:10 E008 `port` is out of range: 0 is not from 1 to 65535"],
        ),
        (
            &format!("{kind}; trailing_slash = \"add\"; port = 80"),
            &["20:10 E013 `port` needs `scheme`"],
        ),
        (
            &format!("{kind}; scheme = \"https\"; trailing_slash = \"add\""),
            &["20:20 E013 `scheme` and `trailing_slash` exclude each other"],
        ),
        (
            &format!("{kind}; regex = \"a\""),
            &["19:11 E013 `regex` needs `replacement`"],
        ),
        (
            &format!("{kind}; regex = \"(?!a)\"; replacement = \"b\""),
            &[
                "19:11 E006 `(?!a)` is not a regular expression: look-around, including look-ahead and look-behind, is not supported",
            ],
        ),
        (
            &format!("{kind}; regex = \"a\"; replacement = \"$b\""),
            &["20:17 E006 `$b`: the pattern has no group `b`"],
        ),
        (
            &format!("{kind}; regex = \"a\"; replacement = \"https://b\\r\\nX: y\""),
            &["20:17 E006 it has a control character in it"],
        ),
    ]);
}

#[test]
fn a_request_id_has_a_header() {
    let kind = "type = \"request-id\"";
    check(&[
        (kind, &[]),
        (
            &format!("{kind}; header = \"X-Trace\"; keep = \"never\""),
            &[],
        ),
        (
            &format!("{kind}; header = \"a b\"; keep = \"sometimes\""),
            &[
                "19:12 E006 `a b` is not the name of a header",
                "20:10 E006 `sometimes` is not one of `trusted`, `always`, `never`",
            ],
        ),
        (
            &format!("{kind}; header = \"Content-Length\""),
            &["19:12 E006 the server sets this header itself, for each connection"],
        ),
    ]);
}
