//! Good and bad answers in a row.

/// What is thought of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Not known before the first answer.
    is_healthy: Option<bool>,
    /// Answers in a row that say otherwise.
    against: u32,
}

/// What an answer has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// Whether the server is thought of otherwise now.
    pub(super) turned: bool,
    /// Whether this was a good answer after a bad one.
    pub(super) recovered: bool,
}

impl Verdict {
    pub(super) fn is_healthy(self) -> Option<bool> {
        self.is_healthy
    }

    /// Takes an answer into account. The first one decides at once; later ones when there are as many in a row as the
    /// threshold says: `unhealthy` for bad ones, `healthy` for good ones.
    pub(super) fn note(&mut self, is_good: bool, unhealthy: u32, healthy: u32) -> Change {
        let before = *self;
        self.against = match self.is_healthy == Some(is_good) {
            true => 0,
            false => self.against + 1,
        };
        let threshold = match (self.is_healthy, is_good) {
            (None, _) => 1,
            (Some(_), true) => healthy,
            (Some(_), false) => unhealthy,
        };
        let turned = self.against >= threshold.max(1);
        if turned {
            *self = Self {
                is_healthy: Some(is_good),
                against: 0,
            };
        }
        let was_well = before.is_healthy == Some(true) && before.against == 0;
        Change {
            turned,
            recovered: is_good && before.is_healthy.is_some() && !was_well,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is thought after each answer: `+` and `-`; `!` behind where it turned, `^` where it recovered.
    fn course(answers: &str, unhealthy: u32, healthy: u32) -> String {
        let mut verdict = Verdict::default();
        let mut course = String::new();
        for answer in answers.chars() {
            let change = verdict.note(answer == '+', unhealthy, healthy);
            course.push(if verdict.is_healthy() == Some(true) {
                '+'
            } else {
                '-'
            });
            if change.turned {
                course.push('!');
            }
            if change.recovered {
                course.push('^');
            }
        }
        course
    }

    #[test]
    fn the_first_answer_decides_and_later_ones_in_a_row() {
        for (answers, unhealthy, healthy, expected) in [
            ("+", 3, 2, "+!"),
            ("-", 3, 2, "-!"),
            ("+--+---", 3, 2, "+!+++^++-!"),
            ("-+-++", 3, 2, "-!-^--^+!^"),
            ("+-+", 1, 1, "+!-!+!^"),
            ("---", 3, 2, "-!--"),
            ("++++", 3, 2, "+!+++"),
            // No threshold is none at all.
            ("+-+", 0, 0, "+!-!+!^"),
        ] {
            assert_eq!(course(answers, unhealthy, healthy), expected, "{answers}");
        }
    }
}
