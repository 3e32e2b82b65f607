//! `/sign-in/provider`, where a sign-in at the provider begins, and `/sign-in/callback`, where it comes back.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use latchstring_broker::Who;
use latchstring_broker::consent::own_path;
use latchstring_broker::people::oidc::Arrived;
use latchstring_model::Problem;
use serde::Deserialize;

use crate::App;
use crate::api::session::{agent, set_cookie};
use crate::extract::actor::Anyone;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::{self, Refused, html};
use crate::pages::sign_in::onward;

#[derive(Template)]
#[template(path = "sign_in_failed.html")]
struct Failed<'a> {
    title: &'a str,
    detail: &'a str,
    hint: &'a str,
    return_to: Option<&'a str>,
}

#[derive(Deserialize)]
pub struct Query {
    return_to: Option<String>,
}

fn failed(problem: &Problem, return_to: Option<&str>) -> Response {
    let page = Failed {
        title: problem.code.title(),
        detail: &problem.detail,
        hint: problem.hint.as_deref().unwrap_or_default(),
        return_to,
    };
    html(frame::status(problem), &page)
}

fn there(begun: latchstring_broker::people::oidc::Begun) -> Result<Response, Refused> {
    let cookie = set_cookie(begun.cookie)?;
    Ok((StatusCode::SEE_OTHER, cookie, [(header::LOCATION, begun.location)]).into_response())
}

/// A link and no form: `form-action 'self'` would bind a form's redirect. Whoever is sent here by another site gets
/// to the provider and back as themselves, and no further.
pub async fn begin(
    State(app): State<App>,
    Anyone(actor): Anyone,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let public_url = &app.broker().settings().public_url;
    let return_to = query.return_to.and_then(|given| own_path(public_url, &given));
    match Box::pin(app.door().begin_sign_in(return_to, actor.address)).await {
        Ok(begun) => there(begun),
        Err(problem) => Ok(failed(&problem, None)),
    }
}

/// What was begun in a session: to link, or to confirm.
pub async fn open(
    State(app): State<App>,
    Anyone(actor): Anyone,
    Named(token): Named<String>,
) -> Result<Response, Refused> {
    if actor.who == Who::Anonymous {
        return Ok(Redirect::to("/sign-in").into_response());
    }
    match Box::pin(app.door().open_sign_in_link(&actor, &token)).await {
        Ok(begun) => there(begun),
        Err(problem) => Ok(failed(&problem, None)),
    }
}

pub async fn callback(
    State(app): State<App>,
    Anyone(actor): Anyone,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let query = query.unwrap_or_default();
    let agent = agent(&headers);
    let returned = Box::pin(app.door().finish_at_provider(&actor, &query, &headers, &agent)).await;
    let return_to = returned.return_to.as_deref();
    let response = match returned.result {
        Ok(Arrived::Entered(entered)) => (set_cookie(entered.cookie)?, onward(return_to)).into_response(),
        Ok(Arrived::CodeWanted(path)) => Redirect::to(&path).into_response(),
        Ok(Arrived::Linked | Arrived::Confirmed) => {
            Redirect::to(return_to.unwrap_or("/account")).into_response()
        }
        Err(problem) => failed(&problem, return_to),
    };
    Ok(match returned.no_cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
        Some(cookie) => (AppendHeaders([(header::SET_COOKIE, cookie)]), response).into_response(),
        None => response,
    })
}
