//! A DNS server whose answers a test changes.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// A DNS server on a port of 127.0.0.1, over UDP and TCP; it ends when dropped.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Zone {
    names: HashMap<String, Says>,
    asked: HashMap<String, usize>,
}

/// What it says of a name.
#[derive(Debug, Clone)]
pub enum Says {
    /// That it stands for these, for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// That there is no such name.
    NoName,
    /// That it has a problem of its own.
    Failure,
    /// The addresses of IPv4, and that it has a problem with those of IPv6.
    Half(Vec<IpAddr>),
    /// Nothing at all.
    Nothing,
}

const A: u16 = 1;
const AAAA: u16 = 28;

/// What does not fit is told over TCP.
const MAX_DATAGRAM: usize = 512;

impl Dns {
    /// A server that knows no name.
    pub async fn start() -> Self {
        let zone = Arc::<Mutex<Zone>>::default();
        // A port of UDP that is free for TCP as well.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
            let address = udp.local_addr().expect("an address");
            if let Ok(tcp) = TcpListener::bind(address).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(over_udp(udp, Arc::clone(&zone)));
        tasks.spawn(over_tcp(tcp, Arc::clone(&zone)));
        Self {
            address,
            zone,
            _tasks: tasks,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says this of a name from now on.
    pub fn says(&self, name: &str, says: Says) {
        self.zone.lock().unwrap().names.insert(name.into(), says);
    }

    /// Says from now on that a name stands for these, without a time to live.
    pub fn points<I: Into<IpAddr>>(&self, name: &str, addresses: impl IntoIterator<Item = I>) {
        let addresses = addresses.into_iter().map(Into::into).collect();
        self.says(name, Says::Addresses(addresses, 0));
    }

    /// How often it was asked for the addresses of IPv4 of a name.
    pub fn asked(&self, name: &str) -> usize {
        let zone = self.zone.lock().unwrap();
        zone.asked.get(name).copied().unwrap_or_default()
    }

    /// Waits until it has been asked so many more times.
    pub async fn is_asked(&self, name: &str, more: usize) {
        let before = self.asked(name);
        super::eventually("it is asked", || self.asked(name) >= before + more).await;
    }
}

async fn over_udp(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut question = [0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut question).await else {
            continue;
        };
        if let Some(answer) = answer(&question[..length], &zone, MAX_DATAGRAM) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn over_tcp(listener: TcpListener, zone: Arc<Mutex<Zone>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let zone = Arc::clone(&zone);
        connections.spawn(async move {
            let _ = talk(stream, &zone).await;
        });
    }
}

async fn talk(mut stream: TcpStream, zone: &Mutex<Zone>) -> std::io::Result<()> {
    loop {
        let mut question = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut question).await?;
        if let Some(answer) = answer(&question, zone, usize::from(u16::MAX)) {
            stream.write_u16(answer.len() as u16).await?;
            stream.write_all(&answer).await?;
        }
    }
}

/// The answer to a question (RFC 1035, 4), which may be none: what was meant for who had the port before is no
/// question.
fn answer(question: &[u8], zone: &Mutex<Zone>, max: usize) -> Option<Vec<u8>> {
    let (mut name, mut at) = (String::new(), 12);
    loop {
        let length = usize::from(*question.get(at)?);
        if length == 0 {
            break;
        }
        let end = at + 1 + length;
        let label = String::from_utf8_lossy(question.get(at + 1..end)?);
        name += &format!("{}{label}", if name.is_empty() { "" } else { "." });
        at = end;
    }
    name.make_ascii_lowercase();
    let asked = question.get(12..at + 5)?;
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let says = {
        let mut zone = zone.lock().unwrap();
        if kind == A {
            *zone.asked.entry(name.clone()).or_default() += 1;
        }
        zone.names.get(&name).cloned().unwrap_or(Says::NoName)
    };
    let (code, addresses, ttl) = match says {
        Says::Addresses(addresses, ttl) => (0, addresses, ttl),
        Says::NoName => (3, Vec::new(), 0),
        Says::Half(_) if kind == AAAA => (2, Vec::new(), 0),
        Says::Half(addresses) => (0, addresses, 0),
        Says::Failure => (2, Vec::new(), 0),
        Says::Nothing => return None,
    };
    let mut records = Vec::new();
    let mut count = 0u16;
    for address in addresses {
        let data = match address {
            IpAddr::V4(v4) if kind == A => v4.octets().to_vec(),
            IpAddr::V6(v6) if kind == AAAA => v6.octets().to_vec(),
            _ => continue,
        };
        count += 1;
        // The name of the question, the type, the class of the Internet.
        records.extend([0xc0, 12]);
        records.extend(kind.to_be_bytes());
        records.extend([0, 1]);
        records.extend(ttl.to_be_bytes());
        records.extend((data.len() as u16).to_be_bytes());
        records.extend(data);
    }
    let is_cut = 12 + asked.len() + records.len() > max;
    if is_cut {
        (count, records) = (0, Vec::new());
    }
    // An answer; recursion was desired and is available.
    let flags = [0x81 | if is_cut { 2 } else { 0 }, 0x80 | code];
    let mut answer = question[..2].to_vec();
    answer.extend(flags);
    answer.extend([0, 1]);
    answer.extend(count.to_be_bytes());
    answer.extend([0; 4]);
    answer.extend(asked);
    answer.extend(records);
    Some(answer)
}
