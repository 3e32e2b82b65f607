//! `/credentials/{id}/connect/{environment}`: before one goes to the provider: which scopes, and where to.
//!
//! The form does not redirect to the provider: `form-action 'self'` of our policy binds every redirect that follows a
//! form. A page with a link follows it, or the script goes there itself.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use latchstring_broker::consent::{Asked as Wish, Begun, Offer};
use latchstring_broker::definitions::SchemeType;
use latchstring_model::{Code, Timestamp};

use super::fields::Pairs;
use super::show::{Head, Sheet, Tab, Through};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Frame, Signed, Visitor, html};
use crate::pages::routes::Pages;
use crate::pages::ui::{When, Wrong};
use crate::pages::{GO, go};
use crate::texts::Rich;

pub fn pages(pages: Pages) -> Pages {
    pages.show("/credentials/{id}/connect/{environment}", show).send(
        "/credentials/{id}/connect/{environment}",
        "credential.authorize",
        send,
    )
}

struct Scope {
    name: String,
    mandatory: bool,
    ticked: bool,
}

#[derive(Template)]
#[template(path = "credentials/connect.html")]
struct Page {
    f: Frame,
    head: Head,
    title: String,
    lead: Rich,
    wrong: Wrong,
    scopes: Vec<Scope>,
    docs: Option<String>,
    /// How the last try went.
    failed: Option<(String, String)>,
    under_way: Option<Rich>,
    action: String,
    button: String,
    /// Its answer is a page of its own, with a code that is shown once and kept nowhere: the browser goes there.
    leaves: bool,
}

#[derive(Template)]
#[template(path = "credentials/connect_go.html")]
struct Ready {
    f: Frame,
    title: String,
    link: String,
}

/// To the provider, by a path of our own that leads there.
pub fn leave(visitor: &Visitor, path: String, host: &str) -> Response {
    if visitor.stays
        && let Ok(to) = HeaderValue::try_from(path.as_str())
    {
        return (StatusCode::NO_CONTENT, [(GO, to)]).into_response();
    }
    let title = visitor.t.editing.connect_ready.with("host", host).0;
    visitor.show(&Ready { f: Frame { path: "/".to_owned(), ..Frame::alone(visitor) }, title, link: path })
}

#[derive(Template)]
#[template(path = "credentials/device.html")]
struct Device {
    f: Frame,
    head: Head,
    code: String,
    link: String,
    shown: String,
    ends: Rich,
    id: String,
    environment: String,
}

async fn page(
    app: &App,
    visitor: &Visitor,
    sheet: &Sheet,
    environment: &str,
    offer: Offer,
    pairs: &Pairs,
    wrong: Wrong,
) -> Result<Page, Refused> {
    let (t, e, now) = (visitor.t, &visitor.t.editing, app.broker().now());
    let chosen = |scope: &str| match pairs.sent() {
        true => pairs.iter().any(|(name, value)| name == "scope" && value == scope),
        false => offer.granted.iter().any(|granted| granted == scope),
    };
    let mut scopes: Vec<Scope> = offer
        .mandatory
        .iter()
        .map(|name| Scope { name: name.clone(), mandatory: true, ticked: true })
        .collect();
    for name in offer.optional.iter().filter(|name| !offer.mandatory.contains(name)) {
        scopes.push(Scope { name: name.clone(), mandatory: false, ticked: chosen(name) });
    }
    let docs = match &sheet.view.oauth_client {
        Some(id) => {
            app.broker().oauth_client(&visitor.actor, id).await.ok().and_then(|one| one.scopes_doc_url)
        }
        None => None,
    };
    let last = sheet
        .view
        .environments
        .iter()
        .find(|(name, _)| name == environment)
        .and_then(|(_, one)| one.authorization.as_ref());
    let under_way = last
        .filter(|last| last.ended_at.is_none() && last.state != "begun")
        .map(|last| e.consent_under_way.rich().part("when", &When::near(t, last.expires_at, now)));
    let failed = last
        .filter(|last| last.state == "failed")
        .map(|last| (last.detail.clone().unwrap_or_default(), last.hint.clone().unwrap_or_default()));
    Ok(Page {
        f: sheet.frame(app, visitor).await?,
        head: sheet.head(visitor, Tab::Below),
        title: e.connect_title.with("environment", environment).0,
        lead: e.connect_lead.rich().text("host", &offer.at),
        wrong,
        scopes,
        docs,
        failed,
        under_way,
        action: format!("{}/connect/{}{}", sheet.path(), go::part(environment), sheet.query()),
        button: e.connect_go.with("host", &offer.at).0,
        leaves: sheet.method().is_some_and(|method| method.scheme.ty == SchemeType::Oauth2DeviceCode),
    })
}

