//! Typing errors, each with its place, what is wrong, and what would be right.

use super::*;
use std::path::Path;

/// What is changed of the text, and what is told of that, by the loader and by `fmt`.
type Typo = (&'static str, &'static str, &'static str);

const TEXT: &str = r#"entrypoints "web" {
  address = "127.0.0.1:8080"
}

routers "api" {
  rule        = "Host(`a.com`)"
  service     = "backend"
  middlewares = ["auth", "limit"]
}

services "backend" {
  load_balancer {
    servers = [
      { url = "http://127.0.0.1:8001" },
      { url = "http://127.0.0.1:8002" },
    ]
  }
}

middlewares "limit" {
  type = "rate-limit"
  rate = 10
}
"#;

const TYPOS: &[Typo] = &[
    // `=`
    (
        "service     = ",
        "service ",
        "7:3 `service` has neither `=` nor `{`; write service = \"backend\"",
    ),
    (
        "service     = ",
        "service: ",
        "7:10 `:` in place of `=`; write service = \"backend\"",
    ),
    (
        "service     = ",
        "service := ",
        "7:11 `:=` in place of `=`; write service = \"backend\"",
    ),
    (
        "service     = ",
        "service == ",
        "7:11 `==` in place of `=`; write service = \"backend\"",
    ),
    (
        "service     = ",
        "service => ",
        "7:11 `=>` in place of `=`; write service = \"backend\"",
    ),
    (
        "rate = 10",
        "rate 10",
        "22:3 `rate` has no `=`; write rate = 10",
    ),
    (
        "rate = 10",
        "rate",
        "22:3 `rate` has neither `=` nor `{`; write `rate = ` and the value, or the block `rate {`",
    ),
    (
        "rate = 10",
        "rate =",
        "22:3 `rate` has no value in its line; write it behind the `=`: `rate = ...`",
    ),
    (
        "[\"auth\", \"limit\"]",
        "\n    - auth",
        "8:3 `middlewares` has no value in its line; a list is written `middlewares = [\"a\", \"b\"]`",
    ),
    (
        "[\"auth\", \"limit\"]",
        "\n    [\"auth\"]",
        "8:3 `middlewares` has no value in its line; write `middlewares = [` in one line",
    ),
    // Quotes
    (
        "\"backend\"\n",
        "\"backend\n",
        "7:17 the text that begins here has no quote at its end; write \"backend\"",
    ),
    (
        "= \"backend\"\n",
        "= backend\"\n",
        "7:17 the text ends with a quote, and begins without one; write \"backend\"",
    ),
    (
        "\"127.0.0.1:8080\"",
        "127.0.0.1:8080",
        "2:13 a text stands in quotes; write address = \"127.0.0.1:8080\"",
    ),
    (
        "\"http://127.0.0.1:8001\"",
        "http://127.0.0.1:8001",
        "14:15 a text stands in quotes; write url = \"http://127.0.0.1:8001\"",
    ),
    (
        "rate = 10",
        "period = 10s",
        "22:12 a text stands in quotes; write period = \"10s\"",
    ),
    (
        "\"Host(`a.com`)\"",
        "Host(`a.com`)",
        "6:17 a rule stands in quotes; write rule = \"Host(`a.com`)\"",
    ),
    (
        "= \"backend\"\n",
        "= 'backend'\n",
        "7:17 a text stands in double quotes; write \"backend\"",
    ),
    (
        "= \"backend\"\n",
        "= `backend`\n",
        "7:17 a text stands in double quotes; write \"backend\"",
    ),
    (
        "= \"backend\"\n",
        "= “backend”\n",
        "7:17 `“` (U+201C) is no quote of HCL; write \"backend\"",
    ),
    (
        "routers \"api\"",
        "routers “api”",
        "5:9 `“` (U+201C) is no quote of HCL; write \"api\"",
    ),
    (
        "[\"auth\", ",
        "[\"auth, ",
        "8:18 the text \"auth, \" ends right before `limit`: a quote is missing, or one too many; each text begins and ends with a quote; `\\\"` is one within it",
    ),
    (
        "entrypoints \"web\"",
        "entrypoints \"web",
        "1:13 the text that begins here has no quote at its end; write a `\"` where it ends, in the same line",
    ),
    (
        "rate = 10\n}\n",
        "rate = \"10\n",
        "22:10 the text that begins here has no quote at its end; write \"10\"",
    ),
    // Lists and objects
    (
        "\"auth\", ",
        "\"auth\" ",
        "8:18 a `,` is missing: items of a list are parted by it; write \"auth\", \"limit\"",
    ),
    (
        "8001\" },",
        "8001\" }",
        "14:39 a `,` is missing: items of a list are parted by it; write `},`",
    ),
    (
        "\"auth\", ",
        "\"auth\"; ",
        "8:24 items of a list are parted by `,`; write `,`",
    ),
    (
        "[\"auth\", \"limit\"]",
        "\"auth\", \"limit\"",
        "8:17 several values are a list, in brackets; write middlewares = [\"auth\", \"limit\"]",
    ),
    (
        "8001\" }",
        "8001\" weight = 2 }",
        "14:15 a `,` is missing: items of an object in one line are parted by it; write \"http://127.0.0.1:8001\", weight",
    ),
    // What is not closed
    (
        "\"limit\"]",
        "\"limit\"",
        "8:3 `middlewares = [` is not closed; write `]` before the `}` in line 9",
    ),
    (
        "\"limit\"]\n}",
        "\"limit\"\n  priority = 1\n}",
        "8:3 `middlewares = [` is not closed; write `]` before line 9",
    ),
    (
        "    ]\n",
        "",
        "13:5 `servers = [` is not closed; write `]` before the `}` in line 16",
    ),
    (
        "8001\" },",
        "8001\",",
        "14:7 this `{` is not closed; write `}` before the `]` in line 16",
    ),
    (
        "\"limit\"]\n}",
        "\"limit\"]",
        "5:1 `routers \"api\" {` is not closed; write `}` where it ends, before line 10",
    ),
    (
        "    ]\n  }\n",
        "    ]\n",
        "12:3 `load_balancer {` is not closed; write `}` where it ends, before line 17",
    ),
    (
        "10\n}\n",
        "10\n",
        "20:1 `middlewares \"limit\" {` is not closed; write `}` where it ends",
    ),
    (
        "\"backend\"\n",
        "lower(\"backend\"\n",
        "7:17 `lower(` is not closed; write `)` before line 8",
    ),
    (
        "\"backend\"\n",
        "\"${lower(\"backend\"}\"\n",
        "7:20 `lower(` is not closed; write `)` before the `}` in line 7",
    ),
    (
        "\"backend\"\n",
        "\"${lower(\"backend\")\"\n",
        "7:18 the template that begins here with `${` does not end; write `}` where it ends; write `$${` for a `${` that is to stay",
    ),
    (
        "\"Host(`a.com`)\"",
        "<<EOT\nHost(`a.com`)",
        "6:17 the text that begins here with `<<EOT` does not end; write `EOT` in a line of its own where it ends",
    ),
    (
        "middlewares \"limit\"",
        "/* middlewares \"limit\"",
        "20:1 the comment that begins here does not end; write `*/` where it ends, or `#` at the start of each line",
    ),
    // What closes nothing
    (
        "\"backend\"\n",
        "\"backend\"\n  }\n",
        "10:1 this `}` closes nothing; take one of the two out",
    ),
    (
        "10\n}\n",
        "10\n}\n}\n",
        "24:1 this `}` closes nothing; take it out",
    ),
    (
        "\"limit\"]",
        "\"limit\"]]",
        "8:34 this `]` closes nothing; take it out",
    ),
    // Blocks
    (
        "routers \"api\" {",
        "routers \"api\"",
        "5:1 the block `routers \"api\"` has no `{`; write `routers \"api\" {`, and `}` where it ends",
    ),
    (
        "routers \"api\" {",
        "routers \"api\"\n{",
        "6:1 the `{` of a block stands in the line of its head; write `routers \"api\" {`",
    ),
    (
        "routers \"api\" {",
        "routers \"api\" (",
        "5:15 a block begins with `{`, not with `(`; write `routers \"api\" {`",
    ),
    (
        "routers \"api\" {",
        "routers \"api\" = {",
        "5:15 a block has no `=` before its `{`; write `routers \"api\" {`",
    ),
    (
        "routers \"api\" {",
        "routers = \"api\" {",
        "5:9 a block has no `=`; write `routers \"api\" {`",
    ),
    (
        "routers \"api\" {",
        "routers 1 {",
        "5:9 a label that begins with a digit stands in quotes; write `routers \"1\" {`",
    ),
    (
        "rate = 10",
        "2x = 1",
        "22:3 a name begins with a letter; write it with a letter, or `_`, before the digit",
    ),
    (
        "rate = 10",
        "rate.x = 1",
        "22:3 a name has no `.`; write a block: `rate { ... }`",
    ),
    (
        "{\n  type = \"rate-limit\"\n  rate = 10\n}",
        "{ type = \"rate-limit\", rate = 10 }",
        "20:42 a block in one line has one attribute; give each attribute a line of its own",
    ),
    (
        "{\n  type = \"rate-limit\"\n  rate = 10\n}",
        "{ type = \"rate-limit\" rate = 10 }",
        "20:43 a block in one line has one attribute; give each attribute a line of its own",
    ),
    (
        "{\n  type = \"rate-limit\"\n  rate = 10\n}",
        "{ tls { } }",
        "20:27 a block within a block begins in a line of its own; or write an object: `name = { ... }`",
    ),
    (
        "{\n  type = \"rate-limit\"\n  rate = 10\n}",
        "{ tls \"a\" { a = 1 } }",
        "20:27 a block within a block begins in a line of its own; or write an object: `name = { ... }`",
    ),
    // What ends a line
    (
        "\"backend\"\n",
        "\"backend\";\n",
        "7:26 no `;` stands behind an attribute; take it out: an attribute ends with its line",
    ),
    (
        "\"backend\"\n",
        "\"backend\",\n",
        "7:26 no `,` stands behind an attribute; take it out: an attribute ends with its line",
    ),
    (
        "\"backend\"\n",
        "\"backend\" ",
        "7:29 `middlewares` begins in the line of `service`; give each a line of its own",
    ),
    (
        "rate = 10",
        "rate = 10 requests",
        "22:13 `requests` stands behind the value of `rate`; an attribute ends with its line; a text stands in quotes, a comment begins with `#`",
    ),
    (
        "limit\"]\n}",
        "limit\"]\n},",
        "9:2 no `,` stands behind a block; take it out",
    ),
    // Within texts
    (
        "\"Host(`a.com`)\"",
        "\"HostRegexp(`\\d`)\"",
        "6:30 `\\d` is no escape; write `\\\\d`: a backslash is two in a text",
    ),
    (
        "\"Host(`a.com`)\"",
        "\"HostRegexp(`^a${`)\"",
        "6:32 the template that begins here with `${` does not end; write `}` where it ends; write `$${` for a `${` that is to stay",
    ),
    (
        "\"backend\"\n",
        "\"${lower(\\\"backend\\\")}\"\n",
        "7:26 within `${ }` a quote has no backslash before it; write it as in \"${env(\"NAME\")}\"",
    ),
    (
        "\"backend\"\n",
        "\"100%{\"\n",
        "7:21 `%{` begins a directive, as `%{ if ... }`, and this is none; write `%%{` for a `%{` that is to stay",
    ),
    // Other languages
    (
        "routers \"api\" {",
        "\"routers\": { \"api\": {",
        "5:1 a name stands without quotes here; write a block: `routers \"name\" {`",
    ),
    (
        "rate = 10",
        "\"rate\": 10",
        "22:3 a name stands without quotes here; write rate = 10",
    ),
    (
        "entrypoints \"web\" {",
        "{",
        "1:1 a block has a name before its `{`; this is HCL, not JSON: write `routers \"api\" {` and the like",
    ),
    (
        "entrypoints \"web\" {",
        "entrypoints:",
        "1:12 a block begins with `{`; this is HCL, not YAML: write `entrypoints \"name\" {`, and `}` where it ends",
    ),
    (
        "entrypoints \"web\" {",
        "[entrypoints.web]",
        "1:1 a block has a name and a `{`; this is HCL, not TOML: write `entrypoints \"web\" {`",
    ),
    // What cannot be seen
    (
        "service     =",
        "service\u{a0}=",
        "7:10 a character that cannot be seen (U+00A0); take it out, or write a space",
    ),
    (
        "  service",
        "\u{200b}  service",
        "7:1 a character that cannot be seen (U+200B); take it out, or write a space",
    ),
    (
        "{\n  address",
        "{\r  address",
        "1:20 the line ends with a carriage return alone; save the file with line ends of Unix (LF) or Windows (CRLF)",
    ),
];

