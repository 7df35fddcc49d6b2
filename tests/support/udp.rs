//! Servers and clients of datagrams.

use super::within;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// A server that answers each datagram with its name and the datagram. Dropped, it is gone: whoever sends to it is
/// told so (ICMP).
#[derive(Debug)]
pub struct UdpServer {
    pub address: SocketAddr,
    heard: Arc<Mutex<HashMap<SocketAddr, usize>>>,
    _task: JoinSet<()>,
}

/// A client on a port of its own.
#[derive(Debug)]
pub struct UdpClient {
    socket: UdpSocket,
}

/// More than the longest datagram.
const BUFFER: usize = 1 << 16;

impl UdpServer {
    /// One that echoes, on 127.0.0.1.
    pub async fn echo(name: &'static str) -> Self {
        Self::echo_at("127.0.0.1:0", name).await
    }

    /// One that echoes, on this address.
    pub async fn echo_at(address: &str, name: &'static str) -> Self {
        let socket = UdpSocket::bind(address).await.expect("a port");
        Self::on(socket, move |datagram| {
            Some([name.as_bytes(), datagram].concat())
        })
        .await
    }

    /// One that answers as `answer` says.
    pub async fn on(
        socket: UdpSocket,
        answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let address = socket.local_addr().expect("an address");
        let heard = Arc::<Mutex<HashMap<SocketAddr, usize>>>::default();
        let seen = Arc::clone(&heard);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut buffer = vec![0; BUFFER];
            loop {
                // An error is that of a client who is gone.
                let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                    continue;
                };
                *seen.lock().unwrap().entry(from).or_default() += 1;
                if let Some(answer) = answer(&buffer[..length]) {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Self {
            address,
            heard,
            _task: task,
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("udp://{}", self.address)
    }

    /// Who has sent to it, and how often.
    pub fn heard(&self) -> HashMap<SocketAddr, usize> {
        self.heard.lock().unwrap().clone()
    }

    /// How many sockets have sent to it.
    pub fn sessions(&self) -> usize {
        self.heard.lock().unwrap().len()
    }

    /// How many datagrams it has heard.
    pub fn datagrams(&self) -> usize {
        self.heard.lock().unwrap().values().sum()
    }
}

impl UdpClient {
    /// A client at an address of this machine that sends to `server`, and hears nobody else.
    pub async fn at(ip: impl Into<IpAddr>, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((ip.into(), 0)).await.expect("a port");
        socket.connect(server).await.expect("a way there");
        Self { socket }
    }

    /// A client at the same loopback.
    pub async fn to(server: SocketAddr) -> Self {
        let ip: IpAddr = match server {
            SocketAddr::V4(_) => [127, 0, 0, 1].into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        Self::at(ip, server).await
    }

    /// Sends a datagram.
    pub async fn send(&self, datagram: &[u8]) {
        // The error, if there is one, is of an earlier datagram.
        if self.socket.send(datagram).await.is_err() {
            self.socket.send(datagram).await.expect("a way there");
        }
    }

    /// The next datagram.
    pub async fn hear(&self) -> Vec<u8> {
        within("an answer", async {
            loop {
                if let Some(answer) = self.receive().await {
                    return answer;
                }
            }
        })
        .await
    }

    async fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; BUFFER];
        let length = self.socket.recv(&mut buffer).await.ok()?;
        buffer.truncate(length);
        Some(buffer)
    }

    /// The answer to a datagram.
    pub async fn ask(&self, datagram: &[u8]) -> String {
        self.send(datagram).await;
        String::from_utf8(self.hear().await).expect("an answer in words")
    }

    /// Asks again and again until there is an answer: how a client of UDP lives with losses.
    pub async fn ask_until_answered(&self, datagram: &[u8]) -> (String, usize) {
        within("an answer", async {
            for asked in 1.. {
                self.send(datagram).await;
                let patience = std::time::Duration::from_millis(200);
                let answer = tokio::time::timeout(patience, self.receive()).await;
                if let Ok(Some(answer)) = answer {
                    return (String::from_utf8(answer).expect("words"), asked);
                }
            }
            unreachable!("it asks without end")
        })
        .await
    }
}
