//! Evaluates HCL expressions to values with places.
//!
//! An evaluator of our own, because a configuration may come from somebody else: this one has a bound on time, size and
//! depth, says where inside a template a name is unknown, and remembers which values came from outside the file.

use super::code::Code;
use super::diagnostic::{Problem, did_you_mean};
use super::functions;
use super::source::{At, Files};
use super::tree::{Form, Kind, List, Map, Node, Origin};
use hcl_edit::expr::{
    Array, BinaryOperator, Expression, ForExpr, FuncCall, Object, ObjectKey, Traversal,
    TraversalOperator, UnaryOperator,
};
use hcl_edit::{Span, structure::Body};
use std::collections::HashMap;
use std::path::PathBuf;

/// How a value of the environment is found.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What an evaluation may cost in all: a node or sixteen bytes of computed text cost one.
const FUEL: u64 = 5_000_000;
/// How deep evaluation may go, variables that use variables included.
const MAX_DEPTH: usize = 160;
/// How deep the value of a variable may be.
const MAX_VALUE_DEPTH: usize = 64;

pub(crate) struct Evaluator<'a> {
    pub(crate) problems: Vec<Problem>,
    pub(crate) files: Files,
    /// What the names of files are relative to.
    pub(crate) base: PathBuf,
    /// The files that `file()` read, with their contents.
    pub(crate) read: Vec<(PathBuf, Option<String>)>,
    environment: Environment<'a>,
    variables: HashMap<String, Variable<'a>>,
    locals: Vec<(String, Node)>,
    in_template: bool,
    fuel: u64,
    depth: usize,
}

