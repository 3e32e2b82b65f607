//! `/projects/{project}/webhooks/{id}`: one of them, how it went, and what can be changed.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use latchstring_broker::people::Paging;
use latchstring_broker::projects::webhooks::{DeliveryRow, Webhook, WebhookChange};
use latchstring_model::Code;

use super::super::credentials::fields::Pairs;
use super::project;
use super::webhooks::{Event, Secret, badge, chosen_events, events, failing, fields};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::routes::Pages;
use crate::pages::ui::{Badge, Field, When, Wrong};
use crate::texts::Rich;

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/projects/{project}/webhooks/{id}", show)
        .send("/projects/{project}/webhooks/{id}", "webhook.update", send)
        .send("/projects/{project}/webhooks/{id}/switch", "webhook.update", switch)
        .send("/projects/{project}/webhooks/{id}/rotate", "webhook.rotate", rotate)
        .send("/projects/{project}/webhooks/{id}/delete", "webhook.delete", delete)
        .send("/projects/{project}/webhooks/{id}/redeliver/{delivery}", "webhook.redeliver", redeliver)
}

struct Delivery {
    event: String,
    at: When,
    state: &'static str,
    class: &'static str,
    tries: String,
    last: Option<String>,
    again: Option<String>,
}

#[derive(Template)]
#[template(path = "team/webhook.html")]
struct Page {
    f: Frame,
    path: String,
    list: String,
    url: String,
    badge: Badge,
    failing: Option<Rich>,
    why: Option<String>,
    disabled: bool,
    version: i64,
    wrong: Wrong,
    fields: Vec<Field>,
    events: Vec<Event>,
    deliveries: Vec<Delivery>,
}

fn delivery(visitor: &Visitor, path: &str, row: DeliveryRow) -> Delivery {
    let t = visitor.t;
    let state = row.state.as_str();
    Delivery {
        event: row.notice.event.clone(),
        at: When::moment(t, row.created_at),
        class: match state {
            "sent" | "delivered" | "done" => "good",
            "failed" | "given_up" => "bad",
            _ => "",
        },
        state,
        tries: t.number(&t.team.webhook_tries, row.attempts),
        last: row.tries.last().and_then(|last| last.error.clone()),
        again: row.ended_at.map(|_| format!("{path}/redeliver/{}", row.id)),
    }
}

/// What is drawn instead of what is stored, after a refusal.
struct Sent {
    pairs: Pairs,
    wrong: Wrong,
}

async fn draw(
    app: &App,
    visitor: &Visitor,
    named: &str,
    webhook: Webhook,
    sent: Option<Sent>,
) -> Result<Page, Refused> {
    let project = project(app, visitor, named).await?;
    let list = format!("/projects/{}/webhooks", project.slug);
    let path = format!("{list}/{}", webhook.id);
    let id = webhook.id.as_str();
    let paging = Paging::new(None, Some(50));
    let log = app.broker().webhook_deliveries(&visitor.actor, project.id.as_str(), id, &paging).await?;
    let mut wrong = Wrong::none(visitor.t);
    let (fields, events) = match sent {
        Some(sent) => {
            wrong = sent.wrong;
            let typed = |name: &str| sent.pairs.get(name).unwrap_or_default();
            let chosen =
                |event: &str| sent.pairs.iter().any(|(name, value)| name == "event" && value == event);
            (fields(visitor, typed("url"), typed("description"), &mut wrong), events(chosen))
        }
        None => {
            let chosen = |event: &str| webhook.events.iter().any(|known| known == event);
            (fields(visitor, &webhook.url, &webhook.description, &mut wrong), events(chosen))
        }
    };
    Ok(Page {
        f: Frame::of(app, visitor, Place::Webhooks, Some(&project)).await?,
        deliveries: log.items.into_iter().map(|row| delivery(visitor, &path, row)).collect(),
        badge: badge(visitor, &webhook),
        failing: failing(app, visitor, &webhook),
        why: webhook.disabled_why,
        disabled: webhook.disabled,
        version: webhook.version,
        url: webhook.url,
        path,
        list,
        wrong,
        fields,
        events,
    })
}

async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((project, id)): Named<(String, String)>,
) -> Result<Response, Refused> {
    let webhook = app.broker().webhook(&visitor.actor, &project, &id).await?;
    Ok(visitor.show(&draw(&app, &visitor, &project, webhook, None).await?))
}

fn version(pairs: &Pairs) -> Option<i64> {
    pairs.get("version").and_then(|text| text.parse().ok())
}

fn back(project: &str, id: &str, flash: Flash) -> Response {
    go::saying(&format!("/projects/{}/webhooks/{}", go::part(project), go::part(id)), flash)
}

async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((project, id)): Named<(String, String)>,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let change = WebhookChange {
        url: Some(pairs.given("url").unwrap_or_default()),
        description: Some(pairs.given("description").unwrap_or_default()),
        events: Some(chosen_events(&pairs)),
        disabled: None,
    };
    match app.broker().change_webhook(&visitor.actor, &project, &id, change, version(&pairs)).await {
        Ok(_) => Ok(back(&project, &id, Flash::WebhookSaved)),
        Err(problem) if matches!(problem.code, Code::Invalid | Code::PreconditionFailed) => {
            let webhook = app.broker().webhook(&visitor.actor, &project, &id).await?;
            let wrong = Wrong::of(visitor.t, &problem, []);
            let page = draw(&app, &visitor, &project, webhook, Some(Sent { pairs, wrong })).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

async fn switch(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((project, id)): Named<(String, String)>,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let change = WebhookChange { disabled: Some(pairs.get("to") == Some("off")), ..WebhookChange::default() };
    app.broker().change_webhook(&visitor.actor, &project, &id, change, version(&pairs)).await?;
    Ok(back(&project, &id, Flash::WebhookSaved))
}

async fn rotate(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((named, id)): Named<(String, String)>,
) -> Result<Response, Refused> {
    let made = app.broker().rotate_webhook_secret(&visitor.actor, &named, &id).await?;
    let project = project(&app, &visitor, &named).await?;
    let page = Secret {
        f: Frame::of(&app, &visitor, Place::Webhooks, Some(&project)).await?,
        next: format!("/projects/{}/webhooks/{id}", project.slug),
        secret: made.secret.reveal().to_owned(),
        url: made.webhook.url,
    };
    Ok(html(StatusCode::CREATED, &page))
}

async fn delete(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((project, id)): Named<(String, String)>,
) -> Result<Response, Refused> {
    app.broker().delete_webhook(&visitor.actor, &project, &id).await?;
    Ok(go::saying(&format!("/projects/{}/webhooks", go::part(&project)), Flash::WebhookDeleted))
}

async fn redeliver(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((project, id, delivery)): Named<(String, String, String)>,
) -> Result<Response, Refused> {
    app.broker().redeliver(&visitor.actor, &project, &id, &delivery).await?;
    Ok(back(&project, &id, Flash::Redelivered))
}
