//! `/credentials/{id}/details`: its name, and what is said about it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::credentials::CredentialChange;
use latchstring_model::Problem;

use super::super::fields::Pairs;
use super::super::new::day;
use super::super::show::{Head, Sheet, Tab, Through};
use super::{below, own, shown_here};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, Wrong};

#[derive(Template)]
#[template(path = "credentials/details.html")]
struct Page {
    f: Frame,
    head: Head,
    action: String,
    wrong: Wrong,
    fields: Vec<Field>,
}

/// A day as the browser's field has it.
fn day_of(at: latchstring_model::Timestamp) -> String {
    at.to_rfc3339().chars().take(10).collect()
}

async fn page(
    app: &App,
    visitor: &Visitor,
    sheet: &Sheet,
    pairs: &Pairs,
    mut wrong: Wrong,
) -> Result<Page, Refused> {
    let (t, m, view) = (visitor.t, &visitor.t.making, &sheet.view);
    let typed = |name: &str, stored: Option<&str>| {
        let sent = pairs.sent().then(|| pairs.get(name).unwrap_or_default());
        sent.or(stored).unwrap_or_default().to_owned()
    };
    let expires_on = view.expires_on.map(day_of);
    let mut fields = vec![
        Field::text(t, "name", m.name).help(m.name_help).most(200).value(typed("name", Some(&view.name))),
    ];
    if !view.shares.is_empty() {
        let external = Field::text(t, "external_id", m.external_id).help(m.external_id_help).most(200);
        fields.push(external.optional().value(typed("external_id", view.external_id.as_deref())));
    }
    fields.extend([
        Field::text(t, "acts_as", m.acts_as)
            .help(m.acts_as_help)
            .most(200)
            .optional()
            .value(typed("acts_as", view.acts_as.as_deref())),
        Field::date(t, "expires_on", m.expires_on)
            .help(m.expires_on_help)
            .optional()
            .value(typed("expires_on", expires_on.as_deref())),
        Field::area(t, "note", m.note, 4)
            .help(m.note_help)
            .optional()
            .value(typed("note", view.note.as_deref())),
    ]);
    Ok(Page {
        f: sheet.frame(app, visitor).await?,
        head: sheet.head(visitor, Tab::Below),
        action: below(sheet, "/details"),
        fields: fields.into_iter().map(|field| field.wrong(&mut wrong)).collect(),
        wrong,
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
    Ok(visitor.show(&page(&app, &visitor, &sheet, &Pairs::default(), wrong).await?))
}

async fn save(app: &App, visitor: &Visitor, sheet: &Sheet, pairs: &Pairs) -> Result<(), Box<Problem>> {
    let expires_on =
        day(visitor.t, pairs, "expires_on").map_err(|error| Box::new(Problem::invalid(vec![error])))?;
    let change = CredentialChange {
        name: Some(pairs.given("name").unwrap_or_default()),
        note: Some(pairs.given("note")),
        acts_as: Some(pairs.given("acts_as")),
        external_id: (!sheet.view.shares.is_empty()).then(|| pairs.given("external_id")),
        expires_on: Some(expires_on),
        ..CredentialChange::default()
    };
    let version = pairs.get("version").and_then(|text| text.parse().ok());
    let id = sheet.view.id.as_str();
    Box::pin(app.broker().change_credential(&visitor.actor, id, change, version)).await.map(|_| ())
}

pub async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(through): Asked<Through>,
    Filled(pairs): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(pairs);
    let sheet = own(&app, &visitor, &id, &through).await?;
    match save(&app, &visitor, &sheet, &pairs).await {
        Ok(()) => Ok(go::saying(&below(&sheet, ""), Flash::CredentialChanged)),
        Err(problem) if shown_here(&problem) => {
            let wrong = Wrong::of(visitor.t, &problem, []);
            let page = page(&app, &visitor, &sheet, &pairs, wrong).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}
