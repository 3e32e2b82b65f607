//! `/api/v1/me/sessions`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchstring_broker::people;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::page::Listed;
use crate::extract::path::Named;
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_my_sessions, end_my_other_sessions))
        .routes(routes!(end_my_session))
}

#[derive(Serialize, ToSchema)]
struct Session {
    id: String,
    created_at: Time,
    /// To about five minutes.
    seen_at: Time,
    expires_at: Time,
    /// Where it was opened from.
    address: String,
    /// The browser's `User-Agent`.
    agent: String,
    /// Whether it is the one that asks.
    current: bool,
    /// Whether a second factor was shown in it, here or at the provider.
    second_factor: bool,
}

impl From<people::sessions::Session> for Session {
    fn from(session: people::sessions::Session) -> Self {
        Self {
            id: session.id.to_string(),
            created_at: session.created_at.into(),
            seen_at: session.seen_at.into(),
            expires_at: session.expires_at.into(),
            address: session.address,
            agent: session.agent,
            current: session.current,
            second_factor: session.second_factor,
        }
    }
}

/// My living sessions, newest first, at most 200 on the one page there is; in a session.
#[utoipa::path(get, path = "/api/v1/me/sessions", tag = "Me", responses((status = 200, body = Listed<Session>), Refusals))]
async fn list_my_sessions(State(app): State<App>, Acting(actor): Acting) -> ApiResult<Json<Listed<Session>>> {
    let sessions = app.broker().sessions(&actor).await?;
    Ok(Json(Listed { items: sessions.into_iter().map(Session::from).collect(), next_cursor: None }))
}

/// Ends all my sessions but this one.
#[utoipa::path(delete, path = "/api/v1/me/sessions", tag = "Me", responses((status = 204, description = "Ended"), Refusals))]
async fn end_my_other_sessions(State(app): State<App>, Acting(actor): Acting) -> ApiResult<StatusCode> {
    app.broker().end_other_sessions(&actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends one of my sessions.
#[utoipa::path(delete, path = "/api/v1/me/sessions/{id}", tag = "Me", params(("id" = String, Path)), responses((status = 204, description = "Ended"), Refusals))]
async fn end_my_session(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
) -> ApiResult<StatusCode> {
    app.broker().end_session(&actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
