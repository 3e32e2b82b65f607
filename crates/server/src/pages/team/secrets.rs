//! `/projects/{project}/secrets`: named values for templates, by environment.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::projects::Project;
use latchstring_broker::projects::values::{NewValue, SecretKind};
use latchstring_model::entity::Role;
use latchstring_model::{Code, SecretString};
use serde::Deserialize;

use super::super::credentials::fields::Pairs;
use super::{emails, lines, project};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::projects::role_text;
use crate::pages::routes::Pages;
use crate::pages::ui::{Field, When, Wrong};
use crate::texts::Rich;

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/projects/{project}/secrets", show)
        .send("/projects/{project}/secrets/{environment}", "secret.set", set_secret)
        .send("/projects/{project}/variables/{environment}", "variable.set", set_variable)
        .send("/projects/{project}/secrets/{environment}/{name}/delete", "secret.delete", delete_secret)
        .send("/projects/{project}/variables/{environment}/{name}/delete", "variable.delete", delete_variable)
}

#[derive(Default, Deserialize)]
pub struct Query {
    environment: Option<String>,
}

struct Tab {
    label: String,
    path: String,
    current: bool,
}

struct Line {
    name: String,
    value: Option<String>,
    set: Rich,
    hosts: Option<Rich>,
    delete: String,
    label: String,
}

#[derive(Template)]
#[template(path = "team/secrets.html")]
struct Page {
    f: Frame,
    lead: Rich,
    tabs: Vec<Tab>,
    secrets: Vec<Line>,
    secrets_none: Rich,
    variables: Vec<Line>,
    variables_none: Rich,
    may: bool,
    look_only: Rich,
    secret_form: Vec<Field>,
    secret_wrong: Wrong,
    secret_action: String,
    variable_form: Vec<Field>,
    variable_wrong: Wrong,
    variable_action: String,
}

/// Ids of the two forms differ; their fields' names do not.
fn form(visitor: &Visitor, kind: SecretKind, pairs: &Pairs, wrong: &mut Wrong) -> Vec<Field> {
    let (t, m) = (visitor.t, &visitor.t.team);
    let typed = |name: &str| pairs.get(name).unwrap_or_default().to_owned();
    let prefix = if kind == SecretKind::Secret { "secret" } else { "variable" };
    let name = Field::text(t, "name", m.name).mono().help(m.name_help).most(128).value(typed("name"));
    let hosts =
        Field::area(t, "hosts", m.hosts, 2).mono().help(m.hosts_help).optional().value(typed("hosts"));
    let fields = match kind {
        SecretKind::Secret => vec![
            name.id("secret-name"),
            Field::file(t, "value", m.secret_value, 3)
                .help(m.secret_value_help)
                .never_shown()
                .id("secret-value"),
            hosts.id("secret-hosts"),
        ],
        SecretKind::Variable => vec![
            name.id("variable-name"),
            Field::area(t, "value", m.value, 2).mono().value(typed("value")).id(format!("{prefix}-value")),
        ],
    };
    fields.into_iter().map(|field| field.wrong(wrong)).collect()
}

/// A form that was sent and refused.
struct Sent {
    kind: SecretKind,
    pairs: Pairs,
    wrong: Wrong,
}

async fn lines_of(
    app: &App,
    visitor: &Visitor,
    project: &Project,
    environment: &str,
    kind: SecretKind,
    known: &[(String, String)],
) -> Result<Vec<Line>, Refused> {
    let (t, m, now) = (visitor.t, &visitor.t.team, app.broker().now());
    let id = project.id.as_str();
    let page = app.broker().values(&visitor.actor, id, environment, kind, None, 200).await?;
    let part = if kind == SecretKind::Secret { "secrets" } else { "variables" };
    let lines = page.items.into_iter().map(|value| {
        let who = known
            .iter()
            .find(|(id, _)| *id == value.set_by)
            .map_or(value.set_by.as_str(), |(_, email)| email);
        Line {
            set: m.secret_set.rich().part("when", &When::near(t, value.set_at, now)).text("who", who),
            hosts: (!value.hosts.is_empty())
                .then(|| m.hosts_shown.rich().text("hosts", &value.hosts.join(", "))),
            delete: format!(
                "/projects/{}/{part}/{}/{}/delete",
                project.slug,
                go::part(environment),
                go::part(&value.name)
            ),
            label: m.delete_named.with("name", &value.name).0,
            value: value.value,
            name: value.name,
        }
    });
    Ok(lines.collect())
}

