//! Requests that nobody has sent, in the order in which they would be: one for a token, and the one that it is for.

use askama::Template;
use askama::filters::HtmlSafe;
use latchstring_broker::credentials::preview::Sketch;

use super::Exchange;
use crate::texts::{T, Text};

#[derive(Template, Clone)]
#[template(path = "ui/sketched.html")]
pub struct Sketched {
    title: Option<String>,
    steps: Vec<(Option<Text>, Exchange)>,
    note: Option<String>,
}

impl HtmlSafe for Sketched {}

impl Sketched {
    /// `title`: where there are several.
    pub fn of(t: T, sketch: &Sketch, title: Option<String>) -> Self {
        let m = &t.making;
        let first = Exchange::before(t, sketch.first.as_ref()).map(|one| (Some(m.preview_first), one));
        let then = first.is_some().then_some(m.preview_then);
        let call = Exchange::before(t, sketch.call.as_ref()).map(|one| (then, one));
        let note = match &sketch.refused {
            Some(problem) => Some(problem.detail.to_string()),
            None if call.is_none() => Some(m.preview_answer_decides.to_string()),
            None => None,
        };
        Self { title, steps: first.into_iter().chain(call).collect(), note }
    }
}
