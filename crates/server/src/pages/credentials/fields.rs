//! A connector's fields as fields of a form, and what was typed into them as values. Names of inputs are JSON pointers
//! into the request that the API would get (`/values/production/client_id`), so that what use cases point at is found.

use latchstring_broker::definitions::{AuthMethod, Field as Defined, FieldType};
use latchstring_model::FieldError;
use serde_json::{Map, Value, json};

use crate::pages::ui::field::Answer;
use crate::pages::ui::{Field, Wrong};
use crate::texts::{Rich, T, place};

/// What a form sent, in order.
#[derive(Default)]
pub struct Pairs(pub Vec<(String, String)>);

impl Pairs {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Without the blanks around it; `None` where nothing was typed.
    pub fn given(&self, name: &str) -> Option<String> {
        self.get(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    pub fn ticked(&self, name: &str) -> bool {
        self.get(name) == Some("yes")
    }

    pub fn sent(&self) -> bool {
        !self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What a set of values holds already.
pub struct Stored<'a> {
    pub fields: &'a Map<String, Value>,
    /// Names of secret fields that are set, each with when and by whom.
    pub secrets: Vec<(String, Option<Rich>)>,
}

/// Where a form stands: the pointer of its set of values, what was typed, what is stored.
pub struct Set<'a> {
    pub t: T,
    pub pointer: String,
    pub method: &'a AuthMethod,
    pub pairs: &'a Pairs,
    pub stored: Option<&'a Stored<'a>>,
}

/// A member that asks the server to make a key.
const GENERATE: &str = "?generate";
/// A member that takes an optional secret away.
const CLEAR: &str = "?clear";
/// All values of a method that takes any.
const WHOLE: &str = "?json";

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A value as text that can be typed.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(map) if map.len() == 1 && map.get("literal").is_some_and(Value::is_string) => {
            map.get("literal").and_then(Value::as_str).unwrap_or_default().to_owned()
        }
        other => other.to_string(),
    }
}

/// `Name: value`, one per line.
fn lines_of(value: &Value) -> String {
    match value {
        Value::Object(map) if !map.contains_key("literal") => {
            map.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect::<Vec<_>>().join("\n")
        }
        Value::Array(list) => list.iter().map(shown).collect::<Vec<_>>().join("\n"),
        other => shown(other),
    }
}

fn text_of(field: &Defined, value: &Value) -> String {
    match field.ty {
        FieldType::Map | FieldType::List => lines_of(value),
        FieldType::Json if !value.is_string() => {
            serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
        }
        _ => shown(value),
    }
}

pub fn label_of(field: &Defined) -> String {
    field.label.clone().unwrap_or_else(|| field.name.replace('_', " "))
}

/// As RFC 6749 section 3.3 has them: several with blanks between.
fn is_scopes(field: &Defined) -> bool {
    matches!(field.name.as_str(), "scope" | "scopes") && field.pattern.is_none()
}

impl<'a> Set<'a> {
    fn name(&self, field: &Defined) -> String {
        format!("{}/{}", self.pointer, escaped(&field.name))
    }

    /// What stands in the field when the page is drawn; never a secret.
    fn text(&self, field: &Defined) -> String {
        if field.secret {
            return String::new();
        }
        if self.pairs.sent() {
            return self.pairs.get(&self.name(field)).unwrap_or_default().to_owned();
        }
        let value = match self.stored {
            Some(stored) => stored.fields.get(&field.name),
            None => field.default.as_ref(),
        };
        value.map(|value| text_of(field, value)).unwrap_or_default()
    }

    fn secret_kept(&self, field: &Defined) -> Option<Rich> {
        let stored = self.stored?;
        let (_, when) = stored.secrets.iter().find(|(name, _)| *name == field.name)?;
        Some(when.clone().unwrap_or_else(|| self.t.common.secret_set.rich()))
    }

    /// `Only where … is …`, in words and for the script.
    fn when(&self, field: &Defined) -> Option<(String, String)> {
        let mut words = Vec::new();
        let mut data = Map::new();
        for (name, values) in &field.visible_when {
            let other = self.method.field(name)?;
            let labels: Vec<String> = values
                .iter()
                .map(|value| {
                    let value = shown(value);
                    let option = other.options.iter().find(|(known, _)| *known == value);
                    option.map_or(value, |(_, label)| label.clone())
                })
                .collect();
            let text = self.t.common.only_when.with("field", &label_of(other));
            words.push(text.with("value", &labels.join(&format!(" {} ", self.t.common.or))).0);
            data.insert(self.name(other), values.iter().map(|value| Value::from(shown(value))).collect());
        }
        (!words.is_empty()).then(|| (words.join(" "), Value::Object(data).to_string()))
    }

