//! `/account/identities`: accounts at the sign-in provider by which one comes in.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::{Link, Tab, tabs};
use crate::App;
use crate::extract::path::Named;
use crate::pages::entrance::provider::ToProvider;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Flash, Frame, Place, Signed, html};
use crate::pages::go;
use crate::pages::ui::When;
use crate::texts::Rich;

struct Line {
    who: String,
    issuer: String,
    seen: Rich,
    unlink: String,
    label: String,
}

#[derive(Template)]
#[template(path = "account/identities.html")]
struct Page {
    f: Frame,
    tabs: Vec<Link>,
    lines: Vec<Line>,
    /// What the provider is called, where there is one.
    provider: Option<String>,
}

pub async fn show(State(app): State<App>, Signed(visitor): Signed) -> Result<Response, Refused> {
    let (t, a, now) = (visitor.t, &visitor.t.account, app.broker().now());
    let identities = app.broker().identities(&visitor.actor).await?;
    let lines = identities.into_iter().map(|identity| {
        let who = identity.email.unwrap_or(identity.subject);
        Line {
            seen: a.identity_seen.rich().part("when", &When::near(t, identity.seen_at, now)),
            unlink: format!("/account/identities/{}/unlink", identity.id),
            label: a.identity_unlink_named.with("who", &who).0,
            who,
            issuer: identity.issuer,
        }
    });
    let page = Page {
        lines: lines.collect(),
        tabs: tabs(&app, &visitor, Tab::Identities).await?,
        provider: app.broker().ways_in().await?.provider,
        f: Frame::of(&app, &visitor, Place::Account, None).await?,
    };
    Ok(visitor.show(&page))
}

pub async fn link(State(app): State<App>, Signed(visitor): Signed) -> Result<Response, Refused> {
    let link = app.door().begin_link(&visitor.actor, Some("/account/identities")).await?;
    let provider = app.broker().ways_in().await?.provider.unwrap_or_default();
    Ok(html(StatusCode::OK, &ToProvider::new(&visitor, link.url.reveal(), provider)))
}

pub async fn unlink(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
) -> Result<Response, Refused> {
    app.broker().unlink_identity(&visitor.actor, &id).await?;
    Ok(go::saying("/account/identities", Flash::IdentityUnlinked))
}
