//! `/`: what is where.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use latchstring_broker::people::{Paging, User};
use latchstring_broker::projects::Project;
use latchstring_broker::{Via, Who};

use crate::App;
use crate::extract::actor::Anyone;
use crate::pages::frame::{Refused, html};

#[derive(Template)]
#[template(path = "start.html")]
struct Start {
    user: Option<User>,
    projects: Vec<Project>,
    set_up: bool,
    public_url: String,
}

pub async fn show(State(app): State<App>, Anyone(actor): Anyone) -> Result<Response, Refused> {
    let public_url = app.broker().settings().public_url.clone();
    let signed_in = matches!(&actor.who, Who::Person { via: Via::Session { .. }, .. });
    let page = if signed_in {
        let user = app.broker().me(&actor).await?;
        let projects = app.broker().projects(&actor, &Paging::first()).await?.items;
        Start { user: Some(user), projects, set_up: true, public_url }
    } else {
        Start { user: None, projects: Vec::new(), set_up: app.broker().is_set_up().await?, public_url }
    };
    Ok(html(StatusCode::OK, &page).into_response())
}
