//! A new credential, in three steps: the connector, the method, the form. Made from a project it is shared with it,
//! which the form shows before it is sent.

mod choose;
mod form;
mod send;
mod tried;

pub use choose::sent;
pub use send::day;

use axum::extract::State;
use axum::response::Response;
use latchstring_broker::definitions::Connector;
use latchstring_broker::projects::Project;
use latchstring_model::entity::Role;
use latchstring_model::{Code, Problem};
use serde::Deserialize;

use crate::App;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Place, Signed, Visitor};
use crate::pages::go;
use crate::pages::routes::Pages;
use crate::pages::ui::Wrong;

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/credentials/new", of_mine)
        .send("/credentials/new", "credential.create", send::of_mine)
        .show("/projects/{project}/credentials/new", of_project)
        .send("/projects/{project}/credentials/new", "credential.create", send::of_project)
}

#[derive(Clone, Default, Deserialize)]
pub struct Query {
    connector: Option<String>,
    method: Option<String>,
    /// The OAuth client to choose at first.
    client: Option<String>,
    #[serde(default)]
    q: String,
}

/// Where one is made from.
struct Desk<'a> {
    app: &'a App,
    visitor: &'a Visitor,
    project: Option<Project>,
    client: Option<String>,
}

impl Desk<'_> {
    fn base(&self) -> String {
        match &self.project {
            Some(project) => format!("/projects/{}/credentials/new", project.slug),
            None => "/credentials/new".to_owned(),
        }
    }

    fn list(&self) -> String {
        self.base().trim_end_matches("/new").to_owned()
    }

    fn step(&self, connector: &str, method: Option<&str>) -> String {
        let method = method.map(|method| format!("&method={}", go::part(method))).unwrap_or_default();
        format!("{}?connector={}{method}", self.base(), go::part(connector))
    }

    async fn frame(&self) -> Result<Frame, Refused> {
        let place = if self.project.is_some() { Place::Credentials } else { Place::MyCredentials };
        Ok(Frame::of(self.app, self.visitor, place, self.project.as_ref()).await?)
    }

    fn project_id(&self) -> Option<&str> {
        self.project.as_ref().map(|project| project.id.as_str())
    }

    async fn connector(&self, id: &str) -> Result<Connector, Refused> {
        Ok(self.app.broker().connector(&self.visitor.actor, self.project_id(), id).await?)
    }
}

async fn desk<'a>(app: &'a App, visitor: &'a Visitor, project: Option<&str>) -> Result<Desk<'a>, Refused> {
    let project = match project {
        None => None,
        Some(named) => Some(app.broker().project(&visitor.actor, named).await?),
    };
    if let Some(project) = project.as_ref().filter(|project| project.role < Role::Editor) {
        let role = super::super::projects::role_text(visitor.t, project.role);
        let what = visitor.t.making.editors_only.with("role", &role).0;
        return Err(Box::new(Problem::new(Code::Forbidden, what)).into());
    }
    Ok(Desk { app, visitor, project, client: None })
}

async fn show(mut desk: Desk<'_>, query: Query) -> Result<Response, Refused> {
    desk.client.clone_from(&query.client);
    let visitor = desk.visitor;
    let Some(id) = &query.connector else {
        return Ok(visitor.show(&choose::connector(&desk, &query.q).await?));
    };
    let connector = desk.connector(id).await?;
    let methods = &connector.definition.auth_methods;
    let method = match (&query.method, methods.as_slice()) {
        (Some(method), _) => method.as_str(),
        (None, [only]) => only.id.as_str(),
        (None, _) => return Ok(visitor.show(&choose::method(&desk, &connector).await?)),
    };
    let wrong = Wrong::none(visitor.t);
    let page = form::page(&desk, &connector, method, &super::fields::Pairs::default(), wrong, None).await?;
    Ok(visitor.show(&page))
}

async fn of_project(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(project): Named<String>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    show(desk(&app, &visitor, Some(&project)).await?, query).await
}

async fn of_mine(
    State(app): State<App>,
    Signed(visitor): Signed,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    show(desk(&app, &visitor, None).await?, query).await
}
