//! How a provider's token answers are written: every departure from RFC 6749 §5.1 is a key here.
//!
//! A connector's `token_answer` section is this type. The defaults read a standard answer, and
//! tolerate what is unambiguous: a body with a byte-order mark, form-encoded bodies, numbers
//! written as text, `token_type` missing or in any case, scopes as a list or with commas.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ErrorClass;
use super::json_path::{Path, Paths};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerRules {
    /// How the body is written. Default `auto`: JSON if it parses as JSON, else form-encoded if it looks so.
    pub form: AnswerForm,
    pub access_token: Paths,
    pub token_type: Paths,
    pub refresh_token: Paths,
    pub id_token: Paths,
    pub scope: Paths,
    /// Default `auto`: a list is a list; a text with blanks is split at blanks, else at commas.
    pub scope_separator: ScopeSeparator,
    /// Where the token's end stands. Default `expires_in`.
    pub expiry: Paths,
    /// What stands there. Default `seconds` from the request on.
    pub expiry_format: ExpiryFormat,
    /// Where the end of the grant (of the refresh token) stands, if the provider says.
    pub grant_expiry: Paths,
    pub grant_expiry_format: ExpiryFormat,
    /// Seconds that a token lives: taken when the answer does not say, and a cap when it says more.
    pub ttl: Option<i64>,
    /// Seconds that a token lives when neither the answer nor `ttl` says; no cap.
    pub default_ttl: Option<i64>,
    /// Seconds that the grant lives, counted from consent, when the answer does not say.
    pub grant_ttl: Option<i64>,
    /// Where an error's word stands. Default `error`.
    pub error: Paths,
    /// Where its text stands.
    pub error_description: Paths,
    /// The answer is an error unless all of these hold: `{path: ok, equals: true}`.
    pub success: Vec<Equals>,
    /// An answer with both a token and an error is an error. Default: it is a token.
    pub error_wins: bool,
    /// The provider's own error words (or codes) and what they mean, beside those of the RFCs.
    pub errors: BTreeMap<String, ErrorClass>,
    /// Further tokens of the same grant, by the name that they get here.
    pub named: BTreeMap<String, NamedToken>,
    /// Which further fields URL templates may read as `token.<name>`: name → path. Default: every
    /// top-level field that no other rule uses, under its own name.
    pub metadata: Option<BTreeMap<String, Path>>,
}

impl Default for AnswerRules {
    fn default() -> Self {
        Self {
            form: AnswerForm::Auto,
            access_token: Paths::of(&["access_token"]),
            token_type: Paths::of(&["token_type"]),
            refresh_token: Paths::of(&["refresh_token"]),
            id_token: Paths::of(&["id_token"]),
            scope: Paths::of(&["scope"]),
            scope_separator: ScopeSeparator::Auto,
            expiry: Paths::of(&["expires_in"]),
            expiry_format: ExpiryFormat::Seconds,
            grant_expiry: Paths::default(),
            grant_expiry_format: ExpiryFormat::Seconds,
            ttl: None,
            default_ttl: None,
            grant_ttl: None,
            error: Paths::of(&["error.code", "error.type", "error.status", "error"]),
            error_description: Paths::of(&["error_description", "error.message", "message", "error_msg"]),
            success: Vec::new(),
            error_wins: false,
            errors: BTreeMap::new(),
            named: BTreeMap::new(),
            metadata: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerForm {
    #[default]
    Auto,
    Json,
    Form,
    /// The whole body is the token.
    Text,
}

/// A success condition on the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Equals {
    pub path: Path,
    pub equals: Value,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ScopeSeparator {
    #[default]
    Auto,
    Exactly(String),
}

impl From<String> for ScopeSeparator {
    fn from(text: String) -> Self {
        if text == "auto" || text.is_empty() { Self::Auto } else { Self::Exactly(text) }
    }
}

impl From<ScopeSeparator> for String {
    fn from(separator: ScopeSeparator) -> Self {
        match separator {
            ScopeSeparator::Auto => "auto".into(),
            ScopeSeparator::Exactly(text) => text,
        }
    }
}

/// What a provider writes where a token's end stands. A value that is negative, zero, no number or
/// date, or more than ten years away says nothing: then `ttl` and `default_ttl` decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiryFormat {
    /// Seconds from the request on.
    #[default]
    Seconds,
    Minutes,
    /// Milliseconds from the request on.
    Milliseconds,
    /// Seconds since 1970.
    Epoch,
    /// Milliseconds since 1970.
    EpochMs,
    /// ISO 8601 or RFC 2822; without a zone it is UTC.
    Date,
    /// The `exp` claim of the access token, which is a JWT.
    JwtExp,
    /// Nothing to read: `ttl` or `default_ttl` alone decide.
    Constant,
    /// Tokens do not expire, whatever the answer says.
    Never,
}

/// Where a further token sits. Only `access_token` is needed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamedToken {
    pub access_token: Paths,
    pub token_type: Paths,
    pub refresh_token: Paths,
    pub scope: Paths,
    pub expiry: Paths,
    pub expiry_format: ExpiryFormat,
    pub ttl: Option<i64>,
    /// The answer is incomplete without this token.
    pub required: bool,
}
