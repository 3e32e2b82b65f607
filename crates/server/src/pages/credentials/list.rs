//! `/projects/{project}/credentials` and `/credentials`: what a project may call, and what one owns.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::credentials::read::Wanted;
use latchstring_broker::credentials::view::View;
use latchstring_broker::definitions::Connector;
use latchstring_broker::people::Paging;
use latchstring_broker::projects::Project;
use latchstring_model::entity::{Principal, Role, Status};
use serde::Deserialize;

use super::names::{Names, id_of};
use crate::App;
use crate::extract::path::{Asked, Named};
use crate::pages::catalog::Shelf;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Place, Signed, Visitor};
use crate::pages::go;
use crate::pages::ui::field::Answer;
use crate::pages::ui::{Badge, Field, Tile, When};
use crate::texts::{Rich, T};

#[derive(Default, Deserialize)]
pub struct Query {
    #[serde(default)]
    q: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    connector: String,
    cursor: Option<String>,
}

impl Query {
    fn narrows(&self) -> bool {
        !(self.q.is_empty() && self.status.is_empty() && self.connector.is_empty())
    }

    /// As a link has it, with another connector.
    fn link(&self, base: &str, connector: &str, cursor: Option<&str>) -> String {
        let mut parts = Vec::new();
        for (name, value) in [("q", self.q.as_str()), ("status", &self.status), ("connector", connector)] {
            if !value.is_empty() {
                parts.push(format!("{name}={}", go::part(value)));
            }
        }
        if let Some(cursor) = cursor {
            parts.push(format!("cursor={}", go::part(cursor)));
        }
        if parts.is_empty() { base.to_owned() } else { format!("{base}?{}", parts.join("&")) }
    }
}

struct Line {
    tile: Tile,
    path: String,
    name: String,
    about: String,
    whose: String,
    badges: Vec<Badge>,
    deletes: Option<Rich>,
}

/// A connector that has credentials here.
struct Chosen {
    tile: Tile,
    name: String,
    count: i64,
    link: String,
    current: bool,
}

#[derive(Template)]
#[template(path = "credentials/list.html")]
struct Page {
    f: Frame,
    title: String,
    lead: Rich,
    lines: Vec<Line>,
    connectors: Vec<Chosen>,
    everything: Chosen,
    search: Field,
    status: Field,
    connector: String,
    base: String,
    next: Option<String>,
    /// Where a new one is made, for those who may.
    new: Option<String>,
    narrowed: bool,
    none_title: String,
    none_help: Rich,
}

/// A project with nothing in it: the catalog stands where the list will be.
#[derive(Template)]
#[template(path = "credentials/first.html")]
struct First {
    f: Frame,
    shelf: Shelf,
    sandbox: Option<String>,
    may: bool,
}

fn statuses(t: T) -> Vec<Answer> {
    let known = [
        Status::Verified,
        Status::Unverified,
        Status::Failing,
        Status::NeedsAuthorization,
        Status::NeedsReconnect,
        Status::Disabled,
    ];
    let mut answers = vec![Answer::new("", t.credentials.any_status)];
    answers.extend(known.map(|status| Answer::new(status.as_str(), Badge::word(t, status))));
    answers
}

fn wanted(query: &Query, project: Option<&Project>) -> Wanted {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    Wanted {
        project: project.map(|project| project.id.to_string()),
        connector: given(&query.connector),
        status: Status::parse(&query.status),
        q: given(&query.q),
        owner: None,
    }
}

/// How each environment stands: a project's own, as they are granted; or the credential's.
fn badges(t: T, view: &View, project: Option<&Project>) -> Vec<Badge> {
    let c = &t.credentials;
    let status =
        |ours: &str| view.environments.iter().find(|(name, _)| name == ours).map(|(_, one)| one.status);
    let Some(project) = project else {
        return view.environments.iter().map(|(name, one)| Badge::status(t, one.status).of(name)).collect();
    };
    let Some(share) = view.shares.iter().find(|share| share.project == project.slug) else {
        return Vec::new();
    };
    if share.suspended {
        return vec![Badge::new("warn", "warning", c.suspended)];
    }
    let granted = project.environments.iter().filter_map(|environment| {
        let ours = share.grants.get(&environment.name)?;
        Some(Badge::status(t, status(ours)?).of(&environment.name))
    });
    let granted: Vec<Badge> = granted.collect();
    if granted.is_empty() { vec![Badge::quiet(c.not_granted)] } else { granted }
}

