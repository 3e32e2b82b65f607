//! What a project is made of, as a file says it and as the server has it: things with a name and a body of JSON. What
//! a body does not mention is left as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use latchstring_connectors::Position;
use serde_json::{Map, Value};

/// In the order in which things are made; they are removed in the opposite one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Project,
    Environment,
    Member,
    Connector,
    Variable,
    Secret,
    Credential,
    Keychain,
    Webhook,
    ServiceKey,
}

impl Kind {
    pub const ALL: [Self; 10] = [
        Self::Project,
        Self::Environment,
        Self::Member,
        Self::Connector,
        Self::Variable,
        Self::Secret,
        Self::Credential,
        Self::Keychain,
        Self::Webhook,
        Self::ServiceKey,
    ];

    /// As a mark names it, and people are told.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Environment => "environment",
            Self::Member => "member",
            Self::Connector => "connector",
            Self::Variable => "variable",
            Self::Secret => "secret",
            Self::Credential => "credential",
            Self::Keychain => "keychain",
            Self::Webhook => "webhook",
            Self::ServiceKey => "service key",
        }
    }

    /// The part of the file that it stands in.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Environment => "environments",
            Self::Member => "members",
            Self::Connector => "connectors",
            Self::Variable => "variables",
            Self::Secret => "secrets",
            Self::Credential => "credentials",
            Self::Keychain => "keychains",
            Self::Webhook => "webhooks",
            Self::ServiceKey => "service_keys",
        }
    }
}

/// What a field of a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Bool,
    Texts,
    /// Name → text; null takes it away.
    Grants,
    /// Environment → `{fields, secret_fields}`; null takes a set away.
    Values,
}

/// Name, shape, whether a new one needs it.
pub type Field = (&'static str, Shape, bool);

impl Kind {
    pub const fn fields(self) -> &'static [Field] {
        use Shape::{Bool, Grants, Text, Texts, Values};
        match self {
            Self::Project => {
                &[("slug", Text, false), ("name", Text, false), ("require_second_factor", Bool, false)]
            }
            Self::Environment => &[],
            Self::Member => &[("role", Text, true)],
            Self::Connector => &[("definition", Text, false), ("file", Text, false)],
            Self::Variable => &[("value", Text, true), ("hosts", Texts, false)],
            Self::Secret => &[("hosts", Texts, false)],
            Self::Credential => &[
                ("name", Text, true),
                ("connector", Text, true),
                ("auth_method", Text, true),
                ("owner", Text, false),
                ("external_id", Text, false),
                ("oauth_client", Text, false),
                ("note", Text, false),
                ("acts_as", Text, false),
                ("expires_on", Text, false),
                ("values", Values, false),
                ("grants", Grants, false),
            ],
            Self::Keychain => &[
                ("name", Text, true),
                ("connector", Text, true),
                ("by", Text, true),
                ("default", Text, false),
            ],
            Self::Webhook => &[
                ("url", Text, true),
                ("events", Texts, false),
                ("description", Text, false),
                ("disabled", Bool, false),
            ],
            Self::ServiceKey => &[
                ("name", Text, true),
                ("scope", Text, false),
                ("environment", Text, false),
                ("credentials", Texts, false),
                ("operations_only", Bool, false),
                ("methods", Texts, false),
                ("path_prefixes", Texts, false),
                ("networks", Texts, false),
                ("may_act_for", Texts, false),
                ("expires_at", Text, false),
            ],
        }
    }
}

/// A name among those of its kind: `production/REGION`, `people`, `ada@example.com`.
pub type Name = (Kind, String);

/// How a name is shown.
pub fn shown(name: &str) -> String {
    // Of several webhooks with one address, or keys with one name, the number comes behind a blank.
    name.split_once('\u{0}').map_or_else(|| name.to_owned(), |(name, number)| format!("{name} ({number})"))
}

/// One more with a name that is there already: a second `a` is `a\0 2`.
pub fn numbered<T>(kind: Kind, name: &str, among: &BTreeMap<Name, T>) -> String {
    let mut all = std::iter::once(name.to_owned()).chain((2..).map(|number| format!("{name}\u{0}{number}")));
    all.find(|name| !among.contains_key(&(kind, name.clone()))).unwrap_or_default()
}

/// Something of the file.
#[derive(Debug)]
pub struct Thing {
    pub body: Map<String, Value>,
    pub at: Position,
    /// JSON pointers into the body, and where they stand.
    pub places: BTreeMap<String, Position>,
}

/// The file.
#[derive(Debug, Default)]
pub struct Wanted {
    pub things: BTreeMap<Name, Thing>,
    /// Parts that are there: what is missing altogether is no business of the file.
    pub sections: BTreeSet<Kind>,
    /// In the wanted order.
    pub environments: Vec<String>,
}

/// Something wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub at: Position,
    pub message: String,
}

impl Wrong {
    pub fn new(at: Position, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

/// For what came from a file of that name.
pub struct In<'a>(pub &'a str, pub &'a Wrong);

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.0, self.1.at.line, self.1.at.column, self.1.message)
    }
}

/// Nothing, in whichever way it is written.
pub fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Whether two values of a body mean the same.
pub fn same(a: &Value, b: &Value) -> bool {
    a == b || (is_nothing(a) && is_nothing(b))
}
