//! YAML for people, written from JSON: block style, quotes only where they are needed, texts of several lines as they
//! stand. What is written here is read back the same by `latchstring_connectors::yaml`; a test tries.

use std::fmt::Write;

use serde_json::Value;

/// Whether YAML, ours or another's, reads it as this very text without quotes.
fn plain(text: &str) -> bool {
    let first = text.chars().next();
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == '/' || c == '_')
        && !words.contains(&text.to_ascii_lowercase().as_str())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || " /_-.@+=(),:".contains(c))
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
}

fn text(text: &str) -> String {
    // A JSON text is one of YAML 1.2, too.
    if plain(text) { text.to_owned() } else { Value::from(text).to_string() }
}

/// A text that can stand as a block: nothing in it that a block would lose.
fn block(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control())
        && text.chars().all(|c| !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'))
}

fn write_block(out: &mut String, value: &str, indent: usize) {
    let body = value.trim_end_matches('\n');
    out.push_str(match value.len() - body.len() {
        0 => " |-\n",
        1 => " |\n",
        _ => " |+\n",
    });
    for line in body.split('\n') {
        if line.is_empty() {
            out.push('\n');
        } else {
            let _ = writeln!(out, "{:indent$}{line}", "");
        }
    }
    for _ in 1..value.len() - body.len() {
        out.push('\n');
    }
}

/// Behind `key:` or `-`.
fn write_value(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if map.is_empty() => out.push_str(" {}\n"),
        Value::Array(list) if list.is_empty() => out.push_str(" []\n"),
        Value::Object(_) => {
            out.push('\n');
            write_map(out, value, indent);
        }
        Value::Array(list) if list.iter().all(|item| !item.is_object() && !item.is_array()) => {
            let items: Vec<String> = list.iter().map(scalar_in_list).collect();
            let _ = writeln!(out, " [{}]", items.join(", "));
        }
        Value::Array(list) => {
            out.push('\n');
            for item in list {
                let mut inner = String::new();
                match item {
                    Value::Object(map) if !map.is_empty() => {
                        write_map(&mut inner, item, indent + 2);
                        let _ = write!(out, "{:indent$}- {}", "", inner.trim_start());
                    }
                    _ => {
                        write_value(&mut inner, item, indent + 2);
                        let _ = write!(out, "{:indent$}-{inner}", "");
                    }
                }
            }
        }
        Value::String(value) if block(value) => write_block(out, value, indent),
        Value::String(value) => {
            let _ = writeln!(out, " {}", text(value));
        }
        Value::Null => out.push('\n'),
        other => {
            let _ = writeln!(out, " {other}");
        }
    }
}

fn scalar_in_list(value: &Value) -> String {
    match value {
        // A comma would end it.
        Value::String(value) if plain(value) && !value.contains(',') => value.clone(),
        other => other.to_string(),
    }
}

fn write_map(out: &mut String, value: &Value, indent: usize) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let _ = write!(out, "{:indent$}{}:", "", text(name));
        write_value(out, value, indent + 2);
    }
}

/// A map as a document; a blank line before each of its parts that is more than a line.
pub fn document(value: &Value) -> String {
    let mut out = String::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let mut part = String::new();
        let _ = write!(part, "{}:", text(name));
        write_value(&mut part, value, 2);
        if part.trim_end().contains('\n') {
            out.push('\n');
        }
        out.push_str(&part);
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use latchstring_connectors::yaml::parse_file;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let texts = [
            "",
            " ",
            "a",
            "a b",
            "a: b",
            "a:",
            "- a",
            "yes",
            "No",
            "null",
            "~",
            "5",
            "1.5e3",
            "0x1f",
            "a#b",
            "a #b",
            "#",
            "\"",
            "it's",
            "{{ x }}",
            "[a]",
            "*",
            "&a",
            "!a",
            "%",
            "@a",
            "`",
            "a\nb",
            "a\nb\n",
            "a\n\n b\n\n\n",
            " a\nb",
            "\na",
            "a\tb",
            "a\r\nb",
            "é ü 你 🦀",
            "a\u{2028}b",
            "a\u{85}b\nc",
            "\u{7f}",
            "trailing ",
            "a,b",
            "2026-11-01",
            "https://a.example/b?c=d",
            "id: x\nname: y\n# z\nlist:\n  - a\n",
            "\ttab\nb",
            "---\na",
            "a\n...\nb",
            "\u{feff}x\ny",
        ];
        let mut map = serde_json::Map::new();
        for (at, text) in texts.iter().enumerate() {
            map.insert(
                format!("k{at}"),
                json!({"t": text, "l": [text, 1, true], "m": {*text: [{"a": text, "b": {}}, [text], []]}}),
            );
        }
        let value = Value::Object(map);
        let written = document(&value);
        let read = parse_file(&written, "file", 1 << 20).unwrap_or_else(|e| panic!("{e:?}\n{written}"));
        assert_eq!(read.to_json(), value, "{written}");
    }

    #[test]
    fn it_is_for_people() {
        let value = json!({"latchstring": 1, "environments": ["staging", "production"], "variables": {"production": {"REGION": "eu", "LIMIT": "5"}},
            "webhooks": [{"url": "https://a.example/x", "events": []}], "connectors": {"x": {"definition": "id: x\nname: X\n"}}});
        assert_eq!(
            document(&value),
            "latchstring: 1\nenvironments: [staging, production]\n\nvariables:\n  production:\n    REGION: eu\n    LIMIT: \"5\"\n\nwebhooks:\n  - url: https://a.example/x\n    events: []\n\nconnectors:\n  x:\n    definition: |\n      id: x\n      name: X\n"
        );
    }
}
