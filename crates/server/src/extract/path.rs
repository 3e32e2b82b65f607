//! Parts of the path and of the query, with problems instead of plain text.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use latchstring_model::{Code, Problem};
use serde::de::DeserializeOwned;

use crate::problem::ApiError;

/// What the path names: slugs, ids, e-mail addresses, percent-decoded once.
pub struct Named<T>(pub T);

/// What stands behind the `?`. Names that nobody asks for are refused where the type says so.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let read = Path::<T>::from_request_parts(parts, state).await;
        read.map(|Path(names)| Self(names)).map_err(|_| {
            Problem::new(Code::BadRequest, "A part of the path is not percent-encoded UTF-8.")
                .hint("Percent-encode names that stand in a path.")
                .into()
        })
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let read = Query::<T>::from_request_parts(parts, state).await;
        read.map(|Query(asked)| Self(asked)).map_err(|error| {
            let text = error.body_text();
            let why = text.rsplit("string: ").next().unwrap_or("it is not understood").to_owned();
            Problem::new(Code::Invalid, format!("The query is not right: {why}"))
                .hint("GET /api/v1/openapi.json lists what this address reads.")
                .into()
        })
    }
}
