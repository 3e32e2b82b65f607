//! `fields:` of an auth method and `input:` of an operation.

use regex_lite::{Regex, RegexBuilder};

use super::parts::RESERVED;
use super::*;
use crate::field::{Field, FieldType, Pattern, PemKind};
use crate::yaml::Data;

pub(crate) const KEYS: &[&str] = &[
    "type",
    "label",
    "help",
    "placeholder",
    "example",
    "examples",
    "options",
    "pattern",
    "pattern_message",
    "prefix",
    "suffix",
    "min",
    "max",
    "min_length",
    "max_length",
    "multiline",
    "secret",
    "optional",
    "default",
    "visible_when",
    "generate",
    "pem",
    "sees_fields",
    "exact",
];
pub(crate) const GENERATE: &[&str] = &["rsa2048", "rsa4096", "ec256", "ed25519", "random32"];

pub(crate) fn fields(r: &mut Reader, node: &Node, path: &str, has_token: bool) -> Vec<Field> {
    let mut out: Vec<Field> = Vec::new();
    for (key, value) in r.entries(node, path) {
        let path = tree::pointer(path, &key.text);
        let name = key.text.as_str();
        if !valid_name(name) {
            r.say(key.at, &path, "a field's name has letters, digits and `_`, and begins with a letter");
        } else if RESERVED.contains(&name) || (name == "token" && has_token) {
            r.say(
                key.at,
                &path,
                format!("`{name}` means something else in templates; call the field something else"),
            );
        }
        if let Some(field) = field(r, name, value, &path) {
            out.push(field);
        }
    }
    for (key, value) in r.entries(node, path) {
        if let Some(field) = out.iter().find(|field| field.name == key.text) {
            for (other, values) in &field.visible_when {
                let at = value.at;
                let path = format!("{}/visible_when", tree::pointer(path, &key.text));
                match out.iter().find(|field| field.name == *other) {
                    None => r.suggest(
                        at,
                        &path,
                        format!("`visible_when` names `{other}`, which is no field of this method"),
                        crate::diagnostic::nearest(other, out.iter().map(|field| field.name.as_str())),
                    ),
                    Some(of) if of.ty == FieldType::Choice => {
                        for value in values {
                            if !of.options.iter().any(|(option, _)| value.as_str() == Some(option)) {
                                r.say(
                                    at,
                                    &path,
                                    format!("`visible_when` names a value that `{other}` cannot have"),
                                );
                            }
                        }
                    }
                    Some(_) => {}
                }
            }
        }
    }
    out
}

