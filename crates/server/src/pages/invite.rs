//! `/invite/{token}`: a password for an account that has none.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use latchstring_broker::people::instance::PasswordSignIn;
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
    /// What the sign-in provider is called.
    provider: Option<String>,
    passwords: bool,
    at_provider: String,
}

#[derive(Deserialize)]
pub struct Form {
    password: Secret,
}

async fn page(app: &App, token: &str, email: String, trouble: Vec<String>) -> Result<Page, Refused> {
    let ways = app.broker().ways_in().await?;
    Ok(Page {
        trouble,
        email,
        provider: ways.provider,
        passwords: ways.passwords == PasswordSignIn::Everyone,
        at_provider: format!("/invite/{token}/provider"),
    })
}

/// The invitation is taken by signing in at the provider: no form leads there, for the policy binds forms.
pub async fn at_provider(
    State(app): State<App>,
    Anyone(actor): Anyone,
    Named(token): Named<String>,
) -> Result<Response, Refused> {
    let begun = app.door().take_invite_to_provider(&SecretString::new(token), actor.address).await?;
    Ok((StatusCode::SEE_OTHER, set_cookie(begun.cookie)?, [(header::LOCATION, begun.location)])
        .into_response())
}

pub async fn show(
    State(app): State<App>,
    Anyone(actor): Anyone,
    Named(token): Named<String>,
) -> Result<Response, Refused> {
    let user = app.door().look_at_invite(&SecretString::new(token.clone()), actor.address).await?;
    Ok(html(StatusCode::OK, &page(&app, &token, user.email, Vec::new()).await?))
}

pub async fn send(
    State(app): State<App>,
    Anyone(actor): Anyone,
    Named(token): Named<String>,
    headers: HeaderMap,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let path = token.clone();
    let token = SecretString::new(token);
    let accept = Accept { token: token.clone(), password: form.password.0, agent: agent(&headers) };
    match app.door().accept_invite(accept, actor.address).await {
        Ok(entered) => Ok((set_cookie(entered.cookie)?, Redirect::to("/")).into_response()),
        Err(problem) if problem.code == Code::Invalid => {
            let user = app.door().look_at_invite(&token, actor.address).await?;
            let page = page(&app, &path, user.email, frame::lines(&problem)).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}
