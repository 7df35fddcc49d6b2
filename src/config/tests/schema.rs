//! The schema and the loader agree, key by key.

use super::{environment, loaded};
use crate::config::code::{Code, Severity};
use crate::config::diagnostic::Diagnostic;
use crate::config::eval::Evaluator;
use crate::config::source::Files;
use crate::config::syntax;
use crate::config::tree::{Kind, Map as Tree, Node};
use crate::config::walk::Scope;
use crate::config::{MiddlewareConfig, schema};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::LazyLock;

static SCHEMA: LazyLock<Value> = LazyLock::new(schema);
static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::validator_for(&SCHEMA).expect("a schema"));

const MANUALS: [&str; 5] = [
    include_str!("../../../README.md"),
    include_str!("../../../docs/middlewares.md"),
    include_str!("../../../docs/operations.md"),
    include_str!("../../../docs/protocols.md"),
    include_str!("../../../docs/services.md"),
];

const EXAMPLES: [&str; 8] = [
    super::MINIMAL,
    include_str!("../../../examples/gateway.hcl"),
    include_str!("../../../examples/grpc.hcl"),
    include_str!("../../../examples/minimal.hcl"),
    include_str!("../../../examples/tcp.hcl"),
    include_str!("../../../examples/tls.hcl"),
    include_str!("../../../examples/udp.hcl"),
    include_str!("../../../examples/websocket.hcl"),
];

fn corpus() -> Vec<&'static str> {
    let blocks = MANUALS.iter().flat_map(|manual| {
        let blocks = manual.split("```hcl\n").skip(1);
        blocks.filter_map(|block| block.split("```").next())
    });
    EXAMPLES.into_iter().chain(blocks).collect()
}

/// A text as one object, its expressions evaluated.
fn to_json(text: &str) -> Value {
    let mut files = Files::default();
    let file = files.add(PathBuf::from("x"), text.to_owned());
    let body = syntax::parse(&files, file).unwrap();
    let mut evaluator = Evaluator::new(files, PathBuf::new(), &environment);
    evaluator.declare(&body, file);
    let mut root = Tree::default();
    evaluator.walk_file(&mut root, &body, file, Scope::Whole);
    map(&root)
}

fn map(map: &Tree) -> Value {
    let entries = map.entries.iter();
    let written = entries.filter(|(_, entry)| !entry.value.is_null());
    written
        .map(|(key, entry)| (key.clone(), value(&entry.value)))
        .collect()
}

fn value(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(value) => json!(value),
        Kind::Int(value) => {
            i64::try_from(*value).map_or(json!(*value as f64), |value| json!(value))
        }
        Kind::Float(value) => json!(value),
        Kind::Str(text) => json!(text),
        Kind::List(list) => list.items.iter().map(value).collect(),
        Kind::Map(inner) => map(inner),
        Kind::StandIn => json!("what could not be evaluated"),
    }
}

/// One object as a text, which HCL nearly is.
fn to_hcl(json: &Value) -> String {
    let pairs = json.as_object().unwrap().iter();
    let lines = pairs.map(|(key, value)| {
        let value = value.to_string().replace("${", "$${").replace("%{", "%%{");
        format!("{key} = {value}\n")
    });
    lines.collect()
}

fn problems(json: &Value) -> Vec<Diagnostic> {
    let loaded = loaded(&to_hcl(json)).without_custom_types();
    let all = loaded.diagnostics.iter();
    all.filter(|each| each.severity == Severity::Error)
        .cloned()
        .collect()
}

/// What a schema can tell as well.
const STRUCTURE: [Code; 4] = [
    Code::UnknownKey,
    Code::WrongType,
    Code::MissingKey,
    Code::UnknownType,
];

