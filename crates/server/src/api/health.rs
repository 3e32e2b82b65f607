//! For whoever watches the process: no key needed, nothing told but what they need.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use crate::App;

pub fn router() -> Router<App> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
}

/// The process is up.
async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Requests can be served: database, key, migrations and journal are good.
async fn readyz(State(app): State<App>) -> impl IntoResponse {
    let checks = (app.options().ready)().await;
    let ready = checks.iter().all(|check| check.trouble.is_none());
    let list: Map<String, Value> = checks
        .into_iter()
        .map(|check| (check.name.to_owned(), check.trouble.unwrap_or_else(|| "ok".into()).into()))
        .collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"status": if ready { "ready" } else { "not_ready" }, "checks": list})))
}

/// Prometheus text, version 0.0.4.
async fn metrics(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (app.options().metrics)())
}
