//! `/sign-in` and `/sign-out`.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use latchstring_broker::people::sessions::SignIn;
use latchstring_model::{Code, Problem};
use serde::Deserialize;

use crate::App;
use crate::api::session::{agent, set_cookie};
use crate::extract::actor::Acting;
use crate::extract::form::Filled;
use crate::extract::path::Asked;
use crate::extract::secret::Secret;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Frame, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, Wrong};

#[derive(Template)]
#[template(path = "entrance/sign_in.html")]
struct Page {
    f: Frame,
    wrong: Wrong,
    email: Field,
    password: Field,
    /// A path on this server.
    return_to: Option<String>,
}

impl Page {
    fn new(visitor: &Visitor, email: &str, return_to: Option<String>, mut wrong: Wrong) -> Self {
        let (t, e) = (visitor.t, &visitor.t.entrance);
        let path = match &return_to {
            Some(path) => format!("/sign-in?return_to={}", go::part(path)),
            None => "/sign-in".to_owned(),
        };
        Self {
            f: Frame { path, ..Frame::alone(visitor) },
            email: Field::email(t, "email", e.email).value(email).autocomplete("username").wrong(&mut wrong),
            password: Field::password(t, "password", e.password, false).wrong(&mut wrong),
            wrong,
            return_to,
        }
    }
}

/// Shown in place of a redirect where the way leads on to another site.
#[derive(Template)]
#[template(path = "entrance/signed_in.html")]
struct SignedIn<'a> {
    f: Frame,
    go_on: &'a str,
}

#[derive(Deserialize)]
pub struct Query {
    return_to: Option<String>,
}

#[derive(Deserialize)]
pub struct Form {
    email: String,
    password: Secret,
    return_to: Option<String>,
}

/// `form-action 'self'` holds for every redirect that follows a form (CSP level 3, section 6.4.1 as browsers read it),
/// and a consent's start redirects to the provider: from a page, a link leads there, which the policy does not bind.
fn leads_to_a_provider(path: &str) -> bool {
    path.starts_with("/oauth/start/")
}

pub async fn show(
    State(app): State<App>,
    visitor: Visitor,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let return_to = query.return_to.and_then(|given| go::checked(&app, &given));
    if visitor.is_signed_in() && return_to.is_none() {
        return Ok(go::to("/"));
    }
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&Page::new(&visitor, "", return_to, wrong)))
}

pub async fn send(
    State(app): State<App>,
    visitor: Visitor,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let return_to = form.return_to.and_then(|given| go::checked(&app, &given));
    let ask = SignIn { email: form.email.clone(), password: form.password.0, agent: agent(&visitor.headers) };
    match app.door().sign_in(ask, visitor.actor.address).await {
        Ok(entered) => {
            let cookie = set_cookie(entered.cookie)?;
            Ok(match return_to.as_deref().unwrap_or("/") {
                go_on if leads_to_a_provider(go_on) => {
                    let page = SignedIn { f: Frame::alone(&visitor), go_on };
                    (cookie, html(StatusCode::OK, &page)).into_response()
                }
                path => (cookie, Redirect::to(path)).into_response(),
            })
        }
        Err(problem) if shown_here(&problem) => {
            let wrong = Wrong::of(visitor.t, &problem, []);
            Ok(html(frame::status(&problem), &Page::new(&visitor, &form.email, return_to, wrong)))
        }
        Err(problem) => Err(problem.into()),
    }
}

fn shown_here(problem: &Problem) -> bool {
    matches!(problem.code, Code::Unauthenticated | Code::TooManyRequests | Code::Invalid)
}

pub async fn leave(State(app): State<App>, Acting(actor): Acting) -> Result<Response, Refused> {
    app.broker().sign_out(&actor).await?;
    Ok((set_cookie(app.door().no_cookie())?, Redirect::to("/sign-in")).into_response())
}
