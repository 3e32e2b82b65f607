//! `/reset/{token}`: a new password for somebody who forgot theirs.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use latchstring_broker::people::reset::Reset;
use latchstring_model::{Code, SecretString};
use serde::Deserialize;

use crate::App;
use crate::extract::actor::Anyone;
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::extract::secret::Secret;
use crate::pages::frame::{self, Refused, html};

#[derive(Template)]
#[template(path = "reset.html")]
struct Page {
    trouble: Vec<String>,
}

#[derive(Deserialize)]
pub struct Form {
    password: Secret,
}

pub async fn show(
    State(app): State<App>,
    Anyone(actor): Anyone,
    Named(token): Named<String>,
) -> Result<Response, Refused> {
    app.door().look_at_reset(&SecretString::new(token), actor.address).await?;
    Ok(html(StatusCode::OK, &Page { trouble: Vec::new() }))
}

pub async fn send(
    State(app): State<App>,
    Anyone(actor): Anyone,
    Named(token): Named<String>,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let reset = Reset { token: SecretString::new(token), password: form.password.0 };
    match app.door().reset_password(reset, actor.address).await {
        Ok(()) => Ok(Redirect::to("/sign-in").into_response()),
        Err(problem) if problem.code == Code::Invalid => {
            Ok(html(frame::status(&problem), &Page { trouble: frame::lines(&problem) }))
        }
        Err(problem) => Err(problem.into()),
    }
}
