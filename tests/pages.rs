//! `schema`, `completions`, `man` and `--help`: what the command says of itself.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/tools.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "it is shared, and not every file needs every tool"
)]
mod tools;

use serde_json::Value;
use std::fs;
use std::process::{Command, Output};

fn gateway(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_a3s-gateway"));
    command.args(args).output().unwrap()
}

/// What it prints where all is well.
fn printed(args: &[&str]) -> String {
    let output = gateway(args);
    assert!(output.status.success(), "{args:?} {output:?}");
    assert!(output.stderr.is_empty(), "{args:?} {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The subcommands, as `--help` lists them.
fn verbs() -> Vec<String> {
    let help = printed(&["--help"]);
    let list = help.split("Commands:\n").nth(1).unwrap();
    let lines = list.lines().take_while(|line| !line.trim().is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names = names.filter(|name| !name.is_empty() && *name != "help");
    names.map(str::to_owned).collect()
}

#[test]
fn every_subcommand_says_what_it_does() {
    let verbs = verbs();
    for verb in ["validate", "fmt", "schema", "demo", "completions", "man"] {
        assert!(verbs.iter().any(|each| each == verb), "{verb} of {verbs:?}");
    }
    for verb in &verbs {
        let help = printed(&[verb, "--help"]);
        let first = help.lines().next().unwrap();
        assert!(first.len() < 140, "{verb}: {first}");
        assert!(
            help.contains(&format!("Usage: a3s-gateway {verb}")),
            "{help}"
        );
        assert!(help.lines().count() < 70, "{help}");
    }
}

#[test]
fn wrong_usage_is_told_and_exits_with_2() {
    for args in [
        &["completions"][..],
        &["completions", "tcsh"],
        &["man", "--section", "8"],
        &["schema", "more"],
        &["fmt", "--chekc"],
        &["demo", "--port", "70000"],
    ] {
        let output = gateway(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn what_cannot_be_written_is_a_failure() {
    for args in [
        &["schema"][..],
        &["--version"],
        &["--help"],
        &["help", "plan"],
        &["plan", "--help"],
        &["man"],
        &["completions", "zsh"],
        &["fmt", "examples/minimal.hcl", "--diff"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_a3s-gateway"));
        let output = command.args(args).stdout(full).output().unwrap();
        // Of a file that is as it should be there is nothing to be said.
        let is_silent = args[0] == "fmt";
        assert_eq!(
            output.status.code(),
            Some(i32::from(!is_silent)),
            "{output:?}"
        );
        assert_eq!(output.stderr.is_empty(), is_silent, "{output:?}");
    }
}

#[test]
fn the_schema_is_of_2020_12() {
    let schema: Value = serde_json::from_str(&printed(&["schema"])).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert!(jsonschema::meta::is_valid(&schema));
    assert!(schema["properties"]["entrypoints"].is_object());
}

#[test]
fn a_shell_completes_subcommands_and_options() {
    let script = printed(&["completions", "bash"]);
    let function = script.split("complete -F ").nth(1).unwrap();
    let function = function.split(' ').next().unwrap();
    let complete = |words: &str| {
        let test = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             {function} a3s-gateway \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash")
            .args(["--norc", "-c", &test])
            .output()
            .unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let all = complete("a3s-gateway ''");
    for verb in verbs() {
        assert!(all.lines().any(|word| word == verb), "{verb} in {all}");
    }
    assert_eq!(complete("a3s-gateway val"), "validate\n");
    assert_eq!(complete("a3s-gateway fmt --ch"), "--check\n");
    assert_eq!(complete("a3s-gateway validate --format s"), "sarif\n");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(
            printed(&["completions", shell]).contains("validate"),
            "{shell}"
        );
    }
}

#[test]
fn a_reader_has_nothing_to_say_against_the_pages() {
    let mandoc = tools::program("mandoc", "mandoc");
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().to_str().unwrap();
    let written = printed(&["man", "--out", out]);
    let page = fs::read_to_string(directory.path().join("a3s-gateway.1")).unwrap();
    assert_eq!(printed(&["man"]), page);
    assert_eq!(written.lines().count(), verbs().len() + 1, "{written}");
    for path in written.lines() {
        let lint = Command::new(&mandoc)
            .args(["-T", "lint", "-W", "warning", path])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&lint.stdout);
        assert!(lint.status.success(), "{said}");
        let text = Command::new(&mandoc)
            .args(["-T", "utf8", path])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&text.stdout).replace('\u{8}', "");
        assert!(text.contains("NNAAMMEE") || text.contains("NAME"), "{text}");
    }
    let output = gateway(&["man", "--out", "/no/such/directory"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn only_a_gateway_heeds_what_a_configuration_says_of_the_log() {
    let help = printed(&["validate", "--help"]);
    let words: Vec<_> = help.split_whitespace().collect();
    let help = words.join(" ");
    assert!(
        help.contains("else info, or where a gateway runs what its configuration says"),
        "{help}"
    );
}

#[test]
fn usage_asks_for_no_more_than_has_to_be_there() {
    for (verb, expected) in [
        ("explain", "a3s-gateway explain [OPTIONS] [METHOD] <URL>\n"),
        ("plan", "a3s-gateway plan [OPTIONS] --against <PATH|URL>\n"),
    ] {
        let output = gateway(&[verb, "--config", "gateway.hcl"]);
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(&format!("Usage: {expected}")), "{told}");
    }
}
