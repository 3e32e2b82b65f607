//! The entrance: finds out who sent a request, and keeps browsers from being used by other sites.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use latchstring_broker::road::Peer;
use latchstring_broker::{Actor, Via, Who};
use latchstring_model::entity::Outcome;
use latchstring_model::id::CredentialId;
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
    let template = request.extensions().get::<MatchedPath>().cloned();
    let path = request.uri().path().to_owned();
    let (parts, body) = request.into_parts();
    let response = match check_origin(&actor, parts, &app.broker().settings().public_url) {
        Ok(parts) => {
            let mut request = Request::from_parts(parts, body);
            request.extensions_mut().insert(actor.clone());
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    };
    if let Some(problem) = response.extensions().get::<Arc<Problem>>().cloned()
        && let Some(template) = template
        && let Some(outcome) = outcome(&problem)
        && let Some(action) = app.action_of(&method, template.as_str())
    {
        let named = Names::of(template.as_str(), &path);
        app.door().note_try(&actor, action, outcome, named.target, named.credential, &problem).await;
    }
    response
}

/// How a try ended that is worth a record. What was only badly written (a wrong field, an old version) is none.
fn outcome(problem: &Problem) -> Option<Outcome> {
    match (problem.code, problem.code.status()) {
        (Code::VerificationFailed | Code::VerificationInconclusive | Code::ConsentIncomplete, _) => {
            Some(Outcome::Failed)
        }
        // Then nothing can be recorded either, or it is tried again at once.
        (Code::Unavailable | Code::Busy, _) => None,
        (_, 401 | 403 | 404 | 409 | 410 | 424 | 429) => Some(Outcome::Refused),
        (_, 500..) => Some(Outcome::Failed),
        _ => None,
    }
}

/// What a path names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Names {
    /// The last thing that is named in it.
    target: Option<String>,
    credential: Option<CredentialId>,
}

impl Names {
    fn of(template: &str, path: &str) -> Self {
        let mut names = Self::default();
        let mut before = "";
        for (pattern, part) in template.split('/').zip(path.split('/')) {
            // A token opens something: it is not a name, and has no place in the trail.
            if pattern.starts_with('{') && pattern != "{token}" {
                names.target = Some(part.to_owned());
                if before == "credentials" {
                    names.credential = part.parse().ok();
                }
            }
            before = pattern;
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_what_was_tried() {
        let id = "crd_01k9x0000000000000000000zz";
        let of = |template, path| Names::of(template, path);
        let verify = format!("/api/v1/credentials/{id}/verify");
        let credential = of("/api/v1/credentials/{id}/verify", &verify);
        assert_eq!(credential.credential, id.parse().ok());
        assert_eq!(credential.target.as_deref(), Some(id));
        let member = of("/api/v1/projects/{project}/members/{email}", "/api/v1/projects/acme/members/a%40b");
        assert_eq!(member, Names { target: Some("a%40b".into()), credential: None });
        assert_eq!(of("/api/v1/users", "/api/v1/users"), Names::default());
        let accept = of("/api/v1/transfers/{token}/accept", "/api/v1/transfers/tra_secret/accept");
        assert_eq!(accept, Names::default(), "a token is no name");
    }
}
