//! `/credentials/{id}/call`: from a credential that works to a line that calls the API, with a key made for it.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use latchstring_broker::people::keys::NewKey;
use latchstring_broker::projects::Project;
use latchstring_broker::projects::service_keys::{NewServiceKey, WantedLimits};
use latchstring_model::entity::{KeyScope, Role, Status};
use latchstring_model::{Code, Problem};
use serde::Deserialize;

use super::fields::shown;
use super::show::{Head, Link, Sheet, Tab, Through};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Frame, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::projects::role_text;
use crate::pages::routes::Pages;
use crate::pages::ui::{Badge, Field, Wrong};
use crate::texts::Rich;

pub fn pages(pages: Pages) -> Pages {
    pages.show("/credentials/{id}/call", show).send("/credentials/{id}/call", "key.create", make)
}

/// What stands in the line until there is a key.
const NO_KEY: &str = "$LATCHSTRING_API_KEY";
/// The field of the connector `http` that names something to ask for.
const TEST_PATH: &str = "test_path";

#[derive(Default, Deserialize)]
pub struct Query {
    project: Option<String>,
    environment: Option<String>,
}

#[derive(Template)]
#[template(path = "credentials/call.html")]
struct Page {
    f: Frame,
    head: Head,
    wrong: Wrong,
    environments: Vec<Link>,
    badge: Option<Badge>,
    /// Why it cannot be called, and where to mend that.
    blocked: Option<(Rich, Option<String>)>,
    name: Field,
    key_help: Rich,
    action: String,
    /// Shown once.
    key: Option<String>,
    curl: String,
    program: Rich,
    may: bool,
}

/// Where one calls from, and with which of the credential's values.
struct Line<'s> {
    project: &'s Project,
    slug: String,
    environment: String,
    status: Option<Status>,
    path: String,
}

/// A path that answers something, if one is known.
fn sample(sheet: &Sheet, ours: Option<&str>) -> String {
    let stored = ours
        .and_then(|ours| sheet.view.environments.iter().find(|(name, _)| name == ours))
        .and_then(|(_, one)| one.fields.as_ref()?.get(TEST_PATH).map(shown));
    let defined = || {
        let definition = &sheet.connector.as_ref()?.definition;
        definition.sample_path(sheet.method()?).map(str::to_owned)
    };
    stored.filter(|path| !path.is_empty()).or_else(defined).unwrap_or_else(|| "/".to_owned())
}

fn line<'s>(sheet: &'s Sheet, wanted: Option<&str>) -> Option<Line<'s>> {
    let project = sheet.project.as_ref()?;
    let share = sheet.view.shares.iter().find(|share| share.project == project.slug)?;
    let granted = |name: &str| share.grants.contains_key(name);
    let first = project.environments.iter().map(|one| one.name.as_str()).find(|name| granted(name));
    let environment = wanted.filter(|name| granted(name)).or(first).unwrap_or_default().to_owned();
    let ours = share.grants.get(&environment);
    let found = ours.and_then(|ours| sheet.view.environments.iter().find(|(name, _)| name == ours));
    Some(Line {
        project,
        slug: share.slug.clone(),
        status: found.map(|(_, one)| one.status),
        path: sample(sheet, ours.map(String::as_str)),
        environment,
    })
}

/// A text within double quotes of a shell, and a URL without surprises.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('`', "\\`")
}

fn curl(app: &App, line: &Line<'_>, key: Option<&str>, personal: bool) -> String {
    let url = &app.broker().settings().public_url;
    let context = if personal {
        format!(
            " \\\n  -H \"Latchstring-Project: {}\" -H \"Latchstring-Environment: {}\"",
            line.project.slug, line.environment
        )
    } else {
        String::new()
    };
    let path = quoted(&line.path).replace('$', "\\$");
    format!(
        "curl -H \"Authorization: Bearer {}\"{context} \\\n  \"{url}/proxy/{}{path}\"",
        key.unwrap_or(NO_KEY),
        line.slug
    )
}

fn blocked(visitor: &Visitor, sheet: &Sheet, line: &Line<'_>) -> Option<(Rich, Option<String>)> {
    let (c, e) = (&visitor.t.credentials, &visitor.t.editing);
    let Some(status) = line.status else {
        let text = e.call_no_grant.rich().text("project", &line.project.name);
        let path = format!("{}/sharing{}", sheet.path(), sheet.query());
        return Some((text, sheet.view.owned.then_some(path)));
    };
    let how = match status {
        Status::Verified | Status::Unverified | Status::Failing => return None,
        Status::NeedsAuthorization => c.how_needs_authorization,
        Status::NeedsReconnect => c.how_needs_reconnect,
        Status::Disabled => c.how_disabled,
    };
    Some((e.call_not_ready.rich().text("how", &how), Some(format!("{}{}", sheet.path(), sheet.query()))))
}

