//! Reading maps whose keys are all known.

use std::collections::HashSet;

use crate::diagnostic::{Diagnostic, Position, nearest};
use crate::yaml::{Data, Key, Node};

pub(crate) struct Reader {
    file: String,
    pub strict: bool,
    pub problems: Vec<Diagnostic>,
}

/// A map that is being read: what is left at the end is unknown.
pub(crate) struct Obj<'n> {
    pub at: Position,
    pub path: String,
    entries: &'n [(Key, Node)],
    taken: HashSet<&'n str>,
}

impl<'n> Obj<'n> {
    pub fn take(&mut self, name: &str) -> Option<&'n Node> {
        let (key, node) = self.entries.iter().find(|(key, _)| key.text == name)?;
        self.taken.insert(&key.text);
        if node.is_null() { None } else { Some(node) }
    }

    pub fn path_of(&self, name: &str) -> String {
        pointer(&self.path, name)
    }
}

/// RFC 6901.
pub(crate) fn pointer(path: &str, name: &str) -> String {
    format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"))
}

impl Reader {
    pub fn new(file: &str, strict: bool) -> Self {
        Self { file: file.to_owned(), strict, problems: Vec::new() }
    }

    pub fn say(&mut self, at: Position, path: &str, message: impl Into<String>) {
        self.suggest(at, path, message, None);
    }

    pub fn suggest(
        &mut self,
        at: Position,
        path: &str,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        // A file that is something else altogether would complain without end.
        if self.problems.len() < 200 {
            self.problems.push(Diagnostic {
                file: self.file.clone(),
                at,
                pointer: path.to_owned(),
                message: message.into(),
                suggestion,
            });
        }
    }

    pub fn obj<'n>(&mut self, node: &'n Node, path: &str) -> Option<Obj<'n>> {
        match &node.data {
            Data::Map(entries) => {
                Some(Obj { at: node.at, path: path.to_owned(), entries, taken: HashSet::new() })
            }
            _ => {
                self.say(
                    node.at,
                    path,
                    format!("here stands {}; a map (`name: value`) is needed", node.what()),
                );
                None
            }
        }
    }

    pub fn entries<'n>(&mut self, node: &'n Node, path: &str) -> &'n [(Key, Node)] {
        match &node.data {
            Data::Map(entries) => entries,
            _ => {
                self.say(
                    node.at,
                    path,
                    format!("here stands {}; a map (`name: value`) is needed", node.what()),
                );
                &[]
            }
        }
    }

    /// Complains about keys that nobody took. A stored definition may come from a newer server: then not.
    pub fn finish(&mut self, obj: &Obj<'_>, known: &[&str]) {
        if !self.strict {
            return;
        }
        for (key, _) in obj.entries {
            if !obj.taken.contains(key.text.as_str()) {
                let name: String = key.text.chars().take(60).collect();
                let suggestion = nearest(&key.text, known.iter().copied());
                let message = if suggestion.is_some() {
                    format!("unknown key `{name}`")
                } else {
                    format!("unknown key `{name}`; here may stand: {}", known.join(", "))
                };
                self.suggest(key.at, &obj.path_of(&key.text), message, suggestion);
            }
        }
    }

    pub fn text_of<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n str> {
        match &node.data {
            Data::Scalar { text, .. } if !node.is_null() => Some(text),
            _ => {
                self.say(node.at, path, format!("here stands {}; a text is needed", node.what()));
                None
            }
        }
    }

    pub fn text(&mut self, obj: &mut Obj<'_>, name: &str) -> Option<String> {
        let node = obj.take(name)?;
        self.text_of(node, &obj.path_of(name)).map(str::to_owned)
    }

    pub fn required<'n>(&mut self, obj: &mut Obj<'n>, name: &str) -> Option<&'n Node> {
        let found = obj.take(name);
        if found.is_none() {
            let path = obj.path.clone();
            self.say(obj.at, &path, format!("`{name}` is missing"));
        }
        found
    }

    pub fn required_text(&mut self, obj: &mut Obj<'_>, name: &str) -> Option<String> {
        let node = self.required(obj, name)?;
        self.text_of(node, &obj.path_of(name)).map(str::to_owned)
    }

    pub fn flag(&mut self, obj: &mut Obj<'_>, name: &str) -> Option<bool> {
        let node = obj.take(name)?;
        match node.to_json() {
            serde_json::Value::Bool(flag) => Some(flag),
            _ => {
                self.say(node.at, &obj.path_of(name), format!("`{name}` is true or false"));
                None
            }
        }
    }

    pub fn number(&mut self, obj: &mut Obj<'_>, name: &str) -> Option<f64> {
        let node = obj.take(name)?;
        let number = node.to_json().as_f64();
        if number.is_none() {
            self.say(node.at, &obj.path_of(name), format!("`{name}` is a number"));
        }
        number
    }

    /// A text, or a list of texts.
    pub fn texts_at(&mut self, obj: &mut Obj<'_>, name: &str) -> Vec<(Position, String, String)> {
        let Some(node) = obj.take(name) else { return Vec::new() };
        let path = obj.path_of(name);
        let items: Vec<(&Node, String)> = match &node.data {
            Data::List(items) => {
                items.iter().enumerate().map(|(i, item)| (item, format!("{path}/{i}"))).collect()
            }
            _ => vec![(node, path)],
        };
        let mut out = Vec::new();
        for (item, path) in items {
            if let Some(text) = self.text_of(item, &path) {
                out.push((item.at, path, text.to_owned()));
            }
        }
        out
    }

    pub fn texts(&mut self, obj: &mut Obj<'_>, name: &str) -> Vec<String> {
        self.texts_at(obj, name).into_iter().map(|(_, _, text)| text).collect()
    }

    pub fn http_url(&mut self, obj: &mut Obj<'_>, name: &str) -> Option<String> {
        let node = obj.take(name)?;
        let path = obj.path_of(name);
        let text = self.text_of(node, &path)?;
        match url::Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Some(text.to_owned()),
            _ => {
                self.say(
                    node.at,
                    &path,
                    format!("`{name}` is an address of a page, as in https://example.com/docs"),
                );
                None
            }
        }
    }

    pub fn one_of<T: Copy>(&mut self, node: &Node, path: &str, known: &[(&str, T)]) -> Option<T> {
        let text = self.text_of(node, path)?;
        let found = known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names = known.iter().map(|(name, _)| *name).collect::<Vec<_>>();
            let shown: String = text.chars().take(60).collect();
            self.suggest(
                node.at,
                path,
                format!("`{shown}` is none of: {}", names.join(", ")),
                nearest(text, names.iter().copied()),
            );
        }
        found
    }
}