fn whose(t: T, view: &View, visitor: &Visitor, project: Option<&Project>) -> String {
    let c = &t.credentials;
    if project.is_none() {
        let slugs: Vec<&str> = view.shares.iter().map(|share| share.project.as_str()).collect();
        return if slugs.is_empty() {
            c.not_shared.to_string()
        } else {
            c.shared_with.with("projects", &slugs.join(", ")).0
        };
    }
    let me = visitor.actor.person().map(|person| person.id.as_str()).unwrap_or_default();
    match &view.owner {
        Principal::User(id) if id.as_str() == me => c.owned_by_you.to_string(),
        Principal::User(_) => c.owned_by.with("owner", view.owner_email.as_deref().unwrap_or_default()).0,
        Principal::Project(_) => c.owned_by_project.to_string(),
    }
}

fn line(view: View, names: &Names, visitor: &Visitor, project: Option<&Project>) -> Line {
    let t = visitor.t;
    let context = project.map(|project| format!("?project={}", project.slug)).unwrap_or_default();
    let deletes = view.deletes_at.map(|at| t.credentials.deleted_on.rich().part("day", &When::day(t, at)));
    Line {
        tile: names.tile(&view.connector_uid),
        path: format!("/credentials/{}{context}", view.id),
        about: format!(
            "{} · {}",
            names.connector(&view.connector_uid),
            names.method(&view.connector_uid, &view.auth_method)
        ),
        whose: whose(t, &view, visitor, project),
        badges: badges(t, &view, project),
        deletes,
        name: view.name,
    }
}

async fn page(
    app: &App,
    visitor: &Visitor,
    project: Option<&Project>,
    query: Query,
    connectors: Vec<Connector>,
) -> Result<Page, Refused> {
    let (t, c) = (visitor.t, &visitor.t.credentials);
    let base = match project {
        Some(project) => format!("/projects/{}/credentials", project.slug),
        None => "/credentials".to_owned(),
    };
    let paging = Paging::new(query.cursor.clone(), Some(50));
    let found = app.broker().credentials(&visitor.actor, &wanted(&query, project), &paging).await?;
    let chosen: Vec<Chosen> = connectors
        .iter()
        .filter(|one| one.credentials > 0)
        .map(|one| Chosen {
            tile: Tile::new(&one.definition.name, &one.definition.id).small(),
            name: one.definition.name.clone(),
            count: one.credentials,
            link: query.link(&base, &one.definition.id, None),
            current: query.connector == one.definition.id,
        })
        .collect();
    let everything = Chosen {
        tile: Tile::new("", ""),
        name: c.all_connectors.to_string(),
        count: chosen.iter().map(|one| one.count).sum(),
        link: query.link(&base, "", None),
        current: query.connector.is_empty(),
    };
    let names = Names::new(connectors);
    let place = if project.is_some() { Place::Credentials } else { Place::MyCredentials };
    let may = project.is_none_or(|project| project.role >= Role::Editor);
    let (title, lead) = match project {
        Some(project) => (c.title, c.lead.rich().text("project", &project.name)),
        None => (c.mine, c.mine_lead.rich()),
    };
    let (none_title, none_help) = if query.narrows() || project.is_some() {
        (c.none_found, c.none_found_help.rich())
    } else {
        (c.none_mine, c.none_mine_help.rich())
    };
    Ok(Page {
        f: Frame::of(app, visitor, place, project).await?,
        title: title.to_string(),
        lead,
        lines: found.items.into_iter().map(|view| line(view, &names, visitor, project)).collect(),
        connectors: chosen,
        everything,
        search: Field::search(t, "q", c.search).value(&query.q),
        status: Field::choice(t, "status", c.status, statuses(t)).value(&query.status),
        next: found.next_cursor.map(|cursor| query.link(&base, &query.connector, Some(&cursor))),
        new: may.then(|| format!("{base}/new")),
        narrowed: query.narrows(),
        connector: query.connector,
        base,
        none_title: none_title.to_string(),
        none_help,
    })
}

pub async fn of_project(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(project): Named<String>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let project = app.broker().project(&visitor.actor, &project).await?;
    let connectors = app.broker().connectors(&visitor.actor, Some(project.id.as_str())).await?;
    let used: i64 = connectors.iter().map(|one| one.credentials).sum();
    if used == 0 && !query.narrows() {
        let f = Frame::of(&app, &visitor, Place::Credentials, Some(&project)).await?;
        let base = format!("/projects/{}/credentials/new", project.slug);
        let sandbox = connectors.iter().any(|one| one.definition.sandbox);
        let page = First {
            f,
            sandbox: sandbox.then(|| format!("{base}?connector={}", id_of("builtin/sandbox"))),
            shelf: Shelf::new(visitor.t, &connectors, &base, ""),
            may: project.role >= Role::Editor,
        };
        return Ok(visitor.show(&page));
    }
    Ok(visitor.show(&page(&app, &visitor, Some(&project), query, connectors).await?))
}

pub async fn mine(
    State(app): State<App>,
    Signed(visitor): Signed,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let connectors = app.broker().connectors(&visitor.actor, None).await?;
    Ok(visitor.show(&page(&app, &visitor, None, query, connectors).await?))
}
