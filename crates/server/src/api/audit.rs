//! `/api/v1/projects/{project}/audit`: what happened in a project.

use axum::Json;
use axum::extract::State;
use latchstring_broker::audit::list;
use latchstring_broker::people::Paging;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::page::{Listed, Page};
use crate::extract::path::{Asked, Named};
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_audit))
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
    /// Of a call: the credential's environment whose values were used.
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
    /// Items on the page, 1 to 200 (default 50).
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What happened in the project, newest first; for any member. A call is listed within a second.
#[utoipa::path(get, path = "/api/v1/projects/{project}/audit", tag = "Audit", params(("project" = String, Path, description = "Slug or id"), AuditQuery), responses((status = 200, body = Listed<AuditItem>), Refusals))]
async fn list_audit(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(project): Named<String>,
    Asked(query): Asked<AuditQuery>,
) -> ApiResult<Json<Listed<AuditItem>>> {
    let page = Page { limit: query.limit, cursor: query.cursor };
    let paging = Paging::new(page.cursor.clone(), Some(page.limit()?));
    let filter = list::Filter { credential: query.credential, actor: query.actor, action: query.action };
    let page = app.broker().list_project(&actor, &project, filter, &paging).await?;
    Ok(Json(Listed {
        items: page.items.into_iter().map(AuditItem::from).collect(),
        next_cursor: page.next_cursor,
    }))
}
