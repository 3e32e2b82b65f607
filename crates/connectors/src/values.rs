//! The values of a credential: checked against the method's fields, normalised, templates parsed.

use std::fmt;

use latchstring_model::{FieldError, SecretString};
use serde_json::{Map, Value, json};

use crate::definition::{AuthMethod, Definition, JsonTemplate, Operation};
use crate::diagnostic::nearest;
use crate::field::{Field, FieldType, PemKind};
use crate::read::{Names, Scope, misplaced, pointer};
use crate::template::{Template, is_template};

/// The longest text of one value.
pub const MAX_VALUE: usize = 64 * 1024;
const MAX_LEVELS: usize = 16;

/// Checked values of one environment of a credential.
#[derive(Clone, Default)]
pub struct Values {
    pub(crate) fields: Vec<(String, Stored)>,
}

#[derive(Clone)]
pub(crate) enum Stored {
    Text(SecretString),
    Template {
        source: SecretString,
        template: Template,
    },
    /// Numbers, booleans, lists, maps without templates in them; of a `json` field also a literal that begins like JSON.
    Json(Value),
    JsonTemplate {
        source: Value,
        template: JsonTemplate,
    },
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.fields.iter().map(|(name, _)| name)).finish()
    }
}

impl Values {
    pub(crate) fn get(&self, name: &str) -> Option<&Stored> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, stored)| stored)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// For sealing, and for the owner: read back by [`Definition::load_values`] or [`Definition::check_values`] it is
    /// the same, so what is a text here never comes back as a template.
    pub fn to_json(&self) -> Map<String, Value> {
        self.fields
            .iter()
            .map(|(name, stored)| {
                let value = match stored {
                    Stored::Text(text) if is_template(text.expose()) => wrapped(text.expose()),
                    Stored::Text(text) | Stored::Template { source: text, .. } => text.expose().into(),
                    Stored::Json(Value::String(text)) if begins_like_json(text) => wrapped(text),
                    Stored::Json(value) => literally(value),
                    Stored::JsonTemplate { source, .. } => source.clone(),
                };
                (name.clone(), value)
            })
            .collect()
    }

    /// Names of secrets that the templates in these values ask for: whoever sets them needs the right to.
    pub fn secrets_named(&self) -> Vec<String> {
        let mut out = std::collections::BTreeSet::new();
        for (_, stored) in &self.fields {
            match stored {
                Stored::Template { template, .. } => out.extend(template.secrets().iter().cloned()),
                Stored::JsonTemplate { template, .. } => json_secrets(template, &mut out),
                Stored::Text(_) | Stored::Json(_) => {}
            }
        }
        out.into_iter().collect()
    }
}

fn json_secrets(template: &JsonTemplate, out: &mut std::collections::BTreeSet<String>) {
    match template {
        JsonTemplate::Value(_) => {}
        JsonTemplate::Text(template) => out.extend(template.secrets().iter().cloned()),
        JsonTemplate::List(items) => items.iter().for_each(|item| json_secrets(item, out)),
        JsonTemplate::Map(map) => map.iter().for_each(|(_, item)| json_secrets(item, out)),
    }
}

/// The text of `{"literal": "…"}`: a text that is no template, whatever it looks like.
fn literal(value: &Value) -> Option<&str> {
    value.as_object().and_then(literal_of)
}

fn literal_of(map: &Map<String, Value>) -> Option<&str> {
    map.get("literal").and_then(Value::as_str).filter(|_| map.len() == 1)
}

fn wrapped(text: &str) -> Value {
    json!({"literal": text})
}

/// The value as it has to be given for all of its texts to be taken as they are.
pub fn literally(value: &Value) -> Value {
    // Somebody's own member of that name, and no other: one level deeper it is no literal any more.
    if let Some(text) = literal(value) {
        return json!({"literal": wrapped(text)});
    }
    match value {
        Value::String(text) if is_template(text) => wrapped(text),
        Value::Array(items) => items.iter().map(literally).collect(),
        Value::Object(map) => map.iter().map(|(name, item)| (name.clone(), literally(item))).collect(),
        other => other.clone(),
    }
}

