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
use crate::pages::ui::{Field, Mistakes, Sketched, Wrong};

#[derive(Template)]
#[template(path = "own/edit.html")]
struct Page {
    f: Frame,
    list: String,
    title: String,
    action: String,
    version: Option<i64>,
    wrong: Wrong,
    mistakes: Mistakes,
    /// What each method would send.
    sketches: Option<Vec<Sketched>>,
    source: Field,
}

struct Draft<'d> {
    /// Of one that exists.
    id: Option<&'d str>,
    name: &'d str,
    source: &'d str,
    version: Option<i64>,
    problem: Option<&'d Problem>,
    sketches: Option<Vec<Sketched>>,
}

async fn page(app: &App, visitor: &Visitor, project: &Project, draft: Draft<'_>) -> Result<Page, Refused> {
    let (t, o) = (visitor.t, &visitor.t.own);
    let mistakes = match draft.problem {
        Some(problem) => Mistakes::of(t, problem, "source", draft.source),
        None => Mistakes::none(t),
    };
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
        sketches: draft.sketches,
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
    let draft = Draft { id: None, name: "", source, version: None, problem: None, sketches: None };
    Ok(visitor.show(&page(&app, &visitor, &project, draft).await?))
}

#[derive(Deserialize)]
pub struct Form {
    source: String,
    version: Option<i64>,
    /// Only looked at, not saved.
    #[serde(default, rename = "try")]
    trying: String,
}

impl Form {
    fn is_preview(&self) -> bool {
        self.trying == "preview"
    }

    /// Browsers end lines as mail does; definitions do not.
    fn text(&self) -> String {
        self.source.replace("\r\n", "\n")
    }
}

fn shown_here(problem: &Problem) -> bool {
    matches!(problem.code, Code::Invalid | Code::PreconditionFailed | Code::BodyTooLarge)
        || frame::in_the_way(problem)
}

/// What the definition would send, with the examples of its fields; nothing is saved and nobody asked.
async fn preview(app: &App, visitor: &Visitor, named: &str, draft: Draft<'_>) -> Result<Response, Refused> {
    let project = admins(app, visitor, named).await?;
    match app.broker().preview_connector(&visitor.actor, named, draft.source).await {
        Ok(sketches) => {
            let shown = sketches.iter().map(|one| Sketched::of(visitor.t, one, Some(one.of.clone())));
            let draft = Draft { sketches: Some(shown.collect()), ..draft };
            Ok(visitor.show(&page(app, visitor, &project, draft).await?))
        }
        Err(problem) if shown_here(&problem) => {
            let draft = Draft { problem: Some(&problem), ..draft };
            Ok(html(frame::status(&problem), &page(app, visitor, &project, draft).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn create(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let source = form.text();
    if form.is_preview() {
        let draft =
            Draft { id: None, name: "", source: &source, version: None, problem: None, sketches: None };
        return preview(&app, &visitor, &named, draft).await;
    }
    match app.broker().create_connector(&visitor.actor, &named, &source).await {
        Ok(made) => {
            let path = format!("/projects/{}/connectors/{}", go::part(&named), go::part(&made.definition.id));
            Ok(go::saying(&path, Flash::ConnectorSaved))
        }
        Err(problem) if shown_here(&problem) => {
            let project = admins(&app, &visitor, &named).await?;
            let status = frame::status(&problem);
            let problem = Some(&*problem);
            let draft = Draft { id: None, name: "", source: &source, version: None, problem, sketches: None };
            Ok(html(status, &page(&app, &visitor, &project, draft).await?))
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
        sketches: None,
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
    if form.is_preview() {
        let (id, version) = (Some(id.as_str()), form.version);
        let name = id.unwrap_or_default();
        let draft = Draft { id, name, source: &source, version, problem: None, sketches: None };
        return preview(&app, &visitor, &named, draft).await;
    }
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
                sketches: None,
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
