//! `POST /api/v1/credentials/{id}/authorize`.

use axum::Json;
use axum::extract::State;
use latchstring_broker::consent::{Asked, Begun};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::path::Named;
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(authorize_credential))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Authorize {
    /// One of the credential's own environments.
    environment: String,
    /// Optional scopes of the OAuth client to ask for beside its mandatory ones and those that were granted before.
    scopes: Option<Vec<String>>,
    /// A path on this server that the browser goes to when all went well.
    return_to: Option<String>,
}

/// Where a person goes to consent: a link for a browser, or a code for another device.
#[derive(Serialize, ToSchema)]
struct Authorization {
    /// Opened in a browser in which the asking person is signed in here; ten minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorize_url: Option<String>,
    /// What the person enters at `verification_uri`. The server asks the provider until that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_uri: Option<String>,
    /// The same with the code in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_uri_complete: Option<String>,
    expires_at: Time,
}

impl From<Begun> for Authorization {
    fn from(begun: Begun) -> Self {
        match begun {
            Begun::Browser { authorize_url, expires_at } => Self {
                authorize_url: Some(authorize_url),
                user_code: None,
                verification_uri: None,
                verification_uri_complete: None,
                expires_at: expires_at.into(),
            },
            Begun::Device { user_code, verification_uri, verification_uri_complete, expires_at } => Self {
                authorize_url: None,
                user_code: Some(user_code),
                verification_uri: Some(verification_uri),
                verification_uri_complete,
                expires_at: expires_at.into(),
            },
        }
    }
}

/// Begins the consent of a credential whose method needs one, or renews it.
///
/// For the owner. Until the new grant stands, the old one is used. How it went is on the credential:
/// `environments.{environment}.authorization`.
#[utoipa::path(post, path = "/api/v1/credentials/{id}/authorize", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`")), request_body = Authorize, responses((status = 200, body = Authorization), Refusals))]
async fn authorize_credential(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    Body(body): Body<Authorize>,
) -> ApiResult<Json<Authorization>> {
    let asked = Asked { environment: body.environment, scopes: body.scopes, return_to: body.return_to };
    let begun = Box::pin(app.broker().begin_consent(&actor, &id, asked)).await?;
    Ok(Json(begun.into()))
}
