//! `/credentials/{id}/values…`: one environment's values. What is secret is kept where nothing is typed.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::credentials::{CredentialChange, Verify};
use latchstring_broker::definitions::AuthMethod;
use latchstring_model::{Code, FieldError, Problem};
use serde_json::Map;

use super::super::fields::{Pairs, Set, Stored};
use super::super::show::{Head, Sheet, Tab, Through, set_when};
use super::{below, exchange, own, part, shown_here, versions};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Exchange, Field, Mistakes, Wrong};
use crate::texts::T;

#[derive(Template)]
#[template(path = "credentials/values.html")]
struct Page {
    f: Frame,
    head: Head,
    title: String,
    action: String,
    wrong: Wrong,
    mistakes: Mistakes,
    /// Of a new environment.
    environment: Option<Field>,
    fields: Vec<Field>,
    whole: Option<Field>,
    exchange: Option<Exchange>,
    consents: bool,
    remove: Option<String>,
}

/// What was wrong with what was sent.
struct Told {
    wrong: Wrong,
    mistakes: Mistakes,
    exchange: Option<Exchange>,
}

impl Told {
    fn nothing(t: T) -> Self {
        Self { wrong: Wrong::none(t), mistakes: Mistakes::none(t), exchange: None }
    }

    fn of(visitor: &Visitor, problem: &Problem, pairs: &Pairs) -> Self {
        let (t, typed) = (visitor.t, visitor.typed(pairs));
        let mistakes = Mistakes::of_secrets(t, problem);
        let wrong = match mistakes.is_all() {
            true => Wrong::beside(t, problem, typed),
            false => Wrong::of(t, problem, typed),
        };
        Self { wrong, mistakes, exchange: exchange(visitor, problem) }
    }
}

/// Where the values of a new environment stand before it has a name.
const NEW: &str = "new";

fn method<'s>(visitor: &Visitor, sheet: &'s Sheet) -> Result<&'s AuthMethod, Refused> {
    sheet.method().ok_or_else(|| {
        let what = visitor.t.editing.no_method.with("connector", &sheet.connector_name()).0;
        Box::new(Problem::new(Code::ConnectorChanged, what)).into()
    })
}

async fn page(
    app: &App,
    visitor: &Visitor,
    sheet: &Sheet,
    environment: Option<&str>,
    pairs: &Pairs,
    told: Told,
) -> Result<Page, Refused> {
    let Told { mut wrong, mistakes, exchange } = told;
    let (t, e, now) = (visitor.t, &visitor.t.editing, app.broker().now());
    let method = method(visitor, sheet)?;
    let view = match environment {
        None => None,
        Some(name) => Some(current(visitor, sheet, name)?),
    };
    let versions = versions(app, visitor, sheet).await?;
    let none = Map::new();
    let stored = view.map(|view| Stored {
        fields: view.fields.as_ref().unwrap_or(&none),
        secrets: view
            .secret_fields
            .iter()
            .map(|field| {
                let name = environment.unwrap_or_default();
                (field.clone(), set_when(t, &versions, name, field, now, &t.common.secret_set_when))
            })
            .collect(),
    });
    let pointer = format!("/values/{}", environment.unwrap_or(NEW));
    let set = Set { t, pointer, method, pairs, stored: stored.as_ref() };
    let name = environment.is_none().then(|| {
        let field = Field::text(t, "environment", e.environment).mono().help(e.environment_help).most(63);
        field.value(pairs.get("environment").unwrap_or_default()).wrong(&mut wrong)
    });
    let fields = method.fields.iter().map(|field| set.draw(field, &mut wrong)).collect();
    let whole = set.draw_whole(&mut wrong);
    let title = match environment {
        Some(name) => t.credentials.edit_values_named.with("environment", name).0,
        None => t.credentials.add_values.to_string(),
    };
    let action = match environment {
        Some(name) => below(sheet, &format!("/values/{}", part(name))),
        None => below(sheet, "/values"),
    };
    let several = sheet.view.environments.len() > 1;
    Ok(Page {
        f: sheet.frame(app, visitor).await?,
        head: sheet.head(visitor, Tab::Below),
        title,
        action,
        wrong,
        mistakes,
        environment: name,
        fields,
        whole,
        exchange,
        consents: sheet.consents(),
        remove: environment
            .filter(|_| several)
            .map(|name| below(sheet, &format!("/values/{}/remove", part(name)))),
    })
}

fn current<'s>(
    visitor: &Visitor,
    sheet: &'s Sheet,
    name: &str,
) -> Result<&'s latchstring_broker::credentials::view::EnvironmentView, Refused> {
    let found = sheet.view.environments.iter().find(|(known, _)| known == name);
    found.map(|(_, view)| view).ok_or_else(|| {
        Box::new(Problem::new(Code::NotFound, visitor.t.editing.no_environment.to_string())).into()
    })
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((id, environment)): Named<(String, String)>,
    Asked(through): Asked<Through>,
) -> Result<Response, Refused> {
    let sheet = own(&app, &visitor, &id, &through).await?;
    let (pairs, told) = (Pairs::default(), Told::nothing(visitor.t));
    Ok(visitor.show(&page(&app, &visitor, &sheet, Some(&environment), &pairs, told).await?))
}

