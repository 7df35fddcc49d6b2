//! TCP: what is sent comes back.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Target;
use crate::load::Client;
use crate::message::{Message, SIZE};
use crate::tally::{Answer, Failure};

pub async fn serve(addr: &str) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

/// Nobody waits for a second write here: a first one goes out at once.
pub async fn dial(addr: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub struct Connected {
    stream: TcpStream,
    message: Message,
}

pub async fn connect(target: &Target<'_>, connections: usize) -> io::Result<Vec<Connected>> {
    let mut clients = Vec::with_capacity(connections);
    for index in 0..connections {
        clients.push(Connected {
            stream: dial(target.addr).await?,
            message: Message::of(index),
        });
    }
    Ok(clients)
}

impl Client for Connected {
    async fn exchange(&mut self) -> Result<Answer, Failure> {
        send_and_receive(&mut self.stream, &mut self.message).await
    }
}

/// A client with a new connection for each exchange.
pub struct Stranger {
    addr: String,
    message: Message,
}

pub fn strangers(target: &Target<'_>, connections: usize) -> Vec<Stranger> {
    let stranger = |index| Stranger {
        addr: target.addr.to_owned(),
        message: Message::of(index),
    };
    (0..connections).map(stranger).collect()
}

impl Client for Stranger {
    /// Ends when the proxy has closed its half as well, after ours.
    async fn exchange(&mut self) -> Result<Answer, Failure> {
        let mut stream = dial(&self.addr).await?;
        let answer = send_and_receive(&mut stream, &mut self.message).await?;
        stream.shutdown().await?;
        match stream.read(&mut [0]).await? {
            0 => Ok(answer),
            _ => Err(Failure::Wrong("more than the echo".to_owned())),
        }
    }
}

async fn send_and_receive(
    stream: &mut TcpStream,
    message: &mut Message,
) -> Result<Answer, Failure> {
    stream.write_all(message.next()).await?;
    let mut echo = [0; SIZE];
    stream.read_exact(&mut echo).await?;
    message.check(&echo)?;
    Ok(Answer::of(SIZE))
}
