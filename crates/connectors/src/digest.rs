//! What of a definition decides where values go, as one hex SHA-256.
//!
//! The canonical form is JSON with sorted keys of the parts below, as written in the file: a change of
//! names, labels, help texts, explanations or of how answers are shown leaves the digest as it is.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value};

use crate::template::hex;
use crate::yaml::Node;

const TOP: &[&str] = &["hosts", "allow_http", "base_url", "headers", "query"];
const METHOD: &[&str] = &["open_fields", "let", "scheme", "base_url", "headers", "query", "tls"];
const FIELD: &[&str] =
    &["type", "secret", "prefix", "suffix", "default", "visible_when", "sees_fields", "exact"];
const REQUEST: &[&str] =
    &["get", "post", "put", "patch", "delete", "head", "method", "path", "url", "query", "headers", "body"];

pub(crate) fn of(root: &Node) -> String {
    let root = root.to_json();
    let mut out = pick(&root, TOP);
    out.insert(
        "verify".into(),
        Value::Object(root.get("verify").map(|verify| pick(verify, REQUEST)).unwrap_or_default()),
    );
    for group in ["operations", "metadata"] {
        out.insert(group.into(), each(root.get(group), |operation| Value::Object(pick(operation, REQUEST))));
    }
    out.insert(
        "auth_methods".into(),
        each(root.get("auth_methods"), |method| {
            let mut out = pick(method, METHOD);
            if let Some(verify) = method.get("verify") {
                out.insert("verify".into(), Value::Object(pick(verify, REQUEST)));
            }
            out.insert(
                "fields".into(),
                each(method.get("fields"), |field| match field {
                    Value::String(ty) => Value::Object(Map::from_iter([("type".into(), ty.as_str().into())])),
                    field => {
                        let mut out = pick(field, FIELD);
                        out.entry("type").or_insert_with(|| "text".into());
                        Value::Object(out)
                    }
                }),
            );
            Value::Object(out)
        }),
    );
    let mut text = String::new();
    canonical(&Value::Object(out), &mut text);
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

fn pick(of: &Value, keys: &[&str]) -> Map<String, Value> {
    keys.iter().filter_map(|key| Some(((*key).to_owned(), of.get(*key)?.clone()))).collect()
}

fn each(of: Option<&Value>, f: impl Fn(&Value) -> Value) -> Value {
    match of {
        Some(Value::Object(map)) => {
            Value::Object(map.iter().map(|(name, value)| (name.clone(), f(value))).collect())
        }
        _ => Value::Null,
    }
}

/// Sorted keys, no blanks. `let` is sorted too: an earlier name is seen by a later one whatever the order on paper.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys = map.keys().collect::<Vec<_>>();
            keys.sort();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(&map[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}
