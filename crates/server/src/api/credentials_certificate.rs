//! The certificate of a key that was made here: `/api/v1/credentials/{id}/certificate`.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::path::{Asked, Named};
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_credential_certificate))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// One of the credential's environments.
    environment: String,
    /// The field of the key, where several hold one, such as `private_key`.
    field: Option<String>,
}

/// The certificate of a private key that was generated here, to be given to the provider; for the owner.
///
/// PEM, as a download. The private key itself is never shown. 404 where the values hold no certificate: one is made
/// together with a key, when a field that can generate one is set to `{"generate": true}`.
#[utoipa::path(get, path = "/api/v1/credentials/{id}/certificate", tag = "Credentials", params(("id" = String, Path, description = "`crd_…`"), Which), responses((status = 200, content_type = "application/x-pem-file", body = String), Refusals))]
async fn get_credential_certificate(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    Asked(which): Asked<Which>,
) -> ApiResult<impl IntoResponse> {
    let found =
        app.broker().credential_certificate(&actor, &id, &which.environment, which.field.as_deref()).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-pem-file"),
        // Providers' forms ask for a .crt.
        (header::CONTENT_DISPOSITION, "attachment; filename=\"latchstring.crt\""),
    ];
    Ok((headers, found))
}
