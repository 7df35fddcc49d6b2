//! A server's address, and a new connection to it.

use super::race::{by_turns, race};
use super::tls::TlsError;
use super::usage::Usage;
use crate::stack::proxy_header::{self, Addresses, Said, Version};
use crate::stack::{Raw, Request, Socket};
use a3s_layers::error::{Failure, UpstreamError};
use a3s_layers::peer::Client;
use http::uri::Authority;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;

/// What is spoken to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1 in the clear.
    Http,
    /// HTTP/2 in the clear, with prior knowledge.
    H2c,
    /// HTTP/2 or HTTP/1.1 over TLS, as the server likes.
    Https,
    /// Bytes, whatever they mean.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// At each of these addresses, which are the same server; the first is tried first.
    Addresses(Vec<SocketAddr>),
    /// At an address of this name, which the system is asked for with every connection.
    Name(String, u16),
    /// At a Unix socket.
    Unix(PathBuf),
}

/// One server as connections see it. Its pools live on the workers, and end with it.
#[derive(Debug)]
pub struct Origin {
    id: u64,
    /// Of which service it is, for the log.
    service: Arc<str>,
    scheme: Scheme,
    target: Target,
    /// Which of several addresses was reached last.
    reached: AtomicUsize,
    authority: Authority,
    connect_timeout: Duration,
    idle_timeout: Duration,
    tls: Option<Tls>,
    /// The version of the PROXY header that connections to it begin with.
    proxy_header: Option<Version>,
    speaks_h2: AtomicBool,
    usage: Arc<Usage>,
}

#[derive(Debug, Clone)]
struct Tls {
    config: Arc<rustls::ClientConfig>,
    /// The same without HTTP/2, made when it is first needed.
    h1: OnceLock<Arc<rustls::ClientConfig>>,
    name: ServerName<'static>,
}

