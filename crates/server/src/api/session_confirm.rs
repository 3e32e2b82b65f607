//! `/api/v1/session/confirm`: showing once more who one is, for what wants a recent sign-in.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use latchstring_broker::people;
use latchstring_broker::people::confirm::Confirm;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::secret::Secret;
use crate::extract::time::Time;
use crate::guard::repeat::ShownOnce;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(confirm)).routes(routes!(confirm_at_provider))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConfirmSession {
    #[schema(value_type = String, format = Password, write_only)]
    password: Secret,
    /// For an account with a second factor: the code that the app shows now, or a recovery code.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password, write_only)]
    totp: Option<Secret>,
}

/// Confirms who I am, in my session: from now on it counts as a recent sign-in.
///
/// Tries are counted as for signing in (429). Without a needed code the answer is a 401 `second_factor_needed`.
#[utoipa::path(post, path = "/api/v1/session/confirm", tag = "Sessions", request_body = ConfirmSession, responses((status = 204, description = "Confirmed"), Refusals))]
async fn confirm(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(body): Body<ConfirmSession>,
) -> ApiResult<StatusCode> {
    let confirm = Confirm { password: body.password.0, totp: body.totp.map(|code| code.0) };
    app.door().confirm_session(&actor, confirm).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GoThere {
    /// A path on this server, where the browser goes when all went well.
    pub return_to: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ProviderLink {
    /// To be opened in the browser of this very session; leads to the provider.
    #[schema(value_type = String, example = "https://latchstring.example.org/sign-in/provider/…")]
    url: people::ShownOnce,
    /// Ten minutes from now.
    expires_at: Time,
}

/// The answer, kept from being repeated.
pub fn link(what: &str, link: people::oidc::Link) -> impl IntoResponse {
    let once = Extension(ShownOnce(what.to_owned()));
    (StatusCode::CREATED, once, Json(ProviderLink { url: link.url, expires_at: link.expires_at.into() }))
}

/// Confirms who I am at the sign-in provider, which is asked to have me sign in anew.
///
/// It has to be the identity that my account is linked with.
#[utoipa::path(post, path = "/api/v1/session/confirm/provider", tag = "Sessions", request_body = GoThere, responses((status = 201, body = ProviderLink), Refusals))]
async fn confirm_at_provider(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(body): Body<GoThere>,
) -> ApiResult<impl IntoResponse> {
    let begun = app.door().begin_confirm(&actor, body.return_to.as_deref()).await?;
    Ok(link("The address of the provider", begun))
}
