//! `/docs/errors`: where a problem's `type` points, with an anchor for every code.

use std::sync::LazyLock;

use askama::Template;
use axum::http::HeaderMap;
use axum::response::Response;
use pulldown_cmark::{Options, Parser};

use crate::pages::frame::{Frame, html};

/// Our own text, so its HTML is trusted.
const ERRORS: &str = include_str!("../../../../docs/errors.md");

static RENDERED: LazyLock<String> = LazyLock::new(|| {
    let mut page = String::with_capacity(2 * ERRORS.len());
    pulldown_cmark::html::push_html(&mut page, Parser::new_ext(ERRORS, Options::ENABLE_TABLES));
    page
});

#[derive(Template)]
#[template(path = "docs.html")]
struct Page<'a> {
    f: Frame,
    title: &'a str,
    body: &'a str,
}

pub async fn errors(headers: HeaderMap) -> Response {
    let f = Frame::bare(&headers, "/docs/errors".to_owned());
    html(axum::http::StatusCode::OK, &Page { f, title: "Errors", body: &RENDERED })
}
