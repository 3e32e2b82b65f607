//! What pages have in common: who looks ([`visitor`]), what stands around a page, HTML answers, messages that survive
//! one redirect ([`flash`]), and refusals as a page ([`refused`]).

pub mod flash;
pub mod refused;
pub mod theme;
pub mod visitor;

use askama::Template;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use latchstring_broker::people::Paging;
use latchstring_broker::projects::Project;
use latchstring_broker::{Actor, Person};
use latchstring_model::Problem;
use latchstring_model::entity::Role;
use latchstring_model::problem::Refused as Refusal;

pub use flash::Flash;
pub use theme::Theme;
pub use visitor::{Signed, Visitor};

use crate::App;
use crate::pages::assets;
use crate::pages::ui::{Icon, Tile};
use crate::texts::{EN, T};

/// Projects that the switcher lists; the page of all projects has the others.
const SWITCHER: u32 = 12;

/// Where a page is, for the navigation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Elsewhere,
    Projects,
    Credentials,
    Secrets,
    Connectors,
    Keychains,
    Keys,
    Webhooks,
    Members,
    Audit,
    Settings,
    MyCredentials,
    Notices,
    Account,
    People,
    OAuthClients,
    Instance,
    Docs,
}

/// The project that a page belongs to.
#[derive(Clone)]
pub struct Here {
    pub slug: String,
    pub name: String,
    pub role: Role,
}

impl From<&Project> for Here {
    fn from(project: &Project) -> Self {
        Self { slug: project.slug.clone(), name: project.name.clone(), role: project.role }
    }
}

/// An entry of the navigation.
pub struct Entry {
    pub place: Place,
    pub path: String,
    pub icon: Icon,
    pub label: String,
}

/// What stands around a page.
pub struct Frame {
    pub t: T,
    pub theme: Theme,
    pub flash: Option<Flash>,
    /// Where it was asked for: forms of the frame lead back to it.
    pub path: String,
    pub person: Option<Person>,
    pub projects: Vec<Here>,
    pub project: Option<Here>,
    pub place: Place,
    /// Notices that the person has not read.
    pub unread: i64,
}

impl Frame {
    /// For a page of which nothing is known but the request.
    pub fn bare(headers: &HeaderMap, path: String) -> Self {
        Self {
            t: &EN,
            theme: Theme::of(headers),
            flash: None,
            path,
            person: None,
            projects: Vec::new(),
            project: None,
            place: Place::Elsewhere,
            unread: 0,
        }
    }

    /// Without navigation.
    pub fn alone(visitor: &Visitor) -> Self {
        Self {
            t: visitor.t,
            flash: visitor.flash,
            person: visitor.actor.person().ok().cloned(),
            ..Self::bare(&visitor.headers, visitor.path.clone())
        }
    }

    /// With the navigation of who has.
    pub async fn of(app: &App, visitor: &Visitor, place: Place, project: Option<&Project>) -> Refusal<Self> {
        let mut frame = Self { place, project: project.map(Here::from), ..Self::alone(visitor) };
        frame.projects = switcher(app, &visitor.actor).await?;
        frame.unread = app.broker().unread_notices(&visitor.actor).await?;
        Ok(frame)
    }

    pub fn assets(&self) -> &'static str {
        assets::base()
    }

    pub fn icon(&self, name: &'static str) -> Icon {
        Icon(name)
    }

    pub fn tile(&self, person: &Person) -> Tile {
        Tile::person(&person.name, person.id.as_str())
    }

    fn in_project(&self, place: Place, path: &str, icon: &'static str, label: &crate::texts::Text) -> Entry {
        let slug = self.project.as_ref().map_or("", |project| project.slug.as_str());
        Self::entry(place, &format!("/projects/{slug}/{path}"), icon, label)
    }

    fn entry(place: Place, path: &str, icon: &'static str, label: &crate::texts::Text) -> Entry {
        Entry { place, path: path.to_owned(), icon: Icon(icon), label: label.to_string() }
    }

    /// One's own, in whichever project.
    pub fn mine(&self) -> Vec<Entry> {
        let c = &self.t.common;
        let mut entries = vec![
            Self::entry(Place::MyCredentials, "/credentials", "key", &c.my_credentials),
            Self::entry(Place::Account, "/account", "person", &c.account),
        ];
        // Superusers have the entry among their own.
        if self.person.as_ref().is_some_and(|person| !person.superuser) {
            let clients = Self::entry(Place::OAuthClients, "/oauth-clients", "badge", &c.oauth_clients);
            entries.insert(1, clients);
        }
        entries
    }

    pub fn of_superusers(&self) -> Vec<Entry> {
        let c = &self.t.common;
        vec![
            Self::entry(Place::People, "/people", "people", &c.people),
            Self::entry(Place::OAuthClients, "/oauth-clients", "badge", &c.oauth_clients),
            Self::entry(Place::Instance, "/instance", "server", &c.instance),
        ]
    }

    /// What a project is used for.
    pub fn uses(&self) -> Vec<Entry> {
        let c = &self.t.common;
        vec![
            self.in_project(Place::Credentials, "credentials", "key", &c.credentials),
            self.in_project(Place::Secrets, "secrets", "lock", &c.secrets),
            self.in_project(Place::Connectors, "connectors", "plug", &c.connectors),
            self.in_project(Place::Keychains, "keychains", "braces", &self.t.ownership.keychains),
            self.in_project(Place::Keys, "keys", "robot", &c.service_keys),
        ]
    }

    /// Who is in it, and what happened. Webhooks belong to its admins.
    pub fn team(&self) -> Vec<Entry> {
        let c = &self.t.common;
        let mut entries = vec![
            self.in_project(Place::Members, "members", "people", &c.members),
            self.in_project(Place::Audit, "audit", "list", &c.audit),
        ];
        if self.project.as_ref().is_some_and(|project| project.role.may_administer()) {
            entries.push(self.in_project(Place::Webhooks, "webhooks", "webhook", &c.webhooks));
        }
        entries.push(self.in_project(Place::Settings, "settings", "gear", &c.settings));
        entries
    }

    /// What the bell says.
    pub fn bell(&self) -> String {
        let o = &self.t.ownership;
        if self.unread == 0 {
            o.notices_none_unread.to_string()
        } else {
            self.t.number(&o.notices_unread, self.unread)
        }
    }

    pub fn is_bell(&self) -> bool {
        self.place == Place::Notices
    }

    pub fn is_here(&self, place: &Place) -> bool {
        self.place == *place
    }

    pub fn is_project(&self, here: &Here) -> bool {
        self.project.as_ref().is_some_and(|project| project.slug == here.slug)
    }
}

async fn switcher(app: &App, actor: &Actor) -> Refusal<Vec<Here>> {
    let page = app.broker().projects(actor, &Paging::new(None, Some(SWITCHER))).await?;
    Ok(page.items.iter().map(Here::from).collect())
}

pub fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// What is there is in the way (a 409): told beside the form, which keeps what was typed.
pub fn in_the_way(problem: &Problem) -> bool {
    problem.code.status() == 409
}

pub fn status(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
