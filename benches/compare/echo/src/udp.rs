//! UDP: each datagram comes back to where it came from.

use std::io;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::Target;
use crate::load::Client;
use crate::message::{Message, SIZE};
use crate::tally::{Answer, Failure};

/// A datagram that is not back by now is lost.
const PATIENCE: Duration = Duration::from_secs(1);

pub async fn serve(addr: &str) -> io::Result<()> {
    let socket = UdpSocket::bind(addr).await?;
    let mut buffer = [0; 2 * SIZE];
    loop {
        // An error here is of a datagram before, whose receiver is gone.
        let Ok((count, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let _ = socket.send_to(&buffer[..count], from).await;
    }
}

pub struct Connected {
    socket: UdpSocket,
    message: Message,
    /// Datagrams that were given up, and may still come.
    given_up: usize,
}

pub async fn connect(target: &Target<'_>, connections: usize) -> io::Result<Vec<Connected>> {
    let mut clients = Vec::with_capacity(connections);
    for index in 0..connections {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(target.addr).await?;
        clients.push(Connected {
            socket,
            message: Message::of(index),
            given_up: 0,
        });
    }
    Ok(clients)
}

impl Client for Connected {
    async fn exchange(&mut self) -> Result<Answer, Failure> {
        self.socket.send(self.message.next()).await?;
        match timeout(PATIENCE, self.receive()).await {
            Ok(answer) => answer,
            Err(_) => {
                self.given_up += 1;
                Err(Failure::Lost)
            }
        }
    }
}

impl Connected {
    async fn receive(&mut self) -> Result<Answer, Failure> {
        let mut echo = [0; 2 * SIZE];
        loop {
            let count = self.socket.recv(&mut echo).await?;
            match self.message.check(&echo[..count]) {
                Ok(()) => return Ok(Answer::of(count)),
                Err(_) if self.given_up > 0 => self.given_up -= 1,
                Err(failure) => return Err(failure),
            }
        }
    }
}
