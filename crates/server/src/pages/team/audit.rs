//! `/projects/{project}/audit`: the trail, narrowed, followed and taken along.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::audit::list::{Filter, Item, Whose};
use latchstring_broker::people::Paging;
use latchstring_model::entity::Outcome;
use latchstring_model::{Code, Problem};
use serde::Deserialize;
use serde_json::Value;

use super::project;
use crate::App;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::routes::Pages;
use crate::pages::ui::{Badge, Field, When, Wrong};
use crate::texts::{Rich, Text};

pub fn pages(pages: Pages) -> Pages {
    pages.show("/projects/{project}/audit", show)
}

#[derive(Default, Deserialize)]
pub struct Query {
    #[serde(default)]
    credential: String,
    #[serde(default)]
    actor: String,
    #[serde(default)]
    action: String,
    cursor: Option<String>,
    /// What is newer than this, for those who follow.
    after: Option<i64>,
}

impl Query {
    /// The same view elsewhere, and what else is asked there.
    fn link(&self, base: &str, more: &[(&str, &str)]) -> String {
        let given = [("credential", &*self.credential), ("actor", &*self.actor), ("action", &*self.action)];
        let parts: Vec<String> = given
            .iter()
            .chain(more)
            .filter(|(_, value)| !value.trim().is_empty())
            .map(|(name, value)| format!("{name}={}", go::part(value.trim())))
            .collect();
        if parts.is_empty() { base.to_owned() } else { format!("{base}?{}", parts.join("&")) }
    }
}

/// One record.
pub struct Line {
    pub seq: i64,
    pub at: When,
    pub who: String,
    pub action: String,
    pub what: String,
    pub badge: Badge,
    pub environment: Option<String>,
    pub from: Option<Rich>,
    pub details: Vec<(String, String)>,
    pub hash: String,
}

#[derive(Template)]
#[template(path = "team/audit.html")]
struct Page {
    f: Frame,
    lead: Rich,
    base: String,
    fields: Vec<Field>,
    wrong: Wrong,
    narrowed: bool,
    lines: Vec<Line>,
    next: Option<String>,
    first: Option<String>,
    /// Only the newest page can be followed.
    follows: bool,
    /// The newest that was looked at: those who follow go on behind it.
    newest: i64,
    /// The view without its place in the list.
    same: String,
    /// In both formats.
    exports: [(String, Text); 2],
}

/// What is shown of the trail.
pub struct Shown {
    pub items: Vec<Item>,
    pub next: Option<String>,
    pub newest: i64,
}

/// Where in the list one is.
pub struct Position {
    pub cursor: Option<String>,
    /// What is newer than this.
    pub after: Option<i64>,
}

type Found = Result<Shown, Box<Problem>>;

/// Lines of a page.
const LINES: u32 = 50;

/// Newest first, also of those that are newer than what somebody has seen.
pub async fn shown(app: &App, visitor: &Visitor, whose: &Whose, filter: &Filter, at: &Position) -> Found {
    let broker = app.broker();
    match at.after.filter(|after| *after >= 0) {
        None => {
            let paging = Paging::new(at.cursor.clone(), Some(LINES));
            let page = broker.audit(&visitor.actor, whose, filter, &paging).await?;
            let newest = page.items.first().map_or(0, |item| item.seq);
            Ok(Shown { items: page.items, next: page.next_cursor, newest })
        }
        Some(after) => {
            let limit = usize::try_from(LINES).ok();
            let mut part = broker.audit_after(&visitor.actor, whose, filter, after, limit).await?;
            part.items.reverse();
            Ok(Shown { items: part.items, next: None, newest: part.next })
        }
    }
}

fn badge(visitor: &Visitor, outcome: Outcome) -> Badge {
    let m = &visitor.t.team;
    match outcome {
        Outcome::Ok => Badge::new("good", "check-circle", m.audit_ok),
        Outcome::Refused => Badge::new("warn", "lock", m.audit_refused),
        Outcome::Failed => Badge::new("bad", "cross-circle", m.audit_failed),
    }
}

