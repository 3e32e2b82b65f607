//! The pages: plain HTML that works without a script. One file per page; templates in `templates/`.

mod consent;
pub mod frame;
mod invite;
mod key;
mod setup;
mod sign_in;
mod start;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{get, post};

use crate::App;

pub fn router() -> Router<App> {
    Router::new()
        .route("/", get(start::show))
        .route("/setup/{token}", get(setup::show).post(setup::send))
        .route("/sign-in", get(sign_in::show).post(sign_in::send))
        .route("/sign-out", post(sign_in::leave))
        .route("/invite/{token}", get(invite::show).post(invite::send))
        .route("/keys", post(key::make))
        .route("/oauth/start/{token}", get(consent::start))
        .route("/oauth/callback/{client}", get(consent::callback))
}

pub async fn style() -> impl IntoResponse {
    const STYLE: &str = include_str!("../../templates/style.css");
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=3600")],
        STYLE,
    )
}
