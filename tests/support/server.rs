//! Servers to forward to: one that speaks HTTP and remembers what it saw, and one whose every byte a test writes.

use super::eventually;
use super::wire::Wire;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A server on a port of the system's choice; it ends when dropped, and `{}` is its URL.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    log: Arc<Log>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Log {
    accepted: AtomicUsize,
    open: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
}

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its method.
    pub method: Method,
    /// Its target: with HTTP/2 the path and query.
    pub target: String,
    /// Its `Host`, or `:authority`.
    pub host: String,
    /// Its version.
    pub version: Version,
    /// Its header.
    pub headers: HeaderMap,
    /// What has come of its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
    /// How far its body has come.
    pub upload: Upload,
}

/// How far the body of a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upload {
    /// More may come.
    Running,
    /// It came to its end.
    Complete,
    /// It broke off, or the handler went away before its end.
    Broken,
}

impl Seen {
    /// The value of a field, lines of one name joined.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.address)
    }
}

impl Server {
    /// Answers each request with 200 and its target, once it has read all of it.
    pub async fn start() -> Self {
        Self::http(|request: Request<Recorded>| async move {
            let target = request.uri().path().to_owned();
            match http_body_util::BodyExt::collect(request.into_body()).await {
                Ok(_) => Response::new(Body::from(target)),
                Err(_) => Response::builder().status(400).body(Body::empty()).unwrap(),
            }
        })
        .await
    }

    /// Answers each request as `handler` does.
    pub async fn http<H, F>(handler: H) -> Self
    where
        H: Fn(Request<Recorded>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self::http_on(listener, handler)
    }

    /// As [`Server::http`], for those who connect to `listener`.
    pub fn http_on<H, F>(listener: TcpListener, handler: H) -> Self
    where
        H: Fn(Request<Recorded>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::accept_on(listener, "http", move |stream, log| {
            speak_http(stream, log, handler.clone())
        })
    }

    /// As [`Server::http`], over TLS.
    pub async fn https<H, F>(tls: rustls::ServerConfig, handler: H) -> Self
    where
        H: Fn(Request<Recorded>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        Self::accept("https", move |stream, log| {
            let (acceptor, handler) = (acceptor.clone(), handler.clone());
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    speak_http(stream, log, handler).await;
                }
            }
        })
        .await
    }

    /// Does with each connection what `talk` says; the number counts them from 0.
    pub async fn raw<T, F>(talk: T) -> Self
    where
        T: Fn(Wire, usize) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let number = AtomicUsize::new(0);
        Self::accept("http", move |stream, _| {
            talk(Wire::new(stream), number.fetch_add(1, Ordering::Relaxed))
        })
        .await
    }

    /// Answers each head with these bytes, and then closes.
    pub async fn says(answer: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::raw(move |mut wire, _| {
            let answer = Arc::clone(&answer);
            async move {
                if wire.try_head().await.is_some() {
                    let _ = wire.try_send((*answer).as_ref()).await;
                    let _ = wire.end().await;
                    wire.hang().await;
                }
            }
        })
        .await
    }

    /// As [`Server::http`], where another server was until now: it comes back.
    pub async fn http_at<H, F>(address: SocketAddr, handler: H) -> Self
    where
        H: Fn(Request<Recorded>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = super::within("the port is free", async {
            loop {
                match TcpListener::bind(address).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(2)).await,
                }
            }
        });
        Self::accept_on(listener.await, "http", move |stream, log| {
            speak_http(stream, log, handler.clone())
        })
    }

    async fn accept<T, F>(scheme: &'static str, talk: T) -> Self
    where
        T: Fn(TcpStream, Arc<Log>) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self::accept_on(listener, scheme, talk)
    }

    fn accept_on<T, F>(listener: TcpListener, scheme: &'static str, talk: T) -> Self
    where
        T: Fn(TcpStream, Arc<Log>) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().expect("an address");
        let log = Arc::new(Log::default());
        let accepting = Arc::clone(&log);
        let task = tokio::spawn(async move {
            // Dropped with the task, and all connections with it.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("an open socket");
                accepting.accepted.fetch_add(1, Ordering::SeqCst);
                accepting.open.fetch_add(1, Ordering::SeqCst);
                let open = Open(Arc::clone(&accepting));
                let talking = talk(stream, Arc::clone(&accepting));
                connections.spawn(async move {
                    let _open = open;
                    talking.await;
                });
            }
        });
        Self {
            address,
            scheme,
            log,
            task,
        }
    }

    /// The same server under another scheme.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.log.accepted.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.log.open.load(Ordering::SeqCst)
    }

    /// The requests seen so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.log.seen.lock().unwrap().clone()
    }

    /// How many requests it has seen.
    pub fn requests(&self) -> usize {
        self.log.seen.lock().unwrap().len()
    }

    /// The last request that it saw.
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("a request")
    }

    /// Waits until it has seen so many requests.
    pub async fn has_seen(&self, count: usize) {
        eventually("the server sees requests", || self.requests() >= count).await;
    }

    /// Waits until the upload of the last request is over, and tells how.
    pub async fn upload_over(&self) -> Upload {
        eventually("the upload is over", || {
            self.last().upload != Upload::Running
        })
        .await;
        self.last().upload
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Open(Arc<Log>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn speak_http<S, H, F>(stream: S, log: Arc<Log>, handler: H)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Recorded>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = handler(record(&log, request));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn record(log: &Arc<Log>, request: Request<Incoming>) -> Request<Recorded> {
    let (head, incoming) = request.into_parts();
    let authority = head.uri.authority().map(|authority| authority.to_string());
    let host = head
        .headers
        .get("host")
        .map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    let target = match (head.version, head.uri.path_and_query()) {
        (Version::HTTP_2, Some(path)) => path.to_string(),
        _ => head.uri.to_string(),
    };
    let is_over = http_body::Body::is_end_stream(&incoming);
    let mut seen = log.seen.lock().unwrap();
    seen.push(Seen {
        method: head.method.clone(),
        target,
        host: host.or(authority).unwrap_or_default(),
        version: head.version,
        headers: head.headers.clone(),
        body: Vec::new(),
        trailers: None,
        upload: if is_over {
            Upload::Complete
        } else {
            Upload::Running
        },
    });
    let body = Recorded {
        incoming,
        log: Arc::clone(log),
        index: seen.len() - 1,
    };
    Request::from_parts(head, body)
}

/// The body of a request, noted as it is read.
#[derive(Debug)]
pub struct Recorded {
    incoming: Incoming,
    log: Arc<Log>,
    index: usize,
}

/// More of a body than this is not kept.
const KEPT: usize = 1 << 20;

impl Recorded {
    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.log.seen.lock().unwrap()[self.index]);
    }
}

impl http_body::Body for Recorded {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        self.note(|seen| match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref()
                    && seen.body.len() < KEPT
                {
                    seen.body.extend_from_slice(data);
                }
                if let Some(trailers) = frame.trailers_ref() {
                    seen.trailers = Some(trailers.clone());
                }
            }
            Some(Err(_)) => seen.upload = Upload::Broken,
            None => seen.upload = Upload::Complete,
        });
        if self.incoming.is_end_stream() {
            self.note(|seen| seen.upload = Upload::Complete);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.note(|seen| {
            if seen.upload == Upload::Running {
                seen.upload = Upload::Broken;
            }
        });
    }
}
