//! `/sign-in` and `/sign-out`.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use latchstring_broker::consent::own_path;
use latchstring_broker::people::instance::PasswordSignIn;
use latchstring_broker::people::sessions::{SignIn, SignedIn as How};
use latchstring_model::Code;
use serde::Deserialize;

use crate::App;
use crate::api::session::{agent, set_cookie};
use crate::extract::actor::{Acting, Anyone};
use crate::extract::form::Filled;
use crate::extract::path::Asked;
use crate::extract::secret::Secret;
use crate::pages::frame::{self, Refused, html};

#[derive(Template, Default)]
#[template(path = "sign_in.html")]
struct Page {
    trouble: Vec<String>,
    email: String,
    /// A path on this server.
    return_to: Option<String>,
    /// What the sign-in provider is called.
    provider: Option<String>,
    passwords: bool,
    forgotten: bool,
}

/// Shown in place of a redirect where the way leads on to another site.
#[derive(Template)]
#[template(path = "signed_in.html")]
struct SignedIn<'a> {
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

/// Where people go after they have signed in, if that is a path on this server.
fn checked(app: &App, given: Option<String>) -> Option<String> {
    given.and_then(|given| own_path(&app.broker().settings().public_url, &given))
}

/// `form-action 'self'` holds for every redirect that follows a form (CSP level 3, section 6.4.1 as browsers read it),
/// and a consent's start redirects to the provider: from a page, a link leads there, which the policy does not bind.
fn leads_to_a_provider(path: &str) -> bool {
    path.starts_with("/oauth/start/")
}

/// The page with the ways in that there are.
async fn page(app: &App, return_to: Option<String>) -> Result<Page, Refused> {
    let ways = app.broker().ways_in().await?;
    Ok(Page {
        trouble: Vec::new(),
        email: String::new(),
        return_to,
        provider: ways.provider,
        passwords: ways.passwords != PasswordSignIn::Nobody,
        forgotten: ways.reset_by_mail,
    })
}

/// Where a person goes who has just come in.
pub fn onward(return_to: Option<&str>) -> Response {
    match return_to.unwrap_or("/") {
        go_on if leads_to_a_provider(go_on) => html(StatusCode::OK, &SignedIn { go_on }),
        path => Redirect::to(path).into_response(),
    }
}

pub async fn show(State(app): State<App>, Asked(query): Asked<Query>) -> Result<Response, Refused> {
    let return_to = checked(&app, query.return_to);
    Ok(html(StatusCode::OK, &page(&app, return_to).await?))
}

pub async fn send(
    State(app): State<App>,
    Anyone(actor): Anyone,
    headers: HeaderMap,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let return_to = checked(&app, form.return_to);
    let ask =
        SignIn { email: form.email.clone(), password: form.password.0, totp: None, agent: agent(&headers) };
    match app.door().sign_in_on_page(ask, return_to.clone(), actor.address).await {
        Ok(How::CodeWanted(next)) => Ok((set_cookie(next.cookie)?, Redirect::to(&next.path)).into_response()),
        Ok(How::Entered(entered)) => {
            let cookie = set_cookie(entered.cookie)?;
            Ok((cookie, onward(return_to.as_deref())).into_response())
        }
        Err(problem)
            if matches!(
                problem.code,
                Code::Unauthenticated | Code::TooManyRequests | Code::PasswordSignInOff | Code::Invalid
            ) =>
        {
            let shown = page(&app, return_to).await?;
            let page = Page { trouble: frame::lines(&problem), email: form.email, ..shown };
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn leave(State(app): State<App>, Acting(actor): Acting) -> Result<Response, Refused> {
    app.broker().sign_out(&actor).await?;
    Ok((set_cookie(app.door().no_cookie())?, Redirect::to("/sign-in")).into_response())
}