impl Tls {
    fn h1(&self) -> &Arc<rustls::ClientConfig> {
        self.h1.get_or_init(|| {
            let mut config = rustls::ClientConfig::clone(&self.config);
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Arc::new(config)
        })
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Origin {
    /// A server at `target`, which `Host` calls `authority`. A new connection must be there within the first timeout,
    /// and an idle one is closed after the second. `tls` is there for [`Scheme::Https`]; its second half is the name
    /// to ask for and to verify.
    pub fn new(
        scheme: Scheme,
        target: Target,
        authority: &str,
        (connect_timeout, idle_timeout): (Duration, Duration),
        tls: Option<(Arc<rustls::ClientConfig>, &str)>,
    ) -> Result<Self, TlsError> {
        let authority = authority
            .parse()
            .map_err(|_| TlsError::Name(authority.to_owned()))?;
        let tls = match tls {
            Some((config, name)) => {
                let name = ServerName::try_from(name.to_owned())
                    .map_err(|_| TlsError::Name(name.to_owned()))?;
                let h1 = OnceLock::new();
                Some(Tls { config, h1, name })
            }
            None => None,
        };
        Ok(Self {
            id: next_id(),
            service: "".into(),
            scheme,
            target,
            reached: AtomicUsize::new(0),
            authority,
            connect_timeout,
            idle_timeout,
            tls,
            proxy_header: None,
            speaks_h2: AtomicBool::new(scheme == Scheme::H2c),
            usage: Arc::default(),
        })
    }

    /// Whether connections to it begin with a header of the PROXY protocol, and of which version.
    #[must_use]
    pub fn with_proxy_header(mut self, version: Option<Version>) -> Self {
        self.proxy_header = version;
        self
    }

    /// The same server, of a service of this name.
    pub fn of_service(self, service: Arc<str>) -> Self {
        Self { service, ..self }
    }

    /// A server that is reached in the same way, and listens at `target`.
    pub fn to(&self, target: Target) -> Self {
        Self {
            id: next_id(),
            service: Arc::clone(&self.service),
            scheme: self.scheme,
            target,
            reached: AtomicUsize::new(0),
            authority: self.authority.clone(),
            connect_timeout: self.connect_timeout,
            idle_timeout: self.idle_timeout,
            tls: self.tls.clone(),
            proxy_header: self.proxy_header,
            speaks_h2: AtomicBool::new(self.scheme == Scheme::H2c),
            usage: Arc::default(),
        }
    }

    /// The same server at another port, with connections of its own. A Unix socket has no port.
    pub(super) fn at_port(&self, port: u16) -> Self {
        let at = |address: &SocketAddr| {
            let mut address = *address;
            address.set_port(port);
            address
        };
        let target = match &self.target {
            Target::Addresses(addresses) => Target::Addresses(addresses.iter().map(at).collect()),
            Target::Name(name, _) => Target::Name(name.clone(), port),
            Target::Unix(path) => return self.to(Target::Unix(path.clone())),
        };
        let mut there = self.to(target);
        // What was an authority with one port is one with another.
        if let Ok(authority) = format!("{}:{port}", self.authority.host()).parse() {
            there.authority = authority;
        }
        there
    }

    /// How its connections of HTTP are used.
    pub fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// Whether HTTP is spoken to it.
    pub fn is_http(&self) -> bool {
        !matches!(self.scheme, Scheme::Tcp | Scheme::Udp)
    }

    /// Where it listens.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The service that it is of.
    pub(super) fn service(&self) -> &str {
        &self.service
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Whether its connections are each of one client.
    pub(super) fn has_owners(&self) -> bool {
        self.proxy_header.is_some()
    }

    /// Whose a connection is that carries this request: where that is told to the server.
    pub(super) fn owner_of(&self, request: &Request) -> Option<Box<Addresses>> {
        self.proxy_header?;
        let client = request.extensions().get::<Client>()?;
        Some(Box::new(Addresses {
            source: client.address(),
            destination: client.peer().local(),
        }))
    }

    /// How long a new connection may take.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// How long an idle connection is kept.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// What stands in `Host` when the client's is not kept.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// `https` or `http`, as HTTP/2's `:scheme`.
    pub(super) fn uri_scheme(&self) -> http::uri::Scheme {
        match self.scheme {
            Scheme::Https => http::uri::Scheme::HTTPS,
            Scheme::Http | Scheme::H2c | Scheme::Tcp | Scheme::Udp => http::uri::Scheme::HTTP,
        }
    }

    /// Whether its last connection turned out to speak HTTP/2.
    pub(super) fn speaks_h2(&self) -> bool {
        self.speaks_h2.load(Ordering::Relaxed)
    }

    /// Opens a connection for HTTP; the second half says whether it speaks HTTP/2.
    pub(super) async fn connect_http(
        &self,
        owner: Option<&Addresses>,
    ) -> Result<(TokioIo<Socket>, bool), UpstreamError> {
        let io = self.connect(owner).await?;
        let h2 = match &io {
            Socket::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
            Socket::Plain(_) => self.scheme == Scheme::H2c,
        };
        self.speaks_h2.store(h2, Ordering::Relaxed);
        Ok((TokioIo::new(io), h2))
    }

    /// Opens a connection for HTTP/1.1, the only one in which there are upgrades.
    pub(super) async fn connect_h1(
        &self,
        owner: Option<&Addresses>,
    ) -> Result<TokioIo<Socket>, UpstreamError> {
        if self.scheme == Scheme::H2c {
            return Err(Failure::NoUpgrade.into());
        }
        let config = self.tls.as_ref().map(Tls::h1);
        Ok(TokioIo::new(self.connect_as(config, owner).await?))
    }

    /// Opens a connection, for somebody or for ourselves.
    pub(super) async fn connect(&self, owner: Option<&Addresses>) -> Result<Socket, UpstreamError> {
        let config = self.tls.as_ref().map(|tls| &tls.config);
        self.connect_as(config, owner).await
    }

    async fn connect_as(
        &self,
        tls: Option<&Arc<rustls::ClientConfig>>,
        owner: Option<&Addresses>,
    ) -> Result<Socket, UpstreamError> {
        match tokio::time::timeout(self.connect_timeout, self.open(tls, owner)).await {
            Ok(Ok(io)) => Ok(io),
            Ok(Err(error)) if wants_h2(&error) => {
                Err(UpstreamError::new(Failure::NoUpgrade, error))
            }
            Ok(Err(error)) => Err(UpstreamError::new(Failure::Connect, error)),
            Err(_) => Err(Failure::ConnectTimeout.into()),
        }
    }

    async fn open(
        &self,
        tls: Option<&Arc<rustls::ClientConfig>>,
        owner: Option<&Addresses>,
    ) -> io::Result<Socket> {
        let mut stream = match &self.target {
            Target::Unix(path) => {
                let mut stream = connect_unix(path).await?;
                self.introduce(&mut stream, owner).await?;
                return Ok(stream.into());
            }
            Target::Addresses(addresses) => self.reach(addresses).await?,
            Target::Name(host, port) => {
                let found = lookup_host((&**host, *port)).await?;
                race(by_turns(found), TcpStream::connect).await?
            }
        };
        stream.set_nodelay(true)?;
        self.introduce(&mut stream, owner).await?;
        Ok(match self.tls.as_ref().zip(tls) {
            None => stream.into(),
            Some((Tls { name, .. }, config)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name.clone(), Raw::Tcp(stream));
                Socket::Tls(Box::new(stream.await?.into()))
            }
        })
    }

    /// Says whose a connection is, before anything else on it, where the server wants to know.
    async fn introduce(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        owner: Option<&Addresses>,
    ) -> io::Result<()> {
        let Some(version) = self.proxy_header else {
            return Ok(());
        };
        let said = owner.copied().map_or(Said::Itself, Said::Proxied);
        stream.write_all(&proxy_header::write(version, said)).await
    }

    /// Opens a socket for datagrams that is connected to it. Whether somebody is there is not known by that.
    pub(super) async fn connect_udp(&self) -> Result<UdpSocket, UpstreamError> {
        let found = match &self.target {
            Target::Addresses(addresses) => self.in_turn(addresses),
            Target::Name(host, port) => match lookup_host((&**host, *port)).await {
                Ok(found) => found.collect(),
                Err(error) => return Err(UpstreamError::new(Failure::Connect, error)),
            },
            Target::Unix(_) => Vec::new(),
        };
        let mut last = io::ErrorKind::AddrNotAvailable.into();
        for address in found {
            match open_udp(address) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(UpstreamError::new(Failure::Connect, last))
    }

    /// Where it was tried to be reached, it was not.
    pub(super) fn turn(&self) {
        self.reached.fetch_add(1, Ordering::Relaxed);
    }

    /// The addresses, the one that was reached last first.
    fn in_turn(&self, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let last = self.reached.load(Ordering::Relaxed) % addresses.len().max(1);
        let (before, from) = addresses.split_at(last);
        [from, before].concat()
    }

    /// Begins with the address that was reached last: where a family of addresses leads nowhere, only the first
    /// connection waits to find out.
    async fn reach(&self, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
        if let [only] = addresses {
            return TcpStream::connect(only).await;
        }
        let order = self.in_turn(addresses);
        let connect = |address| async move { Ok((TcpStream::connect(address).await?, address)) };
        let (stream, address) = race(order, connect).await?;
        let index = addresses.iter().position(|each| *each == address);
        self.reached
            .store(index.unwrap_or_default(), Ordering::Relaxed);
        Ok(stream)
    }
}

/// Whether a server has none of the protocols that it was offered over TLS. One that is offered both has one.
fn wants_h2(error: &io::Error) -> bool {
    use rustls::{AlertDescription, Error};
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    let none = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    error == Some(&none)
}

fn open_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// A Unix socket whose queue is full says so at once, where TCP would wait.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    const PAUSE: Duration = Duration::from_millis(5);
    loop {
        match UnixStream::connect(path).await {
            // Whoever waits for the connection says for how long.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}
