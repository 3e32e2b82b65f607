//! `/account/password`.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::people::me::ChangePassword;
use latchstring_model::Code;
use serde::Deserialize;

use super::{Link, Tab, tabs};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::secret::Secret;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, Wrong};

#[derive(Template)]
#[template(path = "account/password.html")]
struct Page {
    f: Frame,
    tabs: Vec<Link>,
    wrong: Wrong,
    fields: Vec<Field>,
}

#[derive(Deserialize)]
pub struct Form {
    /// Empty where there is none yet: who comes in at the provider alone.
    #[serde(default)]
    current_password: Secret,
    new_password: Secret,
}

async fn page(app: &App, visitor: &Visitor, mut wrong: Wrong) -> Result<Page, Refused> {
    let (t, a) = (visitor.t, &visitor.t.account);
    let fields = vec![
        Field::password(t, "current_password", a.current_password, false),
        Field::password(t, "new_password", a.new_password, true).help(t.entrance.password_help),
    ];
    Ok(Page {
        f: Frame::of(app, visitor, Place::Account, None).await?,
        tabs: tabs(app, visitor, Tab::Password).await?,
        fields: fields.into_iter().map(|field| field.wrong(&mut wrong)).collect(),
        wrong,
    })
}

pub async fn show(State(app): State<App>, Signed(visitor): Signed) -> Result<Response, Refused> {
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&page(&app, &visitor, wrong).await?))
}

pub async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let current = Some(form.current_password.0).filter(|password| !password.is_empty());
    let change = ChangePassword { current, new: form.new_password.0 };
    match app.door().change_password(&visitor.actor, change).await {
        Ok(()) => Ok(go::saying("/account/password", Flash::PasswordChanged)),
        Err(problem)
            if matches!(problem.code, Code::Invalid | Code::TooManyRequests)
                || frame::in_the_way(&problem) =>
        {
            let wrong = Wrong::of(visitor.t, &problem, []);
            Ok(html(frame::status(&problem), &page(&app, &visitor, wrong).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}
