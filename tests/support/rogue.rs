//! A server that can be told to misbehave, to be killed, and to come back where it was.

use super::gateway::Port;
use socket2::{Domain, SockRef, Socket, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What a server does with the requests that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It answers, after a while.
    Well(Duration),
    /// It never answers, and keeps the connection.
    Hangs,
    /// It sends the head of an answer and half of its body, and resets the connection.
    Resets,
    /// It says what is not HTTP, or what nobody asked for.
    Rubbish,
}

/// A server on a port that stays its own. It ends when dropped; `{}` is its URL.
#[derive(Debug)]
pub struct Rogue {
    port: Port,
    shared: Arc<Shared>,
    running: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    name: &'static str,
    manner: Mutex<Manner>,
    requests: AtomicUsize,
    halves: AtomicUsize,
    under_way: AtomicUsize,
    holds: watch::Sender<bool>,
}

impl fmt::Display for Rogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.port.address())
    }
}

impl Rogue {
    /// One that answers with `name`, the path, and the body that came with it, after so long.
    pub fn start(name: &'static str, after: Duration) -> Self {
        let mut rogue = Self {
            port: Port::reserve(),
            shared: Arc::new(Shared {
                name,
                manner: Mutex::new(Manner::Well(after)),
                requests: AtomicUsize::new(0),
                halves: AtomicUsize::new(0),
                under_way: AtomicUsize::new(0),
                holds: watch::Sender::new(true),
            }),
            running: None,
        };
        rogue.come_back();
        rogue
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.shared.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// From now on it does so with each request that it reads.
    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// Ends as a process that is killed does: its sockets are closed, whatever is on them.
    pub async fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
    }

    /// Listens again, where it did before.
    pub fn come_back(&mut self) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.bind(&self.address().into()).expect("a port of ours");
        socket.listen(1024).unwrap();
        let listener = TcpListener::from_std(socket.into()).unwrap();
        let shared = Arc::clone(&self.shared);
        self.running = Some(tokio::spawn(async move {
            // Dropped with the task, and all connections with it.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let shared = Arc::clone(&shared);
                connections.spawn(async move { drop(shared.talk(stream).await) });
                while connections.try_join_next().is_some() {}
            }
        }));
    }

    /// Sends the rest of the answers for [`HELD`].
    pub fn release(&self) {
        self.shared.holds.send_replace(false);
    }

    /// Requests so far, but for those that only ask how it is.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Answers so far that it broke off in the midst of their bodies.
    pub fn halves(&self) -> usize {
        self.shared.halves.load(Ordering::SeqCst)
    }

    /// Requests that it has read and not answered.
    pub fn under_way(&self) -> usize {
        self.shared.under_way.load(Ordering::SeqCst)
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}

/// The page that tells how a server is.
pub const HEALTH: &str = "/health";

/// The page whose answers have half a body until they are released.
pub const HELD: &str = "/held";

/// What is no answer, each in its way: no HTTP, a version of the future, two lengths, a switch to another protocol,
/// a field line without a name, an end after the status line.
const RUBBISH: [&[u8]; 6] = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 good morning \r\n\r\n",
    b"HTTP/9.9 200 OK\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: rubbish\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\n",
];

/// Counts a request until it is answered, or will never be.
struct UnderWay<'s>(&'s AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    async fn talk(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        while let Some((path, body)) = read(&mut stream).await? {
            self.under_way.fetch_add(1, Ordering::SeqCst);
            let _under_way = UnderWay(&self.under_way);
            let mut number = 0;
            if path != HEALTH {
                number = self.requests.fetch_add(1, Ordering::SeqCst);
            }
            let manner = *self.manner.lock().unwrap();
            let answer = format!("{} {path} {body}", self.name);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                answer.len()
            );
            match manner {
                Manner::Well(_) if path == HELD => {
                    let (half, rest) = answer.split_at(answer.len() / 2);
                    stream.write_all((head + half).as_bytes()).await?;
                    let _ = self.holds.subscribe().wait_for(|holds| !holds).await;
                    stream.write_all(rest.as_bytes()).await?;
                }
                Manner::Well(after) => {
                    tokio::time::sleep(after).await;
                    stream.write_all((head + &answer).as_bytes()).await?;
                }
                Manner::Hangs => {
                    let mut sink = [0; 64];
                    while stream.read(&mut sink).await? > 0 {}
                    return Ok(());
                }
                // Whoever asks how it is hears nothing bad: it is the kind of illness that only its users see.
                Manner::Resets if path == HEALTH => {
                    stream.write_all((head + &answer).as_bytes()).await?;
                }
                Manner::Resets => {
                    self.halves.fetch_add(1, Ordering::SeqCst);
                    let half = &answer[..answer.len() / 2];
                    stream.write_all((head + half).as_bytes()).await?;
                    let stream = stream.into_inner();
                    return SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
                Manner::Rubbish => {
                    let rubbish = RUBBISH[number % RUBBISH.len()];
                    return stream.write_all(rubbish).await;
                }
            }
        }
        Ok(())
    }
}

/// Reads a request: its path, and its body if it says how long that is.
async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<(String, String)>> {
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        match line.split_once(": ") {
            _ if line.is_empty() => break,
            _ if path.is_empty() => path = line.split(' ').nth(1).unwrap_or_default().to_owned(),
            Some(("content-length", value)) => length = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some((path, String::from_utf8_lossy(&body).into_owned())))
}
