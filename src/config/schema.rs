//! The JSON Schema of a configuration, from what its types say of themselves.
//!
//! Each type of the configuration derives it, with `#[schemars]` where serde alone does not tell: what is read by a
//! function (`with`), and ranges. `config/tests/schema.rs` holds it against the loader, key by key, so that the two
//! cannot drift apart.

use super::{
    Accepted, Address, GatewayConfig, HttpUrl, Keys, LogLevel, NameServer, Pattern, RetryOn,
};
use super::{RuleText, Secret, ServerUrl};
use crate::config::values::StatusRange;
use a3s_layers::auth::jwt;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::marker::PhantomData;

/// The JSON Schema (draft 2020-12) of a configuration as one object, in which a labelled block is a key of a map:
/// `routers "a" { }` is `{ "routers": { "a": { } } }`.
///
/// It has the types of middlewares that every gateway has. What names another part of the configuration, and what two
/// keys have to do with each other, is not in it: the loader knows that.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<GatewayConfig>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!("A3S Gateway"));
    }
    let definitions = schema["$defs"].clone();
    as_written(&mut schema, &definitions);
    schema
}

/// Says what holds for what is written, and not for what is read: a key without a value is left out, and one block is
/// as good as a list of one.
fn as_written(schema: &mut Value, definitions: &Value) {
    let map = match schema {
        Value::Object(map) => map,
        Value::Array(list) => {
            return list
                .iter_mut()
                .for_each(|each| as_written(each, definitions));
        }
        _ => return,
    };
    let default = map.remove("default").filter(|default| !default.is_null());
    map.values_mut()
        .for_each(|each| as_written(each, definitions));
    map.extend(default.map(|default| ("default".to_owned(), default)));
    without_null(map);
    // Of the types of Rust, and of no standard.
    let format = map.get("format").and_then(Value::as_str);
    if format
        .is_some_and(|format| format.starts_with("uint") || matches!(format, "int64" | "double"))
    {
        map.remove("format");
    }
    let block = map
        .get("items")
        .filter(|items| is_block(items, definitions))
        .cloned();
    if let Some(block) = block.filter(|_| map.get("type") == Some(&json!("array"))) {
        map.remove("type");
        map.remove("items");
        let list = json!({ "type": "array", "items": block });
        map.insert("anyOf".to_owned(), json!([list, block]));
    }
}

fn without_null(map: &mut Map<String, Value>) {
    let is_null = |kind: &Value| *kind == json!("null");
    if let Some(Value::Array(kinds)) = map.get_mut("type") {
        kinds.retain(|kind| !is_null(kind));
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            map.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(choices)) = map.get_mut("anyOf") else {
        return;
    };
    choices.retain(|choice| !is_null(&choice["type"]));
    if let [Value::Object(only)] = choices.as_mut_slice() {
        let only = std::mem::take(only);
        map.remove("anyOf");
        map.extend(only);
    }
}

