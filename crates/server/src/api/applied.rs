//! `/api/v1/projects/{project}/applied`: what `latchstring apply` has made.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchstring_broker::projects::applied as broker;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::page::{Listed, Page};
use crate::extract::path::{Asked, Named};
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_applied)).routes(routes!(mark_applied, unmark_applied))
}

/// A mark: `latchstring apply` made this, and `apply --prune` may remove it. It goes with what it marks.
#[derive(Serialize, ToSchema)]
struct Applied {
    /// `environment`, `member`, `connector`, `variable`, `secret`, `credential`, `keychain` or `webhook`.
    kind: &'static str,
    /// An id where the thing has one, an e-mail address, or a name; `production/REGION` of what is in an environment.
    name: String,
    marked_at: Time,
    /// A person's or a key's id.
    marked_by: String,
}

impl From<broker::Applied> for Applied {
    fn from(mark: broker::Applied) -> Self {
        Self { kind: mark.kind, name: mark.name, marked_at: mark.marked_at.into(), marked_by: mark.marked_by }
    }
}

/// What `apply` has made in the project and is still there, by kind and name; for any member.
#[utoipa::path(get, path = "/api/v1/projects/{project}/applied", tag = "Projects", params(("project" = String, Path, description = "Slug or id"), Page), responses((status = 200, body = Listed<Applied>), Refusals))]
async fn list_applied(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(project): Named<String>,
    Asked(page): Asked<Page>,
) -> ApiResult<Json<Listed<Applied>>> {
    let limit = page.limit()?;
    let page = app.broker().applied(&actor, &project, page.cursor.as_deref(), limit).await?;
    Ok(Json(Listed {
        items: page.items.into_iter().map(Applied::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// Marks something that is there as made by `apply`; for admins and owners. Marked again, nothing changes.
#[utoipa::path(put, path = "/api/v1/projects/{project}/applied/{kind}/{name}", tag = "Projects", params(("project" = String, Path, description = "Slug or id"), ("kind" = String, Path, description = "Such as `variable`"), ("name" = String, Path, description = "As in the list; a slash is written `%2F`")), responses((status = 204, description = "Marked"), Refusals))]
async fn mark_applied(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, kind, name)): Named<(String, String, String)>,
) -> ApiResult<StatusCode> {
    app.broker().mark_applied(&actor, &project, &kind, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a mark away: what it marked is a person's from now on; for admins and owners.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/applied/{kind}/{name}", tag = "Projects", params(("project" = String, Path, description = "Slug or id"), ("kind" = String, Path, description = "Such as `variable`"), ("name" = String, Path, description = "As in the list; a slash is written `%2F`")), responses((status = 204, description = "Taken away"), Refusals))]
async fn unmark_applied(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, kind, name)): Named<(String, String, String)>,
) -> ApiResult<StatusCode> {
    app.broker().unmark_applied(&actor, &project, &kind, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
