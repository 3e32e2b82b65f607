//! What was, and who uses it: `/api/v1/credentials/{id}/versions` and `…/usage`, and what a project would lose:
//! `/api/v1/projects/{project}/credentials/{id}/usage`.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use latchstring_broker::audit::list::Item;
use latchstring_broker::credentials::usage;
use latchstring_broker::credentials::uses::By;
use latchstring_broker::credentials::versions;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::api::credentials::{Credential, HowToVerify};
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::page::Listed;
use crate::extract::path::Named;
use crate::extract::precondition::{IfMatch, etag};
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_credential_versions))
        .routes(routes!(restore_credential_version))
        .routes(routes!(get_credential_usage))
        .routes(routes!(get_share_usage))
}

/// One change of one environment's values.
#[derive(Serialize, ToSchema)]
struct CredentialVersion {
    environment: String,
    version: i64,
    /// In use now.
    current: bool,
    /// Its values are kept and can be brought back: the newest ten are, or as many as `LATCHSTRING_KEEP_VERSIONS` says.
    restorable: bool,
    /// Names of the fields that were set, changed or cleared; never values.
    changed_fields: Vec<String>,
    secret_fields: Vec<String>,
    /// An id.
    set_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    set_by_email: Option<String>,
    set_at: Time,
}

impl From<versions::Version> for CredentialVersion {
    fn from(version: versions::Version) -> Self {
        Self {
            environment: version.environment,
            version: version.version,
            current: version.current,
            restorable: version.restorable,
            changed_fields: version.changed_fields,
            secret_fields: version.secret_fields,
            set_by: version.set_by,
            set_by_email: version.set_by_email,
            set_at: version.set_at.into(),
        }
    }
}

