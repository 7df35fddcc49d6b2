//! Names in expressions: variables of the file and of the environment, and the way into their values.

use super::code::Code;
use super::diagnostic::{Problem, did_you_mean};
use super::eval::{Evaluator, MAX_VALUE_DEPTH, Variable};
use super::source::At;
use super::tree::{Kind, List, Node, Origin};
use hcl_edit::expr::{Expression, Traversal, TraversalOperator};
use hcl_edit::{Span, structure::Body};

impl<'a> Evaluator<'a> {
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

    /// A bare word: a loop's variable, or, within a template, a variable of the environment.
    pub(super) fn name(&mut self, name: &str, at: At) -> Node {
        if let Some(index) = self.locals.iter().rposition(|(local, _)| local == name) {
            let weight = if self.fuel == 0 {
                0
            } else {
                self.locals[index].1.weight()
            };
            if !self.spend(weight, at) {
                return Node::stand_in(at);
            }
            let node = self.locals[index].1.clone();
            self.taken.parts |= node.has_hidden();
            return node;
        }
        if self.in_template {
            return match (self.environment)(name) {
                Some(value) => self.outside(&value, at),
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
        let before = self.files.get(at.file).text.get(..at.start as usize);
        let help = match &*written.to_ascii_lowercase() {
            "true" | "yes" | "on" => "write `true`".to_owned(),
            "false" | "no" | "off" => "write `false`".to_owned(),
            "none" | "nil" | "null" => "leave the key out".to_owned(),
            _ if before
                .is_some_and(|before| before.trim_end().ends_with(['/', '-', '+', '*', '%'])) =>
            {
                "a text stands in quotes as a whole; a comment begins with `#`".to_owned()
            }
            _ => format!("put it in quotes: \"{written}\""),
        };
        let problem = Problem::new(Code::Expression, format!("`{written}` is not a value"));
        self.report(problem.at(at).help(help))
    }

    fn variable(&mut self, name: &str, at: At) -> Node {
        match self.variables.get(name) {
            Some(Variable::Ready(_)) => return self.copy(name, at),
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
        let (mut node, _) = self.form(expr, declared);
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
        self.variables
            .insert(name.to_owned(), Variable::Ready(node));
        self.copy(name, at)
    }

    /// A copy of a variable's value, paid for before it is made.
    fn copy(&mut self, name: &str, at: At) -> Node {
        let weight = match self.variables.get(name) {
            Some(Variable::Ready(node)) if self.fuel > 0 => node.weight(),
            _ => 0,
        };
        if !self.spend(weight, at) {
            return Node::stand_in(at);
        }
        let Some(Variable::Ready(node)) = self.variables.get(name) else {
            return Node::stand_in(at);
        };
        self.taken.parts |= node.has_hidden();
        Node { at, ..node.clone() }
    }

    pub(super) fn traversal(&mut self, traversal: &Traversal, at: At) -> Node {
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
            expr => self.part(expr, at),
        };
        let operators: Vec<_> = operators.collect();
        let node = self.walk(value, &operators, at);
        // The parts that were left behind are not taken in.
        if self.taken.parts && self.spend(node.weight(), at) {
            self.taken.parts = node.has_hidden();
        }
        node
    }

    fn is_local(&self, name: &str) -> bool {
        self.locals.iter().any(|(local, _)| local == name)
    }

    fn walk(&mut self, mut value: Node, operators: &[&TraversalOperator], at: At) -> Node {
        for (index, operator) in operators.iter().enumerate() {
            let rest = &operators[index + 1..];
            value = match operator {
                TraversalOperator::GetAttr(name) => {
                    let key = Node::new(Kind::Str(name.as_str().to_owned()), at);
                    self.index(value, &key, at)
                }
                TraversalOperator::LegacyIndex(index) => {
                    let key = Node::new(Kind::Int((*index.value()).into()), at);
                    self.index(value, &key, at)
                }
                TraversalOperator::Index(expr) => {
                    let key = self.eval(expr, at);
                    self.index(value, &key, at)
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

    fn index(&mut self, value: Node, key: &Node, at: At) -> Node {
        let origin = value.origin.max(Origin::Computed);
        let (what, hidden) = (value.what(), origin.max(key.origin) == Origin::Hidden);
        let found = match (value.kind, &key.kind) {
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
                _ if hidden => Err("there is no such element".to_owned()),
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
}
