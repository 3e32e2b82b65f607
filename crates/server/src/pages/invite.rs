//! `/invite/{token}`: a password for an account that has none.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use latchstring_broker::people::invites::Accept;
use latchstring_model::{Code, SecretString};
use serde::Deserialize;

use crate::App;
use crate::api::session::{agent, set_cookie};
use crate::extract::actor::Anyone;
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::extract::secret::Secret;
use crate::pages::frame::{self, Refused, html};

#[derive(Template)]
#[template(path = "invite.html")]
struct Page {
    trouble: Vec<String>,
    email: String,
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
    let user = app.door().look_at_invite(&SecretString::new(token), actor.address).await?;
    Ok(html(StatusCode::OK, &Page { trouble: Vec::new(), email: user.email }))
}

pub async fn send(
    State(app): State<App>,
    Anyone(actor): Anyone,
    Named(token): Named<String>,
    headers: HeaderMap,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let token = SecretString::new(token);
    let accept = Accept { token: token.clone(), password: form.password.0, agent: agent(&headers) };
    match app.door().accept_invite(accept, actor.address).await {
        Ok(entered) => Ok((set_cookie(entered.cookie)?, Redirect::to("/")).into_response()),
        Err(problem) if problem.code == Code::Invalid => {
            let user = app.door().look_at_invite(&token, actor.address).await?;
            Ok(html(frame::status(&problem), &Page { trouble: frame::lines(&problem), email: user.email }))
        }
        Err(problem) => Err(problem.into()),
    }
}
