//! Headers of every answer, and its line in the log.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::App;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// Of what is shown in a window that another page has opened, on the way back from a provider too: one answer without it
/// parts the two for good.
pub const STAYS_KNOWN: HeaderValue = HeaderValue::from_static("unsafe-none");
const LONGEST_ID: usize = 64;

/// Everything from our own origin, nothing inline, nobody frames us.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// `same-origin` and not `no-referrer`: with the latter browsers send `Origin: null` from our own forms.
const FIXED: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (OPENER, "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// A caller's own id is kept if it is short and plain: it goes into the log.
fn given(value: &HeaderValue) -> Option<HeaderValue> {
    let plain =
        |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/' | b'=' | b'+');
    let bytes = value.as_bytes();
    ((1..=LONGEST_ID).contains(&bytes.len()) && bytes.iter().all(plain)).then(|| value.clone())
}

pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).and_then(given);
    let id = id
        .or_else(|| HeaderValue::try_from(app.door().request_id()).ok())
        .unwrap_or(HeaderValue::from_static("-"));
    let method = request.method().clone();
    // The pattern and not the path: a path can hold a link's token or a person's address.
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "-".to_owned(), |path| path.as_str().to_owned());
    let began = app.broker().now();
    let mut response = next.run(request).await;
    let took = app.broker().now().millis() - began.millis();
    let status = response.status();
    let shown = id.to_str().unwrap_or("-");
    if status.is_server_error() {
        tracing::warn!(%method, path, status = status.as_u16(), took_ms = took, request_id = shown, "answered");
    } else {
        tracing::debug!(%method, path, status = status.as_u16(), took_ms = took, request_id = shown, "answered");
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    // The page that opened the window is told the result: the two have to know of each other. Nobody frames it.
    if path.starts_with("/connect/") {
        headers.insert(OPENER, STAYS_KNOWN);
    }
    for (name, value) in FIXED {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
