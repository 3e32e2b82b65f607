//! `/api/v1/projects/{project}/api-keys`: service keys and service accounts.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use latchstring_broker::people::{self, Paging};
use latchstring_broker::projects::service_keys::{self, NewServiceKey, WantedLimits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::api::me_keys::Scope;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::page::{Listed, Page};
use crate::extract::path::{Asked, Named};
use crate::extract::time::Time;
use crate::guard::repeat::ShownOnce;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_api_keys, create_api_key)).routes(routes!(end_api_key))
}

/// A service key (scope `call`): bound to one environment, can only call; lists that are null do not limit. Or a
/// service account (scope `manage`): has no environment, manages its project and calls nothing.
#[derive(Serialize, ToSchema)]
struct ServiceKey {
    #[schema(example = "key_01k9x0000000000000000000zz")]
    id: String,
    name: String,
    scope: Scope,
    /// Null: a service account.
    environment: Option<String>,
    /// The key's last four characters.
    hint: String,
    credentials: Option<Vec<String>>,
    operations_only: bool,
    methods: Option<Vec<String>>,
    path_prefixes: Option<Vec<String>>,
    networks: Option<Vec<String>>,
    may_act_for: Option<Vec<String>>,
    created_at: Time,
    /// A person's id, or `operator`.
    created_by: String,
    /// Null: until it is ended.
    expires_at: Option<Time>,
    /// To the minute.
    last_used_at: Option<Time>,
}

fn texts<T: ToString>(list: Option<Vec<T>>) -> Option<Vec<String>> {
    list.map(|list| list.iter().map(ToString::to_string).collect())
}

impl From<service_keys::ServiceKey> for ServiceKey {
    fn from(key: service_keys::ServiceKey) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name,
            scope: key.scope.into(),
            environment: key.environment,
            hint: key.hint,
            credentials: texts(key.limits.credentials),
            operations_only: key.limits.operations_only,
            methods: key.limits.methods,
            path_prefixes: key.limits.path_prefixes,
            networks: texts(key.limits.networks),
            may_act_for: key.limits.may_act_for,
            created_at: key.created_at.into(),
            created_by: key.created_by,
            expires_at: key.expires_at.map(Time),
            last_used_at: key.used_at.map(Time),
        }
    }
}

/// The project's living service keys, oldest first; for any member.
#[utoipa::path(get, path = "/api/v1/projects/{project}/api-keys", tag = "Projects", params(("project" = String, Path, description = "Slug or id"), Page), responses((status = 200, body = Listed<ServiceKey>), Refusals))]
async fn list_api_keys(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(project): Named<String>,
    Asked(page): Asked<Page>,
) -> ApiResult<Json<Listed<ServiceKey>>> {
    let paging = Paging::new(page.cursor.clone(), Some(page.limit()?));
    let page = app.broker().service_keys(&actor, &project, &paging).await?;
    Ok(Json(Listed {
        items: page.items.into_iter().map(ServiceKey::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// A list that is left out does not limit; each has 1 to 100 entries.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateServiceKey {
    /// 1 to 200 characters: what it is for.
    name: String,
    /// `manage`: a service account, for CI. It may manage environments, connectors, secrets, webhooks, viewers and
    /// editors, and what the project itself owns; never keys, admins and owners, destinations, purges, or anything
    /// of a person. It calls nothing.
    #[serde(default)]
    #[schema(inline, default = "call")]
    scope: Scope,
    /// The project's environment that it is bound to; left out with scope `manage`.
    environment: Option<String>,
    /// Only these credentials (ids), which have to be shared with the project.
    credentials: Option<Vec<String>>,
    /// Only operations and metadata, never `/proxy`.
    #[serde(default)]
    operations_only: bool,
    /// Only these HTTP methods.
    methods: Option<Vec<String>>,
    /// Only paths at or below these, as callers write them behind the credential: `/v1/invoices`.
    path_prefixes: Option<Vec<String>>,
    /// Only callers from these networks: `192.0.2.0/24`, or an address.
    networks: Option<Vec<String>>,
    /// E-mail addresses of members that it may name in `Latchstring-User`.
    may_act_for: Option<Vec<String>>,
    /// In the future; without it the key lives until it is ended.
    expires_at: Option<Time>,
}

#[derive(Serialize, ToSchema)]
struct MadeServiceKey {
    /// Shown now and never again.
    #[schema(value_type = String, example = "lst_…")]
    key: people::ShownOnce,
    #[serde(flatten)]
    about: ServiceKey,
}

/// Makes a service key or a service account; for admins and owners, in a session with a recent sign-in. Everything that is wrong is told at once.
#[utoipa::path(post, path = "/api/v1/projects/{project}/api-keys", tag = "Projects", params(("project" = String, Path, description = "Slug or id")), request_body = CreateServiceKey, responses((status = 201, body = MadeServiceKey), Refusals))]
async fn create_api_key(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(project): Named<String>,
    Body(body): Body<CreateServiceKey>,
) -> ApiResult<impl IntoResponse> {
    let wanted = WantedLimits {
        credentials: body.credentials,
        operations_only: body.operations_only,
        methods: body.methods,
        path_prefixes: body.path_prefixes,
        networks: body.networks,
        may_act_for: body.may_act_for,
    };
    let new = NewServiceKey {
        name: body.name,
        scope: body.scope.into(),
        environment: body.environment,
        expires_at: body.expires_at.map(|at| at.0),
        limits: wanted,
    };
    let made = app.broker().create_service_key(&actor, &project, new).await?;
    let once = Extension(ShownOnce(format!("The key {}", made.key.id)));
    Ok((StatusCode::CREATED, once, Json(MadeServiceKey { key: made.secret, about: made.key.into() })))
}

/// Ends a service key at once; for admins and owners. A service account may end itself.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/api-keys/{id}", tag = "Projects", params(("project" = String, Path, description = "Slug or id"), ("id" = String, Path)), responses((status = 204, description = "Ended"), Refusals))]
async fn end_api_key(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, id)): Named<(String, String)>,
) -> ApiResult<StatusCode> {
    app.broker().end_service_key(&actor, &project, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