/// Whether a text is rather JSON than words, or a template.
fn begins_like_json(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with(['{', '[']) && !["{{", "{%", "{#"].iter().any(|sign| text.starts_with(sign))
}

impl Definition {
    /// All that is wrong at once; pointers are relative to the values (`/client_id`).
    pub fn check_values(
        &self,
        method: &AuthMethod,
        given: &Map<String, Value>,
    ) -> Result<Values, Vec<FieldError>> {
        let check = Check { fields: &method.fields, open: method.open_fields, templates: true };
        check.run(given)
    }

    /// Values that were checked when they were stored: fields that have gone since are kept, and
    /// constraints that have come since are not applied.
    pub fn load_values(
        &self,
        method: &AuthMethod,
        stored: &Map<String, Value>,
    ) -> Result<Values, Vec<FieldError>> {
        let mut out = Values::default();
        let mut errors = Vec::new();
        for (name, value) in stored {
            let undeclared = undeclared(name, value);
            let field = method.field(name).unwrap_or(&undeclared);
            match store(field, value, &method.fields, true, &pointer("", name)) {
                Ok(Some(stored)) => out.fields.push((name.clone(), stored)),
                Ok(None) => {}
                Err(wrong) => errors.extend(wrong),
            }
        }
        if errors.is_empty() { Ok(out) } else { Err(errors) }
    }

    /// What a caller gives to an operation: never a template, whatever it looks like.
    pub fn check_input(
        &self,
        operation: &Operation,
        given: &Map<String, Value>,
    ) -> Result<Value, Vec<FieldError>> {
        let check = Check { fields: &operation.input, open: false, templates: false };
        let values = check.run(given)?;
        let mut out = Map::new();
        for field in &operation.input {
            let value = match values.get(&field.name) {
                Some(Stored::Text(text)) => text.expose().into(),
                Some(Stored::Json(value)) => value.clone(),
                _ => field.default.clone().unwrap_or(Value::Null),
            };
            out.insert(field.name.clone(), value);
        }
        Ok(Value::Object(out))
    }
}

struct Check<'f> {
    fields: &'f [Field],
    open: bool,
    templates: bool,
}

impl Check<'_> {
    fn run(&self, given: &Map<String, Value>) -> Result<Values, Vec<FieldError>> {
        let mut out = Values::default();
        let mut errors = Vec::new();
        for field in self.fields {
            let at = pointer("", &field.name);
            let value = given.get(&field.name).unwrap_or(&Value::Null);
            match store(field, value, self.fields, self.templates, &at) {
                Ok(Some(stored)) => match constraints(field, &stored) {
                    Ok(()) => out.fields.push((field.name.clone(), stored)),
                    Err(detail) => errors.push(FieldError::new(at, detail)),
                },
                Ok(None) => {
                    let needed =
                        !field.optional && field.default.is_none() && visible(field, self.fields, given);
                    if needed {
                        let what = field.label.as_deref().unwrap_or(&field.name);
                        errors.push(FieldError::new(at, format!("{what} is missing")));
                    }
                }
                Err(wrong) => errors.extend(wrong),
            }
        }
        for (name, value) in given {
            if self.fields.iter().any(|field| field.name == *name) {
                continue;
            }
            let at = pointer("", name);
            if !self.open {
                let names = self.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>();
                let mut detail = match names.as_slice() {
                    [] => "there are no fields here".to_owned(),
                    names => format!("there is no such field; there are {}", names.join(", ")),
                };
                if let Some(near) = nearest(name, names.iter().copied()) {
                    detail = format!("there is no such field (did you mean `{near}`?)");
                }
                errors.push(FieldError::new(at, detail));
                continue;
            }
            match store(&undeclared(name, value), value, self.fields, self.templates, &at) {
                Ok(Some(stored)) => out.fields.push((name.clone(), stored)),
                Ok(None) => {}
                Err(wrong) => errors.extend(wrong),
            }
        }
        if errors.is_empty() { Ok(out) } else { Err(errors) }
    }
}

