//! `/forgotten`: asks for a link by mail.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_model::Code;
use serde::Deserialize;

use crate::App;
use crate::extract::form::Filled;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Frame, Visitor, html};
use crate::pages::ui::{Field, Wrong};

#[derive(Template)]
#[template(path = "entrance/forgotten.html")]
struct Page {
    f: Frame,
    wrong: Wrong,
    email: Field,
}

impl Page {
    fn new(visitor: &Visitor, email: &str, mut wrong: Wrong) -> Self {
        let field = Field::email(visitor.t, "email", visitor.t.entrance.email);
        let email = field.value(email).autocomplete("username").wrong(&mut wrong);
        Self { f: Frame::alone(visitor), wrong, email }
    }
}

#[derive(Template)]
#[template(path = "entrance/forgotten_sent.html")]
struct Sent {
    f: Frame,
}

#[derive(Deserialize)]
pub struct Form {
    email: String,
}

pub async fn show(visitor: Visitor) -> Response {
    let wrong = Wrong::none(visitor.t);
    visitor.show(&Page::new(&visitor, "", wrong))
}

pub async fn send(
    State(app): State<App>,
    visitor: Visitor,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    match app.door().ask_for_reset(&form.email, visitor.actor.address).await {
        Ok(()) => Ok(visitor.show(&Sent { f: Frame::alone(&visitor) })),
        Err(problem) if matches!(problem.code, Code::Invalid | Code::TooManyRequests) => {
            let wrong = Wrong::of(visitor.t, &problem, []);
            Ok(html(frame::status(&problem), &Page::new(&visitor, &form.email, wrong)))
        }
        Err(problem) => Err(problem.into()),
    }
}
