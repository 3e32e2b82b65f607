//! `/credentials/{id}/approve`: the connector sends values elsewhere now; its owner looks, and approves or does not.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::credentials::CredentialChange;
use latchstring_broker::credentials::change::Approval;
use serde::Deserialize;

use super::super::show::{Head, Sheet, Tab, Through};
use super::{below, exchange, own, shown_here};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Exchange, Wrong};
use crate::texts::Rich;

struct Line {
    environment: String,
    before: Vec<String>,
    after: Vec<String>,
}

#[derive(Template)]
#[template(path = "credentials/approve.html")]
struct Page {
    f: Frame,
    head: Head,
    lead: Rich,
    action: String,
    digest: String,
    lines: Vec<Line>,
    wrong: Wrong,
    exchange: Option<Exchange>,
}

fn lines(approval: &Approval) -> Vec<Line> {
    let names: BTreeSet<&String> =
        approval.before.destinations.keys().chain(approval.after.destinations.keys()).collect();
    names
        .into_iter()
        .map(|name| Line {
            environment: name.clone(),
            before: approval.before.destinations.get(name).cloned().unwrap_or_default(),
            after: approval.after.destinations.get(name).cloned().unwrap_or_default(),
        })
        .collect()
}

async fn page(
    app: &App,
    visitor: &Visitor,
    sheet: &Sheet,
    wrong: Wrong,
    exchange: Option<Exchange>,
) -> Result<Page, Refused> {
    let id = sheet.view.id.as_str();
    let look = app.broker().approve_connector(&visitor.actor, id, CredentialChange::default(), None, false);
    let approval = Box::pin(look).await?;
    Ok(Page {
        f: sheet.frame(app, visitor).await?,
        head: sheet.head(visitor, Tab::Below),
        lead: visitor.t.credentials.approve_lead.rich().text("connector", &sheet.connector_name()),
        action: below(sheet, "/approve"),
        lines: lines(&approval),
        digest: approval.after.digest,
        wrong,
        exchange,
    })
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(through): Asked<Through>,
) -> Result<Response, Refused> {
    let sheet = own(&app, &visitor, &id, &through).await?;
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&page(&app, &visitor, &sheet, wrong, None).await?))
}

#[derive(Deserialize)]
pub struct Form {
    /// Of the connector that was looked at.
    digest: String,
}

pub async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(through): Asked<Through>,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let sheet = own(&app, &visitor, &id, &through).await?;
    let approved = app.broker().approve_connector(
        &visitor.actor,
        sheet.view.id.as_str(),
        CredentialChange::default(),
        Some(&form.digest),
        true,
    );
    match Box::pin(approved).await {
        Ok(_) => Ok(go::saying(&below(&sheet, ""), Flash::ConnectorApproved)),
        Err(problem) if shown_here(&problem) => {
            let exchange = exchange(&visitor, &problem);
            let wrong = Wrong::of(visitor.t, &problem, []);
            let page = page(&app, &visitor, &sheet, wrong, exchange).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}
