//! The form, sent: what was typed becomes what the use case takes, and what it refuses is put beside the fields.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use latchstring_broker::credentials::view::View;
use latchstring_broker::credentials::{NewCredential, ShareInput, Verify};
use latchstring_broker::definitions::{AuthMethod, Connector};
use latchstring_model::entity::Status;
use latchstring_model::{Code, FieldError, Problem, Timestamp};
use serde_json::{Map, Value};

use super::form::{self, ONE};
use super::tried::TryError;
use super::{Desk, desk, tried};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::pages::credentials::about_the_slug;
use crate::pages::credentials::fields::{Pairs, Set};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Signed, html};
use crate::pages::go;
use crate::pages::ui::{Mistakes, Wrong};
use crate::texts::T;

type Sent = Vec<(String, String)>;

/// The box that has the credential used in an environment.
pub fn use_name(environment: &str) -> String {
    format!("use-{environment}")
}

fn chosen(desk: &Desk<'_>, pairs: &Pairs) -> Vec<String> {
    let environments = desk.project.iter().flat_map(|project| &project.environments);
    let names = environments.map(|environment| environment.name.clone());
    names.filter(|name| pairs.ticked(&use_name(name))).collect()
}

/// A day as the browser sends it.
pub fn day(t: T, pairs: &Pairs, name: &str) -> Result<Option<Timestamp>, FieldError> {
    match pairs.given(name) {
        None => Ok(None),
        Some(text) => match Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")) {
            Some(at) => Ok(Some(at)),
            None => Err(FieldError::new(format!("/{name}"), t.making.bad_day)),
        },
    }
}

/// Values by the credential's environments, and the project environments that get them.
struct Given {
    values: BTreeMap<String, Map<String, Value>>,
    grants: BTreeMap<String, String>,
}

fn values(desk: &Desk<'_>, method: &AuthMethod, pairs: &Pairs) -> Result<Given, Vec<FieldError>> {
    let chosen = chosen(desk, pairs);
    let each = pairs.get("sets") == Some("each");
    if each && chosen.is_empty() {
        let detail = desk.visitor.t.making.none_chosen;
        return Err(vec![FieldError::new("/sets", detail)]);
    }
    let names = if each { chosen.clone() } else { vec![ONE.to_owned()] };
    let mut given = Given { values: BTreeMap::new(), grants: BTreeMap::new() };
    let mut errors = Vec::new();
    for name in names {
        let pointer = format!("/values/{name}");
        let set = Set { t: desk.visitor.t, pointer, method, pairs, stored: None };
        match set.read() {
            Ok(values) => {
                given.values.insert(name, values);
            }
            Err(wrong) => errors.extend(wrong),
        }
    }
    for environment in chosen {
        let from = if each { environment.clone() } else { ONE.to_owned() };
        given.grants.insert(environment, from);
    }
    if errors.is_empty() { Ok(given) } else { Err(errors) }
}

pub fn read(
    desk: &Desk<'_>,
    connector: &Connector,
    method: &AuthMethod,
    pairs: &Pairs,
) -> Result<NewCredential, Box<Problem>> {
    let given = values(desk, method, pairs);
    let expires_on = day(desk.visitor.t, pairs, "expires_on");
    let mut errors = Vec::new();
    if let Err(error) = &expires_on {
        errors.push(error.clone());
    }
    let given = match given {
        Ok(given) if errors.is_empty() => given,
        Ok(_) => return Err(Problem::invalid(errors).into()),
        Err(wrong) => {
            errors.extend(wrong);
            return Err(Problem::invalid(errors).into());
        }
    };
    let consents = method.needs_consent();
    Ok(NewCredential {
        name: pairs.given("name").unwrap_or_default(),
        connector: connector.definition.id.clone(),
        auth_method: method.id.clone(),
        owner_project: desk
            .project_id()
            .filter(|_| pairs.get("owner_project") == Some("project"))
            .map(str::to_owned),
        external_id: pairs.given("external_id").filter(|_| desk.project.is_some()),
        oauth_client: pairs.given("oauth_client").filter(|_| consents),
        note: pairs.given("note"),
        acts_as: pairs.given("acts_as"),
        expires_on: expires_on.ok().flatten(),
        values: given.values,
        token: BTreeMap::new(),
        shares: desk
            .project
            .iter()
            .map(|project| ShareInput {
                project: project.id.to_string(),
                slug: pairs.given("slug"),
                grants: given.grants.clone(),
            })
            .collect(),
        verify: if pairs.get("verify") == Some("skip") { Verify::Skip } else { Verify::Required },
        connects: None,
    })
}

