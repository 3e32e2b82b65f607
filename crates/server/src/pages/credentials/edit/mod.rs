//! Changing a credential, for its owner: its values, what is said about it, who may use it, and a connector that was
//! changed under it.

mod approve;
mod details;
mod sharing;
mod values;

use latchstring_broker::credentials::versions::Version;
use latchstring_model::{Code, Problem};

use super::show::{Sheet, Through};
use crate::App;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Visitor};
use crate::pages::go;
use crate::pages::routes::Pages;
use crate::pages::ui::Exchange;

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/credentials/{id}/values", values::add)
        .send("/credentials/{id}/values", "credential.update", values::send_new)
        .show("/credentials/{id}/values/{environment}", values::show)
        .send("/credentials/{id}/values/{environment}", "credential.update", values::send)
        .send("/credentials/{id}/values/{environment}/remove", "credential.update", values::remove)
        .show("/credentials/{id}/details", details::show)
        .send("/credentials/{id}/details", "credential.update", details::send)
        .show("/credentials/{id}/sharing", sharing::show)
        .send("/credentials/{id}/sharing", "credential.update", sharing::send)
        .show("/credentials/{id}/approve", approve::show)
        .send("/credentials/{id}/approve", "credential.approve", approve::send)
}

/// The credential of somebody who may change it.
pub async fn own(app: &App, visitor: &Visitor, id: &str, through: &Through) -> Result<Sheet, Refused> {
    let sheet = Sheet::load(app, visitor, id, through).await?;
    if sheet.view.owned {
        return Ok(sheet);
    }
    let owner = sheet.owner(visitor);
    let what = visitor.t.editing.owner_only.with("owner", &owner).0;
    Err(Box::new(Problem::new(Code::Forbidden, what)).into())
}

async fn versions(app: &App, visitor: &Visitor, sheet: &Sheet) -> Result<Vec<Version>, Refused> {
    Ok(app.broker().credential_versions(&visitor.actor, sheet.view.id.as_str()).await?)
}

/// Refusals that belong beside the form; others end the way.
fn shown_here(problem: &Problem) -> bool {
    matches!(
        problem.code,
        Code::Invalid
            | Code::NameReserved
            | Code::PreconditionFailed
            | Code::VerificationFailed
            | Code::VerificationInconclusive
            | Code::SecretMissing
            | Code::TemplateError
            | Code::DestinationNotAllowed
    ) || frame::in_the_way(problem)
}

/// What the API was asked and answered, if it was.
fn exchange(visitor: &Visitor, problem: &Problem) -> Option<Exchange> {
    Exchange::of(visitor.t, problem.extra.get("request"), problem.extra.get("response"))
}

fn below(sheet: &Sheet, path: &str) -> String {
    format!("{}{path}{}", sheet.path(), sheet.query())
}

fn part(text: &str) -> String {
    go::part(text)
}
