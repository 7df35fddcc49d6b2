//! A configuration written by somebody who means harm: it may be refused, it may not panic, hang or eat the memory.

use super::{MINIMAL, Source, environment, load_in, loaded, told, with};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// On a thread with the small stack of a worker.
fn survives(name: &str, text: &str) {
    let owned = text.to_owned();
    let start = Instant::now();
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(2 << 20);
    let told = thread
        .spawn(move || loaded(&owned).diagnostics.render(false).len())
        .unwrap()
        .join();
    assert!(told.is_ok(), "{name}");
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{name}: {:?}",
        start.elapsed()
    );
}

#[test]
fn what_is_deep_or_endless_is_refused_in_time() {
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    let chain: String = (1..2000)
        .map(|i| format!("  a{i} = [var.a{}]\n", i - 1))
        .collect();
    let backward: String = (1..2000)
        .rev()
        .map(|i| format!("  a{i} = [[[var.a{}]]]\n", i - 1))
        .collect();
    let doubling: String = (1..60)
        .map(|i| format!("  a{i} = \"${{var.a{0}}}${{var.a{0}}}\"\n", i - 1))
        .collect();
    let laughs: String = (1..30)
        .map(|i| {
            format!(
                "  a{i} = [{}]\n",
                vec![format!("var.a{}", i - 1); 10].join(",")
            )
        })
        .collect();
    let list = format!("[{}]", vec!["1"; 1000].join(","));
    let loops = "[for a in var.l : ".repeat(8) + "a" + &"]".repeat(8);
    let template_loops = "%{for a in var.l}".repeat(8) + "x" + &"%{endfor}".repeat(8);
    for (name, text) in [
        ("arrays", format!("x = {}", nested("[", "1", "]", 100_000))),
        (
            "arrays within limits",
            format!("x = {}", nested("[", "1", "]", 60)),
        ),
        (
            "objects",
            format!("x = {}", nested("{a=", "1", "}", 100_000)),
        ),
        (
            "parentheses",
            format!("x = {}", nested("(", "1", ")", 100_000)),
        ),
        ("blocks", nested("a {\n", "", "}\n", 100_000)),
        ("blocks within limits", nested("a {\n", "", "}\n", 60)),
        ("negations", format!("x = {}1", "-".repeat(100_000))),
        ("nots", format!("x = {}true", "!".repeat(100_000))),
        ("sums", format!("x = 1{}", "+1".repeat(100_000))),
        ("sums within limits", format!("x = 1{}", "+1".repeat(120))),
        (
            "conditionals",
            format!("x = {}1", "true ? 1 : ".repeat(10_000)),
        ),
        (
            "templates",
            format!("x = {}", nested("\"${", "1", "}\"", 10_000)),
        ),
        (
            "calls",
            format!("x = {}", nested("lower(", "1", ")", 100_000)),
        ),
        ("indices", format!("x = a{}", "[0]".repeat(100_000))),
        (
            "labels",
            format!("routers {} {{}}", "\"a\" ".repeat(50_000)),
        ),
        (
            "a chain of variables",
            format!("variables {{\n  a0 = 1\n{chain}}}"),
        ),
        (
            "a backward chain",
            format!("variables {{\n{backward}  a0 = 1\n}}"),
        ),
        (
            "a cycle",
            "variables {\n a = var.b\n b = \"${var.a}\"\n}".to_owned(),
        ),
        (
            "doubling",
            format!("variables {{\n  a0 = \"0123456789abcdef\"\n{doubling}}}"),
        ),
        (
            "a billion laughs",
            format!("variables {{\n  a0 = \"lol\"\n{laughs}}}"),
        ),
        (
            "loops in loops",
            format!("variables {{\n l = {list}\n}}\nx = {loops}"),
        ),
        (
            "template loops in template loops",
            format!("variables {{\n l = {list}\n}}\nx = \"{template_loops}\""),
        ),
        (
            "a long list",
            format!("x = [{}]", vec!["1"; 200_000].join(",")),
        ),
        ("a NUL", "x = \"\0\"\n\0".to_owned()),
        (
            "a byte order mark in the middle",
            "x = 1\n\u{feff}y = 2".to_owned(),
        ),
        ("an unclosed string", "x = \"abc".to_owned()),
        ("an unclosed heredoc", "x = <<EOT\nabc".to_owned()),
        ("an unclosed comment", "/* abc".to_owned()),
        (
            "nested JSON",
            format!("x = jsondecode(\"{}\")", "[".repeat(100_000)),
        ),
        ("many errors", "routers \"x\" {\n}\n".repeat(20_000)),
        (
            "many errors in a list",
            format!(
                "admin {{\n allowed_ips = [{}]\n}}",
                vec!["\"x\""; 20_000].join(",")
            ),
        ),
        (
            "many dangling names",
            (0..5000)
                .map(|i| {
                    format!(
                        "routers \"r{i}\" {{\n rule = \"Path(`/{i}`)\"\n service = \"s{i}\"\n}}\n"
                    )
                })
                .collect(),
        ),
        ("many bare words", "a {\n x = y\n}\n".repeat(20_000)),
        (
            "a division by nothing",
            "x = 1 / 0\ny = 1 % 0\nz = -9223372036854775808 / -1\nw = 1.0 / 0.0".to_owned(),
        ),
        (
            "a large number",
            "shutdown_timeout_secs = 99999999999999999999999999999999999999999999999".to_owned(),
        ),
        ("an index", "x = [1][99999999999999999999]".to_owned()),
    ] {
        survives(name, &with(&text));
        survives(name, &text);
    }
}

