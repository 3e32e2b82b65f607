//! `/api/v1/users`: people, for superusers.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use latchstring_broker::people;
use latchstring_broker::people::users::{NewUser, UserChange};
use latchstring_broker::people::{Names, Paging};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::page::{Listed, Page};
use crate::extract::path::{Asked, Named};
use crate::extract::precondition::{IfMatch, etag};
use crate::extract::secret::Secret;
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_users, create_user)).routes(routes!(get_user, change_user))
}

/// A person.
#[derive(Serialize, ToSchema)]
pub struct User {
    #[schema(example = "usr_01k9x0000000000000000000zz")]
    pub id: String,
    pub email: String,
    pub username: Option<String>,
    pub name: String,
    pub first_name: String,
    pub last_name: String,
    /// May manage people and OAuth clients; has no right over other people's credentials.
    pub superuser: bool,
    /// Who is not active has no sessions and no keys, and cannot sign in.
    pub active: bool,
    /// Whether a second factor of this server is set up.
    pub second_factor: bool,
    /// After a password reset: until then owner rights rest.
    pub frozen_until: Option<Time>,
    pub created_at: Time,
    pub updated_at: Time,
}

impl From<people::User> for User {
    fn from(user: people::User) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email,
            username: user.username,
            name: user.name,
            first_name: user.first_name,
            last_name: user.last_name,
            superuser: user.superuser,
            active: user.active,
            second_factor: user.second_factor,
            frozen_until: user.frozen_until.map(Time),
            created_at: user.created_at.into(),
            updated_at: user.updated_at.into(),
        }
    }
}

/// With its version as `ETag`.
pub fn shown(user: people::User) -> impl IntoResponse {
    (etag(user.version), Json(User::from(user)))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UserQuery {
    /// Looked for in e-mail addresses.
    q: Option<String>,
    /// Items on the page, 1 to 200 (default 50).
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// All people, oldest first.
#[utoipa::path(get, path = "/api/v1/users", tag = "Users", params(UserQuery), responses((status = 200, body = Listed<User>), Refusals))]
async fn list_users(
    State(app): State<App>,
    Acting(actor): Acting,
    Asked(query): Asked<UserQuery>,
) -> ApiResult<Json<Listed<User>>> {
    let page = Page { limit: query.limit, cursor: query.cursor };
    let paging = Paging::new(page.cursor.clone(), Some(page.limit()?));
    let page = app.broker().users(&actor, query.q.as_deref(), &paging).await?;
    Ok(Json(Listed {
        items: page.items.into_iter().map(User::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateUser {
    /// At most 254 bytes; nobody else may have it, in whatever case.
    #[schema(format = Email)]
    email: String,
    /// At most 200 characters, as all names; made from the others, or from the address, when missing.
    name: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    username: Option<String>,
    #[serde(default)]
    superuser: bool,
    /// 8 characters to 256 bytes. Without one, POST /api/v1/invites gives the person a way in.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    password: Option<Secret>,
}

/// Makes an account.
#[utoipa::path(post, path = "/api/v1/users", tag = "Users", request_body = CreateUser, responses((status = 201, body = User), Refusals))]
async fn create_user(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(body): Body<CreateUser>,
) -> ApiResult<impl IntoResponse> {
    let names = Names {
        name: body.name,
        first_name: body.first_name,
        last_name: body.last_name,
        username: body.username,
    };
    let new = NewUser {
        email: body.email,
        names,
        superuser: body.superuser,
        password: body.password.map(|password| password.0),
    };
    let user = app.broker().create_user(&actor, new).await?;
    Ok((StatusCode::CREATED, shown(user)))
}

/// One person.
#[utoipa::path(get, path = "/api/v1/users/{id}", tag = "Users", params(("id" = String, Path)), responses((status = 200, body = User), Refusals))]
async fn get_user(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
) -> ApiResult<impl IntoResponse> {
    Ok(shown(app.broker().user(&actor, &id).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeUser {
    /// `false` ends all sessions and keys of the person at once, for good.
    active: Option<bool>,
    superuser: Option<bool>,
}

/// Activates, deactivates, makes superusers and takes that back.
///
/// The last active superuser stays one (409).
#[utoipa::path(patch, path = "/api/v1/users/{id}", tag = "Users", params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` that is edited")), request_body = ChangeUser, responses((status = 200, body = User), Refusals))]
async fn change_user(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    IfMatch(version): IfMatch,
    Body(body): Body<ChangeUser>,
) -> ApiResult<impl IntoResponse> {
    let change = UserChange { active: body.active, superuser: body.superuser };
    Ok(shown(app.broker().change_user(&actor, &id, change, version).await?))
}
