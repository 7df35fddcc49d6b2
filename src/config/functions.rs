//! The functions of expressions.

use super::code::Code;
use super::diagnostic::{Problem, did_you_mean};
use super::eval::{Evaluator, as_text};
use super::files::{self, MAX_VALUE_FILE};
use super::source::At;
use super::tree::{Form, Kind, List, Map, Node, Origin};
use base64::Engine;

/// Takes the values of its arguments, and the place of the call; what goes wrong is told without those values.
type Function = fn(&mut Evaluator<'_>, &mut [Node], At) -> Result<Node, String>;

/// Every function. None has to think of what comes from outside: of that, all is hidden that an expression takes it in for.
pub(super) const FUNCTIONS: [(&str, Function); 9] = [
    ("env", env),
    ("file", file),
    ("base64decode", base64decode),
    ("jsondecode", |_, args, at| {
        let value = serde_json::from_str(one_text(args)?);
        Ok(json(value.map_err(|_| "the argument is not JSON")?, at))
    }),
    ("format", |_, args, at| Ok(string(format(args)?, at))),
    ("concat", |_, args, at| {
        Ok(Node::new(Kind::List(concat(args)?), at))
    }),
    ("join", |_, args, at| Ok(string(join(args)?, at))),
    ("lower", |_, args, at| {
        Ok(string(one_text(args)?.to_lowercase(), at))
    }),
    ("upper", |_, args, at| {
        Ok(string(one_text(args)?.to_uppercase(), at))
    }),
];

/// Calls a function. What goes wrong is reported at the call, without the values of the arguments.
pub(super) fn call(evaluator: &mut Evaluator<'_>, name: &str, mut args: Vec<Node>, at: At) -> Node {
    let names = || FUNCTIONS.iter().map(|(name, _)| *name);
    let Some((_, function)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
        let help = did_you_mean(name, names()).unwrap_or_else(|| {
            format!(
                "the functions are {}",
                names().collect::<Vec<_>>().join(", ")
            )
        });
        let problem = Problem::new(Code::Expression, format!("there is no function `{name}`"));
        return evaluator.report(problem.at(at).help(help));
    };
    let code = match name {
        "env" | "file" => Code::UnknownVariable,
        _ => Code::Expression,
    };
    let answer = function(evaluator, &mut args, at);
    match answer {
        // A text may hold a NUL only now: out of base64 or JSON.
        Ok(node) if has_nul(&node) => {
            evaluator.report(Problem::new(Code::InvalidValue, "a string has no NUL in it").at(at))
        }
        Ok(node) => node,
        Err(message) => evaluator.report(Problem::new(code, message).at(at)),
    }
}

fn string(text: String, at: At) -> Node {
    Node {
        kind: Kind::Str(text),
        at,
        origin: Origin::Computed,
    }
}

fn has_nul(node: &Node) -> bool {
    match &node.kind {
        Kind::Str(text) => text.contains('\0'),
        Kind::List(list) => list.items.iter().any(has_nul),
        Kind::Map(map) => map
            .entries
            .iter()
            .any(|(key, entry)| key.contains('\0') || has_nul(&entry.value)),
        _ => false,
    }
}

fn one_text(args: &[Node]) -> Result<&str, String> {
    match args {
        [
            Node {
                kind: Kind::Str(text),
                ..
            },
        ] => Ok(text),
        _ => Err("the function takes one string".to_owned()),
    }
}

fn env(evaluator: &mut Evaluator<'_>, args: &mut [Node], at: At) -> Result<Node, String> {
    let (name, default) = match &*args {
        [
            Node {
                kind: Kind::Str(name),
                ..
            },
        ] => (name, None),
        [
            Node {
                kind: Kind::Str(name),
                ..
            },
            default,
        ] => (name, Some(default)),
        _ => return Err("`env` takes a name, and a default if you like".to_owned()),
    };
    match (evaluator.environment(name), default) {
        (Some(value), _) => Ok(evaluator.outside(&value, at)),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) if args[0].origin == Origin::Hidden => {
            Err("the environment variable is not set".to_owned())
        }
        (None, None) => Err(format!("the environment variable `{name}` is not set")),
    }
}

