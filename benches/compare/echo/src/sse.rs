//! Server-sent events: many streams that wait, and what it takes until an event is there.

use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Buf, Bytes};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};

use crate::http::{self, Body};
use crate::tally::{Failure, Tally};
use crate::{Target, tcp};

/// How often each stream has an event.
const PERIOD: Duration = Duration::from_millis(100);
/// The streams take turns within a period: so many turns there are.
const TURNS: usize = 1_000;
/// How long the streams may take to open, all of them.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long events may still be under way when the time is over.
const GRACE: Duration = Duration::from_secs(5);
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// The streams of an upstream. They are silent until they are started, all at once.
#[derive(Default)]
pub struct Streams {
    started: watch::Sender<Option<Start>>,
    opened: std::sync::atomic::AtomicUsize,
}

#[derive(Clone, Copy)]
struct Start {
    at: Instant,
    events: u32,
}

impl Streams {
    pub fn open(&self) -> Response<Body> {
        let (sender, body) = Channel::new(1);
        let count = self
            .opened
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let turn = PERIOD * (count % TURNS) as u32 / TURNS as u32;
        tokio::spawn(send(sender, self.started.subscribe(), turn));
        let mut response = Response::new(body.boxed());
        response.headers_mut().insert(CONTENT_TYPE, EVENT_STREAM);
        response
    }

    pub fn start(&self, seconds: f64) {
        let at = Instant::now();
        let events = events(seconds);
        self.started.send_replace(Some(Start { at, events }));
    }
}

fn events(seconds: f64) -> u32 {
    (seconds / PERIOD.as_secs_f64()).round() as u32
}

/// The events of one stream, each with the moment at which it is sent.
async fn send(
    mut sender: Sender<Bytes>,
    mut started: watch::Receiver<Option<Start>>,
    turn: Duration,
) {
    if started.changed().await.is_err() {
        return;
    }
    let Some(start) = *started.borrow() else {
        return;
    };
    for count in 0..start.events {
        sleep_until((start.at + PERIOD * count + turn).into()).await;
        let event = format!("data: {}\n\n", now_micros());
        if sender.send_data(event.into()).await.is_err() {
            return;
        }
    }
}

pub async fn run(
    target: &Target<'_>,
    streams: usize,
    window: Duration,
    upstream: &str,
) -> Result<Tally, Failure> {
    let mut open = Vec::with_capacity(streams);
    let deadline = Instant::now() + PATIENCE;
    while open.len() < streams {
        let Ok(stream) = timeout_at(deadline.into(), open_one(target)).await else {
            let count = open.len();
            return Err(Failure::Broken(format!("{count} open after {PATIENCE:?}")));
        };
        open.push(stream?);
    }
    println!("OPEN");
    io::stdout().flush()?;
    // Nothing else is to be done meanwhile.
    io::stdin().read_line(&mut String::new())?;
    let start = Instant::now();
    let seconds = window.as_secs_f64();
    begin(upstream, seconds).await?;
    let mut tasks = JoinSet::new();
    for stream in open {
        tasks.spawn_local(follow(stream, events(seconds), start + window + GRACE));
    }
    let mut tally = Tally::default();
    for part in tasks.join_all().await {
        tally.add(part);
    }
    tally.elapsed = start.elapsed();
    Ok(tally)
}

/// Has the upstream start, without the proxy.
async fn begin(upstream: &str, seconds: f64) -> Result<(), Failure> {
    let mut sender = http::handshake(tcp::dial(upstream).await?).await?;
    let request = http::get(&format!("/start/{seconds}"), upstream).body(Empty::new())?;
    let status = sender.send_request(request).await?.status();
    match status {
        StatusCode::NO_CONTENT => Ok(()),
        _ => Err(Failure::Wrong(format!("the upstream answered {status}"))),
    }
}

/// A stream is open when its head is here, before any event.
async fn open_one(target: &Target<'_>) -> Result<Incoming, Failure> {
    let mut sender = http::handshake(tcp::dial(target.addr).await?).await?;
    let request = http::get("/events", target.host)
        .header(ACCEPT, EVENT_STREAM)
        .body(Empty::new())?;
    let response = sender.send_request(request).await?;
    let is_stream = response.headers().get(CONTENT_TYPE) == Some(&EVENT_STREAM);
    if response.status() != StatusCode::OK || !is_stream {
        return Err(Failure::Wrong(format!("answered {}", response.status())));
    }
    Ok(response.into_body())
}

/// Reads a stream to its end.
async fn follow(mut body: Incoming, expected: u32, deadline: Instant) -> Tally {
    let mut tally = Tally::default();
    let read = async {
        let mut line = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(mut data) = frame?.into_data() else {
                continue;
            };
            while data.has_remaining() {
                match data.get_u8() {
                    b'\n' => event(&mut tally, &std::mem::take(&mut line))?,
                    byte => line.push(byte),
                }
            }
        }
        Ok(())
    };
    match timeout_at(deadline.into(), read).await {
        Ok(Ok(())) if tally.requests == expected as usize => {}
        Ok(Ok(())) => tally.failed(Failure::Wrong("events are missing".to_owned())),
        Ok(Err(failure)) => tally.failed(failure),
        Err(_) => tally.failed(Failure::Broken("a stream that does not end".to_owned())),
    }
    tally
}

fn event(tally: &mut Tally, line: &[u8]) -> Result<(), Failure> {
    if line.is_empty() {
        return Ok(());
    }
    let sent = std::str::from_utf8(line)
        .ok()
        .and_then(|line| line.strip_prefix("data: ")?.parse().ok());
    let Some(sent) = sent else {
        return Err(Failure::Wrong("a line that is no event".to_owned()));
    };
    tally.event(
        line.len(),
        Duration::from_micros(now_micros().saturating_sub(sent)),
    );
    Ok(())
}

/// The upstream's clock and the client's are one: both run on this machine.
fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_micros() as u64
}
