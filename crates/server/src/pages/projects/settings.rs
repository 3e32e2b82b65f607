//! `/projects/{project}/settings`: name, short name, environments; deleting it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::projects::Project;
use latchstring_broker::projects::life::ProjectChange;
use latchstring_model::entity::Role;
use latchstring_model::{Code, FieldError, Problem};
use serde::Deserialize;
use serde_json::Value;

use super::{new, role_text};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, Wrong};
use crate::texts::Rich;

#[derive(Template)]
#[template(path = "projects/settings.html")]
struct Page {
    f: Frame,
    project: Project,
    wrong: Wrong,
    fields: Vec<Field>,
    may_change: bool,
    may_delete: bool,
    admins_only: Rich,
    confirm: Field,
    confirm_wrong: Wrong,
    /// What went with environments that were removed, or would go.
    removed: Vec<Rich>,
    /// Names of environments that go when the tick beside says so.
    removing: String,
}

/// The two forms of the page, as they were sent.
struct Typed {
    name: String,
    slug: String,
    environments: String,
    second_factor: bool,
    version: i64,
    /// Environments that something would go with.
    going: Vec<Going>,
    wrong: Wrong,
    confirm_wrong: Wrong,
}

impl Typed {
    fn of(visitor: &Visitor, project: &Project) -> Self {
        let names: Vec<&str> =
            project.environments.iter().map(|environment| environment.name.as_str()).collect();
        Self {
            name: project.name.clone(),
            slug: project.slug.clone(),
            environments: names.join("\n"),
            second_factor: project.require_second_factor,
            version: project.version,
            going: Vec::new(),
            wrong: Wrong::none(visitor.t),
            confirm_wrong: Wrong::none(visitor.t),
        }
    }
}

async fn page(app: &App, visitor: &Visitor, project: Project, typed: Typed) -> Result<Page, Refused> {
    let (t, p) = (visitor.t, &visitor.t.projects);
    let Typed { mut wrong, mut confirm_wrong, .. } = typed;
    let mut fields = vec![
        Field::text(t, "name", p.name).value(&typed.name).most(200),
        new::slug(t, &typed.slug).help(p.slug_change_help),
        new::environments(t, &typed.environments).help(p.environments_warning),
    ];
    if project.role == Role::Owner {
        let required = Field::tick(t, "second_factor", p.second_factor, typed.second_factor);
        fields.push(required.help(p.second_factor_help));
    }
    let removing = typed.going.iter().map(|going| going.name.as_str()).collect::<Vec<_>>().join(" ");
    if !removing.is_empty() {
        fields.push(
            Field::tick(t, "remove", p.remove.with("environments", &removing), false).help(p.remove_help),
        );
    }
    let fields = fields.into_iter().map(|field| field.wrong(&mut wrong)).collect();
    let label = p.delete_confirm.with("slug", &project.slug);
    let confirm = Field::text(t, "confirm", label).mono().autocomplete("off").wrong(&mut confirm_wrong);
    Ok(Page {
        f: Frame::of(app, visitor, Place::Settings, Some(&project)).await?,
        may_change: project.role.may_administer(),
        may_delete: project.role == Role::Owner,
        admins_only: p.admins_only.with("role", &role_text(t, project.role)).rich(),
        project: Project { version: typed.version, ..project },
        wrong,
        fields,
        confirm,
        confirm_wrong,
        removed: typed.going.iter().map(|going| going.told(p.would_go.rich(), visitor)).collect(),
        removing,
    })
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(project): Named<String>,
) -> Result<Response, Refused> {
    let project = app.broker().project(&visitor.actor, &project).await?;
    let typed = Typed::of(&visitor, &project);
    Ok(visitor.show(&page(&app, &visitor, project, typed).await?))
}

#[derive(Deserialize)]
pub struct Form {
    name: String,
    slug: String,
    environments: String,
    second_factor: Option<String>,
    /// Whether `removing` go with what is in them.
    remove: Option<String>,
    #[serde(default)]
    removing: String,
    /// What was edited: somebody else's change is not overwritten.
    version: i64,
}

