//! `/projects/{project}/webhooks`: who is told, and a new one. For admins.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use latchstring_broker::notices::EVENTS;
use latchstring_broker::people::Paging;
use latchstring_broker::projects::Project;
use latchstring_broker::projects::webhooks::{NewWebhook, Webhook};
use latchstring_model::Code;

use super::super::credentials::fields::Pairs;
use super::project;
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Frame, Place, Signed, Visitor, html};
use crate::pages::routes::Pages;
use crate::pages::ui::{Badge, Field, When, Wrong};
use crate::texts::Rich;

pub fn pages(pages: Pages) -> Pages {
    pages.show("/projects/{project}/webhooks", show).show("/projects/{project}/webhooks/new", form).send(
        "/projects/{project}/webhooks",
        "webhook.create",
        make,
    )
}

struct Line {
    path: String,
    url: String,
    about: String,
    badge: Badge,
    failing: Option<Rich>,
}

#[derive(Template)]
#[template(path = "team/webhooks.html")]
struct List {
    f: Frame,
    lead: Rich,
    lines: Vec<Line>,
    new: String,
}

pub struct Event {
    pub name: &'static str,
    pub ticked: bool,
}

#[derive(Template)]
#[template(path = "team/webhook_new.html")]
struct New {
    f: Frame,
    list: String,
    wrong: Wrong,
    fields: Vec<Field>,
    events: Vec<Event>,
}

/// A signing secret, shown once.
#[derive(Template)]
#[template(path = "team/webhook_secret.html")]
pub struct Secret {
    pub f: Frame,
    pub url: String,
    pub secret: String,
    pub next: String,
}

pub fn badge(visitor: &Visitor, webhook: &Webhook) -> Badge {
    let m = &visitor.t.team;
    match webhook.disabled {
        true => Badge::new("", "pause", m.webhook_disabled),
        false if webhook.failing_since.is_some() => Badge::new("warn", "warning", m.webhook_enabled),
        false => Badge::new("good", "check-circle", m.webhook_enabled),
    }
}

pub fn failing(app: &App, visitor: &Visitor, webhook: &Webhook) -> Option<Rich> {
    let now = app.broker().now();
    let since = webhook.failing_since?;
    Some(visitor.t.team.webhook_failing.rich().part("when", &When::near(visitor.t, since, now)))
}

pub fn events(chosen: impl Fn(&str) -> bool) -> Vec<Event> {
    EVENTS.iter().map(|name| Event { name, ticked: chosen(name) }).collect()
}

pub fn fields(visitor: &Visitor, url: &str, description: &str, wrong: &mut Wrong) -> Vec<Field> {
    let (t, m) = (visitor.t, &visitor.t.team);
    let fields = vec![
        Field::url(t, "url", m.webhook_url)
            .example("https://hooks.example.com/latchstring")
            .most(2000)
            .value(url),
        Field::text(t, "description", m.webhook_description).most(500).optional().value(description),
    ];
    fields.into_iter().map(|field| field.wrong(wrong)).collect()
}

async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
) -> Result<Response, Refused> {
    let m = &visitor.t.team;
    let project = project(&app, &visitor, &named).await?;
    let page =
        app.broker().webhooks(&visitor.actor, project.id.as_str(), &Paging::new(None, Some(50))).await?;
    let lines = page.items.into_iter().map(|webhook| Line {
        path: format!("/projects/{}/webhooks/{}", project.slug, webhook.id),
        badge: badge(&visitor, &webhook),
        failing: failing(&app, &visitor, &webhook),
        about: match (webhook.description.is_empty(), webhook.events.is_empty()) {
            (false, _) => webhook.description,
            (true, true) => m.webhook_all.to_string(),
            (true, false) => webhook.events.join(", "),
        },
        url: webhook.url,
    });
    let list = List {
        lines: lines.collect(),
        f: Frame::of(&app, &visitor, Place::Webhooks, Some(&project)).await?,
        lead: m.webhooks_lead.rich().text("project", &project.name),
        new: format!("/projects/{}/webhooks/new", project.slug),
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
    let typed = |name: &str| pairs.get(name).unwrap_or_default();
    let chosen = |event: &str| pairs.iter().any(|(name, value)| name == "event" && value == event);
    Ok(New {
        f: Frame::of(app, visitor, Place::Webhooks, Some(project)).await?,
        list: format!("/projects/{}/webhooks", project.slug),
        fields: fields(visitor, typed("url"), typed("description"), &mut wrong),
        events: events(chosen),
        wrong,
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

pub fn chosen_events(pairs: &Pairs) -> Vec<String> {
    pairs.iter().filter(|(name, _)| *name == "event").map(|(_, event)| event.to_owned()).collect()
}

async fn make(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let new = NewWebhook {
        url: pairs.given("url").unwrap_or_default(),
        description: pairs.given("description").unwrap_or_default(),
        events: chosen_events(&pairs),
    };
    match app.broker().create_webhook(&visitor.actor, &named, new).await {
        Ok(made) => {
            let project = project(&app, &visitor, &named).await?;
            let page = Secret {
                f: Frame::of(&app, &visitor, Place::Webhooks, Some(&project)).await?,
                next: format!("/projects/{}/webhooks/{}", project.slug, made.webhook.id),
                secret: made.secret.reveal().to_owned(),
                url: made.webhook.url,
            };
            Ok(html(StatusCode::CREATED, &page))
        }
        Err(problem) if problem.code == Code::Invalid || frame::in_the_way(&problem) => {
            let project = project(&app, &visitor, &named).await?;
            let wrong = Wrong::of(visitor.t, &problem, []);
            Ok(html(frame::status(&problem), &draw(&app, &visitor, &project, &pairs, wrong).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}
