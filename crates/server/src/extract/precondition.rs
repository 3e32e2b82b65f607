//! `ETag` and `If-Match`: a change made on top of somebody else's is refused, not merged by luck.

use axum::extract::FromRequestParts;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;
use latchstring_model::{Code, Problem};

use crate::problem::ApiError;

/// The version a caller edits on top of, when it says so. `*` and no header mean any.
pub struct IfMatch(pub Option<i64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        match value.to_str().map(str::trim) {
            Ok("*") => Ok(Self(None)),
            Ok(text) => match text.trim_start_matches("W/").trim_matches('"').parse() {
                Ok(version) => Ok(Self(Some(version))),
                // An ETag that we never gave cannot match.
                Err(_) => {
                    Err(Problem::new(Code::PreconditionFailed, "If-Match names no version of this thing.")
                        .hint("Read it again and send the ETag of that answer.")
                        .into())
                }
            },
            Err(_) => Err(Problem::new(Code::BadRequest, "If-Match is not text.")
                .hint("Read it again and send the ETag of that answer.")
                .into()),
        }
    }
}

/// The `ETag` header of a thing at `version`.
pub fn etag(version: i64) -> [(HeaderName, HeaderValue); 1] {
    let value =
        HeaderValue::try_from(format!("\"{version}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"0\""));
    [(header::ETAG, value)]
}
