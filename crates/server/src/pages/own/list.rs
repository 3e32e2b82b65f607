//! The list, and one connector explained.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::definitions::Connector;
use latchstring_model::entity::Role;

use crate::App;
use crate::extract::path::Named;
use crate::pages::docs::{Sheet, sheet};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Place, Signed};
use crate::pages::go;
use crate::pages::ui::Tile;
use crate::texts::Rich;

struct Book {
    tile: Tile,
    name: String,
    about: String,
    path: String,
    count: i64,
}

#[derive(Template)]
#[template(path = "own/list.html")]
struct List {
    f: Frame,
    lead: Rich,
    own: Vec<Book>,
    builtin: Vec<Book>,
    new: Option<String>,
    /// The registrations with providers that the project may use.
    clients: String,
}

#[derive(Template)]
#[template(path = "own/one.html")]
struct One {
    f: Frame,
    list: String,
    tile: Tile,
    name: String,
    about: String,
    credentials: String,
    sheet: Sheet,
    use_it: Option<String>,
    /// Of a project's own, for its admins.
    edit: Option<String>,
    delete: Option<String>,
}

fn book(connector: &Connector, base: &str) -> Book {
    let definition = &connector.definition;
    Book {
        tile: Tile::new(&definition.name, &definition.id),
        name: definition.name.clone(),
        about: definition.description.clone().unwrap_or_default(),
        path: format!("{base}/{}", go::part(&definition.id)),
        count: connector.credentials,
    }
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
) -> Result<Response, Refused> {
    let project = app.broker().project(&visitor.actor, &named).await?;
    let connectors = app.broker().connectors(&visitor.actor, Some(project.id.as_str())).await?;
    let base = format!("/projects/{}/connectors", project.slug);
    let (own, builtin): (Vec<&Connector>, Vec<&Connector>) =
        connectors.iter().partition(|connector| connector.own.is_some());
    let page = List {
        f: Frame::of(&app, &visitor, Place::Connectors, Some(&project)).await?,
        lead: visitor.t.own.lead.rich().text("project", &project.name),
        own: own.into_iter().map(|one| book(one, &base)).collect(),
        builtin: builtin.into_iter().map(|one| book(one, &base)).collect(),
        clients: format!("/oauth-clients?project={}", project.slug),
        new: project.role.may_administer().then(|| format!("{base}/new")),
    };
    Ok(visitor.show(&page))
}

pub async fn one(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((named, id)): Named<(String, String)>,
) -> Result<Response, Refused> {
    let project = app.broker().project(&visitor.actor, &named).await?;
    let connector = app.broker().connector(&visitor.actor, Some(project.id.as_str()), &id).await?;
    let definition = &connector.definition;
    let base = format!("/projects/{}/connectors/{}", project.slug, go::part(&definition.id));
    let mine = connector.own.is_some() && project.role.may_administer();
    let page = One {
        f: Frame::of(&app, &visitor, Place::Connectors, Some(&project)).await?,
        list: format!("/projects/{}/connectors", project.slug),
        tile: Tile::new(&definition.name, &definition.id).large(),
        name: definition.name.clone(),
        about: definition.description.clone().unwrap_or_default(),
        credentials: visitor.t.number(&visitor.t.own.credentials, connector.credentials),
        sheet: sheet(visitor.t, definition),
        use_it: (project.role >= Role::Editor).then(|| {
            format!("/projects/{}/credentials/new?connector={}", project.slug, go::part(&definition.id))
        }),
        edit: mine.then(|| format!("{base}/edit")),
        delete: mine.then(|| format!("{base}/delete")),
    };
    Ok(visitor.show(&page))
}
