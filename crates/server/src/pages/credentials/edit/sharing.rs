//! `/credentials/{id}/sharing`: a table of project environments and the values that each may use.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::credentials::view::ShareView;
use latchstring_broker::credentials::{CredentialChange, ShareInput};
use latchstring_broker::people::Paging;
use latchstring_broker::projects::Project;
use latchstring_model::entity::{Principal, Role};
use latchstring_model::{Code, Problem};
use serde::Deserialize;

use super::super::fields::Pairs;
use super::super::show::{Head, Sheet, Tab, Through};
use super::{below, exchange, own, shown_here};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::{Asked, Named};
use crate::pages::credentials::about_the_slug;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::field::Answer;
use crate::pages::ui::{Exchange, Field, Wrong};

#[derive(Default, Deserialize)]
pub struct Query {
    project: Option<String>,
    /// A project that is to be shared with.
    add: Option<String>,
}

/// One project of the table.
struct Row {
    project: String,
    name: String,
    slug: Field,
    grants: Vec<Field>,
    remove: Field,
    is_new: bool,
}

#[derive(Template)]
#[template(path = "credentials/sharing.html")]
struct Page {
    f: Frame,
    head: Head,
    action: String,
    wrong: Wrong,
    rows: Vec<Row>,
    /// Projects that it is not shared with yet.
    add: Option<Field>,
    add_path: String,
    through: Option<String>,
    exchange: Option<Exchange>,
}

fn field_name(what: &str, project: &str) -> String {
    format!("{what}/{project}")
}

struct Known {
    slug: String,
    name: String,
    environments: Vec<String>,
}

impl From<&Project> for Known {
    fn from(project: &Project) -> Self {
        Self {
            slug: project.slug.clone(),
            name: project.name.clone(),
            environments: project.environments.iter().map(|one| one.name.clone()).collect(),
        }
    }
}

fn row(
    visitor: &Visitor,
    sheet: &Sheet,
    known: &Known,
    share: Option<&ShareView>,
    pairs: &Pairs,
    wrong: &mut Wrong,
) -> Row {
    let (t, c, e) = (visitor.t, &visitor.t.credentials, &visitor.t.editing);
    let mut answers = vec![Answer::new("", e.share_nothing)];
    answers.extend(sheet.view.environments.iter().map(|(name, _)| Answer::new(name, name)));
    let typed = |name: &str, stored: Option<&String>| {
        let sent = pairs.sent().then(|| pairs.get(name).unwrap_or_default().to_owned());
        sent.or_else(|| stored.cloned()).unwrap_or_default()
    };
    let grants = known
        .environments
        .iter()
        .map(|environment| {
            let name = format!("{}/{environment}", field_name("grant", &known.slug));
            let stored = share.and_then(|share| share.grants.get(environment));
            // New: the same values for all, visibly; nothing is saved before the form is sent.
            let only = sheet.view.environments.first().map(|(name, _)| name);
            let same = sheet.view.environments.iter().map(|(name, _)| name).find(|name| *name == environment);
            let guess = if share.is_none() { same.or(only) } else { None };
            let value = typed(&name, stored.or(guess));
            Field::choice(t, name, environment, answers.clone()).value(value).wrong(wrong)
        })
        .collect();
    let slug = field_name("slug", &known.slug);
    let value = typed(&slug, share.map(|share| &share.slug));
    let field = Field::text(t, slug, c.sharing_short).mono().most(63).value(value);
    let remove = field_name("remove", &known.slug);
    Row {
        project: known.slug.clone(),
        name: known.name.clone(),
        slug: if share.is_none() { field.optional() } else { field }.wrong(wrong),
        grants,
        remove: Field::tick(t, &remove, e.share_remove, pairs.ticked(&remove)),
        is_new: share.is_none(),
    }
}

/// Projects in which this person may share, and which are known to them at all.
async fn projects(app: &App, visitor: &Visitor) -> Result<Vec<Project>, Refused> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page = app.broker().projects(&visitor.actor, &Paging::new(cursor, Some(200))).await?;
        all.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(all),
        }
    }
}

