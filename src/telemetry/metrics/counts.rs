//! The exchanges of one entrypoint, router or service.

use super::buckets::{BUCKETS, quantile};
use super::kind::{Kind, Spoken};
use super::slots::{Counted, Slots};
use crate::stack::reason;
use crate::stack::shard::{Sharded, Tally};
use a3s_layers::error::Failure;
use std::collections::BTreeMap;
use std::time::Duration;

/// What an exchange took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Took {
    /// From its beginning to the end of its answer.
    pub time: Duration,
    /// Bytes of the request.
    pub request_bytes: u64,
    /// Bytes of the answer.
    pub response_bytes: u64,
}

/// The exchanges of one entrypoint, router or service: those that are over by kind, and those that are under way.
#[derive(Debug)]
pub struct Counts {
    over: Sharded<Own>,
    in_flight: Tally<1>,
}

/// On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Own(Slots);

impl Counts {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            over: Sharded::of(shards),
            in_flight: Tally::of(shards),
        }
    }

    /// An exchange begins.
    pub fn begin(&self) {
        self.in_flight.add(0);
    }

    /// An exchange that has begun is over.
    pub fn end(&self, kind: Kind, took: &Took) {
        self.in_flight.take(0);
        self.over.own().0.count(kind, took);
    }

    /// Exchanges under way.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.sum(0)
    }

    /// What is over, by kind.
    pub fn counted(&self) -> BTreeMap<Kind, Counted> {
        let mut all = BTreeMap::new();
        for shard in self.over.iter() {
            shard.0.add_to(&mut all);
        }
        all
    }

    /// All of it in a few numbers.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            in_flight: self.in_flight(),
            ..Totals::default()
        };
        let mut buckets = [0; BUCKETS];
        for (kind, counted) in self.counted() {
            totals.requests += counted.exchanges();
            let class = kind.code().map(|code| usize::from(code / 100));
            let class = class.and_then(|class| totals.by_class.get_mut(class.wrapping_sub(1)));
            if let Some(class) = class {
                *class += counted.exchanges();
            }
            // A stream takes as long as its client likes.
            if matches!(kind.spoken(), Spoken::Http | Spoken::Grpc) {
                for (sum, more) in buckets.iter_mut().zip(counted.buckets) {
                    *sum += more;
                }
            }
        }
        totals.latency = [0.5, 0.9, 0.99].map(|share| quantile(&buckets, share));
        totals
    }
}

/// The exchanges of one entrypoint, router or service in a few numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Those that are over.
    pub requests: u64,
    /// The same by class of status, 1xx first.
    pub by_class: [u64; 5],
    /// Those that are under way.
    pub in_flight: u64,
    /// Within which time the half, 90 % and 99 % of them were over, since the counts began; without WebSockets and
    /// streams of events.
    pub latency: [Option<Duration>; 3],
}

const CUT: usize = Failure::ALL.len();

/// The exchanges of a service, and what went wrong in them.
#[derive(Debug)]
pub struct ServiceCounts {
    /// Exchanges.
    pub exchanges: Counts,
    /// By what failed, and those of answers that broke off.
    failures: Tally<{ CUT + 1 }>,
    retries: Tally<1>,
}

impl ServiceCounts {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            exchanges: Counts::new(shards),
            failures: Tally::of(shards),
            retries: Tally::of(shards),
        }
    }

    /// An exchange failed.
    pub fn failed(&self, failure: Failure) {
        self.failures.add(failure as usize);
    }

    /// An answer broke off after its head.
    pub fn cut(&self) {
        self.failures.add(CUT);
    }

    /// A request was sent once more.
    pub fn retried(&self, times: u32) {
        if times > 0 {
            self.retries.add_all(0, times.into());
        }
    }

    /// Exchanges that failed, by the reason that the access log has for them.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let failed = Failure::ALL.map(|failure| (failure.reason(), failure as usize));
        let all = failed.into_iter().chain([(reason::RESPONSE_CUT, CUT)]);
        all.map(|(reason, index)| (reason, self.failures.sum(index)))
    }

    /// How often requests were sent once more.
    pub fn retries(&self) -> u64 {
        self.retries.sum(0)
    }
}

/// What a middleware made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It passed the request on.
    Passed,
    /// It refused it.
    Refused,
    /// It answered it.
    Answered,
    /// Its client went away meanwhile.
    Dropped,
}

impl Made {
    /// Each, in their order.
    pub const ALL: [Self; 4] = [Self::Passed, Self::Refused, Self::Answered, Self::Dropped];

    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Answered => "answered",
            Self::Dropped => "dropped",
        }
    }
}

/// What a middleware made of requests.
#[derive(Debug)]
pub struct MiddlewareCounts(Tally<{ Made::ALL.len() }>);

impl MiddlewareCounts {
    pub(super) fn new(shards: usize) -> Self {
        Self(Tally::of(shards))
    }

    /// One more.
    pub fn count(&self, made: Made) {
        self.0.add(made as usize);
    }

    /// All of them.
    pub fn made(&self) -> impl Iterator<Item = (Made, u64)> {
        Made::ALL
            .into_iter()
            .map(|made| (made, self.0.sum(made as usize)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Verb;
    use super::*;
    use crate::stack::shard::use_shard;
    use http::Method;

    fn kind(code: u16) -> Kind {
        Kind::new(code, Verb::of(&Method::GET), Spoken::Http)
    }

    #[test]
    fn to_count_what_was_counted_before_allocates_nothing() {
        let counts = Counts::new(2);
        let took = Took {
            time: Duration::from_millis(3),
            request_bytes: 1,
            response_bytes: 10,
        };
        let count = || {
            for code in 200..220 {
                counts.begin();
                counts.end(kind(code), &took);
            }
        };
        count();
        assert_eq!(allocation_counter::measure(count).count_total, 0);
        let counted = counts.counted();
        assert_eq!(counted.len(), 20);
        let one = &counted[&kind(207)];
        assert_eq!(
            (one.exchanges(), one.request_bytes, one.response_bytes),
            (2, 2, 20)
        );
    }

    #[test]
    fn there_are_so_many_kinds_and_the_rest_is_counted_as_others() {
        let counts = Counts::new(1);
        for code in 100..=999 {
            counts.begin();
            counts.end(kind(code), &Took::default());
        }
        counts.begin();
        counts.end(kind(150), &Took::default());
        let counted = counts.counted();
        assert_eq!(counted.len(), 253);
        assert_eq!(counted[&kind(150)].exchanges(), 2);
        assert_eq!(counted[&Kind::others(Spoken::Http)].exchanges(), 900 - 252);
        assert_eq!(counts.totals().requests, 901);
        assert_eq!(counts.in_flight(), 0);
    }

    #[test]
    fn workers_lose_no_count() {
        let counts = Counts::new(3);
        std::thread::scope(|scope| {
            // Two of them in one shard.
            for worker in 0..4 {
                let counts = &counts;
                scope.spawn(move || {
                    use_shard(worker);
                    for index in 0..10_000_u16 {
                        counts.begin();
                        counts.end(kind(200 + index % 40), &Took::default());
                    }
                });
            }
        });
        let totals = counts.totals();
        assert_eq!((totals.requests, totals.by_class[1]), (40_000, 40_000));
        assert_eq!(counts.counted().len(), 40);
    }
}
