//! `validate`: what a start would check, without a start.

use super::{Exit, Format, complain, say, say_json};
use a3s_gateway::config::{Loaded, Source, load};
use a3s_gateway::{Error, Gateway};
use std::fs::File;
use std::io;
use std::path::Path;

pub(super) fn validate(source: &Source, format: Format, deny_warnings: bool) -> Exit {
    let mut loaded = match read(source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    // What only compiling finds: whether the files that the configuration names are of use, and its own tests hold.
    match loaded.config.as_ref().map(Gateway::test) {
        Some(Ok(failed)) => loaded.diagnostics.extend(&failed),
        Some(Err(error)) => {
            let part = match &error {
                Error::Compile(error) => error.part(),
                _ => Vec::new(),
            };
            loaded.refuse(&part, error.to_string());
        }
        None => {}
    }
    let diagnostics = &loaded.diagnostics;
    match format {
        Format::Text => diagnostics.print(),
        Format::Json => say_json(&format!("{:#}", diagnostics.to_json())),
        Format::Sarif => say_json(&format!("{:#}", diagnostics.to_sarif())),
    }
    let Some(config) = loaded.config.filter(|_| !diagnostics.has_errors()) else {
        return Exit::Failed;
    };
    if deny_warnings && !diagnostics.is_empty() {
        complain(&"warnings are denied");
        return Exit::Failed;
    }
    if matches!(format, Format::Text) {
        say(&format!(
            "{} is valid (entrypoints: {}, routers: {}, services: {})",
            source.path.display(),
            config.entrypoints.len(),
            config.routers.len(),
            config.services.len()
        ));
    }
    Exit::Done
}

/// Loads a configuration that can be read at all.
pub(super) fn read(source: &Source) -> Result<Loaded, Exit> {
    let path = &source.path;
    if let Err(error) = open(path) {
        complain(&format!("{}: {error}", path.display()));
        return Err(Exit::Unreadable);
    }
    Ok(load(source).without_custom_types().without_unusable_files())
}

/// Never waits, as it would for the writer of a pipe.
fn open(path: &Path) -> io::Result<()> {
    let kind = path.metadata()?.file_type();
    if kind.is_dir() {
        return std::fs::read_dir(path).map(drop);
    }
    if !kind.is_file() {
        return Err(io::Error::other("neither a file nor a directory"));
    }
    File::open(path).map(drop)
}
