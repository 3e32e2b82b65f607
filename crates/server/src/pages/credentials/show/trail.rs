//! `/credentials/{id}/audit`: everything that happened to it, in every project, for its owner.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::audit::list::{Filter, Whose};
use serde::Deserialize;

use super::{Head, Sheet, Tab, Through};
use crate::App;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Signed};
use crate::pages::go;
use crate::pages::team::audit::{Line, Position, line, shown};
use crate::texts::Text;

#[derive(Default, Deserialize)]
pub struct Query {
    project: Option<String>,
    cursor: Option<String>,
    /// What is newer than this, for those who follow.
    after: Option<i64>,
}

#[derive(Template)]
#[template(path = "credentials/trail.html")]
struct Page {
    f: Frame,
    head: Head,
    lines: Vec<Line>,
    newest: i64,
    next: Option<String>,
    first: Option<String>,
    follows: bool,
    /// The view without its place in the list.
    same: String,
    exports: [(String, Text); 2],
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let m = &visitor.t.team;
    let sheet = Sheet::load(&app, &visitor, &id, &Through { project: query.project.clone() }).await?;
    let whose = Whose::Credential(sheet.view.id.to_string());
    let elsewhere = query.cursor.is_some() || query.after.is_some();
    let at = Position { cursor: query.cursor, after: query.after };
    let found = shown(&app, &visitor, &whose, &Filter::default(), &at).await?;
    let base = format!("{}/audit", sheet.path());
    let same = format!("{base}{}", sheet.query());
    let next = found.next.map(|cursor| {
        let sign = if same.contains('?') { '&' } else { '?' };
        format!("{same}{sign}cursor={}", go::part(&cursor))
    });
    let page = Page {
        f: sheet.frame(&app, &visitor).await?,
        head: sheet.head(&visitor, Tab::Trail),
        lines: found.items.into_iter().map(|item| line(&visitor, item)).collect(),
        newest: found.newest,
        next,
        first: elsewhere.then(|| same.clone()),
        follows: !elsewhere,
        exports: [("csv", m.audit_csv), ("jsonl", m.audit_jsonl)]
            .map(|(format, words)| (format!("/api/v1{base}/export?format={format}"), words)),
        same,
    };
    Ok(visitor.show(&page))
}
