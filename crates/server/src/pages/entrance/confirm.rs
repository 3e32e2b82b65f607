//! `/confirm`: showing once more who one is, before what wants a recent sign-in.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use latchstring_broker::people::confirm::Confirm;
use latchstring_broker::people::instance::PasswordSignIn;
use latchstring_model::Code;
use serde::Deserialize;

use super::provider::ToProvider;
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::Asked;
use crate::extract::secret::Secret;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Frame, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, Wrong};

/// Where it leads when nobody says where it came from.
const ACCOUNT: &str = "/account";

#[derive(Template)]
#[template(path = "entrance/confirm.html")]
struct Page {
    f: Frame,
    wrong: Wrong,
    email: String,
    /// A path on this server.
    return_to: Option<String>,
    /// Empty where nobody signs in with a password.
    fields: Vec<Field>,
    /// What the sign-in provider is called.
    provider: Option<String>,
}

#[derive(Deserialize)]
pub struct Query {
    return_to: Option<String>,
}

#[derive(Deserialize)]
pub struct Form {
    password: Secret,
    #[serde(default)]
    totp: Secret,
    return_to: Option<String>,
}

async fn page(
    app: &App,
    visitor: &Visitor,
    return_to: Option<String>,
    mut wrong: Wrong,
) -> Result<Page, Refused> {
    let (t, e) = (visitor.t, &visitor.t.entrance);
    let user = app.broker().me(&visitor.actor).await?;
    let ways = app.broker().ways_in().await?;
    let mut fields = Vec::new();
    if ways.passwords != PasswordSignIn::Nobody {
        fields.push(Field::password(t, "password", e.password, false).focus());
        if user.second_factor {
            fields.push(Field::code(t, "totp", e.code).help(e.code_help));
        }
    }
    Ok(Page {
        // A form of the frame leads to where the person came from, not to this page without its way back.
        f: Frame { path: return_to.clone().unwrap_or_else(|| ACCOUNT.to_owned()), ..Frame::alone(visitor) },
        fields: fields.into_iter().map(|field| field.wrong(&mut wrong)).collect(),
        wrong,
        email: user.email,
        return_to,
        provider: ways.provider,
    })
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let return_to = query.return_to.and_then(|given| go::checked(&app, &given));
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&page(&app, &visitor, return_to, wrong).await?))
}

pub async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let return_to = form.return_to.and_then(|given| go::checked(&app, &given));
    let totp = Some(form.totp.0).filter(|code| !code.is_empty());
    match app.door().confirm_session(&visitor.actor, Confirm { password: form.password.0, totp }).await {
        Ok(()) => Ok(go::to(return_to.as_deref().unwrap_or(ACCOUNT))),
        Err(problem)
            if matches!(
                problem.code,
                Code::Invalid | Code::TooManyRequests | Code::SecondFactorNeeded | Code::SecondFactorWrong
            ) =>
        {
            let wrong = Wrong::of(visitor.t, &problem, []);
            Ok(html(frame::status(&problem), &page(&app, &visitor, return_to, wrong).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}

#[derive(Deserialize)]
pub struct There {
    return_to: Option<String>,
}

pub async fn at_provider(
    State(app): State<App>,
    Signed(visitor): Signed,
    Filled(form): Filled<There>,
) -> Result<Response, Refused> {
    let return_to = form.return_to.and_then(|given| go::checked(&app, &given));
    let link = app.door().begin_confirm(&visitor.actor, return_to.as_deref()).await?;
    let provider = app.broker().ways_in().await?.provider.unwrap_or_default();
    Ok(html(StatusCode::OK, &ToProvider::new(&visitor, link.url.reveal(), provider)))
}
