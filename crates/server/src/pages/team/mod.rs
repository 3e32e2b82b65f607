//! What a project has beside its credentials: secrets and variables, members, service keys, webhooks, its trail.

pub mod audit;
mod keys;
mod members;
mod secrets;
mod webhook;
mod webhooks;

use latchstring_broker::people::Paging;
use latchstring_broker::projects::Project;

use crate::App;
use crate::pages::credentials::fields::Pairs;
use crate::pages::frame::Visitor;
use crate::pages::frame::refused::Refused;
use crate::pages::routes::Pages;

pub fn pages(pages: Pages) -> Pages {
    pages
        .with(secrets::pages)
        .with(members::pages)
        .with(keys::pages)
        .with(webhooks::pages)
        .with(webhook::pages)
        .with(audit::pages)
}

async fn project(app: &App, visitor: &Visitor, named: &str) -> Result<Project, Refused> {
    Ok(app.broker().project(&visitor.actor, named).await?)
}

/// Addresses of members by their ids, for what keeps ids alone.
async fn emails(app: &App, visitor: &Visitor, project: &Project) -> Result<Vec<(String, String)>, Refused> {
    let page =
        app.broker().members(&visitor.actor, project.id.as_str(), &Paging::new(None, Some(200))).await?;
    Ok(page.items.into_iter().map(|one| (one.user_id.to_string(), one.email)).collect())
}

/// One per line.
fn lines(pairs: &Pairs, name: &str) -> Vec<String> {
    let text = pairs.get(name).unwrap_or_default();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// `None` where nothing was typed.
fn some_lines(pairs: &Pairs, name: &str) -> Option<Vec<String>> {
    Some(lines(pairs, name)).filter(|lines| !lines.is_empty())
}
