//! `/connect/{token}`: an end user connects an account, in a window that a page of another origin opened.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use latchstring_broker::connect_sessions::{Chosen, ComeBack, Connected, Next, Offered, Progress, Visit};
use latchstring_broker::definitions::AuthMethod;
use latchstring_model::{Code, Problem};
use serde::Deserialize;
use serde_json::{Value, json};

use super::consent;
use super::credentials::connect::leave;
use super::credentials::fields::{Pairs, Set};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::{Asked, Named};
use crate::guard::headers::{OPENER, STAYS_KNOWN};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Frame, Visitor, html};
use crate::pages::go;
use crate::pages::routes::Pages;
use crate::pages::ui::{Field, Tile, Wrong};
use crate::texts::Rich;

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/connect/{token}", show)
        .send("/connect/{token}", "connect_session.use", send)
        .show("/connect/{token}/sign-in", sign_in)
        .show("/connect/{token}/done", done)
        .show("/connect/{token}/result", result)
}

/// A step to choose.
struct Choice {
    tile: Option<Tile>,
    name: String,
    about: String,
    /// A query: the link's token must not stand in the page that it leads to.
    query: String,
}

#[derive(Template)]
#[template(path = "connecting/choose.html")]
struct Choose {
    f: Frame,
    title: String,
    choices: Vec<Choice>,
}

/// What came of asking the API.
struct Outcome {
    title: String,
    text: String,
    hint: Option<String>,
}

#[derive(Template)]
#[template(path = "connecting/form.html")]
struct Form {
    f: Frame,
    tile: Tile,
    title: String,
    lead: Rich,
    help: Option<Rich>,
    docs: Option<String>,
    connector: String,
    method: String,
    wrong: Wrong,
    fields: Vec<Field>,
    outcome: Option<Outcome>,
    several: bool,
    /// What the button says.
    button: &'static str,
}

#[derive(Template)]
#[template(path = "connecting/done.html")]
struct Done {
    f: Frame,
    title: String,
    lead: Rich,
    /// The one origin that is told, and what.
    origin: String,
    result: String,
}

#[derive(Default, Deserialize)]
pub struct Query {
    connector: Option<String>,
    method: Option<String>,
    /// From signing in elsewhere, without having connected anything.
    back: Option<String>,
}

fn frame(visitor: &Visitor) -> Frame {
    Frame { path: "/".to_owned(), person: None, ..Frame::alone(visitor) }
}

fn choose_connector(visitor: &Visitor, offered: &[Offered]) -> Choose {
    let c = &visitor.t.connecting;
    let choices = offered.iter().map(|one| Choice {
        tile: Some(Tile::new(&one.definition.name, &one.definition.id)),
        name: one.definition.name.clone(),
        about: one.definition.description.clone().unwrap_or_default(),
        query: format!("?connector={}", go::part(&one.uid)),
    });
    let choices: Vec<Choice> = choices.collect();
    let title = if choices.is_empty() { c.nothing } else { c.choose };
    Choose { f: frame(visitor), title: title.to_string(), choices }
}

fn choose_method(visitor: &Visitor, offered: &Offered) -> Choose {
    let choices = offered.methods().into_iter().map(|method| Choice {
        tile: None,
        name: method.label.clone(),
        about: method.help.clone().unwrap_or_default(),
        query: format!("?connector={}&method={}", go::part(&offered.uid), go::part(&method.id)),
    });
    let title = visitor.t.connecting.choose_method.with("connector", &offered.definition.name).0;
    Choose { f: frame(visitor), title, choices: choices.collect() }
}

/// Names of inputs are pointers into the credential that is made.
fn set<'a>(visitor: &Visitor, method: &'a AuthMethod, pairs: &'a Pairs) -> Set<'a> {
    Set { t: visitor.t, pointer: "/values/default".to_owned(), method, pairs, stored: None }
}

