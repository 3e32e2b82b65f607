//! What pages have in common: HTML answers, and refusals as a page.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use latchstring_model::{Code, Problem};

use crate::problem::ApiError;

/// A refusal that ends the way: a link that is void, a form that was cut off.
#[derive(Template)]
#[template(path = "refused.html")]
struct Refusal<'a> {
    title: &'a str,
    detail: &'a str,
    hint: &'a str,
}

pub fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

pub fn status(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

pub fn refused(problem: &Problem) -> Response {
    let page = Refusal {
        title: problem.code.title(),
        detail: &problem.detail,
        hint: problem.hint.as_deref().unwrap_or_default(),
    };
    html(status(problem), &page)
}

/// A handler's refusal as a page.
pub struct Refused(pub ApiError);

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
        let mut response = match self.0.0.code {
            // What was wanted is wanted again afterwards, on the page where it is.
            Code::RecentSignInRequired => Redirect::to("/confirm").into_response(),
            _ => refused(&self.0.0),
        };
        response.extensions_mut().insert(std::sync::Arc::<Problem>::from(self.0.0));
        response
    }
}

/// What a form shows above itself after it was refused: one line per thing that is wrong.
pub fn lines(problem: &Problem) -> Vec<String> {
    if problem.errors.is_empty() {
        let hint = problem.hint.as_deref().unwrap_or_default();
        return vec![format!("{} {hint}", problem.detail).trim().to_owned()];
    }
    problem
        .errors
        .iter()
        .map(|error| {
            format!("{}: {}", error.pointer.trim_start_matches('/').replace(['/', '_'], " "), error.detail)
        })
        .collect()
}