/// Use cases speak of the one share that the form has as of a list.
fn as_the_form_has_it(t: T, problem: &mut Problem) {
    for error in &mut problem.errors {
        if let Some(rest) = error.pointer.strip_prefix("/shares/0/") {
            error.pointer = match rest {
                "slug" => "/slug".to_owned(),
                _ => "/sets".to_owned(),
            };
        }
    }
    if about_the_slug(problem) && problem.errors.is_empty() {
        let free = problem.extra.get("suggestion").and_then(Value::as_str).unwrap_or_default();
        let detail = match free {
            _ if problem.code == Code::NameReserved => problem.detail.to_string(),
            "" => t.making.slug_taken.to_string(),
            free => t.making.slug_taken_free.with("free", free).0,
        };
        problem.errors.push(FieldError::new("/slug", detail));
    }
}

/// Where one goes on: to the provider, to the first call, or to what was made.
fn next(desk: &Desk<'_>, view: &View) -> Response {
    let project = desk.project.as_ref().map(|project| project.slug.as_str());
    let context = project.map(|slug| format!("?project={slug}")).unwrap_or_default();
    let path = format!("/credentials/{}", view.id);
    let waits = view.environments.iter().find(|(_, one)| one.status == Status::NeedsAuthorization);
    if let Some((environment, _)) = waits {
        let path = format!("{path}/connect/{}{context}", go::part(environment));
        return go::saying(&path, Flash::CredentialWaiting);
    }
    let works = view.environments.iter().all(|(_, one)| one.status == Status::Verified);
    match (works, project) {
        (true, Some(_)) => go::saying(&format!("{path}/call{context}"), Flash::CredentialMade),
        (true, None) => go::saying(&path, Flash::CredentialMade),
        (false, _) => go::saying(&format!("{path}{context}"), Flash::CredentialUnverified),
    }
}

async fn send(desk: Desk<'_>, sent: Sent) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let connector = desk.connector(pairs.get("connector").unwrap_or_default()).await?;
    let id = pairs.get("method").unwrap_or_default().to_owned();
    let Some(method) = connector.definition.method(&id) else {
        let page = form::page(&desk, &connector, &id, &pairs, Wrong::none(desk.visitor.t), None).await?;
        return Ok(desk.visitor.show(&page));
    };
    if pairs.get(tried::TRY).is_some() {
        return match Box::pin(tried::answer(&desk, &connector, method, &pairs)).await {
            Ok(page) => Ok(page),
            Err(TryError::Typed(problem)) => beside_the_form(&desk, &connector, &id, &pairs, problem).await,
            Err(TryError::Page(refused)) => Err(refused),
        };
    }
    let made = match read(&desk, &connector, method, &pairs) {
        Ok(new) => Box::pin(desk.app.broker().create_credential(&desk.visitor.actor, new)).await,
        Err(problem) => Err(problem),
    };
    match made {
        Ok(view) => Ok(next(&desk, &view)),
        Err(problem) if problem.code == Code::Forbidden => Err(problem.into()),
        Err(problem) => beside_the_form(&desk, &connector, &id, &pairs, problem).await,
    }
}

/// The form once more, with what is wrong beside its fields.
async fn beside_the_form(
    desk: &Desk<'_>,
    connector: &Connector,
    method: &str,
    pairs: &Pairs,
    mut problem: Box<Problem>,
) -> Result<Response, Refused> {
    as_the_form_has_it(desk.visitor.t, &mut problem);
    let (t, typed) = (desk.visitor.t, desk.visitor.typed(pairs));
    let outcome = form::outcome(desk, connector, &problem);
    let mistakes = Mistakes::of_secrets(t, &problem);
    // The result says it all where the API was asked, and the lines do where a text cannot be read.
    let wrong = if outcome.is_some() || mistakes.is_all() {
        Wrong::beside(t, &problem, typed)
    } else {
        Wrong::of(t, &problem, typed)
    };
    let page = form::page(desk, connector, method, pairs, wrong, outcome).await?;
    Ok(html(frame::status(&problem), &page.with_mistakes(mistakes)))
}

pub async fn of_project(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(project): Named<String>,
    Filled(sent): Filled<Sent>,
) -> Result<Response, Refused> {
    Box::pin(send(desk(&app, &visitor, Some(&project)).await?, sent)).await
}

pub async fn of_mine(
    State(app): State<App>,
    Signed(visitor): Signed,
    Filled(sent): Filled<Sent>,
) -> Result<Response, Refused> {
    Box::pin(send(desk(&app, &visitor, None).await?, sent)).await
}
