//! Evaluates HCL expressions to values with places.
//!
//! An evaluator of our own, because a configuration may come from somebody else: this one has a bound on time, size and
//! depth, says where inside a template a name is unknown, and remembers which values came from outside the file.
//!
//! That last is kept not by each form of expression but around all of them, in `form`: whatever [`Evaluator::eval`] gives
//! to a form that takes it in hides all that this form makes of it. Only what [`Evaluator::part`] gives stays apart: the
//! elements of a list, which are what they were on their own.

use super::code::Code;
use super::diagnostic::Problem;
use super::functions;
use super::source::{At, Files};
use super::tree::{Form, Kind, List, Map, Node, Origin};
use hcl_edit::Span;
use hcl_edit::expr::{Array, Expression, ForExpr, FuncCall, Object, ObjectKey};
use std::collections::HashMap;
use std::path::PathBuf;

/// How a value of the environment is found.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What an evaluation may cost in all: a node or sixteen bytes of computed text cost one.
const FUEL: u64 = 1_000_000;
/// What the arguments of a function may weigh: some functions make much out of little.
const MAX_ARGUMENTS: u64 = 100_000;
/// How deep evaluation may go, variables that use variables included.
const MAX_DEPTH: usize = 160;
/// How deep the value of a variable may be.
pub(super) const MAX_VALUE_DEPTH: usize = 64;

pub(crate) struct Evaluator<'a> {
    pub(crate) problems: Vec<Problem>,
    pub(crate) files: Files,
    /// What the names of files are relative to.
    pub(crate) base: PathBuf,
    /// The files that `file()` read, with their contents.
    pub(crate) read: Vec<(PathBuf, Option<String>)>,
    pub(super) environment: Environment<'a>,
    pub(super) variables: HashMap<String, Variable<'a>>,
    pub(super) locals: Vec<(String, Node)>,
    pub(super) in_template: bool,
    pub(super) fuel: u64,
    pub(super) taken: Taken,
    depth: usize,
}

/// What the form that is evaluated has taken in from outside so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// It decides what the form makes: all of that is hidden.
    pub(super) whole: bool,
    /// It is a part of what the form makes, and hidden on its own.
    pub(super) parts: bool,
}

pub(super) enum Variable<'a> {
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
            taken: Taken::default(),
            depth: 0,
        }
    }

    pub(crate) fn report(&mut self, problem: Problem) -> Node {
        let node = Node::stand_in(problem.at.unwrap_or(At::new(0, 0..0)));
        self.problems.push(problem);
        node
    }

    pub(super) fn fault(&mut self, code: Code, at: At, message: impl Into<String>) -> Node {
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
    ///
    /// Of what comes from outside, all that the form around it makes is hidden.
    pub(crate) fn eval(&mut self, expr: &Expression, outer: At) -> Node {
        let (node, is_hidden) = self.form(expr, outer);
        self.taken.whole |= is_hidden;
        node
    }

    /// As `eval`, for what becomes a part of what the form around it makes, as it is.
    pub(super) fn part(&mut self, expr: &Expression, outer: At) -> Node {
        let (node, is_hidden) = self.form(expr, outer);
        self.taken.parts |= is_hidden;
        node
    }

    /// The value, and whether something in it comes from outside.
    pub(super) fn form(&mut self, expr: &Expression, outer: At) -> (Node, bool) {
        let at = expr.span().map_or(outer, |span| At::new(outer.file, span));
        if !self.enter(at) {
            return (Node::stand_in(at), false);
        }
        let around = std::mem::take(&mut self.taken);
        let mut node = self.eval_here(expr, at);
        let taken = std::mem::replace(&mut self.taken, around);
        self.leave();
        if taken.whole {
            node.hide();
        }
        (node, taken.whole || taken.parts)
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
            Expression::Parenthesis(inner) => self.part(inner.inner(), at),
            Expression::Variable(name) => self.name(name.as_str(), at),
            Expression::Traversal(traversal) => self.traversal(traversal, at),
            Expression::FuncCall(call) => self.call(call, at),
            Expression::ForExpr(expr) => self.for_expr(expr, at),
            Expression::Conditional(choice) => match self.condition(&choice.cond_expr, at) {
                Some(true) => self.part(&choice.true_expr, at),
                Some(false) => self.part(&choice.false_expr, at),
                None => Node::stand_in(at),
            },
            Expression::UnaryOp(op) => {
                let value = self.eval(&op.expr, at);
                self.unary(*op.operator.value(), value, at)
            }
            Expression::BinaryOp(op) => {
                let left = self.eval(&op.lhs_expr, at);
                let right = self.eval(&op.rhs_expr, at);
                self.binary(&left, *op.operator.value(), &right, at)
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
        let items = array.iter().map(|item| self.part(item, at)).collect();
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
            let value = self.part(value.expr(), at);
            let key_at = key.span().map_or(value.at, |span| At::new(at.file, span));
            let key = match key {
                ObjectKey::Ident(name) => Some(name.as_str().to_owned()),
                ObjectKey::Expression(expr) => self.key(expr, key_at, &map),
            };
            if let Some(key) = key {
                map.add(key, key_at, value, Form::Attribute, &mut self.problems);
            }
        }
        Node::new(Kind::Map(map), at)
    }

    /// A key that is an expression.
    fn key(&mut self, expr: &Expression, at: At, map: &Map) -> Option<String> {
        let key = self.eval(expr, at);
        let Some(text) = as_text(&key) else {
            if !key.is_stand_in() {
                let message = format!("a key is a string, and this is {}", key.what());
                self.fault(Code::Expression, key.at, message);
            }
            return None;
        };
        // The message of who adds it a second time would quote it.
        if key.origin == Origin::Hidden && map.entries.contains_key(&text) {
            let message = "a key that comes from outside this file is given twice";
            self.fault(Code::Duplicate, at, message);
            return None;
        }
        Some(text)
    }

    /// A string that is not part of the file.
    pub(crate) fn outside(&mut self, value: &str, at: At) -> Node {
        self.spend(1 + value.len() as u64 / 16, at);
        self.taken.whole = true;
        self.text(value, at)
    }

    pub(crate) fn environment(&self, name: &str) -> Option<String> {
        (self.environment)(name)
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
        if args.iter().map(Node::weight).sum::<u64>() > MAX_ARGUMENTS {
            return self.fault(Code::Expression, at, "the arguments are too large");
        }
        if !call.name.namespace.is_empty() {
            return self.fault(Code::Expression, at, "functions have no namespaces here");
        }
        let mut node = functions::call(self, call.name.name.as_str(), args, at);
        node.at = at;
        node.origin = node.origin.max(Origin::Computed);
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
            let value = this.part(&expr.value_expr, at);
            let Some(key_expr) = &expr.key_expr else {
                list.push(value);
                return;
            };
            // Those of a group share their key.
            let none = Map::default();
            let others = if expr.grouping { &none } else { &map };
            let Some(key) = this.key(key_expr, at, others) else {
                return;
            };
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
}

fn number(number: &hcl_edit::Number, at: At) -> Node {
    let int = number
        .as_i64()
        .map(i128::from)
        .or(number.as_u64().map(i128::from));
    let kind = int.map(Kind::Int).or(number.as_f64().map(Kind::Float));
    Node::new(kind.unwrap_or(Kind::Null), at)
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
