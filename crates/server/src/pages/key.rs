//! `POST /keys`: a personal key, shown once with a line to try it.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use latchstring_broker::people::keys::NewKey;
use latchstring_model::entity::KeyScope;
use serde::Deserialize;

use crate::App;
use crate::extract::form::Filled;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Place, Signed, html};

#[derive(Template)]
#[template(path = "key.html")]
struct Page<'a> {
    f: Frame,
    key: &'a str,
    name: &'a str,
    public_url: &'a str,
}

#[derive(Deserialize)]
pub struct Form {
    name: String,
    /// A ticked box: may manage.
    manage: Option<String>,
}

pub async fn make(
    State(app): State<App>,
    Signed(visitor): Signed,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let scope = if form.manage.is_some() { KeyScope::Manage } else { KeyScope::Call };
    let new = NewKey { name: form.name, scope, expires_at: None };
    let made = app.broker().create_my_key(&visitor.actor, new).await?;
    let public_url = &app.broker().settings().public_url;
    let f = Frame::of(&app, &visitor, Place::Account, None).await?;
    Ok(html(StatusCode::CREATED, &Page { f, key: made.secret.reveal(), name: &made.key.name, public_url }))
}
