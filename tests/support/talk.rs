//! Python's `websockets` as a client: what it is told to say, and what it heard.

use super::tools;
use super::within;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use tokio::sync::mpsc;

/// A client of a WebSocket. It is killed when dropped.
#[derive(Debug)]
pub struct Talk {
    child: Child,
    heard: mpsc::UnboundedReceiver<String>,
}

impl Talk {
    /// Connects, with these header lines, and waits until it knows whether it may: the first it hears is `open`, or
    /// `refused` and the status.
    pub fn begin(url: impl Display, headers: &[&str]) -> Self {
        let mut talk = tools::python("websocket_talk.py");
        talk.arg(url.to_string()).args(headers);
        Self::spawn(&mut talk)
    }

    /// Connects over TLS to a server that has a certificate of this authority.
    pub fn trusting(ca_file: &str, url: impl Display) -> Self {
        let mut talk = tools::python("websocket_talk.py");
        talk.arg(url.to_string()).env("SSL_CERT_FILE", ca_file);
        Self::spawn(&mut talk)
    }

    fn spawn(talk: &mut Command) -> Self {
        let mut child = talk
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a program that runs");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sink, heard) = mpsc::unbounded_channel();
        // It ends with the process.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sink.send(line);
            }
        });
        Self { child, heard }
    }

    /// Connects, which must succeed.
    pub async fn open(url: impl Display) -> Self {
        let mut talk = Self::begin(url, &[]);
        assert_eq!(talk.hears().await, "open");
        talk
    }

    /// Sends a text frame.
    pub fn say(&mut self, frame: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{frame}").expect("a client that runs");
    }

    /// The next frame, or the end.
    pub async fn hears(&mut self) -> String {
        let heard = within("hearing something", self.heard.recv()).await;
        heard.expect("a client that says what it hears")
    }

    /// Closes.
    pub fn close(&mut self) {
        self.child.stdin = None;
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
