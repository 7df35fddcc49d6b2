//! What the clients saw, added up.

use std::time::Duration;

#[derive(Default)]
pub struct Tally {
    pub requests: usize,
    pub bytes: usize,
    /// How long answers took; of streams, how long their first event took.
    pub micros: Vec<u64>,
    /// Answers that are not what was asked for.
    pub wrong: usize,
    /// Connections that broke, and what never got an answer.
    pub broken: usize,
    /// Datagrams that never came back.
    pub lost: usize,
    /// TLS handshakes that took up an earlier session.
    pub resumed: usize,
    /// The first of the failures, in words.
    pub why: Option<String>,
    pub elapsed: Duration,
}

pub struct Answer {
    pub bytes: usize,
    pub resumed: bool,
}

impl Answer {
    pub fn of(bytes: usize) -> Self {
        Self {
            bytes,
            resumed: false,
        }
    }
}

pub enum Failure {
    Wrong(String),
    /// No answer at all.
    Broken(String),
    Lost,
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<Failure> for Tally {
    /// Of a load that could not begin.
    fn from(failure: Failure) -> Self {
        let mut tally = Self::default();
        tally.failed(failure);
        tally
    }
}

impl Tally {
    pub fn answered(&mut self, answer: &Answer, took: Duration) {
        self.requests += 1;
        self.bytes += answer.bytes;
        self.resumed += usize::from(answer.resumed);
        self.micros.push(took.as_micros() as u64);
    }

    /// An event of a stream, `age` after it was sent.
    pub fn event(&mut self, bytes: usize, age: Duration) {
        if self.requests == 0 {
            self.micros.push(age.as_micros() as u64);
        }
        self.requests += 1;
        self.bytes += bytes;
    }

    pub fn failed(&mut self, failure: Failure) {
        let why = match failure {
            Failure::Lost => {
                self.lost += 1;
                return;
            }
            Failure::Wrong(why) => {
                self.wrong += 1;
                why
            }
            Failure::Broken(why) => {
                self.broken += 1;
                why
            }
        };
        self.why.get_or_insert(why);
    }

    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.micros.extend(other.micros);
        self.wrong += other.wrong;
        self.broken += other.broken;
        self.lost += other.lost;
        self.resumed += other.resumed;
        self.why = self.why.take().or(other.why);
    }

    /// The same fields as `pace` and `report.lua` print, and three of its own.
    pub fn json(mut self) -> String {
        self.micros.sort_unstable();
        let [p50, p99, max] = [0.50, 0.99, 1.0].map(|share| percentile(&self.micros, share));
        // Without what would have to be escaped.
        let is_plain = |c: &char| (' '..='~').contains(c) && !matches!(c, '"' | '\\');
        let why: String = self
            .why
            .iter()
            .flat_map(|why| why.chars())
            .filter(is_plain)
            .collect();
        format!(
            "{{\"requests\": {}, \"bytes\": {}, \"seconds\": {:.6}, \"bad_status\": {}, \"socket_errors\": {}, \
             \"p50_us\": {p50}, \"p99_us\": {p99}, \"max_us\": {max}, \
             \"lost\": {}, \"resumed\": {}, \"why\": \"{why}\"}}",
            self.requests,
            self.bytes,
            self.elapsed.as_secs_f64(),
            self.wrong,
            self.broken,
            self.lost,
            self.resumed,
        )
    }
}

fn percentile(sorted: &[u64], share: f64) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or(0)
}
