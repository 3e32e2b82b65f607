//! What is wrong with a definition, and where: `file:line:column: message`.

use std::fmt;

/// A place in the source, both counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// One mistake in a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub file: String,
    pub at: Position,
    /// RFC 6901 JSON pointer to the value (or the key) that is wrong.
    pub pointer: String,
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.at.line, self.at.column, self.message)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, " (did you mean `{suggestion}`?)")?;
        }
        Ok(())
    }
}

/// The known name that a misspelt one most likely means, if any is near enough.
pub(crate) fn nearest<'k>(wrong: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    let wrong = wrong.to_ascii_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.len().max(wrong.len()) / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["auth_methods", "base_url", "hosts"];
        assert_eq!(nearest("base_ulr", known).as_deref(), Some("base_url"));
        assert_eq!(nearest("Hosts", known).as_deref(), Some("hosts"));
        assert_eq!(nearest("colour", known), None);
    }
}
