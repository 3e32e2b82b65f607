//! `/api/v1/me/password`.

use axum::extract::State;
use axum::http::StatusCode;
use latchstring_broker::people::me::ChangePassword;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::secret::Secret;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(change_password))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    /// Left out by an account that has no password yet.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password, write_only)]
    current_password: Option<Secret>,
    /// 8 characters to 256 bytes.
    #[schema(value_type = String, format = Password, write_only)]
    new_password: Secret,
}

/// Changes my password, in a session with a recent sign-in; all my other sessions end.
///
/// Keys and a second factor stay as they are. I am told by mail. Tries are counted as for signing in (429).
#[utoipa::path(put, path = "/api/v1/me/password", tag = "Me", request_body = NewPassword, responses((status = 204, description = "Changed"), Refusals))]
async fn change_password(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(body): Body<NewPassword>,
) -> ApiResult<StatusCode> {
    let change = ChangePassword {
        current: body.current_password.map(|password| password.0),
        new: body.new_password.0,
    };
    app.door().change_password(&actor, change).await?;
    Ok(StatusCode::NO_CONTENT)
}
