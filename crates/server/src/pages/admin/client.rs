//! `/oauth-clients/{id}`: one of them, with its redirect URI; a new one.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::definitions::{AuthMethod, Definition};
use latchstring_broker::oauth_clients::{ClientView, Use};
use latchstring_model::{Code, Problem};
use serde::Deserialize;

use super::client_form::{Draft, Groups, read};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::{Asked, Named};
use crate::pages::credentials::fields::Pairs;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::Wrong;
use crate::texts::Rich;

#[derive(Default, Deserialize)]
pub struct Query {
    #[serde(default)]
    connector: String,
    #[serde(default)]
    project: String,
    /// Where a credential is made that waits for the client.
    #[serde(default)]
    return_to: String,
}

impl Query {
    fn of(pairs: &Pairs) -> Self {
        let text = |name: &str| pairs.get(name).unwrap_or_default().to_owned();
        Self { connector: text("preset"), project: String::new(), return_to: text("return_to") }
    }
}

/// What a connector says of registering with its provider.
struct Guide {
    label: String,
    help: Option<Rich>,
    docs: Option<String>,
}

/// The client's page, which knows where one came from.
fn path_of(app: &App, id: &str, return_to: &str) -> String {
    let back = go::checked(app, return_to).map(|path| format!("?return_to={}", go::part(&path)));
    format!("/oauth-clients/{}{}", go::part(id), back.unwrap_or_default())
}

#[derive(Template)]
#[template(path = "admin/client.html")]
struct Page {
    f: Frame,
    title: String,
    action: String,
    /// Of one that exists.
    id: Option<String>,
    version: Option<i64>,
    /// Of a new one whose connector is settled.
    preset: Option<String>,
    guides: Vec<Guide>,
    /// On this server.
    return_to: Option<String>,
    /// Where a credential is made with it.
    used_at: Option<String>,
    draft: bool,
    redirect_uri: Option<String>,
    serves: Option<String>,
    public_key: Option<String>,
    warnings: Vec<String>,
    /// Credentials that name it, with their owners. Of one that exists.
    used_by: Option<Vec<Use>>,
    used_more: Option<String>,
    wrong: Wrong,
    groups: Groups,
}

/// What members see of one.
#[derive(Template)]
#[template(path = "admin/client_seen.html")]
struct Seen {
    f: Frame,
    client: ClientView,
}

async fn new_page(
    app: &App,
    visitor: &Visitor,
    query: &Query,
    pairs: &Pairs,
    mut wrong: Wrong,
) -> Result<Page, Refused> {
    visitor.actor.superuser()?;
    let connectors = app.broker().connectors(&visitor.actor, None).await?;
    let named = connectors.iter().find(|one| one.definition.id == query.connector);
    let preset =
        named.filter(|one| one.consent.is_some() && one.definition.id != "http").map(|one| &*one.definition);
    let draft = Draft {
        pairs,
        name: named.map_or("", |one| one.definition.name.as_str()),
        whole: None,
        mandatory: &[],
        optional: &[],
        scopes_doc_url: None,
        global: false,
        connectors: &connectors,
        connector: &query.connector,
        preset,
        project: &query.project,
    };
    let groups = draft.draw(visitor, &mut wrong);
    Ok(Page {
        f: Frame::of(app, visitor, Place::OAuthClients, None).await?,
        title: visitor.t.admin.client_new.to_string(),
        action: "/oauth-clients".to_owned(),
        id: None,
        version: None,
        preset: preset.map(|definition| definition.id.clone()),
        guides: preset.into_iter().flat_map(Definition::consent_methods).filter_map(guide).collect(),
        return_to: go::checked(app, &query.return_to),
        used_at: None,
        draft: false,
        redirect_uri: None,
        serves: preset
            .map(|definition| visitor.t.admin.client_connector_fixed.with("connector", &definition.name).0),
        public_key: None,
        warnings: Vec::new(),
        used_by: None,
        used_more: None,
        wrong,
        groups,
    })
}

