//! Whatever an expression takes in from outside the file hides what comes of it.

use super::*;
use crate::config::eval::Evaluator;
use crate::config::functions::FUNCTIONS;
use crate::config::source::{At, Files};
use crate::config::tree::{Kind, Node, Origin};
use hcl_edit::expr::Expression;
use hcl_edit::structure::Body;
use hcl_edit::template::{Directive, Element};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A text from outside in an expression of each form and in each function. `TOKEN` is `hunter2`, and so is `var.token`;
/// `token` is a file of it.
const EXPRESSIONS: [&str; 61] = [
    // Functions, with what is taken in on its own, in a list, in an object and deeper.
    r#"env("TOKEN")"#,
    r#"env("NOT_SET", env("TOKEN"))"#,
    r#"file("token")"#,
    r#"base64decode("aHVudGVyMg==")"#,
    r#"jsondecode(env("JSON"))"#,
    r#"jsondecode("[\"${env("TOKEN")}\"]")[0]"#,
    r#"format("%s-%v", "a", env("TOKEN"))"#,
    r#"format("%v", join("", [file("token")]))"#,
    r#"concat(["x"], [env("TOKEN")])"#,
    r#"concat([{ a = [env("TOKEN")] }])[0].a[0]"#,
    r#"join("", [env("TOKEN")])"#,
    r#"join("/", ["http://h/rd", file("token")])"#,
    r#"join("/", ["x", var.token])"#,
    r#"join("", var.list)"#,
    r#"join("-", concat(["x"], [env("TOKEN")]))"#,
    r#"join("", [for x in [env("TOKEN")] : x])"#,
    r#"join(env("TOKEN"), ["a", "b"])"#,
    r#"join("", [["a", env("TOKEN")]]...)"#,
    r#"join("", ["a"], [["b", env("TOKEN")][1]])"#,
    r#"join("", var.object.list)"#,
    r#"join("", [for key, value in { a = env("TOKEN") } : value])"#,
    r#"join("", [for key, value in { (env("TOKEN")) = "a" } : key])"#,
    r#"join("", var.lists...)"#,
    r#"lower(upper(join("", [env("TOKEN")])))"#,
    r#"upper(var.list[0])"#,
    // Arrays and objects, and the way into them.
    r#"[env("TOKEN")]"#,
    r#"["a", { b = [env("TOKEN")] }]"#,
    r#"[env("TOKEN"), "a"][0]"#,
    r#"["a", "b"][jsondecode(env("ONE"))]"#,
    r#"{ a = env("TOKEN") }"#,
    r#"{ (env("TOKEN")) = "a" }"#,
    r#"{ "${TOKEN}" = "a" }"#,
    r#"{ a = env("TOKEN") }.a"#,
    r#"{ a = env("TOKEN") }["a"]"#,
    r#"{ hunter2 = "a" }[env("TOKEN")]"#,
    r#"[{ a = env("TOKEN") }][*].a"#,
    r#"[{ a = env("TOKEN") }].*.a[0]"#,
    r#"var.token"#,
    r#"var.list"#,
    r#"var.object.list[0]"#,
    r#"var.from_command_line"#,
    // Templates.
    r#""${TOKEN}""#,
    r#""x-${TOKEN}""#,
    r#""${["a", env("TOKEN")][1]}""#,
    r#""%{ if env("TOKEN") == "hunter2" }a%{ else }b%{ endif }""#,
    r#""%{ if true }${TOKEN}%{ endif }""#,
    r#""%{ for x in ["a", env("TOKEN")] }${x}%{ endfor }""#,
    r#""%{ for x in [env("TOKEN")] }a%{ endfor }""#,
    r#""%{ for key, x in { (env("TOKEN")) = 1 } }${key}%{ endfor }""#,
    "<<EOT\n${TOKEN}\nEOT\n",
    // What chooses and what computes.
    r#"(env("TOKEN"))"#,
    r#"true ? env("TOKEN") : "a""#,
    r#"env("TOKEN") == "hunter2" ? "a" : "b""#,
    r#"!(env("TOKEN") == "a")"#,
    r#"-jsondecode(env("ONE"))"#,
    r#"jsondecode(env("ONE")) + 1"#,
    r#"[env("TOKEN")] == ["hunter2"]"#,
    // Loops.
    r#"[for x in ["a", env("TOKEN")] : x]"#,
    r#"[for x in jsondecode(env("LIST")) : "a"]"#,
    r#"[for x in ["hunter2", "b"] : x if x == env("TOKEN")]"#,
    r#"{ for x in ["hunter2"] : env("TOKEN") => x... }"#,
];

