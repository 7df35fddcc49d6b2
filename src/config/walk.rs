//! Turns the bodies of HCL files into one tree.

use super::code::Code;
use super::diagnostic::Problem;
use super::eval::Evaluator;
use super::source::At;
use super::tree::{Form, Kind, Map, Node};
use hcl_edit::Span;
use hcl_edit::structure::{Block, BlockLabel, Body, Structure};

/// What may stand at the top of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everything.
    Whole,
    /// Routers, services and middlewares alone: a file of the file provider's directory.
    Dynamic,
}

impl Evaluator<'_> {
    /// Adds what stands in a file to `root`.
    pub(crate) fn walk_file(&mut self, root: &mut Map, body: &Body, file: u32, scope: Scope) {
        for structure in body.iter() {
            let key = match structure {
                Structure::Attribute(attribute) => &attribute.key,
                Structure::Block(block) => &block.ident,
            };
            if scope == Scope::Dynamic
                && !matches!(key.as_str(), "routers" | "services" | "middlewares")
            {
                let message = format!("`{}` may not stand in this directory", key.as_str());
                let problem = Problem::new(Code::NotHere, message)
                    .at(At::new(file, key.span().unwrap_or_default()));
                self.problems.push(
                    problem.help("only `routers`, `services` and `middlewares` may".to_owned()),
                );
                continue;
            }
            // Variables are declared before any of them is used.
            if key.as_str() != "variables" {
                self.walk_structure(root, structure, file);
            } else if let Structure::Attribute(_) = structure {
                let problem = Problem::new(Code::WrongType, "`variables` is a block");
                let problem = problem.at(At::new(file, key.span().unwrap_or_default()));
                self.problems
                    .push(problem.help("write `variables { name = value }`".to_owned()));
            }
        }
    }

    fn walk_structure(&mut self, map: &mut Map, structure: &Structure, file: u32) {
        match structure {
            Structure::Attribute(attribute) => {
                let key_at = At::new(file, attribute.key.span().unwrap_or_default());
                let value = self.eval(&attribute.value, key_at);
                let key = attribute.key.as_str().to_owned();
                map.add(key, key_at, value, Form::Attribute, &mut self.problems);
            }
            Structure::Block(block) => self.walk_block(map, block, file),
        }
    }

    fn walk_block(&mut self, map: &mut Map, block: &Block, file: u32) {
        let key_at = At::new(file, block.ident.span().unwrap_or_default());
        if let Some(second) = block.labels.get(1).and_then(label_span) {
            let problem = Problem::new(Code::InvalidValue, "a block has one label at most");
            let help = format!("join them: `{} \"a-b\" {{`", block.ident.as_str());
            self.problems
                .push(problem.at(At::new(file, second)).help(help));
        }
        let mut body = Map::default();
        for structure in block.body.iter() {
            self.walk_structure(&mut body, structure, file);
        }
        let key = block.ident.as_str().to_owned();
        let Some(label) = block.labels.first() else {
            let value = Node::new(Kind::Map(body), key_at);
            map.add(key, key_at, value, Form::Block, &mut self.problems);
            return;
        };
        let label_at = label_span(label).map_or(key_at, |span| At::new(file, span));
        let name = match label {
            BlockLabel::Ident(name) => name.as_str(),
            BlockLabel::String(name) => name.as_str(),
        };
        // A block is shown by its head, and a label is a map of one.
        let head = At::new(file, key_at.span().start..label_at.span().end);
        let mut named = Map::default();
        let value = Node::new(Kind::Map(body), head);
        named.add(
            name.to_owned(),
            label_at,
            value,
            Form::Block,
            &mut self.problems,
        );
        let value = Node::new(Kind::Map(named), head);
        map.add(key, key_at, value, Form::Labelled, &mut self.problems);
    }
}

fn label_span(label: &BlockLabel) -> Option<std::ops::Range<usize>> {
    match label {
        BlockLabel::Ident(name) => name.span(),
        BlockLabel::String(name) => name.span(),
    }
}
