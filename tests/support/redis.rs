//! A Redis of a test's own: on a free port of 127.0.0.1, in a directory of its own, ended with the test.
//!
//! Debian's and Ubuntu's program is in `redis-tools`, under another name; installing that starts no service.

use super::tools;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The longest that a server may take to start.
const START: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Redis {
    child: Child,
    port: u16,
    args: Vec<String>,
    directory: TempDir,
}

impl Redis {
    /// Starts one with these arguments besides the usual ones, and waits until it answers.
    pub fn start(args: &[&str]) -> Self {
        let args: Vec<_> = args.iter().map(|&arg| arg.to_owned()).collect();
        let directory = tempfile::tempdir().unwrap();
        // Somebody may take a port before it does.
        for _ in 0..10 {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            if let Some(child) = spawn(port, &args, directory.path()) {
                return Self {
                    child,
                    port,
                    args,
                    directory,
                };
            }
        }
        panic!("no Redis starts");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it as the kernel does when memory is short.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after that, on the same port and empty.
    pub fn start_again(&mut self) {
        self.child = spawn(self.port, &self.args, self.directory.path()).expect("its port");
    }

    /// Stops it in its tracks: it is connected to, and answers nothing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("an id"), signal).expect("a process of ours");
    }

    /// Runs a command, as `KEYS *`. Its answer: a line, or the lines of an array.
    pub fn run(&self, command: &str) -> Vec<String> {
        ask(self.port, command).unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have been killed before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, args: &[String], directory: &Path) -> Option<Child> {
    let mut child = Command::new(program())
        .arg0("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
        .arg("--dir")
        .arg(directory)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("a program that runs");
    let start = Instant::now();
    while start.elapsed() < START {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if ask(port, "PING").is_ok() {
            return Some(child);
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn ask(port: u16, command: &str) -> io::Result<Vec<String>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(START))?;
    write!(stream, "{command}\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut line = || -> io::Result<String> {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.split_at_checked(1) {
            Some(("*" | "+" | "-" | ":", rest)) => Ok(rest.trim_end().to_owned()),
            Some(("$", length)) => {
                let length = length.trim_end().parse::<usize>();
                let mut text = vec![0; length.map_err(io::Error::other)? + 2];
                reader.read_exact(&mut text)?;
                let text = String::from_utf8_lossy(&text).into_owned();
                Ok(text.trim_end().to_owned())
            }
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    };
    let first = line()?;
    if !command.starts_with("KEYS") {
        return Ok(vec![first]);
    }
    let count: usize = first.parse().map_err(io::Error::other)?;
    (0..count).map(|_| line()).collect()
}

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        tools::find("redis-server")
            .unwrap_or_else(|| tools::program("redis-check-rdb", "redis-tools"))
    })
}
