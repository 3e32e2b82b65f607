//! `PATCH /api/v1/credentials/{id}` and `…/approve`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use latchstring_broker::credentials::{CredentialChange, change};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::api::credentials::{Credential, HowToVerify, ShareWith};
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::path::Named;
use crate::extract::precondition::{IfMatch, etag};
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(change_credential)).routes(routes!(approve_credential))
}

/// A field that is there and null is not the same as one that is not there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeCredential {
    /// One line of 1 to 200 characters.
    name: Option<String>,
    /// Another OAuth client (`oac_…`), in a request of its own: then its owner consents anew.
    oauth_client: Option<String>,
    /// At most 4,000 characters; null clears it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    note: Option<Option<String>>,
    /// Whom changes at the other side are made as; null clears it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    acts_as: Option<Option<String>>,
    /// Chooses this credential by data, in every project that it is shared with; null clears it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    external_id: Option<Option<String>>,
    /// When the credential itself ends at its provider; null clears it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_on: Option<Option<Time>>,
    /// In every project that it is shared with, unless the share says its own.
    slug: Option<String>,
    /// By environment. Merged per field, null clears a field; an environment that is null is removed.
    #[serde(default)]
    #[schema(value_type = Object)]
    values: BTreeMap<String, Option<Map<String, Value>>>,
    /// The whole list. A share with `"grants": {}` stays, and every grant of it is withdrawn.
    shares: Option<Vec<ShareWith>>,
    #[serde(default)]
    verify: HowToVerify,
}

/// Changes a credential; for its owner.
///
/// What changed is verified first, as on creation: with the merged values, for every grant as it will be. If one
/// environment fails, nothing is saved. Changed values are a new version, and tokens of older ones end. An
/// environment that is granted is removed only together with its grants (422 with `grants`). Where the values
/// would go to a new origin, shares with projects that you do not administer are suspended until an admin accepts.
#[utoipa::path(patch, path = "/api/v1/credentials/{id}", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`"), ("If-Match" = Option<String>, Header, description = "The `ETag` that is edited")), request_body = ChangeCredential, responses((status = 200, body = Credential), Refusals))]
async fn change_credential(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    IfMatch(version): IfMatch,
    Body(body): Body<ChangeCredential>,
) -> ApiResult<impl IntoResponse> {
    let change = CredentialChange {
        name: body.name,
        oauth_client: body.oauth_client,
        note: body.note,
        acts_as: body.acts_as,
        external_id: body.external_id,
        expires_on: body.expires_on.map(|at| at.map(|Time(at)| at)),
        slug: body.slug,
        values: body.values,
        shares: body.shares.map(|shares| shares.into_iter().map(Into::into).collect()),
        verify: body.verify.into(),
    };
    let view = Box::pin(app.broker().change_credential(&actor, &id, change, version)).await?;
    Ok((etag(view.version), Json(Credential::from(view))))
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Approve {
    /// Only look: what changed, without asking the API and without saving.
    #[serde(default)]
    preview: bool,
    /// `after.digest` of a preview: refused (412) when the connector was changed once more since.
    digest: Option<String>,
    /// Values that the changed connector wants, as in a PATCH.
    #[serde(default)]
    #[schema(value_type = Object)]
    values: BTreeMap<String, Option<Map<String, Value>>>,
    #[serde(default)]
    verify: HowToVerify,
}

/// Where values may be sent, with one version of the connector.
#[derive(Serialize, ToSchema)]
struct Destinations {
    /// Of all that decides where values go, hexadecimal.
    digest: String,
    /// By environment. Before anything is asked, what depends on a token or a project is not known.
    destinations: BTreeMap<String, Vec<String>>,
}

impl From<change::Destinations> for Destinations {
    fn from(from: change::Destinations) -> Self {
        Self { digest: from.digest, destinations: from.destinations }
    }
}

#[derive(Serialize, ToSchema)]
struct Approval {
    /// Whether the connector is another than the one that was approved last.
    changed: bool,
    before: Destinations,
    after: Destinations,
    /// As saved; null for a preview.
    credential: Option<Credential>,
}

/// Accepts that a connector sends this credential elsewhere; for its owner.
///
/// Calls answer 409 `connector_changed` until then. Every environment is verified with the connector as it is
/// now; tokens that were obtained before end.
#[utoipa::path(post, path = "/api/v1/credentials/{id}/approve", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`")), request_body = Approve, responses((status = 200, body = Approval), Refusals))]
async fn approve_credential(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    Body(body): Body<Approve>,
) -> ApiResult<Json<Approval>> {
    let change =
        CredentialChange { values: body.values, verify: body.verify.into(), ..CredentialChange::default() };
    let approving =
        app.broker().approve_connector(&actor, &id, change, body.digest.as_deref(), !body.preview);
    let approval = Box::pin(approving).await?;
    Ok(Json(Approval {
        changed: approval.changed,
        before: approval.before.into(),
        after: approval.after.into(),
        credential: approval.saved.map(Credential::from),
    }))
}