fn file(evaluator: &mut Evaluator<'_>, args: &mut [Node], at: At) -> Result<Node, String> {
    let path = evaluator.base.join(one_text(args)?);
    let content = files::read(&path, MAX_VALUE_FILE);
    evaluator
        .read
        .push((path.clone(), content.as_ref().ok().cloned()));
    let content = content.map_err(|error| match args[0].origin {
        Origin::Hidden => error,
        _ => format!("`{}`: {error}", path.display()),
    })?;
    Ok(evaluator.outside(content.trim(), at))
}

/// What is written in base64 is not meant to be read: it is hidden as if it came from outside.
fn base64decode(evaluator: &mut Evaluator<'_>, args: &mut [Node], at: At) -> Result<Node, String> {
    let bytes = (base64::engine::general_purpose::STANDARD.decode(one_text(args)?))
        .map_err(|_| "the argument is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "the argument is not base64 of UTF-8 text")?;
    Ok(evaluator.outside(&text, at))
}

fn json(value: serde_json::Value, at: At) -> Node {
    use serde_json::Value;
    let kind = match value {
        Value::Null => Kind::Null,
        Value::Bool(value) => Kind::Bool(value),
        Value::String(value) => Kind::Str(value),
        Value::Number(number) => match number.as_i128() {
            Some(int) => Kind::Int(int),
            None => Kind::Float(number.as_f64().unwrap_or_default()),
        },
        Value::Array(items) => {
            let items = items.into_iter().map(|item| json(item, at)).collect();
            Kind::List(List {
                items,
                blocks: false,
            })
        }
        Value::Object(entries) => {
            let mut map = Map::default();
            for (key, value) in entries {
                // JSON's own keys are unique by now: nothing can be reported.
                map.add(key, at, json(value, at), Form::Attribute, &mut Vec::new());
            }
            Kind::Map(map)
        }
    };
    Node {
        kind,
        at,
        origin: Origin::Computed,
    }
}

/// `format("%s-%d", name, 1)`: `%s` and `%v` take a string, number or boolean, `%d` a whole number, `%%` is a percent sign.
fn format(args: &[Node]) -> Result<String, String> {
    let [
        Node {
            kind: Kind::Str(pattern),
            ..
        },
        args @ ..,
    ] = args
    else {
        return Err("`format` takes a pattern and its values".to_owned());
    };
    let mut args = args.iter();
    let mut out = String::new();
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            out.push(char);
            continue;
        }
        let verb = chars.next();
        if verb == Some('%') {
            out.push('%');
            continue;
        }
        let missing = || "`format` has fewer values than verbs".to_owned();
        let text = match verb {
            Some('s' | 'v') => as_text(args.next().ok_or_else(missing)?),
            Some('d') => match args.next().ok_or_else(missing)?.kind {
                Kind::Int(value) => Some(value.to_string()),
                _ => None,
            },
            _ => return Err("the verbs of `format` are %s, %v, %d and %%".to_owned()),
        };
        out.push_str(&text.ok_or("a value of `format` does not fit its verb")?);
    }
    match args.next() {
        Some(_) => Err("`format` has more values than verbs".to_owned()),
        None => Ok(out),
    }
}

fn concat(args: &mut [Node]) -> Result<List, String> {
    let mut items = Vec::new();
    for arg in args {
        match &mut arg.kind {
            Kind::List(list) => items.append(&mut list.items),
            _ => return Err("`concat` takes lists".to_owned()),
        }
    }
    Ok(List {
        items,
        blocks: false,
    })
}

fn join(args: &[Node]) -> Result<String, String> {
    let [
        Node {
            kind: Kind::Str(separator),
            ..
        },
        lists @ ..,
    ] = args
    else {
        return Err("`join` takes a separator and lists".to_owned());
    };
    let mut parts = Vec::new();
    for list in lists {
        let Kind::List(list) = &list.kind else {
            return Err("`join` takes a separator and lists".to_owned());
        };
        for item in &list.items {
            parts.push(as_text(item).ok_or("`join` takes lists of strings")?);
        }
    }
    if separator.len().saturating_mul(parts.len()) > MAX_VALUE_FILE as usize {
        return Err("the text of `join` is too long".to_owned());
    }
    Ok(parts.join(separator))
}
