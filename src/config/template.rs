//! Templates: `"a ${b} c"`, `%{ if }`, `%{ for }`, and the `~` that eats white space.

use super::code::Code;
use super::diagnostic::Problem;
use super::eval::{Evaluator, as_text};
use super::source::At;
use super::tree::{Kind, Node, Origin};
use hcl_edit::Span;
use hcl_edit::expr::Expression;
use hcl_edit::template::{Directive, Element, Interpolation, Strip};

/// What a template has written so far.
struct Output {
    text: String,
    /// Where the literal begins that a following `~` trims.
    literal: usize,
    /// Whether the next literal loses its leading white space.
    trim: bool,
    /// Whether some part is missing.
    broken: bool,
}

impl Output {
    fn literal(&mut self, text: &str) {
        self.literal = self.text.len();
        self.text
            .push_str(if self.trim { text.trim_start() } else { text });
        self.trim = false;
    }

    fn before(&mut self, strip: Strip) {
        if strip.strip_start() {
            let kept = self.text[self.literal..].trim_end().len();
            self.text.truncate(self.literal + kept);
        }
    }

    fn after(&mut self, strip: Strip) {
        self.literal = self.text.len();
        self.trim = strip.strip_end();
    }
}

impl Evaluator<'_> {
    /// The text of a template. In a quoted one, a single interpolation keeps its type, as HCL says.
    pub(super) fn template<'t>(
        &mut self,
        elements: impl Iterator<Item = &'t Element>,
        at: At,
        quoted: bool,
    ) -> Node {
        let elements: Vec<_> = elements.collect();
        if let ([Element::Interpolation(only)], true) = (elements.as_slice(), quoted) {
            if self.is_group(only, at) {
                return Node::stand_in(at);
            }
            let value = self.part(&only.expr, at);
            return Node {
                at,
                origin: value.origin.max(Origin::Computed),
                ..value
            };
        }
        let mut out = Output {
            text: String::new(),
            literal: 0,
            trim: false,
            broken: false,
        };
        self.elements(&elements, at, &mut out);
        if out.broken || !self.spend(1 + out.text.len() as u64 / 16, at) {
            return Node::stand_in(at);
        }
        Node {
            kind: Kind::Str(out.text),
            at,
            origin: Origin::Computed,
        }
    }

    fn elements(&mut self, elements: &[&Element], at: At, out: &mut Output) {
        for element in elements {
            match element {
                Element::Literal(text) if text.contains('\0') => {
                    let at = text.span().map_or(at, |span| At::new(at.file, span));
                    self.problems
                        .push(Problem::new(Code::InvalidValue, "a string has no NUL in it").at(at));
                    out.broken = true;
                }
                Element::Literal(text) => out.literal(text),
                Element::Interpolation(interpolation) => self.interpolation(interpolation, at, out),
                Element::Directive(directive) => self.directive(directive, at, out),
            }
            if !self.spend(1 + out.text.len() as u64 / 4096, at) {
                out.broken = true;
                return;
            }
        }
    }

    /// Whether it is a number as it is: a group of a regular expression, as others write it. That is told.
    fn is_group(&mut self, interpolation: &Interpolation, at: At) -> bool {
        let Expression::Number(number) = &interpolation.expr else {
            return false;
        };
        let at = interpolation
            .span()
            .map_or(at, |span| At::new(at.file, span));
        let number = number.value();
        let message = format!("`${{{number}}}` is HCL's way to write `{number}`");
        let help = format!("write `$${{{number}}}` for the group of a regular expression");
        let problem = Problem::new(Code::Expression, message).at(at).help(help);
        self.problems.push(problem);
        true
    }

    fn interpolation(&mut self, interpolation: &Interpolation, at: At, out: &mut Output) {
        if self.is_group(interpolation, at) {
            out.broken = true;
            return;
        }
        out.before(interpolation.strip);
        let value = self.eval(&interpolation.expr, at);
        out.after(interpolation.strip);
        match as_text(&value) {
            Some(text) => {
                self.spend(text.len() as u64 / 16, at);
                out.text.push_str(&text);
                out.literal = out.text.len();
            }
            None => {
                out.broken = true;
                if !value.is_stand_in() {
                    let message = format!("{} cannot be part of a text", value.what());
                    self.problems
                        .push(Problem::new(Code::Expression, message).at(value.at));
                }
            }
        }
    }

    fn directive(&mut self, directive: &Directive, at: At, out: &mut Output) {
        if !self.enter(at) {
            out.broken = true;
            return;
        }
        self.choose_or_repeat(directive, at, out);
        self.leave();
    }

    fn choose_or_repeat(&mut self, directive: &Directive, at: At, out: &mut Output) {
        match directive {
            Directive::If(choice) => {
                out.before(choice.if_expr.strip);
                let taken = self.condition(&choice.if_expr.cond_expr, at);
                let template = match (taken, &choice.else_expr) {
                    (None, _) => {
                        out.broken = true;
                        return;
                    }
                    (Some(true), otherwise) => {
                        out.after(choice.if_expr.strip);
                        let end = otherwise
                            .as_ref()
                            .map_or(choice.endif_expr.strip, |expr| expr.strip);
                        Some((&choice.if_expr.template, end))
                    }
                    (Some(false), Some(otherwise)) => {
                        out.after(otherwise.strip);
                        Some((&otherwise.template, choice.endif_expr.strip))
                    }
                    (Some(false), None) => None,
                };
                if let Some((template, end)) = template {
                    self.elements(&template.iter().collect::<Vec<_>>(), at, out);
                    out.before(end);
                }
                out.after(choice.endif_expr.strip);
            }
            Directive::For(each) => {
                out.before(each.for_expr.strip);
                let head = &each.for_expr;
                let collection = self.eval(&head.collection_expr, at);
                let elements: Vec<_> = head.template.iter().collect();
                let key_var = head.key_var.as_ref().map(|name| name.as_str());
                let ran = self.each(collection, key_var, head.value_var.as_str(), at, |this| {
                    out.after(head.strip);
                    this.elements(&elements, at, out);
                    out.before(each.endfor_expr.strip);
                });
                out.broken |= !ran;
                out.after(each.endfor_expr.strip);
            }
        }
    }
}