#[test]
fn cycles_and_excess_are_named() {
    for (text, expected) in [
        (
            "variables {\n a = var.b\n b = var.a\n}",
            "variable `a` needs itself",
        ),
        (
            "variables {\n l = [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]\n m = [for a in var.l : [for b in var.l : [for c in var.l : [for d in var.l : [for e in var.l : [for f in var.l : 1]]]]]]\n}",
            "the expressions of this configuration take too long",
        ),
    ] {
        let told = told(&with(text));
        assert!(told.iter().any(|told| told.contains(expected)), "{told:#?}");
    }
}

#[test]
fn line_ends_and_byte_order_marks_of_other_systems_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.hcl");
    std::fs::write(&path, format!("\u{feff}{}", MINIMAL.replace('\n', "\r\n"))).unwrap();
    let loaded = load_in(&Source::new(&path), &environment);
    assert_eq!(loaded.diagnostics.to_string(), "");
    std::fs::write(&path, b"a = 1\n\xff").unwrap();
    let told = load_in(&Source::new(&path), &environment)
        .diagnostics
        .to_string();
    assert!(
        told.ends_with("error[E002]: the file cannot be read: line 2 is not UTF-8"),
        "{told}"
    );
}

#[test]
fn what_is_not_a_regular_file_is_refused() {
    for path in ["/dev/zero", "/dev/stdin"] {
        let told = load_in(&Source::new(path), &environment)
            .diagnostics
            .to_string();
        assert!(told.contains("cannot be read"), "{told}");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large.hcl");
    std::fs::File::create(&path)
        .unwrap()
        .set_len(10 << 30)
        .unwrap();
    let told = load_in(&Source::new(&path), &environment)
        .diagnostics
        .to_string();
    assert!(told.ends_with("it is larger than 64 MiB"), "{told}");
}

/// Pieces that make texts which almost are configurations.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "entrypoints",
        "routers",
        "services",
        "variables",
        "admin",
        "providers",
        "load_balancer",
        "servers",
        "respond",
        "http",
        "file",
        "rule",
        "service",
        "address",
        "url",
        "weight",
        "token",
        "priority",
        " ",
        "\n",
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        "=",
        ",",
        ":",
        "\"",
        "\"a\"",
        "\"${",
        "%{ if ",
        "%{ endif }",
        "%{for x in ",
        "$${",
        "}\"",
        "<<EOT\n",
        "\nEOT\n",
        "<<-EOT\n",
        "var.",
        "a",
        "b",
        "env(",
        "concat(",
        "format(",
        "for x in ",
        "x",
        "1",
        "-1",
        "1.5",
        "1e999",
        "true",
        "null",
        "\\u0000",
        "\\",
        "\"http://a\"",
        "\":80\"",
        "\"10s\"",
        "\"Host(`a`)\"",
        "?",
        "&&",
        "+",
        "/",
        "*",
        ".",
        "...",
        "é",
        "\u{feff}",
        "#",
        "~}",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// One well-formed attribute of any value, wherever it may stand.
fn attributes() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "[0-9.-]{1,30}",
        "\"[ -~]{0,20}\"",
        "\\[[0-9,]{0,10}\\]",
        "\\{\\}",
        "true",
        "null",
        "\"\\$\\{[a-zA-Z(]{1,8}\\}\""
    ];
    let key = prop::sample::select(vec![
        "address",
        "protocol",
        "max_connections",
        "trusted_proxies",
        "http",
        "rule",
        "service",
        "entrypoints",
        "priority",
        "load_balancer",
        "respond",
        "status",
        "body",
        "headers",
        "servers",
        "url",
        "weight",
        "strategy",
        "token",
        "watch",
    ]);
    let block = prop::sample::select(vec![
        "entrypoints \"a\"",
        "routers \"a\"",
        "services \"a\"",
        "services \"b\" {\n respond",
        "services \"b\" {\n load_balancer",
        "admin",
        "providers {\n file",
    ]);
    (block, prop::collection::vec((key, value), 0..4)).prop_map(|(block, entries)| {
        let body: String = entries
            .iter()
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        let close = "}\n".repeat(block.matches('{').count() + 1);
        format!("{block} {{\n{body}{close}")
    })
}

proptest! {
    #[test]
    fn no_text_panics_the_loader(text in prop_oneof![any::<String>(), pieces()]) {
        let loaded = loaded(&text);
        prop_assert_eq!(loaded.config.is_some(), !loaded.diagnostics.has_errors());
        loaded.diagnostics.render(false);
        loaded.diagnostics.to_sarif();
    }

    #[test]
    fn no_value_in_no_place_panics_the_loader(text in prop::collection::vec(attributes(), 0..4)) {
        let loaded = loaded(&with(&text.concat()));
        prop_assert_eq!(loaded.config.is_some(), !loaded.diagnostics.has_errors());
        loaded.diagnostics.render(true);
        if let Some(config) = loaded.config {
            prop_assert!(serde_json::to_string(&config).is_ok());
        }
    }
}
