//! YAML 1.2 (and JSON, which is nearly a part of it) as a tree in which every value knows its place.
//!
//! Only what a definition needs is accepted: one document, no anchors, aliases, tags or merge keys
//! (so a short text cannot unfold into a long one), no key twice, at most [`MAX_BYTES`] and
//! [`MAX_DEPTH`] levels. The same reader serves other files that people write ([`parse_file`]).

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Number, Value};

use crate::diagnostic::Position;

pub const MAX_BYTES: usize = 256 * 1024;
pub const MAX_DEPTH: usize = 32;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    pub at: Position,
    pub data: Data,
}

#[derive(Clone, Debug)]
pub enum Data {
    /// `plain` when written without quotes: then `5` is a number and `true` a boolean.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub struct Key {
    pub at: Position,
    pub text: String,
}

impl Node {
    pub fn is_null(&self) -> bool {
        matches!(&self.data, Data::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.data {
            Data::Map(entries) => entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The value as JSON, plain scalars read by YAML's core schema (no `yes`, no sexagesimals).
    pub fn to_json(&self) -> Value {
        match &self.data {
            Data::Scalar { text, plain: false } => Value::String(text.clone()),
            Data::Scalar { text, plain: true } => plain_scalar(text),
            Data::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Data::Map(entries) => Value::Object(
                entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// "a text", "a list", …: for messages.
    pub fn what(&self) -> &'static str {
        match self.to_json_kind() {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "a map",
        }
    }

    fn to_json_kind(&self) -> Value {
        match &self.data {
            Data::Scalar { text, plain: true } => plain_scalar(text),
            Data::Scalar { .. } => Value::String(String::new()),
            Data::List(_) => Value::Array(Vec::new()),
            Data::Map(_) => Value::Object(Map::new()),
        }
    }
}

fn plain_scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.bytes().next().is_some_and(|b| b.is_ascii_digit()) {
        if let Ok(whole) = text.parse::<i64>() {
            return Value::from(whole);
        }
        let floaty =
            digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
        if floaty
            && let Ok(real) = text.parse::<f64>()
            && let Some(number) = Number::from_f64(real)
        {
            return Value::Number(number);
        }
    }
    Value::String(text.to_owned())
}

/// Why a text is no tree.
#[derive(Debug)]
pub struct Broken {
    pub at: Position,
    pub message: String,
}

fn broken<T>(at: Position, message: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { at, message: message.into() })
}

fn position(mark: &Marker) -> Position {
    Position { line: mark.line(), column: mark.col() + 1 }
}

enum Frame {
    List { at: Position, items: Vec<Node> },
    Map { at: Position, entries: Vec<(Key, Node)>, key: Option<Key> },
}

pub(crate) fn parse(source: &str) -> Result<Node, Broken> {
    parse_file(source, "definition", MAX_BYTES)
}

/// `what` the file holds, in one word, for messages.
pub fn parse_file(source: &str, what: &'static str, most_bytes: usize) -> Result<Node, Broken> {
    let start = Position { line: 1, column: 1 };
    if source.len() > most_bytes {
        return broken(
            start,
            format!("the {what} has {} bytes; at most {most_bytes} are accepted", source.len()),
        );
    }
    let joined;
    let source = if source.trim_start().starts_with('{') {
        joined = join_surrogates(source);
        joined.as_str()
    } else {
        source
    };
    let mut parser = Parser::new(StrInput::new(source));
    let mut frames: Vec<Frame> = Vec::new();
    let mut root: Option<Node> = None;
    let mut documents = 0;
    loop {
        let (event, span) = match parser.next_event() {
            None => break,
            Some(Ok(event)) => event,
            Some(Err(error)) => {
                return broken(position(error.marker()), format!("this is not valid YAML: {}", error.info()));
            }
        };
        let at = position(&span.start);
        let done = match event {
            Event::StreamEnd => break,
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return broken(
                        at,
                        format!("a file holds one {what}; this begins a second document (`---`)"),
                    );
                }
                continue;
            }
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => continue,
            Event::Alias(_) => {
                return broken(
                    at,
                    format!("aliases (`*name`) are not accepted in {what}s; write the value out"),
                );
            }
            Event::Scalar(text, style, anchor, tag) => {
                refuse_anchor(at, anchor, what)?;
                refuse_tag(at, tag.is_some(), what)?;
                let plain = style == ScalarStyle::Plain;
                if let Some(Frame::Map { key: key @ None, entries, .. }) = frames.last_mut() {
                    let text = text.into_owned();
                    if text == "<<" {
                        return broken(
                            at,
                            format!("merge keys (`<<`) are not accepted in {what}s; write the values out"),
                        );
                    }
                    if let Some((first, _)) = entries.iter().find(|(key, _)| key.text == text) {
                        return broken(at, format!("`{text}` is already set on line {}", first.at.line));
                    }
                    *key = Some(Key { at, text });
                    continue;
                }
                Node { at, data: Data::Scalar { text: text.into_owned(), plain } }
            }
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag)
                if { matches!(frames.last(), Some(Frame::Map { key: None, .. })) } =>
            {
                refuse_anchor(at, anchor, what)?;
                refuse_tag(at, tag.is_some(), what)?;
                return broken(at, "a key must be a text");
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_anchor(at, anchor, what)?;
                refuse_tag(at, tag.is_some(), what)?;
                deeper(at, frames.len())?;
                frames.push(Frame::List { at, items: Vec::new() });
                continue;
            }
            Event::MappingStart(anchor, tag) => {
                refuse_anchor(at, anchor, what)?;
                refuse_tag(at, tag.is_some(), what)?;
                deeper(at, frames.len())?;
                frames.push(Frame::Map { at, entries: Vec::new(), key: None });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match frames.pop() {
                Some(Frame::List { at, items }) => Node { at, data: Data::List(items) },
                Some(Frame::Map { at, entries, .. }) => Node { at, data: Data::Map(entries) },
                None => return broken(at, "this is not valid YAML"),
            },
        };
        match frames.last_mut() {
            None => root = Some(done),
            Some(Frame::List { items, .. }) => items.push(done),
            Some(Frame::Map { entries, key, .. }) => match key.take() {
                Some(key) => entries.push((key, done)),
                None => return broken(done.at, "this is not valid YAML: a value without a key"),
            },
        }
    }
    root.ok_or(Broken { at: start, message: format!("the {what} is empty") })
}

fn refuse_anchor(at: Position, anchor: usize, what: &str) -> Result<(), Broken> {
    if anchor == 0 {
        return Ok(());
    }
    broken(
        at,
        format!("anchors (`&name`) are not accepted in {what}s; write the value out where it is needed"),
    )
}

fn refuse_tag(at: Position, tagged: bool, what: &str) -> Result<(), Broken> {
    if !tagged {
        return Ok(());
    }
    broken(at, format!("tags (`!name`) are not accepted in {what}s"))
}

fn deeper(at: Position, depth: usize) -> Result<(), Broken> {
    if depth < MAX_DEPTH {
        return Ok(());
    }
    broken(at, format!("nested deeper than {MAX_DEPTH} levels"))
}

/// JSON writes characters beyond the BMP as two escapes (`\ud83d\ude00`), which YAML does not know.
fn join_surrogates(source: &str) -> String {
    let bytes = source.as_bytes();
    let unit = |at: usize| -> Option<u32> {
        if bytes.get(at) != Some(&b'\\') || bytes.get(at + 1) != Some(&b'u') {
            return None;
        }
        u32::from_str_radix(source.get(at + 2..at + 6)?, 16).ok()
    };
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    let mut copied = 0;
    while at < bytes.len() {
        if bytes[at] == b'\\' {
            if let (Some(high @ 0xD800..=0xDBFF), Some(low @ 0xDC00..=0xDFFF)) = (unit(at), unit(at + 6))
                && let Some(c) = char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
            {
                out.push_str(&source[copied..at]);
                out.push(c);
                at += 12;
                copied = at;
                continue;
            }
            at += 1; // whatever is escaped is no beginning of an escape itself
        }
        at += 1;
    }
    out.push_str(&source[copied..]);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_counted_from_one() {
        let root = parse("id: x\nhosts:\n  - a\n  - b: 1\n").unwrap();
        let hosts = root.get("hosts").unwrap();
        let Data::List(items) = &hosts.data else { panic!("a list") };
        assert_eq!(items[0].at, Position { line: 3, column: 5 });
        assert_eq!(items[1].get("b").unwrap().at, Position { line: 4, column: 8 });
        assert_eq!(items[1].to_json(), serde_json::json!({"b": 1}));
    }

    #[test]
    fn json_is_read_too() {
        let text = "{\"a\": [1, 2.5, true, null, \"x\\u00e9\\ud83d\\ude00 \\\\ud83d \\/\"],\n\t\"b\": {}}";
        let tree = parse(text).unwrap();
        assert_eq!(tree.to_json(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn what_unfolds_or_hides_is_refused() {
        for (text, why) in [
            ("a: &x 1\n", "anchors"),
            ("a: *x\n", "not valid YAML"),
            ("a: &x [1]\nb: *x\n", "anchors"),
            ("a: {<<: {b: 1}}\n", "merge keys"),
            ("a: !!str 1\n", "tags"),
            ("a: 1\nb: 2\na: 3\n", "already set on line 1"),
            ("a: 1\n---\nb: 2\n", "second document"),
            ("? [a]\n: 1\n", "must be a text"),
            ("a: [\n", "not valid YAML"),
            ("", "empty"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(why), "{text:?}: {}", error.message);
        }
        let deep = format!("a: {}{}", "[".repeat(40), "]".repeat(40));
        assert!(parse(&deep).unwrap_err().message.contains("nested deeper"));
        let long = format!("a: \"{}\"", "x".repeat(MAX_BYTES));
        assert!(parse(&long).unwrap_err().message.contains("at most"));
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, value) in [
            ("yes", serde_json::json!("yes")),
            ("12", serde_json::json!(12)),
            ("-1.5e2", serde_json::json!(-150.0)),
            ("1.2.3", serde_json::json!("1.2.3")),
            ("2026-11-01", serde_json::json!("2026-11-01")),
            ("TRUE", serde_json::json!(true)),
        ] {
            assert_eq!(plain_scalar(text), value, "{text}");
        }
    }
}