async fn page(
    app: &App,
    visitor: &Visitor,
    client: ClientView,
    pairs: &Pairs,
    return_to: &str,
    mut wrong: Wrong,
) -> Result<Page, Refused> {
    let return_to = go::checked(app, return_to);
    let draft = Draft {
        pairs,
        name: &client.name,
        whole: client.whole.as_ref(),
        mandatory: &client.mandatory_scopes,
        optional: &client.optional_scopes,
        scopes_doc_url: client.scopes_doc_url.as_deref(),
        global: client.global,
        connectors: &[],
        connector: &client.connector,
        preset: None,
        project: "",
    };
    let groups = draft.draw(visitor, &mut wrong);
    let (used, count) = app.broker().oauth_client_uses(&visitor.actor, client.id.as_str()).await?;
    let more = count - i64::try_from(used.len()).unwrap_or(count);
    let whole = client.whole.as_ref();
    let public_key = whole.and_then(|whole| whole.public_key.as_ref());
    Ok(Page {
        f: Frame::of(app, visitor, Place::OAuthClients, None).await?,
        title: client.name.clone(),
        action: format!("/oauth-clients/{}", client.id),
        id: Some(client.id.to_string()),
        version: Some(client.version),
        preset: None,
        guides: Vec::new(),
        used_at: used_at(&client, return_to.as_deref()),
        return_to,
        draft: client.draft,
        redirect_uri: Some(client.redirect_uri.clone()),
        serves: Some(visitor.t.admin.client_connector_fixed.with("connector", &client.connector).0),
        public_key: public_key.and_then(|key| serde_json::to_string_pretty(key).ok()),
        warnings: whole.map(|whole| whole.warnings.clone()).unwrap_or_default(),
        used_by: Some(used),
        used_more: (more > 0).then(|| visitor.t.number(&visitor.t.admin.client_used_more, more)),
        wrong,
        groups,
    })
}

fn guide(method: &AuthMethod) -> Option<Guide> {
    let (help, docs) = (method.help.as_deref().map(Rich::of), method.docs_url.clone());
    (help.is_some() || docs.is_some()).then(|| Guide { label: method.label.clone(), help, docs })
}

/// Back where it was missing, with it chosen: once somebody may use it.
fn used_at(client: &ClientView, return_to: Option<&str>) -> Option<String> {
    let offered = client.global || client.whole.as_ref().is_some_and(|whole| !whole.projects.is_empty());
    let back = return_to.filter(|_| offered && !client.draft)?;
    let sign = if back.contains('?') { '&' } else { '?' };
    Some(format!("{back}{sign}client={}", client.id))
}

pub async fn new(
    State(app): State<App>,
    Signed(visitor): Signed,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&new_page(&app, &visitor, &query, &Pairs::default(), wrong).await?))
}

fn shown_here(problem: &Problem) -> bool {
    matches!(
        problem.code,
        Code::Invalid
            | Code::PreconditionFailed
            | Code::UpstreamUnreachable
            | Code::UpstreamTimeout
            | Code::UpstreamError
            | Code::TokenEndpointError
            | Code::DestinationNotAllowed
    ) || frame::in_the_way(problem)
}

pub async fn create(
    State(app): State<App>,
    Signed(visitor): Signed,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let made = match read(&visitor, &pairs, true) {
        Ok(input) => Box::pin(app.broker().create_oauth_client(&visitor.actor, input)).await,
        Err(error) => Err(Problem::invalid(vec![error]).into()),
    };
    match made {
        Ok(client) => {
            let back = pairs.get("return_to").unwrap_or_default();
            Ok(go::saying(&path_of(&app, client.id.as_str(), back), Flash::ClientSaved))
        }
        Err(problem) if shown_here(&problem) => {
            let wrong = Wrong::of(visitor.t, &problem, visitor.typed(&pairs));
            let page = new_page(&app, &visitor, &Query::of(&pairs), &pairs, wrong).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let client = app.broker().oauth_client(&visitor.actor, &id).await?;
    if client.whole.is_none() {
        let f = Frame::of(&app, &visitor, Place::OAuthClients, None).await?;
        return Ok(visitor.show(&Seen { f, client }));
    }
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&page(&app, &visitor, client, &Pairs::default(), &query.return_to, wrong).await?))
}

pub async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let back = pairs.get("return_to").unwrap_or_default();
    let version = pairs.get("version").and_then(|text| text.parse().ok());
    let changed = match read(&visitor, &pairs, false) {
        Ok(input) => Box::pin(app.broker().change_oauth_client(&visitor.actor, &id, input, version)).await,
        Err(error) => Err(Problem::invalid(vec![error]).into()),
    };
    match changed {
        Ok(_) => Ok(go::saying(&path_of(&app, &id, back), Flash::ClientSaved)),
        Err(problem) if shown_here(&problem) => {
            let client = app.broker().oauth_client(&visitor.actor, &id).await?;
            let wrong = Wrong::of(visitor.t, &problem, visitor.typed(&pairs));
            Ok(html(frame::status(&problem), &page(&app, &visitor, client, &pairs, back, wrong).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn delete(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
) -> Result<Response, Refused> {
    match app.broker().delete_oauth_client(&visitor.actor, &id, None).await {
        Ok(()) => Ok(go::saying("/oauth-clients", Flash::ClientDeleted)),
        Err(problem) if shown_here(&problem) => {
            let client = app.broker().oauth_client(&visitor.actor, &id).await?;
            let wrong = Wrong::of(visitor.t, &problem, []);
            let page = page(&app, &visitor, client, &Pairs::default(), "", wrong).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}
