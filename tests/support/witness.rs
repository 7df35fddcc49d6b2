//! A program of others that runs beside a test.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Python takes its time to begin, and the first that needs it installs packages.
const PATIENCE: Duration = Duration::from_secs(120);

/// It is told things line by line, and answers so. It is killed when dropped.
#[derive(Debug)]
pub struct Witness {
    child: Child,
    input: Option<ChildStdin>,
    lines: UnboundedReceiver<String>,
}

impl Witness {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a program that runs");
        let (sender, lines) = unbounded_channel();
        let output = BufReader::new(child.stdout.take().expect("an output"));
        // It ends with the program.
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self {
            input: child.stdin.take(),
            child,
            lines,
        }
    }

    /// What it says next; none where it has ended.
    pub async fn line(&mut self) -> Option<String> {
        let line = tokio::time::timeout(PATIENCE, self.lines.recv()).await;
        line.expect("a line in time")
    }

    /// Waits until it says this.
    pub async fn says(&mut self, words: &str) {
        assert_eq!(self.line().await.as_deref(), Some(words));
    }

    /// Tells it something.
    pub fn tell(&mut self, words: &str) {
        let input = self.input.as_mut().expect("an input");
        writeln!(input, "{words}").expect("a program that listens");
    }

    /// Waits until it has ended, and has found everything as it should be.
    pub async fn ends_well(mut self) {
        while let Some(line) = self.line().await {
            println!("{line}");
        }
        let status = self.child.wait().expect("a program that ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
