//! One keep-alive connection: a request, then its whole answer.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

pub struct Exchange {
    stream: TcpStream,
    began: Option<Instant>,
    buffer: Vec<u8>,
    filled: usize,
    /// Status and total length, once the head is here.
    head: Option<(u16, usize)>,
}

pub enum Answer {
    Partial,
    Whole {
        status: u16,
        bytes: usize,
        took: Duration,
    },
}

impl Exchange {
    pub fn connect(addr: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            began: None,
            buffer: vec![0; 128 * 1024],
            filled: 0,
            head: None,
        })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn is_under_way(&self) -> bool {
        self.began.is_some()
    }

    pub fn send(&mut self, request: &[u8], began: Instant) -> io::Result<()> {
        // A few hundred bytes into an empty socket buffer: they go at once or never.
        self.stream.write_all(request)?;
        self.began = Some(began);
        (self.filled, self.head) = (0, None);
        Ok(())
    }

    pub fn receive(&mut self) -> io::Result<Answer> {
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Answer::Partial),
            Err(error) => return Err(error),
        }
        if self.head.is_none() {
            let head = self.buffer[..self.filled]
                .windows(4)
                .position(|bytes| bytes == b"\r\n\r\n");
            let Some(end) = head.map(|at| at + 4) else {
                return Ok(Answer::Partial);
            };
            let (status, body) = parse(&self.buffer[..end]).ok_or(io::ErrorKind::InvalidData)?;
            self.head = Some((status, end + body));
        }
        match (self.head, self.began) {
            (Some((status, length)), Some(began)) if self.filled >= length => {
                self.began = None;
                Ok(Answer::Whole {
                    status,
                    bytes: self.filled,
                    took: began.elapsed(),
                })
            }
            (Some(_), Some(_)) => Ok(Answer::Partial),
            // Bytes that nobody asked for.
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The status and `Content-Length` of a response head.
fn parse(head: &[u8]) -> Option<(u16, usize)> {
    let head = std::str::from_utf8(head).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    })?;
    Some((status, length))
}
