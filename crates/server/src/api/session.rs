//! `/api/v1/session`: signing in and out with a browser's cookie.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse};
use latchstring_broker::people::sessions::SignIn;
use latchstring_model::{Code, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::{Acting, Anyone};
use crate::extract::body::Body;
use crate::extract::secret::Secret;
use crate::problem::{ApiError, ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(sign_in, sign_out)).routes(routes!(ways_in))
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
    /// For an account with a second factor: the code that the app shows now, or a recovery code. Without it the
    /// answer is a 401 `second_factor_needed`; then the same request once more, with it.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password, write_only)]
    totp: Option<Secret>,
}

/// Signs in.
///
/// The session lives for 12 hours after its last use and 30 days at most. An unknown account and a wrong
/// password look the same. Ten tries at once for an account from one address, then one per 30 seconds (429);
/// of codes five for an account, then one per five minutes.
#[utoipa::path(post, path = "/api/v1/session", tag = "Sessions", security(()), request_body = NewSession, responses((status = 204, description = "Signed in; `Set-Cookie` has the session"), Refusals))]
async fn sign_in(
    State(app): State<App>,
    Anyone(actor): Anyone,
    headers: HeaderMap,
    Body(body): Body<NewSession>,
) -> ApiResult<impl IntoResponse> {
    let ask = SignIn {
        email: body.email,
        password: body.password.0,
        totp: body.totp.map(|code| code.0),
        agent: agent(&headers),
    };
    let entered = app.door().sign_in(ask, actor.address).await?;
    Ok((StatusCode::NO_CONTENT, set_cookie(entered.cookie)?))
}

/// Signs out: the session ends.
#[utoipa::path(delete, path = "/api/v1/session", tag = "Sessions", responses((status = 204, description = "Ended"), Refusals))]
async fn sign_out(State(app): State<App>, Acting(actor): Acting) -> ApiResult<impl IntoResponse> {
    app.broker().sign_out(&actor).await?;
    Ok((StatusCode::NO_CONTENT, set_cookie(app.door().no_cookie())?))
}

/// How people sign in here.
#[derive(Serialize, ToSchema)]
struct WaysIn {
    /// What this server is called.
    name: String,
    /// Whose passwords are taken: `everyone`, `superusers` or `nobody`.
    #[schema(example = "everyone")]
    passwords: &'static str,
    /// The sign-in provider, if one is set up.
    provider: Option<SignInProvider>,
    /// Whether a link for a forgotten password comes by mail.
    reset_by_mail: bool,
}

#[derive(Serialize, ToSchema)]
struct SignInProvider {
    name: String,
    /// To be opened in a browser.
    #[schema(example = "https://latchstring.example.org/sign-in/provider")]
    url: String,
}

/// How one can sign in here; for anybody.
#[utoipa::path(get, path = "/api/v1/session/ways", tag = "Sessions", security(()), responses((status = 200, body = WaysIn), Refusals))]
async fn ways_in(State(app): State<App>) -> ApiResult<Json<WaysIn>> {
    let ways = app.broker().ways_in().await?;
    let url = format!("{}/sign-in/provider", app.broker().settings().public_url);
    Ok(Json(WaysIn {
        name: ways.name,
        passwords: ways.passwords.as_str(),
        provider: ways.provider.map(|name| SignInProvider { name, url }),
        reset_by_mail: ways.reset_by_mail,
    }))
}
