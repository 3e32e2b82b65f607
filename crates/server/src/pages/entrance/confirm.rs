//! `/confirm`: showing once more who one is, before what wants a recent sign-in.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use latchstring_broker::consent::own_path;
use latchstring_broker::people::confirm::Confirm;
use latchstring_broker::people::instance::PasswordSignIn;
use latchstring_model::Code;
use serde::Deserialize;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::form::Filled;
use crate::extract::path::Asked;
use crate::extract::secret::Secret;
use crate::pages::frame::{self, Refused, html};

#[derive(Template)]
#[template(path = "confirm.html")]
struct Page {
    trouble: Vec<String>,
    email: String,
    return_to: Option<String>,
    second_factor: bool,
    passwords: bool,
    provider: Option<String>,
}

/// A link leads to the provider, which the policy for forms does not bind.
#[derive(Template)]
#[template(path = "to_provider.html")]
pub struct ToProvider<'a> {
    pub go_on: &'a str,
    pub provider: &'a str,
}

#[derive(Deserialize)]
pub struct Query {
    return_to: Option<String>,
}

#[derive(Deserialize)]
pub struct Form {
    password: Secret,
    #[serde(default)]
    code: Secret,
    return_to: Option<String>,
}

fn checked(app: &App, given: Option<String>) -> Option<String> {
    given.and_then(|given| own_path(&app.broker().settings().public_url, &given))
}

async fn page(
    app: &App,
    actor: &latchstring_broker::Actor,
    return_to: Option<String>,
    trouble: Vec<String>,
) -> Result<Page, Refused> {
    let user = app.broker().me(actor).await?;
    let ways = app.broker().ways_in().await?;
    Ok(Page {
        trouble,
        email: user.email,
        return_to,
        second_factor: user.second_factor,
        passwords: ways.passwords != PasswordSignIn::Nobody,
        provider: ways.provider,
    })
}

pub async fn show(
    State(app): State<App>,
    Acting(actor): Acting,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let return_to = checked(&app, query.return_to);
    Ok(html(StatusCode::OK, &page(&app, &actor, return_to, Vec::new()).await?))
}

pub async fn send(
    State(app): State<App>,
    Acting(actor): Acting,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let return_to = checked(&app, form.return_to);
    let totp = Some(form.code.0).filter(|code| !code.is_empty());
    match app.door().confirm_session(&actor, Confirm { password: form.password.0, totp }).await {
        Ok(()) => Ok(Redirect::to(return_to.as_deref().unwrap_or("/account")).into_response()),
        Err(problem)
            if matches!(
                problem.code,
                Code::Invalid | Code::TooManyRequests | Code::SecondFactorNeeded | Code::SecondFactorWrong
            ) =>
        {
            let page = page(&app, &actor, return_to, frame::lines(&problem)).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

#[derive(Deserialize)]
pub struct There {
    return_to: Option<String>,
}

pub async fn at_provider(
    State(app): State<App>,
    Acting(actor): Acting,
    Filled(form): Filled<There>,
) -> Result<Response, Refused> {
    let return_to = checked(&app, form.return_to);
    let link = app.door().begin_confirm(&actor, return_to.as_deref()).await?;
    let provider = app.broker().ways_in().await?.provider.unwrap_or_default();
    Ok(html(StatusCode::OK, &ToProvider { go_on: link.url.reveal(), provider: &provider }))
}
