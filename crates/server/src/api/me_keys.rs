//! `/api/v1/me/keys`: personal keys.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use latchstring_broker::people;
use latchstring_broker::people::Paging;
use latchstring_broker::people::keys::NewKey;
use latchstring_model::entity;
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
use crate::guard::repeat::ShownOnce;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_my_keys, create_my_key)).routes(routes!(end_my_key))
}

/// `call`: `/proxy`, operations, metadata, and reading. `manage`: also everything that its person may do, but
/// passwords, second factors and personal keys.
#[derive(Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    #[default]
    Call,
    Manage,
}

impl From<Scope> for entity::KeyScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Call => Self::Call,
            Scope::Manage => Self::Manage,
        }
    }
}

impl From<entity::KeyScope> for Scope {
    fn from(scope: entity::KeyScope) -> Self {
        match scope {
            entity::KeyScope::Call => Self::Call,
            entity::KeyScope::Manage => Self::Manage,
        }
    }
}

/// A personal key; the key itself is shown once, when it is made.
#[derive(Serialize, ToSchema)]
struct PersonalKey {
    #[schema(example = "key_01k9x0000000000000000000zz")]
    id: String,
    name: String,
    scope: Scope,
    /// The key's last four characters.
    hint: String,
    created_at: Time,
    /// Null: until it is ended.
    expires_at: Option<Time>,
    /// To the minute.
    last_used_at: Option<Time>,
}

impl From<people::keys::Key> for PersonalKey {
    fn from(key: people::keys::Key) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name,
            scope: key.scope.into(),
            hint: key.hint,
            created_at: key.created_at.into(),
            expires_at: key.expires_at.map(Time),
            last_used_at: key.used_at.map(Time),
        }
    }
}

/// My living keys, oldest first; in a session.
#[utoipa::path(get, path = "/api/v1/me/keys", tag = "Me", params(Page), responses((status = 200, body = Listed<PersonalKey>), Refusals))]
async fn list_my_keys(
    State(app): State<App>,
    Acting(actor): Acting,
    Asked(page): Asked<Page>,
) -> ApiResult<Json<Listed<PersonalKey>>> {
    let paging = Paging::new(page.cursor.clone(), Some(page.limit()?));
    let page = app.broker().my_keys(&actor, &paging).await?;
    Ok(Json(Listed {
        items: page.items.into_iter().map(PersonalKey::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreatePersonalKey {
    /// 1 to 200 characters: what it is for.
    name: String,
    #[serde(default)]
    #[schema(inline, default = "call")]
    scope: Scope,
    /// In the future; without it the key lives until it is ended.
    expires_at: Option<Time>,
}

#[derive(Serialize, ToSchema)]
struct MadePersonalKey {
    /// Shown now and never again.
    #[schema(value_type = String, example = "lst_…")]
    key: people::ShownOnce,
    #[serde(flatten)]
    about: PersonalKey,
}

/// Makes a personal key, in a session with a recent sign-in (else 403 `recent_sign_in_required`).
#[utoipa::path(post, path = "/api/v1/me/keys", tag = "Me", request_body = CreatePersonalKey, responses((status = 201, body = MadePersonalKey), Refusals))]
async fn create_my_key(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(body): Body<CreatePersonalKey>,
) -> ApiResult<impl IntoResponse> {
    let new =
        NewKey { name: body.name, scope: body.scope.into(), expires_at: body.expires_at.map(|at| at.0) };
    let made = app.broker().create_my_key(&actor, new).await?;
    let once = Extension(ShownOnce(format!("The key {}", made.key.id)));
    Ok((StatusCode::CREATED, once, Json(MadePersonalKey { key: made.secret, about: made.key.into() })))
}

/// Ends a key of mine at once. In a session; a key may end itself.
#[utoipa::path(delete, path = "/api/v1/me/keys/{id}", tag = "Me", params(("id" = String, Path)), responses((status = 204, description = "Ended"), Refusals))]
async fn end_my_key(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
) -> ApiResult<StatusCode> {
    app.broker().end_my_key(&actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