/// A field that nobody has declared takes anything; a text stays one also where it is JSON, since some APIs want a key
/// file as it is.
fn undeclared(name: &str, value: &Value) -> Field {
    let text = value.is_string() || literal(value).is_some();
    let mut field = Field::new(name, if text { FieldType::Text } else { FieldType::Json });
    field.secret = true;
    field
}

/// Whether a field is asked for, given the others (their defaults count).
pub(crate) fn visible(field: &Field, fields: &[Field], given: &Map<String, Value>) -> bool {
    field.visible_when.iter().all(|(name, wanted)| {
        let other = fields.iter().find(|field| field.name == *name);
        let value = given
            .get(name)
            .filter(|value| !value.is_null())
            .or_else(|| other.and_then(|field| field.default.as_ref()))
            .unwrap_or(&Value::Null);
        wanted.iter().any(|wanted| same(wanted, value))
    })
}

/// `true` and `"true"` are the same answer to a form.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    a == b || text(a) == text(b)
}

/// Whether a plain value would be accepted: for defaults.
pub(crate) fn fits(field: &Field, value: &Value) -> Result<(), String> {
    made(field, value).map(|_| ())
}

/// What a template made of a field, normalised and checked as if it had been typed.
pub(crate) fn made(field: &Field, value: &Value) -> Result<Option<Stored>, String> {
    match store(field, value, &[], false, "") {
        Ok(Some(stored)) => constraints(field, &stored).map(|()| Some(stored)),
        Ok(None) => Ok(None),
        Err(wrong) => Err(wrong.into_iter().map(|error| error.detail).collect::<Vec<_>>().join("; ")),
    }
}

type Wrong = Vec<FieldError>;

fn one<T>(at: &str, detail: impl Into<String>) -> Result<T, Wrong> {
    Err(vec![FieldError::new(at, detail)])
}

/// Normalises and parses. `None`: nothing was given.
fn store(
    field: &Field,
    value: &Value,
    fields: &[Field],
    templates: bool,
    at: &str,
) -> Result<Option<Stored>, Wrong> {
    if value.is_null() {
        return Ok(None);
    }
    // Where nothing is a template, this is a map like any other.
    let as_it_is = templates && literal(value).is_some();
    let value = if as_it_is { &value["literal"] } else { value };
    if let Value::String(text) = value {
        if text.len() > MAX_VALUE {
            return one(at, format!("too long: {} bytes, at most {MAX_VALUE}", text.len()));
        }
        if text.is_empty() {
            return Ok(None);
        }
        let structured =
            matches!(field.ty, FieldType::Json | FieldType::Map | FieldType::List) && begins_like_json(text);
        if as_it_is && structured && field.ty == FieldType::Json {
            return Ok(Some(Stored::Json(value.clone())));
        }
        if templates && !as_it_is && is_template(text) && !structured {
            return parse_template(text, scope(field), fields, at).map(|template| {
                Some(Stored::Template { source: SecretString::new(text.as_str()), template })
            });
        }
    }
    typed(field, value, fields, templates && !as_it_is, at).map(Some)
}

fn scope(field: &Field) -> Scope {
    if field.sees_fields { Scope::VALUE_WITH_FIELDS } else { Scope::VALUE }
}

fn parse_template(text: &str, scope: Scope, fields: &[Field], at: &str) -> Result<Template, Wrong> {
    let explain = |message: String, suggestion: Option<String>| {
        let near = suggestion.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
        format!(
            "{message}{near}. A value with `{{{{` is a template; to take it as it is, send {{\"literal\": \"…\"}}"
        )
    };
    match Template::parse(text) {
        Err(error) => one(at, explain(error.message, error.suggestion)),
        Ok(template) => {
            let names = Names {
                method: String::new(),
                names: fields.iter().map(|field| field.name.clone()).collect(),
                // The one field that sees others belongs to a method that takes any.
                open: scope.fields,
            };
            match misplaced(template.known(), scope, &[names]) {
                Some((message, suggestion)) => one(at, explain(message, suggestion)),
                None => Ok(template),
            }
        }
    }
}

