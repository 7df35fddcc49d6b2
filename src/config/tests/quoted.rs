//! What is quoted of others is short, and moves nothing.

use super::*;

#[test]
fn a_problem_quotes_no_more_than_it_has_to() {
    let deep = format!("b{}", "[0]".repeat(200_000));
    let long = "ü".repeat(100_000);
    for blocks in [
        format!("shutdown_timeout_secs = {deep}\n"),
        format!("shutdown_timeout_secs = \"{long}\"\n"),
        format!("{long} = 1\n"),
        format!("routers \"b\" {{\n rule = \"{long}(`x`)\"\n service = \"backend\"\n}}\n"),
        format!("routers \"b\" {{\n rule = \"Path(`/x`)\"\n service = \"{long}\"\n}}\n"),
        format!(
            "routers \"b\" {{\n rule = \"Host(`{}`)\"\n service = \"backend\"\n}}\n",
            "`)||(`".repeat(10_000)
        ),
        format!("dns = {{ \"{long}\" = 1 }}\n"),
    ] {
        let told = loaded(&with(&blocks)).diagnostics;
        let start: String = blocks.chars().take(60).collect();
        assert!(!told.is_empty(), "{start}");
        for each in &told {
            let said = [Some(&each.message), each.help.as_ref(), each.label.as_ref()];
            for text in said.into_iter().flatten() {
                assert!(text.chars().count() <= 2001, "{start}: {text}");
            }
        }
        let in_short = told.to_string();
        assert!(in_short.chars().count() < 5000, "{start}: {in_short}");
    }
    let told = told_of_one("shutdown_timeout_secs = bb\n");
    assert!(
        told.contains("`bb` is not a value; put it in quotes: \"bb\""),
        "{told}"
    );
    let told = told_of_one(&format!("shutdown_timeout_secs = {deep}\n"));
    let cut = format!("`{}…` is not a value", &deep[..200]);
    assert!(told.contains(&cut), "{told}");
}

#[test]
fn a_problem_moves_nothing_where_it_is_read() {
    let written = "a\\u001b[31m\\r\\nfake\\u202e";
    for blocks in [
        format!("routers \"b\" {{\n rule = \"Path(`/x`)\"\n service = \"{written}\"\n}}\n"),
        format!("dns = {{ \"{written}\" = 1 }}\n"),
    ] {
        let told = told_of_one(&blocks);
        assert!(told.contains("\\u{1b}[31m\\r\\nfake\\u{202e}"), "{told:?}");
        assert!(
            !told.contains(['\u{1b}', '\r', '\n', '\u{202e}']),
            "{told:?}"
        );
    }
}

fn told_of_one(blocks: &str) -> String {
    let told = loaded(&with(blocks)).diagnostics;
    assert_eq!(told.iter().count(), 1, "{told}");
    told.to_string()
}
