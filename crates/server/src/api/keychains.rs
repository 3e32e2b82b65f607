//! `/api/v1/projects/{project}/keychains`: names for "the credential that the data says".

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use latchstring_broker::keychains;
use latchstring_broker::people::Paging;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::page::{Listed, Page};
use crate::extract::path::{Asked, Named};
use crate::extract::precondition::{IfMatch, etag};
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_keychains, create_keychain)).routes(routes!(
        get_keychain,
        change_keychain,
        delete_keychain
    ))
}

/// Chooses one of the project's credentials by data, at the time of a call.
#[derive(Serialize, ToSchema)]
struct Keychain {
    #[schema(example = "kch_01k9x0000000000000000000zz")]
    id: String,
    /// Stands where a credential's slug would: `/proxy/{slug}/…`, `…/credentials/{slug}/call/…`.
    slug: String,
    name: String,
    /// Only credentials of this connector are chosen.
    connector: String,
    connector_uid: String,
    /// A template over `input`; what it gives is looked up among the project's `external_id`s.
    #[schema(example = "{{ input.customer }}")]
    by: String,
    /// Id of the credential that is used when nothing is found.
    default: Option<String>,
    /// The default's slug; null when it is not shared with the project any more.
    default_slug: Option<String>,
    created_at: Time,
    updated_at: Time,
}

impl From<keychains::Keychain> for Keychain {
    fn from(keychain: keychains::Keychain) -> Self {
        Self {
            id: keychain.id.to_string(),
            slug: keychain.slug,
            name: keychain.name,
            connector: keychain.connector,
            connector_uid: keychain.connector_uid,
            by: keychain.by,
            default: keychain.default.map(|id| id.to_string()),
            default_slug: keychain.default_slug,
            created_at: keychain.created_at.into(),
            updated_at: keychain.updated_at.into(),
        }
    }
}

/// The project's keychains, oldest first; for any member.
#[utoipa::path(get, path = "/api/v1/projects/{project}/keychains", tag = "Keychains", params(("project" = String, Path, description = "Slug or id"), Page), responses((status = 200, body = Listed<Keychain>), Refusals))]
async fn list_keychains(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(project): Named<String>,
    Asked(page): Asked<Page>,
) -> ApiResult<Json<Listed<Keychain>>> {
    let paging = Paging::new(page.cursor.clone(), Some(page.limit()?));
    let page = app.broker().keychains(&actor, &project, &paging).await?;
    Ok(Json(Listed {
        items: page.items.into_iter().map(Keychain::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// One keychain; for any member.
#[utoipa::path(get, path = "/api/v1/projects/{project}/keychains/{keychain}", tag = "Keychains", params(("project" = String, Path, description = "Slug or id"), ("keychain" = String, Path, description = "Slug or id")), responses((status = 200, body = Keychain), Refusals))]
async fn get_keychain(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, keychain)): Named<(String, String)>,
) -> ApiResult<impl IntoResponse> {
    let keychain = app.broker().keychain(&actor, &project, &keychain).await?;
    Ok((etag(keychain.version), Json(Keychain::from(keychain))))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateKeychain {
    /// 1 to 200 characters.
    name: String,
    /// Made from the name when missing; no credential of the project has it.
    slug: Option<String>,
    /// A connector's id.
    connector: String,
    /// A template that reads `input` and nothing else: `{{ input.customer }}`.
    by: String,
    /// Slug or id of a credential of that connector which is shared with the project.
    default: Option<String>,
}

/// Makes a keychain; for admins and owners.
///
/// A call that names it uses the credential whose `external_id` is what `by` gives for the call's input, or what
/// `Latchstring-External-Id` says. A match that may not be used is refused and never replaced by the default; without
/// a match and a default the call is refused with `no_keychain_match`.
#[utoipa::path(post, path = "/api/v1/projects/{project}/keychains", tag = "Keychains", params(("project" = String, Path, description = "Slug or id")), request_body = CreateKeychain, responses((status = 201, body = Keychain), Refusals))]
async fn create_keychain(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(project): Named<String>,
    Body(body): Body<CreateKeychain>,
) -> ApiResult<impl IntoResponse> {
    let new = keychains::NewKeychain {
        name: body.name,
        slug: body.slug,
        connector: body.connector,
        by: body.by,
        default: body.default,
    };
    let made = app.broker().create_keychain(&actor, &project, new).await?;
    Ok((StatusCode::CREATED, etag(made.version), Json(Keychain::from(made))))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeKeychain {
    name: Option<String>,
    slug: Option<String>,
    by: Option<String>,
    /// Null takes the default away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    default: Option<Option<String>>,
}

/// Told apart from what is missing: `null` is a value.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Changes a keychain; for admins and owners. What is left out stays.
#[utoipa::path(patch, path = "/api/v1/projects/{project}/keychains/{keychain}", tag = "Keychains", params(("project" = String, Path, description = "Slug or id"), ("keychain" = String, Path, description = "Slug or id"), ("If-Match" = Option<String>, Header)), request_body = ChangeKeychain, responses((status = 200, body = Keychain), Refusals))]
async fn change_keychain(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, keychain)): Named<(String, String)>,
    IfMatch(version): IfMatch,
    Body(body): Body<ChangeKeychain>,
) -> ApiResult<impl IntoResponse> {
    let change =
        keychains::KeychainChange { name: body.name, slug: body.slug, by: body.by, default: body.default };
    let changed = app.broker().change_keychain(&actor, &project, &keychain, change, version).await?;
    Ok((etag(changed.version), Json(Keychain::from(changed))))
}

/// Deletes a keychain; for admins and owners. Its credentials stay.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/keychains/{keychain}", tag = "Keychains", params(("project" = String, Path, description = "Slug or id"), ("keychain" = String, Path, description = "Slug or id"), ("If-Match" = Option<String>, Header)), responses((status = 204, description = "Deleted"), Refusals))]
async fn delete_keychain(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, keychain)): Named<(String, String)>,
    IfMatch(version): IfMatch,
) -> ApiResult<StatusCode> {
    app.broker().delete_keychain(&actor, &project, &keychain, version).await?;
    Ok(StatusCode::NO_CONTENT)
}