/// Whether a schema is that of a block.
fn is_block(schema: &Value, definitions: &Value) -> bool {
    let name = schema["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next());
    let schema = name.map_or(schema, |name| &definitions[name]);
    schema["type"] == "object"
}

/// The schema of blocks whose `type` says what their other keys are.
pub(super) fn tagged<const N: usize>(kinds: [(&str, Schema); N]) -> Schema {
    let names = kinds.each_ref().map(|(kind, _)| *kind);
    let variants = kinds.map(|(kind, mut schema)| {
        let mut properties = Map::new();
        properties.insert("type".to_owned(), json!({ "const": kind }));
        let mut required = vec![json!("type")];
        if let Some(Value::Object(own)) = schema.remove("properties") {
            properties.extend(own);
        }
        if let Some(Value::Array(own)) = schema.remove("required") {
            required.extend(own);
        }
        schema.insert("title".to_owned(), json!(kind));
        schema.insert("properties".to_owned(), properties.into());
        schema.insert("required".to_owned(), required.into());
        schema
    });
    json_schema!({
        "type": "object",
        "required": ["type"],
        "properties": { "type": { "enum": names.to_vec() } },
        "oneOf": variants.to_vec(),
    })
}

/// Values with a schema that their Rust types do not tell.
macro_rules! values {
    ($($(#[$own:ident])* $name:ident($type:ty): $schema:tt;)*) => {$(
        values!(@declare $(#[$own])* $name);

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
    (@declare #[own] $name:ident) => {
        /// Stands for a type that is not ours.
        pub(super) struct $name;
    };
    (@declare $name:ident) => {};
}

const DURATION: &str = "^([0-9]+|([0-9]+(ms|s|m|h|d))+)$";
const SIZE: &str = "^[0-9]+(B|KB|MB|GB|KiB|MiB|GiB)?$";
const HEADER: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

values! {
    #[own]
    Duration(Duration): {
        "description": "A duration such as \"750ms\", \"10s\", \"1m30s\" or \"2h\"; a bare number is seconds.",
        "anyOf": [{ "type": "string", "pattern": DURATION }, { "type": "number", "minimum": 0 }],
    };
    #[own]
    Size(Size): {
        "description": "A number of bytes, or a text such as \"64KiB\" or \"10MiB\".",
        "anyOf": [{ "type": "string", "pattern": SIZE }, { "type": "integer", "minimum": 0 }],
    };
    #[own]
    Network(Network): {
        "description": "An IP address, or a network such as \"10.0.0.0/8\".",
        "type": "string",
        "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$",
    };
    #[own]
    HeaderName(HeaderName): {
        "description": "The name of a header field.",
        "type": "string",
        "pattern": HEADER,
    };
    #[own]
    HashKey(HashKey): {
        "description": "`client-ip`, `path`, `header:NAME` or `cookie:NAME`.",
        "type": "string",
        "pattern": "^(client-ip|path|(header|cookie):.+)$",
    };
    #[own]
    CountKey(CountKey): {
        "description": "`client-ip`, `path`, `global`, `header:NAME` or `claim:NAME`.",
        "type": "string",
        "pattern": "^(client-ip|path|global|(header|claim):.+)$",
    };
    #[own]
    PageQuery(PageQuery): {
        "description": "A path and query with `{status}` and `{url}` in it.",
        "type": "string",
    };
    #[own]
    Algorithm(Algorithm): {
        "description": "An algorithm that tokens are signed with.",
        "enum": jwt::Algorithm::ALL.map(jwt::Algorithm::name),
    };
    Address(Address): {
        "description": "`host:port`, `[::]:443`, `:8080` or `unix:/path`.",
        "type": "string",
        "pattern": ":",
    };
    ServerUrl(ServerUrl): {
        "description": "The URL of a server: scheme, host and port, or `unix:` and a path.",
        "type": "string",
        "pattern": "^[A-Za-z0-9]+:.",
    };
    HttpUrl(HttpUrl): {
        "description": "A URL such as \"https://auth.example/check\".",
        "type": "string",
        "pattern": "^[A-Za-z0-9]+://.",
    };
    LogLevel(LogLevel): {
        "description": "off, error, warn, info, debug, trace, or a filter such as info,a3s_gateway=debug.",
        "type": "string",
        "minLength": 1,
    };
    NameServer(NameServer): {
        "description": "The IP address of a DNS server, with a port or without.",
        "type": "string",
        "pattern": "^[0-9A-Fa-f:.\\[\\]]+$",
    };
    Pattern(Pattern): {
        "description": "A regular expression.",
        "type": "string",
    };
    RuleText(RuleText): {
        "description": "A rule such as \"Host(`example.com`) && PathPrefix(`/api`)\".",
        "type": "string",
        "minLength": 1,
    };
    Secret(Secret): {
        "description": "A secret; best taken from the environment or a file.",
        "type": "string",
        "writeOnly": true,
    };
    Keys(Keys): {
        "description": "Secrets, or each under a name.",
        "anyOf": [
            { "type": "array", "items": { "type": "string", "writeOnly": true } },
            { "type": "object", "additionalProperties": { "type": "string", "writeOnly": true } },
        ],
    };
    RetryOn(RetryOn): {
        "description": "A failure, or the status of an answer.",
        "anyOf": [
            { "enum": ["connect", "reset", "timeout"] },
            { "type": "integer", "minimum": 400, "maximum": 599 },
        ],
    };
    Accepted(Accepted): {
        "description": "A text, a number, true or false, or a list of them.",
        "anyOf": [
            { "type": ["string", "number", "boolean"] },
            { "type": "array", "items": { "$ref": "#/$defs/Accepted" } },
        ],
    };
}

impl<const FIRST: u16, const LAST: u16> JsonSchema for StatusRange<FIRST, LAST> {
    fn schema_name() -> Cow<'static, str> {
        format!("Statuses{FIRST}To{LAST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A status, or those from one to another: 404, \"500-599\".",
            "anyOf": [
                { "type": "integer", "minimum": FIRST, "maximum": LAST },
                { "type": "string", "pattern": "^[0-9]{3}(-[0-9]{3})?$" },
            ],
        })
    }
}

/// One, or a list of them.
pub(super) struct OneOrMany<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}
