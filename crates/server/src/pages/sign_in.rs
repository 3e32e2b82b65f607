//! `/sign-in` and `/sign-out`.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use latchstring_broker::people::sessions::SignIn;
use latchstring_model::Code;
use serde::Deserialize;

use crate::App;
use crate::api::session::{agent, set_cookie};
use crate::extract::actor::{Acting, Anyone};
use crate::extract::form::Filled;
use crate::extract::secret::Secret;
use crate::pages::frame::{self, Refused, html};

#[derive(Template, Default)]
#[template(path = "sign_in.html")]
struct Page {
    trouble: Vec<String>,
    email: String,
}

#[derive(Deserialize)]
pub struct Form {
    email: String,
    password: Secret,
}

pub async fn show() -> Response {
    html(StatusCode::OK, &Page::default())
}

pub async fn send(
    State(app): State<App>,
    Anyone(actor): Anyone,
    headers: HeaderMap,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let ask = SignIn { email: form.email.clone(), password: form.password.0, agent: agent(&headers) };
    match app.door().sign_in(ask, actor.address).await {
        Ok(entered) => Ok((set_cookie(entered.cookie)?, Redirect::to("/")).into_response()),
        Err(problem) if matches!(problem.code, Code::Unauthenticated | Code::TooManyRequests) => {
            let page = Page { trouble: frame::lines(&problem), email: form.email };
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn leave(State(app): State<App>, Acting(actor): Acting) -> Result<Response, Refused> {
    app.broker().sign_out(&actor).await?;
    Ok((set_cookie(app.door().no_cookie())?, Redirect::to("/sign-in")).into_response())
}
