//! `/invite/{token}`: a password for an account that has none.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use latchstring_broker::people::instance::PasswordSignIn;
use latchstring_broker::people::invites::Accept;
use latchstring_model::{Code, SecretString};
use serde::Deserialize;

use super::provider::take_invite;
use crate::App;
use crate::api::session::{agent, set_cookie};
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::extract::secret::Secret;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Frame, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, Wrong};

#[derive(Template)]
#[template(path = "entrance/invite.html")]
struct Page {
    f: Frame,
    wrong: Wrong,
    /// Where people may come in with a password.
    password: Option<Field>,
    email: String,
    /// What the sign-in provider is called, and the way there.
    provider: Option<(String, String)>,
}

impl Page {
    async fn new(
        app: &App,
        visitor: &Visitor,
        token: &str,
        email: String,
        mut wrong: Wrong,
    ) -> Result<Self, Refused> {
        let (t, e) = (visitor.t, &visitor.t.entrance);
        let ways = app.broker().ways_in().await?;
        // The link's token must not stand in the page that it leads to: forms of the frame go back to the start.
        let f = Frame { path: "/".to_owned(), ..Frame::alone(visitor) };
        let password = (ways.passwords == PasswordSignIn::Everyone).then(|| {
            Field::password(t, "password", e.password, true).help(e.password_help).wrong(&mut wrong)
        });
        let provider = ways.provider.map(|name| (name, format!("/invite/{}/provider", go::part(token))));
        Ok(Self { f, password, wrong, email, provider })
    }
}

#[derive(Deserialize)]
pub struct Form {
    password: Secret,
}

pub async fn show(
    State(app): State<App>,
    visitor: Visitor,
    Named(token): Named<String>,
) -> Result<Response, Refused> {
    let secret = SecretString::new(token.clone());
    let user = app.door().look_at_invite(&secret, visitor.actor.address).await?;
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&Page::new(&app, &visitor, &token, user.email, wrong).await?))
}

pub async fn at_provider(
    State(app): State<App>,
    visitor: Visitor,
    Named(token): Named<String>,
) -> Result<Response, Refused> {
    take_invite(&app, &visitor, token).await
}

pub async fn send(
    State(app): State<App>,
    visitor: Visitor,
    Named(token): Named<String>,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let secret = SecretString::new(token.clone());
    let accept = Accept { token: secret.clone(), password: form.password.0, agent: agent(&visitor.headers) };
    match app.door().accept_invite(accept, visitor.actor.address).await {
        Ok(entered) => Ok((set_cookie(entered.cookie)?, Redirect::to("/")).into_response()),
        Err(problem) if problem.code == Code::Invalid => {
            let user = app.door().look_at_invite(&secret, visitor.actor.address).await?;
            let wrong = Wrong::of(visitor.t, &problem, []);
            let page = Page::new(&app, &visitor, &token, user.email, wrong).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}
