//! Answers are read by a small subset of paths: `data.items[0].id`, `data[-1]`, `["odd.key"]`, and
//! `items[].id` for the same of every item. No expressions, no recursion: the time is that of the answer.

use serde_json::{Map, Value};

/// A place in a JSON answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    steps: Vec<Step>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    At(i64),
    Each,
}

impl Path {
    /// An empty text or `$` is the whole answer.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| Err(format!("`{}` is no path: {why}", text.chars().take(80).collect::<String>()));
        let mut steps = Vec::new();
        let mut rest = text.trim();
        rest = rest.strip_prefix('$').unwrap_or(rest);
        let mut first = true;
        while !rest.is_empty() {
            if steps.len() >= 32 {
                return wrong("more than 32 steps");
            }
            if let Some(inner) = rest.strip_prefix('[') {
                if let Some(quote) = inner.chars().next().filter(|c| matches!(c, '"' | '\'')) {
                    let Some(end) = inner[1..].find(quote) else { return wrong("a quote is not closed") };
                    steps.push(Step::Key(inner[1..=end].to_owned()));
                    let Some(after) = inner[end + 2..].strip_prefix(']') else {
                        return wrong("`]` is missing");
                    };
                    rest = after;
                } else {
                    let Some(end) = inner.find(']') else { return wrong("`]` is missing") };
                    match inner[..end].trim() {
                        "" | "*" => steps.push(Step::Each),
                        number => match number.parse() {
                            Ok(at) => steps.push(Step::At(at)),
                            Err(_) => return wrong("in `[…]` stands a number, a text in quotes, or nothing"),
                        },
                    }
                    rest = &inner[end + 1..];
                }
            } else {
                if !first || rest.starts_with('.') {
                    let Some(after) = rest.strip_prefix('.') else { return wrong("a `.` is missing") };
                    rest = after;
                }
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                if end == 0 {
                    return wrong("a name is missing");
                }
                steps.push(Step::Key(rest[..end].to_owned()));
                rest = &rest[end..];
            }
            first = false;
        }
        Ok(Self { steps, text: text.to_owned() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The value there; with `[]` in the path a list of those that are there.
    pub fn get(&self, answer: &Value) -> Option<Value> {
        follow(&self.steps, answer)
    }

    /// The value there, if the path names a single one: without a copy.
    pub fn get_ref<'v>(&self, answer: &'v Value) -> Option<&'v Value> {
        self.steps.iter().try_fold(answer, |at, step| one(step, at))
    }

    /// The place itself, to be replaced.
    fn get_mut<'v>(&self, answer: &'v mut Value) -> Option<&'v mut Value> {
        self.steps.iter().try_fold(answer, |at, step| match step {
            Step::Key(name) => at.get_mut(name.as_str()),
            Step::At(index) => {
                let items = at.as_array_mut()?;
                let index = index_of(*index, items.len())?;
                items.get_mut(index)
            }
            Step::Each => None,
        })
    }
}

fn index_of(at: i64, len: usize) -> Option<usize> {
    if at < 0 { len.checked_sub(usize::try_from(at.unsigned_abs()).ok()?) } else { usize::try_from(at).ok() }
}

fn one<'v>(step: &Step, at: &'v Value) -> Option<&'v Value> {
    match step {
        Step::Key(name) => match at {
            // `data.0.id` as token answers write it.
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            other => other.get(name.as_str()),
        },
        Step::At(index) => at.as_array().and_then(|items| items.get(index_of(*index, items.len())?)),
        Step::Each => None,
    }
}

fn follow(steps: &[Step], at: &Value) -> Option<Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(at.clone()) };
    match step {
        Step::Each => {
            Some(Value::Array(at.as_array()?.iter().filter_map(|item| follow(rest, item)).collect()))
        }
        step => follow(rest, one(step, at)?),
    }
}

/// `items`, `value`, `label`: a list of choices out of an answer.
#[derive(Clone, Debug)]
pub struct Select {
    pub items: Path,
    pub value: Path,
    pub label: Option<Path>,
    /// Further members of each choice.
    pub extra: Vec<(String, Path)>,
}

