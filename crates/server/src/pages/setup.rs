//! `/setup/{token}`: the first account, and what to do next.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use latchstring_broker::people::Names;
use latchstring_broker::people::setup::Setup;
use latchstring_broker::people::users::NewUser;
use latchstring_broker::projects::life::NewProject;
use latchstring_model::{Code, SecretString};
use serde::Deserialize;

use crate::App;
use crate::api::session::{agent, set_cookie};
use crate::extract::actor::Anyone;
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::extract::secret::Secret;
use crate::pages::frame::{self, Refused, html};

#[derive(Template, Default)]
#[template(path = "setup.html")]
struct Page {
    trouble: Vec<String>,
    email: String,
    name: String,
    project: String,
}

#[derive(Template)]
#[template(path = "setup_done.html")]
struct Done {
    email: String,
    project: Option<String>,
    public_url: String,
}

#[derive(Deserialize)]
pub struct Form {
    email: String,
    #[serde(default)]
    name: String,
    password: Secret,
    #[serde(default)]
    project: String,
}

pub async fn show(
    State(app): State<App>,
    Anyone(actor): Anyone,
    Named(token): Named<String>,
) -> Result<Response, Refused> {
    app.door().look_at_setup(&token, actor.address).await?;
    Ok(html(StatusCode::OK, &Page::default()))
}

pub async fn send(
    State(app): State<App>,
    Anyone(actor): Anyone,
    Named(token): Named<String>,
    headers: HeaderMap,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let setup = Setup {
        token: SecretString::new(token),
        user: NewUser {
            email: form.email.clone(),
            names: Names { name: given(&form.name), ..Names::default() },
            superuser: true,
            password: Some(form.password.0),
        },
        project: given(&form.project).map(|name| NewProject { slug: None, name, environments: None }),
        agent: agent(&headers),
    };
    match app.door().finish_setup(setup, actor.address).await {
        Ok(done) => {
            let page = Done {
                email: done.entered.user.email,
                project: done.project.map(|project| project.slug),
                public_url: app.broker().settings().public_url.clone(),
            };
            Ok((set_cookie(done.entered.cookie)?, html(StatusCode::CREATED, &page)).into_response())
        }
        Err(problem) if matches!(problem.code, Code::Invalid | Code::SlugTaken) => {
            let page = Page {
                trouble: frame::lines(&problem),
                email: form.email,
                name: form.name,
                project: form.project,
            };
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}
