//! Which middlewares acted on a request, as its steps from one to the next show.
//!
//! One acted that answered itself; that let the request wait for a millisecond or longer before it passed it on, as one
//! does that asks somebody; or that passed it on more than once. What a middleware does with an answer is not seen here,
//! nor what it does at once.

use a3s_layers::journal::Step;
use std::time::{Duration, Instant};

/// To let a request wait for so long is to act.
const WAIT: Duration = Duration::from_millis(1);

/// What a middleware did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acted {
    /// Which one it is of the chain.
    pub(super) index: usize,
    /// What it did.
    pub(super) what: Act,
    /// When the request came to it.
    pub(super) from: Instant,
    /// When it was done.
    pub(super) to: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Answered,
    Waited,
    /// So often it was passed on.
    TriedAgain(usize),
}

impl Act {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Waited => "waited",
            Self::TriedAgain(_) => "tried_again",
        }
    }
}

/// A request at a middleware.
#[derive(Debug, Clone, Copy)]
struct Pass {
    came: Instant,
    /// When it left last, and how often it did.
    left: Instant,
    times: usize,
}

/// What was done by a chain of `length` middlewares, to which a request came when it was `routed`, and left by these
/// `steps`; `head` is when the answer was there, and `end` when all was over.
pub(super) fn acted(
    length: usize,
    routed: Instant,
    steps: &[Step],
    head: Option<Instant>,
    end: Instant,
) -> Vec<Acted> {
    let mut found = Vec::new();
    let begin = |at| Pass {
        came: at,
        left: at,
        times: 0,
    };
    let mut passes: Vec<Option<Pass>> = vec![None; length + 1];
    passes[0] = Some(begin(routed));
    let mut last = 0;
    for step in steps {
        let position = step.position as usize;
        let left = position.checked_sub(1).and_then(|at| passes.get_mut(at));
        let Some(Some(pass)) = left else {
            continue;
        };
        (pass.left, pass.times) = (step.at, pass.times + 1);
        // One further out has passed it on again: what was done inside before is done.
        for (index, pass) in passes.iter_mut().enumerate().skip(position) {
            found.extend(pass.take().and_then(|pass| pass.acted(index)));
        }
        if let Some(next) = passes.get_mut(position) {
            *next = Some(begin(step.at));
            last = position;
        }
    }
    for (index, pass) in passes.into_iter().enumerate().take(length) {
        let Some(pass) = pass else { continue };
        found.extend(match (index == last, head) {
            (true, Some(head)) => pass.to(index, Act::Answered, head),
            (true, None) => pass.to(index, Act::Waited, end),
            (false, _) => pass.acted(index),
        });
    }
    found.sort_by_key(|acted| (acted.from, acted.index));
    found
}

impl Pass {
    fn acted(self, index: usize) -> Option<Acted> {
        let waited = self.left.saturating_duration_since(self.came);
        match self.times {
            0 => None,
            1 if waited < WAIT => None,
            1 => self.to(index, Act::Waited, self.left),
            times => self.to(index, Act::TriedAgain(times), self.left),
        }
    }

    fn to(self, index: usize, what: Act, to: Instant) -> Option<Acted> {
        let from = self.came;
        Some(Acted {
            index,
            what,
            from,
            to,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps as `(position, milliseconds after it was routed)`, and what was found as `(index, act, from, to)`.
    #[test]
    fn those_that_answered_waited_or_tried_again_are_found() {
        type Steps<'t> = &'t [(u32, u64)];
        type Found<'t> = &'t [(usize, Act, u64, u64)];
        type Case<'t> = (&'t str, usize, Steps<'t>, Option<u64>, Found<'t>);
        let cases: [Case<'_>; 9] = [
            ("no middleware", 0, &[], Some(5), &[]),
            ("none did anything", 2, &[(1, 0), (2, 0)], Some(5), &[]),
            (
                "the first answered",
                2,
                &[],
                Some(3),
                &[(0, Act::Answered, 0, 3)],
            ),
            (
                "the second did, after the first had waited",
                2,
                &[(1, 4)],
                Some(5),
                &[(0, Act::Waited, 0, 4), (1, Act::Answered, 4, 5)],
            ),
            (
                "the second waited",
                2,
                &[(1, 0), (2, 7)],
                Some(9),
                &[(1, Act::Waited, 0, 7)],
            ),
            (
                "the first tried again, and the second waited once",
                2,
                &[(1, 0), (2, 2), (1, 5), (2, 5), (1, 9), (2, 9)],
                Some(10),
                &[(0, Act::TriedAgain(3), 0, 9), (1, Act::Waited, 0, 2)],
            ),
            (
                "the second refused the second try",
                2,
                &[(1, 0), (2, 0), (1, 5)],
                Some(6),
                &[(0, Act::TriedAgain(2), 0, 5), (1, Act::Answered, 5, 6)],
            ),
            (
                "nobody waited for the answer",
                1,
                &[],
                None,
                &[(0, Act::Waited, 0, 20)],
            ),
            (
                "steps that cannot be",
                1,
                &[(0, 1), (7, 2), (1, 0)],
                Some(3),
                &[],
            ),
        ];
        let zero = Instant::now();
        let at = |millis| zero + Duration::from_millis(millis);
        for (what, length, steps, head, expected) in cases {
            let steps: Vec<_> = steps
                .iter()
                .map(|(position, after)| Step {
                    position: *position,
                    at: at(*after),
                })
                .collect();
            let found = acted(length, zero, &steps, head.map(at), at(20));
            let expected: Vec<_> = expected
                .iter()
                .map(|(index, what, from, to)| Acted {
                    index: *index,
                    what: *what,
                    from: at(*from),
                    to: at(*to),
                })
                .collect();
            assert_eq!(found, expected, "{what}");
        }
    }
}
