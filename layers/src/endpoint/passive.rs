//! Passive health of one server: its errors in a row, and its ejections. [`Outlier`] decides by them.

use super::{Endpoint, Trouble};
use crate::error::Failure;
use crate::outlier::Outlier;
use http::StatusCode;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// What is kept of a server. Times are in milliseconds since it is known.
#[derive(Debug)]
pub(crate) struct Passive {
    born: Instant,
    /// A [`Course`]; 0 where nothing is wrong, and that is all that a good answer looks at.
    course: AtomicU64,
    ejections: AtomicU64,
    /// The errors in a row that are looked into; 0 where nobody does.
    threshold: AtomicU32,
    window: AtomicU64,
    /// How many times the first ejection's length the last one was, and when it ended.
    factor: AtomicU32,
    ended: AtomicU64,
    detector: Mutex<Weak<Outlier>>,
}

/// The errors of a server as they are packed into a word: 39 bits for the time (17 years), 1 for the last error, 10 for
/// the row, and 7 for each of the other counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Course {
    /// When the last row of errors began.
    since: u64,
    /// Whether the last that is known is that no connection came to be.
    is_of_connecting: bool,
    /// Errors in a row, without a good answer between them.
    row: u32,
    share: Share,
}

/// Errors among the last answers. They are counted from an error on, and both counts are halved when they are full:
/// when there are no errors left, nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Share {
    errors: u32,
    answers: u32,
}

const ROW_BITS: u32 = 10;
const SHARE_BITS: u32 = 7;
const ROW_MASK: u32 = (1 << ROW_BITS) - 1;
const SHARE_MASK: u32 = (1 << SHARE_BITS) - 1;
const TIME_SHIFT: u32 = 1 + ROW_BITS + 2 * SHARE_BITS;
const TIME_MASK: u64 = u64::MAX >> TIME_SHIFT;
const CONNECTING: u32 = 1 << (TIME_SHIFT - 1);
const FULL: u32 = 64;

/// No more errors in a row are counted.
const MAX_ROW: u32 = ROW_MASK;

impl Share {
    fn with(self, is_error: bool) -> Self {
        let (errors, answers) = (self.errors + u32::from(is_error), self.answers + 1);
        match answers < FULL {
            true => Self { errors, answers },
            false => Self {
                errors: errors / 2,
                answers: answers / 2,
            },
        }
    }

    /// Whether it is at least half as large as another one.
    pub(crate) fn is_like(self, other: Self) -> bool {
        self.errors > 0 && 2 * self.errors * other.answers >= other.errors * self.answers
    }
}

impl Course {
    fn unpack(word: u64) -> Self {
        let counts = word as u32;
        Self {
            since: word >> TIME_SHIFT,
            is_of_connecting: counts & CONNECTING != 0,
            row: (counts >> (2 * SHARE_BITS)) & ROW_MASK,
            share: Share {
                errors: (counts >> SHARE_BITS) & SHARE_MASK,
                answers: counts & SHARE_MASK,
            },
        }
    }

    fn pack(self) -> u64 {
        let Share { errors, answers } = self.share;
        let connecting = u32::from(self.is_of_connecting) * CONNECTING;
        let counts = connecting | (self.row << (2 * SHARE_BITS)) | (errors << SHARE_BITS) | answers;
        ((self.since & TIME_MASK) << TIME_SHIFT) | u64::from(counts)
    }

    fn is_older_than(self, time: u64, now: u64) -> bool {
        now.saturating_sub(self.since) > time
    }

    /// A row that lasts longer than the window begins anew.
    fn with_error(self, is_of_connecting: bool, now: u64, window: u64) -> Self {
        let is_first = self.row == 0 || self.is_older_than(window, now);
        Self {
            since: if is_first { now } else { self.since },
            is_of_connecting,
            row: match is_first {
                true => 1,
                false => (self.row + 1).min(MAX_ROW),
            },
            share: self.at(now, window).share.with(true),
        }
    }

    fn with_success(self) -> Self {
        let share = self.share.with(false);
        match share.errors {
            0 => Self::default(),
            _ => Self {
                since: self.since,
                is_of_connecting: false,
                row: 0,
                share,
            },
        }
    }

    /// What was long ago says nothing.
    fn at(self, now: u64, window: u64) -> Self {
        match self.is_older_than(window.saturating_mul(2), now) {
            true => Self::default(),
            false => self,
        }
    }
}

/// What a server did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It answered with an error of its own.
    Answer(StatusCode),
    /// There was no answer, or not all of it.
    Failure(Failure),
}