pub async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let project = app.broker().project(&visitor.actor, &named).await?;
    let second_factor = form.second_factor.is_some();
    let environments = new::lines(&form.environments);
    let change = ProjectChange {
        // Only what was shown, and is still left out.
        remove_environments: form
            .removing
            .split_whitespace()
            .filter(|name| form.remove.is_some() && !environments.iter().any(|kept| kept == name))
            .map(str::to_owned)
            .collect(),
        // Left out where it stays: only owners may say anything of it.
        require_second_factor: Some(second_factor)
            .filter(|wanted| project.role == Role::Owner && *wanted != project.require_second_factor),
        slug: Some(form.slug.trim().to_owned()),
        name: Some(form.name.clone()),
        environments: Some(environments),
    };
    match app.broker().change_project(&visitor.actor, &named, change, Some(form.version)).await {
        Ok(changed) if changed.removed.is_empty() => {
            Ok(go::saying(&format!("/projects/{}/settings", changed.project.slug), Flash::Saved))
        }
        Ok(changed) => {
            // What went is told once, here: nothing else remembers it.
            let typed = Typed::of(&visitor, &changed.project);
            let mut page = page(&app, &visitor, changed.project, typed).await?;
            page.f.flash = Some(Flash::Saved);
            page.removed = changed
                .removed
                .into_iter()
                .map(|gone| {
                    let going = Going {
                        name: gone.name,
                        values: [gone.secrets, gone.variables].concat(),
                        keys: gone.api_keys,
                        credentials: gone.credentials,
                    };
                    going.told(visitor.t.projects.removed.rich(), &visitor)
                })
                .collect();
            Ok(visitor.show(&page))
        }
        Err(problem)
            if matches!(
                problem.code,
                Code::Invalid
                    | Code::SlugTaken
                    | Code::PreconditionFailed
                    | Code::SecondFactorRequired
                    | Code::EnvironmentInUse
            ) =>
        {
            let project = app.broker().project(&visitor.actor, &named).await?;
            let typed = Typed {
                name: form.name,
                slug: form.slug,
                environments: form.environments,
                second_factor,
                version: project.version,
                going: going(&problem),
                wrong: match problem.code {
                    // The page has its own words for it, and a tick.
                    Code::EnvironmentInUse => Wrong::none(visitor.t),
                    _ => Wrong::of(visitor.t, &problem, []),
                },
                ..Typed::of(&visitor, &project)
            };
            Ok(html(frame::status(&problem), &page(&app, &visitor, project, typed).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}

/// An environment, and what goes with it.
struct Going {
    name: String,
    values: Vec<String>,
    keys: Vec<String>,
    credentials: Vec<String>,
}

impl Going {
    fn told(&self, sentence: Rich, visitor: &Visitor) -> Rich {
        let c = &visitor.t.common;
        let groups =
            [(c.secrets, &self.values), (c.service_keys, &self.keys), (c.credentials, &self.credentials)];
        let parts: Vec<String> = groups
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect();
        let nothing = visitor.t.projects.nothing_removed;
        let what = if parts.is_empty() { nothing.to_string() } else { parts.join("; ") };
        sentence.text("environment", &self.name).text("what", &what)
    }
}

/// What the refusal lists.
fn going(problem: &Problem) -> Vec<Going> {
    let list = problem.extra.get("environments").and_then(Value::as_array).into_iter().flatten();
    list.map(|one| {
        let names = |name: &str| -> Vec<String> {
            let names = one.get(name).and_then(Value::as_array).into_iter().flatten();
            names.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Going {
            name: one.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            values: [names("secrets"), names("variables")].concat(),
            keys: names("api_keys"),
            credentials: names("credentials"),
        }
    })
    .collect()
}

#[derive(Deserialize)]
pub struct Confirmed {
    confirm: String,
}

pub async fn delete(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
    Filled(form): Filled<Confirmed>,
) -> Result<Response, Refused> {
    let project = app.broker().project(&visitor.actor, &named).await?;
    let refusal = if form.confirm.trim() == project.slug {
        match app.broker().delete_project(&visitor.actor, project.id.as_str()).await {
            Ok(()) => return Ok(go::saying("/projects", Flash::ProjectDeleted)),
            Err(problem) if problem.code == Code::CredentialInUse => problem,
            Err(problem) => return Err(problem.into()),
        }
    } else {
        let detail = visitor.t.projects.delete_mismatch;
        Box::new(Problem::invalid(vec![FieldError::new("/confirm", detail)]))
    };
    let typed = Typed { confirm_wrong: Wrong::of(visitor.t, &refusal, []), ..Typed::of(&visitor, &project) };
    Ok(html(frame::status(&refusal), &page(&app, &visitor, project, typed).await?))
}
