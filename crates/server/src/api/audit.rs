//! What happened: in a project (`…/projects/{project}/audit`), with a credential (`…/credentials/{id}/audit`), and
//! to the installation itself (`/api/v1/audit`). As text: [`super::audit_export`].

use axum::Json;
use axum::extract::State;
use latchstring_broker::Actor;
use latchstring_broker::audit::list::{self, Filter, Whose};
use latchstring_broker::people::Paging;
use latchstring_model::{Code, Problem};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::page::{Listed, MAX_LIMIT, Page};
use crate::extract::path::{Asked, Named};
use crate::extract::time::Time;
use crate::problem::{ApiError, ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_audit))
        .routes(routes!(list_credential_audit))
        .routes(routes!(list_instance_audit))
}

/// One record of the audit trail. A call comes once, with how it ended.
#[derive(Serialize, ToSchema)]
struct AuditItem {
    /// Grows in the order in which records were stored; a cursor, not a proof.
    seq: i64,
    at: Time,
    actor: AuditActor,
    /// `<thing>.<verb>`: `credential.use`, `member.set`, …
    #[schema(example = "credential.use")]
    action: String,
    /// What it was done to, mostly an id; for a call, the credential.
    target: Option<String>,
    /// Of a call: the credential's environment whose values were used (`call.project_environment` is where it was made);
    /// of a refused one: the project's environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    /// `ok`, `refused` or `failed`.
    #[schema(example = "ok")]
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<AuditCall>,
    /// The address that it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// More about it: the code of a refusal, names of what was changed; never values of secrets.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    #[schema(value_type = Object)]
    detail: serde_json::Map<String, serde_json::Value>,
    /// The record's hash in its writer's chain, hexadecimal.
    hash: String,
}

/// Who did it.
#[derive(Serialize, ToSchema)]
struct AuditActor {
    /// `user`, `key` (a service key), `server` or `anonymous`.
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
}

/// A request that was sent with a credential.
#[derive(Serialize, ToSchema)]
struct AuditCall {
    /// As the caller saw it in `Latchstring-Call-Id`.
    #[schema(example = "cal_01k9x0000000000000000000zz")]
    id: String,
    method: String,
    /// With the port where it is not the scheme's own.
    host: String,
    /// As the caller wrote it, without the query.
    path: String,
    /// The API's answer; null when none came, and while the call goes on.
    status: Option<u16>,
    /// Milliseconds; null while the call goes on, and when the server died in the middle of it.
    duration_ms: Option<u64>,
    /// Latchstring's own error code, when the call failed because of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Whom the API takes for who did it: the credential's `acts_as` at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    acts_as: Option<String>,
    /// The project's environment in which the call was made; the item's `environment` is the set of values that it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    project_environment: Option<String>,
}