async fn page(
    app: &App,
    visitor: &Visitor,
    sheet: &Sheet,
    query: &Query,
    pairs: &Pairs,
    mut wrong: Wrong,
    exchange: Option<Exchange>,
) -> Result<Page, Refused> {
    let (t, e, view) = (visitor.t, &visitor.t.editing, &sheet.view);
    let projects = projects(app, visitor).await?;
    let mut rows = Vec::new();
    for share in &view.shares {
        // Of a project that one has left only what is granted is known; it can still be taken away.
        let known = match projects.iter().find(|project| project.slug == share.project) {
            Some(project) => Known::from(project),
            None => Known {
                slug: share.project.clone(),
                name: share.project.clone(),
                environments: share.grants.keys().cloned().collect(),
            },
        };
        rows.push(row(visitor, sheet, &known, Some(share), pairs, &mut wrong));
    }
    let is_shared = |project: &&Project| view.shares.iter().any(|share| share.project == project.slug);
    let may = |project: &&Project| match &view.owner {
        Principal::Project(owner) => project.id == *owner,
        Principal::User(_) => project.role >= Role::Editor,
    };
    let free: Vec<&Project> = projects.iter().filter(|one| may(one) && !is_shared(one)).collect();
    let mut wanted: Vec<&str> = query.add.as_deref().into_iter().collect();
    wanted.extend(pairs.iter().filter(|(name, _)| *name == "project").map(|(_, slug)| slug));
    for project in free.iter().filter(|project| wanted.contains(&project.slug.as_str())) {
        rows.push(row(visitor, sheet, &Known::from(*project), None, pairs, &mut wrong));
    }
    let others: Vec<Answer> = free
        .iter()
        .filter(|project| !wanted.contains(&project.slug.as_str()))
        .map(|project| Answer::new(&project.slug, &project.name))
        .collect();
    let add = (!others.is_empty()).then(|| Field::choice(t, "add", e.share_add, others));
    Ok(Page {
        f: sheet.frame(app, visitor).await?,
        head: sheet.head(visitor, Tab::Below),
        action: below(sheet, "/sharing"),
        wrong,
        rows,
        add,
        add_path: format!("{}/sharing", sheet.path()),
        through: sheet.project.as_ref().map(|project| project.slug.clone()),
        exchange,
    })
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let through = Through { project: query.project.clone() };
    let sheet = own(&app, &visitor, &id, &through).await?;
    let wrong = Wrong::none(visitor.t);
    let page = page(&app, &visitor, &sheet, &query, &Pairs::default(), wrong, None).await?;
    Ok(visitor.show(&page))
}

/// The whole list, as the form has it.
fn shares(pairs: &Pairs) -> Vec<ShareInput> {
    let projects = pairs.iter().filter(|(name, _)| *name == "project").map(|(_, slug)| slug);
    projects
        .filter(|slug| !pairs.ticked(&field_name("remove", slug)))
        .map(|slug| {
            let prefix = format!("{}/", field_name("grant", slug));
            let grants: BTreeMap<String, String> = pairs
                .iter()
                .filter(|(_, from)| !from.is_empty())
                .filter_map(|(name, from)| Some((name.strip_prefix(&prefix)?.to_owned(), from.to_owned())))
                .collect();
            ShareInput { project: slug.to_owned(), slug: pairs.given(&field_name("slug", slug)), grants }
        })
        .collect()
}

/// Pointers into the list lead to the rows of the table.
fn as_the_form_has_it(problem: &mut Problem, shares: &[ShareInput]) {
    for error in &mut problem.errors {
        let Some((index, rest)) =
            error.pointer.strip_prefix("/shares/").and_then(|rest| rest.split_once('/'))
        else {
            continue;
        };
        let Some(share) = index.parse::<usize>().ok().and_then(|index| shares.get(index)) else { continue };
        error.pointer = match rest.strip_prefix("grants/") {
            Some(environment) => format!("/grant/{}/{environment}", share.project),
            None => format!("/slug/{}", share.project),
        };
    }
    if about_the_slug(problem) && problem.errors.is_empty() {
        let taken = shares.iter().find(|share| problem.detail.contains(&format!(" {} ", share.project)));
        if let Some(share) = taken.or_else(|| shares.first()) {
            let detail = problem.hint.as_ref().map_or_else(|| "taken".to_owned(), ToString::to_string);
            problem
                .errors
                .push(latchstring_model::FieldError::new(format!("/slug/{}", share.project), detail));
        }
    }
}

pub async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(query): Asked<Query>,
    Filled(pairs): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(pairs);
    let through = Through { project: query.project.clone() };
    let sheet = own(&app, &visitor, &id, &through).await?;
    let shares = shares(&pairs);
    let change = CredentialChange { shares: Some(shares.clone()), ..CredentialChange::default() };
    let version = pairs.get("version").and_then(|text| text.parse().ok());
    let saved =
        Box::pin(app.broker().change_credential(&visitor.actor, sheet.view.id.as_str(), change, version))
            .await;
    match saved {
        Ok(_) => Ok(go::saying(&below(&sheet, ""), Flash::CredentialChanged)),
        Err(mut problem) if shown_here(&problem) || problem.code == Code::Forbidden => {
            as_the_form_has_it(&mut problem, &shares);
            let exchange = exchange(&visitor, &problem);
            let wrong = Wrong::of(visitor.t, &problem, []);
            let page = page(&app, &visitor, &sheet, &query, &pairs, wrong, exchange).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}