fn from_outside(name: &str) -> Option<String> {
    match name {
        "ONE" => Some("1".to_owned()),
        "LIST" => Some(r#"["hunter2"]"#.to_owned()),
        other => environment(other),
    }
}

/// The value of an expression, and what is told of it.
fn value(written: &str) -> (Node, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("token"), "hunter2\n").unwrap();
    let text = format!(
        "variables {{\n token = env(\"TOKEN\")\n list = [env(\"TOKEN\")]\n lists = [[env(\"TOKEN\")]]\n from_command_line = \"a\"\n \
         object = {{ list = [env(\"TOKEN\")], other = \"a\" }}\n}}\nx = {written}\n"
    );
    let body: Body = text
        .parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut files = Files::default();
    files.add(PathBuf::from("x"), text);
    let base = directory.path().to_owned();
    let mut evaluator = Evaluator::new(files, base, &from_outside);
    evaluator.declare(&body, 0);
    evaluator.override_variables(&[("from_command_line".to_owned(), "hunter2".to_owned())]);
    let expr = &body.get_attribute("x").unwrap().value;
    let node = evaluator.eval(expr, At::new(0, 0..0));
    let told = evaluator.problems.iter();
    (node, told.map(|problem| problem.message.clone()).collect())
}

/// Whether all that is said with `hunter2` is hidden.
fn keeps_it(node: &Node) -> bool {
    let is_hidden = node.origin == Origin::Hidden;
    match &node.kind {
        Kind::Str(text) => is_hidden || !text.to_lowercase().contains("hunter2"),
        Kind::List(list) => list.items.iter().all(keeps_it),
        Kind::Map(map) => map
            .entries
            .iter()
            .all(|(key, entry)| (is_hidden || !key.contains("hunter2")) && keeps_it(&entry.value)),
        _ => true,
    }
}

#[test]
fn what_an_expression_takes_in_from_outside_hides_what_comes_of_it() {
    for written in EXPRESSIONS {
        let (node, told) = value(written);
        assert!(told.is_empty(), "{written}: {told:?}");
        assert!(!node.is_stand_in(), "{written}");
        assert!(node.has_hidden(), "{written}: {node:?}");
        assert!(keeps_it(&node), "{written}: {node:?}");
    }
}

