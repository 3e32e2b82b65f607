//! `/api/v1/invites`: a way in for people without a password.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use latchstring_broker::people;
use latchstring_broker::people::Names;
use latchstring_broker::people::invites::Accept;
use latchstring_broker::people::users::NewUser;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::api::session::{agent, set_cookie};
use crate::api::users::User;
use crate::extract::actor::{Acting, Anyone};
use crate::extract::body::Body;
use crate::extract::secret::Secret;
use crate::extract::time::Time;
use crate::guard::repeat::ShownOnce;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(invite)).routes(routes!(accept_invite))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewInvite {
    #[schema(format = Email)]
    email: String,
    /// At most 200 characters, as all names.
    name: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    username: Option<String>,
    #[serde(default)]
    superuser: bool,
}

#[derive(Serialize, ToSchema)]
struct Invited {
    user: User,
    /// For the person alone; works once. Shown now and never again.
    #[schema(value_type = String, example = "https://latchstring.example.org/invite/usr_…")]
    url: people::ShownOnce,
    /// Seven days from now.
    expires_at: Time,
}

/// Makes an account without a password, if there is none, and a link for its person.
///
/// For superusers. An earlier link is void. Whoever has a password needs no link (409).
#[utoipa::path(post, path = "/api/v1/invites", tag = "Users", request_body = NewInvite, responses((status = 201, body = Invited), Refusals))]
async fn invite(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(body): Body<NewInvite>,
) -> ApiResult<impl IntoResponse> {
    let names = Names {
        name: body.name,
        first_name: body.first_name,
        last_name: body.last_name,
        username: body.username,
    };
    let new = NewUser { email: body.email, names, superuser: body.superuser, password: None };
    let invited = app.broker().invite(&actor, new).await?;
    let once = Extension(ShownOnce(format!("The invitation of {}", invited.user.id)));
    Ok((
        StatusCode::CREATED,
        once,
        Json(Invited { user: invited.user.into(), url: invited.url, expires_at: invited.expires_at.into() }),
    ))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AcceptInvite {
    /// What stands behind `/invite/` in the link.
    #[schema(value_type = String, format = Password, write_only)]
    token: Secret,
    /// 8 characters to 256 bytes.
    #[schema(value_type = String, format = Password, write_only)]
    password: Secret,
}

/// Accepts an invitation: sets the password and signs in.
#[utoipa::path(post, path = "/api/v1/invites/accept", tag = "Sessions", security(()), request_body = AcceptInvite, responses((status = 200, body = User), Refusals))]
async fn accept_invite(
    State(app): State<App>,
    Anyone(actor): Anyone,
    headers: HeaderMap,
    Body(body): Body<AcceptInvite>,
) -> ApiResult<impl IntoResponse> {
    let accept = Accept { token: body.token.0, password: body.password.0, agent: agent(&headers) };
    let entered = app.door().accept_invite(accept, actor.address).await?;
    Ok((set_cookie(entered.cookie)?, Json(User::from(entered.user))))
}
