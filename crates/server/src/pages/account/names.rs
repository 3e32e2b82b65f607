//! `/account`.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::people::{Names, User};
use latchstring_model::Code;
use serde::Deserialize;

use super::{Link, Tab, tabs};
use crate::App;
use crate::extract::form::Filled;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, When, Wrong};
use crate::texts::Rich;

#[derive(Template)]
#[template(path = "account/names.html")]
struct Page {
    f: Frame,
    tabs: Vec<Link>,
    version: i64,
    email: Rich,
    /// Until when owner rights rest after a reset.
    frozen: Option<Rich>,
    wrong: Wrong,
    fields: Vec<Field>,
}

#[derive(Deserialize)]
pub struct Form {
    name: String,
    first_name: String,
    last_name: String,
    username: String,
    version: i64,
}

impl From<&User> for Form {
    fn from(user: &User) -> Self {
        Self {
            name: user.name.clone(),
            first_name: user.first_name.clone(),
            last_name: user.last_name.clone(),
            username: user.username.clone().unwrap_or_default(),
            version: user.version,
        }
    }
}

async fn page(app: &App, visitor: &Visitor, typed: &Form, mut wrong: Wrong) -> Result<Page, Refused> {
    let (t, a, now) = (visitor.t, &visitor.t.account, app.broker().now());
    let frozen = app.broker().me(&visitor.actor).await?.frozen_until;
    let fields = vec![
        Field::text(t, "name", a.name).value(&typed.name).most(200).autocomplete("name").help(a.names_help),
        Field::text(t, "first_name", a.first_name)
            .value(&typed.first_name)
            .most(200)
            .autocomplete("given-name")
            .optional(),
        Field::text(t, "last_name", a.last_name)
            .value(&typed.last_name)
            .most(200)
            .autocomplete("family-name")
            .optional(),
        Field::text(t, "username", a.username)
            .value(&typed.username)
            .most(200)
            .autocomplete("nickname")
            .optional(),
    ];
    Ok(Page {
        f: Frame::of(app, visitor, Place::Account, None).await?,
        tabs: tabs(app, visitor, Tab::Names).await?,
        version: typed.version,
        frozen: frozen.map(|until| a.frozen_help.rich().part("when", &When::near(t, until, now))),
        email: a.email_fixed.rich().text("email", &visitor.actor.person()?.email),
        fields: fields.into_iter().map(|field| field.wrong(&mut wrong)).collect(),
        wrong,
    })
}

pub async fn show(State(app): State<App>, Signed(visitor): Signed) -> Result<Response, Refused> {
    let user = app.broker().me(&visitor.actor).await?;
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&page(&app, &visitor, &Form::from(&user), wrong).await?))
}

pub async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let names = Names {
        name: Some(form.name.clone()),
        first_name: Some(form.first_name.clone()),
        last_name: Some(form.last_name.clone()),
        username: Some(form.username.clone()),
    };
    match app.broker().change_me(&visitor.actor, names, Some(form.version)).await {
        Ok(_) => Ok(go::saying("/account", Flash::NamesSaved)),
        Err(problem) if matches!(problem.code, Code::Invalid | Code::PreconditionFailed) => {
            let wrong = Wrong::of(visitor.t, &problem, []);
            let mut form = form;
            if problem.code == Code::PreconditionFailed {
                form.version = app.broker().me(&visitor.actor).await?.version;
            }
            Ok(html(frame::status(&problem), &page(&app, &visitor, &form, wrong).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}
