//! `/sign-in` and `/sign-out`.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use latchstring_broker::people::instance::PasswordSignIn;
use latchstring_broker::people::sessions::{SignIn, SignedIn as How};
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
    /// Empty where nobody signs in with a password.
    fields: Vec<Field>,
    /// A path on this server.
    return_to: Option<String>,
    /// What the sign-in provider is called, and the way there.
    provider: Option<(String, String)>,
    /// A forgotten password can be set anew by mail.
    forgotten: bool,
}

impl Page {
    async fn new(
        app: &App,
        visitor: &Visitor,
        email: &str,
        return_to: Option<String>,
        mut wrong: Wrong,
    ) -> Result<Self, Refused> {
        let (t, e) = (visitor.t, &visitor.t.entrance);
        let ways = app.broker().ways_in().await?;
        let query =
            return_to.as_ref().map(|path| format!("?return_to={}", go::part(path))).unwrap_or_default();
        let mut fields = Vec::new();
        if ways.passwords != PasswordSignIn::Nobody {
            fields.push(Field::email(t, "email", e.email).value(email).autocomplete("username"));
            fields.push(Field::password(t, "password", e.password, false));
        }
        Ok(Self {
            f: Frame { path: format!("/sign-in{query}"), ..Frame::alone(visitor) },
            forgotten: ways.reset_by_mail && !fields.is_empty(),
            fields: fields.into_iter().map(|field| field.wrong(&mut wrong)).collect(),
            wrong,
            return_to,
            provider: ways.provider.map(|name| (name, format!("/sign-in/provider{query}"))),
        })
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

/// Where a person goes who has just come in.
pub fn onward(visitor: &Visitor, return_to: Option<&str>) -> Response {
    match return_to.unwrap_or("/") {
        go_on if leads_to_a_provider(go_on) => {
            html(StatusCode::OK, &SignedIn { f: Frame::alone(visitor), go_on })
        }
        path => Redirect::to(path).into_response(),
    }
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
    Ok(visitor.show(&Page::new(&app, &visitor, "", return_to, wrong).await?))
}

pub async fn send(
    State(app): State<App>,
    visitor: Visitor,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let return_to = form.return_to.and_then(|given| go::checked(&app, &given));
    let (address, agent) = (visitor.actor.address, agent(&visitor.headers));
    let ask = SignIn { email: form.email.clone(), password: form.password.0, totp: None, agent };
    match app.door().sign_in_on_page(ask, return_to.clone(), address).await {
        Ok(How::CodeWanted(next)) => Ok((set_cookie(next.cookie)?, Redirect::to(&next.path)).into_response()),
        Ok(How::Entered(entered)) => {
            Ok((set_cookie(entered.cookie)?, onward(&visitor, return_to.as_deref())).into_response())
        }
        Err(problem) if shown_here(&problem) => {
            let wrong = Wrong::of(visitor.t, &problem, []);
            let page = Page::new(&app, &visitor, &form.email, return_to, wrong).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

fn shown_here(problem: &Problem) -> bool {
    matches!(
        problem.code,
        Code::Unauthenticated | Code::TooManyRequests | Code::PasswordSignInOff | Code::Invalid
    )
}

pub async fn leave(State(app): State<App>, Acting(actor): Acting) -> Result<Response, Refused> {
    app.broker().sign_out(&actor).await?;
    Ok((set_cookie(app.door().no_cookie())?, Redirect::to("/sign-in")).into_response())
}
