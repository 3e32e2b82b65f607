//! The JSON Schema of definitions, for editors, from the tables that the reader itself uses.
//! connectors/schema.json is this; a test says when it is not.

use serde_json::{Map, Value, json};

use crate::field::{FieldType, PemKind};
use crate::read::keys;
use crate::table::{self, Key, Kind};

/// Where editors find it: `# yaml-language-server: $schema=./schema.json`.
pub fn json_schema() -> Value {
    let mut schemes = vec![json!({
        "enum": table::SCHEMES.iter().filter(|spec| spec.keys().all(|key| !key.required)).map(|spec| spec.name).collect::<Vec<_>>(),
    })];
    let mut definitions = Map::new();
    for spec in table::SCHEMES {
        let mut object = keys_schema(spec.keys(), &[("type", json!({"const": spec.name}))]);
        object["description"] = spec.help.into();
        definitions.insert(format!("scheme_{}", spec.name), object);
        schemes.push(reference(&format!("scheme_{}", spec.name)));
    }
    definitions.insert("scheme".into(), json!({"anyOf": schemes}));
    definitions.insert("text".into(), json!({"type": ["string", "number", "boolean"]}));
    definitions.insert(
        "texts".into(),
        json!({"anyOf": [reference("text"), {"type": "array", "items": reference("text")}]}),
    );
    definitions.insert(
        "map".into(),
        json!({"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": reference("text")}]}),
    );
    definitions.insert(
        "fixed".into(),
        json!({"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": {"anyOf": [
            reference("text"),
            closed(&["value", "overridable"], &["value"], &|key| if key == "overridable" { json!({"type": "boolean"}) } else { reference("text") }),
        ]}}]}),
    );
    definitions.insert(
        "body".into(),
        closed(keys::BODY, &[], &|key| match key {
            "form" => reference("map"),
            "json" => json!(true),
            _ => reference("text"),
        }),
    );
    definitions.insert(
        "field".into(),
        json!({"anyOf": [
            {"enum": FieldType::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>()},
            closed(keys::FIELD, &[], &field_key),
        ]}),
    );
    definitions
        .insert("fields".into(), json!({"type": "object", "additionalProperties": reference("field")}));
    definitions.insert("request".into(), closed(keys::VERIFY, &[], &request_key));
    definitions.insert("step".into(), closed(keys::STEP, &[], &request_key));
    definitions.insert(
        "extract".into(),
        json!({"anyOf": [
            {"type": "string"},
            closed(keys::EXTRACT, &[], &|key| match key {
                "text" | "status" | "cookies" | "optional" => json!({"type": "boolean"}),
                _ => reference("text"),
            }),
        ]}),
    );
    definitions.insert(
        "operation".into(),
        closed(keys::OPERATION, &[], &|key| {
            operation_key(
                key,
                &closed(keys::SHAPE, &[], &|key| {
                    if key == "fields" {
                        json!({"type": "object", "additionalProperties": {"type": "string"}})
                    } else {
                        reference("text")
                    }
                }),
            )
        }),
    );
    definitions.insert(
        "metadata".into(),
        closed(keys::OPERATION, &["select"], &|key| {
            operation_key(
                key,
                &closed(keys::SELECT, &[], &|key| {
                    if key == "extra" {
                        json!({"type": "object", "additionalProperties": {"type": "string"}})
                    } else {
                        reference("text")
                    }
                }),
            )
        }),
    );
    definitions
        .insert("errors".into(), json!({"type": "object", "additionalProperties": {"type": "string"}}));
    definitions.insert(
        "method".into(),
        closed(keys::METHOD, &["scheme"], &|key| match key {
            "fields" => reference("fields"),
            "open_fields" => json!({"type": "boolean"}),
            "let" => json!({"type": "object", "additionalProperties": reference("text")}),
            "scheme" => reference("scheme"),
            "headers" | "query" => reference("fixed"),
            "verify" => reference("request"),
            "tls" => keys_schema(table::TLS.iter(), &[]),
            "errors" => reference("errors"),
            _ => json!({"type": "string"}),
        }),
    );
    definitions.insert("token_answer".into(), closed(keys::ANSWER, &[], &|_| json!(true)));
    let mut root = closed(keys::TOP, &["id", "name", "auth_methods"], &|key| match key {
        "hosts" | "categories" => reference("texts"),
        "allow_http" | "sandbox" => json!({"type": "boolean"}),
        "headers" | "query" => reference("fixed"),
        "auth_methods" => {
            json!({"type": "object", "minProperties": 1, "additionalProperties": reference("method")})
        }
        "verify" => reference("request"),
        "errors" => reference("errors"),
        "metadata" => json!({"type": "object", "additionalProperties": reference("metadata")}),
        "operations" => json!({"type": "object", "additionalProperties": reference("operation")}),
        "rate_limit" => closed(keys::RATE_LIMIT, &[], &|_| json!(true)),
        "pagination" => closed(keys::PAGINATION, &[], &|_| json!(true)),
        "id" => json!({"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,62}$"}),
        _ => reference("text"),
    });
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "Connector definition".into();
    root["$defs"] = Value::Object(definitions);
    root
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn closed(known: &[&str], required: &[&str], each: &dyn Fn(&str) -> Value) -> Value {
    let properties = known.iter().map(|key| ((*key).to_owned(), each(key))).collect::<Map<_, _>>();
    let mut out = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    out
}

