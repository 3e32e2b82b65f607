//! `/oauth/start/{token}`, where a sign-in at a provider begins, and `/oauth/callback/{client}`, where it comes back.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use latchstring_broker::Who;
use latchstring_broker::consent::{CameBack, Connected, Started};
use latchstring_model::Problem;
use latchstring_model::entity::Status;

use crate::App;
use crate::api::session::set_cookie;
use crate::extract::path::Named;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Visitor, html};
use crate::pages::{connecting, go};
use crate::texts::Rich;

#[derive(Template)]
#[template(path = "consent_done.html")]
struct Done<'a> {
    f: Frame,
    connected: &'a Connected,
    what: Rich,
    missing: Rich,
    granted: Rich,
    verified: bool,
    return_to: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "consent_failed.html")]
struct Failed<'a> {
    f: Frame,
    title: &'a str,
    detail: &'a str,
    hint: &'a str,
    return_to: Option<&'a str>,
}

impl Failed<'_> {
    fn rich(&self, text: &str) -> Rich {
        Rich::of(text)
    }
}

fn failed(f: Frame, problem: &Problem, return_to: Option<&str>) -> Response {
    let page = Failed {
        f,
        title: problem.code.title(),
        detail: &problem.detail,
        hint: problem.hint.as_deref().unwrap_or_default(),
        return_to,
    };
    html(frame::status(problem), &page)
}

/// Names between backticks are shown as code.
fn listed(scopes: &[String]) -> String {
    scopes.iter().map(|scope| format!("`{}`", scope.replace('`', "'"))).collect::<Vec<_>>().join(" ")
}

fn done<'a>(visitor: &Visitor, connected: &'a Connected, return_to: Option<&'a str>) -> Done<'a> {
    let c = &visitor.t.consent;
    let text = match &connected.account {
        Some(account) => c.connected_to.rich().text("account", account),
        None => c.connected_plain.rich(),
    };
    let what =
        text.text("credential", &connected.credential_name).text("environment", &connected.environment);
    Done {
        f: bare(visitor),
        what,
        missing: c.missing.with("scopes", &listed(&connected.missing)).rich(),
        granted: c.granted.with("scopes", &listed(&connected.scopes)).rich(),
        verified: connected.status == Status::Verified,
        connected,
        return_to,
    }
}

/// The address holds what belongs to one sign-in; nothing of it stands in the page.
fn bare(visitor: &Visitor) -> Frame {
    Frame { path: "/".to_owned(), ..Frame::alone(visitor) }
}

/// A browser without a session signs in first and comes back.
pub async fn start(
    State(app): State<App>,
    visitor: Visitor,
    Named(token): Named<String>,
) -> Result<Response, Refused> {
    if visitor.actor.who == Who::Anonymous {
        // Nothing that a query would read in another way.
        let plain = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let back = if plain { format!("?return_to=/oauth/start/{token}") } else { String::new() };
        return Ok(Redirect::to(&format!("/sign-in{back}")).into_response());
    }
    match Box::pin(app.door().start_consent(&visitor.actor, &token)).await {
        Ok(started) => away(started),
        Err(problem) => Ok(failed(bare(&visitor), &problem, None)),
    }
}

/// To the provider's page.
pub fn away(started: Started) -> Result<Response, Refused> {
    Ok((StatusCode::SEE_OTHER, set_cookie(started.cookie)?, [(header::LOCATION, started.location)])
        .into_response())
}

pub async fn callback(
    State(app): State<App>,
    visitor: Visitor,
    Named(client): Named<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let query = query.unwrap_or_default();
    let CameBack { returned, connect_session } =
        Box::pin(app.door().finish_consent(&visitor.actor, &client, &query, &headers)).await;
    if let Some(session) = connect_session {
        let response = connecting::came_back(session.as_str(), returned.result.is_ok());
        return Ok(with_cookie(response, returned.no_cookie));
    }
    let return_to = returned.return_to.as_deref();
    let response = match &returned.result {
        Ok(connected) => match return_to {
            // What is not as it was asked for is told first.
            Some(path) if connected.missing.is_empty() && connected.note.is_none() => {
                go::saying(path, Flash::CredentialConnected)
            }
            _ => html(StatusCode::OK, &done(&visitor, connected, return_to)),
        },
        Err(problem) => failed(bare(&visitor), problem, return_to),
    };
    Ok(with_cookie(response, returned.no_cookie))
}

fn with_cookie(response: Response, cookie: Option<String>) -> Response {
    match cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
        Some(cookie) => (AppendHeaders([(header::SET_COOKIE, cookie)]), response).into_response(),
        None => response,
    }
}
