//! A server that speaks enough of Redis to lie in it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What it says to a command of this name.
type Answers = dyn Fn(&str) -> Answer + Send + Sync;

pub enum Answer {
    Text(String),
    /// This, over and over.
    Endless(Vec<u8>),
}

impl From<&str> for Answer {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Ended with the test.
pub struct FakeRedis {
    address: SocketAddr,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    commands: Mutex<Vec<Vec<String>>>,
    sent: AtomicUsize,
    open: AtomicUsize,
}

impl FakeRedis {
    pub async fn start(answers: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let answers: Arc<Answers> = Arc::new(answers);
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answers) = (Arc::clone(&shared), Arc::clone(&answers));
                seen.open.fetch_add(1, Relaxed);
                connections.spawn(async move {
                    // Who is lied to may go at any time.
                    let _ = serve(stream, &seen, &*answers).await;
                    seen.open.fetch_sub(1, Relaxed);
                });
            }
        });
        Self {
            address,
            seen,
            _tasks: tasks,
        }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The commands that have come, with their arguments, but for those that introduce a client.
    pub fn commands(&self) -> Vec<Vec<String>> {
        let commands = self.seen.commands.lock().unwrap();
        let is_theirs = |command: &&Vec<String>| command[0] != "CLIENT";
        commands.iter().filter(is_theirs).cloned().collect()
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.seen.open.load(Relaxed)
    }

    /// Bytes that clients or their kernels have taken.
    pub fn sent(&self) -> usize {
        self.seen.sent.load(Relaxed)
    }
}

async fn serve(stream: TcpStream, seen: &Seen, answers: &Answers) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut command = Vec::new();
        for _ in 0..number(&mut stream).await? {
            let mut word = vec![0; number(&mut stream).await? + 2];
            stream.read_exact(&mut word).await?;
            word.truncate(word.len() - 2);
            command.push(String::from_utf8_lossy(&word).into_owned());
        }
        let name = command[0].clone();
        seen.commands.lock().unwrap().push(command);
        match answers(&name) {
            Answer::Text(text) => stream.write_all(text.as_bytes()).await?,
            Answer::Endless(text) => loop {
                let sent = stream.write(&text).await?;
                seen.sent.fetch_add(sent, Relaxed);
            },
        }
    }
}

/// The rest of a line behind its first byte.
async fn number(stream: &mut BufReader<TcpStream>) -> std::io::Result<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let number = line.trim_end().get(1..).map(str::parse);
    match number {
        Some(Ok(number)) => Ok(number),
        _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}
