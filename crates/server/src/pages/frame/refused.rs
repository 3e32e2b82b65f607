//! A refusal as a page: what happened, why that usually is, what to do next.

use std::sync::Arc;

use askama::Template;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use latchstring_model::Problem;

use super::{Frame, html, status};
use crate::problem::ApiError;
use crate::texts::Rich;

/// A refusal that ends the way: a link that is void, a page of somebody else's.
#[derive(Template)]
#[template(path = "refused.html")]
struct Page<'a> {
    f: Frame,
    problem: &'a Problem,
    /// Where the person came from, if that was here.
    back: Option<String>,
}

impl Page<'_> {
    fn rich(&self, text: &str) -> Rich {
        Rich::of(text)
    }
}

/// The page that a browser came from, if it is one of ours.
pub fn came_from(headers: &HeaderMap) -> Option<String> {
    let referer = headers.get(header::REFERER)?.to_str().ok()?;
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let (_, rest) = referer.split_once("://")?;
    let path = rest.strip_prefix(host)?;
    (path.starts_with('/') && !path.starts_with("//")).then(|| path.to_owned())
}

pub fn page(problem: &Problem, headers: &HeaderMap) -> Response {
    let back = came_from(headers);
    let path = back.clone().unwrap_or_else(|| "/".to_owned());
    let page = Page { f: Frame::bare(headers, path), problem, back };
    html(status(problem), &page)
}

/// A handler's refusal as a page, whatever the client says that it accepts.
pub struct Refused(pub ApiError);

/// Marks an answer that is to be shown as a page.
#[derive(Clone, Copy)]
pub struct ForPeople;

impl From<Box<Problem>> for Refused {
    fn from(problem: Box<Problem>) -> Self {
        Self(ApiError(problem))
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        response.extensions_mut().insert(ForPeople);
        response
    }
}

/// The problem of an answer, if it is one.
pub fn problem_of(response: &Response) -> Option<Arc<Problem>> {
    response.extensions().get::<Arc<Problem>>().cloned()
}
