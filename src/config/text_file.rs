//! Files that a middleware goes on reading: keys, users.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The largest file of keys or users.
const MAX_BYTES: u64 = 4 << 20;

/// Never waits, as it would for the writer of a pipe.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    let read = File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    if read as u64 > MAX_BYTES {
        return Err(io::Error::other("the file is larger than 4 MiB"));
    }
    Ok(text)
}
