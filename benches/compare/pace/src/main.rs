//! Sends HTTP/1.1 requests at a fixed rate and prints latency percentiles as one line of JSON.
//!
//! Usage: `pace ADDR HOST PATH RATE CONNECTIONS SECONDS`
//!
//! h2load paces too, but wakes all of its connections at the same instant, so that its p50 is the
//! time to drain a burst. Here the arrivals are one Poisson process, and each takes a connection
//! that is free. When none is, the request counts from the moment it fell due: a stall is charged
//! to every request that it delayed. A late wake-up of this program is not.

mod exchange;

use std::collections::VecDeque;
use std::error::Error;
use std::mem::MaybeUninit;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::process::exit;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll;

use exchange::{Answer, Exchange};

/// How long answers may still take when the last request was sent.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Tally {
    micros: Vec<u64>,
    bytes: usize,
    bad_status: usize,
    socket_errors: usize,
    /// Until the last answer: longer than asked for where the rate was too much.
    elapsed: Duration,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let tally = match run(&args) {
        Ok(tally) => tally,
        Err(error) => {
            eprintln!("pace: {error}; usage: pace ADDR HOST PATH RATE CONNECTIONS SECONDS");
            exit(2);
        }
    };
    let Tally {
        mut micros,
        bytes,
        bad_status,
        socket_errors,
        elapsed,
    } = tally;
    micros.sort_unstable();
    let [p50, p99, max] = [0.50, 0.99, 1.0].map(|share| percentile(&micros, share));
    println!(
        "RESULT {{\"requests\": {}, \"bytes\": {bytes}, \"seconds\": {:.6}, \"bad_status\": {bad_status}, \
         \"socket_errors\": {socket_errors}, \"p50_us\": {p50}, \"p99_us\": {p99}, \"max_us\": {max}}}",
        micros.len(),
        elapsed.as_secs_f64(),
    );
}

fn run(args: &[String]) -> Result<Tally, Box<dyn Error>> {
    let [addr, host, path, rate, connections, seconds] = args else {
        return Err("six arguments are needed".into());
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let window = Duration::from_secs_f64(seconds.parse()?);
    // The default slack of 50 µs would send requests in small groups.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    Pacer::connect(addr, connections.parse()?, request)?.run(Gaps::new(rate.parse()?), window)
}

struct Pacer {
    epoll: OwnedFd,
    request: String,
    exchanges: Vec<Exchange>,
    /// Connections without a request under way, the last used on top.
    free: Vec<usize>,
    /// Requests without a connection: when each began.
    waiting: VecDeque<Instant>,
    under_way: usize,
    tally: Tally,
}

impl Pacer {
    fn connect(addr: &str, connections: usize, request: String) -> Result<Self, Box<dyn Error>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut exchanges = Vec::with_capacity(connections);
        for index in 0..connections {
            let exchange = Exchange::connect(addr)?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, exchange.stream(), data, epoll::EventFlags::IN)?;
            exchanges.push(exchange);
        }
        Ok(Self {
            epoll,
            request,
            exchanges,
            free: (0..connections).collect(),
            waiting: VecDeque::new(),
            under_way: 0,
            tally: Tally::default(),
        })
    }

    fn run(mut self, mut gaps: Gaps, window: Duration) -> Result<Tally, Box<dyn Error>> {
        let mut events = [MaybeUninit::uninit(); 64];
        let start = Instant::now();
        let end = start + window;
        let mut due = start + gaps.next();
        loop {
            let now = Instant::now();
            while due <= now && due < end {
                let could_go = self.free.len() > self.waiting.len();
                self.waiting.push_back(if could_go { now } else { due });
                due += gaps.next();
            }
            self.send();
            let is_over = now >= end;
            let is_done = self.under_way == 0 || now >= end + GRACE;
            if is_over && is_done || self.tally.socket_errors >= self.exchanges.len() {
                break;
            }
            let until = if is_over { end + GRACE } else { due.min(end) };
            let timeout = Timespec::try_from(until.saturating_duration_since(Instant::now()))?;
            let (ready, _) = epoll::wait(&self.epoll, &mut events, Some(&timeout))?;
            for event in ready {
                self.receive(event.data.u64() as usize)?;
            }
        }
        // What never got an answer is an error too.
        self.tally.socket_errors += self.under_way;
        self.tally.elapsed = start.elapsed();
        Ok(self.tally)
    }

    fn send(&mut self) {
        while !self.waiting.is_empty()
            && let Some(index) = self.free.pop()
            && let Some(began) = self.waiting.pop_front()
        {
            match self.exchanges[index].send(self.request.as_bytes(), began) {
                Ok(()) => self.under_way += 1,
                Err(_) => self.tally.socket_errors += 1,
            }
        }
    }

    fn receive(&mut self, index: usize) -> Result<(), Box<dyn Error>> {
        match self.exchanges[index].receive() {
            Ok(Answer::Partial) => {}
            Ok(Answer::Whole {
                status,
                bytes,
                took,
            }) => {
                self.under_way -= 1;
                self.free.push(index);
                self.tally.bytes += bytes;
                self.tally.micros.push(took.as_micros() as u64);
                self.tally.bad_status += usize::from(!(200..300).contains(&status));
            }
            Err(_) => {
                self.under_way -= usize::from(self.exchanges[index].is_under_way());
                self.free.retain(|&other| other != index);
                epoll::delete(&self.epoll, self.exchanges[index].stream())?;
                self.tally.socket_errors += 1;
            }
        }
        Ok(())
    }
}

fn percentile(sorted: &[u64], share: f64) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or(0)
}

/// Exponential gaps between arrivals, the same in every run (xorshift64*, Vigna 2016).
struct Gaps {
    state: u64,
    mean: f64,
}

impl Gaps {
    fn new(rate: f64) -> Self {
        Self {
            state: 0x9E37_79B9_7F4A_7C15,
            mean: 1.0 / rate,
        }
    }

    fn next(&mut self) -> Duration {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let random = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D);
        let uniform = ((random >> 11) + 1) as f64 / (1u64 << 53) as f64;
        Duration::from_secs_f64(-self.mean * uniform.ln())
    }
}
