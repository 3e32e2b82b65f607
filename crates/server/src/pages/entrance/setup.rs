//! `/setup/{token}`: the first account and project. What comes next is the path to the first call.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use latchstring_broker::people::Names;
use latchstring_broker::people::setup::Setup;
use latchstring_broker::people::users::NewUser;
use latchstring_broker::projects::life::NewProject;
use latchstring_model::{Code, SecretString};
use serde::Deserialize;

use crate::App;
use crate::api::session::{agent, set_cookie};
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::extract::secret::Secret;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, Wrong};

#[derive(Template)]
#[template(path = "entrance/setup.html")]
struct Page {
    f: Frame,
    wrong: Wrong,
    fields: Vec<Field>,
}

#[derive(Default)]
struct Typed {
    email: String,
    name: String,
    project: String,
}

impl Page {
    fn new(visitor: &Visitor, typed: &Typed, mut wrong: Wrong) -> Self {
        let (t, e) = (visitor.t, &visitor.t.entrance);
        let fields = vec![
            Field::email(t, "email", e.email).value(&typed.email).autocomplete("username"),
            Field::text(t, "name", e.name)
                .value(&typed.name)
                .autocomplete("name")
                .help(e.name_help)
                .most(200),
            Field::password(t, "password", e.password, true).help(e.password_help),
            Field::text(t, "project", e.project)
                .value(&typed.project)
                .help(e.project_help)
                .example(e.project_example)
                .most(200)
                .optional(),
        ];
        let fields = fields.into_iter().map(|field| field.wrong(&mut wrong)).collect();
        // The link's token must not stand in the page that it leads to.
        Self { f: Frame { path: "/".to_owned(), ..Frame::alone(visitor) }, wrong, fields }
    }
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
    visitor: Visitor,
    Named(token): Named<String>,
) -> Result<Response, Refused> {
    app.door().look_at_setup(&token, visitor.actor.address).await?;
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&Page::new(&visitor, &Typed::default(), wrong)))
}

pub async fn send(
    State(app): State<App>,
    visitor: Visitor,
    Named(token): Named<String>,
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
        agent: agent(&visitor.headers),
    };
    match app.door().finish_setup(setup, visitor.actor.address).await {
        Ok(done) => {
            let next = match done.project {
                Some(project) => {
                    go::saying(&format!("/projects/{}/credentials", project.slug), Flash::ProjectMade)
                }
                None => go::to("/projects"),
            };
            Ok((set_cookie(done.entered.cookie)?, next).into_response())
        }
        Err(problem) if matches!(problem.code, Code::Invalid | Code::SlugTaken) => {
            let typed = Typed { email: form.email, name: form.name, project: form.project };
            let wrong = Wrong::of(visitor.t, &problem, []);
            Ok(html(frame::status(&problem), &Page::new(&visitor, &typed, wrong)))
        }
        Err(problem) => Err(problem.into()),
    }
}