async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((id, environment)): Named<(String, String)>,
    Asked(through): Asked<Through>,
) -> Result<Response, Refused> {
    let offer = Box::pin(app.broker().consent_offer(&visitor.actor, &id, &environment)).await?;
    let sheet = Sheet::load(&app, &visitor, &id, &through).await?;
    let wrong = Wrong::none(visitor.t);
    let pairs = Pairs::default();
    Ok(visitor.show(&page(&app, &visitor, &sheet, &environment, offer, &pairs, wrong).await?))
}

/// Where people come back to: to the first call, or to the credential.
fn return_to(sheet: &Sheet) -> String {
    let call = if sheet.project.is_some() { "/call" } else { "" };
    format!("{}{call}{}", sheet.path(), sheet.query())
}

fn path_of(link: &str) -> String {
    link.find("/oauth/start/").and_then(|at| link.get(at..)).unwrap_or("/").to_owned()
}

async fn device(
    app: &App,
    visitor: &Visitor,
    sheet: &Sheet,
    environment: &str,
    begun: (String, String, Option<String>, Timestamp),
) -> Result<Response, Refused> {
    let (code, uri, complete, ends) = begun;
    let now = app.broker().now();
    let page = Device {
        f: sheet.frame(app, visitor).await?,
        head: sheet.head(visitor, Tab::Below),
        link: complete.unwrap_or_else(|| uri.clone()),
        shown: uri,
        code,
        ends: visitor.t.editing.device_ends.rich().part("when", &When::near(visitor.t, ends, now)),
        id: sheet.view.id.to_string(),
        environment: environment.to_owned(),
    };
    Ok(visitor.show(&page))
}

async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((id, environment)): Named<(String, String)>,
    Asked(through): Asked<Through>,
    Filled(pairs): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(pairs);
    let offer = Box::pin(app.broker().consent_offer(&visitor.actor, &id, &environment)).await?;
    let sheet = Sheet::load(&app, &visitor, &id, &through).await?;
    let chosen = pairs.iter().filter(|(name, _)| *name == "scope").map(|(_, scope)| scope.to_owned());
    let wish = Wish {
        environment: environment.clone(),
        scopes: Some(chosen.collect()),
        return_to: Some(return_to(&sheet)),
    };
    match Box::pin(app.broker().begin_consent(&visitor.actor, &id, wish)).await {
        Ok(Begun::Browser { authorize_url, .. }) => Ok(leave(&visitor, path_of(&authorize_url), &offer.at)),
        Ok(Begun::Device { user_code, verification_uri, verification_uri_complete, expires_at }) => {
            let begun = (user_code, verification_uri, verification_uri_complete, expires_at);
            device(&app, &visitor, &sheet, &environment, begun).await
        }
        Err(problem) if !matches!(problem.code, Code::NotFound | Code::Forbidden) => {
            let wrong = Wrong::of(visitor.t, &problem, []);
            let status = frame::status(&problem);
            let page = page(&app, &visitor, &sheet, &environment, offer, &pairs, wrong).await?;
            Ok(html(status, &page))
        }
        Err(problem) => Err(problem.into()),
    }
}