impl Select {
    pub fn apply(&self, answer: &Value) -> Option<Value> {
        let found = self.items.get(answer)?;
        let items = match &found {
            Value::Array(items) => items.clone(),
            // `{id: {…}, id: {…}}`: the key is the member `key` of each.
            Value::Object(map) => map
                .iter()
                .map(|(key, item)| {
                    let mut item = match item {
                        Value::Object(inner) => inner.clone(),
                        other => Map::from_iter([("value".to_owned(), other.clone())]),
                    };
                    item.entry("key").or_insert_with(|| key.as_str().into());
                    Value::Object(item)
                })
                .collect(),
            _ => return None,
        };
        let chosen = items
            .iter()
            .filter_map(|item| {
                let value = self.value.get(item)?;
                let mut choice = Map::new();
                let label =
                    self.label.as_ref().and_then(|path| path.get(item)).unwrap_or_else(|| value.clone());
                choice.insert("value".into(), value);
                choice.insert("label".into(), label);
                for (name, path) in &self.extra {
                    if let Some(value) = path.get(item) {
                        choice.insert(name.clone(), value);
                    }
                }
                Some(Value::Object(choice))
            })
            .collect();
        Some(Value::Array(chosen))
    }
}

/// Which members of an answer are handed on, under which name.
#[derive(Clone, Debug)]
pub struct Shape {
    pub items: Option<Path>,
    pub fields: Vec<(String, Path)>,
}

impl Shape {
    pub(crate) fn apply(&self, answer: &Value) -> Option<Value> {
        let shape = |item: &Value| {
            if self.fields.is_empty() {
                return item.clone();
            }
            Value::Object(
                self.fields.iter().filter_map(|(name, path)| Some((name.clone(), path.get(item)?))).collect(),
            )
        };
        match &self.items {
            None => Some(shape(answer)),
            Some(items) => match items.get(answer)? {
                Value::Array(items) => Some(Value::Array(items.iter().map(shape).collect())),
                _ => None,
            },
        }
    }
}

/// Keeps of the list at `items` what `keep` wants. `None` when there is no such list.
pub(crate) fn retain<E>(
    items: &Path,
    mut answer: Value,
    mut keep: impl FnMut(&Value) -> Result<bool, E>,
) -> Result<Option<Value>, E> {
    let Some(Value::Array(list)) = items.get_mut(&mut answer) else { return Ok(None) };
    let mut kept = Vec::with_capacity(list.len());
    for item in std::mem::take(list) {
        if keep(&item)? {
            kept.push(item);
        }
    }
    *list = kept;
    Ok(Some(answer))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_find_what_is_there() {
        let answer = json!({"data": {"items": [{"id": 1, "odd.key": "x"}, {"id": 2}]}, "ok": true});
        for (path, value) in [
            ("ok", Some(json!(true))),
            ("$.data.items[0].id", Some(json!(1))),
            ("data.items[-1].id", Some(json!(2))),
            ("data.items[0][\"odd.key\"]", Some(json!("x"))),
            ("data.items[].id", Some(json!([1, 2]))),
            ("data.items[9]", None),
            ("data.items[-9]", None),
            ("ok.nothing", None),
            ("", Some(answer.clone())),
        ] {
            assert_eq!(Path::parse(path).unwrap().get(&answer), value, "{path}");
        }
        for wrong in ["a..b", "a[", "a[x]", ".", "a['b", "a['b'", "a]b[0]c"] {
            assert!(Path::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_choice_has_value_and_label() {
        let select = Select {
            items: Path::parse("list").unwrap(),
            value: Path::parse("id").unwrap(),
            label: Some(Path::parse("name").unwrap()),
            extra: vec![],
        };
        let answer = json!({"list": [{"id": 1, "name": "One"}, {"id": 2}, {"name": "no id"}]});
        assert_eq!(
            select.apply(&answer),
            Some(json!([{"value": 1, "label": "One"}, {"value": 2, "label": 2}]))
        );
        assert_eq!(select.apply(&json!({"list": 1})), None);
    }
}
