//! docs/connectors.md: its examples are definitions, and no key is left out.

use latchstring_connectors::{check, json_schema};
use serde_json::Value;

const PAGE: &str = include_str!("../../../../docs/connectors.md");

#[test]
fn every_example_is_a_good_definition() {
    let mut seen = 0;
    for block in PAGE.split("```yaml\n").skip(1) {
        let source = block.split("```").next().unwrap();
        if let Err(problems) = check(source, "example") {
            panic!("{}\n{source}", problems[0]);
        }
        seen += 1;
    }
    assert!(seen >= 6, "{seen} examples");
}

fn keys(schema: &Value, out: &mut std::collections::BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            for (name, inner) in map {
                if name == "properties" {
                    out.extend(inner.as_object().unwrap().keys().cloned());
                }
                keys(inner, out);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, out)),
        _ => {}
    }
}

#[test]
fn every_key_is_on_the_page() {
    let mut all = std::collections::BTreeSet::new();
    keys(&json_schema(), &mut all);
    assert!(all.len() > 150);
    let missing = all
        .iter()
        .filter(|key| {
            !["`", ".", "{", " ", "("].iter().any(|before| {
                ["`", ":", "}", ","].iter().any(|after| PAGE.contains(&format!("{before}{key}{after}")))
            })
        })
        .collect::<Vec<_>>();
    assert!(missing.is_empty(), "docs/connectors.md does not name {missing:?}");
}
