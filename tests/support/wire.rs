//! One end of a socket, byte by byte: for clients that say what no library would, and for servers that do.

use super::{DEADLINE, within};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A stream, and what was read of it and not yet looked at.
#[derive(Debug)]
pub struct Wire<S = TcpStream> {
    io: S,
    buffer: Vec<u8>,
}

/// How the other side ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As it should.
    Closed,
    /// With a reset.
    Reset,
}

/// An HTTP/1 message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The first line.
    pub line: String,
    /// The field lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, its framing taken off.
    pub body: Vec<u8>,
    /// The field lines after a chunked body.
    pub trailers: Vec<(String, String)>,
}

impl Answer {
    /// The status of a response.
    pub fn status(&self) -> u16 {
        let status = self.line.split(' ').nth(1);
        status
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("no status in {:?}", self.line))
    }

    /// The value of a field, lines of one name joined.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self
            .headers
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn parse(head: &[u8]) -> Self {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.split("\r\n");
        Self {
            line: lines.next().unwrap_or_default().to_owned(),
            headers: fields(lines),
            body: Vec::new(),
            trailers: Vec::new(),
        }
    }

    fn has_no_body(&self) -> bool {
        let status = self.line.split(' ').nth(1).unwrap_or_default();
        status.starts_with('1') || status == "204" || status == "304"
    }
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Talks over `io`.
    pub fn new(io: S) -> Self {
        Self {
            io,
            buffer: Vec::new(),
        }
    }

    /// Writes all of `bytes`.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the other side reads");
    }

    /// Writes all of `bytes`, if the other side lets it.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("writing", self.io.write_all(bytes.as_ref())).await?;
        self.io.flush().await
    }

    /// Says that nothing more will be sent.
    pub async fn end(&mut self) {
        self.io.shutdown().await.expect("an open socket");
    }

    /// Reads one head.
    pub async fn head(&mut self) -> Answer {
        self.try_head().await.expect("a head")
    }

    /// Reads one head; `None` where the other side ends before it has come.
    pub async fn try_head(&mut self) -> Option<Answer> {
        let head = self.until(b"\r\n\r\n").await?;
        Some(Answer::parse(&head[..head.len() - 4]))
    }

    /// Reads one response, its body and all.
    pub async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        if !answer.has_no_body() {
            self.body_of(&mut answer).await;
        }
        answer
    }

    /// Reads one request, its body and all; `None` where no other comes.
    pub async fn request(&mut self) -> Option<Answer> {
        let mut request = self.try_head().await?;
        let has_body = request.header("content-length").is_some()
            || request.header("transfer-encoding").is_some();
        if has_body {
            self.body_of(&mut request).await;
        }
        Some(request)
    }

    async fn body_of(&mut self, message: &mut Answer) {
        if message.header("transfer-encoding").is_some() {
            loop {
                let line = self.line().await;
                let size = usize::from_str_radix(line.split(';').next().unwrap().trim(), 16);
                let size = size.expect("a chunk size");
                if size == 0 {
                    break;
                }
                let chunk = self.exactly(size + 2).await;
                message.body.extend_from_slice(&chunk[..size]);
            }
            let mut trailers = Vec::new();
            loop {
                let line = self.line().await;
                if line.is_empty() {
                    break;
                }
                trailers.push(line);
            }
            message.trailers = fields(trailers.iter().map(String::as_str));
        } else if let Some(length) = message.header("content-length") {
            message.body = self.exactly(length.parse().expect("a length")).await;
        } else {
            message.body = self.rest().await.0;
        }
    }

    async fn line(&mut self) -> String {
        let line = self.until(b"\r\n").await.expect("a line");
        String::from_utf8_lossy(&line[..line.len() - 2]).into_owned()
    }

    /// Reads so many bytes.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            let read = self.more().await.expect("bytes");
            assert!(read > 0, "ended after {:?}", self.seen());
        }
        self.buffer.drain(..length).collect()
    }

    /// Reads one byte; `None` where the other side has ended.
    pub async fn try_byte(&mut self) -> Option<u8> {
        if self.buffer.is_empty() && !matches!(self.more().await, Ok(1..)) {
            return None;
        }
        Some(self.buffer.remove(0))
    }

    /// Reads to the end of `mark`; `None` where the other side ends before it has come.
    pub async fn until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self.buffer.windows(mark.len()).position(|w| w == mark);
            if let Some(at) = found {
                return Some(self.buffer.drain(..at + mark.len()).collect());
            }
            if !matches!(self.more().await, Ok(1..)) {
                return None;
            }
        }
    }

    /// Reads until the other side ends.
    pub async fn rest(&mut self) -> (Vec<u8>, End) {
        let end = loop {
            match self.more().await {
                Ok(0) => break End::Closed,
                Ok(_) => {}
                Err(_) => break End::Reset,
            }
        };
        (std::mem::take(&mut self.buffer), end)
    }

    /// Reads as much as comes within `patience`; true where the other side ended meanwhile.
    pub async fn listen(&mut self, patience: Duration) -> (Vec<u8>, bool) {
        let ended = tokio::time::timeout(patience, async {
            while matches!(self.io.read_buf(&mut self.buffer).await, Ok(1..)) {}
        });
        let ended = ended.await.is_ok();
        (std::mem::take(&mut self.buffer), ended)
    }

    /// Waits until the other side has ended, whatever it says before that.
    pub async fn ended(&mut self) {
        self.rest().await;
    }

    /// Keeps the connection open without a word until the other side ends.
    pub async fn hang(mut self) {
        let mut sink = [0; 1024];
        while matches!(self.io.read(&mut sink).await, Ok(1..)) {}
    }

    async fn more(&mut self) -> io::Result<usize> {
        match tokio::time::timeout(DEADLINE, self.io.read_buf(&mut self.buffer)).await {
            Ok(read) => read,
            Err(_) => panic!("nothing comes after {:?}", self.seen()),
        }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(2000)]).into_owned()
    }

    /// The stream, if nothing was read ahead.
    pub fn into_io(self) -> S {
        assert!(self.buffer.is_empty(), "read ahead");
        self.io
    }
}

impl Wire {
    /// Closes with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.io)
            .set_linger(Some(Duration::ZERO))
            .expect("an open socket");
    }
}
