//! `/projects/{project}/keys`: service keys, what each is limited to, a new one, an end.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use latchstring_broker::credentials::read::Wanted;
use latchstring_broker::people::Paging;
use latchstring_broker::projects::Project;
use latchstring_broker::projects::service_keys::{NewServiceKey, ServiceKey, WantedLimits};
use latchstring_model::entity::KeyScope;
use latchstring_model::{Code, Problem};
use serde::Deserialize;

use super::super::credentials::fields::Pairs;
use super::{project, some_lines};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::{Asked, Named};
use crate::pages::credentials::day;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::routes::Pages;
use crate::pages::ui::field::Answer;
use crate::pages::ui::{Field, When, Wrong};
use crate::texts::{Rich, T};

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/projects/{project}/keys", show)
        .show("/projects/{project}/keys/new", form)
        .send("/projects/{project}/keys", "key.create", make)
        .send("/projects/{project}/keys/{id}/end", "key.delete", end)
}

#[derive(Default, Deserialize)]
pub struct Query {
    cursor: Option<String>,
}

struct Line {
    name: String,
    environment: String,
    hint: Rich,
    used: Rich,
    ends: Option<Rich>,
    limits: Vec<String>,
    end: String,
    label: String,
}

#[derive(Template)]
#[template(path = "team/keys.html")]
struct List {
    f: Frame,
    lead: Rich,
    lines: Vec<Line>,
    new: Option<String>,
    next: Option<String>,
}

struct Credential {
    id: String,
    name: String,
    ticked: bool,
}

#[derive(Template)]
#[template(path = "team/key_new.html")]
struct New {
    f: Frame,
    list: String,
    wrong: Wrong,
    main: Vec<Field>,
    credentials: Vec<Credential>,
    limits: Vec<Field>,
    open: bool,
}

#[derive(Template)]
#[template(path = "team/key_made.html")]
struct Made {
    f: Frame,
    title: String,
    key: String,
    list: String,
}

/// What narrows it, in a few words each.
fn limits(visitor: &Visitor, key: &ServiceKey) -> Vec<String> {
    let m = &visitor.t.team;
    let limits = &key.limits;
    let mut all = Vec::new();
    let mut list = |label: &crate::texts::Text, items: Option<Vec<String>>| {
        if let Some(items) = items {
            all.push(format!("{label}: {}", items.join(", ")));
        }
    };
    let shown =
        |ids: &Vec<latchstring_model::id::CredentialId>| ids.iter().map(ToString::to_string).collect();
    list(&m.key_credentials, limits.credentials.as_ref().map(shown));
    list(&m.key_methods, limits.methods.clone());
    list(&m.key_paths, limits.path_prefixes.clone());
    let networks = limits.networks.as_ref().map(|list| list.iter().map(ToString::to_string).collect());
    list(&m.key_networks, networks);
    list(&m.key_acts_for, limits.may_act_for.clone());
    if limits.operations_only {
        all.push(m.key_operations.to_string());
    }
    all
}

async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let (t, m, now) = (visitor.t, &visitor.t.team, app.broker().now());
    let project = project(&app, &visitor, &named).await?;
    let paging = Paging::new(query.cursor, Some(50));
    let page = app.broker().service_keys(&visitor.actor, project.id.as_str(), &paging).await?;
    let lines = page.items.into_iter().map(|key| Line {
        limits: limits(&visitor, &key),
        hint: m.key_hint.rich().text("hint", &key.hint),
        used: match key.used_at {
            Some(at) => m.key_used.rich().part("when", &When::near(t, at, now)),
            None => m.key_unused.rich(),
        },
        ends: key.expires_at.map(|at| m.key_ends.rich().part("when", &When::near(t, at, now))),
        end: format!("/projects/{}/keys/{}/end", project.slug, key.id),
        label: m.key_end_named.with("name", &key.name).0,
        name: key.name,
        environment: key.environment.unwrap_or_else(|| m.key_account.to_string()),
    });
    let base = format!("/projects/{}/keys", project.slug);
    let list = List {
        lines: lines.collect(),
        f: Frame::of(&app, &visitor, Place::Keys, Some(&project)).await?,
        lead: m.keys_lead.rich().text("project", &project.name),
        new: project.role.may_administer().then(|| format!("{base}/new")),
        next: page.next_cursor.map(|cursor| format!("{base}?cursor={}", go::part(&cursor))),
    };
    Ok(visitor.show(&list))
}

