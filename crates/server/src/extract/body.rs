//! A JSON body, with problems that point at the field.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use latchstring_model::{Code, FieldError, Problem};
use serde::de::DeserializeOwned;

use crate::problem::ApiError;

/// A JSON body is held in memory: definitions and keys are small, a mebibyte is plenty.
pub const LIMIT: usize = 1024 * 1024;

/// A JSON body of the wanted shape. Unknown fields are refused (types carry `deny_unknown_fields`).
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind =
            request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let kind = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        if !kind.is_empty() && kind != "application/json" && !kind.ends_with("+json") {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                format!("The body is {kind}; this address reads application/json."),
            )
            .hint("Send `Content-Type: application/json`.")
            .into());
        }
        let bytes = read(request, state).await?;
        parse(&bytes).map(Self)
    }
}

/// For a whole body. Who sends slower than that holds a place that others need, before we know who it is.
const WITHIN: Duration = Duration::from_secs(30);

/// Waits for what reads a body, and not longer than a body may take.
pub async fn in_time<T>(reading: impl Future<Output = T>) -> Result<T, ApiError> {
    tokio::time::timeout(WITHIN, reading).await.map_err(|_| {
        Problem::new(
            Code::RequestTimeout,
            format!("The body did not come whole within {} seconds; nothing was done.", WITHIN.as_secs()),
        )
        .hint("Send it again, all at once. A body that never comes usually means a wrong Content-Length.")
        .into()
    })
}

/// The whole body, up to [`LIMIT`].
pub async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    in_time(Bytes::from_request(request, state)).await?.map_err(|_| {
        Problem::new(Code::BodyTooLarge, format!("The body is larger than {LIMIT} bytes or was cut off."))
            .hint("Send a smaller body.")
            .into()
    })
}

/// Parses, and points at what is wrong.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let inner = error.inner();
        if inner.is_syntax() || inner.is_eof() {
            return Problem::new(Code::BadRequest, format!("The body is not JSON: {inner}"))
                .hint("Check quotes, commas and brackets at that place.");
        }
        Problem::invalid(vec![FieldError::new(pointer(error.path()), strip_position(&inner.to_string()))])
    })?;
    reader.end().map_err(|error| {
        Problem::new(Code::BadRequest, format!("After the JSON body something follows: {error}"))
            .hint("Send one JSON value and nothing behind it.")
    })?;
    Ok(value)
}

/// serde's text repeats values only for enum variants and unknown names, never for strings' contents… except
/// "invalid type: string \"…\"": there the value is dropped, since it may be a secret in the wrong field.
fn strip_position(text: &str) -> String {
    let text = text.split(" at line ").next().unwrap_or(text);
    match (
        text.find("invalid type: string \"").or_else(|| text.find("invalid value: string \"")),
        text.rfind("\", expected"),
    ) {
        (Some(_), Some(end)) => format!("a text{}", text.get(end + 1..).unwrap_or_default()),
        _ => text.to_owned(),
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")))
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        #[allow(dead_code)]
        name: String,
        #[allow(dead_code)]
        list: Vec<u32>,
    }

    fn refused(text: &str) -> Box<Problem> {
        match parse::<Wanted>(text.as_bytes()) {
            Err(error) => error.0,
            Ok(value) => panic!("{value:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_not_waited_for() {
        let never = axum::body::Body::new(Never);
        let request = Request::builder().method("POST").body(never);
        let problem = match request {
            Ok(request) => read(request, &()).await.err().map(|error| error.0.code),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(problem, Some(Code::RequestTimeout));
    }

    /// A body of which a byte comes now and then, and never the last.
    struct Never;

    impl axum::body::HttpBody for Never {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            let waker = cx.waker().clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                waker.wake();
            });
            std::task::Poll::Pending
        }
    }

    #[test]
    fn problems_point_at_the_field() {
        let problem = refused(r#"{"name": "a", "list": [1, "hunter22"]}"#);
        assert_eq!(problem.errors[0].pointer, "/list/1");
        assert!(!problem.errors[0].detail.contains("hunter22"), "{}", problem.errors[0].detail);
        assert_eq!(refused(r#"{"nam": "a"}"#).errors[0].pointer, "/nam");
        assert_eq!(refused("{").code, Code::BadRequest);
        assert_eq!(refused(r#"{"name": "a", "list": []} x"#).code, Code::BadRequest);
    }
}
