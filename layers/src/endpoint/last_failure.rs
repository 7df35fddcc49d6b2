//! What a server did wrong last: all that is told of one that no health check asks and nobody ejects.

use super::Endpoint;
use super::passive::Fault;
use crate::error::Failure;
use http::StatusCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last failure of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFailure {
    /// When, to the millisecond.
    pub at: SystemTime,
    /// How: a [`Failure::reason`], `status 503`, or `grpc-status` where trailers or a header of gRPC say so.
    pub reason: Box<str>,
}

/// Milliseconds since 1970 in 48 bits (8900 years) and the fault in 16; 0 is none. One word, for a server that is gone
/// fails every request that comes to it, on all cores at once.
#[derive(Debug, Default)]
pub(super) struct Failed(AtomicU64);

const FAULT_BITS: u32 = 16;

/// Failures stand behind all statuses.
const FAILURES: u16 = 1000;

fn pack(fault: Fault) -> u16 {
    match fault {
        Fault::Answer(status) => status.as_u16(),
        Fault::Failure(failure) => FAILURES + failure as u16,
    }
}

fn unpack(fault: u16) -> Option<Fault> {
    Some(match fault.checked_sub(FAILURES) {
        Some(index) => Fault::Failure(*Failure::ALL.get(usize::from(index))?),
        None => Fault::Answer(StatusCode::from_u16(fault).ok()?),
    })
}

impl Failed {
    pub(super) fn note(&self, fault: Fault) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = now.unwrap_or_default().as_millis() as u64;
        let word = (millis << FAULT_BITS) | u64::from(pack(fault));
        self.0.store(word, Ordering::Relaxed);
    }

    fn last(&self) -> Option<LastFailure> {
        let word = self.0.load(Ordering::Relaxed);
        let fault = unpack(word as u16)?;
        Some(LastFailure {
            at: UNIX_EPOCH.checked_add(Duration::from_millis(word >> FAULT_BITS))?,
            reason: fault.to_string().into(),
        })
    }
}

impl Endpoint {
    /// What it did wrong last, and when; none where it has done nothing wrong. Whether anything follows from that, an
    /// [`Outlier`](crate::outlier::Outlier) or a health check decides: a good answer since does not end it.
    ///
    /// Failures of requests themselves ([`Failure::is_of_request`]) are none of a server's.
    pub fn last_failure(&self) -> Option<LastFailure> {
        self.failed.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_told_as_it_was_noted() {
        let failed = Failed::default();
        assert_eq!(failed.last(), None);
        let answers = [200, 500, 999].map(|status| StatusCode::from_u16(status).unwrap());
        let answers = answers.map(Fault::Answer);
        let failures = Failure::ALL.map(Fault::Failure);
        for fault in answers.into_iter().chain(failures) {
            let before = SystemTime::now() - Duration::from_millis(1);
            failed.note(fault);
            let last = failed.last().unwrap();
            assert_eq!(*last.reason, *fault.to_string());
            assert!(before <= last.at && last.at <= SystemTime::now());
        }
    }
}