async fn page(
    app: &App,
    visitor: &Visitor,
    project: Project,
    wanted: Option<&str>,
    sent: Option<Sent>,
) -> Result<Page, Refused> {
    let (t, m) = (visitor.t, &visitor.t.team);
    let known = emails(app, visitor, &project).await?;
    let names: Vec<&str> = project.environments.iter().map(|one| one.name.as_str()).collect();
    let environment =
        wanted.filter(|name| names.contains(name)).or(names.first().copied()).unwrap_or_default();
    let tabs = names
        .iter()
        .map(|name| Tab {
            label: (*name).to_owned(),
            path: format!("/projects/{}/secrets?environment={}", project.slug, go::part(name)),
            current: *name == environment,
        })
        .collect();
    let (mut secret, mut variable) = (Wrong::none(t), Wrong::none(t));
    let none = Pairs::default();
    let (secret_form, variable_form) = match sent {
        Some(Sent { kind: SecretKind::Secret, pairs, wrong }) => {
            secret = wrong;
            (
                form(visitor, SecretKind::Secret, &pairs, &mut secret),
                form(visitor, SecretKind::Variable, &none, &mut variable),
            )
        }
        Some(Sent { pairs, wrong, .. }) => {
            variable = wrong;
            (
                form(visitor, SecretKind::Secret, &none, &mut secret),
                form(visitor, SecretKind::Variable, &pairs, &mut variable),
            )
        }
        None => (
            form(visitor, SecretKind::Secret, &none, &mut secret),
            form(visitor, SecretKind::Variable, &none, &mut variable),
        ),
    };
    let part = go::part(environment);
    Ok(Page {
        f: Frame::of(app, visitor, Place::Secrets, Some(&project)).await?,
        lead: m.secrets_lead.rich(),
        tabs,
        secrets: lines_of(app, visitor, &project, environment, SecretKind::Secret, &known).await?,
        secrets_none: m.secrets_none.rich().text("environment", environment),
        variables: lines_of(app, visitor, &project, environment, SecretKind::Variable, &known).await?,
        variables_none: m.variables_none.rich().text("environment", environment),
        may: project.role >= Role::Editor,
        look_only: m.look_only.rich().text("role", &role_text(t, project.role)),
        secret_form,
        secret_wrong: secret,
        secret_action: format!("/projects/{}/secrets/{part}", project.slug),
        variable_form,
        variable_wrong: variable,
        variable_action: format!("/projects/{}/variables/{part}", project.slug),
    })
}

async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let project = project(&app, &visitor, &named).await?;
    Ok(visitor.show(&page(&app, &visitor, project, query.environment.as_deref(), None).await?))
}

fn back(project: &str, environment: &str, flash: Flash) -> Response {
    go::saying(
        &format!("/projects/{}/secrets?environment={}", go::part(project), go::part(environment)),
        flash,
    )
}

async fn set(
    app: &App,
    visitor: &Visitor,
    named: &str,
    environment: &str,
    kind: SecretKind,
    sent: Vec<(String, String)>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let name = pairs.given("name").unwrap_or_default();
    let value = pairs.get("value").unwrap_or_default().replace("\r\n", "\n");
    let new = NewValue { value: SecretString::new(value), hosts: lines(&pairs, "hosts") };
    match app.broker().set_value(&visitor.actor, named, environment, kind, &name, new).await {
        Ok(()) => {
            let flash = if kind == SecretKind::Secret { Flash::SecretSet } else { Flash::VariableSet };
            Ok(back(named, environment, flash))
        }
        Err(mut problem) if problem.code == Code::Invalid || frame::in_the_way(&problem) => {
            for error in problem.errors.iter_mut().filter(|error| error.pointer.is_empty()) {
                // The API has the name in its path.
                error.pointer = "/name".to_owned();
            }
            let wrong = Wrong::of(visitor.t, &problem, visitor.typed(&pairs));
            let project = project(app, visitor, named).await?;
            let sent = Sent { kind, pairs, wrong };
            let page = page(app, visitor, project, Some(environment), Some(sent)).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

async fn set_secret(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((project, environment)): Named<(String, String)>,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    set(&app, &visitor, &project, &environment, SecretKind::Secret, sent).await
}

async fn set_variable(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((project, environment)): Named<(String, String)>,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    set(&app, &visitor, &project, &environment, SecretKind::Variable, sent).await
}

async fn delete_secret(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((project, environment, name)): Named<(String, String, String)>,
) -> Result<Response, Refused> {
    app.broker().delete_value(&visitor.actor, &project, &environment, SecretKind::Secret, &name).await?;
    Ok(back(&project, &environment, Flash::SecretDeleted))
}

async fn delete_variable(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((project, environment, name)): Named<(String, String, String)>,
) -> Result<Response, Refused> {
    app.broker().delete_value(&visitor.actor, &project, &environment, SecretKind::Variable, &name).await?;
    Ok(back(&project, &environment, Flash::VariableDeleted))
}
