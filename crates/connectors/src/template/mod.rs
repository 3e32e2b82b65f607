//! Templates: Jinja's syntax as minijinja reads it, and of its language a subset that is bounded by
//! construction.
//!
//! minijinja tokenises and parses; [`lower`] accepts a subset of its syntax tree and turns it into
//! our own; [`eval`] walks that. minijinja's own virtual machine is not used, for three reasons:
//! its `~` builds any number of bytes before a filter could object, it folds constants when a
//! template is loaded (64 bytes of text took 1 GB), and its intermediate texts are not wiped.
//! Within the subset both give the same result, which a test checks.
//!
//! Units: lengths are bytes.

mod eval;
mod func;
mod lower;
mod val;

use eval::Encode;
pub(crate) use eval::{Env, Stop};
pub(crate) use func::COMPONENT;
pub(crate) use func::hex;
pub(crate) use lower::Known;
pub(crate) use val::{Object, Text, Val};

use std::collections::BTreeSet;

use crate::error::RenderError;

/// The longest template.
pub const MAX_SOURCE: usize = 16 * 1024;
/// The longest result of a template, and the longest text on the way to it.
pub const MAX_OUTPUT: usize = 1024 * 1024;
/// All bytes that rendering one template may handle on its way: what bounds its time.
pub(crate) const MAX_WORK: usize = 4 * MAX_OUTPUT;
/// Nested brackets, and levels of the tree.
pub(crate) const MAX_DEPTH: usize = 32;
/// Words and signs within `{{ }}` and `{% %}`.
pub(crate) const MAX_TOKENS: usize = 2000;

/// A parsed, accepted template.
#[derive(Clone, Debug)]
pub struct Template {
    nodes: Vec<lower::Piece>,
    known: Known,
}

/// Why a text is no acceptable template. Never holds more of it than a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    pub message: String,
    /// Within the template, from 1.
    pub line: usize,
    /// What was probably meant instead of an unknown name.
    pub suggestion: Option<String>,
}

/// Whether a text is a template rather than a plain value.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

impl Template {
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        lower::parse(source)
    }

    /// A text that stands for itself.
    pub(crate) fn literal(text: &str) -> Self {
        Self { nodes: vec![lower::Piece::Text(text.to_owned())], known: Known::default() }
    }

    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    /// Names of secrets that rendering may ask for.
    pub fn secrets(&self) -> &BTreeSet<String> {
        &self.known.secrets
    }

    pub fn variables(&self) -> &BTreeSet<String> {
        &self.known.variables
    }

    /// The whole text, when there is nothing to render in it.
    pub(crate) fn as_literal(&self) -> Option<&str> {
        match self.nodes.as_slice() {
            [] => Some(""),
            [lower::Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text that it begins with; `None` when it begins with an expression.
    pub(crate) fn starts_with_text(&self) -> Option<&str> {
        match self.nodes.first() {
            None => Some(""),
            Some(lower::Piece::Text(text)) => Some(text),
            Some(_) => None,
        }
    }

    /// The value: typed when the template is one expression, else a text. `Val::None` only in the first case.
    pub(crate) fn value<'e>(&'e self, env: &'e dyn Env) -> Result<Val<'e>, RenderError> {
        eval::value(&self.nodes, env)
    }

    /// As [`Template::value`], with `encode` applied to whatever an expression yields that reads one of `roots`.
    pub(crate) fn text_encoded<'e>(
        &'e self,
        env: &'e dyn Env,
        encode: Encode<'_>,
    ) -> Result<Option<latchstring_model::SecretString>, RenderError> {
        eval::text_encoded(&self.nodes, env, encode)
    }
}

#[cfg(test)]
mod tests;
