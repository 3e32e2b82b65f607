//! The definition language of connectors: YAML or JSON → a checked model; templates; fields; answers.
//! Sans-IO. docs/connectors.md is its reference, connectors/schema.json its JSON Schema for editors.

pub mod answer;
mod asking;
mod catalog;
mod choice;
mod client;
mod consent;
mod consented;
mod context;
mod definition;
mod diagnostic;
mod digest;
mod error;
mod field;
mod read;
mod reads;
mod render;
mod resolve;
mod scene;
mod schema;
mod steps;
mod table;
mod template;
mod three_legged;
mod values;
pub mod yaml;

pub use catalog::{FILES, builtin, sandbox_at};
pub use choice::Choice;
pub use client::{ClientAuthMethod, ClientCertificate, ClientKey, OAuthClient, OAuthEndpoints};
pub use consent::NamedEndpoint;
pub use consented::Consent;
pub use context::{
    Context, Lookup, LookupUnavailable, NoLookup, ProjectContext, SecretValue, UserContext, Uses,
};
pub use definition::{
    AuthMethod, BodyRule, Definition, ErrorRule, Expect, FixedSet, HostPattern, HostVerdict, Operation,
    RequestSpec, SchemeDef, StatusRange,
};
pub use diagnostic::{Diagnostic, Position};
pub use error::{LookupKind, RenderError};
pub use field::{Field, FieldType, Pattern, PemKind};
pub use resolve::{
    Destination, Fixed, FixedParts, OwnBody, OwnRequest, RefreshReuse, Resolved, To, TokenPolicy,
};
pub use schema::json_schema;
pub use steps::{StepsFailed, StepsNext, StepsRun};
pub use table::SchemeType;
pub use template::{Template, TemplateError, is_template};
pub use values::{Values, literally};

/// Reads a definition strictly: all mistakes at once, unknown keys among them.
pub fn check(source: &str, file: &str) -> Result<Definition, Vec<Diagnostic>> {
    read::definition(source, file, true)
}

/// Reads a definition that was stored, perhaps by a newer server: unknown keys are passed over.
pub fn load_stored(source: &str) -> Result<Definition, Vec<Diagnostic>> {
    read::definition(source, "stored definition", false)
}

/// The tree of a definition as JSON, without looking at what it says.
pub fn to_json(source: &str) -> Result<serde_json::Value, Diagnostic> {
    yaml::parse(source).map(|node| node.to_json()).map_err(|broken| Diagnostic {
        file: "definition".into(),
        at: broken.at,
        pointer: String::new(),
        message: broken.message,
        suggestion: None,
    })
}
