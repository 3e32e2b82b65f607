//! `/credentials/{id}/activity`: which keys use it, and the newest calls. For its owner.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::audit::list::Item;

use super::{Head, Sheet, Tab, Through};
use crate::App;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Signed, Visitor};
use crate::pages::ui::When;
use crate::texts::Rich;

struct Key {
    name: String,
    project: Option<String>,
    calls: String,
    last: Option<Rich>,
}

pub struct Call {
    pub at: When,
    pub who: String,
    pub what: String,
    pub host: String,
    pub environment: String,
    pub status: String,
    /// `good`, `warn`, `bad`.
    pub class: &'static str,
    pub took: String,
}

#[derive(Template)]
#[template(path = "credentials/activity.html")]
struct Page {
    f: Frame,
    head: Head,
    keys: Vec<Key>,
    /// From when on their calls are counted, if that is not from the first one on.
    since: Option<Rich>,
    /// What was before that is not known, and may be of other keys.
    cut: bool,
    calls: Vec<Call>,
    /// In every project, and in the one through which one looks.
    trail: String,
    trail_here: Option<(String, Rich)>,
}

impl Call {
    pub fn of(visitor: &Visitor, item: Item) -> Option<Self> {
        let call = item.call?;
        let status = match (call.status, &call.code) {
            (_, Some(code)) => code.clone(),
            (Some(status), None) => status.to_string(),
            (None, None) => "…".to_owned(),
        };
        let class = match (call.status, &call.code) {
            (Some(200..=399), None) => "good",
            (Some(400..=499), None) => "warn",
            (None, None) => "",
            _ => "bad",
        };
        Some(Self {
            at: When::moment(visitor.t, item.at),
            who: item.actor.email.or(item.actor.id).unwrap_or(item.actor.kind),
            what: format!("{} {}", call.method, call.path),
            host: call.host,
            environment: item.environment.unwrap_or_default(),
            status,
            class,
            took: call.duration_ms.map(|took| visitor.t.common.took.with("ms", &took).0).unwrap_or_default(),
        })
    }
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(through): Asked<Through>,
) -> Result<Response, Refused> {
    let sheet = Sheet::load(&app, &visitor, &id, &through).await?;
    let usage = app.broker().credential_usage(&visitor.actor, sheet.view.id.as_str()).await?;
    let (t, c, now) = (visitor.t, &visitor.t.credentials, app.broker().now());
    let keys = usage.keys.into_iter().map(|key| Key {
        name: key.name.unwrap_or_else(|| format!("{} ({})", c.key_ended, key.id)),
        project: key.project,
        calls: t.number(&c.used_calls, i64::try_from(key.calls).unwrap_or(i64::MAX)),
        last: key.last_call_at.map(|at| c.used_last.rich().part("when", &When::near(t, at, now))),
    });
    let since = usage.looked_back_to.map(|at| c.used_since.rich().part("when", &When::moment(t, at)));
    let trail = format!("{}/audit{}", sheet.path(), sheet.query());
    let trail_here = sheet.project.as_ref().map(|project| {
        let path = format!("/projects/{}/audit?credential={}", project.slug, sheet.view.id);
        (path, c.trail_here.rich().text("project", &project.name))
    });
    let page = Page {
        f: sheet.frame(&app, &visitor).await?,
        head: sheet.head(&visitor, Tab::Activity),
        keys: keys.collect(),
        since,
        cut: !usage.complete,
        calls: usage.calls.into_iter().filter_map(|item| Call::of(&visitor, item)).collect(),
        trail,
        trail_here,
    };
    Ok(visitor.show(&page))
}