fn field_key(key: &str) -> Value {
    match key {
        "type" => json!({"enum": FieldType::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>()}),
        "pem" => json!({"enum": PemKind::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>()}),
        "generate" => json!({"enum": keys::GENERATE}),
        "multiline" | "secret" | "optional" | "sees_fields" | "exact" => json!({"type": "boolean"}),
        "min" | "max" | "min_length" | "max_length" => json!({"type": "number"}),
        "options" => json!({"anyOf": [{"type": "array", "items": reference("text")}, {"type": "object"}]}),
        "visible_when" => json!({"type": "object"}),
        "example" | "examples" | "default" => json!(true),
        _ => reference("text"),
    }
}

fn request_key(key: &str) -> Value {
    match key {
        "query" | "headers" => reference("map"),
        "body" => reference("body"),
        "expect" | "error" => reference("texts"),
        "expect_body" => json!(true),
        "extract" => json!({"type": "object", "additionalProperties": reference("extract")}),
        _ => reference("text"),
    }
}

fn operation_key(key: &str, select: &Value) -> Value {
    match key {
        "input" => reference("fields"),
        "filter" => closed(keys::FILTER, &["where"], &|_| reference("text")),
        "select" => select.clone(),
        other => request_key(other),
    }
}

fn keys_schema<'k>(known: impl Iterator<Item = &'k Key>, more: &[(&str, Value)]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, schema) in more {
        properties.insert((*name).to_owned(), schema.clone());
        required.push((*name).to_owned());
    }
    for key in known {
        let mut schema = match key.kind {
            Kind::Text | Kind::Url => json!({"type": ["string", "number", "boolean"]}),
            // A template may stand for any of them.
            Kind::Choice(options) => {
                json!({"anyOf": [{"enum": options}, {"type": "string", "pattern": "\\{\\{"}]})
            }
            Kind::Int => json!({"type": ["integer", "string"]}),
            Kind::Bool => json!({"type": ["boolean", "string"]}),
            Kind::Map => json!({"$ref": "#/$defs/map"}),
            Kind::List => json!({"$ref": "#/$defs/texts"}),
            Kind::Json => json!({}),
            Kind::Nested(keys) => keys_schema(keys.iter(), &[]),
            Kind::Answer => json!({"$ref": "#/$defs/token_answer"}),
            Kind::Steps => {
                json!({"type": "array", "minItems": 1, "maxItems": 10, "items": reference("step")})
            }
            Kind::Body => json!({"$ref": "#/$defs/body"}),
        };
        if !key.help.is_empty() {
            schema["description"] = key.help.into();
        }
        if key.required {
            required.push(key.name.to_owned());
        }
        properties.insert(key.name.to_owned(), schema);
    }
    let mut out = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    out
}
