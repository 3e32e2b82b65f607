//! `/invite/{token}`: a password for an account that has none.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use latchstring_broker::people::invites::Accept;
use latchstring_model::{Code, SecretString};
use serde::Deserialize;

use crate::App;
use crate::api::session::{agent, set_cookie};
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::extract::secret::Secret;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Frame, Visitor, html};
use crate::pages::ui::{Field, Wrong};

#[derive(Template)]
#[template(path = "entrance/invite.html")]
struct Page {
    f: Frame,
    wrong: Wrong,
    password: Field,
    email: String,
}

impl Page {
    fn new(visitor: &Visitor, email: String, mut wrong: Wrong) -> Self {
        let (t, e) = (visitor.t, &visitor.t.entrance);
        // The link's token must not stand in the page that it leads to: forms of the frame go back to the start.
        let f = Frame { path: "/".to_owned(), ..Frame::alone(visitor) };
        let password = Field::password(t, "password", e.password, true).help(e.password_help);
        Self { f, password: password.wrong(&mut wrong), wrong, email }
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
    let user = app.door().look_at_invite(&SecretString::new(token), visitor.actor.address).await?;
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&Page::new(&visitor, user.email, wrong)))
}

pub async fn send(
    State(app): State<App>,
    visitor: Visitor,
    Named(token): Named<String>,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let token = SecretString::new(token);
    let accept = Accept { token: token.clone(), password: form.password.0, agent: agent(&visitor.headers) };
    match app.door().accept_invite(accept, visitor.actor.address).await {
        Ok(entered) => Ok((set_cookie(entered.cookie)?, Redirect::to("/")).into_response()),
        Err(problem) if problem.code == Code::Invalid => {
            let user = app.door().look_at_invite(&token, visitor.actor.address).await?;
            let wrong = Wrong::of(visitor.t, &problem, []);
            Ok(html(frame::status(&problem), &Page::new(&visitor, user.email, wrong)))
        }
        Err(problem) => Err(problem.into()),
    }
}
