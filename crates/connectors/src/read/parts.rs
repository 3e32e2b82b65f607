//! Templates in their places: what each place may read.

use http::{HeaderName, HeaderValue};

use super::*;
use crate::answer::Path;
use crate::diagnostic::nearest;
use crate::template::{self, Known};
use crate::yaml::Data;

/// What the templates of one place may read besides fields and `let`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scope {
    pub token: bool,
    /// `user`, `project`, `environment`.
    pub person: bool,
    pub secrets: bool,
    pub variables: bool,
    pub input: bool,
    pub item: bool,
    /// `now`, `uuid`, `nonce`.
    pub clock: bool,
    /// Fields and `let` too; credentials' own values see none of them.
    pub fields: bool,
}

impl Scope {
    const NOTHING: Scope = Scope {
        token: false,
        person: false,
        secrets: false,
        variables: false,
        input: false,
        item: false,
        clock: false,
        fields: false,
    };
    /// URLs of schemes, and `let`: where values are sent must not depend on who calls.
    pub const URL: Scope = Scope { fields: true, token: true, ..Self::NOTHING };
    pub const BASE: Scope = Self::URL;
    /// Keys of schemes, from which tokens come: no `token`, no `input`.
    pub const AUTH: Scope =
        Scope { fields: true, person: true, secrets: true, variables: true, clock: true, ..Self::NOTHING };
    /// Headers and query of calls, and of login steps.
    pub const CALL: Scope = Scope { token: true, ..Self::AUTH };
    pub const OPERATION: Scope = Scope { secrets: false, input: true, ..Self::CALL };
    pub const OPERATION_HEADERS: Scope = Scope { secrets: true, ..Self::OPERATION };
    pub const FILTER: Scope = Scope { item: true, input: true, person: true, ..Self::NOTHING };
    /// What the person who stores a credential writes.
    pub const VALUE: Scope =
        Scope { person: true, secrets: true, variables: true, clock: true, ..Self::NOTHING };
    /// Text leaves of a field with `sees_fields`.
    pub const VALUE_WITH_FIELDS: Scope = Scope { fields: true, ..Self::VALUE };

    fn has(self, root: &str) -> Option<bool> {
        Some(match root {
            "token" => self.token,
            "user" | "project" | "environment" => self.person,
            "input" => self.input,
            "item" => self.item,
            "fields" => self.fields,
            _ => return None,
        })
    }
}

/// Names that an auth method gives its templates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub method: String,
    pub names: Vec<String>,
    /// Fields that nobody listed may be there too.
    pub open: bool,
}

/// Names that mean something else in templates. `token` is one only where a token is obtained:
/// a fixed bearer token is called that everywhere.
pub(crate) const RESERVED: &[&str] = &[
    "user",
    "project",
    "environment",
    "input",
    "item",
    "fields",
    "secret",
    "secrets",
    "variable",
    "variables",
    "let",
    "loop",
    "self",
    "true",
    "false",
    "none",
    "null",
    "True",
    "False",
    "None",
    "get_secret",
    "get_variable",
    "now",
    "uuid",
    "nonce",
];

/// Words of the template syntax: a field may be called so (`in`), and is read as `fields['in']`.
pub(crate) const KEYWORDS: &[&str] = &["and", "or", "not", "in", "is", "if", "else", "elif", "endif"];

/// What is wrong with a template in a place, if anything: message and suggestion.
pub(crate) fn misplaced(known: &Known, scope: Scope, methods: &[Names]) -> Option<(String, Option<String>)> {
    for root in &known.roots {
        let shown: String = root.chars().take(60).collect();
        let declared = |names: &Names| names.open || names.names.iter().any(|name| name == root);
        let is_field = scope.fields && !methods.is_empty() && methods.iter().all(declared);
        if is_field && (root == "token" || scope.has(root).is_none()) {
            continue;
        }
        match scope.has(root) {
            Some(true) => {}
            Some(false) => return Some((format!("`{shown}` cannot be read here"), None)),
            None => {
                if !scope.fields {
                    return Some((format!("there is no `{shown}` here"), None));
                }
                let all = methods.iter().flat_map(|method| method.names.iter().map(String::as_str));
                let suggestion = nearest(root, all.chain(["user", "project", "environment"]));
                let lacking = methods.iter().find(|names| !declared(names));
                let message = match lacking {
                    Some(names) if methods.len() > 1 && methods.iter().any(declared) => format!(
                        "the auth method `{}` has no field `{shown}`; what stands here is rendered for every method",
                        names.method
                    ),
                    _ => format!("there is no field or `let` name `{shown}`"),
                };
                return Some((message, suggestion));
            }
        }
    }
    if !known.secrets.is_empty() && !scope.secrets {
        return Some(("`get_secret` cannot be used here".into(), None));
    }
    if !known.variables.is_empty() && !scope.variables {
        return Some(("`get_variable` cannot be used here".into(), None));
    }
    if known.time && !scope.clock {
        return Some(("`now`, `uuid` and `nonce` cannot be used here".into(), None));
    }
    None
}

pub(crate) fn template_text(
    r: &mut Reader,
    node: &Node,
    path: &str,
    text: &str,
    scope: Scope,
    methods: &[Names],
) -> Option<Template> {
    if !template::is_template(text) {
        return Some(Template::literal(text));
    }
    match Template::parse(text) {
        Err(error) => {
            r.suggest(node.at, path, error.message, error.suggestion);
            None
        }
        Ok(template) => {
            if let Some((message, suggestion)) = misplaced(template.known(), scope, methods) {
                r.suggest(node.at, path, message, suggestion);
            }
            Some(template)
        }
    }
}

