//! `/api/v1/projects/{project}/members`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use latchstring_broker::people::Paging;
use latchstring_broker::projects;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::api::projects::Role;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::page::{Listed, Page};
use crate::extract::path::{Asked, Named};
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_members)).routes(routes!(set_member, remove_member))
}

/// A member of a project.
#[derive(Serialize, ToSchema)]
struct Member {
    user_id: String,
    email: String,
    name: String,
    /// Whether the account is; who is not active can do nothing.
    active: bool,
    role: Role,
    /// When they became a member.
    since: Time,
}

impl From<projects::members::Member> for Member {
    fn from(member: projects::members::Member) -> Self {
        Self {
            user_id: member.user_id.to_string(),
            email: member.email,
            name: member.name,
            active: member.active,
            role: member.role.into(),
            since: member.since.into(),
        }
    }
}

/// All members; for any of them.
#[utoipa::path(get, path = "/api/v1/projects/{project}/members", tag = "Projects", params(("project" = String, Path, description = "Slug or id"), Page), responses((status = 200, body = Listed<Member>), Refusals))]
async fn list_members(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(project): Named<String>,
    Asked(page): Asked<Page>,
) -> ApiResult<Json<Listed<Member>>> {
    let paging = Paging::new(page.cursor.clone(), Some(page.limit()?));
    let page = app.broker().members(&actor, &project, &paging).await?;
    Ok(Json(Listed {
        items: page.items.into_iter().map(Member::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetMember {
    role: Role,
}

/// Makes somebody with an account a member, or changes a member's role.
///
/// For admins and owners; only owners make and unmake owners, and the last one stays (409).
#[utoipa::path(put, path = "/api/v1/projects/{project}/members/{email}", tag = "Projects", params(("project" = String, Path, description = "Slug or id"), ("email" = String, Path)), request_body = SetMember, responses((status = 200, body = Member), Refusals))]
async fn set_member(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, email)): Named<(String, String)>,
    Body(body): Body<SetMember>,
) -> ApiResult<Json<Member>> {
    let member = app.broker().set_member(&actor, &project, &email, body.role.into()).await?;
    Ok(Json(member.into()))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RemoveQuery {
    /// The project can then no longer use the credentials that they own and had shared with it.
    #[serde(default)]
    withdraw: bool,
}

/// A credential that the project can no longer use, and what stops with it.
#[derive(Serialize, ToSchema)]
struct Withdrawn {
    id: String,
    name: String,
    slug: String,
    /// The project's environments that were granted values of it.
    environments: Vec<String>,
    /// Slugs of keychains that fall back to it.
    keychains: Vec<String>,
    /// Names of service keys that have called with it, or are made for it.
    api_keys: Vec<String>,
    /// Whether every one of `api_keys` is known to be that. If not, calls before `looked_back_to` were not looked
    /// through, and keys that may have called then are named too.
    complete: bool,
    looked_back_to: Option<Time>,
}

impl From<projects::members::Stops> for Withdrawn {
    fn from(stops: projects::members::Stops) -> Self {
        Self {
            id: stops.id.to_string(),
            name: stops.name,
            slug: stops.slug,
            environments: stops.environments,
            keychains: stops.keychains,
            api_keys: stops.api_keys,
            complete: stops.complete,
            looked_back_to: stops.looked_back_to.map(Time::from),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct RemovedMember {
    withdrawn: Vec<Withdrawn>,
}

/// Removes a member; anybody may leave.
///
/// Whoever owns credentials that the project uses is not removed (409 `member_owns_credentials` with the list of what
/// would stop) unless `withdraw` is set; then the answer lists what stops. The last owner stays (409).
#[utoipa::path(delete, path = "/api/v1/projects/{project}/members/{email}", tag = "Projects", params(("project" = String, Path, description = "Slug or id"), ("email" = String, Path), RemoveQuery), responses((status = 200, body = RemovedMember, description = "Removed, and what was withdrawn with them"), (status = 204, description = "Removed; nothing was withdrawn"), Refusals))]
async fn remove_member(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, email)): Named<(String, String)>,
    Asked(query): Asked<RemoveQuery>,
) -> ApiResult<Response> {
    let stops = app.broker().remove_member(&actor, &project, &email, query.withdraw).await?;
    if stops.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let withdrawn = stops.into_iter().map(Withdrawn::from).collect();
    Ok(Json(RemovedMember { withdrawn }).into_response())
}
