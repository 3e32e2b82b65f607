//! The pages: plain HTML that works without a script. One file per page; templates in `templates/`.

mod account;
mod confirm;
mod consent;
mod docs;
mod forgotten;
pub mod frame;
mod invite;
mod key;
mod reset;
mod setup;
mod sign_in;
mod sign_in_code;
mod sign_in_provider;
mod start;
mod totp;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use latchstring_model::{Code, Problem};

use crate::App;
use crate::problem::MEDIA_TYPE;

pub fn router() -> Router<App> {
    Router::new()
        .route("/", get(start::show))
        .route("/setup/{token}", get(setup::show).post(setup::send))
        .route("/sign-in", get(sign_in::show).post(sign_in::send))
        .route("/sign-out", post(sign_in::leave))
        .route("/sign-in/code/{id}", get(sign_in_code::show).post(sign_in_code::send))
        .route("/sign-in/provider", get(sign_in_provider::begin))
        .route("/sign-in/provider/{token}", get(sign_in_provider::open))
        .route("/sign-in/callback", get(sign_in_provider::callback))
        .route("/forgotten", get(forgotten::show).post(forgotten::send))
        .route("/reset/{token}", get(reset::show).post(reset::send))
        .route("/confirm", get(confirm::show).post(confirm::send))
        .route("/confirm/provider", post(confirm::at_provider))
        .route("/account", get(account::show))
        .route("/account/password", post(account::password))
        .route("/account/link", post(account::link))
        .route("/account/unlink", post(account::unlink))
        .route("/account/sessions", post(account::end_sessions))
        .route("/account/totp", post(totp::offer))
        .route("/account/totp/confirm", post(totp::confirm))
        .route("/account/totp/codes", post(totp::codes))
        .route("/account/totp/remove", post(totp::remove))
        .route("/invite/{token}", get(invite::show).post(invite::send))
        .route("/invite/{token}/provider", get(invite::at_provider))
        .route("/keys", post(key::make))
        .route("/oauth/start/{token}", get(consent::start))
        .route("/oauth/callback/{client}", get(consent::callback))
}

/// What is read without an account.
pub fn open_router() -> Router<App> {
    Router::new().route("/docs/errors", get(docs::errors)).route("/assets/style.css", get(style))
}

/// For people in a browser a refusal is a page, and who is not signed in is shown the way in.
pub async fn in_html(request: Request, next: Next) -> Response {
    let wants_html = !request.uri().path().starts_with("/api/")
        && request
            .headers()
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("text/html"));
    let response = next.run(request).await;
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes() == MEDIA_TYPE.as_bytes());
    if !wants_html || !is_problem {
        return response;
    }
    match response.extensions().get::<Arc<Problem>>() {
        Some(problem) if problem.code == Code::Unauthenticated => Redirect::to("/sign-in").into_response(),
        Some(problem) => frame::refused(problem),
        None => response,
    }
}

async fn style() -> impl IntoResponse {
    const STYLE: &str = include_str!("../../templates/style.css");
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=3600")],
        STYLE,
    )
}