/// Every change of the values, newest first; for the owner.
#[utoipa::path(get, path = "/api/v1/credentials/{id}/versions", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`")), responses((status = 200, body = Listed<CredentialVersion>), Refusals))]
async fn list_credential_versions(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
) -> ApiResult<Json<Listed<CredentialVersion>>> {
    let versions = app.broker().credential_versions(&actor, &id).await?;
    let items = versions.into_iter().map(CredentialVersion::from).collect();
    Ok(Json(Listed { items, next_cursor: None }))
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RestoreVersion {
    /// Needed where several environments have a version of that number.
    environment: Option<String>,
    #[serde(default)]
    verify: HowToVerify,
}

/// Makes older values the newest, once they are verified; for the owner.
///
/// They become a new version; tokens are never brought back. 410 when that version's values are wiped.
#[utoipa::path(post, path = "/api/v1/credentials/{id}/versions/{version}/restore", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`"), ("version" = i64, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` that is edited")), request_body = RestoreVersion, responses((status = 200, body = Credential), Refusals))]
async fn restore_credential_version(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((id, version)): Named<(String, i64)>,
    IfMatch(seen): IfMatch,
    Body(body): Body<RestoreVersion>,
) -> ApiResult<impl IntoResponse> {
    let restoring = app.broker().restore_version(
        &actor,
        &id,
        version,
        body.environment.as_deref(),
        body.verify.into(),
        seen,
    );
    let view = Box::pin(restoring).await?;
    Ok((etag(view.version), Json(Credential::from(view))))
}

/// A service key that has called with the credential, is limited to it, or may have called before it was looked.
#[derive(Serialize, ToSchema)]
struct UsingKey {
    id: String,
    name: Option<String>,
    /// The project's slug.
    project: Option<String>,
    /// Among those that were looked through.
    calls: u64,
    last_call_at: Option<Time>,
}

/// A workflow's step that names the credential.
#[derive(Serialize, ToSchema)]
struct UsingWorkflow {
    project: String,
    workflow: String,
    step: String,
}

/// A keychain whose default it is.
#[derive(Serialize, ToSchema)]
struct UsingKeychain {
    project: String,
    /// Its slug.
    keychain: String,
}

/// A request that was sent with the credential.
#[derive(Serialize, ToSchema)]
struct RecentCall {
    id: String,
    at: Time,
    /// Who called: an id, and for people the e-mail address.
    actor_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_email: Option<String>,
    /// The credential's environment whose values were used.
    environment: Option<String>,
    method: String,
    host: String,
    /// As the caller wrote it, without the query.
    path: String,
    status: Option<u16>,
    outcome: &'static str,
}

impl RecentCall {
    fn of(item: Item) -> Option<Self> {
        let call = item.call?;
        Some(Self {
            id: call.id.to_string(),
            at: item.at.into(),
            actor_id: item.actor.id,
            actor_email: item.actor.email,
            environment: item.environment,
            method: call.method,
            host: call.host,
            path: call.path,
            status: call.status,
            outcome: item.outcome.as_str(),
        })
    }
}

#[derive(Serialize, ToSchema)]
struct CredentialUsage {
    /// Active workflows that name it.
    workflows: Vec<UsingWorkflow>,
    /// Keychains that fall back to it.
    keychains: Vec<UsingKeychain>,
    api_keys: Vec<UsingKey>,
    /// Whether every service key that has called is in `api_keys` with its last call. If not, calls before
    /// `looked_back_to` were not looked through, and those without calls are keys that may have called then.
    complete: bool,
    /// From when on the calls of `api_keys` are counted; `null`: all that are recorded.
    looked_back_to: Option<Time>,
    /// The newest fifty.
    calls: Vec<RecentCall>,
}

impl From<usage::Usage> for CredentialUsage {
    fn from(usage: usage::Usage) -> Self {
        let (mut workflows, mut keychains) = (Vec::new(), Vec::new());
        for used in usage.used_by {
            let project = used.project;
            match used.by {
                By::Workflow { workflow, step } => workflows.push(UsingWorkflow { project, workflow, step }),
                By::Keychain { keychain } => keychains.push(UsingKeychain { project, keychain }),
            }
        }
        Self {
            workflows,
            keychains,
            api_keys: usage
                .keys
                .into_iter()
                .map(|key| UsingKey {
                    id: key.id,
                    name: key.name,
                    project: key.project,
                    calls: key.calls,
                    last_call_at: key.last_call_at.map(Time::from),
                })
                .collect(),
            complete: usage.complete,
            looked_back_to: usage.looked_back_to.map(Time::from),
            calls: usage.calls.into_iter().filter_map(RecentCall::of).collect(),
        }
    }
}

/// Who uses a credential: workflows, keychains, service keys, recent calls; for the owner.
///
/// Keys are found by their calls, newest first. On a credential that is called very often the trail is not read to its
/// beginning: then `complete` is false, and keys that may have called before are listed too.
#[utoipa::path(get, path = "/api/v1/credentials/{id}/usage", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`")), responses((status = 200, body = CredentialUsage), Refusals))]
async fn get_credential_usage(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
) -> ApiResult<Json<CredentialUsage>> {
    Ok(Json(app.broker().credential_usage(&actor, &id).await?.into()))
}

/// What stops in a project that gives a credential up.
#[derive(Serialize, ToSchema)]
struct ShareUsage {
    id: String,
    name: String,
    /// Of the credential in this project.
    slug: String,
    /// The project's environments that were granted values of it.
    environments: Vec<String>,
    /// Active workflows of the project that name it.
    workflows: Vec<UsingWorkflow>,
    /// The project's keychains that fall back to it.
    keychains: Vec<UsingKeychain>,
    /// The project's service keys.
    api_keys: Vec<UsingKey>,
    /// Whether every service key that has called is in `api_keys` with its last call. If not, calls before
    /// `looked_back_to` were not looked through, and those without calls are keys that may have called then.
    complete: bool,
    /// From when on the calls of `api_keys` are counted; `null`: all that are recorded.
    looked_back_to: Option<Time>,
    /// The project's newest fifty.
    calls: Vec<RecentCall>,
}

/// What stops in this project when it uses the credential no longer; for the project's admins and owners.
///
/// To be looked at before the share is withdrawn: environments, workflows, keychains that fall back to it, service
/// keys that are made for it or have called with it, recent calls. It says nothing of other projects.
#[utoipa::path(get, path = "/api/v1/projects/{project}/credentials/{id}/usage", tag = "Credentials", params(("project" = String, Path, description = "Slug or id"), ("id" = String, Path, description = "The credential's slug in the project, or its id")), responses((status = 200, body = ShareUsage), Refusals))]
async fn get_share_usage(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, id)): Named<(String, String)>,
) -> ApiResult<Json<ShareUsage>> {
    let found = app.broker().share_usage(&actor, &project, &id).await?;
    let CredentialUsage { workflows, keychains, api_keys, complete, looked_back_to, calls } =
        found.usage.into();
    Ok(Json(ShareUsage {
        id: found.id.to_string(),
        name: found.name,
        slug: found.slug,
        environments: found.environments,
        workflows,
        keychains,
        api_keys,
        complete,
        looked_back_to,
        calls,
    }))
}
