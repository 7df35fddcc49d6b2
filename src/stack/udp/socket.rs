//! The socket that clients send their datagrams to. It knows at which of its addresses it was asked, and answers from
//! there: a client takes an answer from elsewhere for somebody else's.

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage,
    recvmsg, sendmsg, setsockopt, sockopt,
};
use rustix::net::SendFlags;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Room for what the kernel says of a datagram, with some to spare: an `in6_pktinfo` and its head are 40 bytes.
const CONTROL: usize = 128;

/// A bound socket.
#[derive(Debug)]
pub struct ClientSocket {
    socket: UdpSocket,
    /// Whether it has several addresses, of which one was asked.
    has_many: Option<Family>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// That of an address which stands for all of them.
    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(ip) => ip.is_unspecified().then_some(Self::V4),
            IpAddr::V6(ip) => ip.is_unspecified().then_some(Self::V6),
        }
    }
}

/// A datagram that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Its length; it stands at the beginning of the buffer.
    pub length: usize,
    /// Who has sent it, as the socket has it.
    pub from: SocketAddr,
    /// Which address it was sent to, where the socket has several.
    pub to: Option<IpAddr>,
}

impl ClientSocket {
    /// Has the kernel note which address each datagram came to. To be said of a socket before it is bound to `address`:
    /// of those that have come it cannot be known any more.
    pub fn prepare(socket: &impl AsFd, address: IpAddr) -> io::Result<()> {
        match Family::of(address) {
            Some(Family::V4) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
            Some(Family::V6) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
            None => {}
        }
        Ok(())
    }

    /// A socket that is prepared and bound, on this thread's runtime.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            has_many: Family::of(socket.local_addr()?.ip()),
            socket: UdpSocket::from_std(socket)?,
        })
    }

    /// Waits until there may be a datagram.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Takes a datagram, if there is one.
    pub fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Arrived> {
        if self.has_many.is_none() {
            let (length, from) = self.socket.try_recv_from(buffer)?;
            let to = None;
            return Ok(Arrived { length, from, to });
        }
        self.socket.try_io(Interest::READABLE, || {
            let mut control = [0; CONTROL];
            let mut parts = [IoSliceMut::new(buffer)];
            let fd = self.socket.as_raw_fd();
            let flags = MsgFlags::empty();
            let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), flags)?;
            let from = message.address.as_ref().and_then(address);
            let from = from.ok_or(io::ErrorKind::InvalidData)?;
            let to = message.cmsgs()?.find_map(|control| match control {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    // The address of ours that it came to, which for a broadcast is not where it was sent.
                    Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into())
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into())
                }
                _ => None,
            });
            Ok(Arrived {
                length: message.bytes,
                from,
                to,
            })
        })
    }

    /// Sends a datagram to a client, from the address that it asked. It does not wait.
    pub fn try_send(
        &self,
        datagram: &[u8],
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> io::Result<()> {
        let (fd, parts) = (self.socket.as_raw_fd(), [IoSlice::new(datagram)]);
        let flags = MsgFlags::MSG_DONTWAIT;
        match (self.has_many, from, to) {
            (Some(Family::V4), Some(IpAddr::V4(from)), SocketAddr::V4(to)) => {
                let info = in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: in_addr {
                        s_addr: u32::from(from).to_be(),
                    },
                    ipi_addr: in_addr { s_addr: 0 },
                };
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                sendmsg(fd, &parts, &control, flags, Some(&SockaddrIn::from(to)))?;
            }
            (Some(Family::V6), Some(IpAddr::V6(from)), SocketAddr::V6(to)) => {
                let info = in6_pktinfo {
                    ipi6_addr: in6_addr {
                        s6_addr: from.octets(),
                    },
                    // That of the destination, where it has one (`sin6_scope_id`).
                    ipi6_ifindex: 0,
                };
                let control = [ControlMessage::Ipv6PacketInfo(&info)];
                sendmsg(fd, &parts, &control, flags, Some(&SockaddrIn6::from(to)))?;
            }
            _ => {
                rustix::net::sendto(&self.socket, datagram, SendFlags::DONTWAIT, &to)?;
            }
        }
        Ok(())
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in();
    let v4 = v4.map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| {
        let v6 = storage.as_sockaddr_in6()?;
        Some(SocketAddr::V6((*v6).into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(address: &str) -> std::net::UdpSocket {
        std::net::UdpSocket::bind(address).expect("a port of ours")
    }

    #[tokio::test]
    async fn it_answers_from_the_address_that_was_asked() {
        for (bind, asked, client) in [
            ("127.0.0.1:0", "127.0.0.1", "127.0.0.1:0"),
            ("0.0.0.0:0", "127.0.0.7", "127.0.0.2:0"),
            ("[::1]:0", "::1", "[::1]:0"),
            ("[::]:0", "::1", "[::1]:0"),
            // An IPv4 client of a socket that has both.
            ("[::]:0", "127.0.0.9", "127.0.0.2:0"),
        ] {
            let socket = bound(bind);
            let all = socket.local_addr().expect("an address").ip();
            ClientSocket::prepare(&socket, all).expect("an option");
            let port = socket.local_addr().expect("an address").port();
            let socket = ClientSocket::new(socket).expect("a socket");
            let asked = SocketAddr::new(asked.parse().expect("an address"), port);
            let client = bound(client);
            let timeout = std::time::Duration::from_secs(10);
            client.set_read_timeout(Some(timeout)).expect("an option");
            for words in [&b"question"[..], b""] {
                client.send_to(words, asked).expect("a way there");
                socket.readable().await.expect("a datagram");
                let mut buffer = [0; 64];
                let arrived = socket.try_receive(&mut buffer).expect("a datagram");
                assert_eq!(&buffer[..arrived.length], words, "{bind}");
                let local = client.local_addr().expect("an address");
                assert_eq!(arrived.from.ip().to_canonical(), local.ip());
                socket
                    .try_send(b"answer", arrived.from, arrived.to)
                    .expect("a way back");
                let (length, from) = client.recv_from(&mut buffer).expect("an answer");
                assert_eq!((&buffer[..length], from), (&b"answer"[..], asked), "{bind}");
            }
            let nothing = socket.try_receive(&mut [0]).map_err(|error| error.kind());
            assert_eq!(nothing, Err(io::ErrorKind::WouldBlock));
        }
    }
}