pub async fn add(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(through): Asked<Through>,
) -> Result<Response, Refused> {
    let sheet = own(&app, &visitor, &id, &through).await?;
    let (pairs, told) = (Pairs::default(), Told::nothing(visitor.t));
    Ok(visitor.show(&page(&app, &visitor, &sheet, None, &pairs, told).await?))
}

async fn save(
    app: &App,
    visitor: &Visitor,
    sheet: &Sheet,
    environment: Option<&str>,
    pairs: &Pairs,
) -> Result<(), Box<Problem>> {
    let method = sheet.method().ok_or_else(|| {
        let what = visitor.t.editing.no_method.with("connector", &sheet.connector_name()).0;
        Box::new(Problem::new(Code::ConnectorChanged, what))
    })?;
    let view = environment
        .and_then(|name| sheet.view.environments.iter().find(|(known, _)| known == name))
        .map(|(_, view)| view);
    let none = Map::new();
    let stored =
        view.map(|view| Stored { fields: view.fields.as_ref().unwrap_or(&none), secrets: Vec::new() });
    let place = environment.unwrap_or(NEW);
    let pointer = format!("/values/{place}");
    let set = Set { t: visitor.t, pointer, method, pairs, stored: stored.as_ref() };
    let values = set.read().map_err(|errors| Box::new(Problem::invalid(errors)))?;
    let name = match environment {
        Some(name) => name.to_owned(),
        None => {
            let name = pairs.given("environment").unwrap_or_default();
            let taken = sheet.view.environments.iter().any(|(known, _)| *known == name);
            if name.is_empty() || taken {
                let text = if taken {
                    visitor.t.editing.environment_taken
                } else {
                    visitor.t.editing.environment_missing
                };
                return Err(Problem::invalid(vec![FieldError::new("/environment", text)]).into());
            }
            name
        }
    };
    let change = CredentialChange {
        values: BTreeMap::from([(name.clone(), Some(values))]),
        verify: if pairs.get("verify") == Some("skip") { Verify::Skip } else { Verify::Required },
        ..CredentialChange::default()
    };
    let version = pairs.get("version").and_then(|text| text.parse().ok());
    let id = sheet.view.id.as_str();
    match Box::pin(app.broker().change_credential(&visitor.actor, id, change, version)).await {
        Ok(_) => Ok(()),
        Err(mut problem) => {
            // The form of a new environment does not know its name.
            let (from, to) = (format!("/values/{name}"), format!("/values/{place}"));
            for error in &mut problem.errors {
                if error.pointer == from && environment.is_none() {
                    error.pointer = "/environment".to_owned();
                } else if let Some(rest) = error.pointer.strip_prefix(&from) {
                    error.pointer = format!("{to}{rest}");
                }
            }
            Err(problem)
        }
    }
}

async fn sent(
    app: &App,
    visitor: &Visitor,
    sheet: &Sheet,
    environment: Option<&str>,
    pairs: Pairs,
) -> Result<Response, Refused> {
    match save(app, visitor, sheet, environment, &pairs).await {
        // Values that nobody may use yet are of no use: who may is asked next.
        Ok(()) if environment.is_none() => {
            Ok(go::saying(&below(sheet, "/sharing"), Flash::CredentialChanged))
        }
        Ok(()) => Ok(go::saying(&below(sheet, ""), Flash::CredentialChanged)),
        Err(problem) if shown_here(&problem) => {
            let told = Told::of(visitor, &problem, &pairs);
            let page = page(app, visitor, sheet, environment, &pairs, told).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((id, environment)): Named<(String, String)>,
    Asked(through): Asked<Through>,
    Filled(pairs): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let sheet = own(&app, &visitor, &id, &through).await?;
    current(&visitor, &sheet, &environment)?;
    Box::pin(sent(&app, &visitor, &sheet, Some(&environment), Pairs(pairs))).await
}

pub async fn send_new(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(through): Asked<Through>,
    Filled(pairs): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let sheet = own(&app, &visitor, &id, &through).await?;
    Box::pin(sent(&app, &visitor, &sheet, None, Pairs(pairs))).await
}

pub async fn remove(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((id, environment)): Named<(String, String)>,
    Asked(through): Asked<Through>,
    Filled(pairs): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(pairs);
    let sheet = own(&app, &visitor, &id, &through).await?;
    let change = CredentialChange {
        values: BTreeMap::from([(environment.clone(), None)]),
        ..CredentialChange::default()
    };
    let version = pairs.get("version").and_then(|text| text.parse().ok());
    let id = sheet.view.id.as_str();
    match Box::pin(app.broker().change_credential(&visitor.actor, id, change, version)).await {
        Ok(_) => Ok(go::saying(&below(&sheet, ""), Flash::CredentialChanged)),
        Err(problem) if shown_here(&problem) => {
            let told = Told { wrong: Wrong::of(visitor.t, &problem, []), ..Told::nothing(visitor.t) };
            let pairs = Pairs::default();
            let page = page(&app, &visitor, &sheet, Some(&environment), &pairs, told).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}
