//! `/credentials/{id}`: everything about it on one page.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::credentials::check::Report;
use latchstring_broker::credentials::uses::By;
use latchstring_broker::credentials::versions::Version;
use latchstring_model::entity::{Principal, Role};

use super::environment::{Card, Checked, Shown, card};
use super::{Head, Sheet, Tab, Through};
use crate::App;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Signed, Visitor};
use crate::pages::ui::When;
use crate::texts::Rich;

/// A project environment, and which values it uses.
struct Grant {
    environment: String,
    from: Option<String>,
}

struct Share {
    project: String,
    slug: String,
    external_id: Option<String>,
    grants: Vec<Grant>,
    destinations: Vec<String>,
    suspended: Option<Rich>,
    /// An admin of the project looks: may accept a new place, and end the use.
    admin: bool,
    /// What stops then, in words.
    stops: Vec<Rich>,
}

#[derive(Template)]
#[template(path = "credentials/overview.html")]
pub struct Page {
    f: Frame,
    head: Head,
    id: String,
    query: String,
    owned: bool,
    disabled: bool,
    deletes: Option<Rich>,
    connector_changed: bool,
    cards: Vec<Card>,
    shares: Vec<Share>,
    owner: String,
    client: Option<String>,
    acts_as: Option<String>,
    note: Option<String>,
    expires_on: Option<When>,
    made: When,
    changed: When,
    delete_help: String,
    /// A person owns it, who may hand it to another.
    may_hand_over: bool,
}

impl Page {
    /// Whether there is anything that this person can end.
    fn may_end(&self) -> bool {
        self.owned || self.shares.iter().any(|share| share.admin)
    }
}

fn shares(visitor: &Visitor, sheet: &Sheet) -> Vec<Share> {
    let c = &visitor.t.credentials;
    sheet
        .view
        .shares
        .iter()
        .map(|share| {
            let here = sheet.project.as_ref().filter(|project| project.slug == share.project);
            // All environments where they are known, and else those that get something.
            let names: Vec<String> = match here {
                Some(project) => project.environments.iter().map(|one| one.name.clone()).collect(),
                None => share.grants.keys().cloned().collect(),
            };
            let grants = names
                .into_iter()
                .map(|environment| Grant { from: share.grants.get(&environment).cloned(), environment })
                .collect();
            let places = share.destinations.join(", ");
            Share {
                project: share.project.clone(),
                slug: share.slug.clone(),
                external_id: share.external_id.clone(),
                grants,
                suspended: share.suspended.then(|| c.suspended_help.rich().text("destinations", &places)),
                destinations: share.destinations.clone(),
                admin: here.is_some_and(|project| project.role >= Role::Admin),
                stops: Vec::new(),
            }
        })
        .collect()
}

/// What stops in a project without it, in words.
async fn stops(app: &App, visitor: &Visitor, project: &str, id: &str) -> Result<Vec<Rich>, Refused> {
    let found = app.broker().share_usage(&visitor.actor, project, id).await?;
    let c = &visitor.t.credentials;
    let cut = found.usage.looked_back_to.filter(|_| !found.usage.complete);
    let keychains: Vec<String> = found
        .usage
        .used_by
        .into_iter()
        .filter_map(|used| match used.by {
            By::Keychain { keychain } => Some(keychain),
            By::Workflow { .. } => None,
        })
        .collect();
    // One that has ended stops no more.
    let keys: Vec<String> = found.usage.keys.into_iter().filter_map(|key| key.name).collect();
    let people: BTreeSet<String> =
        found.usage.calls.into_iter().filter_map(|item| item.actor.email).collect();
    let people: Vec<String> = people.into_iter().collect();
    let lines = [
        (&c.withdraw_in, "environments", found.environments),
        (&c.withdraw_keychains, "names", keychains),
        (&c.withdraw_keys, "names", keys),
        (&c.withdraw_people, "names", people),
    ];
    let told = lines.into_iter().filter(|(_, _, names)| !names.is_empty());
    let told = told.map(|(text, slot, names)| text.rich().text(slot, &names.join(", ")));
    let cut = cut.map(|at| c.withdraw_cut.rich().part("when", &When::moment(visitor.t, at)));
    Ok(told.chain(cut).collect())
}

/// The page; `checked`: a check that was just made, with its environment.
pub async fn draw(
    app: &App,
    visitor: &Visitor,
    sheet: &Sheet,
    checked: Option<(&str, &Report)>,
) -> Result<Page, Refused> {
    let (t, c) = (visitor.t, &visitor.t.credentials);
    let now = app.broker().now();
    let view = &sheet.view;
    let versions: Vec<Version> = if view.owned {
        app.broker().credential_versions(&visitor.actor, view.id.as_str()).await?
    } else {
        Vec::new()
    };
    let mut cards: Vec<Card> = view
        .environments
        .iter()
        .map(|(name, environment)| card(visitor, sheet, name, environment, &versions, now))
        .collect();
    if let Some((environment, report)) = checked
        && let Some(card) = cards.iter_mut().find(|card| card.name == environment)
    {
        card.checked = Some(Checked::of(t, report));
    }
    let days = app.broker().settings().delete_after.as_secs().div_ceil(86_400);
    let connector_changed = match &sheet.connector {
        Some(connector) => connector.own.is_some() && connector.definition.digest() != view.digest,
        None => false,
    };
    let mut shares = shares(visitor, sheet);
    for share in shares.iter_mut().filter(|share| share.admin) {
        share.stops = stops(app, visitor, &share.project, view.id.as_str()).await?;
    }
    Ok(Page {
        f: sheet.frame(app, visitor).await?,
        head: sheet.head(visitor, Tab::Overview),
        id: view.id.to_string(),
        query: sheet.query(),
        owned: view.owned,
        disabled: view.disabled,
        deletes: view.deletes_at.map(|at| c.deletes_help.rich().part("when", &When::near(t, at, now))),
        connector_changed,
        cards,
        shares,
        owner: sheet.owner(visitor),
        client: client(app, visitor, sheet).await,
        acts_as: view.acts_as.clone(),
        note: view.note.clone(),
        expires_on: view.expires_on.map(|at| When::day(t, at)),
        made: When::moment(t, view.created_at),
        changed: When::moment(t, view.updated_at),
        may_hand_over: view.owned && matches!(view.owner, Principal::User(_)),
        delete_help: c.delete_help.with("days", &t.number(&c.days, days)).0,
    })
}

/// The name of its OAuth client, for those who may see it.
async fn client(app: &App, visitor: &Visitor, sheet: &Sheet) -> Option<String> {
    let id = sheet.view.oauth_client.as_deref()?;
    let found = app.broker().oauth_client(&visitor.actor, id).await.ok();
    Some(found.map_or_else(|| id.to_owned(), |client| client.name))
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(through): Asked<Through>,
) -> Result<Response, Refused> {
    let sheet = Sheet::load(&app, &visitor, &id, &through).await?;
    let page = draw(&app, &visitor, &sheet, None).await?;
    Ok(visitor.show(&page))
}
