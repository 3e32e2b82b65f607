//! The entrance: finds out who sent a request, and keeps browsers from being used by other sites.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use latchstring_broker::audit::Event;
use latchstring_broker::road::Peer;
use latchstring_broker::{Actor, Via, Who};
use latchstring_model::entity::Outcome;
use latchstring_model::id::ProjectId;
use latchstring_model::{Code, Problem};

use crate::App;
use crate::guard::origin::{self, From};
use crate::problem::ApiError;

/// RFC 9110, 9.2.1: methods that change nothing.
fn safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

fn cross_origin() -> Problem {
    Problem::new(Code::CrossOrigin, "A browser session only acts for requests from Latchstring's own pages; this one came from elsewhere, or does not say where from.")
        .hint("Programs use a key (`Authorization: Bearer lst_…`). A page on another address needs LATCHSTRING_PUBLIC_URL to be the address that people use.")
}

fn check_origin(
    actor: &Actor,
    request: axum::http::request::Parts,
    public_url: &str,
) -> Result<axum::http::request::Parts, ApiError> {
    let from = if safe(&request.method) { From::Ours } else { origin::of(&request, public_url) };
    let allowed = match &actor.who {
        Who::Person { via: Via::Session { .. }, .. } => from == From::Ours,
        // Signing somebody in from another site would have them work in a stranger's account.
        Who::Anonymous => from != From::Elsewhere,
        _ => true,
    };
    if allowed { Ok(request) } else { Err(cross_origin().into()) }
}

pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let address = request.extensions().get::<Peer>().map(|peer| peer.address);
    let actor = match app.door().enter(request.headers(), address).await {
        Ok(actor) => actor,
        Err(problem) => return ApiError(problem).into_response(),
    };
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let (parts, body) = request.into_parts();
    let response = match check_origin(&actor, parts, &app.broker().settings().public_url) {
        Ok(parts) => {
            let mut request = Request::from_parts(parts, body);
            request.extensions_mut().insert(actor.clone());
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    };
    if !safe(&method)
        && let Some(problem) = response.extensions().get::<Arc<Problem>>().cloned()
        && let Some(path) = path
    {
        record(&app, &actor, &method, path.as_str(), &problem).await;
    }
    response
}

/// A change that somebody was not allowed to make is written down, where the project's people see it.
async fn record(app: &App, actor: &Actor, method: &Method, path: &str, problem: &Problem) {
    let forbidden = matches!(
        problem.code,
        Code::Forbidden
            | Code::NotAllowed
            | Code::CrossOrigin
            | Code::RecentSignInRequired
            | Code::SecondFactorRequired
            | Code::OwnerFrozen
    );
    let (true, Some(action)) = (forbidden, app.action_of(method, path)) else { return };
    let mut event = Event::new(action).outcome(Outcome::Refused).detail("code", problem.code.as_str());
    let project =
        problem.extra.get("project").and_then(|id| id.as_str()).and_then(|id| id.parse::<ProjectId>().ok());
    match (&project, &actor.who) {
        (Some(project), _) => event = event.project(project),
        (None, Who::Service { project, .. } | Who::Account { project, .. }) => event = event.project(project),
        _ => {}
    }
    app.door().note_refusal(actor, event).await;
}
