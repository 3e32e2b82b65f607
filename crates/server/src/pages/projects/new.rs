//! `/projects/new`.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::projects::life::{DEFAULT_ENVIRONMENTS, NewProject};
use latchstring_model::Code;
use serde::Deserialize;

use crate::App;
use crate::extract::form::Filled;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, Wrong};

#[derive(Template)]
#[template(path = "projects/new.html")]
struct Page {
    f: Frame,
    wrong: Wrong,
    fields: Vec<Field>,
}

#[derive(Deserialize)]
pub struct Form {
    name: String,
    #[serde(default)]
    slug: String,
    #[serde(default)]
    environments: String,
}

impl Page {
    async fn new(app: &App, visitor: &Visitor, typed: &Form, mut wrong: Wrong) -> Result<Self, Refused> {
        let (t, p) = (visitor.t, &visitor.t.projects);
        let fields = vec![
            Field::text(t, "name", p.name).value(&typed.name).example(p.name_example).most(200).focus(),
            slug(t, &typed.slug).help(p.slug_help).example(p.slug_example).optional(),
            environments(t, &typed.environments).help(p.environments_help),
        ];
        let fields = fields.into_iter().map(|field| field.wrong(&mut wrong)).collect();
        Ok(Self { f: Frame::of(app, visitor, Place::Projects, None).await?, wrong, fields })
    }
}

pub fn slug(t: crate::texts::T, value: &str) -> Field {
    let field = Field::text(t, "slug", t.projects.slug).mono().value(value).most(63);
    field.pattern("[a-z0-9]+(-[a-z0-9]+)*", t.projects.slug_hint)
}

pub(super) fn environments(t: crate::texts::T, value: &str) -> Field {
    Field::area(t, "environments", t.projects.environments, 3).value(value).mono()
}

/// One per line.
pub(super) fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

pub async fn show(State(app): State<App>, Signed(visitor): Signed) -> Result<Response, Refused> {
    let typed =
        Form { name: String::new(), slug: String::new(), environments: DEFAULT_ENVIRONMENTS.join("\n") };
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&Page::new(&app, &visitor, &typed, wrong).await?))
}

pub async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let new = NewProject {
        slug: Some(form.slug.trim().to_owned()).filter(|slug| !slug.is_empty()),
        name: form.name.clone(),
        environments: Some(lines(&form.environments)).filter(|names| !names.is_empty()),
    };
    match app.broker().create_project(&visitor.actor, new).await {
        Ok(project) => Ok(go::saying(&format!("/projects/{}/credentials", project.slug), Flash::ProjectMade)),
        Err(problem) if matches!(problem.code, Code::Invalid | Code::SlugTaken) => {
            let wrong = Wrong::of(visitor.t, &problem, []);
            Ok(html(frame::status(&problem), &Page::new(&app, &visitor, &form, wrong).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}
