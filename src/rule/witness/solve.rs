//! The search through the ways in which rules can hold, and not hold.

use super::literals::{Literals, realize};
use super::{Budget, Example, Found, Repeats, Sees};
use crate::rule::Rule;
use crate::rule::expr::Expr;

/// How many branches one search may look at: each is a level of the recursion.
const MAX_STEPS: usize = 512;

/// How much of the budget one search may spend.
const MAX_SPENT: usize = 50_000;

/// A branch with more literals is given up: each is compared with each.
const MAX_LITERALS: usize = 256;

/// Something that each of `all` takes, and none of `none`.
pub(in crate::rule) fn search(
    all: &[&Rule],
    none: &[&Rule],
    sees: Sees,
    repeats: Repeats,
    budget: &Budget,
) -> Found<Example> {
    let goals = all.iter().map(|rule| (&*rule.expr, true));
    let goals = goals.chain(none.iter().map(|rule| (&*rule.expr, false)));
    let goals = goals.collect();
    budget.lend(MAX_SPENT, |budget| {
        let mut search = Search {
            sees,
            repeats,
            steps: MAX_STEPS,
            budget,
        };
        search.branch(goals, Vec::new(), Vec::new())
    })
}

/// An expression, and whether it is to hold.
type Goal<'r> = (&'r Expr, bool);

/// One that is not decided yet, and what it costs to ask it.
type Open<'r> = (&'r Expr, bool, usize);

struct Search<'b> {
    sees: Sees,
    repeats: Repeats,
    steps: usize,
    budget: &'b Budget,
}

impl Search<'_> {
    /// `open` are the alternatives that are not decided yet. The depth of the recursion is bounded by the steps.
    fn branch<'r>(
        &mut self,
        mut goals: Vec<Goal<'r>>,
        mut literals: Literals<'r>,
        mut open: Vec<Open<'r>>,
    ) -> Found<Example> {
        while let Some((expr, holds)) = goals.pop() {
            if !self.budget.spend(1) {
                return Found::Unknown;
            }
            match (expr, holds) {
                (Expr::Matcher(matcher), _) => literals.push((matcher, holds)),
                (Expr::Not(inner), _) => goals.push((inner, !holds)),
                (Expr::All(parts), true) | (Expr::Any(parts), false) => {
                    goals.extend(parts.iter().map(|part| (part, holds)));
                }
                (Expr::Any(_), true) | (Expr::All(_), false) => {
                    open.push((expr, holds, expr.weight()));
                }
            }
        }
        if self.steps == 0 || literals.len() > MAX_LITERALS {
            return Found::Unknown;
        }
        self.steps -= 1;
        let realized = realize(&literals, self.sees, self.repeats, self.budget);
        // The alternative that what was found does not fulfil, if there is one, is to be decided.
        let next = match &realized {
            Found::Never => return Found::Never,
            Found::One(example) => {
                let cost = open.iter().map(|(_, _, weight)| weight).sum();
                if !self.budget.spend(cost) {
                    return Found::Unknown;
                }
                example.with_facts(|facts| {
                    let mut open = open.iter();
                    open.position(|(expr, holds, _)| expr.matches(facts) != *holds)
                })
            }
            Found::Unknown => open.len().checked_sub(1),
        };
        let Some(next) = next else { return realized };
        let (expr, holds, _) = open.swap_remove(next);
        let (Expr::Any(parts) | Expr::All(parts)) = expr else {
            return Found::Unknown;
        };
        let mut is_known = true;
        for part in parts {
            // Both lists are copied.
            if !self.budget.spend((literals.len() + open.len()) / 4) {
                return Found::Unknown;
            }
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
