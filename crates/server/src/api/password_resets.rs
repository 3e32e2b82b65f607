//! `/api/v1/password-resets`: a new password for somebody who forgot theirs.

use axum::extract::State;
use axum::http::StatusCode;
use latchstring_broker::people::reset::Reset;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Anyone;
use crate::extract::body::Body;
use crate::extract::secret::Secret;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(ask_for_reset)).routes(routes!(reset_password))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AskForReset {
    #[schema(format = Email)]
    email: String,
}

/// Asks for a link by mail, with which one chooses a new password; it works once, for an hour.
///
/// The answer is the same whoever has that address. Three at once for an account, then one per ten minutes (429).
/// Where the server sends no mail: 409 `not_set_up`; a command prints the link.
#[utoipa::path(post, path = "/api/v1/password-resets", tag = "Sessions", security(()), request_body = AskForReset, responses((status = 202, description = "If that address has an account with a password, a mail is on its way"), Refusals))]
async fn ask_for_reset(
    State(app): State<App>,
    Anyone(actor): Anyone,
    Body(body): Body<AskForReset>,
) -> ApiResult<StatusCode> {
    app.door().ask_for_reset(&body.email, actor.address).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResetPassword {
    /// What stands behind `/reset/` in the link.
    #[schema(value_type = String, format = Password, write_only)]
    token: Secret,
    /// 8 characters to 256 bytes.
    #[schema(value_type = String, format = Password, write_only)]
    password: Secret,
}

/// Sets a new password and uses the link up. It signs nobody in, and a second factor stays.
///
/// All sessions end, the person is told, and owner rights rest for a day (403 `owner_frozen`).
#[utoipa::path(post, path = "/api/v1/password-resets/accept", tag = "Sessions", security(()), request_body = ResetPassword, responses((status = 204, description = "Set"), Refusals))]
async fn reset_password(
    State(app): State<App>,
    Anyone(actor): Anyone,
    Body(body): Body<ResetPassword>,
) -> ApiResult<StatusCode> {
    let reset = Reset { token: body.token.0, password: body.password.0 };
    app.door().reset_password(reset, actor.address).await?;
    Ok(StatusCode::NO_CONTENT)
}
