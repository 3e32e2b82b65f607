//! Why a template, a value or a request could not be rendered.

use std::fmt;

/// What a missing name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupKind {
    Secret,
    Variable,
}

impl fmt::Display for LookupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LookupKind::Secret => "secret",
            LookupKind::Variable => "variable",
        })
    }
}

/// Nothing is sent when one of these comes up. None of them ever holds a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error(
        "{at}: the {kind} `{name}` is not set in this project's environment; a project owner, admin or editor can set it"
    )]
    SecretMissing { name: String, kind: LookupKind, at: String },
    #[error("{at}: {detail}")]
    Template { at: String, detail: String },
    /// A value that rendered well but is not what the scheme needs: a key of the wrong kind, a URL that is none.
    #[error("{at}: {detail}")]
    Value { at: String, detail: String },
    /// The method is known but this version cannot use it, or the values lack what a call needs.
    #[error("{detail}")]
    NotUsable { detail: String },
    /// The store of secrets and variables could not be asked.
    #[error("{at}: secrets and variables cannot be read at the moment")]
    LookupFailed { at: String },
}

impl RenderError {
    pub(crate) fn template(detail: impl Into<String>) -> Self {
        RenderError::Template { at: String::new(), detail: detail.into() }
    }

    /// Says where, unless an inner place is known already.
    #[must_use]
    pub(crate) fn at(mut self, place: &str) -> Self {
        match &mut self {
            RenderError::SecretMissing { at, .. }
            | RenderError::Template { at, .. }
            | RenderError::Value { at, .. }
            | RenderError::LookupFailed { at } => {
                if at.is_empty() {
                    *at = place.to_owned();
                }
            }
            RenderError::NotUsable { .. } => {}
        }
        self
    }
}
