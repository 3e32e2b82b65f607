//! `POST /api/v1/credentials/{id}/verify`.

use axum::Json;
use axum::extract::State;
use latchstring_broker::credentials::check::Report;
use serde::{Deserialize, Serialize};
use serde_json::Value;
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
    OpenApiRouter::new().routes(routes!(verify_credential))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Verify {
    /// One of the credential's own environments.
    environment: String,
}

/// A field that is in the way.
#[derive(Serialize, ToSchema)]
struct InTheWay {
    /// JSON pointer, as in a PATCH of the credential.
    pointer: String,
    detail: String,
}

/// What a check found out, with everything secret masked.
#[derive(Serialize, ToSchema)]
struct Verification {
    /// Of this check: `verified`, `failing` (the API refused), or `unverified` (no clear answer, nothing to ask).
    status: &'static str,
    /// How the values stand now: `failing` only after two refusals in a row; a success clears it.
    environment_status: &'static str,
    checked_at: Time,
    /// Why not: `verification_failed`, `verification_inconclusive`, `secret_missing`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// `method`, `url` and `headers` as they were sent, of a token request also `body`; null when nothing was.
    #[schema(value_type = Option<Object>)]
    request: Option<Value>,
    /// `status`, `headers` and `body_excerpt` as they came; null when nothing did.
    #[schema(value_type = Option<Object>)]
    response: Option<Value>,
    explanation: String,
    /// What to do next; null when there is nothing to do.
    hint: Option<String>,
    /// Whom the API says that this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<InTheWay>,
}

impl From<Report> for Verification {
    fn from(report: Report) -> Self {
        Self {
            status: report.status.as_str(),
            environment_status: report.stands.as_str(),
            checked_at: report.checked_at.into(),
            code: report.code.map(|code| code.as_str()),
            request: report.request,
            response: report.response,
            explanation: report.explanation,
            hint: report.hint,
            account: report.account,
            errors: report
                .errors
                .into_iter()
                .map(|error| InTheWay { pointer: error.pointer, detail: error.detail })
                .collect(),
        }
    }
}

/// Asks the API whether the stored values still work.
///
/// For the owner, in every project that the values are granted to, and for members of such a project who may
/// call. A new token is obtained where the method has one. The answer is a 200 whatever the API said: request
/// and response stand side by side, masked.
#[utoipa::path(post, path = "/api/v1/credentials/{id}/verify", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`")), request_body = Verify, responses((status = 200, body = Verification), Refusals))]
async fn verify_credential(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    Body(body): Body<Verify>,
) -> ApiResult<Json<Verification>> {
    let report = Box::pin(app.broker().verify_credential(&actor, &id, &body.environment)).await?;
    Ok(Json(report.into()))
}