/// The first problem, without its code.
fn first(diagnostics: &Diagnostics) -> String {
    let told = lines(diagnostics).into_iter().next().unwrap_or_default();
    told.replacen(" E001 ", " ", 1)
}

#[test]
fn each_typing_error_is_told_with_what_would_be_right() {
    let mut wrong = Vec::new();
    for (from, to, expected) in TYPOS {
        assert!(TEXT.contains(from), "{from}");
        let text = TEXT.replacen(from, to, 1);
        let loaded = first(&loaded(&text).diagnostics);
        let formatted = first(&format(Path::new("x.hcl"), &text).unwrap_err());
        if loaded != *expected || formatted != *expected {
            wrong.push(format!(
                "{to:?}\n  expected {expected}\n  loaded   {loaded}\n  fmt      {formatted}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_not_seen_in_most_editors_is_no_error() {
    for text in [
        TEXT.replace("  ", "\t"),
        TEXT.replace('\n', "\r\n"),
        format!("\u{feff}{TEXT}"),
    ] {
        assert!(format(Path::new("x.hcl"), &text).is_ok(), "{text}");
    }
}

/// The same places, whatever ends the lines, and with a byte order mark before them.
#[test]
fn places_are_the_same_in_files_of_windows() {
    let text = TEXT.replacen("service     = ", "service ", 1);
    let expected = "7:3 `service` has neither `=` nor `{`; write service = \"backend\"";
    for text in [text.replace('\n', "\r\n"), format!("\u{feff}{text}")] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gateway.hcl");
        std::fs::write(&path, text).unwrap();
        let loaded = load_in(&Source::new(&path), &environment);
        assert_eq!(first(&loaded.diagnostics), expected);
    }
}

#[test]
fn utf_16_is_told_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.hcl");
    let units = "\u{feff}a = 1".encode_utf16();
    let bytes: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
    std::fs::write(&path, bytes).unwrap();
    let told = load_in(&Source::new(&path), &environment)
        .diagnostics
        .to_string();
    assert!(
        told.ends_with("the file cannot be read: it is UTF-16: save it as UTF-8"),
        "{told}"
    );
}

/// Nobody knows yet what is a secret; what stands under a key that has one is not repeated.
#[test]
fn nothing_is_repeated_of_what_may_be_a_secret() {
    for line in [
        "token hunter2",
        "token: \"hunter2\"",
        "token = hunter2\"",
        "token = \"hunter2",
        "token = hunter2:x",
        "token = 'hunter2'",
        "token = “hunter2”",
        "token = \"hunter2\" hunter2",
        "keys = [\"hunter2\" \"hunter2\"]",
        "keys = [\"hunter2, \"hunter2\"]",
        "keys = \"hunter2\", \"hunter2\"",
        "request_headers = {\n    X-Token = hunter2:x\n  }",
        "request_headers = {\n    X-Token = \"hunter2\" }, {\n",
        "\"token\": \"hunter2\"",
        "value (hunter2)",
        "password = (\"hunter2\"\n  a = 1",
    ] {
        let text = format!("admin {{\n  {line}\n}}\n");
        let told = loaded(&text).diagnostics.to_string();
        assert!(
            told.contains("E001") && !told.contains("hunter2"),
            "{line}: {told}"
        );
    }
}

#[test]
fn words_of_other_languages_are_told() {
    for (value, expected) in [
        ("True", "22:10 E010 `True` is not a value; write `true`"),
        ("yes", "22:10 E010 `yes` is not a value; write `true`"),
        ("Off", "22:10 E010 `Off` is not a value; write `false`"),
        (
            "None",
            "22:10 E010 `None` is not a value; leave the key out",
        ),
        (
            "ten",
            "22:10 E010 `ten` is not a value; put it in quotes: \"ten\"",
        ),
        (
            "10/s",
            "22:13 E010 `s` is not a value; a text stands in quotes as a whole; a comment begins with `#`",
        ),
        (
            "10 -- ten",
            "22:16 E010 `ten` is not a value; a text stands in quotes as a whole; a comment begins with `#`",
        ),
    ] {
        let text = TEXT.replacen("= 10", &format!("= {value}"), 1);
        assert!(
            told(&text).iter().any(|told| told == expected),
            "{expected}\n{:#?}",
            told(&text)
        );
    }
}

/// A text that is cut off anywhere, or has lost any character, is told of or is right; it never ends the process.
#[test]
fn a_text_may_end_or_lack_something_anywhere() {
    let text = format!(
        "{TEXT}/* é */ variables {{\n  a = \"${{lower(\"é\")}}\"\n  b = <<EOT\n${{\"x\"}}\nEOT\n}}\n"
    );
    for (at, char) in text.char_indices() {
        let cut = &text[..at];
        let without = format!("{cut}{}", &text[at + char.len_utf8()..]);
        let doubled = format!("{cut}{char}{}", &text[at..]);
        for text in [cut, &without, &doubled] {
            loaded(text).diagnostics.render(false);
        }
    }
}
