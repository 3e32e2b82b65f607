//! `/api/v1/session`: signing in and out with a browser's cookie.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse};
use latchstring_broker::people::sessions::SignIn;
use latchstring_model::{Code, Problem};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::{Acting, Anyone};
use crate::extract::body::Body;
use crate::extract::secret::Secret;
use crate::problem::{ApiError, ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(sign_in, sign_out))
}

/// What a browser says of itself; a session is recognised by it.
pub fn agent(headers: &HeaderMap) -> String {
    headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// `Set-Cookie` of an answer.
pub fn set_cookie(cookie: String) -> Result<AppendHeaders<[(header::HeaderName, HeaderValue); 1]>, ApiError> {
    let value = HeaderValue::try_from(cookie)
        .map_err(|_| Problem::new(Code::Internal, "The session's cookie could not be written."))?;
    Ok(AppendHeaders([(header::SET_COOKIE, value)]))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSession {
    email: String,
    #[schema(value_type = String, format = Password, write_only)]
    password: Secret,
}

/// Signs in.
///
/// The session lives for 12 hours after its last use and 30 days at most. An unknown account and a wrong
/// password look the same. Ten tries at once for an account from one address, then one per 30 seconds (429).
#[utoipa::path(post, path = "/api/v1/session", tag = "Sessions", security(()), request_body = NewSession, responses((status = 204, description = "Signed in; `Set-Cookie` has the session"), Refusals))]
async fn sign_in(
    State(app): State<App>,
    Anyone(actor): Anyone,
    headers: HeaderMap,
    Body(body): Body<NewSession>,
) -> ApiResult<impl IntoResponse> {
    let ask = SignIn { email: body.email, password: body.password.0, agent: agent(&headers) };
    let entered = app.door().sign_in(ask, actor.address).await?;
    Ok((StatusCode::NO_CONTENT, set_cookie(entered.cookie)?))
}

/// Signs out: the session ends.
#[utoipa::path(delete, path = "/api/v1/session", tag = "Sessions", responses((status = 204, description = "Ended"), Refusals))]
async fn sign_out(State(app): State<App>, Acting(actor): Acting) -> ApiResult<impl IntoResponse> {
    app.broker().sign_out(&actor).await?;
    Ok((StatusCode::NO_CONTENT, set_cookie(app.door().no_cookie())?))
}