fn form(
    visitor: &Visitor,
    visit: &Visit,
    offered: &Offered,
    method: &AuthMethod,
    pairs: &Pairs,
    mut wrong: Wrong,
) -> Form {
    let c = &visitor.t.connecting;
    let definition = &offered.definition;
    let set = set(visitor, method, pairs);
    Form {
        f: frame(visitor),
        tile: Tile::new(&definition.name, &definition.id).large(),
        title: c.title_of.with("connector", &definition.name).0,
        lead: c.lead.rich().text("origin", &visit.return_origin),
        help: method.help.as_deref().map(Rich::of),
        docs: method.docs_url.clone().or_else(|| definition.docs_url.clone()),
        connector: offered.uid.clone(),
        method: method.id.clone(),
        fields: method.fields.iter().map(|field| set.draw(field, &mut wrong)).collect(),
        wrong,
        outcome: None,
        button: if method.needs_consent() { c.sign_in.0 } else { c.send.0 },
        several: visit.offered.len() > 1 || offered.methods().len() > 1,
    }
}

fn not_offered(visitor: &Visitor) -> Refused {
    Box::new(Problem::new(Code::NotFound, visitor.t.connecting.no_method.0)).into()
}

fn with_cookie(mut response: Response, cookie: Option<&str>) -> Response {
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

async fn show(
    State(app): State<App>,
    visitor: Visitor,
    Named(token): Named<String>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let visit = app.door().open_connect(&token, &visitor.headers, visitor.actor.address).await?;
    if query.back.is_some()
        && let Some(back) = &visit.come_back
        && let Some(offered) = visit.offered.iter().find(|one| one.uid == back.connector)
        && let Some(method) = offered.methods().into_iter().find(|one| one.id == back.method)
    {
        let wrong = Wrong::none(visitor.t);
        let page = form(&visitor, &visit, offered, method, &Pairs::default(), wrong);
        return Ok(visitor.show(&Form { outcome: Some(not_connected(&visitor, back)), ..page }));
    }
    let offered = match (&query.connector, visit.offered.as_slice()) {
        (Some(uid), offered) => {
            Some(offered.iter().find(|one| one.uid == *uid).ok_or_else(|| not_offered(&visitor))?)
        }
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let response = match offered {
        None => visitor.show(&choose_connector(&visitor, &visit.offered)),
        Some(offered) => {
            let methods = offered.methods();
            let method = match (&query.method, methods.as_slice()) {
                (Some(id), methods) => {
                    Some(*methods.iter().find(|one| one.id == *id).ok_or_else(|| not_offered(&visitor))?)
                }
                (None, [only]) => Some(*only),
                (None, _) => None,
            };
            match method {
                None => visitor.show(&choose_method(&visitor, offered)),
                Some(method) => {
                    let wrong = Wrong::none(visitor.t);
                    visitor.show(&form(&visitor, &visit, offered, method, &Pairs::default(), wrong))
                }
            }
        }
    };
    Ok(with_cookie(response, visit.cookie.as_deref()))
}

/// What belongs beside the form; the rest ends the way.
fn shown_here(problem: &Problem) -> bool {
    matches!(
        problem.code,
        Code::Invalid
            | Code::VerificationFailed
            | Code::VerificationInconclusive
            | Code::SecretMissing
            | Code::TemplateError
            | Code::DestinationNotAllowed
    ) || frame::in_the_way(problem)
}

fn outcome(visitor: &Visitor, offered: &Offered, problem: &Problem) -> Option<Outcome> {
    let m = &visitor.t.making;
    let title = match problem.code {
        Code::VerificationFailed => m.failed_title.with("connector", &offered.definition.name).0,
        Code::VerificationInconclusive => m.failed_unclear.to_string(),
        _ => return None,
    };
    let hint = problem.hint.as_ref().map(ToString::to_string);
    Some(Outcome { title, text: problem.detail.to_string(), hint })
}

/// What came of signing in elsewhere.
fn not_connected(visitor: &Visitor, back: &ComeBack) -> Outcome {
    let title = visitor.t.connecting.not_connected.to_string();
    Outcome { title, text: back.detail.clone(), hint: back.hint.clone() }
}

async fn send(
    State(app): State<App>,
    visitor: Visitor,
    Named(token): Named<String>,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let address = visitor.actor.address;
    let visit = app.door().open_connect(&token, &visitor.headers, address).await?;
    if visit.cookie.is_some() {
        // A form is sent from a page that was opened: whoever sends one without has not seen it.
        return Err(not_offered(&visitor));
    }
    let chosen = pairs.get("connector").unwrap_or_default();
    let offered = visit.offered.iter().find(|one| one.uid == chosen).ok_or_else(|| not_offered(&visitor))?;
    let wanted = pairs.get("method").unwrap_or_default();
    let methods = offered.methods();
    let method = *methods.iter().find(|one| one.id == wanted).ok_or_else(|| not_offered(&visitor))?;
    let done = match set(&visitor, method, &pairs).read() {
        Ok(values) => {
            let chosen = Chosen { connector: offered.uid.clone(), method: method.id.clone(), values };
            Box::pin(app.door().connect(&token, &visitor.headers, address, chosen)).await
        }
        Err(errors) => Err(Problem::invalid(errors).into()),
    };
    match done {
        Ok(Next::Connected) => Ok(go::to(&format!("/connect/{}/done", go::part(&token)))),
        Ok(Next::SignIn { session, host }) => {
            Ok(leave(&visitor, format!("/connect/{}/sign-in", go::part(&session)), &host))
        }
        Err(problem) if shown_here(&problem) => {
            let outcome = outcome(&visitor, offered, &problem);
            let wrong = match &outcome {
                Some(_) => Wrong::beside(visitor.t, &problem, visitor.typed(&pairs)),
                None => Wrong::of(visitor.t, &problem, visitor.typed(&pairs)),
            };
            let page = Form { outcome, ..form(&visitor, &visit, offered, method, &pairs, wrong) };
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

/// The way to the provider: a page of ours leads here by a link, since `form-action 'self'` would stop a form's redirect.
async fn sign_in(
    State(app): State<App>,
    visitor: Visitor,
    Named(token): Named<String>,
) -> Result<Response, Refused> {
    let address = visitor.actor.address;
    let started = Box::pin(app.door().start_end_users_consent(&token, &visitor.headers, address)).await?;
    consent::away(started)
}

/// Back from the provider: to the page of the session, in the window that still knows who opened it.
pub fn came_back(session: &str, good: bool) -> Response {
    let rest = if good { "/done" } else { "?back=1" };
    let mut response = go::to(&format!("/connect/{}{rest}", go::part(session)));
    response.headers_mut().insert(OPENER, STAYS_KNOWN);
    response
}

fn shown_result(connected: &Connected) -> Value {
    json!({
        "source": "latchstring", "type": "connected", "connect_session": connected.session,
        "credential": connected.credential, "connector": connected.connector, "end_user": connected.end_user,
    })
}

/// For `connect.js`, when it has lost sight of the window: a provider's page may part the two
/// (`Cross-Origin-Opener-Policy`). Asked by whoever has the link, from the one origin that is told; browsers show it to
/// no other.
async fn result(
    State(app): State<App>,
    visitor: Visitor,
    Named(token): Named<String>,
) -> Result<Response, Refused> {
    let origin = visitor.headers.get(header::ORIGIN).cloned();
    let named = origin.as_ref().and_then(|origin| origin.to_str().ok()).unwrap_or_default();
    let told = match app.door().connect_progress(&token, named, visitor.actor.address).await? {
        Progress::Open => json!({"source": "latchstring", "type": "open"}),
        Progress::SigningIn => json!({"source": "latchstring", "type": "signing_in"}),
        Progress::Connected(connected) => shown_result(&connected),
    };
    let mut response = Json(told).into_response();
    response.headers_mut().insert(header::VARY, HeaderValue::from_name(header::ORIGIN));
    if let Some(origin) = origin {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    Ok(response)
}

fn told(visitor: &Visitor, connected: &Connected) -> Done {
    let c = &visitor.t.connecting;
    let result = shown_result(connected);
    Done {
        f: frame(visitor),
        title: c.done.with("connector", &connected.connector_name).0,
        lead: c.done_lead.rich().text("origin", &connected.return_origin),
        origin: connected.return_origin.clone(),
        result: result.to_string(),
    }
}

async fn done(
    State(app): State<App>,
    visitor: Visitor,
    Named(token): Named<String>,
) -> Result<Response, Refused> {
    let connected = app.door().connected(&token, &visitor.headers, visitor.actor.address).await?;
    Ok(visitor.show(&told(&visitor, &connected)))
}
