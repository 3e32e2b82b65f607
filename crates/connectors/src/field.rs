//! The fields of an auth method: what a person has to give, checked before it is stored.

use regex_lite::Regex;
use serde_json::{Map, Value, json};

/// What a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    Text,
    Url,
    Pem,
    Choice,
    Integer,
    Number,
    Boolean,
    Map,
    List,
    Json,
}

impl FieldType {
    pub const ALL: &'static [(&'static str, FieldType)] = &[
        ("text", FieldType::Text),
        ("url", FieldType::Url),
        ("pem", FieldType::Pem),
        ("choice", FieldType::Choice),
        ("integer", FieldType::Integer),
        ("number", FieldType::Number),
        ("boolean", FieldType::Boolean),
        ("map", FieldType::Map),
        ("list", FieldType::List),
        ("json", FieldType::Json),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, ty)| *ty == self).map_or("text", |(name, _)| name)
    }
}

/// One field of an auth method or of an operation's input.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub ty: FieldType,
    pub label: Option<String>,
    pub help: Option<String>,
    pub placeholder: Option<String>,
    pub examples: Vec<Value>,
    /// Values and what to show for them.
    pub options: Vec<(String, String)>,
    pub pattern: Option<Pattern>,
    /// Put before the value when it is not there already.
    pub prefix: Option<String>,
    pub suffix: Option<String>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub min_length: Option<usize>,
    pub max_length: Option<usize>,
    pub multiline: bool,
    pub secret: bool,
    pub optional: bool,
    pub default: Option<Value>,
    /// All of these must hold; several values of one field are alternatives.
    pub visible_when: Vec<(String, Vec<Value>)>,
    /// A key that can be made for the user: `rsa2048`, `ec256`, `ed25519`, `random32`.
    pub generate: Option<String>,
    /// Which PEM blocks are meant: `private_key` (default), `certificate`, `public_key`.
    pub pem: PemKind,
    /// The text leaves of the value are templates over the other fields (`raw` has one).
    pub sees_fields: bool,
    /// A URL is kept as typed: a slash at its end counts.
    pub exact: bool,
}

#[derive(Clone, Debug)]
pub struct Pattern {
    pub source: String,
    pub regex: Regex,
    /// What to say when it does not fit.
    pub message: Option<String>,
}

impl Pattern {
    /// Anchored: elsewhere a pattern fits that fits a part.
    pub fn whole(&self) -> String {
        whole(&self.source)
    }
}

pub(crate) fn whole(source: &str) -> String {
    format!("^(?:{source})$")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PemKind {
    #[default]
    PrivateKey,
    /// A PEM private key, or a shared secret for the HMAC algorithms.
    PrivateKeyOrSecret,
    Certificate,
    PublicKey,
}

impl PemKind {
    pub const ALL: &'static [(&'static str, PemKind)] = &[
        ("private_key", PemKind::PrivateKey),
        ("private_key_or_secret", PemKind::PrivateKeyOrSecret),
        ("certificate", PemKind::Certificate),
        ("public_key", PemKind::PublicKey),
    ];
}

impl Field {
    /// The least that a field can be.
    pub fn new(name: &str, ty: FieldType) -> Self {
        Self {
            name: name.to_owned(),
            ty,
            label: None,
            help: None,
            placeholder: None,
            examples: Vec::new(),
            options: Vec::new(),
            pattern: None,
            prefix: None,
            suffix: None,
            min: None,
            max: None,
            min_length: None,
            max_length: None,
            multiline: false,
            secret: false,
            optional: false,
            default: None,
            visible_when: Vec::new(),
            generate: None,
            pem: PemKind::default(),
            sees_fields: false,
            exact: false,
        }
    }

    pub fn required(&self) -> bool {
        !self.optional && self.default.is_none() && self.visible_when.is_empty()
    }

    /// The pattern that what is typed has to fit. Where something is put before or after it, only the whole is checked.
    pub fn typed_pattern(&self) -> Option<&Pattern> {
        self.pattern.as_ref().filter(|_| !self.affixed())
    }

    fn affixed(&self) -> bool {
        self.prefix.is_some() || self.suffix.is_some()
    }

    fn schema(&self) -> Value {
        let mut out = Map::new();
        let mut set = |key: &str, value: Value| {
            out.insert(key.to_owned(), value);
        };
        match self.ty {
            FieldType::Text | FieldType::Pem | FieldType::Url | FieldType::Choice => {
                set("type", "string".into())
            }
            FieldType::Integer => set("type", "integer".into()),
            FieldType::Number => set("type", "number".into()),
            FieldType::Boolean => set("type", "boolean".into()),
            FieldType::Map => {
                set("type", "object".into());
                set("additionalProperties", json!({"type": ["string", "number", "boolean"]}));
            }
            FieldType::List => {
                set("type", "array".into());
                set("items", json!({"type": "string"}));
            }
            FieldType::Json => {}
        }
        if let Some(label) = &self.label {
            set("title", label.as_str().into());
        }
        if let Some(help) = &self.help {
            set("description", help.as_str().into());
        }
        match self.ty {
            FieldType::Url => set("format", "uri".into()),
            FieldType::Pem => set("format", "pem".into()),
            FieldType::Choice => {
                set("enum", self.options.iter().map(|(value, _)| value.as_str()).collect());
                set("x-labels", self.options.iter().map(|(_, label)| label.as_str()).collect());
            }
            _ if self.multiline => set("format", "multiline".into()),
            _ => {}
        }
        if let Some(pattern) = self.typed_pattern() {
            set("pattern", pattern.whole().into());
        }
        let min_length = self.min_length.filter(|_| !self.affixed());
        for (key, value) in [("minLength", min_length), ("maxLength", self.max_length)] {
            if let Some(value) = value {
                set(key, value.into());
            }
        }
        for (key, value) in [("minimum", self.min), ("maximum", self.max)] {
            if let Some(value) = value {
                set(key, value.into());
            }
        }
        if let Some(default) = &self.default {
            set("default", default.clone());
        }
        if !self.examples.is_empty() {
            set("examples", Value::Array(self.examples.clone()));
        }
        if self.secret {
            set("writeOnly", true.into());
        }
        for (key, value) in [
            ("x-placeholder", &self.placeholder),
            ("x-prefix", &self.prefix),
            ("x-suffix", &self.suffix),
            ("x-generate", &self.generate),
        ] {
            if let Some(value) = value {
                set(key, value.as_str().into());
            }
        }
        if !self.visible_when.is_empty() {
            let when = self
                .visible_when
                .iter()
                .map(|(name, values)| (name.clone(), Value::Array(values.clone())))
                .collect::<Map<_, _>>();
            set("x-visible-when", Value::Object(when));
        }
        Value::Object(out)
    }
}

/// JSON Schema (2020-12) of fields, as the API shows it and as a form is built from it.
pub(crate) fn schema(fields: &[Field], open: bool) -> Value {
    let properties = fields.iter().map(|field| (field.name.clone(), field.schema())).collect::<Map<_, _>>();
    let required =
        fields.iter().filter(|field| field.required()).map(|field| field.name.as_str()).collect::<Vec<_>>();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": open,
    })
}
