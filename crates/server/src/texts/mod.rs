//! Every word of the pages, in one place. A group is a struct whose fields are texts; a second language is another
//! value of the same structs, so that the compiler finds what is not translated. (What the use cases say of refusals
//! has its place beside them, with its code.)
//!
//! In a text, `{name}` is filled in by [`Text::with`], `|` separates the form for one from the form for many
//! ([`Texts::number`]), and [`Text::rich`] shows what stands between backticks as code.

use std::fmt;

/// Defines a group with its English texts.
macro_rules! group {
    ($(#[$doc:meta])* $Group:ident { $($name:ident: $text:expr,)* }) => {
        $(#[$doc])*
        pub struct $Group {
            $(pub $name: $crate::texts::Text,)*
        }

        pub const EN: $Group = $Group { $($name: $crate::texts::Text($text),)* };
    };
}

pub mod account;
pub mod admin;
pub mod common;
pub mod connecting;
pub mod consent;
pub mod credentials;
pub mod docs;
pub mod editing;
pub mod entrance;
pub mod first;
pub mod making;
pub mod own;
pub mod ownership;
pub mod place;
pub mod projects;
pub mod team;

/// One language.
pub struct Texts {
    /// As `<html lang>` has it (BCP 47).
    pub lang: &'static str,
    /// Which form a number takes: 0 is the first.
    form: fn(i64) -> usize,
    pub common: common::Common,
    pub entrance: entrance::Entrance,
    pub projects: projects::Projects,
    pub first: first::First,
    pub connecting: connecting::Connecting,
    pub consent: consent::Consent,
    pub credentials: credentials::Credentials,
    pub making: making::Making,
    pub editing: editing::Editing,
    pub team: team::Team,
    pub docs: docs::Docs,
    pub own: own::Own,
    pub ownership: ownership::Ownership,
    pub admin: admin::Admin,
    pub account: account::Account,
}

pub static EN: Texts = Texts {
    lang: "en",
    form: |n| usize::from(n != 1),
    common: common::EN,
    entrance: entrance::EN,
    projects: projects::EN,
    first: first::EN,
    connecting: connecting::EN,
    consent: consent::EN,
    credentials: credentials::EN,
    making: making::EN,
    editing: editing::EN,
    team: team::EN,
    docs: docs::EN,
    own: own::EN,
    ownership: ownership::EN,
    admin: admin::EN,
    account: account::EN,
};

/// How pages hold their texts.
pub type T = &'static Texts;

impl Texts {
    /// The form of `text` for `n`, with `{n}` filled in.
    pub fn number(&self, text: &Text, n: impl TryInto<i64>) -> String {
        let n = n.try_into().unwrap_or(i64::MAX);
        let forms: Vec<&str> = text.0.split('|').collect();
        let form = forms.get((self.form)(n)).or(forms.last()).copied().unwrap_or_default();
        form.replace("{n}", &n.to_string())
    }
}

#[derive(Clone, Copy)]
pub struct Text(pub &'static str);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0.to_owned()
    }
}

impl Text {
    /// With `{name}` filled in.
    pub fn with(&self, name: &str, value: &(impl fmt::Display + ?Sized)) -> Filled {
        Filled(self.0.to_owned()).with(name, value)
    }

    pub fn rich(&self) -> Rich {
        Rich::of(self.0)
    }
}

/// A text with something filled in.
#[derive(Clone)]
pub struct Filled(pub String);

impl fmt::Display for Filled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Filled> for String {
    fn from(text: Filled) -> Self {
        text.0
    }
}

impl Filled {
    #[must_use]
    pub fn with(self, name: &str, value: &(impl fmt::Display + ?Sized)) -> Self {
        Self(self.0.replace(&format!("{{{name}}}"), &value.to_string()))
    }

    pub fn rich(&self) -> Rich {
        Rich::of(&self.0)
    }
}

/// HTML made of a text: escaped, with code between backticks.
#[derive(Clone)]
pub struct Rich(String);

impl Rich {
    pub fn of(text: &str) -> Self {
        let mut html = String::with_capacity(text.len() + 16);
        let mut parts = text.split('`').peekable();
        let mut code = false;
        while let Some(part) = parts.next() {
            // A backtick without a second one is itself.
            let last = parts.peek().is_none();
            if code && last {
                html.push('`');
            }
            let marked = code && !last;
            if marked {
                html.push_str("<code>");
            }
            escape(part, &mut html);
            if marked {
                html.push_str("</code>");
            }
            code = !code;
        }
        Self(html)
    }

    /// Fills in a text.
    #[must_use]
    pub fn text(self, name: &str, value: &(impl fmt::Display + ?Sized)) -> Self {
        let mut safe = String::new();
        escape(&value.to_string(), &mut safe);
        Self(self.0.replace(&format!("{{{name}}}"), &safe))
    }

    /// Fills in a part that is safe HTML.
    #[must_use]
    pub fn part(self, name: &str, value: &impl askama::filters::HtmlSafe) -> Self {
        Self(self.0.replace(&format!("{{{name}}}"), &value.to_string()))
    }
}

impl fmt::Display for Rich {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Rich {}

fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_marked_and_everything_is_escaped() {
        assert_eq!(Rich::of("say `a<b>` & go").to_string(), "say <code>a&lt;b&gt;</code> &amp; go");
        assert_eq!(Rich::of("one ` alone").to_string(), "one ` alone");
        assert_eq!(Rich::of("`a` and `b`").to_string(), "<code>a</code> and <code>b</code>");
        let filled = Text("for {who}").with("who", "<b>Ada</b>");
        assert_eq!(filled.rich().to_string(), "for &lt;b&gt;Ada&lt;/b&gt;");
    }

    #[test]
    fn numbers_choose_their_form() {
        let text = Text("{n} credential|{n} credentials");
        assert_eq!(EN.number(&text, 1), "1 credential");
        assert_eq!(EN.number(&text, 0), "0 credentials");
        assert_eq!(EN.number(&text, 12_usize), "12 credentials");
        assert_eq!(EN.number(&Text("{n} of them"), 2), "2 of them");
    }
}
