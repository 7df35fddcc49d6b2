//! A gateway, and what it is to do.

use super::client::Client;
use super::frames::Frames;
use super::wire::{Answer, End, Wire};
use super::within;
use a3s_gateway::Gateway;
use a3s_gateway::config::GatewayConfig;
use a3s_gateway::serve::listener::Bind;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use tokio::net::{TcpSocket, TcpStream};

/// A configuration in the making: the words of the HCL, as a tree.
#[derive(Debug, Clone)]
pub struct Setup {
    tree: Value,
    one_worker: bool,
}

/// A gateway that runs; it ends when dropped.
#[derive(Debug)]
pub struct TestGateway {
    gateway: Gateway,
    /// Where the entrypoint `web` listens.
    pub bind: Bind,
}

/// Makes a configuration of its words, by way of the text that an operator would write.
pub fn config(tree: &Value) -> GatewayConfig {
    let text = hcl(tree);
    GatewayConfig::from_hcl(&text).unwrap_or_else(|error| panic!("{error}\nin\n{text}"))
}

/// The same words in HCL, to be read or written to a file.
pub fn hcl(tree: &Value) -> String {
    let mut text = String::new();
    for (section, value) in tree.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(named) if named.values().all(Value::is_object) => {
                for (name, block) in named {
                    text += &format!("{section} \"{name}\" {{\n{}}}\n", attributes(block));
                }
            }
            _ => text += &attributes(&json!({ section: value })),
        }
    }
    text
}

fn attributes(tree: &Value) -> String {
    let entries = tree.as_object().into_iter().flatten();
    entries
        .map(|(name, value)| {
            // JSON is an expression of HCL, but for what would be a template.
            let value = format!("{value:#}")
                .replace("${", "$${")
                .replace("%{", "%%{");
            format!("{name} = {value}\n")
        })
        .collect()
}

/// A TCP connection.
pub async fn connect(address: SocketAddr) -> TcpStream {
    let stream = within("connecting", TcpStream::connect(address)).await;
    let stream = stream.expect("a connection");
    stream.set_nodelay(true).expect("an open socket");
    stream
}

/// A TCP connection from one of the addresses of loopback. It may be reset before the client knows of it.
pub async fn connect_from(ip: [u8; 4], address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((ip, 0).into()).expect("an address of loopback");
    within("connecting", socket.connect(address)).await
}

/// A port that nobody has, and that nobody is given while this is kept: a gateway can listen on it, because
/// both it and we share it (`SO_REUSEPORT`), and we do not listen.
#[derive(Debug)]
pub struct Port {
    pub number: u16,
    _held: socket2::Socket,
}

impl Port {
    /// One of 127.0.0.1.
    pub fn reserve() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket.set_reuse_address(true).expect("an option");
        socket.set_reuse_port(true).expect("an option");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("a port");
        let local = socket.local_addr().expect("an address").as_socket();
        Self {
            number: local.expect("an address of IPv4").port(),
            _held: socket,
        }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.number).into()
    }
}

impl Setup {
    /// An entrypoint `web` on a port of 127.0.0.1, and nothing behind it.
    pub fn new() -> Self {
        Self {
            tree: json!({ "entrypoints": { "web": { "address": "127.0.0.1:0" } } }),
            one_worker: true,
        }
    }

    /// As [`Setup::new`], with a router `all` for every request to the service `backend`, which is this server.
    pub fn to(url: impl Display) -> Self {
        Self::to_each([url])
    }

    /// As [`Setup::to`], with several servers.
    pub fn to_each(urls: impl IntoIterator<Item = impl Display>) -> Self {
        let servers = urls
            .into_iter()
            .map(|url| json!({ "url": url.to_string() }));
        let servers = Value::Array(servers.collect());
        Self::new()
            .route("all", "PathPrefix(`/`)", "backend")
            .balancer("servers", servers)
    }

    /// Sets the value at a path: `entrypoints/web/max_connections`.
    pub fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        let mut place = &mut self.tree;
        for key in path.split('/') {
            place = &mut place[key];
        }
        *place = value.into();
        self
    }

    /// Takes away what is at a path.
    pub fn without(mut self, path: &str) -> Self {
        let (place, key) = path.rsplit_once('/').expect("a path of several keys");
        let pointer = format!("/{place}");
        let place = self.tree.pointer_mut(&pointer).expect("something there");
        let place = place.as_object_mut().expect("a place with keys");
        place.shift_remove(key).expect("something to take away");
        self
    }

    /// Adds the admin API, on a listener of its own.
    pub fn admin(self) -> Self {
        self.set("admin/address", "127.0.0.1:0")
    }

    /// Sets one of the limits and timeouts of `web`.
    pub fn http(self, key: &str, value: impl Into<Value>) -> Self {
        self.set(&format!("entrypoints/web/http/{key}"), value)
    }

    /// Sets something of the load balancer of `backend`.
    pub fn balancer(self, key: &str, value: impl Into<Value>) -> Self {
        self.set(&format!("services/backend/load_balancer/{key}"), value)
    }

    /// Adds a service of one server.
    pub fn service(self, name: &str, url: impl Display) -> Self {
        let servers = json!([{ "url": url.to_string() }]);
        self.set(&format!("services/{name}/load_balancer/servers"), servers)
    }

    /// Adds a router.
    pub fn route(self, name: &str, rule: &str, service: &str) -> Self {
        let mut setup = self;
        setup.tree["routers"][name] = json!({ "rule": rule, "service": service });
        setup
    }

    /// Lets the gateway have a worker for each core. Otherwise it has one, so that every connection meets
    /// every other's upstream connections.
    pub fn with_all_workers(mut self) -> Self {
        self.one_worker = false;
        self
    }

    /// The configuration so far.
    pub fn config(&self) -> GatewayConfig {
        config(&self.tree)
    }

    /// The configuration so far, as a file would have it.
    pub fn text(&self) -> String {
        hcl(&self.tree)
    }

    /// Starts it.
    pub async fn start(&self) -> TestGateway {
        TestGateway::start(self.config(), self.one_worker).await
    }
}

