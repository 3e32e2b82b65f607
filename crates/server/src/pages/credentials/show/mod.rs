//! One credential: what it is, how it stands, who uses it, what it was.

mod activity;
mod environment;
mod overview;
mod token;
mod trail;
mod versions;

use latchstring_broker::credentials::view::View;
use latchstring_broker::definitions::{AuthMethod, Connector};
use latchstring_broker::projects::Project;
use latchstring_model::entity::Principal;
use serde::Deserialize;

use super::names::id_of;
use crate::App;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Place, Visitor};
use crate::pages::routes::Pages;
use crate::pages::ui::Tile;

pub use environment::set_when;
pub use overview::draw;

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/credentials/{id}", overview::show)
        .show("/credentials/{id}/activity", activity::show)
        .show("/credentials/{id}/audit", trail::show)
        .show("/credentials/{id}/versions", versions::show)
        .send("/credentials/{id}/versions/{environment}/{version}", "credential.update", versions::restore)
}

/// The project through which one looks: it stays the same from page to page.
#[derive(Clone, Default, Deserialize)]
pub struct Through {
    pub project: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Overview,
    Call,
    Activity,
    Trail,
    Versions,
    /// A page below one of them.
    Below,
}

pub struct Link {
    pub path: String,
    pub label: String,
    pub current: bool,
}

/// What stands on top of each of a credential's pages.
pub struct Head {
    pub tile: Tile,
    pub name: String,
    pub about: String,
    pub list: String,
    pub path: String,
    pub tabs: Vec<Link>,
    /// Of the forms of its pages.
    pub version: i64,
}

/// A credential, and through which project it is looked at.
pub struct Sheet {
    pub view: View,
    pub project: Option<Project>,
    /// `None`: it is gone, or of a project that is not ours.
    pub connector: Option<Connector>,
}

impl Sheet {
    pub async fn load(app: &App, visitor: &Visitor, id: &str, through: &Through) -> Result<Self, Refused> {
        let view = app.broker().credential(&visitor.actor, id).await?;
        let named = match (&through.project, view.shares.as_slice()) {
            (Some(named), _) => Some(named.as_str()),
            (None, [only]) => Some(only.project.as_str()),
            _ => None,
        };
        let project = match named {
            // A project that one is not a member of is no reason not to see what is one's own.
            Some(named) => app.broker().project(&visitor.actor, named).await.ok(),
            None => None,
        };
        let (of, id) = view.connector_uid.rsplit_once('/').unwrap_or(("", &view.connector_uid));
        let of = Some(of).filter(|of| *of != "builtin");
        let connector = app.broker().connector(&visitor.actor, of, id).await.ok();
        Ok(Self { view, project, connector })
    }

    pub fn method(&self) -> Option<&AuthMethod> {
        self.connector.as_ref()?.definition.method(&self.view.auth_method)
    }

    pub fn connector_name(&self) -> String {
        let found = self.connector.as_ref().map(|one| one.definition.name.clone());
        found.unwrap_or_else(|| id_of(&self.view.connector_uid).to_owned())
    }

    pub fn method_name(&self) -> String {
        self.method().map_or_else(|| self.view.auth_method.clone(), |method| method.label.clone())
    }

    /// `?project=…`, where one looks through a project.
    pub fn query(&self) -> String {
        self.project.as_ref().map(|project| format!("?project={}", project.slug)).unwrap_or_default()
    }

    pub fn path(&self) -> String {
        format!("/credentials/{}", self.view.id)
    }

    pub fn consents(&self) -> bool {
        self.method().is_some_and(|method| method.needs_consent())
    }

    /// In words, for those who do not own it.
    pub fn owner(&self, visitor: &Visitor) -> String {
        let me = visitor.actor.person().map(|person| person.id.as_str()).unwrap_or_default();
        match &self.view.owner {
            Principal::User(id) if id.as_str() == me => visitor.t.common.you.to_string(),
            Principal::User(_) => self.view.owner_email.clone().unwrap_or_default(),
            Principal::Project(id) => {
                let project = self.project.as_ref().filter(|project| project.id == *id);
                let name = project.map_or_else(|| id.to_string(), |project| project.name.clone());
                visitor.t.credentials.owner_project.with("project", &name).0
            }
        }
    }

    pub fn head(&self, visitor: &Visitor, here: Tab) -> Head {
        let c = &visitor.t.credentials;
        let (path, query) = (self.path(), self.query());
        let link = |tab: Tab, below: &str, label: &crate::texts::Text| Link {
            path: format!("{path}{below}{query}"),
            label: label.to_string(),
            current: tab == here,
        };
        let mut tabs = vec![link(Tab::Overview, "", &c.overview)];
        if self.project.is_some() {
            tabs.push(link(Tab::Call, "/call", &c.call));
        }
        if self.view.owned {
            tabs.push(link(Tab::Activity, "/activity", &c.activity));
            tabs.push(link(Tab::Versions, "/versions", &c.versions));
            tabs.push(link(Tab::Trail, "/audit", &visitor.t.common.audit));
        }
        let connector = self.connector_name();
        Head {
            tile: Tile::new(&connector, id_of(&self.view.connector_uid)).large(),
            name: self.view.name.clone(),
            about: format!("{connector} · {}", self.method_name()),
            list: match &self.project {
                Some(project) => format!("/projects/{}/credentials", project.slug),
                None => "/credentials".to_owned(),
            },
            path: format!("{path}{query}"),
            tabs,
            version: self.view.version,
        }
    }

    pub async fn frame(&self, app: &App, visitor: &Visitor) -> Result<Frame, Refused> {
        let place = if self.project.is_some() { Place::Credentials } else { Place::MyCredentials };
        Ok(Frame::of(app, visitor, place, self.project.as_ref()).await?)
    }
}
