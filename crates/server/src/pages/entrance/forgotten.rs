//! `/forgotten`: asks for a link by mail.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use latchstring_model::Code;
use serde::Deserialize;

use crate::App;
use crate::extract::actor::Anyone;
use crate::extract::form::Filled;
use crate::pages::frame::{self, Refused, html};

#[derive(Template)]
#[template(path = "forgotten.html")]
struct Page {
    trouble: Vec<String>,
    email: String,
}

#[derive(Template)]
#[template(path = "forgotten_sent.html")]
struct Sent;

#[derive(Deserialize)]
pub struct Form {
    email: String,
}

pub async fn show() -> Response {
    html(StatusCode::OK, &Page { trouble: Vec::new(), email: String::new() })
}

pub async fn send(
    State(app): State<App>,
    Anyone(actor): Anyone,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    match app.door().ask_for_reset(&form.email, actor.address).await {
        Ok(()) => Ok(html(StatusCode::OK, &Sent)),
        Err(problem) if matches!(problem.code, Code::Invalid | Code::TooManyRequests) => {
            Ok(html(frame::status(&problem), &Page { trouble: frame::lines(&problem), email: form.email }))
        }
        Err(problem) => Err(problem.into()),
    }
}
