//! `/reset/{token}`: a new password for somebody who forgot theirs.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::people::reset::Reset;
use latchstring_model::{Code, SecretString};
use serde::Deserialize;

use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::extract::secret::Secret;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, Wrong};

#[derive(Template)]
#[template(path = "entrance/reset.html")]
struct Page {
    f: Frame,
    wrong: Wrong,
    password: Field,
}

impl Page {
    fn new(visitor: &Visitor, mut wrong: Wrong) -> Self {
        let (t, e) = (visitor.t, &visitor.t.entrance);
        let password = Field::password(t, "password", e.new_password, true).help(e.password_help);
        // The link's token must not stand in the page that it leads to.
        let f = Frame { path: "/".to_owned(), ..Frame::alone(visitor) };
        Self { f, password: password.wrong(&mut wrong), wrong }
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
    app.door().look_at_reset(&SecretString::new(token), visitor.actor.address).await?;
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&Page::new(&visitor, wrong)))
}

pub async fn send(
    State(app): State<App>,
    visitor: Visitor,
    Named(token): Named<String>,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let reset = Reset { token: SecretString::new(token), password: form.password.0 };
    match app.door().reset_password(reset, visitor.actor.address).await {
        Ok(()) => Ok(go::saying("/sign-in", Flash::PasswordReset)),
        Err(problem) if problem.code == Code::Invalid => {
            let wrong = Wrong::of(visitor.t, &problem, []);
            Ok(html(frame::status(&problem), &Page::new(&visitor, wrong)))
        }
        Err(problem) => Err(problem.into()),
    }
}
