//! `/projects/{project}/keychains`: names for "the credential that the data says".

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::keychains::Keychain;
use latchstring_broker::people::Paging;
use serde::Deserialize;

use crate::App;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Place, Signed, Visitor};
use crate::pages::go;
use crate::pages::projects::role_text;
use crate::pages::ui::Tile;
use crate::texts::Rich;

#[derive(Deserialize)]
pub struct Query {
    cursor: Option<String>,
}

struct Line {
    tile: Tile,
    /// Where it is changed, for those who may.
    path: Option<String>,
    name: String,
    slug: String,
    about: Rich,
    fallback: String,
    /// Its fallback is no longer there.
    gone: bool,
}

#[derive(Template)]
#[template(path = "ownership/keychains.html")]
struct Page {
    f: Frame,
    lead: Rich,
    lines: Vec<Line>,
    new: Option<String>,
    look_only: Rich,
    next: Option<String>,
}

fn line(visitor: &Visitor, keychain: Keychain, base: &str, may: bool) -> Line {
    let o = &visitor.t.ownership;
    let gone = keychain.default.is_some() && keychain.default_slug.is_none();
    Line {
        tile: Tile::new(&keychain.connector, &keychain.connector),
        path: may.then(|| format!("{base}/{}", keychain.id)),
        about: o.keychain_about.rich().text("connector", &keychain.connector).text("by", &keychain.by),
        fallback: match &keychain.default_slug {
            Some(slug) => o.keychain_fallback.with("slug", slug).0,
            None if gone => o.keychain_default_gone.to_string(),
            None => o.keychain_default_none.to_string(),
        },
        gone,
        name: keychain.name,
        slug: keychain.slug,
    }
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let o = &visitor.t.ownership;
    let project = app.broker().project(&visitor.actor, &named).await?;
    let paging = Paging::new(query.cursor, Some(50));
    let page = app.broker().keychains(&visitor.actor, project.id.as_str(), &paging).await?;
    let base = format!("/projects/{}/keychains", project.slug);
    let may = project.role.may_administer();
    let page = Page {
        next: page.next_cursor.map(|cursor| format!("{base}?cursor={}", go::part(&cursor))),
        lines: page.items.into_iter().map(|keychain| line(&visitor, keychain, &base, may)).collect(),
        f: Frame::of(&app, &visitor, Place::Keychains, Some(&project)).await?,
        lead: o.keychains_lead.rich().text("project", &project.name),
        new: may.then(|| format!("{base}/new")),
        look_only: o.keychains_look_only.rich().text("role", &role_text(visitor.t, project.role)),
    };
    Ok(visitor.show(&page))
}