fn not_here(visitor: &Visitor) -> Refused {
    let what = visitor.t.credentials.not_shared.to_string();
    Box::new(Problem::new(Code::NotFound, what)).into()
}

async fn page(
    app: &App,
    visitor: &Visitor,
    sheet: &Sheet,
    query: &Query,
    typed: Option<&str>,
    mut wrong: Wrong,
) -> Result<Page, Refused> {
    let (t, e) = (visitor.t, &visitor.t.editing);
    let line = line(sheet, query.environment.as_deref()).ok_or_else(|| not_here(visitor))?;
    let path = |environment: &str| {
        format!("{}/call?project={}&environment={}", sheet.path(), line.project.slug, go::part(environment))
    };
    let share = sheet.view.shares.iter().find(|share| share.project == line.project.slug);
    let environments = line
        .project
        .environments
        .iter()
        .filter(|one| share.is_some_and(|share| share.grants.contains_key(&one.name)))
        .map(|one| Link {
            path: path(&one.name),
            label: one.name.clone(),
            current: one.name == line.environment,
        })
        .collect();
    let admin = line.project.role >= Role::Admin;
    let name = Field::text(t, "name", e.call_name).most(200).autocomplete("off");
    let guess = format!("{} ({})", sheet.view.name, line.environment);
    let key_help = if admin {
        e.call_step_key_help.rich().text("environment", &line.environment)
    } else {
        e.call_step_key_own.rich()
    };
    let url = format!("{}/proxy/{}", app.broker().settings().public_url, line.slug);
    Ok(Page {
        f: sheet.frame(app, visitor).await?,
        head: sheet.head(visitor, Tab::Call),
        environments,
        badge: line.status.map(|status| Badge::status(t, status)),
        blocked: blocked(visitor, sheet, &line),
        name: name.value(typed.unwrap_or(&guess)).wrong(&mut wrong),
        wrong,
        key_help,
        action: path(&line.environment),
        key: None,
        curl: curl(app, &line, None, !admin),
        program: e.call_program.with("url", &url).rich(),
        may: line.project.role >= Role::Editor,
    })
}

async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let sheet = Sheet::load(&app, &visitor, &id, &Through { project: query.project.clone() }).await?;
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&page(&app, &visitor, &sheet, &query, None, wrong).await?))
}

#[derive(Deserialize)]
pub struct Form {
    name: String,
}

/// Makes a key that can call with this credential: an admin's is the project's, an editor's is their own.
async fn make(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(query): Asked<Query>,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let sheet = Sheet::load(&app, &visitor, &id, &Through { project: query.project.clone() }).await?;
    let line = line(&sheet, query.environment.as_deref()).ok_or_else(|| not_here(&visitor))?;
    let admin = line.project.role >= Role::Admin;
    let made = if admin {
        let limits =
            WantedLimits { credentials: Some(vec![sheet.view.id.to_string()]), ..WantedLimits::default() };
        let new = NewServiceKey {
            name: form.name.clone(),
            scope: KeyScope::Call,
            environment: Some(line.environment.clone()),
            limits,
            expires_at: None,
        };
        let made = app.broker().create_service_key(&visitor.actor, line.project.id.as_str(), new).await;
        made.map(|made| made.secret)
    } else if line.project.role >= Role::Editor {
        let new = NewKey { name: form.name.clone(), scope: KeyScope::Call, expires_at: None };
        app.broker().create_my_key(&visitor.actor, new).await.map(|made| made.secret)
    } else {
        let role = role_text(visitor.t, line.project.role);
        let what = visitor.t.editing.call_viewer.with("role", &role).0;
        return Err(Box::new(Problem::new(Code::Forbidden, what)).into());
    };
    match made {
        Ok(secret) => {
            let wrong = Wrong::none(visitor.t);
            let mut page = page(&app, &visitor, &sheet, &query, Some(&form.name), wrong).await?;
            page.curl = curl(&app, &line, Some(secret.reveal()), !admin);
            page.key = Some(secret.reveal().to_owned());
            Ok(html(StatusCode::CREATED, &page))
        }
        Err(problem) if problem.code == Code::Invalid => {
            let wrong = Wrong::of(visitor.t, &problem, []);
            let status = frame::status(&problem);
            Ok(html(status, &page(&app, &visitor, &sheet, &query, Some(&form.name), wrong).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn nothing_of_a_path_gets_out_of_its_quotes() {
        assert_eq!(quoted("/a\"; rm -rf `x` \\"), "/a\\\"; rm -rf \\`x\\` \\\\");
    }
}
