//! The command as a process, a server behind it, and a client: enough to see what an operator sees.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses its own part of it, and a test that fails may panic"
)]

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The longest that anything here waits for.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_a3s-gateway");

/// A process that is ended and reaped, at the latest when dropped.
#[derive(Debug)]
pub struct Process {
    child: Reaped,
    lines: Receiver<(Stream, String)>,
    pub stdout: String,
    pub stderr: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

/// Starts the gateway's command.
pub fn start(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Process {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    Process::spawn(&mut command)
}

/// Runs the gateway's command to its end.
pub fn run(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Process {
    let mut process = start(args);
    process.wait();
    process
}

/// Runs it on a configuration that the gateway goes on with.
pub fn serve(config: &Path) -> Process {
    start([OsStr::new("--config"), config.as_os_str()])
}

impl Process {
    pub fn spawn(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let command = command.stderr(Stdio::piped()).env_remove("JWT_SECRET");
        let mut child = command.spawn().unwrap();
        let (out, lines) = channel();
        let stdout = Box::new(child.stdout.take().unwrap());
        follow(stdout, Stream::Out, out.clone());
        follow(Box::new(child.stderr.take().unwrap()), Stream::Err, out);
        Self {
            child: Reaped(child),
            lines,
            stdout: String::new(),
            stderr: String::new(),
        }
    }

    fn next(&mut self, until: Instant) -> Option<String> {
        let left = until.saturating_duration_since(Instant::now());
        let (stream, line) = self.lines.recv_timeout(left).ok()?;
        let text = match stream {
            Stream::Out => &mut self.stdout,
            Stream::Err => &mut self.stderr,
        };
        text.push_str(&line);
        text.push('\n');
        Some(line)
    }

    /// Waits for a line with `words` in it.
    pub fn line(&mut self, words: &str) -> String {
        let until = Instant::now() + DEADLINE;
        while let Some(line) = self.next(until) {
            if line.contains(words) {
                return line;
            }
        }
        panic!("no line with `{words}` in\n{self}");
    }

    /// Waits for the start-up line of an entrypoint. It says where it listens.
    pub fn address(&mut self, entrypoint: &str) -> String {
        let line = self.line(&format!("listening entrypoint={entrypoint} "));
        let (_, address) = line.split_once("address=").unwrap();
        address.trim().to_owned()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.0.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits until it has ended by itself, and for all that it has said. Its exit status.
    pub fn wait(&mut self) -> i32 {
        let until = Instant::now() + DEADLINE;
        while self.next(until).is_some() {}
        loop {
            match self.child.0.try_wait().unwrap() {
                Some(status) => return status.code().unwrap_or(-1),
                None if Instant::now() > until => panic!("it does not end\n{self}"),
                None => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Ends it as an operator does.
    pub fn terminate(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stdout, stderr, .. } = self;
        write!(f, "--- stdout\n{stdout}--- stderr\n{stderr}---")
    }
}

/// A child that does not outlive its test.
#[derive(Debug)]
pub struct Reaped(pub Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // It may have ended long since.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn follow(stream: Box<dyn Read + Send>, which: Stream, out: Sender<(Stream, String)>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if out.send((which, line)).is_err() {
                return;
            }
        }
    });
}

/// A server that answers every request with its own name and the request line. It holds those for `/held` until
/// they are released.
#[derive(Debug)]
pub struct Backend {
    pub address: SocketAddr,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    arrived: AtomicUsize,
    is_open: AtomicBool,
}

impl Backend {
    pub fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new(Gate::default());
        let for_each = Arc::clone(&gate);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let gate = Arc::clone(&for_each);
                // A connection that breaks off is the end of its thread.
                thread::spawn(move || answer(name, &stream, &gate));
            }
        });
        Self { address, gate }
    }

    /// Waits until `count` requests are held.
    pub fn wait_for_held(&self, count: usize) {
        eventually("a request is held", || {
            self.gate.arrived.load(Relaxed) >= count
        });
    }

    pub fn release(&self) {
        self.gate.is_open.store(true, Relaxed);
    }
}

fn answer(name: &str, mut stream: &TcpStream, gate: &Gate) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(request) = lines.next().transpose()? {
        while lines
            .next()
            .transpose()?
            .is_some_and(|line| !line.is_empty())
        {}
        if request.contains("/held") {
            gate.arrived.fetch_add(1, Relaxed);
            eventually("it is released", || gate.is_open.load(Relaxed));
        }
        let body = format!("{name}: {request}");
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
    }
    Ok(())
}

/// Waits until `holds`.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// An answer, as it came.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Status line and header, in lower case.
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// `GET`, on a connection of its own.
pub fn get(address: impl ToSocketAddrs, path: &str) -> Reply {
    ask(address, "GET", path, &[])
}

/// Any request without a body, on a connection of its own. `Host` is `localhost` unless it is among the headers.
pub fn ask(address: impl ToSocketAddrs, method: &str, path: &str, headers: &[&str]) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let is_host = |header: &&str| header.to_lowercase().starts_with("host:");
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(is_host) {
        head += "Host: localhost\r\n";
    }
    for header in headers {
        head += &format!("{header}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    Reply {
        status: status.parse().unwrap(),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

/// A directory with a `gateway.hcl` in it.
pub fn file(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.hcl");
    fs::write(&path, text).unwrap();
    (directory, path)
}