#[test]
fn it_is_a_schema() {
    assert!(jsonschema::meta::is_valid(&SCHEMA));
    assert_eq!(
        SCHEMA["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let entrypoint = &SCHEMA["$defs"]["EntrypointConfig"]["properties"];
    assert_eq!(entrypoint["udp_max_sessions"]["default"], 10_000);
    assert_eq!(entrypoint["udp_max_sessions"]["maximum"], 10_000_000);
    assert!(entrypoint["protocol"]["description"].is_string());
}

#[test]
fn every_configuration_that_loads_is_valid() {
    let mut count = 0;
    for text in corpus() {
        let found: Vec<_> = loaded(text)
            .diagnostics
            .iter()
            .map(|each| each.code)
            .collect();
        let is_whole = !found
            .iter()
            .any(|code| STRUCTURE.contains(code) || *code == Code::Expression);
        let json = to_json(text);
        let told: Vec<_> = VALIDATOR
            .iter_errors(&json)
            .map(|error| error.to_string())
            .collect();
        assert_eq!(told.is_empty(), is_whole, "{told:#?} {found:?}\n{text}");
        count += usize::from(is_whole);
    }
    assert!(count > 50, "{count}");
}

/// One step from the top to a block: the key that leads on, beside those that a block with it must have.
#[derive(Clone)]
struct Step {
    beside: Map<String, Value>,
    key: String,
    is_list: bool,
}

/// A block that the schema knows.
struct Block {
    steps: Vec<Step>,
    /// The keys that it has, with their schemas.
    keys: Map<String, Value>,
    /// Those that it must have, with values.
    required: Map<String, Value>,
}

impl Block {
    fn path(&self) -> String {
        let keys: Vec<&str> = self.steps.iter().map(|step| &*step.key).collect();
        let kind = self.required.get("type").and_then(Value::as_str);
        format!("{} {}", keys.join("."), kind.unwrap_or_default())
    }

    /// A configuration with a block of these keys in this place.
    fn with(&self, keys: Map<String, Value>) -> Value {
        self.steps.iter().rev().fold(keys.into(), |inner, step| {
            let mut map = step.beside.clone();
            let inner = if step.is_list { json!([inner]) } else { inner };
            map.insert(step.key.clone(), inner);
            map.into()
        })
    }

    /// The least that it may be, but for one key.
    fn but(&self, key: &str, value: Option<Value>) -> Value {
        let mut keys = self.required.clone();
        match value {
            Some(value) => drop(keys.insert(key.to_owned(), value)),
            None => drop(keys.remove(key)),
        }
        self.with(keys)
    }
}

fn resolve(schema: &Value) -> &Value {
    match schema["$ref"].as_str() {
        Some(path) => resolve(&SCHEMA["$defs"][path.rsplit('/').next().unwrap()]),
        None => schema,
    }
}

/// A value that is good, as far as a schema can tell.
fn sample(key: &str, schema: &Value) -> Value {
    let schema = resolve(schema);
    match key {
        "rule" => return json!("PathPrefix(`/`)"),
        "address" => return json!("127.0.0.1:0"),
        "url" | "forward_auth_url" | "otlp_endpoint" => return json!("http://127.0.0.1:1"),
        "trusted_ips" => return json!(["127.0.0.1"]),
        _ => {}
    }
    for constant in ["/const", "/enum/0", "/oneOf/0/const"] {
        if let Some(value) = schema.pointer(constant) {
            return value.clone();
        }
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let is_number =
            |choice: &&Value| matches!(choice["type"].as_str(), Some("integer" | "number"));
        let choice = choices.iter().find(is_number).or(choices.last());
        return choice.map_or(Value::Null, |choice| sample("", choice));
    }
    match schema["type"].as_str() {
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("array") => json!([sample("", &schema["items"])]),
        Some("object") => required(schema).into(),
        Some("boolean") => json!(true),
        _ => json!("x"),
    }
}

fn required(schema: &Value) -> Map<String, Value> {
    let names = schema["required"].as_array().into_iter().flatten();
    let names = names.filter_map(Value::as_str);
    names
        .map(|name| (name.to_owned(), sample(name, &schema["properties"][name])))
        .collect()
}

/// All blocks, from the top.
fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    gather(&[], &SCHEMA, &mut blocks);
    assert!(blocks.len() > 50, "{}", blocks.len());
    blocks
}

fn gather(steps: &[Step], schema: &Value, blocks: &mut Vec<Block>) {
    if let Some(variants) = schema["oneOf"].as_array() {
        return variants
            .iter()
            .for_each(|variant| gather(steps, variant, blocks));
    }
    let block = Block {
        steps: steps.to_vec(),
        keys: schema["properties"]
            .as_object()
            .cloned()
            .unwrap_or_default(),
        required: required(schema),
    };
    for (key, schema) in &block.keys {
        let step = |is_list| {
            let mut beside = block.required.clone();
            beside.remove(key);
            let step = Step {
                beside,
                key: key.clone(),
                is_list,
            };
            [steps, &[step]].concat()
        };
        let schema = resolve(schema);
        let choices = schema["anyOf"].as_array();
        let choices = choices.map_or(vec![schema], |choices| {
            choices.iter().map(resolve).collect()
        });
        for choice in choices {
            if choice["type"] == "array" {
                let items = resolve(&choice["items"]);
                if items["type"] == "object" {
                    gather(&step(true), items, blocks);
                }
            } else if choice["type"] == "object" && choice["additionalProperties"].is_object() {
                let inner = resolve(&choice["additionalProperties"]);
                if inner["type"] == "object" {
                    let name = Step {
                        beside: Map::new(),
                        key: "x".to_owned(),
                        is_list: false,
                    };
                    gather(&[step(false), vec![name]].concat(), inner, blocks);
                }
            } else if choice["type"] == "object" {
                gather(&step(false), choice, blocks);
            }
        }
    }
    blocks.push(block);
}

/// The words in backticks.
fn quoted(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    words.sort_unstable();
    words
}

#[test]
fn both_know_the_same_keys() {
    for block in blocks() {
        let json = block.but("zzzzzzzzzzzz", Some(json!(1)));
        let path = block.path();
        assert!(!VALIDATOR.is_valid(&json), "{path}");
        let found = problems(&json);
        let mut unknown = found.iter().filter(|each| each.code == Code::UnknownKey);
        let problem = unknown
            .next()
            .unwrap_or_else(|| panic!("{path}: {found:#?}"));
        assert_eq!(unknown.next(), None, "{path}");
        let mut keys: Vec<&str> = block.keys.keys().map(String::as_str).collect();
        match block.steps.is_empty() {
            // It declares values, and is a block of the text.
            true => keys.push("variables"),
            // It is read before the others.
            false => keys.retain(|key| !(*key == "type" && block.steps[0].key == "middlewares")),
        }
        keys.sort_unstable();
        assert_eq!(
            quoted(problem.help.as_deref().unwrap_or_default()),
            keys,
            "{path}"
        );
    }
    let kinds: Vec<&str> = SCHEMA["$defs"]["MiddlewareConfig"]["properties"]["type"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(kinds, MiddlewareConfig::TYPES);
}

#[test]
fn both_ask_for_the_same_keys() {
    let is_missing = |json: &Value| {
        problems(json)
            .iter()
            .any(|each| each.code == Code::MissingKey)
    };
    for block in blocks() {
        let least = block.with(block.required.clone());
        assert!(VALIDATOR.is_valid(&least), "{}", block.path());
        assert!(
            !is_missing(&least),
            "{}: {:#?}",
            block.path(),
            problems(&least)
        );
        for key in block.required.keys() {
            let json = block.but(key, None);
            assert!(!VALIDATOR.is_valid(&json), "{} {key}", block.path());
            assert!(is_missing(&json), "{} {key}", block.path());
        }
    }
}

/// What the loader says that a schema has to say as well. It does not know
/// - the ranges of durations and sizes, which are texts with units;
/// - what a text means: rules, addresses, URLs, patterns, names;
/// - what names something else, what is declared twice, and which keys exclude or need one another;
/// - files, and what is in them.
fn a_schema_can_tell(problem: &Diagnostic) -> bool {
    let message = &problem.message;
    match problem.code {
        // `... is not from 1 to 86400`
        Code::OutOfRange if message.contains(" is not from ") => {
            message.ends_with(|c: char| c.is_ascii_digit())
        }
        // Of revisions: what all of them have in common.
        Code::OutOfRange => !message.contains("% of its requests"),
        Code::InvalidValue => message.contains("` is not one of `"),
        code => STRUCTURE.contains(&code),
    }
}

/// Compares what both say of a configuration; `before` is what the loader said of it without the value in question.
fn compare(json: &Value, before: &[Diagnostic]) -> Result<(), String> {
    let found = problems(json);
    let is_new = |problem: &&Diagnostic| !before.iter().any(|each| each.message == problem.message);
    let new: Vec<&Diagnostic> = found.iter().filter(is_new).collect();
    let refused = new.iter().find(|problem| a_schema_can_tell(problem));
    match (VALIDATOR.validate(json), refused) {
        (Ok(()), Some(problem)) => Err(format!("the loader alone refuses {json}: {problem}")),
        // Whether a program knows a type of middleware is only asked where all else is well.
        (Err(error), _) if error.to_string().contains("is not one of \"add-prefix\"") => Ok(()),
        (Err(error), _) if new.is_empty() => {
            Err(format!("the schema alone refuses {json}: {error}"))
        }
        _ => Ok(()),
    }
}

fn probes(schema: &Value) -> Vec<Value> {
    let mut probes = vec![
        json!(-1),
        json!(0),
        json!(1),
        json!(3.5),
        json!(300),
        json!(70_000),
        json!(5_000_000_000u64),
        json!(1_000_000_000_000_000u64),
        json!("zzz"),
        json!(true),
        json!([]),
        json!({}),
        json!(["zzz"]),
        json!([1]),
        json!({ "a": 1 }),
        json!([[]]),
        json!([{}]),
    ];
    let resolved = resolve(schema);
    for (key, beyond) in [("minimum", -1), ("maximum", 1)] {
        if let Some(bound) = schema
            .get(key)
            .or(resolved.get(key))
            .and_then(Value::as_i64)
        {
            probes.extend([json!(bound), json!(bound + beyond)]);
        }
    }
    for list in ["oneOf", "enum"] {
        let words = resolved[list].as_array().into_iter().flatten();
        probes.extend(words.map(|word| word.get("const").unwrap_or(word).clone()));
    }
    probes
}

#[test]
fn both_take_the_same_values_of_each_key() {
    let mut wrong = Vec::new();
    for block in blocks() {
        for (key, schema) in block.keys.iter().filter(|(key, _)| *key != "type") {
            let before = problems(&block.but(key, None));
            let before: Vec<_> = before
                .into_iter()
                .filter(|each| each.code != Code::MissingKey)
                .collect();
            for probe in probes(schema) {
                let json = block.but(key, Some(probe));
                wrong.extend(
                    compare(&json, &before)
                        .err()
                        .map(|error| format!("{} {key}: {error}", block.path())),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

/// Every value within, by its way from the top.
fn places(json: &Value, way: &str, found: &mut Vec<String>) {
    found.push(way.to_owned());
    match json {
        Value::Object(map) => {
            for (key, value) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(value, &format!("{way}/{key}"), found);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                places(value, &format!("{way}/{index}"), found);
            }
        }
        _ => {}
    }
}

static VALID: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let all = corpus().into_iter().map(to_json);
    all.filter(|json| VALIDATOR.is_valid(json)).collect()
});

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn both_judge_a_change_alike(which: prop::sample::Index, place: prop::sample::Index, change in 0..20usize) {
        let mut json = which.get(&VALID).clone();
        let before = problems(&json);
        let mut found = Vec::new();
        places(&json, "", &mut found);
        let way = place.get(&found).clone();
        let probes = probes(&Value::Null);
        let target = json.pointer_mut(&way).unwrap();
        match (change, target) {
            (0, Value::Object(map)) => drop(map.insert("zzzzzzzzzzzz".to_owned(), json!(1))),
            (0 | 1, _) => {
                let (outer, key) = way.rsplit_once('/').unwrap_or_default();
                match json.pointer_mut(outer) {
                    Some(Value::Object(map)) => drop(map.remove(&key.replace("~1", "/").replace("~0", "~"))),
                    Some(Value::Array(list)) => drop(list.pop()),
                    _ => {}
                }
            }
            // The whole is always an object.
            (_, target) if !way.is_empty() => *target = probes[change % probes.len()].clone(),
            _ => {}
        }
        if let Err(error) = compare(&json, &before) {
            return Err(TestCaseError::fail(format!("{way}: {error}")));
        }
    }
}
