//! `fmt`: configurations in their canonical form.

mod diff;

use super::{Exit, complain, put, say};
use a3s_gateway::config::format;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// As large as a configuration may be.
const MAX_FILE: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct FormatArgs {
    /// Files, directories whose `*.hcl` are meant, or `-` for standard input.
    #[arg(value_name = "PATH", default_value = "gateway.hcl")]
    paths: Vec<PathBuf>,
    /// Write nothing: name the files that are not in the canonical form, and exit with 1 if there are any.
    #[arg(long)]
    check: bool,
    /// Write nothing: show what would change.
    #[arg(long)]
    diff: bool,
}

/// Goes through all of them, whatever is wrong with some.
pub(super) fn format_all(args: &FormatArgs) -> Exit {
    let mut worst = Exit::Done;
    for path in &args.paths {
        let exits = match files_of(path) {
            Ok(files) => files.iter().map(|file| format_one(file, args)).collect(),
            Err(error) => vec![unreadable(path, &error)],
        };
        let gravest = exits.into_iter().max_by_key(|exit| *exit as u8);
        if let Some(exit) = gravest.filter(|exit| *exit as u8 > worst as u8) {
            worst = exit;
        }
    }
    worst
}

fn unreadable(path: &Path, error: &io::Error) -> Exit {
    complain(&format_args!("{}: {error}", path.display()));
    Exit::Unreadable
}

/// The file, or those of a directory that a gateway would read, in the order of their names.
fn files_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|extension| extension == "hcl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn format_one(path: &Path, args: &FormatArgs) -> Exit {
    let is_stdin = path == Path::new("-");
    let name = if is_stdin { Path::new("<stdin>") } else { path };
    let before = match if is_stdin {
        read(io::stdin())
    } else {
        read_file(path)
    } {
        Ok(text) => text,
        Err(error) => return unreadable(name, &error),
    };
    let after = match format(name, &before) {
        Ok(text) => text,
        Err(problems) => {
            problems.print();
            return Exit::Failed;
        }
    };
    let is_formatted = before == after;
    if args.check && !is_formatted {
        say(&name.display().to_string());
    }
    if args.diff {
        put(diff::unified(name, &before, &after).as_bytes());
    }
    if args.check || args.diff {
        return match args.check && !is_formatted {
            true => Exit::Failed,
            false => Exit::Done,
        };
    }
    if is_stdin {
        put(after.as_bytes());
    } else if !is_formatted {
        if let Err(error) = replace(path, &after) {
            complain(&format_args!("{}: {error}", path.display()));
            return Exit::Failed;
        }
        say(&path.display().to_string());
    }
    Exit::Done
}

/// Asked before it is opened: to open a pipe waits for somebody at its other end.
fn read_file(path: &Path) -> io::Result<String> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    read(File::open(path)?)
}

fn read(input: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    input.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("larger than 64 MiB"));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(io::Error::other("it is UTF-16: save it as UTF-8"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        io::Error::other(format!("line {line} is not UTF-8"))
    })
}

/// Puts a new file in place of another in one step, so that nobody ever reads half of it. Its permissions stay; a link
/// stays one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = path.canonicalize()?;
    let permissions = path.metadata()?.permissions();
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&new)?;
        file.set_permissions(permissions)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)
    };
    let written = write();
    if written
        .as_ref()
        .is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists)
    {
        let _ = fs::remove_file(&new);
    }
    written
}
