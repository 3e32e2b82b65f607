//! `/api/v1/me/totp`: my second factor.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use latchstring_broker::people;
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
    OpenApiRouter::new()
        .routes(routes!(get_totp, offer_totp, remove_totp))
        .routes(routes!(confirm_totp))
        .routes(routes!(new_recovery_codes))
}

#[derive(Serialize, ToSchema)]
struct Totp {
    /// Whether signing in takes a code.
    enabled: bool,
    confirmed_at: Option<Time>,
    recovery_codes_left: i64,
}

/// Whether I have a second factor; in a session.
#[utoipa::path(get, path = "/api/v1/me/totp", tag = "Me", responses((status = 200, body = Totp), Refusals))]
async fn get_totp(State(app): State<App>, Acting(actor): Acting) -> ApiResult<Json<Totp>> {
    let found = app.broker().second_factor(&actor).await?;
    Ok(Json(Totp {
        enabled: found.confirmed_at.is_some(),
        confirmed_at: found.confirmed_at.map(Time),
        recovery_codes_left: found.recovery_codes_left,
    }))
}

#[derive(Serialize, ToSchema)]
struct OfferedTotp {
    /// In base32, to be typed into an app. Shown now and never again.
    #[schema(value_type = String, example = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")]
    secret: people::ShownOnce,
    /// The same for a QR code.
    #[schema(value_type = String, example = "otpauth://totp/…")]
    uri: people::ShownOnce,
}

/// Begins to set up a second factor: time-based codes of an app (RFC 6238: SHA-1, six digits, 30 seconds).
///
/// In a session with a recent sign-in. It guards nothing until POST /api/v1/me/totp/confirm. Begun again, the
/// secret before is void. Where one is set up already: 409.
#[utoipa::path(post, path = "/api/v1/me/totp", tag = "Me", responses((status = 201, body = OfferedTotp), Refusals))]
async fn offer_totp(State(app): State<App>, Acting(actor): Acting) -> ApiResult<impl IntoResponse> {
    let offered = app.broker().offer_second_factor(&actor).await?;
    let once = Extension(ShownOnce("The secret of the second factor".to_owned()));
    Ok((StatusCode::CREATED, once, Json(OfferedTotp { secret: offered.secret, uri: offered.uri })))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConfirmTotp {
    /// What the app shows now.
    #[schema(value_type = String, format = Password, write_only)]
    code: Secret,
}

#[derive(Serialize, ToSchema)]
struct RecoveryCodes {
    /// Ten, each good once in place of a code. Shown now and never again.
    #[schema(value_type = Vec<String>, example = json!(["AEBA-GBAF-AYDQ-QCIK"]))]
    recovery_codes: Vec<people::ShownOnce>,
}

/// Shows that the app has the secret: from now on signing in takes a code, and my other sessions end.
#[utoipa::path(post, path = "/api/v1/me/totp/confirm", tag = "Me", request_body = ConfirmTotp, responses((status = 200, body = RecoveryCodes), Refusals))]
async fn confirm_totp(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(body): Body<ConfirmTotp>,
) -> ApiResult<impl IntoResponse> {
    let recovery_codes = app.door().confirm_second_factor(&actor, &body.code.0).await?;
    let once = Extension(ShownOnce("The recovery codes".to_owned()));
    Ok((once, Json(RecoveryCodes { recovery_codes })))
}

/// Ten new recovery codes, in a session with a recent sign-in; those before are void.
#[utoipa::path(post, path = "/api/v1/me/totp/recovery-codes", tag = "Me", responses((status = 201, body = RecoveryCodes), Refusals))]
async fn new_recovery_codes(State(app): State<App>, Acting(actor): Acting) -> ApiResult<impl IntoResponse> {
    let recovery_codes = app.broker().new_recovery_codes(&actor).await?;
    let once = Extension(ShownOnce("The recovery codes".to_owned()));
    Ok((StatusCode::CREATED, once, Json(RecoveryCodes { recovery_codes })))
}

/// Removes my second factor and its recovery codes, in a session with a recent sign-in (which took a code).
#[utoipa::path(delete, path = "/api/v1/me/totp", tag = "Me", responses((status = 204, description = "Removed"), Refusals))]
async fn remove_totp(State(app): State<App>, Acting(actor): Acting) -> ApiResult<StatusCode> {
    app.broker().remove_my_second_factor(&actor).await?;
    Ok(StatusCode::NO_CONTENT)
}