impl From<list::Item> for AuditItem {
    fn from(item: list::Item) -> Self {
        Self {
            seq: item.seq,
            at: item.at.into(),
            actor: AuditActor { kind: item.actor.kind, id: item.actor.id, email: item.actor.email },
            action: item.action,
            target: item.target,
            environment: item.environment,
            outcome: item.outcome.as_str(),
            call: item.call.map(|call| AuditCall {
                id: call.id.to_string(),
                method: call.method,
                host: call.host,
                path: call.path,
                status: call.status,
                duration_ms: call.duration_ms,
                code: call.code,
                acts_as: call.acts_as,
                project_environment: call.project_environment,
            }),
            client: item.client,
            detail: item.detail,
            hash: item.hash,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Only this credential: its slug in the project, or its id.
    credential: Option<String>,
    /// Only this actor: an id or an e-mail address.
    actor: Option<String>,
    /// Only this action.
    action: Option<String>,
    /// From this moment on.
    #[param(value_type = Option<String>, example = "2027-01-31T12:00:00Z")]
    from: Option<Time>,
    /// Before this moment.
    #[param(value_type = Option<String>)]
    to: Option<Time>,
    /// Oldest first, what lies behind this `seq` (0: from the beginning): to follow. Then `next_cursor` is never null:
    /// ask again with it, as `after` or as `cursor`, also when there was nothing new.
    after: Option<i64>,
    /// Items on the page, 1 to 200 (default 50).
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WholeAuditQuery {
    /// Only this actor: an id or an e-mail address.
    actor: Option<String>,
    /// Only this action.
    action: Option<String>,
    /// From this moment on.
    #[param(value_type = Option<String>, example = "2027-01-31T12:00:00Z")]
    from: Option<Time>,
    /// Before this moment.
    #[param(value_type = Option<String>)]
    to: Option<Time>,
    /// Oldest first, what lies behind this `seq` (0: from the beginning): to follow. Then `next_cursor` is never null:
    /// ask again with it, as `after` or as `cursor`, also when there was nothing new.
    after: Option<i64>,
    /// Items on the page, 1 to 200 (default 50).
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl From<WholeAuditQuery> for AuditQuery {
    fn from(query: WholeAuditQuery) -> Self {
        let WholeAuditQuery { actor, action, from, to, after, limit, cursor } = query;
        Self { credential: None, actor, action, from, to, after, limit, cursor }
    }
}

async fn listed(
    app: &App,
    actor: &Actor,
    whose: Whose,
    query: AuditQuery,
) -> ApiResult<Json<Listed<AuditItem>>> {
    let page = Page { limit: query.limit, cursor: query.cursor };
    let limit = page.limit()?.min(MAX_LIMIT);
    let filter = Filter {
        credential: query.credential,
        actor: query.actor,
        action: query.action,
        from: query.from.map(|time| time.0),
        to: query.to.map(|time| time.0),
    };
    let (items, next_cursor) = match query.after {
        None => {
            let paging = Paging::new(page.cursor, Some(limit));
            let page = app.broker().audit(actor, &whose, &filter, &paging).await?;
            (page.items, page.next_cursor)
        }
        Some(after) => {
            let behind = page.cursor.as_deref().map_or(Some(after), |cursor| cursor.parse().ok());
            let behind = behind.filter(|seq| *seq >= 0).ok_or_else(|| {
                ApiError::from(
                    Problem::new(Code::CursorInvalid, "That is no place in this list.")
                        .hint("`after`, and `cursor` beside it, are the `seq` of a record, or `next_cursor` of the page before."),
                )
            })?;
            let limit = usize::try_from(limit).ok();
            let part = app.broker().audit_after(actor, &whose, &filter, behind, limit).await?;
            (part.items, Some(part.next.to_string()))
        }
    };
    Ok(Json(Listed { items: items.into_iter().map(AuditItem::from).collect(), next_cursor }))
}

/// What happened in the project; for any member. A call is listed within a second.
#[utoipa::path(get, path = "/api/v1/projects/{project}/audit", tag = "Audit", params(("project" = String, Path, description = "Slug or id"), AuditQuery), responses((status = 200, body = Listed<AuditItem>), Refusals))]
async fn list_audit(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(project): Named<String>,
    Asked(query): Asked<AuditQuery>,
) -> ApiResult<Json<Listed<AuditItem>>> {
    listed(&app, &actor, Whose::Project(project), query).await
}

/// What happened with the credential, in whichever project it was used; for its owner. If a project owns it: for the
/// project's owners and admins.
#[utoipa::path(get, path = "/api/v1/credentials/{id}/audit", tag = "Audit", params(("id" = String, Path), WholeAuditQuery), responses((status = 200, body = Listed<AuditItem>), Refusals))]
async fn list_credential_audit(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    Asked(query): Asked<WholeAuditQuery>,
) -> ApiResult<Json<Listed<AuditItem>>> {
    listed(&app, &actor, Whose::Credential(id), query.into()).await
}

/// What happened to the installation: what belongs to no project and no credential; for superusers.
#[utoipa::path(get, path = "/api/v1/audit", tag = "Audit", params(WholeAuditQuery), responses((status = 200, body = Listed<AuditItem>), Refusals))]
async fn list_instance_audit(
    State(app): State<App>,
    Acting(actor): Acting,
    Asked(query): Asked<WholeAuditQuery>,
) -> ApiResult<Json<Listed<AuditItem>>> {
    listed(&app, &actor, Whose::Instance, query.into()).await
}
