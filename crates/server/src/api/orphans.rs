//! What people left behind who have left for good; for superusers.

use axum::Json;
use axum::extract::State;
use latchstring_broker::credentials::orphans;
use latchstring_broker::people::Paging;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::page::{Listed, Page};
use crate::extract::path::{Asked, Named};
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_left_behind)).routes(routes!(give_credential))
}

/// A credential whose owner's account is not active.
#[derive(Serialize, ToSchema)]
struct LeftBehind {
    id: String,
    name: String,
    connector: String,
    auth_method: String,
    disabled: bool,
    deletes_at: Option<Time>,
    /// Slugs of the projects that use it.
    projects: Vec<String>,
    created_at: Time,
}

impl From<orphans::LeftBehind> for LeftBehind {
    fn from(left: orphans::LeftBehind) -> Self {
        Self {
            id: left.id.to_string(),
            name: left.name,
            connector: left.connector,
            auth_method: left.auth_method,
            disabled: left.disabled,
            deletes_at: left.deletes_at.map(Time::from),
            projects: left.projects,
            created_at: left.created_at.into(),
        }
    }
}

/// What a person owns whose account is not active; for superusers. Of somebody whose account is active: 409.
#[utoipa::path(get, path = "/api/v1/users/{id}/credentials", tag = "Users", params(("id" = String, Path, description = "`usr_…`"), Page), responses((status = 200, body = Listed<LeftBehind>), Refusals))]
async fn list_left_behind(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    Asked(page): Asked<Page>,
) -> ApiResult<Json<Listed<LeftBehind>>> {
    let paging = Paging::new(page.cursor.clone(), Some(page.limit()?));
    let page = app.broker().left_behind(&actor, &id, &paging).await?;
    Ok(Json(Listed {
        items: page.items.into_iter().map(LeftBehind::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GiveTo {
    /// Of the new owner: an active member of every project that uses the credential.
    email: String,
}

#[derive(Serialize, ToSchema)]
struct Given {
    id: String,
    /// The new owner's id and e-mail address.
    owner: String,
    owner_email: String,
}

/// Gives a credential whose owner has left for good to another member of its projects; for superusers.
///
/// Nobody reads what was set before: the new owner can set fields anew and reads those (`withheld_fields` names the
/// others), and values with such a field go nowhere else than before. All members of those projects are told. A
/// credential whose owner is there answers like one that does not exist. In a browser this wants a recent sign-in.
#[utoipa::path(post, path = "/api/v1/credentials/{id}/owner", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`")), request_body = GiveTo, responses((status = 200, body = Given), Refusals))]
async fn give_credential(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    Body(body): Body<GiveTo>,
) -> ApiResult<Json<Given>> {
    let given = Box::pin(app.broker().give_credential(&actor, &id, &body.email)).await?;
    Ok(Json(Given {
        id: given.id.to_string(),
        owner: given.owner.to_string(),
        owner_email: given.owner_email,
    }))
}