#[test]
fn what_takes_nothing_in_from_outside_is_shown() {
    for written in [
        r#""a""#,
        r#"["a", env("TOKEN")][0]"#,
        r#"{ a = env("TOKEN"), b = "c" }.b"#,
        r#"var.object.other"#,
        r#"upper(var.object.other)"#,
        r#"env("NOT_SET", "a")"#,
        r#"join("", ["a", "b"])"#,
        r#"true ? "a" : env("TOKEN")"#,
        r#"[for x in ["a"] : x]"#,
        r#""%{ for x in ["a"] }${x}%{ endfor }""#,
    ] {
        let (node, told) = value(written);
        assert!(told.is_empty(), "{written}: {told:?}");
        assert!(!node.has_hidden(), "{written}: {node:?}");
    }
    let (node, _) = value(r#"["a", env("TOKEN")]"#);
    let Kind::List(list) = &node.kind else {
        panic!("{node:?}")
    };
    let hidden: Vec<_> = list.items.iter().map(Node::has_hidden).collect();
    assert_eq!(hidden, [false, true], "each element is what it is");
}

/// No form, no function and no part of a template is without an expression above.
#[test]
fn every_form_of_expression_is_tried() {
    let mut seen = BTreeSet::new();
    for written in EXPRESSIONS {
        let body: Body = format!("x = {written}\n").parse().unwrap();
        see(&body.get_attribute("x").unwrap().value, &mut seen);
    }
    let functions = FUNCTIONS.iter().map(|(name, _)| *name);
    let wanted: BTreeSet<_> = FORMS.into_iter().chain(functions).collect();
    let missed: Vec<_> = wanted
        .iter()
        .filter(|form| !seen.contains(**form))
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
}

/// The forms that take something in: what [`see`] notes.
const FORMS: [&str; 14] = [
    "array",
    "object",
    "template",
    "heredoc",
    "parenthesis",
    "variable",
    "conditional",
    "traversal",
    "unary",
    "binary",
    "for",
    "interpolation",
    "template if",
    "template for",
];

/// Notes the forms and functions in an expression. It names each form there is: a new one does not compile.
fn see(expr: &Expression, seen: &mut BTreeSet<&'static str>) {
    match expr {
        Expression::Null(_)
        | Expression::Bool(_)
        | Expression::Number(_)
        | Expression::String(_) => {}
        Expression::Array(array) => {
            seen.insert("array");
            array.iter().for_each(|item| see(item, seen));
        }
        Expression::Object(object) => {
            seen.insert("object");
            (object.iter()).for_each(|(_, value)| see(value.expr(), seen));
        }
        Expression::StringTemplate(template) => {
            seen.insert("template");
            template
                .iter()
                .for_each(|element| see_element(element, seen));
        }
        Expression::HeredocTemplate(heredoc) => {
            seen.insert("heredoc");
            (heredoc.template.iter()).for_each(|element| see_element(element, seen));
        }
        Expression::Parenthesis(inner) => {
            seen.insert("parenthesis");
            see(inner.inner(), seen);
        }
        Expression::Variable(_) => {
            seen.insert("variable");
        }
        Expression::Conditional(choice) => {
            seen.insert("conditional");
            see(&choice.cond_expr, seen);
            see(&choice.true_expr, seen);
        }
        Expression::FuncCall(call) => {
            let functions = FUNCTIONS.iter().map(|(name, _)| *name);
            seen.extend(functions.filter(|name| *name == call.name.name.as_str()));
            call.args.iter().for_each(|arg| see(arg, seen));
        }
        Expression::Traversal(traversal) => {
            seen.insert("traversal");
            see(&traversal.expr, seen);
        }
        Expression::UnaryOp(op) => {
            seen.insert("unary");
            see(&op.expr, seen);
        }
        Expression::BinaryOp(op) => {
            seen.insert("binary");
            see(&op.lhs_expr, seen);
            see(&op.rhs_expr, seen);
        }
        Expression::ForExpr(each) => {
            seen.insert("for");
            see(&each.intro.collection_expr, seen);
            see(&each.value_expr, seen);
        }
    }
}

fn see_element(element: &Element, seen: &mut BTreeSet<&'static str>) {
    match element {
        Element::Literal(_) => {}
        Element::Interpolation(inner) => {
            seen.insert("interpolation");
            see(&inner.expr, seen);
        }
        Element::Directive(directive) => {
            seen.insert(match &**directive {
                Directive::If(_) => "template if",
                Directive::For(_) => "template for",
            });
        }
    }
}

#[test]
fn a_problem_does_not_quote_what_comes_from_outside() {
    let joined = r#"join("", [env("TOKEN")])"#;
    for written in [
        format!("routers \"b\" {{\n rule = {joined}\n service = \"backend\"\n}}\n"),
        format!("routers \"b\" {{\n rule = \"Path(`/b`)\"\n service = {joined}\n}}\n"),
        format!(
            "middlewares \"b\" {{\n type = \"jwt\"\n value = \"0123456789abcdef0123456789abcdef\"\n algorithms = [{joined}]\n}}\n"
        ),
        "middlewares \"b\" {\n type = \"jwt\"\n value = \"0123456789abcdef0123456789abcdef\"\n algorithms = [for x in [env(\"TOKEN\")] : x]\n}\n".to_owned(),
        format!("middlewares \"b\" {{\n type = \"rate-limit\"\n rate = 1\n key = {joined}\n}}\n"),
        format!("admin {{\n address = {joined}\n}}\n"),
        format!("shutdown_timeout_secs = {joined}\n"),
        format!("shutdown_timeout_secs = {{ a = 1 }}[{joined}]\n"),
        format!("shutdown_timeout_secs = {{ ({joined}) = 1, ({joined}) = 2 }}\n"),
        format!("shutdown_timeout_secs = env({joined})\n"),
        format!("shutdown_timeout_secs = file({joined})\n"),
        format!("shutdown_timeout_secs = jsondecode({joined})\n"),
        "dns = jsondecode(env(\"JSON\"))\n".to_owned(),
        format!("log = {{ ({joined}) = 1 }}\n"),
    ] {
        let told = told_of_all(&written);
        assert!(!told.is_empty(), "{written}");
        assert!(!told.contains("hunter2"), "{written}: {told}");
    }
}

/// All that is told of a configuration with these blocks, in all ways.
fn told_of_all(blocks: &str) -> String {
    let loaded = load_text(&with(blocks), &from_outside);
    let told = &loaded.diagnostics;
    format!(
        "{}{told}{}{}",
        told.to_json(),
        told.to_sarif(),
        told.render(false)
    )
}
