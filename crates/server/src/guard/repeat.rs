//! `Idempotency-Key` on POST: see [`latchstring_broker::people::repeats`].
//!
//! The handler runs in a task of its own: a caller that hangs up must not leave an attempt half-way.
//!
//! Not every answer is kept: what an operation's call answers is the API's own and belongs to whoever may call
//! at that moment, what is shown once is shown once, and a large answer is not worth its room. In their place a
//! 409 is kept that says what the first request came to. Of a credential its fields are left out: each look at them is
//! recorded, and they end with it. A check asks an API and may be repeated, so nothing of it is kept.

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use latchstring_broker::people::repeats::Repeat;
use latchstring_broker::{Actor, Who};
use latchstring_model::{Code, Problem};
use serde_json::Value;

use crate::App;
use crate::extract::body::{self, LIMIT};
use crate::problem::{ApiError, MEDIA_TYPE};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Headers that make it another request: who it is for, and what it builds on.
const TELLING: [&str; 3] = ["latchstring-user", "latchstring-external-id", "if-match"];
/// Bytes of the largest answer that is kept.
const MOST_KEPT: usize = 64 * 1024;

/// Marks an answer that shows something once; it is not kept. The text names what was made.
#[derive(Clone)]
pub struct ShownOnce(pub String);

pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    match with_key(app, request, next).await {
        Ok(response) => response,
        Err(refused) => refused.into_response(),
    }
}

async fn with_key(app: App, request: Request, next: Next) -> Result<Response, ApiError> {
    let Some(key) = request.headers().get(KEY).filter(|_| request.method() == Method::POST) else {
        return Ok(next.run(request).await);
    };
    let Some(actor) =
        request.extensions().get::<Actor>().cloned().filter(|actor| {
            matches!(actor.who, Who::Person { .. } | Who::Service { .. } | Who::Account { .. })
        })
    else {
        // Who is nobody has no attempts: signing in twice is two sessions.
        return Ok(next.run(request).await);
    };
    let key = key.to_str().unwrap_or_default().to_owned();
    let (parts, rest) = request.into_parts();
    let bytes = body::read(Request::from_parts(parts.clone(), rest), &()).await?;
    let is_call = is_call(parts.uri.path());
    let is_check = is_check(parts.uri.path());
    let attempt = match app.broker().begin_attempt(&actor, &key, &telling(&parts, &bytes)).await? {
        Repeat::New(attempt) => attempt,
        Repeat::Answered(status, body) => return Ok(replayed(status, body)),
    };
    let request = Request::from_parts(parts, Body::from(bytes));
    let task = tokio::spawn(async move {
        let response = next.run(request).await;
        let (response, kept) = if is_check { (response, None) } else { keepable(response, is_call).await };
        if let Err(problem) = app.broker().end_attempt(*attempt, kept).await {
            // What was asked for is done; only its repetition will not be recognised.
            tracing::error!(problem = %problem, "an answer could not be kept for its Idempotency-Key");
        }
        response
    });
    task.await.map_err(|error| {
        tracing::error!(error = %error, "a handler did not end");
        Problem::new(Code::Internal, "Latchstring could not do that because of a fault of its own.")
            .hint("The server's log says more at this time.")
            .into()
    })
}

/// `…/credentials/{credential}/call/{operation}`, and whatever may come below it.
fn is_call(path: &str) -> bool {
    path.split_once("/credentials/").is_some_and(|(_, rest)| rest.contains("/call/"))
}

fn is_check(path: &str) -> bool {
    path.starts_with("/api/v1/credentials/") && path.ends_with("/verify")
}

/// An answer without what is read in a credential, and without what an API was asked and said.
fn without_values(answer: &[u8]) -> String {
    let Ok(mut answer) = serde_json::from_slice::<Value>(answer) else {
        return String::from_utf8_lossy(answer).into_owned();
    };
    leave_out(&mut answer);
    if let Some(approved) = answer.get_mut("credential") {
        leave_out(approved);
    }
    answer.to_string()
}

fn leave_out(answer: &mut Value) {
    let Some(answer) = answer.as_object_mut() else { return };
    for asked in ["request", "response", "upstream"] {
        answer.remove(asked);
    }
    let environments = answer.get_mut("environments").and_then(Value::as_object_mut);
    for values in environments.into_iter().flat_map(|environments| environments.values_mut()) {
        if let Some(values) = values.as_object_mut() {
            values.remove("fields");
            values.remove("destinations");
        }
    }
}

