//! `/sign-in/code/{id}`: the code of a second factor, after the first.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use latchstring_model::Code;
use serde::Deserialize;

use super::sign_in::onward;
use crate::App;
use crate::api::session::{agent, set_cookie};
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::extract::secret::Secret;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Frame, Visitor, html};
use crate::pages::ui::{Field, Wrong};

#[derive(Template)]
#[template(path = "entrance/code.html")]
struct Page {
    f: Frame,
    wrong: Wrong,
    code: Field,
}

impl Page {
    fn new(visitor: &Visitor, mut wrong: Wrong) -> Self {
        let (t, e) = (visitor.t, &visitor.t.entrance);
        let code = Field::code(t, "code", e.code).help(e.code_help).focus();
        Self { f: Frame::alone(visitor), code: code.wrong(&mut wrong), wrong }
    }
}

#[derive(Deserialize)]
pub struct Form {
    code: Secret,
}

pub async fn show(
    State(app): State<App>,
    visitor: Visitor,
    Named(id): Named<String>,
) -> Result<Response, Refused> {
    app.door().look_at_code_page(&id, &visitor.headers, visitor.actor.address).await?;
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&Page::new(&visitor, wrong)))
}

pub async fn send(
    State(app): State<App>,
    visitor: Visitor,
    Named(id): Named<String>,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let (headers, agent) = (&visitor.headers, agent(&visitor.headers));
    let passed = app.door().pass_code(&id, &form.code.0, headers, &agent, visitor.actor.address);
    match Box::pin(passed).await {
        Ok(passed) => {
            let onward = onward(&visitor, passed.return_to.as_deref());
            let gone = HeaderValue::try_from(passed.no_cookie).unwrap_or(HeaderValue::from_static(""));
            let gone = AppendHeaders([(header::SET_COOKIE, gone)]);
            Ok(match passed.entered {
                Some(entered) => (gone, set_cookie(entered.cookie)?, onward).into_response(),
                None => (gone, onward).into_response(),
            })
        }
        Err(problem) if matches!(problem.code, Code::SecondFactorWrong | Code::TooManyRequests) => {
            let wrong = Wrong::of(visitor.t, &problem, []);
            Ok(html(frame::status(&problem), &Page::new(&visitor, wrong)))
        }
        Err(problem) => Err(problem.into()),
    }
}
