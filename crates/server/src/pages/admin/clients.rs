//! `/oauth-clients`: those that one may see.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::people::Paging;
use serde::Deserialize;

use crate::App;
use crate::extract::path::Asked;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Place, Signed};
use crate::pages::go;
use crate::pages::ui::{Badge, Tile};
use crate::texts::{Rich, Text};

#[derive(Default, Deserialize)]
pub struct Query {
    /// Those that it may use.
    project: Option<String>,
    cursor: Option<String>,
}

struct Line {
    tile: Tile,
    path: String,
    name: String,
    about: String,
    badges: Vec<Badge>,
}

#[derive(Template)]
#[template(path = "admin/clients.html")]
struct Page {
    f: Frame,
    title: String,
    lead: Text,
    lines: Vec<Line>,
    superuser: bool,
    next: Option<String>,
    none_help: Rich,
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let (t, a) = (visitor.t, &visitor.t.admin);
    let superuser = visitor.actor.superuser().is_ok();
    let project = match &query.project {
        Some(named) => Some(app.broker().project(&visitor.actor, named).await?),
        None => None,
    };
    let id = project.as_ref().map(|project| project.id.as_str());
    let paging = Paging::new(query.cursor, Some(50));
    let found = app.broker().oauth_clients(&visitor.actor, id, &paging).await?;
    let of_project = project.as_ref().map(|project| format!("project={}&", project.slug));
    let lines = found.items.into_iter().map(|client| {
        let mut badges = Vec::new();
        if client.draft {
            badges.push(Badge::new("warn", "pencil", a.client_draft));
        }
        if client.global {
            badges.push(Badge::new("info", "people", a.client_global));
        }
        if let Some(whole) = &client.whole {
            badges.extend(whole.projects.iter().map(|slug| Badge::new("", "folder", slug)));
            badges.push(Badge::new("", "key", t.number(&a.client_used, whole.used_by_count)));
        }
        Line {
            tile: Tile::new(&client.name, client.id.as_str()),
            path: format!("/oauth-clients/{}", client.id),
            about: format!("{} · {}", client.connector, a.client_owner.with("owner", &client.owner.email)),
            name: client.name,
            badges,
        }
    });
    let page = Page {
        title: match &project {
            Some(project) => a.clients_of.with("project", &project.name).0,
            None => t.common.oauth_clients.to_string(),
        },
        lines: lines.collect(),
        lead: if superuser { a.clients_lead } else { a.clients_lead_members },
        superuser,
        next: found.next_cursor.map(|cursor| {
            format!("/oauth-clients?{}cursor={}", of_project.unwrap_or_default(), go::part(&cursor))
        }),
        none_help: if superuser { a.clients_none_help.rich() } else { a.clients_none_members.rich() },
        f: Frame::of(&app, &visitor, Place::OAuthClients, project.as_ref()).await?,
    };
    Ok(visitor.show(&page))
}