pub(crate) fn template(
    r: &mut Reader,
    node: &Node,
    path: &str,
    scope: Scope,
    methods: &[Names],
) -> Option<Template> {
    let text = r.text_of(node, path)?.to_owned();
    template_text(r, node, path, &text, scope, methods)
}

/// A template for an absolute URL; what is fixed in it is checked now.
pub(crate) fn url(
    r: &mut Reader,
    node: &Node,
    path: &str,
    scope: Scope,
    methods: &[Names],
) -> Option<Template> {
    let template = template(r, node, path, scope, methods)?;
    if let Some(text) = template.as_literal()
        && let Err(error) = latchstring_model::address::Address::parse(text)
    {
        r.say(node.at, path, error.to_string());
    }
    Some(template)
}

pub(crate) fn entries(
    r: &mut Reader,
    node: &Node,
    path: &str,
    scope: Scope,
    methods: &[Names],
    headers: bool,
) -> Entries {
    match &node.data {
        Data::Scalar { .. } => match template(r, node, path, scope, methods) {
            Some(whole) => {
                if whole.as_literal().is_some() {
                    r.say(node.at, path, "here stands a text; a map (`name: value`), or one template that yields a map, is needed");
                }
                Entries::Whole(whole)
            }
            None => Entries::default(),
        },
        Data::Map(map) => {
            let mut out = Vec::new();
            for (key, value) in map {
                let path = tree::pointer(path, &key.text);
                if headers {
                    header_name(r, key.at, &path, &key.text);
                }
                if let Some(template) = template(r, value, &path, scope, methods) {
                    if headers {
                        header_value(r, value.at, &path, &template);
                    }
                    out.push((key.text.clone(), template));
                }
            }
            Entries::Each(out)
        }
        Data::List(_) => {
            r.say(node.at, path, "here stands a list; a map (`name: value`) is needed");
            Entries::default()
        }
    }
}

/// Headers that say how a message travels; whoever sends writes them.
const RESERVED_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn header_name(r: &mut Reader, at: Position, path: &str, name: &str) {
    if HeaderName::try_from(name).is_err() {
        r.say(at, path, "that is no name of a header");
    } else if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
        r.say(at, path, format!("`{name}` says how a message travels and cannot be set"));
    }
}

fn header_value(r: &mut Reader, at: Position, path: &str, template: &Template) {
    if let Some(text) = template.as_literal()
        && HeaderValue::try_from(text).is_err()
    {
        r.say(at, path, "that is no value of a header (line ends and control characters cannot be sent)");
    }
}

/// `name: template`, or `name: {value: template, overridable: true}`.
pub(crate) fn fixed(r: &mut Reader, node: &Node, path: &str, methods: &[Names], headers: bool) -> FixedSet {
    let mut out = FixedSet::default();
    let Data::Map(map) = &node.data else {
        if let Some(whole) = template(r, node, path, Scope::CALL, methods) {
            if whole.as_literal().is_some() {
                r.say(
                    node.at,
                    path,
                    "here stands a text; a map (`name: value`), or one template that yields a map, is needed",
                );
            }
            out.whole = Some((whole, false));
        }
        return out;
    };
    for (key, value) in map {
        let path = tree::pointer(path, &key.text);
        if headers {
            header_name(r, key.at, &path, &key.text);
        }
        let (text, overridable) = match &value.data {
            Data::Map(_) => {
                let Some(mut obj) = r.obj(value, &path) else { continue };
                let text = r.required(&mut obj, "value");
                let overridable = r.flag(&mut obj, "overridable").unwrap_or(false);
                r.finish(&obj, &["value", "overridable"]);
                match text {
                    Some(text) => (text, overridable),
                    None => continue,
                }
            }
            _ => (value, false),
        };
        if let Some(template) = template(r, text, &path, Scope::CALL, methods) {
            if headers {
                header_value(r, text.at, &path, &template);
            }
            out.each.push((key.text.clone(), template, overridable));
        }
    }
    out
}

pub(crate) fn json(
    r: &mut Reader,
    node: &Node,
    path: &str,
    scope: Scope,
    methods: &[Names],
) -> Option<JsonTemplate> {
    Some(match &node.data {
        Data::Scalar { text, .. } if template::is_template(text) => {
            JsonTemplate::Text(template(r, node, path, scope, methods)?)
        }
        Data::Scalar { .. } => JsonTemplate::Value(node.to_json()),
        Data::List(items) => JsonTemplate::List(
            items
                .iter()
                .enumerate()
                .filter_map(|(i, item)| json(r, item, &format!("{path}/{i}"), scope, methods))
                .collect(),
        ),
        Data::Map(map) => JsonTemplate::Map(
            map.iter()
                .filter_map(|(key, item)| {
                    Some((key.text.clone(), json(r, item, &tree::pointer(path, &key.text), scope, methods)?))
                })
                .collect(),
        ),
    })
}

pub(crate) fn answer_path(r: &mut Reader, node: &Node, path: &str) -> Option<Path> {
    let text = r.text_of(node, path)?;
    match Path::parse(text) {
        Ok(found) => Some(found),
        Err(message) => {
            r.say(node.at, path, message);
            None
        }
    }
}

pub(crate) fn take_path(r: &mut Reader, obj: &mut Obj<'_>, name: &str) -> Option<Path> {
    let node = obj.take(name)?;
    answer_path(r, node, &obj.path_of(name))
}
