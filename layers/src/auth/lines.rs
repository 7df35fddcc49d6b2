//! Files of credentials: one in a line, with comments.

use std::error::Error;
use std::fmt;

/// What is wrong with a line of a file. It never quotes the line, which may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineError<E> {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub error: E,
}

impl<E: fmt::Display> fmt::Display for LineError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.error)
    }
}

impl<E: Error> Error for LineError<E> {}

/// Reads the lines that are neither empty nor begin with `#`, without white space around them.
pub(super) fn read<E>(
    text: &str,
    mut read: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), LineError<E>> {
    let lines = text.trim_start_matches('\u{feff}').lines().zip(1..);
    for (text, line) in lines {
        let text = text.trim();
        if !text.is_empty() && !text.starts_with('#') {
            read(text).map_err(|error| LineError { line, error })?;
        }
    }
    Ok(())
}
