//! Binding the sockets of an entrypoint of datagrams: one for each worker, at one address.
//!
//! The kernel hands each datagram to one of them, by a hash of who sends it and of where it goes (`SO_REUSEPORT`): the
//! datagrams of a client come to one worker as long as the sockets stay the same, and they do for as long as the
//! entrypoint is there.

use crate::stack::udp::ClientSocket;
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// The sockets of an entrypoint, bound and not read from yet.
#[derive(Debug)]
pub struct UdpListener {
    local: SocketAddr,
    sockets: Vec<UdpSocket>,
}

impl UdpListener {
    /// Binds so many sockets. `[::]` takes IPv4 as well.
    pub fn bind(address: SocketAddr, count: usize) -> io::Result<Self> {
        if is_taken(address) {
            tracing::warn!(%address, "somebody else listens here too, and gets a part of the clients");
        }
        let first = match bind(address) {
            // A machine without IPv6: "all addresses" are those of IPv4.
            Err(error)
                if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
                    && address.is_ipv6()
                    && address.ip().is_unspecified() =>
            {
                bind((Ipv4Addr::UNSPECIFIED, address.port()).into())?
            }
            bound => bound?,
        };
        // The first may have been given its port by the kernel.
        let local = first.local_addr()?;
        let mut sockets = vec![first];
        while sockets.len() < count {
            sockets.push(bind(local)?);
        }
        Ok(Self { local, sockets })
    }

    /// Where they listen, with the port that the kernel chose.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sockets.len()
    }

    /// One for each worker.
    pub fn into_sockets(self) -> Vec<UdpSocket> {
        self.sockets
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    // Among the ports that Linux chooses from for those who share theirs are those that others share already.
    let is_chosen = address.port() == 0;
    socket.set_reuse_port(!is_chosen)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    ClientSocket::prepare(&socket, address.ip())?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Whether an address is listened on already. With `SO_REUSEPORT` the kernel does not say.
fn is_taken(address: SocketAddr) -> bool {
    let bind = || {
        let probe = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        probe.bind(&address.into())
    };
    address.port() != 0 && bind().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}