    fn answers(&self, field: &Defined) -> Vec<Answer> {
        let t = self.t;
        let mut answers = Vec::new();
        if field.default.is_none() || field.optional {
            answers.push(Answer::new("", t.making.default_is));
        }
        if field.ty == FieldType::Boolean {
            answers.extend([Answer::new("true", t.making.yes), Answer::new("false", t.making.no)]);
        } else {
            answers.extend(field.options.iter().map(|(value, label)| Answer::new(value, label)));
        }
        answers
    }

    fn kind(&self, field: &Defined) -> Field {
        let (t, name, label) = (self.t, self.name(field), label_of(field));
        match field.ty {
            FieldType::Choice | FieldType::Boolean => Field::choice(t, name, label, self.answers(field)),
            FieldType::Pem => Field::file(t, name, label, 5).help_more(t.common.pem_help),
            FieldType::Map => Field::area(t, name, label, 3).mono().help_more(t.common.map_help),
            FieldType::List => Field::area(t, name, label, 3).mono().help_more(t.common.list_help),
            FieldType::Json => Field::file(t, name, label, 6),
            FieldType::Text if field.multiline => Field::area(t, name, label, 5),
            FieldType::Text | FieldType::Url if field.secret => Field::secret(t, name, label),
            FieldType::Url => Field::url(t, name, label),
            FieldType::Text if is_scopes(field) => Field::text(t, name, label).mono().tags(),
            FieldType::Text => Field::text(t, name, label).autocomplete("off"),
            FieldType::Integer | FieldType::Number => Field::number(t, name, label),
        }
    }

    /// The field, with what was typed or is stored, and what is wrong with it.
    pub fn draw(&self, field: &Defined, wrong: &mut Wrong) -> Field {
        let mut drawn = self.kind(field).value(self.text(field));
        if let Some(help) = &field.help {
            drawn = drawn.help(help);
        }
        if let Some(example) = field.examples.first() {
            drawn = drawn.example(text_of(field, example));
        } else if let Some(text) = &field.placeholder {
            drawn = drawn.placeholder(text);
        }
        if let Some(pattern) = field.typed_pattern() {
            drawn = drawn.pattern(&pattern.source, pattern.message.clone().unwrap_or_default());
        }
        if field.optional {
            drawn = drawn.optional();
        }
        if field.secret {
            drawn = drawn.never_shown();
        }
        if let Some((words, data)) = self.when(field) {
            drawn = drawn.when(words, data);
        }
        if let Some(kept) = self.secret_kept(field) {
            drawn = drawn.kept(kept);
            if field.optional {
                let name = format!("{}{CLEAR}", self.name(field));
                let ticked = self.pairs.ticked(&name);
                drawn = drawn.tick_below(name, self.t.common.clear, "", ticked);
            }
        }
        if field.generate.as_deref().is_some_and(|kind| kind != "random32") {
            let name = format!("{}{GENERATE}", self.name(field));
            let ticked = self.pairs.ticked(&name);
            drawn = drawn.tick_below(name, self.t.common.generate, self.t.common.generate_help, ticked);
        }
        drawn.wrong(wrong)
    }