fn typed(field: &Field, value: &Value, fields: &[Field], templates: bool, at: &str) -> Result<Stored, Wrong> {
    let text = match value {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    };
    match field.ty {
        FieldType::Text | FieldType::Url | FieldType::Pem | FieldType::Choice => {
            let written;
            let text = match (text, value) {
                (Some(text), _) => text,
                (None, Value::Number(_) | Value::Bool(_)) if field.ty == FieldType::Text => {
                    written = value.to_string();
                    &written
                }
                (None, other) => return one(at, format!("a text is needed, not {}", what(other))),
            };
            match plain_text(field, text) {
                Ok(text) => Ok(Stored::Text(text)),
                Err(detail) => one(at, detail),
            }
        }
        FieldType::Integer => {
            let whole = value.as_i64().or_else(|| text.and_then(|text| text.trim().parse().ok()));
            match whole {
                Some(whole) => Ok(Stored::Json(whole.into())),
                None => one(at, "a whole number is needed"),
            }
        }
        FieldType::Number => {
            if value.is_number() {
                return Ok(Stored::Json(value.clone()));
            }
            match text.and_then(|text| text.trim().parse::<f64>().ok()).filter(|real| real.is_finite()) {
                Some(real) => Ok(Stored::Json(real.into())),
                None => one(at, "a number is needed"),
            }
        }
        FieldType::Boolean => match (value, text) {
            (Value::Bool(flag), _) => Ok(Stored::Json((*flag).into())),
            (_, Some("true")) => Ok(Stored::Json(true.into())),
            (_, Some("false")) => Ok(Stored::Json(false.into())),
            _ => one(at, "true or false is needed"),
        },
        FieldType::List => {
            let parsed;
            let items = match (value, text) {
                (Value::Array(items), _) => items,
                (_, Some(text)) if text.trim_start().starts_with('[') => {
                    match serde_json::from_str::<Vec<Value>>(text) {
                        Ok(items) => {
                            parsed = items;
                            &parsed
                        }
                        Err(_) => return one(at, "a list is needed, as in [\"a\", \"b\"]"),
                    }
                }
                (_, Some(text)) => {
                    parsed = text
                        .split(|c: char| c.is_whitespace() || c == ',')
                        .filter(|item| !item.is_empty())
                        .map(Value::from)
                        .collect();
                    &parsed
                }
                _ => return one(at, format!("a list is needed, not {}", what(value))),
            };
            let mut errors = Vec::new();
            for (i, item) in items.iter().enumerate() {
                let text = item.is_string() || item.is_number() || templates && literal(item).is_some();
                if !text {
                    errors.push(FieldError::new(format!("{at}/{i}"), "a text is needed"));
                }
            }
            if !errors.is_empty() {
                return Err(errors);
            }
            structured(field, &Value::Array(items.clone()), fields, templates, at)
        }
        FieldType::Map => {
            let parsed;
            let map = match (value, text) {
                (Value::Object(map), _) => map,
                (_, Some(text)) => match serde_json::from_str::<Map<String, Value>>(text) {
                    Ok(map) => {
                        parsed = map;
                        &parsed
                    }
                    Err(_) => return one(at, "a map is needed, as in {\"name\": \"value\"}"),
                },
                _ => return one(at, format!("a map is needed, not {}", what(value))),
            };
            if templates && literal_of(map).is_some() {
                return one(at, "a map is needed, as in {\"name\": \"value\"}");
            }
            let mut errors = Vec::new();
            for (name, item) in map {
                let nested = item.is_array() || item.is_object() || item.is_null();
                if nested && !(templates && literal(item).is_some()) {
                    errors
                        .push(FieldError::new(pointer(at, name), "a text, a number or a boolean is needed"));
                }
            }
            if !errors.is_empty() {
                return Err(errors);
            }
            structured(field, &Value::Object(map.clone()), fields, templates, at)
        }
        FieldType::Json => match text {
            None => structured(field, value, fields, templates, at),
            Some(text) if begins_like_json(text) => match serde_json::from_str::<Value>(text) {
                Ok(value) => structured(field, &value, fields, templates, at),
                // What a caller gives has no literals; whatever needs more than a text says so.
                Err(_) if !templates => Ok(Stored::Text(SecretString::new(text))),
                Err(error) => one(
                    at,
                    format!(
                        "this begins like JSON but is none (line {}, column {}); to take it as a text, send {{\"literal\": \"…\"}}",
                        error.line(),
                        error.column()
                    ),
                ),
            },
            Some(text) => Ok(Stored::Text(SecretString::new(text))),
        },
    }
}

fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn plain_text(field: &Field, text: &str) -> Result<SecretString, String> {
    match field.ty {
        FieldType::Choice => {
            if field.options.iter().any(|(value, _)| value == text) {
                return Ok(SecretString::new(text));
            }
            let names = field.options.iter().map(|(value, _)| value.as_str()).collect::<Vec<_>>();
            let near = nearest(text, names.iter().copied()).map(|near| format!(" (did you mean `{near}`?)"));
            Err(format!("this is one of {}{}", names.join(", "), near.unwrap_or_default()))
        }
        FieldType::Url => url(field, text),
        FieldType::Pem => pem(field.pem, text).map(|()| SecretString::new(text)),
        _ => Ok(affixed(field, text)),
    }
}

fn affixed(field: &Field, text: &str) -> SecretString {
    let before = field.prefix.as_deref().filter(|prefix| !text.starts_with(prefix)).unwrap_or_default();
    let after = field.suffix.as_deref().filter(|suffix| !text.ends_with(suffix)).unwrap_or_default();
    let mut whole = String::with_capacity(before.len() + text.len() + after.len());
    whole.push_str(before);
    whole.push_str(text);
    whole.push_str(after);
    SecretString::new(whole)
}

/// With or without a slash at the end is the same address, unless the field says `exact`.
fn url(field: &Field, text: &str) -> Result<SecretString, String> {
    let whole = affixed(field, text.trim());
    let whole = whole.expose();
    if let Err(error) = latchstring_model::address::Address::parse(whole) {
        return Err(error.to_string());
    }
    Ok(SecretString::new(if field.exact || whole.contains('?') {
        whole
    } else {
        whole.trim_end_matches('/')
    }))
}

/// Says early what a key parser would say late, in the words of the person who pasted it.
fn pem(kind: PemKind, text: &str) -> Result<(), String> {
    let labels = text
        .match_indices("-----BEGIN ")
        .filter_map(|(at, begin)| {
            let rest = &text[at + begin.len()..];
            rest.split_once("-----").map(|(label, _)| label)
        })
        .collect::<Vec<_>>();
    let has = |part: &str| labels.iter().any(|label| label.contains(part));
    let found = if labels.is_empty() {
        if kind == PemKind::PrivateKeyOrSecret {
            return Ok(());
        }
        if text.trim_start().starts_with("ssh-") || has("OPENSSH") {
            "this is an SSH key"
        } else if text.trim_start().starts_with('{') {
            "this is JSON; paste the value of its key member (often `private_key`)"
        } else {
            "this is not PEM: it has no line `-----BEGIN …-----`"
        }
    } else if has("PRIVATE KEY") {
        if has("OPENSSH") { "this is an SSH key" } else { "this is a private key" }
    } else if has("PUBLIC KEY") {
        "this is a public key"
    } else if has("CERTIFICATE REQUEST") {
        "this is a certificate request"
    } else if has("CERTIFICATE") {
        "this is a certificate"
    } else {
        "this PEM is of another kind"
    };
    let (good, wanted) = match kind {
        PemKind::PrivateKey | PemKind::PrivateKeyOrSecret => (
            has("PRIVATE KEY") && !has("OPENSSH"),
            "the private key is needed (`-----BEGIN PRIVATE KEY-----`, `RSA PRIVATE KEY`, `EC PRIVATE KEY` or `ENCRYPTED PRIVATE KEY`)",
        ),
        PemKind::Certificate => (
            has("CERTIFICATE") && !has("CERTIFICATE REQUEST"),
            "the certificate is needed (`-----BEGIN CERTIFICATE-----`)",
        ),
        PemKind::PublicKey => (has("PUBLIC KEY"), "the public key is needed (`-----BEGIN PUBLIC KEY-----`)"),
    };
    if !good {
        return Err(format!("{found}; {wanted}"));
    }
    for label in &labels {
        if !text.contains(&format!("-----END {label}-----")) {
            return Err(format!(
                "the PEM is cut off: `-----END {label}-----` is missing; paste the whole file, first and last line included"
            ));
        }
    }
    Ok(())
}

