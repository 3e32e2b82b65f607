//! `/notices`: what one was told, and what is offered to whom.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::credentials::transfer::Offer;
use latchstring_broker::notices::Told;
use latchstring_broker::people::Paging;
use latchstring_model::Timestamp;
use serde::Deserialize;

use crate::App;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Flash, Frame, Place, Signed, Visitor};
use crate::pages::go;
use crate::pages::ui::When;
use crate::texts::Rich;

#[derive(Default, Deserialize)]
pub struct Query {
    #[serde(default)]
    unread: String,
    cursor: Option<String>,
}

struct Line {
    id: String,
    title: String,
    text: String,
    at: When,
    unread: bool,
    /// Of the credential that it is about.
    look: Option<String>,
}

struct Open {
    name: String,
    about: Rich,
    /// Where one's own offer is looked at.
    look: Option<String>,
}

#[derive(Template)]
#[template(path = "ownership/notices.html")]
struct Page {
    f: Frame,
    lines: Vec<Line>,
    offers: Vec<Open>,
    only_unread: bool,
    next: Option<String>,
}

fn line(visitor: &Visitor, told: Told, now: Timestamp) -> Line {
    Line {
        id: told.id.to_string(),
        title: told.title,
        text: told.text.trim().to_owned(),
        at: When::near(visitor.t, told.at, now),
        unread: told.read_at.is_none(),
        look: told.credential.map(|id| format!("/credentials/{id}")),
    }
}

fn open(visitor: &Visitor, offer: Offer, now: Timestamp) -> Open {
    let (t, o) = (visitor.t, &visitor.t.ownership);
    let text = if offer.incoming { o.offer_incoming } else { o.offer_outgoing };
    let about = text.rich().text("from", &offer.from).text("to", &offer.to);
    Open {
        about: about.part("when", &When::near(t, offer.expires_at, now)),
        look: (!offer.incoming).then(|| format!("/credentials/{}/transfer", offer.credential)),
        name: offer.credential_name,
    }
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let now = app.broker().now();
    let only_unread = query.unread == "yes";
    let paging = Paging::new(query.cursor.clone(), Some(30));
    let page = app.broker().notices(&visitor.actor, only_unread, &paging).await?;
    let offers = match query.cursor {
        None => app.broker().transfers(&visitor.actor, &Paging::new(None, Some(50))).await?.items,
        Some(_) => Vec::new(),
    };
    let more = if only_unread { "&unread=yes" } else { "" };
    let page = Page {
        next: page.next_cursor.map(|cursor| format!("/notices?cursor={}{more}", go::part(&cursor))),
        lines: page.items.into_iter().map(|told| line(&visitor, told, now)).collect(),
        offers: offers.into_iter().map(|offer| open(&visitor, offer, now)).collect(),
        only_unread,
        f: Frame::of(&app, &visitor, Place::Notices, None).await?,
    };
    Ok(visitor.show(&page))
}

pub async fn read(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
) -> Result<Response, Refused> {
    app.broker().read_notice(&visitor.actor, &id).await?;
    Ok(go::saying("/notices", Flash::NoticeRead))
}

pub async fn read_all(State(app): State<App>, Signed(visitor): Signed) -> Result<Response, Refused> {
    app.broker().read_all_notices(&visitor.actor).await?;
    Ok(go::saying("/notices", Flash::NoticesRead))
}
