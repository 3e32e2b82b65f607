//! `/api/v1/me/identities`: my account, linked with who I am at the sign-in provider.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use latchstring_broker::people::identities;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::api::session_confirm::{GoThere, ProviderLink, link};
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::page::Listed;
use crate::extract::path::Named;
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_my_identities, link_identity)).routes(routes!(unlink_identity))
}

#[derive(Serialize, ToSchema)]
struct Identity {
    #[schema(example = "idn_01k9x0000000000000000000zz")]
    id: String,
    issuer: String,
    /// Who I am there; never somebody else.
    subject: String,
    /// As the provider gave it last. It links nothing.
    email: Option<String>,
    linked_at: Time,
    last_used_at: Time,
}

impl From<identities::Identity> for Identity {
    fn from(identity: identities::Identity) -> Self {
        Self {
            id: identity.id.to_string(),
            issuer: identity.issuer,
            subject: identity.subject,
            email: identity.email,
            linked_at: identity.linked_at.into(),
            last_used_at: identity.seen_at.into(),
        }
    }
}

/// What my account is linked with, all on one page; in a session.
#[utoipa::path(get, path = "/api/v1/me/identities", tag = "Me", responses((status = 200, body = Listed<Identity>), Refusals))]
async fn list_my_identities(
    State(app): State<App>,
    Acting(actor): Acting,
) -> ApiResult<Json<Listed<Identity>>> {
    let found = app.broker().identities(&actor).await?;
    Ok(Json(Listed { items: found.into_iter().map(Identity::from).collect(), next_cursor: None }))
}

/// Begins to link my account with who I am at the provider; in a session with a recent sign-in.
///
/// Only this links: an e-mail address that two accounts have in common does not.
#[utoipa::path(post, path = "/api/v1/me/identities", tag = "Me", request_body = GoThere, responses((status = 201, body = ProviderLink), Refusals))]
async fn link_identity(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(body): Body<GoThere>,
) -> ApiResult<impl IntoResponse> {
    let begun = app.door().begin_link(&actor, body.return_to.as_deref()).await?;
    Ok(link("The address of the provider", begun))
}

/// Takes a link away, in a session with a recent sign-in. The only way to sign in stays (409).
#[utoipa::path(delete, path = "/api/v1/me/identities/{id}", tag = "Me", params(("id" = String, Path)), responses((status = 204, description = "Gone"), Refusals))]
async fn unlink_identity(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
) -> ApiResult<StatusCode> {
    app.broker().unlink_identity(&actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
