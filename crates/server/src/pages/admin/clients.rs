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
    let found =
        app.broker().oauth_clients(&visitor.actor, None, &Paging::new(query.cursor, Some(50))).await?;
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
        lines: lines.collect(),
        lead: if superuser { a.clients_lead } else { a.clients_lead_members },
        superuser,
        next: found.next_cursor.map(|cursor| format!("/oauth-clients?cursor={}", go::part(&cursor))),
        none_help: if superuser { a.clients_none_help.rich() } else { a.clients_none_members.rich() },
        f: Frame::of(&app, &visitor, Place::OAuthClients, None).await?,
    };
    Ok(visitor.show(&page))
}
