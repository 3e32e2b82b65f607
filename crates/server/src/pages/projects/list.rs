//! `/projects`.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::people::Paging;
use serde::Deserialize;

use super::role_text;
use crate::App;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Place, Signed};
use crate::pages::go;
use crate::pages::ui::Tile;
use crate::texts::{Rich, Text};

struct Line {
    tile: Tile,
    slug: String,
    name: String,
    role: Text,
    environments: Vec<String>,
}

#[derive(Template)]
#[template(path = "projects/list.html")]
struct Page {
    f: Frame,
    projects: Vec<Line>,
    next: Option<String>,
    none_help: Rich,
}

#[derive(Deserialize)]
pub struct Query {
    cursor: Option<String>,
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let f = Frame::of(&app, &visitor, Place::Projects, None).await?;
    let page = app.broker().projects(&visitor.actor, &Paging::new(query.cursor, Some(50))).await?;
    let t = visitor.t;
    let projects = page.items.into_iter().map(|project| Line {
        tile: Tile::new(&project.name, project.id.as_str()),
        role: role_text(t, project.role),
        environments: project.environments.into_iter().map(|environment| environment.name).collect(),
        slug: project.slug,
        name: project.name,
    });
    let email = visitor.actor.person()?.email.as_str();
    let none_help = t.projects.none_help.with("email", email).rich();
    let next = page.next_cursor.map(|cursor| go::part(&cursor));
    Ok(visitor.show(&Page { f, projects: projects.collect(), next, none_help }))
}

/// `/projects/{project}`: what it is used for.
pub async fn enter(Signed(_): Signed, Named(project): Named<String>) -> Response {
    go::to(&format!("/projects/{}/credentials", go::part(&project)))
}
