//! Steady load: clients that keep their connections, ask without end, and look at every answer.

use super::connect;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What is asked, and which answers are right.
pub trait Question: Send + Sync + 'static {
    /// What is known when a request is sent.
    type Asked: Send;

    /// The path to ask for, by the number of the request.
    fn ask(&self, number: u64) -> (String, Self::Asked);

    /// Whether `body` is a right answer; otherwise what would be.
    fn check(&self, path: &str, asked: Self::Asked, body: &str) -> Result<(), String>;

    /// What is sent along: with something it is a `PUT`, and else a `GET`.
    fn upload(&self, _path: &str) -> Option<Bytes> {
        None
    }

    /// Whether an answer may break off after its head. Its client then goes on, on another connection if it has to. It
    /// may not even have seen the head, where that was not written before the end of it was known.
    fn may_break(&self) -> bool {
        false
    }
}

/// What a client does when it is told that its connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It opens another.
    Reconnects,
    /// It ends.
    Ends,
}

/// What came of the load.
#[derive(Debug, Default)]
pub struct Tally {
    /// Right answers.
    pub answered: AtomicU64,
    /// Connections that were opened.
    pub connections: AtomicU64,
    /// Times that a client was told that its connection ends.
    pub told: AtomicU64,
    /// Answers that broke off, and might.
    pub broken: AtomicU64,
    /// The longest that an answer took, in microseconds.
    pub slowest: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Tally {
    fn fail(&self, what: String) {
        self.failures.lock().unwrap().push(what);
    }

    fn count(&self, since: Instant) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(since.elapsed().as_micros()).unwrap();
        self.slowest.fetch_max(micros, Ordering::Relaxed);
    }

    /// Every answer was right, and no connection broke.
    pub fn is_clean(&self) {
        let failures = self.failures.lock().unwrap();
        let some: Vec<_> = failures.iter().take(10).collect();
        assert!(
            failures.is_empty(),
            "{} failures: {some:#?}",
            failures.len()
        );
    }

    /// The numbers.
    pub fn numbers(&self) -> String {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        format!(
            "{} right answers on {} connections ({} told to close), {} failures, slowest {:.1} ms",
            get(&self.answered),
            get(&self.connections),
            get(&self.told),
            self.failures.lock().unwrap().len(),
            get(&self.slowest) as f64 / 1000.0,
        )
    }
}

/// Clients that ask until they are told to stop.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    /// What came of it so far.
    pub tally: Arc<Tally>,
    clients: JoinSet<()>,
}

struct Asker<Q> {
    address: SocketAddr,
    told: Told,
    question: Arc<Q>,
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
}

impl<Q> Clone for Asker<Q> {
    fn clone(&self) -> Self {
        Self {
            question: Arc::clone(&self.question),
            stop: Arc::clone(&self.stop),
            tally: Arc::clone(&self.tally),
            ..*self
        }
    }
}

/// Between two requests of one client: the load is to be steady, not to take the machine.
const PAUSE: Duration = Duration::from_millis(1);

impl Load {
    /// So many clients with an HTTP/1.1 connection each, and one HTTP/2 connection with so many streams.
    pub async fn start<Q: Question>(
        address: SocketAddr,
        (h1, streams): (usize, usize),
        told: Told,
        question: Q,
    ) -> Self {
        let asker = Asker {
            address,
            told,
            question: Arc::new(question),
            stop: Arc::default(),
            tally: Arc::default(),
        };
        let mut clients = JoinSet::new();
        for number in 0..h1 {
            clients.spawn(asker.clone().over_h1(number as u64));
        }
        if streams > 0 {
            clients.spawn(asker.clone().over_h2(streams));
        }
        let load = Self {
            stop: asker.stop,
            tally: asker.tally,
            clients,
        };
        load.more(50 * (h1 + streams) as u64).await;
        load
    }

    /// Waits until so many more answers have come.
    pub async fn more(&self, answers: u64) {
        let from = self.tally.answered.load(Ordering::Relaxed);
        super::eventually("answers", || {
            self.tally.is_clean();
            self.tally.answered.load(Ordering::Relaxed) >= from + answers
        })
        .await;
    }

    /// Lets every client finish its request.
    pub async fn stop(self) -> Arc<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        self.ended().await
    }

    /// Waits until every client has ended by itself.
    pub async fn ended(self) -> Arc<Tally> {
        super::within("the clients end", self.clients.join_all()).await;
        self.tally
    }
}

impl<Q: Question> Asker<Q> {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    async fn connect(&self) -> TcpStream {
        self.tally.connections.fetch_add(1, Ordering::Relaxed);
        connect(self.address).await
    }