enum Variable<'a> {
    Written(&'a Expression, At),
    BeingRead(At),
    Ready(Node),
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(files: Files, base: PathBuf, environment: Environment<'a>) -> Evaluator<'a> {
        Evaluator {
            problems: Vec::new(),
            files,
            base,
            read: Vec::new(),
            environment,
            variables: HashMap::new(),
            locals: Vec::new(),
            in_template: false,
            fuel: FUEL,
            depth: 0,
        }
    }

    /// Declares the variables of a `variables { }` block; they are evaluated when they are used.
    pub(crate) fn declare(&mut self, body: &'a Body, file: u32) {
        for block in body.get_blocks("variables") {
            if let Some(label) = block.labels.first() {
                let at = At::new(file, label.span().unwrap_or_default());
                self.problems
                    .push(Problem::new(Code::WrongType, "`variables` has no label").at(at));
            }
            for block in block.body.blocks() {
                let at = At::new(file, block.ident.span().unwrap_or_default());
                let message = format!("`{}` is not a value", block.ident.as_str());
                self.problems.push(
                    Problem::new(Code::WrongType, message)
                        .at(at)
                        .help("write `name = value`".to_owned()),
                );
            }
            for attribute in block.body.attributes() {
                let name = attribute.key.as_str();
                let at = At::new(file, attribute.key.span().unwrap_or_default());
                if let Some(Variable::Written(_, first)) = self.variables.get(name) {
                    let problem = Problem::new(
                        Code::Duplicate,
                        format!("variable `{name}` is declared twice"),
                    );
                    self.problems.push(
                        problem
                            .at(at)
                            .label("again here")
                            .also(Some(*first), "first declared here"),
                    );
                    continue;
                }
                self.variables
                    .insert(name.to_owned(), Variable::Written(&attribute.value, at));
            }
        }
    }

    /// Sets declared variables from the command line.
    pub(crate) fn override_variables(&mut self, values: &[(String, String)]) {
        for (name, value) in values {
            let Some(Variable::Written(_, at) | Variable::BeingRead(at)) = self.variables.get(name)
            else {
                if let Some(Variable::Ready(node)) = self.variables.get_mut(name) {
                    node.kind = Kind::Str(value.clone());
                    continue;
                }
                let help = did_you_mean(name, self.variables.keys().map(String::as_str));
                let message =
                    format!("variable `{name}` of the command line is not declared in `variables`");
                self.problems
                    .push(Problem::new(Code::UnknownVariable, message).help(help));
                continue;
            };
            let node = Node {
                kind: Kind::Str(value.clone()),
                at: *at,
                origin: Origin::Hidden,
            };
            self.variables.insert(name.clone(), Variable::Ready(node));
        }
    }

    /// Evaluates variables that nothing uses as well, so that their problems are not hidden until something does.
    pub(crate) fn read_variables(&mut self) {
        let mut written: Vec<(At, String)> = (self.variables.iter())
            .filter_map(|(name, variable)| match variable {
                Variable::Written(_, at) => Some((*at, name.clone())),
                _ => None,
            })
            .collect();
        written.sort();
        for (at, name) in written {
            self.variable(&name, at);
        }
    }

    pub(crate) fn report(&mut self, problem: Problem) -> Node {
        let node = Node::stand_in(problem.at.unwrap_or(At::new(0, 0..0)));
        self.problems.push(problem);
        node
    }

    fn fault(&mut self, code: Code, at: At, message: impl Into<String>) -> Node {
        self.report(Problem::new(code, message).at(at))
    }

    /// Takes `cost` off what is left; whether it was there.
    pub(crate) fn spend(&mut self, cost: u64, at: At) -> bool {
        if self.fuel == 0 {
            return false;
        }
        self.fuel = self.fuel.saturating_sub(cost);
        if self.fuel == 0 {
            self.fault(
                Code::Expression,
                at,
                "the expressions of this configuration take too long",
            );
        }
        self.fuel > 0
    }

    /// The value of an expression. What goes wrong is reported, and a stand-in takes its place.
    pub(crate) fn eval(&mut self, expr: &Expression, outer: At) -> Node {
        let at = expr.span().map_or(outer, |span| At::new(outer.file, span));
        if !self.enter(at) {
            return Node::stand_in(at);
        }
        let node = self.eval_here(expr, at);
        self.leave();
        node
    }

    /// Goes one level deeper; false, and reported, where that is too deep.
    pub(super) fn enter(&mut self, at: At) -> bool {
        if self.depth >= MAX_DEPTH {
            self.fault(Code::Expression, at, "the expression is nested too deeply");
            return false;
        }
        self.depth += 1;
        true
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    fn eval_here(&mut self, expr: &Expression, at: At) -> Node {
        if !self.locals.is_empty() && !self.spend(1, at) {
            return Node::stand_in(at);
        }
        match expr {
            Expression::Null(_) => Node::new(Kind::Null, at),
            Expression::Bool(value) => Node::new(Kind::Bool(*value.value()), at),
            Expression::Number(value) => number(value.value(), at),
            Expression::String(value) => self.text(value.value(), at),
            Expression::Array(array) => self.array(array, at),
            Expression::Object(object) => self.object(object, at),
            Expression::StringTemplate(template) => {
                self.in_template(|this| this.template(template.iter(), at, true))
            }
            Expression::HeredocTemplate(heredoc) => {
                self.in_template(|this| this.template(heredoc.template.iter(), at, false))
            }
            Expression::Parenthesis(inner) => self.eval(inner.inner(), at),
            Expression::Variable(name) => self.name(name.as_str(), at),
            Expression::Traversal(traversal) => self.traversal(traversal, at),
            Expression::FuncCall(call) => self.call(call, at),
            Expression::ForExpr(expr) => self.for_expr(expr, at),
            Expression::Conditional(choice) => match self.condition(&choice.cond_expr, at) {
                Some(true) => self.eval(&choice.true_expr, at),
                Some(false) => self.eval(&choice.false_expr, at),
                None => Node::stand_in(at),
            },
            Expression::UnaryOp(op) => {
                let value = self.eval(&op.expr, at);
                self.unary(*op.operator.value(), value, at)
            }
            Expression::BinaryOp(op) => {
                let left = self.eval(&op.lhs_expr, at);
                let right = self.eval(&op.rhs_expr, at);
                self.binary(left, *op.operator.value(), right, at)
            }
        }
    }

    fn text(&mut self, text: &str, at: At) -> Node {
        match text.contains('\0') {
            true => self.fault(Code::InvalidValue, at, "a string has no NUL in it"),
            false => Node::new(Kind::Str(text.to_owned()), at),
        }
    }

    fn in_template(&mut self, run: impl FnOnce(&mut Self) -> Node) -> Node {
        let before = std::mem::replace(&mut self.in_template, true);
        let node = run(self);
        self.in_template = before;
        node
    }

    fn array(&mut self, array: &Array, at: At) -> Node {
        let items = array.iter().map(|item| self.eval(item, at)).collect();
        Node::new(
            Kind::List(List {
                items,
                blocks: false,
            }),
            at,
        )
    }

    fn object(&mut self, object: &Object, at: At) -> Node {
        let mut map = Map::default();
        for (key, value) in object.iter() {
            let value = self.eval(value.expr(), at);
            let key_at = key.span().map_or(value.at, |span| At::new(at.file, span));
            if let Some(key) = self.object_key(key, key_at) {
                map.add(key, key_at, value, Form::Attribute, &mut self.problems);
            }
        }
        Node::new(Kind::Map(map), at)
    }

    fn object_key(&mut self, key: &ObjectKey, at: At) -> Option<String> {
        match key {
            ObjectKey::Ident(name) => Some(name.as_str().to_owned()),
            ObjectKey::Expression(expr) => {
                let key = self.eval(expr, at);
                self.key(&key)
            }
        }
    }

    fn key(&mut self, key: &Node) -> Option<String> {
        let text = as_text(key);
        if text.is_none() && !key.is_stand_in() {
            self.fault(
                Code::Expression,
                key.at,
                format!("a key is a string, and this is {}", key.what()),
            );
        }
        text
    }

    /// A bare word: a loop's variable, or, within a template, a variable of the environment.
    fn name(&mut self, name: &str, at: At) -> Node {
        if let Some((_, node)) = self.locals.iter().rev().find(|(local, _)| local == name) {
            let node = node.clone();
            self.spend(node.weight(), at);
            return node;
        }
        if self.in_template {
            return match (self.environment)(name) {
                Some(value) => self.from_outside(value, at),
                None => {
                    let message = format!("the environment variable `{name}` is not set");
                    let help =
                        format!("set it, or give a default: `${{env(\"{name}\", \"...\")}}`");
                    self.report(
                        Problem::new(Code::UnknownVariable, message)
                            .at(at)
                            .help(help),
                    )
                }
            };
        }
        self.bare(at)
    }

    fn bare(&mut self, at: At) -> Node {
        let written = self.files.slice(at).to_owned();
        let problem = Problem::new(Code::Expression, format!("`{written}` is not a value"));
        self.report(
            problem
                .at(at)
                .help(format!("put it in quotes: \"{written}\"")),
        )
    }

    /// A string that is not part of the file.
    pub(crate) fn from_outside(&mut self, value: String, at: At) -> Node {
        self.spend(1 + value.len() as u64 / 16, at);
        let mut node = self.text(&value, at);
        node.origin = Origin::Hidden;
        node
    }

    pub(crate) fn environment(&self, name: &str) -> Option<String> {
        (self.environment)(name)
    }

    fn variable(&mut self, name: &str, at: At) -> Node {
        match self.variables.get(name) {
            Some(Variable::Ready(node)) => {
                let node = Node { at, ..node.clone() };
                self.spend(node.weight(), at);
                return node;
            }
            Some(Variable::BeingRead(first)) => {
                let problem =
                    Problem::new(Code::Expression, format!("variable `{name}` needs itself"));
                let problem = problem.at(at).also(Some(*first), "declared here");
                return self.report(problem);
            }
            Some(Variable::Written(..)) => {}
            None => {
                let help = did_you_mean(name, self.variables.keys().map(String::as_str));
                let message = format!("variable `{name}` is not declared");
                return self.report(
                    Problem::new(Code::UnknownVariable, message)
                        .at(at)
                        .help(help),
                );
            }
        }
        let Some(Variable::Written(expr, declared)) = self.variables.remove(name) else {
            unreachable!("the other states were answered above");
        };
        self.variables
            .insert(name.to_owned(), Variable::BeingRead(declared));
        // A variable sees neither the loops nor the template that it is used in.
        let locals = std::mem::take(&mut self.locals);
        let in_template = std::mem::take(&mut self.in_template);
        let mut node = self.eval(expr, declared);
        self.locals = locals;
        self.in_template = in_template;
        if node.depth() > MAX_VALUE_DEPTH {
            node = self.fault(
                Code::Expression,
                declared,
                format!("the value of variable `{name}` is nested too deeply"),
            );
        }
        // Its text stands elsewhere: a place inside it cannot be shown where it is used.
        node.origin = node.origin.max(Origin::Computed);
        let used = Node { at, ..node.clone() };
        self.variables
            .insert(name.to_owned(), Variable::Ready(node));
        self.spend(used.weight(), at);
        used
    }

    fn traversal(&mut self, traversal: &Traversal, at: At) -> Node {
        let mut operators = traversal.operators.iter().map(|operator| operator.value());
        let value = match &traversal.expr {
            Expression::Variable(root) if !self.is_local(root.as_str()) => {
                if root.as_str() != "var" {
                    return match self.in_template {
                        true => self.fault(
                            Code::UnknownVariable,
                            at,
                            format!("`{}` is not known here", root.as_str()),
                        ),
                        false => self.bare(at),
                    };
                }
                match operators.next() {
                    Some(TraversalOperator::GetAttr(name)) => self.variable(name.as_str(), at),
                    _ => return self.fault(Code::Expression, at, "write `var.name`"),
                }
            }
            expr => self.eval(expr, at),
        };
        let operators: Vec<_> = operators.collect();
        self.walk(value, &operators, at)
    }

    fn is_local(&self, name: &str) -> bool {
        self.locals.iter().any(|(local, _)| local == name)
    }

    fn walk(&mut self, mut value: Node, operators: &[&TraversalOperator], at: At) -> Node {
        for (index, operator) in operators.iter().enumerate() {
            let rest = &operators[index + 1..];
            value = match operator {
                TraversalOperator::GetAttr(name) => {
                    self.index(value, &Kind::Str(name.as_str().to_owned()), at)
                }
                TraversalOperator::LegacyIndex(index) => {
                    self.index(value, &Kind::Int((*index.value()).into()), at)
                }
                TraversalOperator::Index(expr) => {
                    let key = self.eval(expr, at);
                    self.index(value, &key.kind, at)
                }
                TraversalOperator::FullSplat(_) => return self.splat(value, rest, at),
                TraversalOperator::AttrSplat(_) => {
                    let attrs = rest
                        .iter()
                        .take_while(|op| matches!(op, TraversalOperator::GetAttr(_)))
                        .count();
                    let list = self.splat(value, &rest[..attrs], at);
                    return self.walk(list, &rest[attrs..], at);
                }
            };
        }
        value
    }

    fn splat(&mut self, value: Node, operators: &[&TraversalOperator], at: At) -> Node {
        let origin = value.origin.max(Origin::Computed);
        let items = match value.kind {
            Kind::StandIn => return Node::stand_in(at),
            Kind::Null => Vec::new(),
            Kind::List(list) => list.items,
            kind => vec![Node { kind, at, origin }],
        };
        let items = items
            .into_iter()
            .map(|item| self.walk(item, operators, at))
            .collect();
        Node {
            kind: Kind::List(List {
                items,
                blocks: false,
            }),
            at,
            origin,
        }
    }

    fn index(&mut self, value: Node, key: &Kind, at: At) -> Node {
        let origin = value.origin.max(Origin::Computed);
        let (what, hidden) = (value.what(), value.origin == Origin::Hidden);
        let found = match (value.kind, key) {
            (Kind::StandIn, _) | (_, Kind::StandIn) => return Node::stand_in(at),
            (Kind::Map(mut map), Kind::Str(key)) => {
                let found = map.entries.swap_remove(key).map(|entry| entry.value);
                found.ok_or_else(|| match hidden {
                    true => "there is no such key".to_owned(),
                    false => format!("there is no key `{key}`"),
                })
            }
            (Kind::List(mut list), Kind::Int(index)) => match usize::try_from(*index) {
                Ok(index) if index < list.items.len() => Ok(list.items.swap_remove(index)),
                _ => Err(format!("there is no element {index}")),
            },
            _ => Err(format!("{what} has no such element")),
        };
        match found {
            Ok(node) => Node {
                at,
                origin: origin.max(node.origin),
                ..node
            },
            Err(message) => self.fault(Code::Expression, at, message),
        }
    }

    fn call(&mut self, call: &FuncCall, at: At) -> Node {
        let mut args = Vec::new();
        for arg in call.args.iter() {
            args.push(self.eval(arg, at));
        }
        if call.args.expand_final() {
            match args.pop() {
                Some(Node {
                    kind: Kind::List(list),
                    ..
                }) => args.extend(list.items),
                Some(node) if !node.is_stand_in() => {
                    return self.fault(Code::Expression, node.at, "`...` follows a list");
                }
                _ => return Node::stand_in(at),
            }
        }
        if args.iter().any(Node::is_stand_in) {
            return Node::stand_in(at);
        }
        let origin = args
            .iter()
            .map(|arg| arg.origin)
            .max()
            .unwrap_or(Origin::Computed);
        if !call.name.namespace.is_empty() {
            return self.fault(Code::Expression, at, "functions have no namespaces here");
        }
        let mut node = functions::call(self, call.name.name.as_str(), args, at);
        node.at = at;
        node.origin = node.origin.max(origin).max(Origin::Computed);
        self.spend(node.weight(), at);
        node
    }

    fn for_expr(&mut self, expr: &ForExpr, at: At) -> Node {
        let key_var = expr.intro.key_var.as_ref().map(|name| name.as_str());
        let value_var = expr.intro.value_var.as_str();
        let (mut list, mut map) = (Vec::new(), Map::default());
        let collection = self.eval(&expr.intro.collection_expr, at);
        let ran = self.each(collection, key_var, value_var, at, |this| {
            if let Some(cond) = &expr.cond
                && !this.condition(&cond.expr, at).unwrap_or(false)
            {
                return;
            }
            let value = this.eval(&expr.value_expr, at);
            let Some(key_expr) = &expr.key_expr else {
                list.push(value);
                return;
            };
            let key = this.eval(key_expr, at);
            let Some(key) = this.key(&key) else { return };
            match (expr.grouping, map.entries.get_mut(&key)) {
                (true, Some(entry)) => {
                    if let Kind::List(list) = &mut entry.value.kind {
                        list.items.push(value);
                    }
                }
                (true, None) => {
                    let group = Kind::List(List {
                        items: vec![value],
                        blocks: false,
                    });
                    map.add(
                        key,
                        at,
                        Node::new(group, at),
                        Form::Attribute,
                        &mut this.problems,
                    );
                }
                (false, _) => map.add(key, at, value, Form::Attribute, &mut this.problems),
            }
        });
        let kind = match (ran, &expr.key_expr) {
            (false, _) => Kind::StandIn,
            (true, Some(_)) => Kind::Map(map),
            (true, None) => Kind::List(List {
                items: list,
                blocks: false,
            }),
        };
        Node {
            kind,
            at,
            origin: Origin::Computed,
        }
    }

    /// Runs `body` for each element, with the loop's variables set; false where there is nothing to loop over.
    pub(super) fn each(
        &mut self,
        collection: Node,
        key_var: Option<&str>,
        value_var: &str,
        at: At,
        mut body: impl FnMut(&mut Self),
    ) -> bool {
        let int = |index: usize| Kind::Int(index as i128);
        let items: Vec<(Kind, Node)> = match collection.kind {
            Kind::List(list) => list
                .items
                .into_iter()
                .enumerate()
                .map(|(index, item)| (int(index), item))
                .collect(),
            Kind::Map(map) => map
                .entries
                .into_iter()
                .map(|(key, entry)| (Kind::Str(key), entry.value))
                .collect(),
            Kind::StandIn => return false,
            _ => {
                self.fault(
                    Code::Expression,
                    collection.at,
                    "a loop needs a list or an object",
                );
                return false;
            }
        };
        let scope = self.locals.len();
        for (key, item) in items {
            if !self.spend(1, at) {
                break;
            }
            if let Some(name) = key_var {
                self.locals.push((
                    name.to_owned(),
                    Node {
                        kind: key,
                        at,
                        origin: collection.origin,
                    },
                ));
            }
            self.locals.push((value_var.to_owned(), item));
            body(self);
            self.locals.truncate(scope);
        }
        self.fuel > 0
    }

    pub(super) fn condition(&mut self, expr: &Expression, at: At) -> Option<bool> {
        let node = self.eval(expr, at);
        match node.kind {
            Kind::Bool(value) => Some(value),
            Kind::StandIn => None,
            _ => {
                self.fault(
                    Code::Expression,
                    node.at,
                    format!("a condition is true or false, and this is {}", node.what()),
                );
                None
            }
        }
    }

    fn unary(&mut self, operator: UnaryOperator, value: Node, at: At) -> Node {
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

    fn binary(&mut self, left: Node, operator: BinaryOperator, right: Node, at: At) -> Node {
        use BinaryOperator as Op;
        let origin = left.origin.max(right.origin).max(Origin::Computed);
        if left.is_stand_in() || right.is_stand_in() {
            return Node::stand_in(at);
        }
        self.spend(left.weight() + right.weight(), at);
        let kind = match (&left.kind, operator, &right.kind) {
            (_, Op::Eq, _) => Some(Kind::Bool(same(&left, &right))),
            (_, Op::NotEq, _) => Some(Kind::Bool(!same(&left, &right))),
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

fn number(number: &hcl_edit::Number, at: At) -> Node {
    let int = number
        .as_i64()
        .map(i128::from)
        .or(number.as_u64().map(i128::from));
    let kind = int.map(Kind::Int).or(number.as_f64().map(Kind::Float));
    Node::new(kind.unwrap_or(Kind::Null), at)
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
            let same_in = |(key, entry): (&String, &super::tree::Entry)| {
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

/// A value as a template writes it; lists and objects cannot be written.
pub(super) fn as_text(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Str(text) => Some(text.clone()),
        Kind::Bool(value) => Some(value.to_string()),
        Kind::Int(value) => Some(value.to_string()),
        Kind::Float(value) => Some(value.to_string()),
        _ => None,
    }
}
