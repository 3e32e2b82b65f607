//! `/`: who has one project goes there, who has several chooses, who has not signed in does.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::people::Paging;

use crate::App;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Visitor};
use crate::pages::go;

#[derive(Template)]
#[template(path = "entrance/not_set_up.html")]
struct NotSetUp {
    f: Frame,
}

pub async fn show(State(app): State<App>, visitor: Visitor) -> Result<Response, Refused> {
    if visitor.is_signed_in() {
        let projects = app.broker().projects(&visitor.actor, &Paging::new(None, Some(2))).await?.items;
        return Ok(match projects.as_slice() {
            [only] => go::to(&format!("/projects/{}/credentials", only.slug)),
            _ => go::to("/projects"),
        });
    }
    if app.broker().is_set_up().await? {
        return Ok(go::to("/sign-in"));
    }
    Ok(visitor.show(&NotSetUp { f: Frame::alone(&visitor) }))
}
