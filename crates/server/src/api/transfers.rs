//! A credential handed to another person: offered, looked at, accepted, taken back.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use latchstring_broker::credentials::transfer::{self, Preview};
use latchstring_broker::people::{Paging, ShownOnce as Shown};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::api::credentials::Credential;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::page::{Listed, Page};
use crate::extract::path::{Asked, Named};
use crate::extract::precondition::etag;
use crate::extract::time::Time;
use crate::guard::repeat::ShownOnce;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(offer_transfer, cancel_transfer))
        .routes(routes!(list_transfers))
        .routes(routes!(get_transfer))
        .routes(routes!(accept_transfer))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OfferTransfer {
    /// Of the recipient: an active member of every project that the credential is shared with.
    email: String,
}

/// An offer that was just made.
#[derive(Serialize, ToSchema)]
struct Offered {
    #[schema(example = "trf_01k9x0000000000000000000zz")]
    id: String,
    /// Shown now and never again: the recipient accepts with it.
    #[schema(value_type = String)]
    token: Shown,
    expires_at: Time,
}

/// An open offer of a credential to somebody.
#[derive(Serialize, ToSchema)]
pub struct Transfer {
    id: String,
    credential: TransferredCredential,
    /// E-mail address of its owner.
    from: String,
    /// E-mail address of the recipient.
    to: String,
    /// `incoming`: to me; `outgoing`: from me.
    direction: &'static str,
    created_at: Time,
    expires_at: Time,
}

/// Enough of a credential to know what is meant.
#[derive(Serialize, ToSchema)]
struct TransferredCredential {
    id: String,
    name: String,
    /// `builtin/<id>` or `<project>/<id>`.
    connector_uid: String,
}

impl From<transfer::Offer> for Transfer {
    fn from(offer: transfer::Offer) -> Self {
        Self {
            id: offer.id.to_string(),
            credential: TransferredCredential {
                id: offer.credential,
                name: offer.credential_name,
                connector_uid: offer.connector,
            },
            from: offer.from,
            to: offer.to,
            direction: if offer.incoming { "incoming" } else { "outgoing" },
            created_at: offer.created_at.into(),
            expires_at: offer.expires_at.into(),
        }
    }
}

/// Offers a credential to another person; for its owner.
///
/// The recipient accepts with the token, in their own session or with their own key, once, within three days. The
/// offer is void after any change of the credential, its shares or a membership; a new one takes its place. Both are
/// told. A recipient who is not in every project that uses it is a 422 with `projects`. In a browser this wants a
/// recent sign-in.
#[utoipa::path(post, path = "/api/v1/credentials/{id}/transfer", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`")), request_body = OfferTransfer, responses((status = 201, body = Offered), Refusals))]
async fn offer_transfer(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    Body(body): Body<OfferTransfer>,
) -> ApiResult<impl IntoResponse> {
    let offered = app.broker().offer_transfer(&actor, &id, &body.email).await?;
    let once = Extension(ShownOnce(format!("The offer {}", offered.id)));
    let answer =
        Offered { id: offered.id.to_string(), token: offered.token, expires_at: offered.expires_at.into() };
    Ok((StatusCode::CREATED, once, Json(answer)))
}

/// Takes an open offer back; for the credential's owner.
#[utoipa::path(delete, path = "/api/v1/credentials/{id}/transfer", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`")), responses((status = 204, description = "Taken back"), Refusals))]
async fn cancel_transfer(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
) -> ApiResult<StatusCode> {
    app.broker().cancel_transfer(&actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Open offers to me and from me, oldest first.
#[utoipa::path(get, path = "/api/v1/me/transfers", tag = "Me", params(Page), responses((status = 200, body = Listed<Transfer>), Refusals))]
async fn list_transfers(
    State(app): State<App>,
    Acting(actor): Acting,
    Asked(page): Asked<Page>,
) -> ApiResult<Json<Listed<Transfer>>> {
    let paging = Paging::new(page.cursor.clone(), Some(page.limit()?));
    let page = app.broker().transfers(&actor, &paging).await?;
    Ok(Json(Listed {
        items: page.items.into_iter().map(Transfer::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// An offer, as its recipient sees it before accepting.
#[derive(Serialize, ToSchema)]
struct TransferPreview {
    #[serde(flatten)]
    offer: Transfer,
    /// Projects that use the credential, and go on doing so.
    projects: Vec<String>,
}

impl From<Preview> for TransferPreview {
    fn from(preview: Preview) -> Self {
        Self { offer: preview.offer.into(), projects: preview.projects }
    }
}

/// What an offer is about; for the person it is meant for.
///
/// One that is over (accepted, taken back, void, run out) is a 410; anybody else's is a 404.
#[utoipa::path(get, path = "/api/v1/transfers/{token}", tag = "Credentials", params(("token" = String, Path)), responses((status = 200, body = TransferPreview), Refusals))]
async fn get_transfer(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(token): Named<String>,
) -> ApiResult<Json<TransferPreview>> {
    Ok(Json(app.broker().transfer_preview(&actor, &token).await?.into()))
}

/// Accepts an offer: the credential is mine from now on; for the person it is meant for, once.
///
/// Everything that uses the credential goes on as before. In a browser this wants a recent sign-in.
#[utoipa::path(post, path = "/api/v1/transfers/{token}/accept", tag = "Credentials", params(("token" = String, Path)), responses((status = 200, body = Credential), Refusals))]
async fn accept_transfer(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(token): Named<String>,
) -> ApiResult<impl IntoResponse> {
    let view = Box::pin(app.broker().accept_transfer(&actor, &token)).await?;
    Ok((etag(view.version), Json(Credential::from(view))))
}