    /// A method that takes any values has them typed as one JSON object.
    pub fn draw_whole(&self, wrong: &mut Wrong) -> Option<Field> {
        if !self.method.open_fields {
            return None;
        }
        let (t, name) = (self.t, format!("{}/{WHOLE}", self.pointer));
        let field = Field::file(t, name, t.making.json, 8).help(t.making.json_help).never_shown();
        let field = match self.stored {
            Some(_) => field.optional().kept(t.common.secret_set.rich()),
            None => field.example(r#"{"baseUrl": "https://api.example.com", "apiKey": "…"}"#),
        };
        Some(field.wrong(wrong))
    }

    fn read_one(&self, field: &Defined, text: &str, before: Option<&Value>) -> Result<Value, String> {
        let t = self.t;
        let text = text.replace("\r\n", "\n");
        let template = text.trim_start().starts_with("{{") || text.trim_start().starts_with("{%");
        match field.ty {
            FieldType::Json | FieldType::Map | FieldType::List
                if !template && text.trim_start().starts_with(['{', '[']) =>
            {
                serde_json::from_str(&text).map_err(|error| place::of_json(&error))
            }
            FieldType::Json if !template => {
                serde_json::from_str(&text).map_err(|error| place::of_json(&error))
            }
            FieldType::Map if !template => {
                let read = read_map(&text).map_err(|line| t.making.bad_map.with("n", &line).0);
                read.map(|read| as_before(before, read))
            }
            FieldType::List if !template => {
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                Ok(as_before(before, lines.map(Value::from).collect()))
            }
            FieldType::Boolean if text == "true" || text == "false" => Ok(Value::Bool(text == "true")),
            _ => Ok(Value::String(text)),
        }
    }

    /// What was typed, as the API takes it. Where something is stored, what is left empty is cleared, unless it is
    /// secret: that is kept.
    pub fn read(&self) -> Result<Map<String, Value>, Vec<FieldError>> {
        let mut values = Map::new();
        let mut errors = Vec::new();
        if self.method.open_fields {
            self.read_whole(&mut values, &mut errors);
        }
        for field in &self.method.fields {
            let name = self.name(field);
            if self.pairs.ticked(&format!("{name}{GENERATE}")) {
                values.insert(field.name.clone(), json!({"generate": true}));
                continue;
            }
            if self.pairs.ticked(&format!("{name}{CLEAR}")) {
                values.insert(field.name.clone(), Value::Null);
                continue;
            }
            let text = self.pairs.get(&name).unwrap_or_default();
            let before = self.stored.and_then(|stored| stored.fields.get(&field.name));
            if text.trim().is_empty() {
                if before.is_some() && !field.secret {
                    values.insert(field.name.clone(), Value::Null);
                }
                continue;
            }
            // As it stands: a literal text with braces stays one.
            let unchanged = before.filter(|before| text_of(field, before) == text.replace("\r\n", "\n"));
            match unchanged.cloned().map_or_else(|| self.read_one(field, text, before), Ok) {
                Ok(value) => {
                    values.insert(field.name.clone(), value);
                }
                Err(detail) => errors.push(FieldError::new(name, detail)),
            }
        }
        if errors.is_empty() { Ok(values) } else { Err(errors) }
    }

    fn read_whole(&self, values: &mut Map<String, Value>, errors: &mut Vec<FieldError>) {
        let name = format!("{}/{WHOLE}", self.pointer);
        // As it was typed, or its lines would be counted wrongly.
        let Some(text) = self.pairs.get(&name).filter(|text| !text.trim().is_empty()) else { return };
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(map)) => values.extend(map),
            Ok(_) => errors.push(FieldError::new(name, self.t.making.bad_json_object)),
            Err(error) => errors.push(FieldError::new(name, place::of_json(&error))),
        }
    }
}

/// Of lines those that were not touched: a literal text with braces stays one when another line is changed.
fn as_before(before: Option<&Value>, read: Value) -> Value {
    let kept = |item: Value, before: Option<&Value>| {
        before.filter(|before| shown(before) == shown(&item)).cloned().unwrap_or(item)
    };
    match (before, read) {
        (Some(Value::Object(before)), Value::Object(read)) => Value::Object(
            read.into_iter()
                .map(|(name, item)| {
                    let item = kept(item, before.get(&name));
                    (name, item)
                })
                .collect(),
        ),
        (Some(Value::Array(before)), Value::Array(read)) => read
            .into_iter()
            .map(|item| {
                let same = before.iter().find(|before| shown(before) == shown(&item));
                kept(item, same)
            })
            .collect(),
        (_, read) => read,
    }
}

/// `Name: value`, one per line; the number of a line that is none.
fn read_map(text: &str) -> Result<Value, usize> {
    let mut map = Map::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let (name, value) = line.split_once(':').ok_or(at + 1)?;
        map.insert(name.trim().to_owned(), value.trim().into());
    }
    Ok(Value::Object(map))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn maps_are_lines() {
        assert_eq!(read_map("A: b\n\nC:d: e\r\n").unwrap(), json!({"A": "b", "C": "d: e"}));
        assert_eq!(read_map("A: b\noops"), Err(2));
        assert_eq!(lines_of(&json!({"A": "b", "C": 1})), "A: b\nC: 1");
        assert_eq!(lines_of(&json!(["a", "b"])), "a\nb");
        assert_eq!(shown(&json!({"literal": "{{x}}"})), "{{x}}");
        assert_eq!(lines_of(&json!({"A": {"literal": "{{x}}"}})), "A: {{x}}");
    }

    #[test]
    fn a_line_that_is_not_touched_stays_the_literal_that_it_was() {
        let map = json!({"A": {"literal": "{{x}}"}, "B": {"literal": "{{x}}"}, "N": 1});
        let read = read_map("A: {{x}}\nB: {{y}}\nC: {{x}}\nN: 1").unwrap();
        assert_eq!(
            as_before(Some(&map), read),
            json!({"A": {"literal": "{{x}}"}, "B": "{{y}}", "C": "{{x}}", "N": 1})
        );
        assert_eq!(
            as_before(Some(&json!([{"literal": "{{x}}"}, "b"])), json!(["b", "{{x}}", "{{y}}"])),
            json!(["b", {"literal": "{{x}}"}, "{{y}}"])
        );
        assert_eq!(as_before(None, json!(["{{x}}"])), json!(["{{x}}"]));
    }
}
