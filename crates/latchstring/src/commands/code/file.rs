//! The file, read and checked as far as it can be without a server. All that is wrong is said at once.

use std::path::Path;

use latchstring_connectors::yaml::{Data, Key, Node, parse_file};
use latchstring_connectors::{Position, check};
use serde_json::{Map, Value};

use super::thing::{Kind, Shape, Thing, Wanted, Wrong, numbered};

/// Two hundred connectors of the largest size would not fit, and nobody reads such a file.
pub const MOST_BYTES: usize = 8 * 1024 * 1024;
/// Of the file's form.
const VERSION: i64 = 1;

/// Reads a file. `folder`: where the files that it names are.
pub fn read(source: &str, folder: &Path) -> Result<Wanted, Vec<Wrong>> {
    let root = parse_file(source, "project file", MOST_BYTES)
        .map_err(|broken| vec![Wrong::new(broken.at, broken.message)])?;
    let mut reader = Reader { source, folder, wanted: Wanted::default(), wrong: Vec::new() };
    reader.root(&root);
    reader.wrong.sort_by_key(|wrong| wrong.at);
    if reader.wrong.is_empty() { Ok(reader.wanted) } else { Err(reader.wrong) }
}

struct Reader<'a> {
    source: &'a str,
    folder: &'a Path,
    wanted: Wanted,
    wrong: Vec<Wrong>,
}

/// A name that was probably meant.
pub fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = known.into_iter().map(|one| (strsim::damerau_levenshtein(word, one), one));
    match near.min().filter(|(distance, _)| *distance <= 2) {
        Some((_, one)) => format!(" (did you mean `{one}`?)"),
        None => String::new(),
    }
}

fn entries(node: &Node) -> Option<&[(Key, Node)]> {
    match &node.data {
        Data::Map(entries) => Some(entries),
        _ if node.is_null() => Some(&[]),
        _ => None,
    }
}

fn places(node: &Node, pointer: &str, into: &mut std::collections::BTreeMap<String, Position>) {
    into.insert(pointer.to_owned(), node.at);
    match &node.data {
        Data::Map(all) => {
            for (key, node) in all {
                let name = key.text.replace('~', "~0").replace('/', "~1");
                places(node, &format!("{pointer}/{name}"), into);
            }
        }
        Data::List(all) => {
            all.iter().enumerate().for_each(|(at, node)| places(node, &format!("{pointer}/{at}"), into));
        }
        Data::Scalar { .. } => {}
    }
}

