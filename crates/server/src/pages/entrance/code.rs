//! `/sign-in/code/{id}`: the code of a second factor, after the first.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use latchstring_model::Code;
use serde::Deserialize;

use crate::App;
use crate::api::session::{agent, set_cookie};
use crate::extract::actor::Anyone;
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::extract::secret::Secret;
use crate::pages::frame::{self, Refused, html};
use crate::pages::sign_in::onward;

#[derive(Template)]
#[template(path = "sign_in_code.html")]
struct Page {
    trouble: Vec<String>,
}

#[derive(Deserialize)]
pub struct Form {
    code: Secret,
}

pub async fn show(
    State(app): State<App>,
    Anyone(actor): Anyone,
    Named(id): Named<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    app.door().look_at_code_page(&id, &headers, actor.address).await?;
    Ok(html(StatusCode::OK, &Page { trouble: Vec::new() }))
}

pub async fn send(
    State(app): State<App>,
    Anyone(actor): Anyone,
    Named(id): Named<String>,
    headers: HeaderMap,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    let agent = agent(&headers);
    let passed = Box::pin(app.door().pass_code(&id, &form.code.0, &headers, &agent, actor.address)).await;
    match passed {
        Ok(passed) => {
            let onward = onward(passed.return_to.as_deref());
            let gone = HeaderValue::try_from(passed.no_cookie).unwrap_or(HeaderValue::from_static(""));
            let gone = AppendHeaders([(header::SET_COOKIE, gone)]);
            Ok(match passed.entered {
                Some(entered) => (gone, set_cookie(entered.cookie)?, onward).into_response(),
                None => (gone, onward).into_response(),
            })
        }
        Err(problem) if matches!(problem.code, Code::SecondFactorWrong | Code::TooManyRequests) => {
            Ok(html(frame::status(&problem), &Page { trouble: frame::lines(&problem) }))
        }
        Err(problem) => Err(problem.into()),
    }
}
