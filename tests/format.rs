//! `fmt`: files, directories and pipes in their canonical form, and this repository's own.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const RAGGED: &str = "# a comment\nentrypoints \"web\" {\n address=\":80\" # here\n}\n";
const CANONICAL: &str = "# a comment\nentrypoints \"web\" {\n  address = \":80\" # here\n}\n";

fn fmt(directory: &Path, args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_a3s-gateway"));
    command.arg("fmt").args(args).current_dir(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may have ended without reading.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// The exit status, and what was said on standard output.
fn told(output: &Output) -> (i32, String) {
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    (output.status.code().unwrap(), stdout)
}

#[test]
fn a_file_is_replaced_in_one_step_and_stays_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().join("real.hcl");
    let link = directory.path().join("gateway.hcl");
    fs::write(&real, RAGGED).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real.hcl", &link).unwrap();
    let before = fs::metadata(&real).unwrap().ino();

    let output = fmt(directory.path(), &[], "");
    assert_eq!(told(&output), (0, "gateway.hcl\n".to_owned()), "{output:?}");
    assert_eq!(fs::read_to_string(&real).unwrap(), CANONICAL);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let metadata = fs::metadata(&real).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o640);
    assert_ne!(metadata.ino(), before, "it was written over");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);

    let output = fmt(directory.path(), &[], "");
    assert_eq!(told(&output), (0, String::new()), "nothing is left to do");
    assert_eq!(fs::metadata(&real).unwrap().ino(), metadata.ino());
}

#[test]
fn a_check_names_files_and_changes_none() {
    let directory = tempfile::tempdir().unwrap();
    let conf = directory.path().join("conf");
    fs::create_dir(&conf).unwrap();
    for (name, text) in [
        ("a.hcl", RAGGED),
        ("b.hcl", CANONICAL),
        ("c.hcl", RAGGED),
        (".hidden.hcl", RAGGED),
        ("d.txt", RAGGED),
    ] {
        fs::write(conf.join(name), text).unwrap();
    }
    let list = "conf/a.hcl\nconf/c.hcl\n".to_owned();
    let output = fmt(directory.path(), &["--check", "conf"], "");
    assert_eq!(told(&output), (1, list.clone()), "{output:?}");
    assert_eq!(fs::read_to_string(conf.join("a.hcl")).unwrap(), RAGGED);

    let output = fmt(directory.path(), &["--diff", "conf/a.hcl"], "");
    let diff = "--- conf/a.hcl\n+++ conf/a.hcl (formatted)\n@@ -1,4 +1,4 @@\n # a comment\n entrypoints \"web\" {\n- address=\":80\" # here\n+  address = \":80\" # here\n }\n";
    assert_eq!(told(&output), (0, diff.to_owned()));
    assert_eq!(fs::read_to_string(conf.join("a.hcl")).unwrap(), RAGGED);

    let output = fmt(directory.path(), &["conf"], "");
    assert_eq!(told(&output), (0, list));
    let output = fmt(directory.path(), &["--check", "conf"], "");
    assert_eq!(told(&output), (0, String::new()));
    let hidden = fs::read_to_string(conf.join(".hidden.hcl")).unwrap();
    assert_eq!(hidden, RAGGED, "no gateway reads it");
}

#[test]
fn a_pipe_goes_through() {
    let directory = tempfile::tempdir().unwrap();
    let output = fmt(directory.path(), &["-"], RAGGED);
    assert_eq!(told(&output), (0, CANONICAL.to_owned()));
    let output = fmt(directory.path(), &["--check", "-"], RAGGED);
    assert_eq!(told(&output), (1, "<stdin>\n".to_owned()));
    let output = fmt(directory.path(), &["--check", "-"], CANONICAL);
    assert_eq!(told(&output), (0, String::new()));
}

#[test]
fn what_cannot_be_formatted_is_told_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let broken = "a = 1\nb = = 2\n";
    fs::write(directory.path().join("broken.hcl"), broken).unwrap();
    fs::write(directory.path().join("good.hcl"), RAGGED).unwrap();
    fs::write(directory.path().join("latin.hcl"), b"# \xe9\n").unwrap();
    fs::write(directory.path().join("wide.hcl"), b"\xff\xfea\0").unwrap();

    let output = fmt(directory.path(), &["broken.hcl", "good.hcl"], "");
    assert_eq!(told(&output), (1, "good.hcl\n".to_owned()));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("broken.hcl:2:5"), "{stderr}");
    let text = fs::read_to_string(directory.path().join("broken.hcl"));
    assert_eq!(text.unwrap(), broken);

    for (args, words) in [
        (&["nowhere.hcl", "broken.hcl"][..], "No such file"),
        (&["latin.hcl"], "latin.hcl: line 1 is not UTF-8"),
        (&["wide.hcl"], "wide.hcl: it is UTF-16: save it as UTF-8"),
        (&["/dev/null"], "not a regular file"),
        (&["--no-such-option"], "--no-such-option"),
    ] {
        let output = fmt(directory.path(), args, "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?} {stderr}");
        assert!(stderr.contains(words), "{args:?} {stderr}");
    }
}

/// As `cargo fmt --check` says it of the code. To mend it: `a3s-gateway fmt FILE`, or what the failure shows.
#[test]
fn every_configuration_of_this_repository_is_in_the_canonical_form() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    for directory in ["", "docs", "examples", "tests/data"] {
        for entry in fs::read_dir(root.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let read = || fs::read_to_string(&path).unwrap();
            match path.extension().and_then(|extension| extension.to_str()) {
                // As others wrote it: it stands for what must be accepted.
                Some("hcl") if path.ends_with("tests/data/full.hcl") => {}
                Some("hcl") => texts.push((path.clone(), read())),
                Some("md") => {
                    let text = read();
                    let blocks = text.split("```hcl\n").skip(1);
                    let blocks = blocks.map(|block| block.split("```").next().unwrap().to_owned());
                    texts.extend(blocks.map(|block| (path.clone(), block)));
                }
                _ => {}
            }
        }
    }
    assert!(texts.len() > 60, "{}", texts.len());
    let wrong: Vec<String> = texts
        .iter()
        .filter_map(|(path, text)| {
            let output = fmt(root, &["--check", "--diff", "-"], text);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            (!output.status.success()).then(|| format!("{}: {said}", path.display()))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
