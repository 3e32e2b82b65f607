//! Values while a template is rendered.

use std::borrow::Cow;

use latchstring_model::SecretString;
use serde_json::Value;

/// A text: borrowed from a value, or made on the way (and wiped when dropped).
#[derive(Clone)]
pub(crate) enum Text<'a> {
    Ref(&'a str),
    Own(SecretString),
}

impl Text<'_> {
    pub fn as_str(&self) -> &str {
        match self {
            Text::Ref(text) => text,
            Text::Own(text) => text.expose(),
        }
    }

    pub fn into_secret(self) -> SecretString {
        match self {
            Text::Ref(text) => SecretString::new(text),
            Text::Own(text) => text,
        }
    }
}

/// Names that are no values but have attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    User,
    Project,
    Fields,
}

#[derive(Clone)]
pub(crate) enum Val<'a> {
    /// Nothing was given: an optional field left out.
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text<'a>),
    /// A list or a map.
    Json(Cow<'a, Value>),
    Object(Object),
}

impl<'a> Val<'a> {
    pub fn own(text: impl Into<String>) -> Self {
        Val::Text(Text::Own(SecretString::new(text)))
    }

    pub fn from_json(value: &'a Value) -> Self {
        match value {
            Value::Null => Val::None,
            Value::Bool(flag) => Val::Bool(*flag),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Val::Int(whole),
                (None, Some(real)) => Val::Float(real),
                (None, None) => Val::None,
            },
            Value::String(text) => Val::Text(Text::Ref(text)),
            Value::Array(_) | Value::Object(_) => Val::Json(Cow::Borrowed(value)),
        }
    }

    pub fn from_owned_json(value: Value) -> Val<'static> {
        match value {
            Value::String(text) => Val::own(text),
            Value::Array(_) | Value::Object(_) => Val::Json(Cow::Owned(value)),
            ref scalar => match Val::from_json(scalar) {
                Val::Bool(flag) => Val::Bool(flag),
                Val::Int(whole) => Val::Int(whole),
                Val::Float(real) => Val::Float(real),
                _ => Val::None,
            },
        }
    }

    pub fn is_true(&self) -> bool {
        match self {
            Val::None => false,
            Val::Bool(flag) => *flag,
            Val::Int(whole) => *whole != 0,
            Val::Float(real) => *real != 0.0,
            Val::Text(text) => !text.as_str().is_empty(),
            Val::Json(value) => match value.as_ref() {
                Value::Array(items) => !items.is_empty(),
                Value::Object(map) => !map.is_empty(),
                _ => false,
            },
            Val::Object(_) => true,
        }
    }

    /// "a number", …: for messages that must not show the value.
    pub fn what(&self) -> &'static str {
        match self {
            Val::None => "nothing",
            Val::Bool(_) => "a boolean",
            Val::Int(_) | Val::Float(_) => "a number",
            Val::Text(_) => "a text",
            Val::Json(value) if value.is_array() => "a list",
            Val::Json(_) | Val::Object(_) => "a map",
        }
    }

    pub fn to_json(&self) -> Option<Value> {
        Some(match self {
            Val::None => Value::Null,
            Val::Bool(flag) => Value::Bool(*flag),
            Val::Int(whole) => Value::from(*whole),
            Val::Float(real) => Value::from(*real),
            Val::Text(text) => Value::String(text.as_str().to_owned()),
            Val::Json(value) => value.as_ref().clone(),
            Val::Object(_) => return None,
        })
    }

    /// As it is written into a text. `None` for what has no text of its own.
    pub fn to_text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Val::Text(text) => Cow::Borrowed(text.as_str()),
            Val::Bool(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
            Val::Int(whole) => Cow::Owned(whole.to_string()),
            Val::Float(real) => Cow::Owned(Value::from(*real).to_string()),
            Val::None | Val::Json(_) | Val::Object(_) => return None,
        })
    }

    pub fn bytes(&self) -> usize {
        match self {
            Val::Text(text) => text.as_str().len(),
            Val::Json(Cow::Owned(value)) => json_bytes(value),
            _ => 8,
        }
    }
}

pub(crate) fn json_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| json_bytes(item) + 1).sum::<usize>() + 2,
        Value::Object(map) => {
            map.iter().map(|(key, item)| key.len() + json_bytes(item) + 4).sum::<usize>() + 2
        }
        _ => 8,
    }
}
