//! Reads files from a disk that may hold anything: devices, pipes, files without an end.

use std::{fs, io, io::Read, path::Path, path::PathBuf};

/// The largest configuration file.
pub(crate) const MAX_CONFIG_FILE: u64 = 64 << 20;
/// The largest file that `file()` reads.
pub(crate) const MAX_VALUE_FILE: u64 = 1 << 20;

/// Why a file cannot be read, in words that are the same everywhere.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// The text of a regular file of at most `limit` bytes, without a byte order mark.
pub(crate) fn read(path: &Path, limit: u64) -> Result<String, String> {
    let error = |error: std::io::Error| reason(&error);
    // Asked before it is opened: to open a pipe waits for somebody at its other end.
    let metadata = fs::metadata(path).map_err(error)?;
    if metadata.is_dir() {
        return Err("it is a directory".to_owned());
    }
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(error)?;
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(error)?;
    if bytes.len() as u64 > limit {
        return Err(format!("it is larger than {} MiB", limit >> 20));
    }
    if [[0xff, 0xfe], [0xfe, 0xff]]
        .iter()
        .any(|mark| bytes.starts_with(mark))
    {
        return Err("it is UTF-16: save it as UTF-8".to_owned());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .split(|byte| *byte == b'\n')
            .count();
        format!("line {line} is not UTF-8")
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// The `*.hcl` of a directory, in the order of their names; hidden ones are left out, as editors leave them behind.
pub(crate) fn list(directory: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".hcl") && !name.starts_with('.') && !path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