impl Fault {
    /// What an exchange that failed says of its server, if it says anything: that there is nobody to ask, or that
    /// the request was bad, is none of its faults, and a stream that has nothing to say for a while is not sick.
    pub(super) fn of(failure: Failure, is_begun: bool) -> Option<Self> {
        let is_fault = match failure {
            Failure::Connect | Failure::ConnectTimeout | Failure::Reset => true,
            Failure::ResponseTimeout => !is_begun,
            Failure::Unavailable | Failure::Overloaded => false,
            Failure::RequestBody | Failure::RequestTimeout | Failure::BodyTooLarge => false,
            Failure::NoUpgrade => false,
        };
        is_fault.then_some(Self::Failure(failure))
    }

    /// Whether it failed before anything was sent: no request can have been the reason.
    pub(crate) fn is_of_connecting(self) -> bool {
        matches!(
            self,
            Self::Failure(Failure::Connect | Failure::ConnectTimeout)
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(status) if status.is_server_error() => {
                write!(f, "status {}", status.as_u16())
            }
            Self::Answer(_) => f.write_str("grpc-status"),
            Self::Failure(failure) => f.write_str(failure.reason()),
        }
    }
}

impl Passive {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            course: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            threshold: AtomicU32::new(0),
            window: AtomicU64::new(0),
            factor: AtomicU32::new(0),
            ended: AtomicU64::new(0),
            detector: Mutex::default(),
        }
    }

    pub(super) fn now(&self) -> u64 {
        millis(self.born.elapsed())
    }

    pub(super) fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    pub(super) fn detector(&self) -> Option<Arc<Outlier>> {
        let detector = self.detector.lock();
        detector.unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    fn window(&self) -> u64 {
        self.window.load(Ordering::Relaxed)
    }

    fn course(&self) -> Course {
        Course::unpack(self.course.load(Ordering::Relaxed))
    }

    // Relaxed: the word decides nothing about other memory.
    fn change(&self, change: impl Fn(Course) -> Course) -> Course {
        let mut changed = Course::default();
        let _ = self
            .course
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                changed = change(Course::unpack(word));
                Some(changed.pack())
            });
        changed
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Endpoint {
    /// How often it has been ejected so far.
    pub fn ejections(&self) -> u64 {
        self.passive.ejections()
    }

    /// When its ejection ends by itself, if it is ejected.
    pub fn ejected_until(&self) -> Option<SystemTime> {
        SystemTime::now().checked_add(self.rest_of_ejection()?)
    }

    /// How long it stays ejected, if it is and that ends by itself.
    pub(crate) fn rest_of_ejection(&self) -> Option<Duration> {
        let until = self.troubles.ejected_until()?;
        let rest = until.checked_sub(self.passive.now())?;
        (rest > 0).then(|| Duration::from_millis(rest))
    }

    /// Its detector, if it is watched.
    pub(crate) fn detector(&self) -> Option<Arc<Outlier>> {
        self.passive.detector()
    }

    /// From now on `detector` hears of so many errors in a row within `window`; of 0 never.
    pub(crate) fn watch(&self, detector: &Arc<Outlier>, threshold: u32, window: Duration) {
        let passive = &self.passive;
        passive
            .threshold
            .store(threshold.min(MAX_ROW), Ordering::Relaxed);
        passive.window.store(millis(window), Ordering::Relaxed);
        let mut known = passive
            .detector
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known = Arc::downgrade(detector);
    }

    /// An exchange went well that began when there had been so many ejections.
    pub(super) fn succeeded(&self, began: u64) {
        if self.passive.course.load(Ordering::Relaxed) != 0 && began == self.ejections() {
            self.passive.change(Course::with_success);
        }
    }

    /// An exchange failed that began when there had been so many ejections. What began before the last one has had
    /// its say.
    pub(super) fn failed(&self, fault: Fault, began: u64) {
        self.failed.note(fault);
        let passive = &self.passive;
        let threshold = passive.threshold.load(Ordering::Relaxed);
        if threshold == 0 || began != self.ejections() || self.has(Trouble::Ejected) {
            return;
        }
        let (now, window) = (passive.now(), passive.window());
        let is_of_connecting = fault.is_of_connecting();
        let course = passive.change(|course| course.with_error(is_of_connecting, now, window));
        if course.row >= threshold
            && let Some(detector) = passive.detector()
        {
            detector.judge(self, fault, began);
        }
    }

    /// Its errors in a row, if they are more than are borne.
    pub(crate) fn too_many_errors(&self) -> Option<u32> {
        let threshold = self.passive.threshold.load(Ordering::Relaxed);
        let errors = self.passive.course().row;
        (threshold > 0 && errors >= threshold).then_some(errors)
    }

    /// The share of errors among its last answers.
    pub(crate) fn share_of_errors(&self) -> Share {
        self.course().share
    }

    /// Whether the last that is known of it is that no connection came to be.
    pub(crate) fn is_out_of_reach(&self) -> bool {
        self.course().is_of_connecting
    }

    fn course(&self) -> Course {
        let passive = &self.passive;
        passive.course().at(passive.now(), passive.window())
    }

    /// Its row of errors begins anew.
    pub(crate) fn forgive(&self) {
        self.passive.change(|course| Course { row: 0, ..course });
    }

    /// Ejects it, and tells for how long: `base` times the number of its ejections, and no longer than `most`. Each
    /// `base` that it has stood without one takes one off that number. Called by its detector alone, one at a time.
    pub(crate) fn eject(&self, why: String, base: Duration, most: Duration) -> Duration {
        let passive = &self.passive;
        let (now, base, most) = (passive.now(), millis(base).max(1), millis(most).max(1));
        let stood = now.saturating_sub(passive.ended.load(Ordering::Relaxed)) / base;
        let before = u64::from(passive.factor.load(Ordering::Relaxed));
        let factor = (before.saturating_sub(stood) + 1).min(most.div_ceil(base));
        let time = base.saturating_mul(factor).min(most);
        let factor = u32::try_from(factor).unwrap_or(u32::MAX);
        passive.factor.store(factor, Ordering::Relaxed);
        passive.ejections.fetch_add(1, Ordering::Relaxed);
        self.troubles.eject(why.into(), now.saturating_add(time));
        passive.course.store(0, Ordering::Relaxed);
        Duration::from_millis(time)
    }

    /// Ends its ejection if that is over. Returns whether it did.
    pub(super) fn return_in_time(&self) -> bool {
        if !self.troubles.has(Trouble::Ejected) {
            return false;
        }
        let now = self.passive.now();
        let ended = self.troubles.end_ejection(now);
        if let Some(at) = ended {
            self.returned(at);
            if self.troubles.is_none() {
                self.begin();
            }
        }
        ended.is_some()
    }

    /// Its ejection has ended, in time or because somebody cleared it.
    pub(super) fn returned(&self, at: u64) {
        self.passive.ended.store(at, Ordering::Relaxed);
        let detector = self.passive.detector();
        let service = detector.as_ref().map_or("", |detector| detector.name());
        tracing::info!(service, server = self.id(), "an ejected server is back");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_is_what_it_was_packed_from() {
        let course = |since, row, errors, answers| Course {
            since,
            is_of_connecting: row % 2 == 1,
            row,
            share: Share { errors, answers },
        };
        for course in [
            Course::default(),
            course(TIME_MASK, MAX_ROW, FULL, FULL),
            course(12_345, 5, 1, 63),
        ] {
            assert_eq!(Course::unpack(course.pack()), course);
        }
    }

    #[test]
    fn errors_are_forgotten_with_good_answers() {
        let mut course = Course::default();
        for (errors, successes) in [(1, 63), (5, 123), (10_000, 200)] {
            for _ in 0..errors {
                course = course.with_error(false, 0, 10);
            }
            assert_eq!(course.row, MAX_ROW.min(errors));
            let mut until_none = 0;
            while course != Course::default() {
                course = course.with_success();
                assert_eq!(course.row, 0);
                until_none += 1;
            }
            assert!(until_none <= successes, "{errors}: {until_none}");
        }
    }

    #[test]
    fn errors_of_long_ago_count_for_nothing() {
        let one = Course::default().with_error(false, 0, 10);
        let two = one.with_error(false, 10, 10);
        assert_eq!((two.since, two.row, two.share.errors), (0, 2, 2));
        let anew = two.with_error(false, 11, 10);
        assert_eq!((anew.since, anew.row, anew.share.errors), (11, 1, 3));
        let anew = anew.with_error(false, 32, 10);
        assert_eq!((anew.since, anew.row, anew.share.errors), (32, 1, 1));
    }

    #[test]
    fn shares_are_alike_where_one_is_at_least_half_of_the_other() {
        let share = |errors, answers| Share { errors, answers };
        for (one, other, is_like) in [
            (share(0, 0), share(5, 5), false),
            (share(1, 1), share(5, 5), true),
            (share(1, 2), share(5, 5), true),
            (share(31, 63), share(63, 63), false),
            (share(63, 63), share(1, 63), true),
            (share(5, 50), share(11, 50), false),
        ] {
            assert_eq!(one.is_like(other), is_like, "{one:?} {other:?}");
        }
    }
}
