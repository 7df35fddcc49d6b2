//! `validate`: what a start would check, without a start.

use super::{Exit, Format};
use a3s_gateway::config::{Loaded, Source, load};
use std::fs::File;

pub(super) fn validate(source: &Source, format: Format, deny_warnings: bool) -> Exit {
    let loaded = match read(source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let diagnostics = &loaded.diagnostics;
    match format {
        Format::Text => diagnostics.print(),
        Format::Json => println!("{:#}", diagnostics.to_json()),
        Format::Sarif => println!("{:#}", diagnostics.to_sarif()),
    }
    let Some(config) = loaded.config else {
        return Exit::Failed;
    };
    // What only compiling finds: files that the configuration names.
    if let Err(error) = a3s_gateway::Gateway::validate(&config) {
        eprintln!("error: {error}");
        return Exit::Failed;
    }
    if deny_warnings && !loaded.diagnostics.is_empty() {
        return Exit::Failed;
    }
    if matches!(format, Format::Text) {
        println!(
            "{} is valid: {} entrypoints, {} routers, {} services",
            source.path.display(),
            config.entrypoints.len(),
            config.routers.len(),
            config.services.len()
        );
    }
    Exit::Done
}

/// Loads a configuration that can be read at all.
pub(super) fn read(source: &Source) -> Result<Loaded, Exit> {
    let path = &source.path;
    let opened = match path.is_dir() {
        true => std::fs::read_dir(path).map(drop),
        false => File::open(path).map(drop),
    };
    if let Err(error) = opened {
        eprintln!("error: {}: {error}", path.display());
        return Err(Exit::Unreadable);
    }
    Ok(load(source))
}
