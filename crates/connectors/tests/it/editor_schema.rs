//! connectors/schema.json is what the reader's tables say, and every definition of the catalog fits it.

use latchstring_connectors::{FILES, json_schema};
use serde_json::Value;

/// As much of JSON Schema as the generator writes; an unknown keyword is a failure.
fn fits(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Value::Object(rules) = schema else {
        return if schema == &Value::Bool(true) { Ok(()) } else { Err(format!("{at}: false")) };
    };
    for (rule, wanted) in rules {
        let good = match rule.as_str() {
            "$schema" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let pointer = wanted.as_str().unwrap().trim_start_matches('#');
                fits(
                    root,
                    root.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not defined")),
                    value,
                    at,
                )?;
                true
            }
            "type" => {
                let names = wanted.as_array().cloned().unwrap_or_else(|| vec![wanted.clone()]);
                names.iter().any(|name| match name.as_str().unwrap() {
                    "string" => value.is_string(),
                    "number" => value.is_number(),
                    "integer" => value.is_i64(),
                    "boolean" => value.is_boolean(),
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    other => panic!("type {other}"),
                })
            }
            "enum" => wanted.as_array().unwrap().contains(value),
            "const" => wanted == value,
            "pattern" => match value.as_str() {
                Some(text) => regex_lite::Regex::new(wanted.as_str().unwrap()).unwrap().is_match(text),
                None => true,
            },
            "required" => {
                let missing = wanted
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|name| value.get(name.as_str().unwrap()).is_none());
                if let (Some(name), true) = (missing, value.is_object()) {
                    return Err(format!("{at}: {name} is missing"));
                }
                true
            }
            "properties" => {
                for (name, inner) in wanted.as_object().unwrap() {
                    if let Some(value) = value.get(name).filter(|value| !value.is_null()) {
                        fits(root, inner, value, &format!("{at}/{name}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = rules.get("properties").and_then(Value::as_object);
                for (name, value) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|known| known.contains_key(name)) {
                        continue;
                    }
                    fits(root, wanted, value, &format!("{at}/{name}"))?;
                }
                true
            }
            "items" => {
                for (i, value) in value.as_array().into_iter().flatten().enumerate() {
                    fits(root, wanted, value, &format!("{at}/{i}"))?;
                }
                true
            }
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= wanted.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= wanted.as_u64().unwrap()),
            "minProperties" => {
                value.as_object().is_none_or(|map| map.len() as u64 >= wanted.as_u64().unwrap())
            }
            "anyOf" => {
                let tries = wanted
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|one| fits(root, one, value, at))
                    .collect::<Vec<_>>();
                if !tries.iter().any(Result::is_ok) {
                    let why = tries.into_iter().filter_map(Result::err).collect::<Vec<_>>().join("; ");
                    return Err(format!("{at}: none of: {why}"));
                }
                true
            }
            other => panic!("the schema says `{other}`, which this test does not know"),
        };
        if !good {
            return Err(format!("{at}: {rule} {wanted}"));
        }
    }
    Ok(())
}

#[test]
fn the_checked_in_schema_is_the_generated_one() {
    let there = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../connectors/schema.json"))
        .unwrap();
    let made = format!("{}\n", serde_json::to_string_pretty(&json_schema()).unwrap());
    assert!(
        there == made,
        "run: cargo run -p latchstring-connectors --example schema > connectors/schema.json"
    );
}

#[test]
fn every_definition_of_the_catalog_fits_the_schema() {
    let schema = json_schema();
    for (file, text) in FILES {
        let value = latchstring_connectors::to_json(text).unwrap();
        fits(&schema, &schema, &value, file).unwrap();
    }
    // And the schema is not one that everything fits.
    let (_, text) = FILES.iter().find(|(file, _)| *file == "github.yaml").unwrap();
    for (from, to) in [
        ("base_url:", "base_ulr:"),
        ("type: bearer", "type: baerer"),
        ("secret: true", "secert: true"),
        ("select:", "selekt:"),
    ] {
        let value = latchstring_connectors::to_json(&text.replacen(from, to, 1)).unwrap();
        assert!(fits(&schema, &schema, &value, "x").is_err(), "{to}");
    }
}
