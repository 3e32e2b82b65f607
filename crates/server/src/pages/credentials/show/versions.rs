//! `/credentials/{id}/versions`: what the values were, by names alone, and going back. For its owner.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::credentials::Verify;
use latchstring_model::{Code, Problem};
use serde::Deserialize;

use super::{Head, Sheet, Tab, Through};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Exchange, When, Wrong};
use crate::texts::Rich;

struct Line {
    environment: String,
    title: String,
    changed: String,
    by: Rich,
    current: bool,
    restorable: bool,
    action: String,
    label: String,
}

#[derive(Template)]
#[template(path = "credentials/versions.html")]
struct Page {
    f: Frame,
    head: Head,
    lines: Vec<Line>,
    wrong: Wrong,
    exchange: Option<Exchange>,
}

async fn draw(
    app: &App,
    visitor: &Visitor,
    sheet: &Sheet,
    wrong: Wrong,
    exchange: Option<Exchange>,
) -> Result<Page, Refused> {
    let (t, c, now) = (visitor.t, &visitor.t.credentials, app.broker().now());
    let versions = app.broker().credential_versions(&visitor.actor, sheet.view.id.as_str()).await?;
    let lines = versions.into_iter().map(|version| {
        let who = version.set_by_email.as_deref().unwrap_or(&version.set_by).to_owned();
        let by = c.version_by.rich().part("when", &When::near(t, version.set_at, now)).text("who", &who);
        let title = c.version.with("n", &version.version).0;
        Line {
            changed: c.version_changed.with("fields", &version.changed_fields.join(", ")).0,
            by,
            action: format!(
                "{}/versions/{}/{}{}",
                sheet.path(),
                go::part(&version.environment),
                version.version,
                sheet.query()
            ),
            label: format!("{}: {} ({})", c.version_restore, title, version.environment),
            title,
            environment: version.environment,
            current: version.current,
            restorable: version.restorable,
        }
    });
    Ok(Page {
        f: sheet.frame(app, visitor).await?,
        head: sheet.head(visitor, Tab::Versions),
        lines: lines.collect(),
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
    let sheet = Sheet::load(&app, &visitor, &id, &through).await?;
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&draw(&app, &visitor, &sheet, wrong, None).await?))
}

#[derive(Deserialize)]
pub struct Form {
    /// Of the credential that was looked at.
    version: i64,
}

fn shown_here(problem: &Problem) -> bool {
    matches!(
        problem.code,
        Code::Invalid
            | Code::VerificationFailed
            | Code::VerificationInconclusive
            | Code::PreconditionFailed
            | Code::VersionWiped
    ) || frame::in_the_way(problem)
}

pub async fn restore(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((id, environment, number)): Named<(String, String, i64)>,
    Asked(through): Asked<Through>,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let restored = Box::pin(app.broker().restore_version(
        &visitor.actor,
        &id,
        number,
        Some(&environment),
        Verify::Required,
        Some(form.version),
    ))
    .await;
    let query =
        through.project.as_ref().map(|slug| format!("?project={}", go::part(slug))).unwrap_or_default();
    match restored {
        Ok(_) => Ok(go::saying(&format!("/credentials/{id}{query}"), Flash::VersionRestored)),
        Err(problem) if shown_here(&problem) => {
            let sheet = Sheet::load(&app, &visitor, &id, &through).await?;
            let exchange =
                Exchange::of(visitor.t, problem.extra.get("request"), problem.extra.get("response"));
            let wrong = Wrong::of(visitor.t, &problem, []);
            Ok(html(frame::status(&problem), &draw(&app, &visitor, &sheet, wrong, exchange).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}
