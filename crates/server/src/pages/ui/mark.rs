//! Small marks: icons, initials, badges.

use std::fmt;

use askama::filters::HtmlSafe;
use latchstring_model::entity::Status;

use crate::pages::assets;
use crate::texts::{T, Text};

/// A symbol of `assets/icons.svg`. Decoration: what it means stands beside it in words.
#[derive(Clone, Copy)]
pub struct Icon(pub &'static str);

impl fmt::Display for Icon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, name) = (assets::base(), self.0);
        write!(f, "<svg class=\"icon\" aria-hidden=\"true\"><use href=\"{base}/icons.svg#{name}\"/></svg>")
    }
}

impl HtmlSafe for Icon {}

/// Initials on a quiet ground, in place of a logo: ours to show, and the same everywhere.
#[derive(Clone)]
pub struct Tile {
    initials: String,
    ground: u32,
    class: &'static str,
}

/// The first letters of the first two words, or the first two letters.
fn initials(name: &str) -> String {
    let letter = |word: &str| word.chars().find(|c| c.is_alphanumeric());
    let mut words =
        name.split(|c: char| c.is_whitespace() || matches!(c, '-' | '_' | '.' | '@')).filter_map(letter);
    match (words.next(), words.next()) {
        (Some(first), Some(second)) => first.to_uppercase().chain(second.to_uppercase()).collect(),
        (Some(first), None) => {
            let second = name.chars().filter(|c| c.is_alphanumeric()).nth(1);
            first.to_uppercase().chain(second).collect()
        }
        _ => "?".to_owned(),
    }
}

impl Tile {
    /// `key` chooses the ground: an id, which stays while names change.
    pub fn new(name: &str, key: &str) -> Self {
        let ground = key.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        Self { initials: initials(name), ground: (ground >> 3) % 8, class: "" }
    }

    pub fn person(name: &str, key: &str) -> Self {
        Self { class: " person", ..Self::new(name, key) }
    }

    #[must_use]
    pub fn large(self) -> Self {
        Self { class: " large", ..self }
    }

    #[must_use]
    pub fn small(self) -> Self {
        Self { class: " small", ..self }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Letters and digits alone: nothing to escape.
        let Self { initials, ground, class } = self;
        write!(f, "<span class=\"tile tile-{ground}{class}\" aria-hidden=\"true\">{initials}</span>")
    }
}

impl HtmlSafe for Tile {}

/// How something stands: a colour, an icon and always a word.
#[derive(Clone)]
pub struct Badge {
    class: &'static str,
    icon: &'static str,
    text: String,
}

impl Badge {
    pub fn new(class: &'static str, icon: &'static str, text: impl Into<String>) -> Self {
        Self { class, icon, text: text.into() }
    }

    pub fn quiet(text: impl Into<String>) -> Self {
        Self::new("", "info", text)
    }

    /// How values stand, in a word.
    pub fn word(t: T, status: Status) -> Text {
        match status {
            Status::Verified => t.credentials.verified,
            Status::Unverified => t.credentials.unverified,
            Status::Failing => t.credentials.failing,
            Status::NeedsAuthorization => t.credentials.needs_authorization,
            Status::NeedsReconnect => t.credentials.needs_reconnect,
            Status::Disabled => t.credentials.disabled,
        }
    }

    pub fn status(t: T, status: Status) -> Self {
        let (class, icon) = match status {
            Status::Verified => ("good", "check-circle"),
            Status::Unverified => ("", "info"),
            Status::Failing => ("bad", "cross-circle"),
            Status::NeedsAuthorization => ("warn", "door"),
            Status::NeedsReconnect => ("bad", "warning"),
            Status::Disabled => ("", "pause"),
        };
        Self::new(class, icon, Self::word(t, status))
    }

    /// The same, with what it is about: `production: Works`.
    #[must_use]
    pub fn of(self, what: &str) -> Self {
        Self { text: format!("{what}: {}", self.text), ..self }
    }
}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = crate::texts::Rich::of(&self.text.replace('`', "'"));
        write!(f, "<span class=\"badge {}\">{}{text}</span>", self.class, Icon(self.icon))
    }
}

impl HtmlSafe for Badge {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_are_two_letters() {
        for (name, wanted) in [
            ("GitHub", "Gi"),
            ("Google Drive", "GD"),
            ("DHIS2", "DH"),
            ("ada@example.org", "AE"),
            ("x", "X"),
            ("<b>", "B"),
            ("", "?"),
            ("日本", "日本"),
        ] {
            assert_eq!(initials(name), wanted, "{name}");
        }
    }
}
