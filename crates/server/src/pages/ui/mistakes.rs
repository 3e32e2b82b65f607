//! Mistakes of a text that is typed whole (a definition, a JSON object), by their lines: each leads to its line.

use askama::Template;
use askama::filters::HtmlSafe;
use latchstring_model::Problem;

use super::field::id_of;
use crate::texts::{T, place};

#[derive(Clone)]
struct Mistake {
    /// Of the field.
    id: String,
    line: usize,
    place: String,
    text: String,
    /// The line itself, where it may be seen.
    source: Option<String>,
}

#[derive(Template, Clone)]
#[template(path = "ui/mistakes.html")]
pub struct Mistakes {
    t: T,
    list: Vec<Mistake>,
    /// Nothing else on the page says that something is wrong.
    alone: bool,
}

impl HtmlSafe for Mistakes {}

impl Mistakes {
    pub fn none(t: T) -> Self {
        Self { t, list: Vec::new(), alone: false }
    }

    /// Of a text that anybody here may read: each line once, in order, with all that is wrong in it.
    pub fn of(t: T, problem: &Problem, field: &str, source: &str) -> Self {
        let mut list: Vec<Mistake> = Vec::new();
        for (line, _, text) in problem.errors.iter().filter_map(|error| place::read(&error.detail)) {
            match list.iter_mut().find(|known| known.line == line) {
                Some(known) => known.text = format!("{}; {text}", known.text),
                None => list.push(Mistake {
                    id: id_of(field),
                    line,
                    place: t.own.line.with("line", &line).0,
                    text: text.to_owned(),
                    source: Some(source.lines().nth(line.saturating_sub(1)).unwrap_or_default().to_owned()),
                }),
            }
        }
        list.sort_by_key(|mistake| mistake.line);
        Self { t, list, alone: false }
    }

    /// Of texts that are secret: their lines are not shown again, only where in them it is.
    pub fn of_secrets(t: T, problem: &Problem) -> Self {
        let found =
            problem.errors.iter().filter_map(|error| Some((&error.pointer, place::read(&error.detail)?)));
        let list: Vec<Mistake> = found
            .map(|(pointer, (line, column, text))| Mistake {
                id: id_of(pointer),
                line,
                place: t.own.line_column.with("line", &line).with("column", &column).0,
                text: text.to_owned(),
                source: None,
            })
            .collect();
        let alone = !list.is_empty() && list.len() == problem.errors.len();
        Self { t, list, alone }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether they are all that is wrong: then nothing above needs to say so.
    pub fn is_all(&self) -> bool {
        self.alone
    }
}

#[cfg(test)]
mod tests {
    use latchstring_model::FieldError;

    use super::*;
    use crate::texts::EN;

    #[test]
    fn mistakes_stand_beside_their_lines() {
        let problem = Problem::invalid(vec![
            FieldError::new("/b", "line 2, column 1: there is no key `b`"),
            FieldError::new("/b", "line 2, column 4: a text is needed"),
            FieldError::new("/a", "line 1, column 1: too long"),
        ]);
        let found = Mistakes::of(&EN, &problem, "source", "a: 1\nb: 2\n").list;
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].line, found[0].source.as_deref()), (1, Some("a: 1")));
        assert_eq!(found[1].text, "there is no key `b`; a text is needed");
    }

    #[test]
    fn of_a_secret_text_only_the_place_is_told() {
        let typed = "{\n  \"apiKey\": \"planted-secret\"\n  \"b\": 1\n}";
        let told = match serde_json::from_str::<serde_json::Value>(typed) {
            Ok(_) => String::new(),
            Err(error) => place::of_json(&error),
        };
        assert_eq!(told, "line 3, column 3: expected `,` or `}`");
        let problem = Problem::invalid(vec![FieldError::new("/values/default/?json", told)]);
        let mistakes = Mistakes::of_secrets(&EN, &problem);
        let shown = mistakes.render().unwrap_or_default();
        assert!(shown.contains("href=\"#f-values-default--json\" data-line=\"3\""), "{shown}");
        assert!(shown.contains("Line 3, column 3") && !shown.contains("planted"), "{shown}");
        assert!(mistakes.is_all());
        let more = problem.errors(vec![FieldError::new("/name", "is missing")]);
        assert!(!Mistakes::of_secrets(&EN, &more).is_all());
    }
}
