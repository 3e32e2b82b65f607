//! The pages: plain HTML that works without a script, made on the server. One file per page; templates in
//! `templates/`, words in [`crate::texts`], style and scripts in `assets/`.
//!
//! How a page is written (copy [`projects::list`], or [`projects::new`] for one with a form):
//!
//! 1. **A struct** with its template: `f: Frame`, and what the page shows, ready to be written. Parts come from [`ui`].
//! 2. **`show`** takes [`frame::Signed`] first, asks use cases of the broker, never the API, and draws.
//! 3. **`send`**, for a form: the use case; then [`go::saying`] another page (post, redirect, get); or the same page
//!    once more with what was typed and [`ui::Wrong`] beside the fields. Secrets are never drawn.
//! 4. **The route**, in the group's `pages` function: a form's route names its action in the audit trail.
//! 5. **Tests**: what it shows and refuses in `tests/it/pages_*.rs`; in a real browser, with its accessibility, in
//!    `tests/e2e`.

mod account;
mod admin;
pub mod assets;
mod catalog;
mod connecting;
mod consent;
mod credentials;
mod docs;
mod entrance;
pub mod frame;
pub mod go;
mod own;
mod ownership;
mod projects;
pub mod routes;
mod start;
mod team;
pub mod ui;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use latchstring_model::Code;

use crate::App;
use crate::pages::frame::flash;
use crate::pages::frame::refused::{self, ForPeople};
use crate::pages::routes::Pages;
use crate::problem::MEDIA_TYPE;

/// A form that is sent in the background (`assets/js/stay.js`): it is told where to go, instead of being sent there.
pub const FORM: HeaderName = HeaderName::from_static("latchstring-form");
pub const GO: HeaderName = HeaderName::from_static("latchstring-go");

pub fn pages() -> Pages {
    Pages::default()
        .show("/", start::show)
        .send("/theme", "", frame::theme::choose)
        .with(entrance::pages)
        .with(projects::pages)
        .with(credentials::pages)
        .with(team::pages)
        .with(own::pages)
        .with(ownership::pages)
        .with(docs::pages)
        .with(account::pages)
        .with(admin::pages)
        .with(connecting::pages)
        .show("/oauth/start/{token}", consent::start)
        .show("/oauth/callback/{client}", consent::callback)
}

/// What is read without an account.
pub fn open_router() -> Router<App> {
    Router::new()
        .route("/assets/{digest}/{name}", get(assets::get))
        .route("/connect.js", get(assets::connect))
}

/// For people in a browser: a refusal is a page, who is not signed in is shown the way in, what was said once is not
/// said again, and a form that stays is told where to go.
pub async fn for_people(request: Request, next: Next) -> Response {
    let ask = request.headers().clone();
    let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let is_get = request.method() == axum::http::Method::GET;
    let wants_html = !path.starts_with("/api/")
        && ask
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("text/html"));
    let mut response = next.run(request).await;
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_problem = kind == Some(MEDIA_TYPE.as_bytes());
    let is_page = kind.is_some_and(|kind| kind.starts_with(b"text/html"));
    if is_problem
        && (wants_html || response.extensions().get::<ForPeople>().is_some())
        && let Some(problem) = refused::problem_of(&response)
    {
        if problem.code == Code::Unauthenticated && wants_html {
            let back =
                if is_get && path != "/" { format!("?return_to={}", go::part(&path)) } else { String::new() };
            return Redirect::to(&format!("/sign-in{back}")).into_response();
        }
        if problem.code != Code::RecentSignInRequired {
            let mut page = refused::page(&problem, &ask);
            page.extensions_mut().insert(problem);
            return page;
        }
        // What was wanted is wanted again afterwards, on the page where it is.
        let back = refused::came_from(&ask).map(|from| format!("?return_to={}", go::part(&from)));
        response = go::to(&format!("/confirm{}", back.unwrap_or_default()));
        response.extensions_mut().insert(problem);
    }
    if is_page && flash::brought(&ask) {
        response.headers_mut().append(header::SET_COOKIE, flash::gone());
    }
    if ask.contains_key(FORM)
        && response.status() == StatusCode::SEE_OTHER
        && let Some(to) = response.headers_mut().remove(header::LOCATION)
    {
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(GO, to);
    }
    response
}
