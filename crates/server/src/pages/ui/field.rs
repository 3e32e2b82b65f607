//! One field of a form: label, help, example, what was typed, and what is wrong with it, beside it.

use askama::Template;
use askama::filters::HtmlSafe;

use super::form::Wrong;
use super::mark::Icon;
use crate::texts::{Rich, T, Text};

/// A way to answer.
#[derive(Clone)]
pub struct Answer {
    pub value: String,
    pub label: String,
    pub help: Option<String>,
}

impl Answer {
    pub fn new(value: impl Into<String>, label: impl Into<String>) -> Self {
        Self { value: value.into(), label: label.into(), help: None }
    }

    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

#[derive(Clone)]
enum Kind {
    /// `<input type=…>`.
    Line(&'static str),
    /// Secret, in one line.
    Secret,
    Area {
        rows: u8,
        /// Files may be dropped onto it.
        drop: bool,
    },
    Choice(Vec<Answer>),
    /// Cards with radio buttons.
    Cards(Vec<Answer>),
    Tick,
}

/// A box that belongs to a field.
#[derive(Clone)]
struct Below {
    name: String,
    label: String,
    help: String,
    ticked: bool,
}

#[derive(Template, Clone)]
#[template(path = "ui/field.html")]
pub struct Field {
    t: T,
    kind: Kind,
    id: String,
    name: String,
    label: String,
    help: Option<String>,
    help_more: Option<String>,
    example: Option<String>,
    placeholder: Option<String>,
    value: String,
    ticked: bool,
    error: Option<String>,
    optional: bool,
    mono: bool,
    autocomplete: Option<&'static str>,
    most: Option<usize>,
    pattern: Option<String>,
    hint: Option<String>,
    /// In words, and as data for the script.
    when: Option<(String, String)>,
    /// A secret that is stored: what is shown in its place.
    kept: Option<Rich>,
    /// Boxes below it: a key that is made here, a secret that is taken away.
    ticks: Vec<Below>,
    /// Nothing that was typed is ever drawn.
    secret: bool,
    focus: bool,
    /// A list that a script narrows by what is typed.
    filters: Option<&'static str>,
    /// Several, each of which a script shows as a tag.
    tags: bool,
}

impl HtmlSafe for Field {}

/// An id that a name makes: ids must not hold slashes when scripts and styles are to find them with ease.
pub fn id_of(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    format!("f-{}", name.trim_start_matches('/').chars().map(plain).collect::<String>())
}

impl Field {
    fn new(t: T, kind: Kind, name: impl Into<String>, label: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            t,
            kind,
            id: id_of(&name),
            name,
            label: label.into(),
            help: None,
            help_more: None,
            example: None,
            placeholder: None,
            value: String::new(),
            ticked: false,
            error: None,
            optional: false,
            mono: false,
            autocomplete: None,
            most: None,
            pattern: None,
            hint: None,
            when: None,
            kept: None,
            ticks: Vec::new(),
            secret: false,
            focus: false,
            filters: None,
            tags: false,
        }
    }

    pub fn text(t: T, name: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(t, Kind::Line("text"), name, label)
    }

    pub fn email(t: T, name: impl Into<String>, label: impl Into<String>) -> Self {
        Self { most: Some(254), ..Self::new(t, Kind::Line("email"), name, label) }
    }

    pub fn url(t: T, name: impl Into<String>, label: impl Into<String>) -> Self {
        // Not type=url: templates are welcome, and the server says more of what is wrong.
        Self { mono: true, ..Self::new(t, Kind::Line("text"), name, label) }
    }

    pub fn number(t: T, name: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(t, Kind::Line("text"), name, label)
    }

    pub fn date(t: T, name: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(t, Kind::Line("date"), name, label)
    }

    pub fn search(t: T, name: impl Into<String>, label: impl Into<String>) -> Self {
        Self { optional: true, ..Self::new(t, Kind::Line("search"), name, label) }.unmarked()
    }

    /// A person's password.
    pub fn password(t: T, name: impl Into<String>, label: impl Into<String>, new: bool) -> Self {
        let autocomplete = Some(if new { "new-password" } else { "current-password" });
        Self { autocomplete, most: Some(256), ..Self::new(t, Kind::Secret, name, label) }
    }

    /// A code that an app shows, or one of recovery: typed once, never drawn.
    pub fn code(t: T, name: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            mono: true,
            autocomplete: Some("one-time-code"),
            most: Some(40),
            ..Self::new(t, Kind::Line("text"), name, label)
        }
    }

