//! `/credentials/{id}/transfer`: its owner offers it to somebody, and takes the offer back.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use latchstring_broker::credentials::transfer::Offer;
use latchstring_broker::people::Paging;
use latchstring_model::Code;
use serde::Deserialize;

use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::{Asked, Named};
use crate::pages::credentials::{Head, Sheet, Tab, Through, own};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, When, Wrong};
use crate::texts::Rich;

#[derive(Template)]
#[template(path = "ownership/transfer.html")]
struct Page {
    f: Frame,
    head: Head,
    action: String,
    cancel: String,
    /// One that is open: to whom, and until when.
    open: Option<(String, Rich)>,
    wrong: Wrong,
    to: Field,
}

/// The link of an offer, now and never again.
#[derive(Template)]
#[template(path = "ownership/offered.html")]
struct Offered {
    f: Frame,
    head: Head,
    title: String,
    once: Rich,
    url: String,
}

/// One's own open offer of this credential.
async fn open_offer(app: &App, visitor: &Visitor, id: &str) -> Result<Option<Offer>, Refused> {
    let mut cursor = None;
    loop {
        let paging = Paging::new(cursor, Some(Paging::MAX_LIMIT));
        let page = app.broker().transfers(&visitor.actor, &paging).await?;
        let found = page.items.into_iter().find(|offer| !offer.incoming && offer.credential == id);
        if found.is_some() || page.next_cursor.is_none() {
            return Ok(found);
        }
        cursor = page.next_cursor;
    }
}

async fn page(
    app: &App,
    visitor: &Visitor,
    sheet: &Sheet,
    email: &str,
    mut wrong: Wrong,
) -> Result<Page, Refused> {
    let (t, o, now) = (visitor.t, &visitor.t.ownership, app.broker().now());
    let open = open_offer(app, visitor, sheet.view.id.as_str()).await?.map(|offer| {
        let title = o.offer_open.with("email", &offer.to).0;
        (title, o.offer_open_help.rich().part("when", &When::near(t, offer.expires_at, now)))
    });
    let to = Field::email(t, "email", o.offer_to).help(o.offer_to_help).autocomplete("off").value(email);
    Ok(Page {
        f: sheet.frame(app, visitor).await?,
        head: sheet.head(visitor, Tab::Below),
        action: format!("{}/transfer{}", sheet.path(), sheet.query()),
        cancel: format!("{}/transfer/cancel{}", sheet.path(), sheet.query()),
        open,
        to: to.wrong(&mut wrong),
        wrong,
    })
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(through): Asked<Through>,
) -> Result<Response, Refused> {
    let sheet = own(&app, &visitor, &id, &through).await?;
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&page(&app, &visitor, &sheet, "", wrong).await?))
}

#[derive(Deserialize)]
pub struct Form {
    email: String,
}

pub async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(through): Asked<Through>,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let sheet = own(&app, &visitor, &id, &through).await?;
    match app.broker().offer_transfer(&visitor.actor, &id, &form.email).await {
        Ok(offered) => {
            let (t, o, now) = (visitor.t, &visitor.t.ownership, app.broker().now());
            let url = format!("{}/transfers/{}", app.broker().settings().public_url, offered.token.reveal());
            let page = Offered {
                f: sheet.frame(&app, &visitor).await?,
                head: sheet.head(&visitor, Tab::Below),
                title: o.offered.with("email", form.email.trim()).0,
                once: o.offered_once.rich().part("when", &When::near(t, offered.expires_at, now)),
                url,
            };
            Ok(html(StatusCode::CREATED, &page))
        }
        Err(problem) if problem.code == Code::Invalid || frame::in_the_way(&problem) => {
            let wrong = Wrong::of(visitor.t, &problem, []);
            let page = page(&app, &visitor, &sheet, &form.email, wrong).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn cancel(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(through): Asked<Through>,
) -> Result<Response, Refused> {
    app.broker().cancel_transfer(&visitor.actor, &id).await?;
    let query = through.project.map(|project| format!("?project={}", go::part(&project))).unwrap_or_default();
    Ok(go::saying(&format!("/credentials/{}{query}", go::part(&id)), Flash::OfferCancelled))
}
