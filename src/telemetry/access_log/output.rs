//! Where lines are written: a file that may be moved away, a pipe, or standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a writer waits that may not block.
const PAUSE: Duration = Duration::from_millis(10);

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file, or a named pipe.
    File(PathBuf),
}

impl Target {
    /// Whether it looks as if it could be written to. Nothing is made.
    pub fn check(&self) -> io::Result<()> {
        let Self::File(path) = self else {
            return Ok(());
        };
        match path.metadata() {
            Ok(found) if found.is_dir() => Err(ErrorKind::IsADirectory.into()),
            // To open one may wait for a reader.
            Ok(found) if found.file_type().is_fifo() => Ok(()),
            Ok(_) => OpenOptions::new().append(true).open(path).map(drop),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let parent = path
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty());
                match parent.unwrap_or(Path::new(".")).metadata()?.is_dir() {
                    true => Ok(()),
                    false => Err(ErrorKind::NotADirectory.into()),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn open(&self) -> io::Result<File> {
        let path = match self {
            Self::Stdout => return Ok(io::stdout().as_fd().try_clone_to_owned()?.into()),
            Self::File(path) => path,
        };
        let is_fifo = path
            .metadata()
            .is_ok_and(|found| found.file_type().is_fifo());
        // A pipe that is open both ways needs no reader to be opened, and has no end that breaks.
        let mut options = OpenOptions::new();
        match is_fifo {
            true => options.read(true).write(true),
            false => options.append(true).create(true),
        };
        options.open(path)
    }

    fn shown(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Stdout => "standard output".into(),
            Self::File(path) => path.to_string_lossy(),
        }
    }
}

/// An open [`Target`].
#[derive(Debug)]
pub(super) struct Output {
    target: Target,
    file: Option<File>,
    /// What has gone wrong and is not over.
    trouble: Option<ErrorKind>,
    /// Whether the last line has no end.
    is_torn: bool,
}

impl Output {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            file: None,
            trouble: None,
            is_torn: false,
        }
    }

    /// Opens it anew: what was moved away gets no more lines.
    pub(super) fn reopen(&mut self) {
        match self.target.open() {
            Ok(file) => {
                self.file = Some(file);
                self.is_torn = false;
                tracing::info!(file = %self.target.shown(), "the access log is opened anew");
            }
            Err(error) => self.complain(&error),
        }
    }

    /// Writes lines; how many are lost, and whether something failed.
    pub(super) fn write(&mut self, lines: &[u8], may_wait: impl Fn() -> bool) -> (u64, bool) {
        match self.try_write(lines, may_wait) {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    let file = self.target.shown();
                    tracing::info!(%file, "the access log is written again");
                }
                (0, false)
            }
            Err((written, error)) => {
                self.complain(&error);
                if written > 0 {
                    self.is_torn = lines[written - 1] != b'\n';
                }
                let lost = memchr::memchr_iter(b'\n', &lines[written..]).count();
                (lost as u64, true)
            }
        }
    }

    fn try_write(
        &mut self,
        lines: &[u8],
        may_wait: impl Fn() -> bool,
    ) -> Result<(), (usize, io::Error)> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.target.open().map_err(|error| (0, error))?),
        };
        if self.is_torn {
            file.write_all(b"\n").map_err(|error| (0, error))?;
            self.is_torn = false;
        }
        let mut written = 0;
        while written < lines.len() {
            match file.write(&lines[written..]) {
                Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Somebody else may have set this for what we share with them.
                Err(error) if error.kind() == ErrorKind::WouldBlock && may_wait() => {
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }

    /// Once for each change.
    fn complain(&mut self, error: &io::Error) {
        if self.trouble.replace(error.kind()) != Some(error.kind()) {
            let file = self.target.shown();
            tracing::error!(%file, %error, "the access log cannot be written: its lines are lost");
        }
    }
}
