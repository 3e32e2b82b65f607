//! What is wrong with a form: a use case's problem, dealt out to the fields that it points at; the rest stands above.

use std::collections::BTreeMap;

use askama::Template;
use askama::filters::HtmlSafe;
use latchstring_model::Problem;

use super::mark::Icon;
use crate::texts::{Rich, T};

/// One thing that is wrong, with the id of its field.
#[derive(Clone)]
struct Told {
    id: Option<String>,
    label: String,
    detail: String,
}

/// Fields take what is theirs ([`Field::wrong`](super::Field::wrong)); drawn, it is the summary above the form.
#[derive(Template, Clone)]
#[template(path = "ui/wrong.html")]
pub struct Wrong {
    t: T,
    /// What was typed, by name: for fields that are drawn again.
    typed: BTreeMap<String, String>,
    /// What no field has taken yet.
    left: Vec<(String, String)>,
    told: Vec<Told>,
    detail: Option<String>,
    hint: Option<String>,
    any: bool,
    /// Nothing is wrong, and the page is drawn anew: what is secret has to be typed again.
    again: bool,
    /// Nothing is said above the form.
    quiet: bool,
}

impl HtmlSafe for Wrong {}

impl Wrong {
    /// A form that was not sent yet.
    pub fn none(t: T) -> Self {
        Self {
            t,
            typed: BTreeMap::new(),
            left: Vec::new(),
            told: Vec::new(),
            detail: None,
            hint: None,
            any: false,
            again: false,
            quiet: false,
        }
    }

    /// A form that was looked at and is drawn once more, with nothing wrong in it.
    pub fn again<'p>(t: T, pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Self {
        let typed = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { typed, again: true, ..Self::none(t) }
    }

    /// After a refusal. `pairs`: what was sent.
    pub fn of<'p>(t: T, problem: &Problem, pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Self {
        let left: Vec<(String, String)> =
            problem.errors.iter().map(|error| (error.pointer.clone(), error.detail.clone())).collect();
        let whole = left.is_empty() || problem.code != latchstring_model::Code::Invalid;
        Self {
            t,
            typed: pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            left,
            told: Vec::new(),
            detail: whole.then(|| problem.detail.to_string()),
            hint: problem.hint.as_ref().map(ToString::to_string),
            any: true,
            again: false,
            quiet: false,
        }
    }

    /// After a refusal that another part of the page tells: only fields say what is theirs.
    pub fn beside<'p>(t: T, problem: &Problem, pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Self {
        Self { quiet: true, ..Self::of(t, problem, pairs) }
    }

    /// With one thing more, of the page's own.
    #[must_use]
    pub fn and(mut self, name: &str, detail: impl Into<String>) -> Self {
        self.any = true;
        self.left.push((name.to_owned(), detail.into()));
        self
    }

    pub fn any(&self) -> bool {
        self.any
    }

    /// Whether anything was typed there.
    pub(super) fn typed(&self, name: &str) -> bool {
        (self.any || self.again) && self.typed.get(name).is_some_and(|text| !text.is_empty())
    }

    /// Errors of a field and of what lies below it (`/hosts` and `/hosts/2`). A name without a slash is a pointer's
    /// first part.
    pub(super) fn take(&mut self, name: &str, id: &str, label: &str) -> Option<String> {
        let pointer = format!("/{}", name.trim_start_matches('/'));
        let below = format!("{pointer}/");
        let (mine, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.left)
            .into_iter()
            .partition(|(at, _)| *at == pointer || *at == name || at.starts_with(&below));
        self.left = left;
        if mine.is_empty() {
            return None;
        }
        let detail = mine.iter().map(|(_, detail)| sentence(detail)).collect::<Vec<_>>().join(" ");
        self.told.push(Told { id: Some(id.to_owned()), label: label.to_owned(), detail: detail.clone() });
        Some(detail)
    }

    /// How many things are wrong, for the heading.
    fn heading(&self) -> String {
        match self.told.len() + self.left.len() {
            0 => self.t.common.trouble.0.to_owned(),
            many => self.t.number(&self.t.common.trouble_many, many),
        }
    }

    fn rest(&self) -> Vec<Told> {
        let told = self.left.iter().map(|(at, detail)| Told {
            id: None,
            label: at.trim_start_matches('/').replace(['/', '_'], " "),
            detail: sentence(detail),
        });
        self.told.iter().cloned().chain(told).collect()
    }

    fn rich(&self, text: &str) -> Rich {
        Rich::of(text)
    }

    fn icon(&self) -> Icon {
        Icon("warning")
    }
}

/// Details of the use cases are parts of a sentence; beside a field they stand alone.
fn sentence(detail: &str) -> String {
    let detail = detail.trim();
    let mut chars = detail.chars();
    let mut text: String =
        chars.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    text.push_str(chars.as_str());
    if !text.ends_with(['.', '!', '?', '`']) && !text.is_empty() {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use latchstring_model::{Code, FieldError};

    use super::*;
    use crate::texts::EN;

    #[test]
    fn fields_take_what_is_theirs_and_the_rest_stands_above() {
        let errors = vec![
            FieldError::new("/email", "an address is needed"),
            FieldError::new("/hosts/1", "is no host"),
            FieldError::new("/hosts/2", "is no host"),
            FieldError::new("/odd", "is unknown"),
        ];
        let problem = Problem::invalid(errors);
        let mut wrong = Wrong::of(&EN, &problem, [("email", "x")]);
        assert_eq!(wrong.take("email", "f-email", "E-mail").as_deref(), Some("An address is needed."));
        assert_eq!(wrong.take("hosts", "f-hosts", "Hosts").as_deref(), Some("Is no host. Is no host."));
        assert_eq!(wrong.take("email", "f-email", "E-mail"), None);
        let rest = wrong.rest();
        assert_eq!(rest.len(), 3);
        assert!(rest[2].id.is_none() && rest[2].label == "odd");
        assert_eq!(wrong.detail, None, "the fields say it");
        assert!(wrong.heading().starts_with('3'));
    }

    #[test]
    fn a_refusal_of_another_kind_is_told_whole() {
        let problem = Problem::new(Code::SlugTaken, "Taken.")
            .hint("Another.")
            .errors(vec![FieldError::new("/slug", "taken")]);
        let wrong = Wrong::of(&EN, &problem, []);
        assert_eq!((wrong.detail.as_deref(), wrong.hint.as_deref()), (Some("Taken."), Some("Another.")));
    }
}