/// All that makes the request this one.
fn telling<'a>(parts: &'a Parts, body: &'a [u8]) -> Vec<&'a [u8]> {
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let mut telling = vec![target.as_bytes(), body];
    for name in TELLING {
        for value in parts.headers.get_all(name) {
            telling.extend([name.as_bytes(), value.as_bytes()]);
        }
    }
    telling
}

fn done_not_kept(detail: String, hint: &'static str) -> (u16, String) {
    let problem = Problem::new(Code::IdempotencyDone, detail).hint(hint);
    (problem.code.status(), problem.to_json().to_string())
}

/// The answer, and what of it is kept: nothing of refusals that may pass.
async fn keepable(response: Response, is_call: bool) -> (Response, Option<(u16, String)>) {
    let status = response.status();
    if status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::UNAUTHORIZED
    {
        return (response, None);
    }
    if is_call {
        // A refusal of ours: nothing was sent. (What an API refuses is a 502.)
        if !status.is_success() {
            return (response, None);
        }
        let kept = done_not_kept(
            format!(
                "The first request with this Idempotency-Key was done and answered with {}; what a call answers is not kept.",
                status.as_u16()
            ),
            "If you need the answer, make the call again with a new Idempotency-Key.",
        );
        return (response, Some(kept));
    }
    let shown = response.extensions().get::<ShownOnce>().cloned();
    if let Some(ShownOnce(what)) = shown {
        let kept = done_not_kept(
            format!(
                "{what} was made by the first request with this Idempotency-Key, and was shown then; it is not kept anywhere."
            ),
            "If you do not have it, end it and make another one with a new Idempotency-Key.",
        );
        return (response, Some(kept));
    }
    if response.body().size_hint().lower() > MOST_KEPT as u64 {
        return (response, Some(too_large(status)));
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 16 * LIMIT).await.unwrap_or_else(|_| Bytes::new());
    let kept =
        if bytes.len() > MOST_KEPT { too_large(status) } else { (status.as_u16(), without_values(&bytes)) };
    (Response::from_parts(parts, Body::from(bytes)), Some(kept))
}

fn too_large(status: StatusCode) -> (u16, String) {
    done_not_kept(
        format!(
            "The first request with this Idempotency-Key was done and answered with {}; that answer was too large to be kept.",
            status.as_u16()
        ),
        "Read what it made or changed; send the request with a new Idempotency-Key only if it shall be done once more.",
    )
}

fn replayed(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let media = if status.is_success() { "application/json" } else { MEDIA_TYPE };
    let empty = body.is_empty();
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    if empty {
        headers.remove(header::CONTENT_TYPE);
    } else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_of_operations_are_calls() {
        let staging = "/api/v1/projects/acme/environments/staging/credentials";
        assert!(is_call(&format!("{staging}/main/call/greet")));
        assert!(!is_call(&format!("{staging}/main/verify")));
        assert!(!is_call("/api/v1/projects/call/members"));
        assert!(is_check("/api/v1/credentials/crd_1/verify"));
        assert!(!is_check("/api/v1/projects/verify") && !is_check("/api/v1/credentials/crd_1/restore"));
    }

    #[test]
    fn what_an_api_said_and_what_fields_hold_is_left_out() {
        let kept = without_values(br#"{"id":"crd_1","environments":{"live":{"status":"verified","fields":{"a":"planted"},"destinations":["https://planted"]}},"request":{"url":"planted"}}"#);
        assert_eq!(kept, r#"{"id":"crd_1","environments":{"live":{"status":"verified"}}}"#);
        assert_eq!(without_values(b""), "");
        // Of a project, environments are a list.
        assert_eq!(without_values(br#"{"environments":["live"]}"#), r#"{"environments":["live"]}"#);
    }

    #[tokio::test]
    async fn a_large_answer_is_given_but_not_kept() {
        let answer = |len: usize| (StatusCode::CREATED, "x".repeat(len)).into_response();
        let (given, kept) = keepable(answer(MOST_KEPT), false).await;
        assert_eq!(to_bytes(given.into_body(), usize::MAX).await.map(|b| b.len()).ok(), Some(MOST_KEPT));
        assert_eq!(kept.map(|(status, body)| (status, body.len())), Some((201, MOST_KEPT)));
        let (given, kept) = keepable(answer(MOST_KEPT + 1), false).await;
        assert_eq!(to_bytes(given.into_body(), usize::MAX).await.map(|b| b.len()).ok(), Some(MOST_KEPT + 1));
        assert!(kept.is_some_and(|(status, body)| status == 409 && body.len() < 1024));
    }
}