    /// Looks at an answer.
    fn check(&self, path: &str, asked: Q::Asked, status: StatusCode, body: &[u8], since: Instant) {
        let body = String::from_utf8_lossy(body);
        let checked = match status {
            StatusCode::OK => self.question.check(path, asked, &body),
            status => Err(format!("not {status}: {body}")),
        };
        match checked {
            Ok(()) => self.tally.count(since),
            Err(wrong) => self.tally.fail(format!("{path}: {body:?}: {wrong}")),
        }
    }

    fn request(&self, path: &str, target: &str) -> Request<Body> {
        let upload = self.question.upload(path);
        let method = match upload {
            Some(_) => Method::PUT,
            None => Method::GET,
        };
        let request = Request::builder().method(method).uri(target);
        let request = match target.starts_with('/') {
            true => request.header(HOST, "test.example"),
            false => request,
        };
        let body = upload.map_or_else(Body::empty, Body::from);
        request.body(body).unwrap()
    }

    /// An answer broke off. Whether it may.
    fn broke(&self, path: &str, error: &hyper::Error) -> bool {
        let may = self.question.may_break();
        match may {
            true => drop(self.tally.broken.fetch_add(1, Ordering::Relaxed)),
            false => self.tally.fail(format!("{path}: {error:?}")),
        }
        may
    }

    async fn over_h1(self, client: u64) {
        let mut number = client * 7919;
        while self.goes_on() {
            let io = TokioIo::new(self.connect().await);
            let (mut sender, connection) = http1::handshake(io).await.expect("a handshake");
            let mut driven = JoinSet::new();
            driven.spawn(connection);
            let mut is_told = false;
            while self.goes_on() && !is_told {
                number += 1;
                let (path, asked) = self.question.ask(number);
                let since = Instant::now();
                let request = self.request(&path, &path);
                if let Err(error) = sender.ready().await {
                    self.tally
                        .fail(format!("{path}: closed without a word: {error}"));
                    return;
                }
                let answer = async {
                    let response = sender.send_request(request).await?;
                    let (head, body) = response.into_parts();
                    Ok::<_, hyper::Error>((head, body.collect().await))
                };
                match super::within("an answer", answer).await {
                    Ok((_, Err(error))) | Err(error) => {
                        if self.broke(&path, &error) {
                            break;
                        }
                        return;
                    }
                    Ok((head, Ok(body))) => {
                        let body = body.to_bytes();
                        let closes = head.headers.get(CONNECTION);
                        is_told = closes.is_some_and(|value| value == "close");
                        self.check(&path, asked, head.status, &body, since);
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
            if is_told {
                self.tally.told.fetch_add(1, Ordering::Relaxed);
                if self.told == Told::Ends {
                    return;
                }
            }
        }
    }

    async fn over_h2(self, streams: usize) {
        while self.goes_on() {
            let handshake = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .handshake(TokioIo::new(self.connect().await));
            let (sender, connection) = handshake.await.expect("a handshake");
            let mut driven = JoinSet::new();
            driven.spawn(connection);
            let mut asking = JoinSet::new();
            for stream in 0..streams {
                asking.spawn(self.clone().on_stream(sender.clone(), stream as u64));
            }
            drop(sender);
            let told = asking.join_all().await.contains(&true);
            if told {
                self.tally.told.fetch_add(1, Ordering::Relaxed);
                // Not before every stream has ended does the gateway close it, and it does so without an error.
                match super::within("the connection ends", driven.join_next()).await {
                    Some(Ok(Ok(()))) => {}
                    ended => self.tally.fail(format!("HTTP/2: {ended:?}")),
                }
                if self.told == Told::Ends {
                    return;
                }
            }
        }
    }

    /// Asks one thing after the other. True where the connection takes no more streams.
    async fn on_stream(self, mut sender: http2::SendRequest<Body>, stream: u64) -> bool {
        let mut number = stream * 104_729;
        while self.goes_on() {
            number += 1;
            let (path, asked) = self.question.ask(number);
            let since = Instant::now();
            let request = self.request(&path, &format!("http://test.example{path}"));
            if sender.ready().await.is_err() {
                return true;
            }
            let answer = async {
                let response = match sender.try_send_request(request).await {
                    Ok(response) => response,
                    Err(mut error) => {
                        // GOAWAY came first: nothing was sent.
                        let unsent = error.take_message();
                        let error = error.into_error();
                        return unsent.map_or(Err(error), |_| Ok(None));
                    }
                };
                let (head, body) = response.into_parts();
                Ok(Some((head, body.collect().await)))
            };
            match super::within("an answer", answer).await {
                Ok(Some((head, Ok(body)))) => {
                    self.check(&path, asked, head.status, &body.to_bytes(), since);
                }
                Ok(Some((_, Err(error)))) | Err(error) => drop(self.broke(&path, &error)),
                Ok(None) => return true,
            }
            tokio::time::sleep(PAUSE).await;
        }
        false
    }
}
