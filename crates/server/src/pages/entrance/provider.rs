//! `/sign-in/provider`, where a sign-in at the provider begins, and `/sign-in/callback`, where it comes back.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use latchstring_broker::Who;
use latchstring_broker::people::oidc::{Arrived, Begun};
use latchstring_model::Problem;
use serde::Deserialize;

use super::sign_in::onward;
use crate::App;
use crate::api::session::{agent, set_cookie};
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Frame, Visitor, html};
use crate::pages::go;
use crate::texts::Rich;

/// A link leads to the provider, which the policy for forms does not bind.
#[derive(Template)]
#[template(path = "entrance/to_provider.html")]
pub struct ToProvider<'a> {
    f: Frame,
    go_on: &'a str,
    provider: String,
}

impl<'a> ToProvider<'a> {
    pub fn new(visitor: &Visitor, go_on: &'a str, provider: String) -> Self {
        // The link works once: a form of the frame must not lead back to this page.
        Self { f: Frame { path: "/account".to_owned(), ..Frame::alone(visitor) }, go_on, provider }
    }
}

#[derive(Template)]
#[template(path = "entrance/failed.html")]
struct Failed<'a> {
    f: Frame,
    problem: &'a Problem,
    return_to: Option<&'a str>,
}

impl Failed<'_> {
    fn rich(&self, text: &str) -> Rich {
        Rich::of(text)
    }
}

#[derive(Deserialize)]
pub struct Query {
    return_to: Option<String>,
}

fn failed(visitor: &Visitor, problem: &Problem, return_to: Option<&str>) -> Response {
    // The answer of a provider must not stand in a page's form, nor be sent again by it.
    let f = Frame { path: "/".to_owned(), ..Frame::alone(visitor) };
    html(frame::status(problem), &Failed { f, problem, return_to })
}

fn there(begun: Begun) -> Result<Response, Refused> {
    let cookie = set_cookie(begun.cookie)?;
    Ok((StatusCode::SEE_OTHER, cookie, [(header::LOCATION, begun.location)]).into_response())
}

/// A link and no form: `form-action 'self'` would bind a form's redirect. Whoever is sent here by another site gets
/// to the provider and back as themselves, and no further.
pub async fn begin(
    State(app): State<App>,
    visitor: Visitor,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let return_to = query.return_to.and_then(|given| go::checked(&app, &given));
    match Box::pin(app.door().begin_sign_in(return_to, visitor.actor.address)).await {
        Ok(begun) => there(begun),
        Err(problem) => Ok(failed(&visitor, &problem, None)),
    }
}

/// The invitation is taken by signing in at the provider: no form leads there, for the policy binds forms.
pub async fn take_invite(app: &App, visitor: &Visitor, token: String) -> Result<Response, Refused> {
    let token = latchstring_model::SecretString::new(token);
    there(app.door().take_invite_to_provider(&token, visitor.actor.address).await?)
}

/// What was begun in a session: to link, or to confirm.
pub async fn open(
    State(app): State<App>,
    visitor: Visitor,
    Named(token): Named<String>,
) -> Result<Response, Refused> {
    if visitor.actor.who == Who::Anonymous {
        return Ok(go::to("/sign-in"));
    }
    match Box::pin(app.door().open_sign_in_link(&visitor.actor, &token)).await {
        Ok(begun) => there(begun),
        Err(problem) => Ok(failed(&visitor, &problem, None)),
    }
}

pub async fn callback(
    State(app): State<App>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = query.unwrap_or_default();
    let (headers, agent) = (&visitor.headers, agent(&visitor.headers));
    let returned = Box::pin(app.door().finish_at_provider(&visitor.actor, &query, headers, &agent)).await;
    let return_to = returned.return_to.as_deref();
    let response = match returned.result {
        Ok(Arrived::Entered(entered)) => {
            (set_cookie(entered.cookie)?, onward(&visitor, return_to)).into_response()
        }
        Ok(Arrived::CodeWanted(path)) => go::to(&path),
        Ok(Arrived::Linked | Arrived::Confirmed) => go::to(return_to.unwrap_or("/account")),
        Err(problem) => failed(&visitor, &problem, return_to),
    };
    Ok(match returned.no_cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
        Some(cookie) => (AppendHeaders([(header::SET_COOKIE, cookie)]), response).into_response(),
        None => response,
    })
}
