//! The one translation of a refusal into HTTP: RFC 9457 `application/problem+json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use latchstring_model::Problem;
use serde::Serialize;
use utoipa::openapi::response::Response as Described;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

pub const MEDIA_TYPE: &str = "application/problem+json";

/// What every handler returns on refusal.
pub struct ApiError(pub Box<Problem>);

pub type ApiResult<T> = Result<T, ApiError>;

impl From<Box<Problem>> for ApiError {
    fn from(problem: Box<Problem>) -> Self {
        Self(problem)
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.0;
        let status = StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(problem.to_json())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(secs) = problem.retry_after_secs {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110, 15.5.2: a 401 names a way in.
            headers
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"latchstring\""));
        }
        // For the layers around: what was refused, without reading the body again.
        response.extensions_mut().insert(Arc::<Problem>::from(problem));
        response
    }
}

/// Why a request was refused (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
#[allow(dead_code, reason = "it describes what Problem::to_json writes")]
struct ProblemBody {
    /// Where the code is explained.
    #[serde(rename = "type")]
    #[schema(example = "/docs/errors#invalid")]
    kind: String,
    /// The code in words.
    title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What happened, and why that usually is.
    detail: String,
    /// For programs: stays the same while texts may change.
    #[schema(example = "invalid")]
    code: String,
    /// What to do next.
    #[schema(required = false)]
    hint: Option<String>,
    /// What is wrong with the body, all at once.
    #[schema(required = false)]
    errors: Option<Vec<FieldError>>,
}

/// One field that is not right.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "it describes what Problem::to_json writes")]
struct FieldError {
    /// JSON pointer (RFC 6901) into the request body; empty for what stands elsewhere.
    pointer: String,
    detail: String,
}

/// For `responses(…)` of every endpoint: whatever is not a success is a problem.
pub struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new()
            .description("Refused: `code` says why, `hint` what to do next")
            .content(MEDIA_TYPE, content)
            .build();
        BTreeMap::from([("default".to_owned(), RefOr::T(response))])
    }
}

/// The schemas that [`Refusals`] refers to.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(ProblemBody, FieldError)))]
pub struct Schemas;
