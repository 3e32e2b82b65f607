//! A credential's life: disabled, enabled, deleted, restored; what a project's admins decide about its share.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use latchstring_broker::credentials::life::Deleted;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::api::credentials::Credential;
use crate::extract::actor::Acting;
use crate::extract::path::{Asked, Named};
use crate::extract::precondition::{IfMatch, etag};
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(disable_credential))
        .routes(routes!(enable_credential))
        .routes(routes!(delete_credential))
        .routes(routes!(restore_credential))
        .routes(routes!(withdraw_credential))
        .routes(routes!(accept_credential))
}

/// Ends all use at once; for the owner.
#[utoipa::path(post, path = "/api/v1/credentials/{id}/disable", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`"), ("If-Match" = Option<String>, Header)), responses((status = 200, body = Credential), Refusals))]
async fn disable_credential(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    IfMatch(version): IfMatch,
) -> ApiResult<impl IntoResponse> {
    let view = app.broker().set_disabled(&actor, &id, true, version).await?;
    Ok((etag(view.version), Json(Credential::from(view))))
}

/// Allows the use again; for the owner.
#[utoipa::path(post, path = "/api/v1/credentials/{id}/enable", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`"), ("If-Match" = Option<String>, Header)), responses((status = 200, body = Credential), Refusals))]
async fn enable_credential(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    IfMatch(version): IfMatch,
) -> ApiResult<impl IntoResponse> {
    let view = app.broker().set_disabled(&actor, &id, false, version).await?;
    Ok((etag(view.version), Json(Credential::from(view))))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HowToDelete {
    /// At once, for good: values, versions and tokens are wiped.
    #[serde(default)]
    purge: bool,
}

#[derive(Serialize, ToSchema)]
struct Scheduled {
    /// Unusable from now on; restorable until then.
    deletes_at: Time,
}

/// Schedules the deletion of a credential, or purges it at once; for the owner.
///
/// Refused with 409 `credential_in_use` and `used_by` while an active workflow uses it. In a browser, purging
/// wants a recent sign-in.
#[utoipa::path(delete, path = "/api/v1/credentials/{id}", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`"), HowToDelete, ("If-Match" = Option<String>, Header)), responses((status = 200, body = Scheduled), (status = 204, description = "Purged"), Refusals))]
async fn delete_credential(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    Asked(how): Asked<HowToDelete>,
    IfMatch(version): IfMatch,
) -> ApiResult<Response> {
    Ok(match app.broker().delete_credential(&actor, &id, how.purge, version).await? {
        Deleted::Scheduled(at) => Json(Scheduled { deletes_at: at.into() }).into_response(),
        Deleted::Purged => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Takes a scheduled deletion back; for the owner.
///
/// Shares and grants that were not withdrawn meanwhile work again.
#[utoipa::path(post, path = "/api/v1/credentials/{id}/restore", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`"), ("If-Match" = Option<String>, Header)), responses((status = 200, body = Credential), Refusals))]
async fn restore_credential(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    IfMatch(version): IfMatch,
) -> ApiResult<impl IntoResponse> {
    let view = app.broker().restore_credential(&actor, &id, version).await?;
    Ok((etag(view.version), Json(Credential::from(view))))
}

/// Ends the project's use of a credential; for the project's admins and owners.
///
/// The credential stays its owner's, who can share it anew. What stops is at `GET …/credentials/{id}/usage`.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/credentials/{id}", tag = "Credentials", params(("project" = String, Path, description = "Slug or id"), ("id" = String, Path, description = "The credential's slug in the project, or its id")), responses((status = 204, description = "Withdrawn"), Refusals))]
async fn withdraw_credential(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, id)): Named<(String, String)>,
) -> ApiResult<StatusCode> {
    app.broker().withdraw_share(&actor, &project, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Accepts a credential's new destination; for the project's admins and owners.
///
/// A share is suspended when its owner moves the credential to an origin that the project's calls did not go to
/// before. `destinations` of the share says where they would go now; with `If-Match` the answer that was looked
/// at is the one that is accepted.
#[utoipa::path(post, path = "/api/v1/projects/{project}/credentials/{id}/accept", tag = "Credentials", params(("project" = String, Path, description = "Slug or id"), ("id" = String, Path, description = "The credential's slug in the project, or its id"), ("If-Match" = Option<String>, Header, description = "The credential's `ETag`")), responses((status = 200, body = Credential), Refusals))]
async fn accept_credential(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, id)): Named<(String, String)>,
    IfMatch(version): IfMatch,
) -> ApiResult<impl IntoResponse> {
    let view = app.broker().accept_share(&actor, &project, &id, version).await?;
    Ok((etag(view.version), Json(Credential::from(view))))
}