    /// A value that no page ever shows.
    pub fn secret(t: T, name: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            mono: true,
            autocomplete: Some("off"),
            secret: true,
            ..Self::new(t, Kind::Secret, name, label)
        }
    }

    pub fn area(t: T, name: impl Into<String>, label: impl Into<String>, rows: u8) -> Self {
        Self::new(t, Kind::Area { rows, drop: false }, name, label)
    }

    /// PEM and other texts of several lines that come in files.
    pub fn file(t: T, name: impl Into<String>, label: impl Into<String>, rows: u8) -> Self {
        Self {
            mono: true,
            autocomplete: Some("off"),
            ..Self::new(t, Kind::Area { rows, drop: true }, name, label)
        }
    }

    pub fn choice(t: T, name: impl Into<String>, label: impl Into<String>, answers: Vec<Answer>) -> Self {
        Self::new(t, Kind::Choice(answers), name, label)
    }

    pub fn cards(t: T, name: impl Into<String>, label: impl Into<String>, answers: Vec<Answer>) -> Self {
        Self::new(t, Kind::Cards(answers), name, label)
    }

    /// A box to tick; its value is `yes`.
    pub fn tick(t: T, name: impl Into<String>, label: impl Into<String>, ticked: bool) -> Self {
        Self { ticked, optional: true, ..Self::new(t, Kind::Tick, name, label) }
    }

    #[must_use]
    pub fn value(self, value: impl Into<String>) -> Self {
        Self { value: value.into(), ..self }
    }

    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()).filter(|help: &String| !help.is_empty()), ..self }
    }

    #[must_use]
    pub fn example(self, example: impl Into<String>) -> Self {
        let example: String = example.into();
        let shown = if self.mono { format!("`{example}`") } else { example };
        Self { example: Some(self.t.common.example.with("example", &shown).0), ..self }
    }

    #[must_use]
    pub fn placeholder(self, text: impl Into<String>) -> Self {
        Self { placeholder: Some(text.into()), ..self }
    }

    #[must_use]
    pub fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    /// Needed or not, where the word for it would only be noise.
    #[must_use]
    pub fn unmarked(self) -> Self {
        Self { optional: false, ..self }
    }

    #[must_use]
    pub fn mono(self) -> Self {
        Self { mono: true, ..self }
    }

    #[must_use]
    pub fn most(self, most: usize) -> Self {
        Self { most: Some(most), ..self }
    }

    #[must_use]
    pub fn autocomplete(self, what: &'static str) -> Self {
        Self { autocomplete: Some(what), ..self }
    }

    /// A pattern that a script hints at; the server decides.
    #[must_use]
    pub fn pattern(self, pattern: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { pattern: Some(pattern.into()), hint: Some(hint.into()), ..self }
    }

    /// Only there for some choices: in words, and as JSON for the script.
    #[must_use]
    pub fn when(self, words: String, data: String) -> Self {
        Self { when: Some((words, data)), ..self }
    }

    #[must_use]
    pub fn kept(self, text: Rich) -> Self {
        Self { kept: Some(text), ..self }
    }

    /// A box below the field.
    #[must_use]
    pub fn tick_below(
        mut self,
        name: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
        ticked: bool,
    ) -> Self {
        self.ticks.push(Below { name: name.into(), label: label.into(), help: help.into(), ticked });
        self
    }

    /// Secret, whatever it looks like.
    #[must_use]
    pub fn never_shown(self) -> Self {
        Self { secret: true, value: String::new(), ..self }
    }

    /// Another sentence of help, after the one that is there.
    #[must_use]
    pub fn help_more(self, text: impl Into<String>) -> Self {
        Self { help_more: Some(text.into()), ..self }
    }

    #[must_use]
    pub fn focus(self) -> Self {
        Self { focus: true, ..self }
    }

    #[must_use]
    pub fn filters(self, list: &'static str) -> Self {
        Self { filters: Some(list), ..self }
    }

    /// One per line, or with blanks between where it is a line: none of them holds a blank.
    #[must_use]
    pub fn tags(self) -> Self {
        Self { tags: true, ..self }
    }

    #[must_use]
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: id.into(), ..self }
    }

    /// Takes what is wrong with this field out of what is wrong. A secret that was typed has to be typed again where
    /// the page is drawn anew: that is said too.
    #[must_use]
    pub fn wrong(mut self, wrong: &mut Wrong) -> Self {
        let found = wrong.take(&self.name, &self.id, &self.label);
        self.error = found.or_else(|| {
            (self.secret && wrong.typed(&self.name) && self.value.is_empty())
                .then(|| self.t.common.secret_again.into())
        });
        self
    }

    /// Something stands in it, or is wrong with it: it must not be folded away.
    pub fn wants_attention(&self) -> bool {
        self.error.is_some() || !self.value.is_empty()
    }

    fn has_help(&self) -> bool {
        self.help.is_some() || self.help_more.is_some() || self.example.is_some()
    }

    /// Ids of what describes the field.
    fn described_by(&self) -> String {
        let mut ids = vec![format!("{}-error", self.id)];
        if self.has_help() {
            ids.push(format!("{}-help", self.id));
        }
        if self.kept.is_some() {
            ids.push(format!("{}-kept", self.id));
        }
        ids.join(" ")
    }

    fn rich(&self, text: &str) -> Rich {
        Rich::of(text)
    }

    fn icon(&self) -> Icon {
        Icon("warning")
    }

    /// Words of the field's own page part.
    fn optional_word(&self) -> Text {
        self.t.common.optional
    }
}