fn structured(
    field: &Field,
    value: &Value,
    fields: &[Field],
    templates: bool,
    at: &str,
) -> Result<Stored, Wrong> {
    let mut errors = Vec::new();
    let template = leaves(field, value, fields, templates, at, 0, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(match plain(&template) {
        Some(value) => Stored::Json(value),
        None => Stored::JsonTemplate { source: value.clone(), template },
    })
}

/// The value, where nothing in it is a template.
fn plain(template: &JsonTemplate) -> Option<Value> {
    match template {
        JsonTemplate::Value(value) => Some(value.clone()),
        JsonTemplate::Text(_) => None,
        JsonTemplate::List(items) => items.iter().map(plain).collect(),
        JsonTemplate::Map(map) => {
            let members = map.iter().map(|(name, item)| Some((name.clone(), plain(item)?)));
            members.collect::<Option<Map<_, _>>>().map(Value::Object)
        }
    }
}

fn leaves(
    field: &Field,
    value: &Value,
    fields: &[Field],
    templates: bool,
    at: &str,
    level: usize,
    errors: &mut Wrong,
) -> JsonTemplate {
    if level > MAX_LEVELS {
        errors.push(FieldError::new(at, format!("nested deeper than {MAX_LEVELS} levels")));
        return JsonTemplate::Value(Value::Null);
    }
    let literal = literal(value).filter(|_| templates);
    if let Some(text) = literal.or(value.as_str()) {
        if text.len() > MAX_VALUE {
            errors.push(FieldError::new(at, format!("too long: {} bytes, at most {MAX_VALUE}", text.len())));
        } else if templates && literal.is_none() && is_template(text) {
            match parse_template(text, scope(field), fields, at) {
                Ok(template) => return JsonTemplate::Text(template),
                Err(wrong) => errors.extend(wrong),
            }
        }
        return JsonTemplate::Value(text.into());
    }
    match value {
        Value::Array(items) => JsonTemplate::List(
            items
                .iter()
                .enumerate()
                .map(|(i, item)| {
                    leaves(field, item, fields, templates, &format!("{at}/{i}"), level + 1, errors)
                })
                .collect(),
        ),
        Value::Object(map) => JsonTemplate::Map(
            map.iter()
                .map(|(name, item)| {
                    let at = pointer(at, name);
                    (name.clone(), leaves(field, item, fields, templates, &at, level + 1, errors))
                })
                .collect(),
        ),
        scalar => JsonTemplate::Value(scalar.clone()),
    }
}

/// Of plain values; a template's result is checked by whoever gets it.
fn constraints(field: &Field, stored: &Stored) -> Result<(), String> {
    let text = match stored {
        Stored::Text(text) => Some(text.expose()),
        Stored::Json(Value::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match (text, stored) {
        (Some(text), _) => {
            if let Some(pattern) = &field.pattern
                && !pattern.regex.is_match(text)
            {
                return Err(match &pattern.message {
                    Some(message) => message.clone(),
                    None => format!("this does not look right; it has to fit `{}`", pattern.source),
                });
            }
            let length = text.chars().count();
            if field.min_length.is_some_and(|least| length < least) {
                return Err(format!(
                    "too short: at least {} characters",
                    field.min_length.unwrap_or_default()
                ));
            }
            if field.max_length.is_some_and(|most| length > most) {
                return Err(format!("too long: at most {} characters", field.max_length.unwrap_or_default()));
            }
            if field.ty == FieldType::Text && !field.multiline && text.contains(['\n', '\r']) {
                return Err("there is a line end in it; it is a single line".into());
            }
            Ok(())
        }
        (None, Stored::Json(Value::Number(number))) => {
            let real = number.as_f64().unwrap_or_default();
            if field.min.is_some_and(|least| real < least) {
                return Err(format!("at least {}", field.min.unwrap_or_default()));
            }
            if field.max.is_some_and(|most| real > most) {
                return Err(format!("at most {}", field.max.unwrap_or_default()));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
