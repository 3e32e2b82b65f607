//! `/account/sessions`: browsers in which one is signed in.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::{Link, Tab, tabs};
use crate::App;
use crate::extract::path::Named;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Flash, Frame, Place, Signed};
use crate::pages::go;
use crate::pages::ui::When;
use crate::texts::Rich;

struct Line {
    agent: String,
    seen: Rich,
    current: bool,
    end: String,
    label: String,
}

#[derive(Template)]
#[template(path = "account/sessions.html")]
struct Page {
    f: Frame,
    tabs: Vec<Link>,
    lines: Vec<Line>,
}

pub async fn show(State(app): State<App>, Signed(visitor): Signed) -> Result<Response, Refused> {
    let (t, a, now) = (visitor.t, &visitor.t.account, app.broker().now());
    let sessions = app.broker().sessions(&visitor.actor).await?;
    let lines = sessions.into_iter().map(|session| {
        let agent = if session.agent.is_empty() { a.session_unknown.to_string() } else { session.agent };
        let seen = a.session_seen.rich().part("when", &When::near(t, session.seen_at, now));
        Line {
            seen: seen.text("address", &session.address),
            current: session.current,
            end: format!("/account/sessions/{}/end", session.id),
            label: a.session_end_named.with("agent", &agent).0,
            agent,
        }
    });
    let page = Page {
        lines: lines.collect(),
        tabs: tabs(&app, &visitor, Tab::Sessions).await?,
        f: Frame::of(&app, &visitor, Place::Account, None).await?,
    };
    Ok(visitor.show(&page))
}

pub async fn end(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
) -> Result<Response, Refused> {
    app.broker().end_session(&visitor.actor, &id).await?;
    Ok(go::saying("/account/sessions", Flash::SessionEnded))
}

pub async fn end_others(State(app): State<App>, Signed(visitor): Signed) -> Result<Response, Refused> {
    app.broker().end_other_sessions(&visitor.actor).await?;
    Ok(go::saying("/account/sessions", Flash::SessionsEnded))
}