impl Reader<'_> {
    fn say(&mut self, at: Position, message: impl Into<String>) {
        self.wrong.push(Wrong::new(at, message));
    }

    fn map<'n>(&mut self, node: &'n Node, what: &str) -> &'n [(Key, Node)] {
        entries(node).unwrap_or_else(|| {
            self.say(node.at, format!("{what} is a map, and this is {}", node.what()));
            &[]
        })
    }

    fn root(&mut self, root: &Node) {
        let all = self.map(root, "the project file");
        let known = Kind::ALL.map(Kind::section);
        match root.get("latchstring").map(|node| (node.at, node.to_json())) {
            None => self.say(
                root.at,
                format!("a project file says which form it has: begin it with `latchstring: {VERSION}`"),
            ),
            Some((_, version)) if version == VERSION => {}
            Some((at, _)) => self.say(
                at,
                format!("this latchstring reads files of the form {VERSION} (`latchstring: {VERSION}`)"),
            ),
        }
        for (key, node) in all {
            let kind = Kind::ALL.into_iter().find(|kind| kind.section() == key.text);
            let Some(kind) = kind else {
                if key.text != "latchstring" {
                    let near = meant(&key.text, known);
                    self.say(
                        key.at,
                        format!(
                            "`{}` is no part of a project file{near}; its parts are {}",
                            key.text,
                            known.join(", ")
                        ),
                    );
                }
                continue;
            };
            self.wanted.sections.insert(kind);
            match kind {
                Kind::Project => {
                    self.thing(kind, "", key.at, node);
                }
                Kind::Environment => self.environments(node),
                Kind::Variable | Kind::Secret => {
                    for (environment, node) in self.map(node, kind.section()) {
                        for (name, node) in
                            self.map(node, &format!("{}.{}", kind.section(), environment.text))
                        {
                            let full = format!("{}/{}", environment.text, name.text);
                            self.value(kind, &full, name.at, node);
                        }
                    }
                }
                Kind::Member => {
                    for (email, node) in self.map(node, "members") {
                        self.member(email, node);
                    }
                }
                Kind::Webhook | Kind::ServiceKey => self.list(kind, node),
                Kind::Connector | Kind::Credential | Kind::Keychain => {
                    for (name, node) in self.map(node, kind.section()) {
                        self.thing(kind, &name.text, name.at, node);
                        if kind == Kind::Connector {
                            self.connector(&name.text, node);
                        }
                    }
                }
            }
        }
    }

    fn environments(&mut self, node: &Node) {
        let Data::List(all) = &node.data else {
            return self.say(
                node.at,
                format!(
                    "environments are a list of names, as in [staging, production], and this is {}",
                    node.what()
                ),
            );
        };
        for node in all {
            let Data::Scalar { text, .. } = &node.data else {
                self.say(node.at, "an environment is a name");
                continue;
            };
            if self.wanted.environments.contains(text) {
                self.say(node.at, format!("`{text}` is in the list twice"));
                continue;
            }
            self.wanted.environments.push(text.clone());
            let thing = Thing { body: Map::new(), at: node.at, places: std::collections::BTreeMap::new() };
            self.wanted.things.insert((Kind::Environment, text.clone()), thing);
        }
    }

    /// `REGION: eu`, or a map with `value` and `hosts`; a secret has no value here.
    fn value(&mut self, kind: Kind, name: &str, at: Position, node: &Node) {
        let short = matches!(node.data, Data::Scalar { .. }) && !node.is_null();
        if kind == Kind::Secret && (short || node.get("value").is_some()) {
            let path = format!("secrets.{}", name.replace('/', "."));
            return self.say(
                node.at,
                format!("a secret's value does not stand in the file: write `{{}}`, and give the value as {}, in a --secrets file or when you are asked", super::secrets::variable(&path)),
            );
        }
        if kind == Kind::Variable && short {
            return self.short(kind, name, at, "value", node);
        }
        self.thing(kind, name, at, node);
    }

    fn member(&mut self, email: &Key, node: &Node) {
        let name = email.text.to_lowercase();
        match node.data {
            Data::Scalar { .. } if !node.is_null() => self.short(Kind::Member, &name, email.at, "role", node),
            _ => self.thing(Kind::Member, &name, email.at, node),
        }
        let role = self
            .wanted
            .things
            .get(&(Kind::Member, name))
            .and_then(|thing| Some(thing.body.get("role")?.as_str()?.to_owned()));
        let roles = ["owner", "admin", "editor", "viewer"];
        if let Some(role) = role.filter(|role| !roles.contains(&role.as_str())) {
            self.say(
                node.at,
                format!("`{role}` is no role{}; roles are {}", meant(&role, roles), roles.join(", ")),
            );
        }
    }

    /// One scalar instead of a map.
    fn short(&mut self, kind: Kind, name: &str, at: Position, field: &str, node: &Node) {
        let Data::Scalar { text, .. } = &node.data else { return };
        let body = Map::from_iter([(field.to_owned(), Value::from(text.as_str()))]);
        let places = [(format!("/{field}"), node.at)].into();
        self.wanted.things.insert((kind, name.to_owned()), Thing { body, at, places });
    }

    fn list(&mut self, kind: Kind, node: &Node) {
        let Data::List(all) = &node.data else {
            if !node.is_null() {
                self.say(node.at, format!("{} is a list, and this is {}", kind.section(), node.what()));
            }
            return;
        };
        let named = if kind == Kind::Webhook { "url" } else { "name" };
        for node in all {
            let name = node.get(named).map(Node::to_json);
            let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
            let name = numbered(kind, name, &self.wanted.things);
            self.thing(kind, &name, node.at, node);
        }
    }

    fn thing(&mut self, kind: Kind, name: &str, at: Position, node: &Node) {
        let what = match kind {
            Kind::Project => "project".to_owned(),
            _ if name.is_empty() => format!("an entry of {}", kind.section()),
            _ => format!("{}.{}", kind.section(), name.replace('/', ".")),
        };
        let mut body = Map::new();
        for (key, node) in self.map(node, &what) {
            let fields = kind.fields();
            match fields.iter().find(|(field, ..)| *field == key.text) {
                Some((field, shape, _)) => {
                    if let Some(value) = self.shaped(*shape, &format!("{what}.{field}"), node) {
                        body.insert(key.text.clone(), value);
                    }
                }
                None => {
                    let known: Vec<&str> = fields.iter().map(|(field, ..)| *field).collect();
                    let near = meant(&key.text, known.iter().copied());
                    self.say(
                        key.at,
                        format!("{what} has no `{}`{near}; it may have {}", key.text, known.join(", ")),
                    );
                }
            }
        }
        for (field, _, needed) in kind.fields() {
            if *needed
                && body.get(*field).is_none_or(Value::is_null)
                && node.get(field).is_none_or(Node::is_null)
            {
                self.say(at, format!("{what} needs `{field}`"));
            }
        }
        let mut all = std::collections::BTreeMap::new();
        places(node, "", &mut all);
        self.wanted.things.insert((kind, name.to_owned()), Thing { body, at, places: all });
    }

    fn text(&mut self, what: &str, node: &Node) -> Option<Value> {
        match &node.data {
            _ if node.is_null() => Some(Value::Null),
            Data::Scalar { text, .. } => Some(text.as_str().into()),
            _ => {
                self.say(node.at, format!("{what} is a text, and this is {}", node.what()));
                None
            }
        }
    }

    fn shaped(&mut self, shape: Shape, what: &str, node: &Node) -> Option<Value> {
        match shape {
            Shape::Text if what.ends_with(".expires_on") => {
                self.text(what, node).map(|value| match value.as_str() {
                    Some(day) if day.len() == 10 => format!("{day}T00:00:00Z").into(),
                    _ => value,
                })
            }
            Shape::Text => self.text(what, node),
            Shape::Bool => match node.to_json() {
                Value::Bool(yes) => Some(yes.into()),
                _ => {
                    self.say(node.at, format!("{what} is true or false"));
                    None
                }
            },
            Shape::Texts => match &node.data {
                Data::List(all) => {
                    let all: Vec<Value> = all.iter().filter_map(|node| self.text(what, node)).collect();
                    Some(all.into())
                }
                _ if node.is_null() => Some(Value::Null),
                _ => {
                    self.say(node.at, format!("{what} is a list of texts, and this is {}", node.what()));
                    None
                }
            },
            Shape::Grants => {
                let mut grants = Map::new();
                for (key, node) in self.map(node, what) {
                    if let Some(value) = self.text(&format!("{what}.{}", key.text), node) {
                        grants.insert(key.text.clone(), value);
                    }
                }
                Some(grants.into())
            }
            Shape::Values => {
                let mut sets = Map::new();
                for (key, node) in self.map(node, what) {
                    let set = if node.is_null() {
                        Value::Null
                    } else {
                        self.set(&format!("{what}.{}", key.text), node)
                    };
                    sets.insert(key.text.clone(), set);
                }
                Some(sets.into())
            }
        }
    }

    fn set(&mut self, what: &str, node: &Node) -> Value {
        let mut set = Map::new();
        for (key, node) in self.map(node, what) {
            match key.text.as_str() {
                "fields" => {
                    let fields = self.map(node, &format!("{what}.fields"));
                    let fields = fields.iter().map(|(key, node)| (key.text.clone(), node.to_json()));
                    set.insert("fields".into(), fields.collect::<Map<_, _>>().into());
                }
                "secret_fields" => {
                    if let Some(names) = self.shaped(Shape::Texts, &format!("{what}.secret_fields"), node) {
                        set.insert("secret_fields".into(), names);
                    }
                }
                other => {
                    let near = meant(other, ["fields", "secret_fields"]);
                    self.say(key.at, format!("{what} has no `{other}`{near}: values that are not secret stand under `fields`, names of those that are in `secret_fields`"));
                }
            }
        }
        set.into()
    }

    /// Where a place in a definition is in this file, when the definition stands in it as a block, line by line.
    fn inside(&self, begins: Position, definition: &str, place: Position) -> Option<Position> {
        let line = begins.line + place.line - 1;
        let (here, there) = (self.source.lines().nth(line - 1)?, definition.lines().nth(place.line - 1)?);
        let indent = here.strip_suffix(there)?;
        let column = indent.chars().count() + place.column;
        indent.chars().all(|c| c == ' ').then_some(Position { line, column })
    }

    /// The definition is checked as an upload would be, and points into this file or the one that is named.
    fn connector(&mut self, id: &str, node: &Node) {
        let what = format!("connectors.{id}");
        let text = |name: &str| node.get(name).and_then(|node| node.to_json().as_str().map(str::to_owned));
        let source = match (node.get("definition"), node.get("file")) {
            (Some(_), None) => text("definition").unwrap_or_default(),
            (None, Some(at)) => {
                let named = text("file").unwrap_or_default();
                match std::fs::read_to_string(self.folder.join(&named)) {
                    Ok(source) => source,
                    Err(error) => return self.say(at.at, format!("{named} cannot be read: {error}")),
                }
            }
            _ => {
                return self.say(
                    node.at,
                    format!("{what} has either a `definition` (the YAML as a text) or a `file`"),
                );
            }
        };
        let (file, at) = match (node.get("definition"), node.get("file")) {
            (_, Some(named)) => (text("file").unwrap_or_default(), named.at),
            (Some(node), _) => ("the definition".to_owned(), node.at),
            _ => (String::new(), node.at),
        };
        match check(&source, &file) {
            Ok(definition) if definition.id == id => {}
            Ok(definition) => self.say(
                at,
                format!("{what}: its definition says `id: {}`; the two are one name", definition.id),
            ),
            Err(wrong) => {
                for wrong in wrong {
                    match self.inside(at, &source, wrong.at) {
                        Some(exact) => {
                            let near =
                                wrong.suggestion.iter().map(|name| format!(" (did you mean `{name}`?)"));
                            let message = format!("{what}: {}{}", wrong.message, near.collect::<String>());
                            self.say(exact, message);
                        }
                        None => self.say(at, format!("{what}: {wrong}")),
                    }
                }
            }
        }
        if let Some(thing) = self.wanted.things.get_mut(&(Kind::Connector, id.to_owned())) {
            thing.body = Map::from_iter([("definition".to_owned(), Value::from(source))]);
        }
    }
}
