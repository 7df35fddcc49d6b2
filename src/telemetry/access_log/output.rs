//! Where lines are written: a file that may be moved away, a pipe, or standard output.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long it is waited for a reader before it is asked whether that is still wanted.
const PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// How long the last lines wait for a reader that takes none.
const LAST: Duration = Duration::from_secs(1);

/// What a pipe takes as a whole, or says that it has no room for (POSIX, `PIPE_BUF`): at least so much on Linux.
const PIPE: usize = 4_096;

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
    file: Option<Opened>,
    /// What has gone wrong and is not over.
    trouble: Option<ErrorKind>,
    /// Whether the last line has no end.
    is_torn: bool,
}

#[derive(Debug)]
struct Opened {
    file: File,
    /// A pipe is asked for room before it is written to: a write would wait for its reader, however long.
    is_pipe: bool,
}

impl Opened {
    fn of(target: &Target) -> io::Result<Self> {
        let file = target.open()?;
        let is_pipe = file.metadata()?.file_type().is_fifo();
        Ok(Self { file, is_pipe })
    }

    /// Writes some of it, or nothing where there is no room for a while.
    fn write(&mut self, lines: &[u8]) -> io::Result<Option<usize>> {
        if self.is_pipe && !self.has_room()? {
            return Ok(None);
        }
        let lines = if self.is_pipe { piece(lines) } else { lines };
        match self.file.write(lines) {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            Ok(written) => Ok(Some(written)),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Some(0)),
            // Somebody else may have set this for what we share with them.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.has_room().map(|has_room| has_room.then_some(0))
            }
            Err(error) => Err(error),
        }
    }

    fn has_room(&self) -> io::Result<bool> {
        let mut asked = [PollFd::new(&self.file, PollFlags::OUT)];
        match poll(&mut asked, Some(&PAUSE)) {
            Ok(0) | Err(Errno::INTR) => Ok(false),
            // To write to what has no reader any more says so.
            Ok(_) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// What a pipe takes at once, and, where that is possible, with whole lines: others may write to it as well.
fn piece(lines: &[u8]) -> &[u8] {
    let most = &lines[..lines.len().min(PIPE)];
    match memchr::memrchr(b'\n', most) {
        Some(end) => &most[..=end],
        None => most,
    }
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
        let file = self.target.shown();
        match Opened::of(&self.target) {
            Ok(opened) => {
                self.file = Some(opened);
                self.is_torn = false;
                tracing::info!(%file, "the access log is opened anew");
            }
            // The next lines try it again, and say so.
            Err(_) if self.file.is_none() => {}
            Err(error) => tracing::error!(
                %file, %error,
                "the access log cannot be opened anew: lines go on to the file that is open"
            ),
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
        let opened = match &mut self.file {
            Some(opened) => opened,
            none => none.insert(Opened::of(&self.target).map_err(|error| (0, error))?),
        };
        // The end of a torn line is written first.
        let end: &[u8] = if self.is_torn { b"\n" } else { b"" };
        let (mut ended, mut written) = (0, 0);
        let mut moved = Instant::now();
        while ended < end.len() || written < lines.len() {
            let rest = match end.get(ended..) {
                Some(end) if !end.is_empty() => end,
                _ => &lines[written..],
            };
            match opened.write(rest) {
                Ok(Some(more)) if ended < end.len() => {
                    ended += more;
                    self.is_torn = ended < end.len();
                }
                Ok(Some(more)) => {
                    written += more;
                    if more > 0 {
                        moved = Instant::now();
                    }
                }
                Ok(None) if may_wait() || moved.elapsed() < LAST => {}
                Ok(None) => return Err((written, ErrorKind::TimedOut.into())),
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
