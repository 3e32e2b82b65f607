//! Where in an answer a value sits: `authed_user.access_token`, `data.0.token`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names joined with dots; a number picks from a list. A field whose own name has dots is found too:
/// at every level the whole rest is tried as a name first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Path(String);

impl Path {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first name of the path: the answer's field that it uses up.
    pub fn head(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    pub fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        find(value, &self.0)
    }
}

fn find<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    match value {
        Value::Object(fields) => {
            if let Some(found) = fields.get(path) {
                return Some(found);
            }
            let (head, rest) = path.split_once('.')?;
            find(fields.get(head)?, rest)
        }
        Value::Array(items) => {
            let (head, rest) = match path.split_once('.') {
                Some((head, rest)) => (head, Some(rest)),
                None => (path, None),
            };
            let item = items.get(head.parse::<usize>().ok()?)?;
            match rest {
                Some(rest) => find(item, rest),
                None => Some(item),
            }
        }
        _ => None,
    }
}

/// One path or several: the first that leads to something other than `null` and `""` counts.
/// An empty list switches the value off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrMany", into = "OneOrMany")]
pub struct Paths(Vec<Path>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Path),
    Many(Vec<Path>),
}

impl From<OneOrMany> for Paths {
    fn from(read: OneOrMany) -> Self {
        match read {
            OneOrMany::One(path) if path.0.is_empty() => Self(Vec::new()),
            OneOrMany::One(path) => Self(vec![path]),
            OneOrMany::Many(paths) => Self(paths),
        }
    }
}

impl From<Paths> for OneOrMany {
    fn from(paths: Paths) -> Self {
        match <[Path; 1]>::try_from(paths.0) {
            Ok([one]) => OneOrMany::One(one),
            Err(paths) => OneOrMany::Many(paths),
        }
    }
}

impl Paths {
    pub fn of(paths: &[&str]) -> Self {
        Self(paths.iter().map(|path| Path::new(*path)).collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        self.0.iter()
    }

    pub fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.0.iter().filter_map(|path| path.find(value)).find(|v| !v.is_null() && v.as_str() != Some(""))
    }

    /// As [`Paths::find`], for texts and what is written as one: numbers and booleans.
    pub fn text(&self, value: &Value) -> Option<String> {
        self.0.iter().filter_map(|path| path.find(value)).find_map(plain).filter(|text| !text.is_empty())
    }
}

/// A scalar as text; blanks around it are not part of it.
pub(super) fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|t| !t.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_through_objects_lists_and_dotted_names() {
        let answer =
            json!({"a": {"b": [{"c": 1}, {"c": "x"}]}, "u.v": 2, "w": {"x.y": {"z": 3}, "n": null, "e": ""}});
        let at = |path: &str| Path::new(path).find(&answer).cloned();
        assert_eq!(at("a.b.1.c"), Some(json!("x")));
        assert_eq!(at("u.v"), Some(json!(2)));
        assert_eq!(at("w.x.y"), Some(json!({"z": 3})));
        assert_eq!(at("w.x.y.z"), None, "only a whole rest is tried as a name");
        assert_eq!(at("a.b.9.c"), None);
        assert_eq!(at(""), None);
        assert_eq!(Paths::of(&["w.n", "w.e", "a.b.0.c"]).text(&answer).unwrap(), "1");
    }

    #[test]
    fn one_or_many_are_read() {
        let one: Paths = serde_json::from_value(json!("a.b")).unwrap();
        assert_eq!(one, Paths::of(&["a.b"]));
        let many: Paths = serde_json::from_value(json!(["a", "b"])).unwrap();
        assert_eq!(many, Paths::of(&["a", "b"]));
        let none: Paths = serde_json::from_value(json!("")).unwrap();
        assert_eq!(none, Paths::default());
    }
}
