//! `/transfers/{token}`: what somebody is about to take over, for the person it is offered to.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::App;
use crate::extract::path::Named;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Flash, Frame, Place, Signed};
use crate::pages::go;
use crate::pages::ui::{Tile, When};

#[derive(Template)]
#[template(path = "ownership/accept.html")]
struct Page {
    f: Frame,
    tile: Tile,
    title: String,
    lead: String,
    from: String,
    connector: String,
    projects: Vec<String>,
    ends: When,
    theirs: String,
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(token): Named<String>,
) -> Result<Response, Refused> {
    let (t, o) = (visitor.t, &visitor.t.ownership);
    let preview = app.broker().transfer_preview(&visitor.actor, &token).await?;
    let offer = preview.offer;
    let connector = offer.connector.rsplit('/').next().unwrap_or(&offer.connector).to_owned();
    let frame = Frame::of(&app, &visitor, Place::Notices, None).await?;
    let page = Page {
        // The link's token must not stand in the page that it leads to: forms of the frame go back to the notices.
        f: Frame { path: "/notices".to_owned(), ..frame },
        tile: Tile::new(&connector, &connector).large(),
        title: o.accept_title.with("name", &offer.credential_name).0,
        lead: o.accept_lead.with("from", &offer.from).0,
        theirs: o.accept_theirs.with("from", &offer.from).0,
        ends: When::moment(t, offer.expires_at),
        projects: preview.projects,
        from: offer.from,
        connector,
    };
    Ok(visitor.show(&page))
}

pub async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(token): Named<String>,
) -> Result<Response, Refused> {
    let view = Box::pin(app.broker().accept_transfer(&visitor.actor, &token)).await?;
    Ok(go::saying(&format!("/credentials/{}", view.id), Flash::OfferAccepted))
}