pub(crate) fn valid_name(name: &str) -> bool {
    name.len() <= 64
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn field(r: &mut Reader, name: &str, node: &Node, path: &str) -> Option<Field> {
    // `client_id: text` is short for `client_id: {type: text}`.
    if let Data::Scalar { .. } = node.data {
        let ty = r.one_of(node, path, FieldType::ALL)?;
        return Some(Field::new(name, ty));
    }
    let mut obj = r.obj(node, path)?;
    let ty = match obj.take("type") {
        Some(node) => r.one_of(node, &obj.path_of("type"), FieldType::ALL)?,
        None => FieldType::Text,
    };
    let mut field = Field::new(name, ty);
    field.label = r.text(&mut obj, "label");
    field.help = r.text(&mut obj, "help");
    field.placeholder = r.text(&mut obj, "placeholder");
    if let Some(node) = obj.take("example") {
        field.examples.push(node.to_json());
    }
    if let Some(node) = obj.take("examples") {
        match &node.data {
            Data::List(items) => field.examples.extend(items.iter().map(Node::to_json)),
            _ => field.examples.push(node.to_json()),
        }
    }
    options(r, &mut obj, &mut field);
    pattern(r, &mut obj, &mut field);
    field.prefix = r.text(&mut obj, "prefix");
    field.suffix = r.text(&mut obj, "suffix");
    field.min = r.number(&mut obj, "min");
    field.max = r.number(&mut obj, "max");
    field.min_length = length(r, &mut obj, "min_length");
    field.max_length = length(r, &mut obj, "max_length");
    field.multiline = r.flag(&mut obj, "multiline").unwrap_or(ty == FieldType::Pem);
    field.secret = r.flag(&mut obj, "secret").unwrap_or(false);
    field.optional = r.flag(&mut obj, "optional").unwrap_or(false);
    field.sees_fields = r.flag(&mut obj, "sees_fields").unwrap_or(false);
    field.exact = r.flag(&mut obj, "exact").unwrap_or(false);
    if let Some(node) = obj.take("visible_when") {
        let path = obj.path_of("visible_when");
        for (key, value) in r.entries(node, &path) {
            let values = match &value.data {
                Data::List(items) => items.iter().map(Node::to_json).collect(),
                _ => vec![value.to_json()],
            };
            field.visible_when.push((key.text.clone(), values));
        }
    }
    if let Some(node) = obj.take("generate") {
        let known = GENERATE.iter().map(|name| (*name, *name)).collect::<Vec<_>>();
        field.generate = r.one_of(node, &obj.path_of("generate"), &known).map(str::to_owned);
    }
    if let Some(node) = obj.take("pem") {
        field.pem = r.one_of(node, &obj.path_of("pem"), PemKind::ALL).unwrap_or_default();
        if ty != FieldType::Pem {
            r.say(node.at, &obj.path_of("pem"), "only a field of type `pem` has this");
        }
    }
    if let Some(node) = obj.take("default") {
        let value = node.to_json();
        if field.secret {
            r.say(
                node.at,
                &obj.path_of("default"),
                "a secret field has no default: a definition is no place for secrets",
            );
        }
        if let Err(detail) = crate::values::fits(&field, &value) {
            r.say(node.at, &obj.path_of("default"), format!("the default does not fit the field: {detail}"));
        }
        field.default = Some(value);
    }
    r.finish(&obj, KEYS);
    Some(field)
}

fn options(r: &mut Reader, obj: &mut Obj<'_>, field: &mut Field) {
    let at = obj.at;
    let Some(node) = obj.take("options") else {
        if field.ty == FieldType::Choice {
            let path = obj.path.clone();
            r.say(at, &path, "a field of type `choice` needs `options`");
        }
        return;
    };
    let path = obj.path_of("options");
    if field.ty != FieldType::Choice {
        r.say(node.at, &path, "only a field of type `choice` has options");
    }
    match &node.data {
        Data::List(items) => {
            for (i, item) in items.iter().enumerate() {
                if let Some(text) = r.text_of(item, &format!("{path}/{i}")) {
                    field.options.push((text.to_owned(), text.to_owned()));
                }
            }
        }
        Data::Map(map) => {
            for (key, item) in map {
                if let Some(label) = r.text_of(item, &tree::pointer(&path, &key.text)) {
                    field.options.push((key.text.clone(), label.to_owned()));
                }
            }
        }
        Data::Scalar { .. } => {
            r.say(node.at, &path, "`options` is a list of values, or a map from value to label")
        }
    }
}

fn pattern(r: &mut Reader, obj: &mut Obj<'_>, field: &mut Field) {
    let message = r.text(obj, "pattern_message");
    let Some(node) = obj.take("pattern") else { return };
    let path = obj.path_of("pattern");
    let Some(source) = r.text_of(node, &path) else { return };
    match compile(source) {
        Some(regex) => field.pattern = Some(Pattern { source: source.to_owned(), regex, message }),
        None => r.say(
            node.at,
            &path,
            "that is no regular expression (groups, classes and repetition; no look-around)",
        ),
    }
}

/// The whole value must fit. Small, so that a definition cannot make checking slow.
fn compile(source: &str) -> Option<Regex> {
    if source.len() > 500 {
        return None;
    }
    RegexBuilder::new(&crate::field::whole(source)).size_limit(64 * 1024).build().ok()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn length(r: &mut Reader, obj: &mut Obj<'_>, name: &str) -> Option<usize> {
    let number = r.number(obj, name)?;
    Some(number.clamp(0.0, 1e6) as usize)
}
