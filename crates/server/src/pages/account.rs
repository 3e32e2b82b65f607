//! `/account`: one's password, second factor, sessions and how one signs in.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use latchstring_broker::people::User;
use latchstring_broker::people::identities::Identity;
use latchstring_broker::people::me::ChangePassword;
use latchstring_broker::people::second_factor::FactorStatus;
use latchstring_broker::people::sessions::Session;
use latchstring_model::Code;
use serde::Deserialize;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::form::Filled;
use crate::extract::secret::Secret;
use crate::pages::confirm::ToProvider;
use crate::pages::frame::{self, Refused, html};

#[derive(Template)]
#[template(path = "account.html")]
struct Page {
    trouble: Vec<String>,
    user: User,
    factor: FactorStatus,
    identities: Vec<Identity>,
    sessions: Vec<Session>,
    provider: Option<String>,
}

async fn page(app: &App, actor: &latchstring_broker::Actor, trouble: Vec<String>) -> Result<Page, Refused> {
    let broker = app.broker();
    Ok(Page {
        trouble,
        user: broker.me(actor).await?,
        factor: broker.second_factor(actor).await?,
        identities: broker.identities(actor).await?,
        sessions: broker.sessions(actor).await?,
        provider: broker.ways_in().await?.provider,
    })
}

pub async fn show(State(app): State<App>, Acting(actor): Acting) -> Result<Response, Refused> {
    Ok(html(StatusCode::OK, &page(&app, &actor, Vec::new()).await?))
}

#[derive(Deserialize)]
pub struct NewPassword {
    #[serde(default)]
    current_password: Secret,
    new_password: Secret,
}

pub async fn password(
    State(app): State<App>,
    Acting(actor): Acting,
    Filled(form): Filled<NewPassword>,
) -> Result<Response, Refused> {
    let current = Some(form.current_password.0).filter(|password| !password.is_empty());
    match app.door().change_password(&actor, ChangePassword { current, new: form.new_password.0 }).await {
        Ok(()) => Ok(Redirect::to("/account").into_response()),
        Err(problem) if matches!(problem.code, Code::Invalid | Code::TooManyRequests) => {
            let page = page(&app, &actor, frame::lines(&problem)).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn link(State(app): State<App>, Acting(actor): Acting) -> Result<Response, Refused> {
    let link = app.door().begin_link(&actor, Some("/account")).await?;
    let provider = app.broker().ways_in().await?.provider.unwrap_or_default();
    Ok(html(StatusCode::OK, &ToProvider { go_on: link.url.reveal(), provider: &provider }))
}

#[derive(Deserialize)]
pub struct Which {
    id: String,
}

pub async fn unlink(
    State(app): State<App>,
    Acting(actor): Acting,
    Filled(form): Filled<Which>,
) -> Result<Response, Refused> {
    app.broker().unlink_identity(&actor, &form.id).await?;
    Ok(Redirect::to("/account").into_response())
}

pub async fn end_sessions(State(app): State<App>, Acting(actor): Acting) -> Result<Response, Refused> {
    app.broker().end_other_sessions(&actor).await?;
    Ok(Redirect::to("/account").into_response())
}
