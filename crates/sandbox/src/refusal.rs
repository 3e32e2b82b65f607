//! How the sandbox says no: what happened, and what to do.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: String,
    headers: Vec<(HeaderName, String)>,
}

impl Refusal {
    pub fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { status, code, message: message.into(), hint: hint.into(), headers: Vec::new() }
    }

    /// RFC 9110 section 11.6.1: a 401 names how to do better.
    pub fn unauthorized(
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
        challenge: &str,
    ) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, message, hint).with(header::WWW_AUTHENTICATE, challenge)
    }

    pub fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": self.code, "message": self.message, "hint": self.hint});
        let mut response = (self.status, Json(body)).into_response();
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}