fn told(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(told).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

pub fn line(visitor: &Visitor, item: Item) -> Line {
    let what = match &item.call {
        Some(call) => {
            let end = match (call.status, call.duration_ms) {
                (Some(status), Some(took)) => {
                    format!(" → {status}, {}", visitor.t.common.took.with("ms", &took))
                }
                (Some(status), None) => format!(" → {status}"),
                _ => String::new(),
            };
            format!("{} {}{}{end}", call.method, call.host, call.path)
        }
        None => item.target.clone().unwrap_or_default(),
    };
    let mut details: Vec<(String, String)> =
        item.detail.iter().map(|(name, value)| (name.clone(), told(value))).collect();
    if let Some(call) = &item.call {
        details.push(("call".to_owned(), call.id.to_string()));
        if let Some(target) = &item.target {
            details.push(("credential".to_owned(), target.clone()));
        }
        if let Some(name) = &call.acts_as {
            details.push(("acts_as".to_owned(), name.clone()));
        }
        if let Some(environment) = &call.project_environment {
            details.push(("project_environment".to_owned(), environment.clone()));
        }
        if let Some(code) = &call.code {
            details.push(("code".to_owned(), code.clone()));
        }
    }
    Line {
        seq: item.seq,
        at: When::moment(visitor.t, item.at),
        who: item.actor.email.or(item.actor.id).unwrap_or(item.actor.kind),
        badge: badge(visitor, item.outcome),
        from: item.client.map(|client| visitor.t.team.audit_from.rich().text("address", &client)),
        action: item.action,
        environment: item.environment,
        what,
        details,
        hash: item.hash,
    }
}

async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let (t, m) = (visitor.t, &visitor.t.team);
    let project = project(&app, &visitor, &named).await?;
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let filter = Filter {
        credential: given(&query.credential),
        actor: given(&query.actor),
        action: given(&query.action),
        ..Filter::default()
    };
    let narrowed = filter.credential.is_some() || filter.actor.is_some() || filter.action.is_some();
    let whose = Whose::Project(project.id.to_string());
    let (mut wrong, mut status) = (Wrong::none(t), axum::http::StatusCode::OK);
    let at = Position { cursor: query.cursor.clone(), after: query.after };
    let found = match shown(&app, &visitor, &whose, &filter, &at).await {
        Ok(found) => found,
        Err(problem) if problem.code == Code::CredentialNotFound => {
            status = frame::status(&problem);
            wrong = Wrong::of(t, &problem, []).and("/credential", problem.detail.to_string());
            Shown { items: Vec::new(), next: None, newest: 0 }
        }
        Err(problem) => return Err(problem.into()),
    };
    let fields = vec![
        Field::search(t, "credential", m.audit_credential)
            .help(m.audit_credential_help)
            .value(&query.credential),
        Field::search(t, "actor", m.audit_actor).help(m.audit_actor_help).value(&query.actor),
        Field::search(t, "action", m.audit_action).help(m.audit_action_help).value(&query.action),
    ];
    let fields = fields.into_iter().map(|field| field.wrong(&mut wrong)).collect();
    let base = format!("/projects/{}/audit", project.slug);
    let copy = format!("/api/v1/projects/{}/audit/export", project.slug);
    let elsewhere = query.cursor.is_some() || query.after.is_some();
    let wrong_credential = status != axum::http::StatusCode::OK;
    let page = Page {
        f: Frame::of(&app, &visitor, Place::Audit, Some(&project)).await?,
        lead: m.audit_lead.rich().text("project", &project.name),
        fields,
        wrong,
        narrowed,
        follows: !elsewhere && !wrong_credential,
        lines: found.items.into_iter().map(|item| line(&visitor, item)).collect(),
        newest: found.newest,
        next: found.next.map(|cursor| query.link(&base, &[("cursor", &cursor)])),
        first: elsewhere.then(|| query.link(&base, &[])),
        same: query.link(&base, &[]),
        exports: [("csv", m.audit_csv), ("jsonl", m.audit_jsonl)]
            .map(|(format, words)| (query.link(&copy, &[("format", format)]), words)),
        base,
    };
    Ok(html(status, &page))
}