impl Deref for TestGateway {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.gateway
    }
}

impl TestGateway {
    /// Starts a gateway that runs `config`, which has an entrypoint `web`.
    pub async fn start(config: GatewayConfig, one_worker: bool) -> Self {
        // As many workers as cores that the starting thread may use.
        let cores = sched_getaffinity(None).expect("a set of cores");
        if one_worker {
            let first = (0..CpuSet::MAX_CPU).find(|core| cores.is_set(*core));
            let mut one = CpuSet::new();
            one.set(first.expect("a core"));
            sched_setaffinity(None, &one).expect("a core of ours");
        }
        let gateway = Gateway::new(config).expect("a valid configuration");
        within("the gateway starts", gateway.start())
            .await
            .expect("a gateway");
        sched_setaffinity(None, &cores).expect("our cores");
        let bind = gateway.local_address("web").await.expect("an entrypoint");
        Self { gateway, bind }
    }

    /// Goes on with another configuration.
    pub async fn become_(&self, setup: &Setup) {
        let reload = self.gateway.reload(setup.config());
        within("a reload", reload).await.expect("a reload");
    }

    /// Where an entrypoint listens.
    pub async fn address_of(&self, entrypoint: &str) -> SocketAddr {
        match self.gateway.local_address(entrypoint).await {
            Some(Bind::Tcp(address) | Bind::Udp(address)) => address,
            other => panic!("{entrypoint} listens on {other:?}"),
        }
    }

    /// What the admin API says.
    pub async fn admin(&self, path: &str) -> Value {
        let address = self.address_of("admin@internal").await;
        let mut client = Client::admin(connect(address).await).await;
        let reply = client.get(path).await;
        serde_json::from_slice(&reply.body).unwrap_or_else(|_| panic!("{reply:?}"))
    }

    /// The value of a metric, as it is scraped: the sum of the series that have at least these labels; none where
    /// there are none.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let text = self.gateway.metrics();
        let found = text.lines().filter_map(|line| {
            let (there, value) = line.rsplit_once(' ')?;
            let (named, has) = there.split_once('{').unwrap_or((there, ""));
            let mut wanted = labels
                .trim_end_matches('}')
                .split("\",")
                .map(|label| label.trim_matches('"'));
            let has = |label: &str| has.contains(&format!("{label}\""));
            let is_it = named == name && (labels.is_empty() || wanted.all(has));
            is_it.then(|| value.parse::<f64>().expect("a number"))
        });
        found.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// Where `web` listens, as a client reaches it.
    pub fn address(&self) -> SocketAddr {
        match &self.bind {
            Bind::Tcp(address) | Bind::Udp(address) => *address,
            Bind::Unix(path) => panic!("{} has no port", path.display()),
        }
    }

    /// A TCP connection to `web`.
    pub async fn connect(&self) -> TcpStream {
        connect(self.address()).await
    }

    /// A client that writes bytes.
    pub async fn wire(&self) -> Wire {
        Wire::new(self.connect().await)
    }

    /// A client that keeps an HTTP/1.1 connection.
    pub async fn h1(&self) -> Client {
        Client::h1(self.connect().await).await
    }

    /// A client that keeps an HTTP/2 connection.
    pub async fn h2(&self) -> Client {
        Client::h2(self.connect().await).await
    }

    /// A client that writes HTTP/2 frames.
    pub async fn frames(&self) -> Frames {
        Frames::new(self.connect().await).await
    }

    /// Writes `bytes` on a new connection and reads one answer.
    pub async fn ask(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut wire = self.wire().await;
        let _ = wire.try_send(bytes).await;
        wire.answer().await
    }

    /// Writes `bytes` on a new connection, and reads one answer and whatever comes after it until the gateway
    /// closes.
    pub async fn ask_to_end(&self, bytes: impl AsRef<[u8]>) -> (Answer, Vec<u8>, End) {
        let mut wire = self.wire().await;
        let _ = wire.try_send(bytes).await;
        let answer = wire.answer().await;
        let (rest, end) = wire.rest().await;
        (answer, rest, end)
    }
}
