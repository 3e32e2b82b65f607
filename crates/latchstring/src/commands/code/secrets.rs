//! Secrets that a file does not hold: from the environment, from a file of their own, or asked for.

use std::collections::BTreeMap;
use std::path::Path;

use latchstring_connectors::yaml::{Data, Node, parse_file};
use serde_json::Value;

use super::thing::{In, Wrong};
use crate::Ending;
use crate::commands::client::usage;

/// One secret that is missing on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// `secrets.production.TOKEN`, `credentials.people.live.key`.
    pub path: String,
    /// Types of its JSON schema; none: a text.
    pub types: Vec<String>,
}

/// The variable of the environment that is looked at.
pub fn variable(path: &str) -> String {
    let word: String =
        path.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("LATCHSTRING_{word}")
}

/// By path.
#[derive(Default)]
pub struct Secrets(BTreeMap<String, Value>);

impl Secrets {
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.0.get(path)
    }

    /// A file with the same tree as the project file: `secrets: {production: {TOKEN: …}}`,
    /// `credentials: {people: {live: {key: …}}}`. Nothing of it is ever shown.
    pub fn read(file: &Path) -> Result<Self, Ending> {
        let name = file.display().to_string();
        let source = std::fs::read_to_string(file)
            .map_err(|error| usage(format!("{name} cannot be read: {error}")))?;
        let wrong = |wrong: Wrong| usage(In(&name, &wrong).to_string());
        let root = parse_file(&source, "secrets file", super::file::MOST_BYTES)
            // A message of the parser may show what it stumbled over.
            .map_err(|broken| wrong(Wrong::new(broken.at, "this is not YAML as latchstring reads it")))?;
        let mut all = BTreeMap::new();
        for (section, depth) in [("secrets", 2), ("credentials", 3)] {
            if let Some(node) = root.get(section) {
                take(node, section, depth, &mut all).map_err(wrong)?;
            }
        }
        if let Data::Map(parts) = &root.data
            && let Some((key, _)) =
                parts.iter().find(|(key, _)| !["secrets", "credentials"].contains(&key.text.as_str()))
        {
            return Err(wrong(Wrong::new(
                key.at,
                format!("a secrets file has the parts `secrets` and `credentials`, and no `{}`", key.text),
            )));
        }
        Ok(Self(all))
    }

    /// Adds what is missing; from the environment, and then from whoever sits there.
    pub fn complete(&mut self, wanted: &[Want], asks: bool) -> Result<(), Ending> {
        let mut named: BTreeMap<String, &str> = BTreeMap::new();
        let mut missing = Vec::new();
        for want in wanted {
            if self.0.contains_key(&want.path) {
                continue;
            }
            let name = variable(&want.path);
            match std::env::var(&name) {
                Ok(value) => {
                    if let Some(other) = named.insert(name.clone(), &want.path) {
                        return Err(usage(format!(
                            "{name} would be both {other} and {}: give these two in a --secrets file",
                            want.path
                        )));
                    }
                    self.0.insert(want.path.clone(), typed(want, value));
                }
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(usage(format!(
                        "{name} is no UTF-8 text; give {} in a --secrets file",
                        want.path
                    )));
                }
                Err(std::env::VarError::NotPresent) => missing.push(want),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        if !asks {
            let names: Vec<String> =
                missing.iter().map(|want| format!("{} ({})", want.path, variable(&want.path))).collect();
            return Err(usage(format!(
                "{} secrets are missing, and nothing was changed: {}; set those variables, or give a --secrets file",
                missing.len(),
                names.join(", ")
            )));
        }
        for want in missing {
            let value = rpassword::prompt_password(format!("{} (not shown): ", want.path))
                .map_err(|error| usage(format!("{} cannot be asked for here: {error}", want.path)))?;
            if value.is_empty() {
                return Err(usage(format!("{} was left empty, and nothing was changed", want.path)));
            }
            self.0.insert(want.path.clone(), typed(want, value));
        }
        Ok(())
    }
}

/// Text, unless the field takes none.
fn typed(want: &Want, value: String) -> Value {
    if want.types.is_empty() || want.types.iter().any(|kind| kind == "string") {
        return value.into();
    }
    serde_json::from_str(&value).unwrap_or(Value::String(value))
}

fn take(node: &Node, path: &str, depth: usize, all: &mut BTreeMap<String, Value>) -> Result<(), Wrong> {
    if node.is_null() {
        return Ok(());
    }
    if depth == 0 {
        let value = match &node.data {
            // `12345` is the text that stands there.
            Data::Scalar { text, .. } => text.as_str().into(),
            _ => node.to_json(),
        };
        all.insert(path.to_owned(), value);
        return Ok(());
    }
    let Data::Map(entries) = &node.data else {
        return Err(Wrong::new(node.at, format!("{path} is a map here, with names below it")));
    };
    entries.iter().try_for_each(|(key, node)| take(node, &format!("{path}.{}", key.text), depth - 1, all))
}
