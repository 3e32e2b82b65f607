//! Buttons of a credential: check, disable, delete, restore, accept.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use latchstring_broker::credentials::life::Deleted;
use serde::Deserialize;

use super::show::{Sheet, Through, draw};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Flash, Signed};
use crate::pages::go;
use crate::pages::routes::Pages;

pub fn pages(pages: Pages) -> Pages {
    pages
        .send("/credentials/{id}/verify", "credential.verify", verify)
        .send("/credentials/{id}/disable", "credential.disable", disable)
        .send("/credentials/{id}/enable", "credential.enable", enable)
        .send("/credentials/{id}/delete", "credential.delete", delete)
        .send("/credentials/{id}/purge", "credential.delete", purge)
        .send("/credentials/{id}/restore", "credential.restore", restore)
        .show("/credentials/{id}/certificate/{environment}", certificate)
        .send("/projects/{project}/credentials/{id}/accept", "credential.accept", accept)
        .send("/projects/{project}/credentials/{id}/withdraw", "credential.share", withdraw)
}

/// What was looked at: a change of somebody else's in between is not acted upon.
#[derive(Deserialize)]
pub struct Version {
    version: i64,
}

fn query(through: &Through) -> String {
    through.project.as_ref().map(|slug| format!("?project={}", go::part(slug))).unwrap_or_default()
}

fn back(id: &str, through: &Through, flash: Flash) -> Response {
    go::saying(&format!("/credentials/{}{}", go::part(id), query(through)), flash)
}

#[derive(Deserialize)]
pub struct Environment {
    environment: String,
}

async fn verify(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(through): Asked<Through>,
    Filled(form): Filled<Environment>,
) -> Result<Response, Refused> {
    let report = Box::pin(app.broker().verify_credential(&visitor.actor, &id, &form.environment)).await?;
    let sheet = Sheet::load(&app, &visitor, &id, &through).await?;
    let page = draw(&app, &visitor, &sheet, Some((&form.environment, &report))).await?;
    Ok(visitor.show(&page))
}

async fn disable(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(through): Asked<Through>,
    Filled(form): Filled<Version>,
) -> Result<Response, Refused> {
    app.broker().set_disabled(&visitor.actor, &id, true, Some(form.version)).await?;
    Ok(back(&id, &through, Flash::CredentialDisabled))
}

async fn enable(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(through): Asked<Through>,
    Filled(form): Filled<Version>,
) -> Result<Response, Refused> {
    app.broker().set_disabled(&visitor.actor, &id, false, Some(form.version)).await?;
    Ok(back(&id, &through, Flash::CredentialEnabled))
}

async fn delete(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(through): Asked<Through>,
    Filled(form): Filled<Version>,
) -> Result<Response, Refused> {
    app.broker().delete_credential(&visitor.actor, &id, false, Some(form.version)).await?;
    Ok(back(&id, &through, Flash::CredentialScheduled))
}

async fn purge(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Filled(form): Filled<Version>,
) -> Result<Response, Refused> {
    let deleted =
        Box::pin(app.broker().delete_credential(&visitor.actor, &id, true, Some(form.version))).await?;
    Ok(match deleted {
        Deleted::Purged => go::saying("/credentials", Flash::CredentialPurged),
        Deleted::Scheduled(_) => go::saying("/credentials", Flash::CredentialScheduled),
    })
}

async fn restore(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(through): Asked<Through>,
    Filled(form): Filled<Version>,
) -> Result<Response, Refused> {
    app.broker().restore_credential(&visitor.actor, &id, Some(form.version)).await?;
    Ok(back(&id, &through, Flash::CredentialRestored))
}

/// The certificate of a key that was made here, as a file.
async fn certificate(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((id, environment)): Named<(String, String)>,
) -> Result<Response, Refused> {
    let pem = app.broker().credential_certificate(&visitor.actor, &id, &environment, None).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-pem-file"),
        // Providers' forms ask for a .crt.
        (header::CONTENT_DISPOSITION, "attachment; filename=\"latchstring.crt\""),
    ];
    Ok((headers, pem).into_response())
}

async fn accept(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((project, id)): Named<(String, String)>,
    Filled(form): Filled<Version>,
) -> Result<Response, Refused> {
    app.broker().accept_share(&visitor.actor, &project, &id, Some(form.version)).await?;
    Ok(back(&id, &Through { project: Some(project) }, Flash::ShareAccepted))
}

async fn withdraw(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((project, id)): Named<(String, String)>,
) -> Result<Response, Refused> {
    app.broker().withdraw_share(&visitor.actor, &project, &id).await?;
    Ok(go::saying(&format!("/projects/{}/credentials", go::part(&project)), Flash::ShareWithdrawn))
}
