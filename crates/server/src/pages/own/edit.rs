//! The editor of a definition: mistakes are told with their line, and shown beside it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::projects::Project;
use latchstring_model::entity::Role;
use latchstring_model::{Code, Problem};
use serde::Deserialize;

use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, Wrong};

/// A mistake, beside the line that it is in.
struct Mistake {
    line: usize,
    text: String,
    source: String,
}

#[derive(Template)]
#[template(path = "own/edit.html")]
struct Page {
    f: Frame,
    list: String,
    title: String,
    action: String,
    version: Option<i64>,
    wrong: Wrong,
    mistakes: Vec<Mistake>,
    source: Field,
}

/// `line 3, column 5: …`, as the checker says it.
fn line_of(detail: &str) -> Option<usize> {
    detail.strip_prefix("line ")?.split(',').next()?.trim().parse().ok()
}

/// Each line once, in order, with all that is wrong in it.
fn mistakes(problem: &Problem, source: &str) -> Vec<Mistake> {
    let mut found: Vec<Mistake> = Vec::new();
    for error in &problem.errors {
        let Some(line) = line_of(&error.detail) else { continue };
        let text = error.detail.split_once(": ").map_or(error.detail.as_str(), |(_, text)| text);
        match found.iter_mut().find(|known| known.line == line) {
            Some(known) => known.text = format!("{}; {text}", known.text),
            None => found.push(Mistake {
                line,
                text: text.to_owned(),
                source: source.lines().nth(line.saturating_sub(1)).unwrap_or_default().to_owned(),
            }),
        }
    }
    found.sort_by_key(|mistake| mistake.line);
    found
}

struct Draft<'d> {
    /// Of one that exists.
    id: Option<&'d str>,
    name: &'d str,
    source: &'d str,
    version: Option<i64>,
    problem: Option<&'d Problem>,
}

async fn page(app: &App, visitor: &Visitor, project: &Project, draft: Draft<'_>) -> Result<Page, Refused> {
    let (t, o) = (visitor.t, &visitor.t.own);
    let mistakes = draft.problem.map(|problem| mistakes(problem, draft.source)).unwrap_or_default();
    let mut wrong = match draft.problem {
        Some(problem) if mistakes.is_empty() => Wrong::of(t, problem, []),
        Some(problem) => {
            // The lines below say it.
            let whole = Problem { errors: Vec::new(), ..problem.clone() };
            Wrong::of(t, &whole, [])
        }
        None => Wrong::none(t),
    };
    let list = format!("/projects/{}/connectors", project.slug);
    let source = Field::file(t, "source", o.source, 24).help(o.source_help).value(draft.source);
    Ok(Page {
        f: Frame::of(app, visitor, Place::Connectors, Some(project)).await?,
        title: match draft.id {
            Some(_) => o.edit_title.with("name", draft.name).0,
            None => o.new.to_string(),
        },
        action: match draft.id {
            Some(id) => format!("{list}/{}/edit", go::part(id)),
            None => list.clone(),
        },
        list,
        version: draft.version,
        source: source.wrong(&mut wrong),
        wrong,
        mistakes,
    })
}

async fn admins(app: &App, visitor: &Visitor, named: &str) -> Result<Project, Refused> {
    let project = app.broker().project(&visitor.actor, named).await?;
    if project.role >= Role::Admin {
        return Ok(project);
    }
    let role = crate::pages::projects::role_text(visitor.t, project.role);
    let what = visitor.t.projects.admins_only.with("role", &role).0;
    Err(Box::new(Problem::new(Code::Forbidden, what)).into())
}

pub async fn new(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
) -> Result<Response, Refused> {
    let project = admins(&app, &visitor, &named).await?;
    let source = visitor.t.own.example.0;
    let draft = Draft { id: None, name: "", source, version: None, problem: None };
    Ok(visitor.show(&page(&app, &visitor, &project, draft).await?))
}

#[derive(Deserialize)]
pub struct Form {
    source: String,
    version: Option<i64>,
}

impl Form {
    /// Browsers end lines as mail does; definitions do not.
    fn text(&self) -> String {
        self.source.replace("\r\n", "\n")
    }
}

fn shown_here(problem: &Problem) -> bool {
    matches!(
        problem.code,
        Code::Invalid
            | Code::Conflict
            | Code::ConnectorBuiltIn
            | Code::ConnectorInUse
            | Code::PreconditionFailed
            | Code::BodyTooLarge
    )
}

pub async fn create(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let source = form.text();
    match app.broker().create_connector(&visitor.actor, &named, &source).await {
        Ok(made) => {
            let path = format!("/projects/{}/connectors/{}", go::part(&named), go::part(&made.definition.id));
            Ok(go::saying(&path, Flash::ConnectorSaved))
        }
        Err(problem) if shown_here(&problem) => {
            let project = admins(&app, &visitor, &named).await?;
            let draft = Draft { id: None, name: "", source: &source, version: None, problem: Some(&problem) };
            Ok(html(frame::status(&problem), &page(&app, &visitor, &project, draft).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((named, id)): Named<(String, String)>,
) -> Result<Response, Refused> {
    let project = admins(&app, &visitor, &named).await?;
    let connector = app.broker().connector(&visitor.actor, Some(project.id.as_str()), &id).await?;
    let Some(own) = &connector.own else {
        // A built-in one has nothing to edit; its page says all there is.
        return Ok(go::to(&format!("/projects/{}/connectors/{}", project.slug, go::part(&id))));
    };
    let draft = Draft {
        id: Some(&id),
        name: &connector.definition.name,
        source: &own.source,
        version: Some(own.revision),
        problem: None,
    };
    Ok(visitor.show(&page(&app, &visitor, &project, draft).await?))
}

pub async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((named, id)): Named<(String, String)>,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let source = form.text();
    match app.broker().put_connector(&visitor.actor, &named, &id, &source, form.version).await {
        Ok(_) => {
            let path = format!("/projects/{}/connectors/{}", go::part(&named), go::part(&id));
            Ok(go::saying(&path, Flash::ConnectorSaved))
        }
        Err(problem) if shown_here(&problem) => {
            let project = admins(&app, &visitor, &named).await?;
            let draft = Draft {
                id: Some(&id),
                name: &id,
                source: &source,
                version: form.version,
                problem: Some(&problem),
            };
            Ok(html(frame::status(&problem), &page(&app, &visitor, &project, draft).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn delete(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((named, id)): Named<(String, String)>,
) -> Result<Response, Refused> {
    app.broker().delete_connector(&visitor.actor, &named, &id, None).await?;
    Ok(go::saying(&format!("/projects/{}/connectors", go::part(&named)), Flash::ConnectorDeleted))
}

#[cfg(test)]
mod tests {
    use latchstring_model::FieldError;

    use super::*;

    #[test]
    fn mistakes_stand_beside_their_lines() {
        let problem = Problem::invalid(vec![
            FieldError::new("/b", "line 2, column 1: there is no key `b`"),
            FieldError::new("/b", "line 2, column 4: a text is needed"),
            FieldError::new("/a", "line 1, column 1: too long"),
        ]);
        let found = mistakes(&problem, "a: 1\nb: 2\n");
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].line, found[0].source.as_str()), (1, "a: 1"));
        assert_eq!(found[1].text, "there is no key `b`; a text is needed");
    }
}
