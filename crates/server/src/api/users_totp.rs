//! `/api/v1/users/{id}/totp`: the second factor of somebody who has lost it.

use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::path::Named;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(remove_users_totp))
}

/// Removes a person's second factor; for superusers, with a recent sign-in.
///
/// The person is told, and still needs their password (or the provider) to come in. Without one: 409.
#[utoipa::path(delete, path = "/api/v1/users/{id}/totp", tag = "Users", params(("id" = String, Path)), responses((status = 204, description = "Removed"), Refusals))]
async fn remove_users_totp(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
) -> ApiResult<StatusCode> {
    app.broker().remove_second_factor(&actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
