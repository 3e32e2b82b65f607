//! `/projects/{project}/audit`: the trail, narrowed and followed.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::audit::list::{Filter, Item};
use latchstring_broker::people::Paging;
use latchstring_model::Code;
use latchstring_model::entity::Outcome;
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
use crate::texts::Rich;

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
}

impl Query {
    fn link(&self, base: &str, cursor: Option<&str>) -> String {
        let given = [("credential", &self.credential), ("actor", &self.actor), ("action", &self.action)];
        let mut parts: Vec<String> = given
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", go::part(value)))
            .collect();
        parts.extend(cursor.map(|cursor| format!("cursor={}", go::part(cursor))));
        if parts.is_empty() { base.to_owned() } else { format!("{base}?{}", parts.join("&")) }
    }
}

struct Line {
    seq: i64,
    at: When,
    who: String,
    action: String,
    what: String,
    badge: Badge,
    environment: Option<String>,
    from: Option<Rich>,
    details: Vec<(String, String)>,
    hash: String,
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

fn line(visitor: &Visitor, item: Item) -> Line {
    let what = match &item.call {
        Some(call) => {
            let end = match (call.status, call.duration_ms) {
                (Some(status), Some(took)) => format!(" → {status}, {took} ms"),
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
    };
    let narrowed = filter.credential.is_some() || filter.actor.is_some() || filter.action.is_some();
    let paging = Paging::new(query.cursor.clone(), Some(50));
    let found = app.broker().list_project(&visitor.actor, project.id.as_str(), filter, &paging).await;
    let (mut wrong, mut status) = (Wrong::none(t), axum::http::StatusCode::OK);
    let (items, next) = match found {
        Ok(page) => (page.items, page.next_cursor),
        Err(problem) if problem.code == Code::CredentialNotFound => {
            status = frame::status(&problem);
            wrong = Wrong::of(t, &problem, []).and("/credential", problem.detail.to_string());
            (Vec::new(), None)
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
    let page = Page {
        f: Frame::of(&app, &visitor, Place::Audit, Some(&project)).await?,
        lead: m.audit_lead.rich().text("project", &project.name),
        fields,
        wrong,
        narrowed,
        lines: items.into_iter().map(|item| line(&visitor, item)).collect(),
        next: next.map(|cursor| query.link(&base, Some(&cursor))),
        first: query.cursor.as_ref().map(|_| query.link(&base, None)),
        follows: query.cursor.is_none(),
        base,
    };
    Ok(html(status, &page))
}
