//! The operators of expressions. Whole numbers stay whole as long as they can.

use super::code::Code;
use super::eval::Evaluator;
use super::source::At;
use super::tree::{Entry, Kind, Node, Origin};
use hcl_edit::expr::{BinaryOperator, UnaryOperator};

impl Evaluator<'_> {
    pub(super) fn unary(&mut self, operator: UnaryOperator, value: Node, at: At) -> Node {
        let origin = value.origin;
        let kind = match (operator, value.kind) {
            (_, Kind::StandIn) => Kind::StandIn,
            (UnaryOperator::Not, Kind::Bool(value)) => Kind::Bool(!value),
            (UnaryOperator::Neg, Kind::Int(value)) if value != i128::MIN => Kind::Int(-value),
            (UnaryOperator::Neg, Kind::Float(value)) => Kind::Float(-value),
            _ => {
                return self.fault(
                    Code::Expression,
                    at,
                    format!("`{}` cannot be applied to this", operator.as_str()),
                );
            }
        };
        Node { kind, at, origin }
    }

    pub(super) fn binary(
        &mut self,
        left: &Node,
        operator: BinaryOperator,
        right: &Node,
        at: At,
    ) -> Node {
        use BinaryOperator as Op;
        let origin = left.origin.max(right.origin).max(Origin::Computed);
        if left.is_stand_in() || right.is_stand_in() {
            return Node::stand_in(at);
        }
        self.spend(left.weight() + right.weight(), at);
        let kind = match (&left.kind, operator, &right.kind) {
            (_, Op::Eq, _) => Some(Kind::Bool(same(left, right))),
            (_, Op::NotEq, _) => Some(Kind::Bool(!same(left, right))),
            (Kind::Bool(left), Op::And, Kind::Bool(right)) => Some(Kind::Bool(*left && *right)),
            (Kind::Bool(left), Op::Or, Kind::Bool(right)) => Some(Kind::Bool(*left || *right)),
            (Kind::Int(left), _, Kind::Int(right)) => whole(*left, operator, *right),
            (left, _, right) => as_float(left)
                .zip(as_float(right))
                .and_then(|(left, right)| real(left, operator, right)),
        };
        match kind {
            Some(kind) => Node { kind, at, origin },
            None => self.fault(
                Code::Expression,
                at,
                format!("`{}` cannot be applied to these", operator.as_str()),
            ),
        }
    }
}

fn as_float(kind: &Kind) -> Option<f64> {
    match kind {
        Kind::Int(value) => Some(*value as f64),
        Kind::Float(value) => Some(*value),
        _ => None,
    }
}

fn whole(left: i128, operator: BinaryOperator, right: i128) -> Option<Kind> {
    use BinaryOperator as Op;
    match operator {
        Op::Plus => left.checked_add(right).map(Kind::Int),
        Op::Minus => left.checked_sub(right).map(Kind::Int),
        Op::Mul => left.checked_mul(right).map(Kind::Int),
        Op::Mod => left.checked_rem(right).map(Kind::Int),
        Op::Div if left.checked_rem(right) == Some(0) => left.checked_div(right).map(Kind::Int),
        _ => real(left as f64, operator, right as f64),
    }
}

fn real(left: f64, operator: BinaryOperator, right: f64) -> Option<Kind> {
    use BinaryOperator as Op;
    let value = match operator {
        Op::Less => return Some(Kind::Bool(left < right)),
        Op::LessEq => return Some(Kind::Bool(left <= right)),
        Op::Greater => return Some(Kind::Bool(left > right)),
        Op::GreaterEq => return Some(Kind::Bool(left >= right)),
        Op::Plus => left + right,
        Op::Minus => left - right,
        Op::Mul => left * right,
        Op::Div => left / right,
        Op::Mod => left % right,
        _ => return None,
    };
    value.is_finite().then_some(Kind::Float(value))
}

fn same(left: &Node, right: &Node) -> bool {
    match (&left.kind, &right.kind) {
        (Kind::Null, Kind::Null) => true,
        (Kind::Bool(left), Kind::Bool(right)) => left == right,
        (Kind::Str(left), Kind::Str(right)) => left == right,
        (Kind::Int(left), Kind::Int(right)) => left == right,
        (Kind::List(left), Kind::List(right)) => {
            left.items.len() == right.items.len()
                && left
                    .items
                    .iter()
                    .zip(&right.items)
                    .all(|(left, right)| same(left, right))
        }
        (Kind::Map(left), Kind::Map(right)) => {
            let same_in = |(key, entry): (&String, &Entry)| {
                right
                    .entries
                    .get(key)
                    .is_some_and(|other| same(&entry.value, &other.value))
            };
            left.entries.len() == right.entries.len() && left.entries.iter().all(same_in)
        }
        (left, right) => as_float(left)
            .zip(as_float(right))
            .is_some_and(|(left, right)| left == right),
    }
}
