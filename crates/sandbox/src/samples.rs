//! Answers to try a client with: an echo, a stream of events, a limit, any status.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use http_body::Frame;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Interval, MissedTickBehavior};

use crate::Sandbox;
use crate::refusal::Refusal;

/// Headers that carry a credential, or may.
const SECRET_HEADERS: &[&str] = &["authorization", "proxy-authorization", "cookie", "x-api-key"];

#[derive(Deserialize)]
pub struct EchoOptions {
    /// A careless API would do this: it shows that the masking is then done by whoever forwards.
    #[serde(default)]
    unmasked: bool,
}

/// What arrived: method, path, query, headers, body.
pub async fn echo(
    Query(options): Query<EchoOptions>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Json<Value> {
    let mut shown = Map::new();
    for name in headers.keys() {
        let secret = SECRET_HEADERS.contains(&name.as_str()) && !options.unmasked;
        let values: Vec<String> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .map(|value| if secret { masked(&value) } else { value.into_owned() })
            .collect();
        shown.insert(name.to_string(), json!(values.join(", ")));
    }
    Json(json!({
        "method": method.as_str(),
        "path": uri.path(),
        "query": uri.query(),
        "headers": shown,
        "body": String::from_utf8_lossy(&body),
        "body_bytes": body.len(),
    }))
}

/// Enough to see that something arrived, and which scheme it was.
fn masked(value: &str) -> String {
    match value.split_once(' ') {
        Some((scheme, rest)) => format!("{scheme} ({} characters, masked)", rest.chars().count()),
        None => format!("({} characters, masked)", value.chars().count()),
    }
}

#[derive(Deserialize)]
pub struct EventOptions {
    count: Option<u32>,
    interval_ms: Option<u64>,
}

/// Server-sent events: `?count=` of them (5, at most 1,000), one every `?interval_ms=` (500).
pub async fn events(Query(options): Query<EventOptions>) -> Response {
    let every = Duration::from_millis(options.interval_ms.unwrap_or(500).clamp(1, 60_000));
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = Events { interval, sent: 0, count: options.count.unwrap_or(5).min(1000) };
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::new(events)).into_response()
}

struct Events {
    interval: Interval,
    sent: u32,
    count: u32,
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.sent == self.count {
            return Poll::Ready(None);
        }
        match self.interval.poll_tick(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => {
                self.sent += 1;
                let data = json!({"number": self.sent, "of": self.count});
                let text = format!("id: {}\nevent: tick\ndata: {data}\n\n", self.sent);
                Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))))
            }
        }
    }
}

/// Three requests in ten seconds, for all callers together.
#[derive(Default)]
pub struct Limit(Mutex<VecDeque<i64>>);

const LIMIT: usize = 3;
const WINDOW: i64 = 10;

pub async fn limited(State(sandbox): State<Arc<Sandbox>>) -> Result<Response, Refusal> {
    let now = sandbox.now();
    let mut seen = sandbox.limit.0.lock().unwrap_or_else(PoisonError::into_inner);
    while seen.front().is_some_and(|at| *at + WINDOW <= now) {
        seen.pop_front();
    }
    let reset = seen.front().map_or(WINDOW, |first| first + WINDOW - now);
    if seen.len() >= LIMIT {
        return Err(Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            format!("This address takes {LIMIT} requests in {WINDOW} seconds."),
            format!("Try again in {reset} seconds."),
        )
        .with(header::RETRY_AFTER, reset.to_string())
        .with(HeaderName::from_static("x-ratelimit-limit"), LIMIT.to_string())
        .with(HeaderName::from_static("x-ratelimit-remaining"), "0")
        .with(HeaderName::from_static("x-ratelimit-reset"), reset.to_string()));
    }
    seen.push_back(now);
    let left = LIMIT - seen.len();
    let mut response = Json(json!({"remaining": left})).into_response();
    let headers = response.headers_mut();
    headers.insert("x-ratelimit-limit", HeaderValue::from(LIMIT));
    headers.insert("x-ratelimit-remaining", HeaderValue::from(left));
    headers.insert("x-ratelimit-reset", HeaderValue::from(reset));
    Ok(response)
}

/// Any status that an API can give, to see what becomes of it.
pub async fn status(Path(code): Path<u16>) -> Response {
    match StatusCode::from_u16(code) {
        Ok(status) if !status.is_informational() => {
            let text = status.canonical_reason().unwrap_or("no name");
            // A body here would be a lie about the message's length.
            if matches!(status.as_u16(), 204 | 304) {
                return status.into_response();
            }
            (status, Json(json!({"status": code, "reason": text}))).into_response()
        }
        _ => Refusal::new(
            StatusCode::BAD_REQUEST,
            "no_status",
            format!("{code} is no status that can be asked for."),
            "Take one from 200 to 599.",
        )
        .into_response(),
    }
}
