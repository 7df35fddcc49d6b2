//! The search through the ways in which rules can hold, and not hold.

use super::literals::{Literals, realize};
use super::{Example, Found, Repeats, Sees};
use crate::rule::Rule;
use crate::rule::expr::Expr;

/// How much may be looked at.
#[derive(Debug)]
pub(in crate::rule) struct Budget(usize);

/// How much one search may look at, of what there is for all of them.
const MAX_STEPS: usize = 512;

/// A branch with more literals is given up: each is compared with each.
const MAX_LITERALS: usize = 256;

impl Budget {
    pub(in crate::rule) fn new(steps: usize) -> Self {
        Self(steps)
    }

    pub(in crate::rule) fn is_spent(&self) -> bool {
        self.0 == 0
    }
}

/// Something that each of `all` takes, and none of `none`.
pub(in crate::rule) fn search(
    all: &[&Rule],
    none: &[&Rule],
    sees: Sees,
    repeats: Repeats,
    budget: &mut Budget,
) -> Found<Example> {
    let goals = all.iter().map(|rule| (&*rule.expr, true));
    let goals = goals.chain(none.iter().map(|rule| (&*rule.expr, false)));
    let steps = budget.0.min(MAX_STEPS);
    let mut search = Search {
        sees,
        repeats,
        steps,
    };
    let found = search.branch(goals.collect(), Vec::new(), Vec::new());
    budget.0 -= steps - search.steps;
    found
}

/// An expression, and whether it is to hold.
type Goal<'r> = (&'r Expr, bool);

struct Search {
    sees: Sees,
    repeats: Repeats,
    steps: usize,
}

impl Search {
    /// `open` are the alternatives that are not decided yet. The depth of the recursion is bounded by the steps.
    fn branch<'r>(
        &mut self,
        mut goals: Vec<Goal<'r>>,
        mut literals: Literals<'r>,
        mut open: Vec<Goal<'r>>,
    ) -> Found<Example> {
        while let Some((expr, holds)) = goals.pop() {
            match (expr, holds) {
                (Expr::Matcher(matcher), _) => literals.push((matcher, holds)),
                (Expr::Not(inner), _) => goals.push((inner, !holds)),
                (Expr::All(parts), true) | (Expr::Any(parts), false) => {
                    goals.extend(parts.iter().map(|part| (part, holds)));
                }
                (Expr::Any(_), true) | (Expr::All(_), false) => open.push((expr, holds)),
            }
        }
        if self.steps == 0 || literals.len() > MAX_LITERALS {
            return Found::Unknown;
        }
        self.steps -= 1;
        let realized = realize(&literals, self.sees, self.repeats);
        // The alternative that what was found does not fulfil, if there is one, is to be decided.
        let next = match &realized {
            Found::Never => return Found::Never,
            Found::One(example) => example.with_facts(|facts| {
                let mut open = open.iter();
                open.position(|(expr, holds)| expr.matches(facts) != *holds)
            }),
            Found::Unknown => open.len().checked_sub(1),
        };
        let Some(next) = next else { return realized };
        let (expr, holds) = open.swap_remove(next);
        let (Expr::Any(parts) | Expr::All(parts)) = expr else {
            return Found::Unknown;
        };
        let mut is_known = true;
        for part in parts {
            match self.branch(vec![(part, holds)], literals.clone(), open.clone()) {
                Found::Never => {}
                Found::Unknown => is_known = false,
                one => return one,
            }
        }
        match is_known {
            true => Found::Never,
            false => Found::Unknown,
        }
    }
}
