//! `Idempotency-Key` on POST: see [`latchstring_broker::people::repeats`].
//!
//! The handler runs in a task of its own: a caller that hangs up must not leave an attempt half-way.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use latchstring_broker::people::repeats::Repeat;
use latchstring_broker::{Actor, Who};
use latchstring_model::{Code, Problem};

use crate::App;
use crate::extract::body::{self, LIMIT};
use crate::problem::{ApiError, MEDIA_TYPE};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

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
    let Some(actor) = request
        .extensions()
        .get::<Actor>()
        .cloned()
        .filter(|actor| matches!(actor.who, Who::Person { .. } | Who::Service { .. }))
    else {
        // Who is nobody has no attempts: signing in twice is two sessions.
        return Ok(next.run(request).await);
    };
    let key = key.to_str().unwrap_or_default().to_owned();
    let (parts, rest) = request.into_parts();
    let bytes = body::read(Request::from_parts(parts.clone(), rest), &()).await?;
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let attempt = match app.broker().begin_attempt(&actor, &key, &[target.as_bytes(), &bytes]).await? {
        Repeat::New(attempt) => attempt,
        Repeat::Answered(status, body) => return Ok(replayed(status, body)),
    };
    let request = Request::from_parts(parts, Body::from(bytes));
    let task = tokio::spawn(async move {
        let (response, kept) = keepable(next.run(request).await).await;
        if let Err(problem) = app.broker().end_attempt(attempt, kept).await {
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

/// The answer, and what of it is kept: nothing of refusals that may pass.
async fn keepable(response: Response) -> (Response, Option<(u16, String)>) {
    let status = response.status();
    if status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::UNAUTHORIZED
    {
        return (response, None);
    }
    let shown = response.extensions().get::<ShownOnce>().cloned();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 16 * LIMIT).await.unwrap_or_else(|_| Bytes::new());
    let kept = match shown {
        Some(ShownOnce(what)) => {
            let problem = Problem::new(Code::Conflict, format!("{what} was made by the first request with this Idempotency-Key, and was shown then; it is not kept anywhere."))
                .hint("If you do not have it, end it and make another one with a new Idempotency-Key.");
            (problem.code.status(), problem.to_json().to_string())
        }
        None => (status.as_u16(), String::from_utf8_lossy(&bytes).into_owned()),
    };
    (Response::from_parts(parts, Body::from(bytes)), Some(kept))
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
