//! The floors of the house: who may import whom in `src/` and `layers/`.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fs;
use std::path::{Path, PathBuf};

const RULE: &str = "\
The house has five floors, and imports go down only:
  5  main, cli                                  the command; it uses the library as anybody does
  4  gateway                                    start, reload, shutdown: owns everything that lives
     error                                      what its callers see
  3  compile  provider  resolve  health  admin  the control plane: never in a request's way
  2  config  dispatch  serve  upstream  telemetry   the parts it is made of
  1  rule  stack  (and the crate a3s-layers)    the vocabulary
A room imports rooms of lower floors only, never a neighbour, and never from lib.rs, which only declares and
re-exports. Only `compile` sees both a config type and a layer. `layers/` knows nothing of the gateway.";

/// Rooms of the library, the lowest floor first. A new room gets its floor here.
const FLOORS: [&[&str]; 5] = [
    &["rule", "stack"],
    &["config", "dispatch", "serve", "upstream", "telemetry"],
    &["compile", "provider", "resolve", "health", "admin"],
    &["error"],
    &["gateway"],
];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Every `.rs` file under `directory`, by its path below it.
fn sources(directory: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let (mut open, mut found) = (vec![root.clone()], Vec::new());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(&root).unwrap().to_owned(), text));
        }
    }
    assert!(!found.is_empty(), "no source in {}", root.display());
    found
}

/// The module that a file is: `a/b.rs` and `a/b/mod.rs` are `["a", "b"]`.
fn module(path: &Path) -> Vec<String> {
    let path = path.with_extension("");
    let names = path.iter().map(|name| name.to_str().unwrap().to_owned());
    names.filter(|name| name != "mod").collect()
}

/// The names that stand behind `path::`: one, or those of a group.
fn heads(text: &str) -> Vec<String> {
    let Some(group) = text.strip_prefix('{') else {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        return vec![text.chars().take_while(|c| is_name(*c)).collect()];
    };
    let (mut depth, mut outer) = (1, String::new());
    for c in group.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match depth {
            0 => break,
            1 => outer.push(c),
            _ => {}
        }
    }
    let names = outer
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    names.flat_map(heads).collect()
}

/// What a file takes from the root of its crate, by `crate::` or by enough `super::`.
fn imports(module: &[String], text: &str) -> Vec<String> {
    let code: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let (mut inline, mut found) = (Vec::<usize>::new(), Vec::new());
    for (number, line) in code.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        // Formatted code closes a module where it was opened.
        if line.trim() == "}" && inline.last() == Some(&indent) {
            inline.pop();
        }
        for (at, _) in line.match_indices("crate::") {
            found.extend(heads(&code[number..].join(" ")[at + "crate::".len()..]));
        }
        if let Some(at) = line.find("super::") {
            let (mut rest, mut depth) = (&line[at..], module.len() + inline.len());
            while let Some(next) = rest.strip_prefix("super::") {
                (rest, depth) = (next, depth.saturating_sub(1));
            }
            if depth == 0 {
                found.extend(heads(rest));
            }
        }
        if line
            .trim_start()
            .trim_start_matches("pub ")
            .starts_with("mod ")
            && line.ends_with('{')
        {
            inline.push(indent);
        }
    }
    found
}

#[test]
fn imports_go_down_the_floors() {
    let mut faults = Vec::new();
    for (path, text) in sources("src") {
        let module = module(&path);
        let room = module[0].as_str();
        if ["lib", "main", "cli"].contains(&room) {
            continue;
        }
        let mut fault = |what: String| faults.push(format!("src/{}: {what}", path.display()));
        let Some(own) = floor(room) else {
            fault(format!("`{room}` has no floor yet"));
            continue;
        };
        for name in imports(&module, &text).iter().filter(|name| *name != room) {
            match floor(name) {
                None => fault(format!(
                    "`{name}` comes from lib.rs, not from where it is defined"
                )),
                Some(floor) if floor == own => fault(format!("`{name}` is a neighbour")),
                Some(floor) if floor > own => fault(format!("`{name}` is a floor above")),
                Some(_) => {}
            }
        }
        // Comments apart: what a program may write is shown there.
        let has_layer = text.lines().any(|line| {
            let is_comment = line.trim_start().starts_with("//");
            !is_comment && line.contains("a3s_layers::") && line.contains("Layer")
        });
        if room != "compile" && (room == "config" || text.contains("crate::config")) && has_layer {
            fault("it sees a config type and a layer".to_owned());
        }
    }
    assert!(faults.is_empty(), "\n{}\n\n{RULE}\n", faults.join("\n"));
}

#[test]
fn layers_know_nothing_of_the_gateway() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("layers/Cargo.toml");
    let mut files = sources("layers");
    files.push((
        PathBuf::from("Cargo.toml"),
        fs::read_to_string(manifest).unwrap(),
    ));
    for (path, text) in files {
        let is_word = |c: char| !c.is_alphanumeric() && c != '_' && c != '-';
        let foreign = [
            "hcl",
            "hcl-edit",
            "hcl_edit",
            "clap",
            "a3s-gateway",
            "a3s_gateway",
        ];
        let found = text.split(is_word).find(|word| foreign.contains(word));
        assert_eq!(found, None, "\nlayers/{}\n\n{RULE}\n", path.display());
    }
}

#[test]
fn what_is_imported_is_seen_in_every_form() {
    let seen = |path: &str, text: &str| imports(&module(Path::new(path)), text).join(" ");
    assert_eq!(
        seen("a/b.rs", "use crate::x::{Y, z};\nlet t = crate::w::T;"),
        "x w"
    );
    assert_eq!(
        seen("a/b.rs", "use crate::{\n    x::{Y, z},\n    w,\n};"),
        "x w"
    );
    assert_eq!(
        seen("a/b.rs", "use super::x;\nuse super::super::y::Z;"),
        "y"
    );
    assert_eq!(seen("a/mod.rs", "use super::x;\n// crate::not::this"), "x");
    assert_eq!(
        seen(
            "a.rs",
            "mod tests {\n    use super::*;\n    use super::super::y;\n}\nuse super::z;"
        ),
        "y z"
    );
}
