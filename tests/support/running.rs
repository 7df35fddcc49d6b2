//! The command, as a process with a configuration in a file.

use super::{DEADLINE, eventually, within};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use tempfile::TempDir;

/// A gateway that runs as a process. It is killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    directory: TempDir,
    log: Arc<Mutex<Vec<String>>>,
}

/// The program under test: another one than the one built with the tests, where the environment names it.
fn program() -> PathBuf {
    std::env::var_os("A3S_GATEWAY_PROGRAM")
        .map_or_else(|| env!("CARGO_BIN_EXE_a3s-gateway").into(), PathBuf::from)
}

impl Process {
    /// Starts on a file with this text, and waits until the entrypoints listen that are named.
    pub async fn start(text: &str, entrypoints: &[&str]) -> Self {
        Self::start_with(text, entrypoints, &[]).await
    }

    /// The same, with more on its command line.
    pub async fn start_with(text: &str, entrypoints: &[&str], arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gateway.hcl");
        std::fs::write(&file, text).unwrap();
        let mut child = Command::new(program())
            .arg("--config")
            .arg(&file)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let sink = Arc::clone(&log);
        // It ends with the process.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        let process = Self {
            child,
            directory,
            log,
        };
        eventually("the gateway listens", || {
            let mut entrypoints = entrypoints.iter();
            entrypoints.all(|name| process.find_address(name).is_some())
        })
        .await;
        process
    }

    /// The file of its configuration.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("gateway.hcl")
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Whether it has logged a line with these words.
    pub fn has_logged(&self, words: &str) -> bool {
        self.log
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains(words))
    }

    /// Waits until it has logged a line with these words.
    pub async fn logs(&self, words: &str) {
        eventually(words, || self.has_logged(words)).await;
    }

    /// Where an entrypoint listens.
    pub fn address(&self, entrypoint: &str) -> SocketAddr {
        let address = self.find_address(entrypoint);
        address.unwrap_or_else(|| panic!("no address of {entrypoint} in {}", self.log()))
    }

    fn find_address(&self, entrypoint: &str) -> Option<SocketAddr> {
        let log = self.log.lock().unwrap();
        let mut lines = log.iter().rev();
        let found = lines.find_map(|line| {
            let (_, rest) = line.split_once(" listening entrypoint=")?;
            let (name, address) = rest.split_once(" address=")?;
            (name == entrypoint).then(|| address.trim().parse())
        })?;
        Some(found.expect("an address"))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("an id"), signal).expect("a process of ours");
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        within("the process ends", async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(DEADLINE / 2000).await;
            }
        })
        .await
    }

    /// Seconds of CPU that it has used so far.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // The name, in parentheses, may hold anything.
        let fields: Vec<_> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let ticks: f64 = fields[11..13]
            .iter()
            .map(|n| n.parse::<f64>().unwrap())
            .sum();
        // USER_HZ, which has been 100 for every program since Linux 2.6.
        ticks / 100.0
    }

    /// Bytes of its memory that are resident.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        kib * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.log());
        }
    }
}
