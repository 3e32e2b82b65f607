//! `/api/v1/me`: one's own account.

use axum::extract::State;
use axum::response::IntoResponse;
use latchstring_broker::people::Names;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::api::users::{User, shown};
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::precondition::IfMatch;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_me, change_me))
}

/// Who I am: also for a key of scope call.
#[utoipa::path(get, path = "/api/v1/me", tag = "Me", responses((status = 200, body = User), Refusals))]
async fn get_me(State(app): State<App>, Acting(actor): Acting) -> ApiResult<impl IntoResponse> {
    Ok(shown(app.broker().me(&actor).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeMe {
    /// At most 200 characters, as all of them.
    name: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    /// An empty one removes it.
    username: Option<String>,
}

/// Changes my names. Templates see them as `user`.
#[utoipa::path(patch, path = "/api/v1/me", tag = "Me", params(("If-Match" = Option<String>, Header, description = "The `ETag` that is edited")), request_body = ChangeMe, responses((status = 200, body = User), Refusals))]
async fn change_me(
    State(app): State<App>,
    Acting(actor): Acting,
    IfMatch(version): IfMatch,
    Body(body): Body<ChangeMe>,
) -> ApiResult<impl IntoResponse> {
    let names = Names {
        name: body.name,
        first_name: body.first_name,
        last_name: body.last_name,
        username: body.username,
    };
    Ok(shown(app.broker().change_me(&actor, names, version).await?))
}