async fn draw(
    app: &App,
    visitor: &Visitor,
    project: &Project,
    pairs: &Pairs,
    mut wrong: Wrong,
) -> Result<New, Refused> {
    let (t, m) = (visitor.t, &visitor.t.team);
    let typed = |name: &str| pairs.get(name).unwrap_or_default().to_owned();
    let environments = project.environments.iter().map(|one| Answer::new(&one.name, &one.name)).collect();
    let first = project.environments.first().map_or("", |one| one.name.as_str());
    let main = vec![
        Field::text(t, "name", m.key_name).example(m.key_name_example).most(200).value(typed("name")).focus(),
        Field::choice(t, "environment", m.key_environment, environments)
            .value(pairs.get("environment").unwrap_or(first)),
        Field::tick(t, "manage", m.key_manage, pairs.ticked("manage")).help(m.key_manage_help),
        Field::date(t, "expires_at", m.key_expires).optional().value(typed("expires_at")),
    ];
    let area = |name: &'static str, label, help| {
        Field::area(t, name, label, 2).mono().help(help).optional().value(typed(name))
    };
    let limits = vec![
        Field::tick(t, "operations_only", m.key_operations, pairs.ticked("operations_only"))
            .help(m.key_operations_help),
        area("methods", m.key_methods, m.key_methods_help),
        area("path_prefixes", m.key_paths, m.key_paths_help),
        area("networks", m.key_networks, m.key_networks_help),
        area("may_act_for", m.key_acts_for, m.key_acts_for_help),
    ];
    let wanted = Wanted { project: Some(project.id.to_string()), ..Wanted::default() };
    let found = app.broker().credentials(&visitor.actor, &wanted, &Paging::new(None, Some(100))).await?;
    let chosen = |id: &str| pairs.iter().any(|(name, value)| name == "credential" && value == id);
    let credentials: Vec<Credential> = found
        .items
        .into_iter()
        .map(|view| {
            let id = view.id.to_string();
            Credential { ticked: chosen(&id), id, name: view.name }
        })
        .collect();
    let main = main.into_iter().map(|field| field.wrong(&mut wrong)).collect();
    let limits: Vec<Field> = limits.into_iter().map(|field| field.wrong(&mut wrong)).collect();
    Ok(New {
        f: Frame::of(app, visitor, Place::Keys, Some(project)).await?,
        list: format!("/projects/{}/keys", project.slug),
        open: limits.iter().any(Field::wants_attention) || credentials.iter().any(|one| one.ticked),
        wrong,
        main,
        credentials,
        limits,
    })
}

async fn form(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
) -> Result<Response, Refused> {
    let project = project(&app, &visitor, &named).await?;
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&draw(&app, &visitor, &project, &Pairs::default(), wrong).await?))
}

fn wanted(t: T, pairs: &Pairs) -> Result<NewServiceKey, Box<Problem>> {
    let expires_at = day(t, pairs, "expires_at").map_err(|error| Box::new(Problem::invalid(vec![error])))?;
    let credentials: Vec<String> =
        pairs.iter().filter(|(name, _)| *name == "credential").map(|(_, id)| id.to_owned()).collect();
    let account = pairs.ticked("manage");
    Ok(NewServiceKey {
        name: pairs.given("name").unwrap_or_default(),
        scope: if account { KeyScope::Manage } else { KeyScope::Call },
        environment: pairs.given("environment").filter(|_| !account),
        limits: WantedLimits {
            credentials: Some(credentials).filter(|list| !list.is_empty()),
            operations_only: pairs.ticked("operations_only"),
            methods: some_lines(pairs, "methods"),
            path_prefixes: some_lines(pairs, "path_prefixes"),
            networks: some_lines(pairs, "networks"),
            may_act_for: some_lines(pairs, "may_act_for"),
        },
        expires_at,
    })
}

async fn make(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let made = match wanted(visitor.t, &pairs) {
        Ok(new) => app.broker().create_service_key(&visitor.actor, &named, new).await,
        Err(problem) => Err(problem),
    };
    match made {
        Ok(made) => {
            let project = project(&app, &visitor, &named).await?;
            let page = Made {
                f: Frame::of(&app, &visitor, Place::Keys, Some(&project)).await?,
                title: visitor.t.team.key_made.with("name", &made.key.name).0,
                key: made.secret.reveal().to_owned(),
                list: format!("/projects/{}/keys", project.slug),
            };
            Ok(html(StatusCode::CREATED, &page))
        }
        Err(problem) if problem.code == Code::Invalid => {
            let project = project(&app, &visitor, &named).await?;
            let wrong = Wrong::of(visitor.t, &problem, []);
            Ok(html(frame::status(&problem), &draw(&app, &visitor, &project, &pairs, wrong).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}

async fn end(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((project, id)): Named<(String, String)>,
) -> Result<Response, Refused> {
    app.broker().end_service_key(&visitor.actor, &project, &id).await?;
    Ok(go::saying(&format!("/projects/{}/keys", go::part(&project)), Flash::KeyEnded))
}
