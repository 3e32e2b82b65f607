//! `/people`: who has an account, and invitations.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use latchstring_broker::people::users::{NewUser, UserChange};
use latchstring_broker::people::{Names, Paging};
use latchstring_model::Code;
use serde::Deserialize;

use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::{Asked, Named};
use crate::pages::credentials::fields::Pairs;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, Tile, When, Wrong};
use crate::texts::Rich;

#[derive(Default, Deserialize)]
pub struct Query {
    #[serde(default)]
    q: String,
    cursor: Option<String>,
}

struct Line {
    tile: Tile,
    id: String,
    name: String,
    email: String,
    since: Rich,
    superuser: bool,
    active: bool,
    version: i64,
    me: bool,
    active_label: String,
    superuser_label: String,
    /// To remove a second factor that was lost; nobody's own.
    factor_label: Option<String>,
}

#[derive(Template)]
#[template(path = "admin/people.html")]
struct Page {
    f: Frame,
    search: Field,
    narrowed: bool,
    lines: Vec<Line>,
    next: Option<String>,
    wrong: Wrong,
    fields: Vec<Field>,
}

#[derive(Template)]
#[template(path = "admin/invited.html")]
struct Invited {
    f: Frame,
    title: String,
    once: Rich,
    url: String,
}

async fn page(
    app: &App,
    visitor: &Visitor,
    query: &Query,
    pairs: &Pairs,
    mut wrong: Wrong,
) -> Result<Page, Refused> {
    let (t, a, now) = (visitor.t, &visitor.t.admin, app.broker().now());
    let me = visitor.actor.person()?.id.clone();
    let q = Some(query.q.trim()).filter(|q| !q.is_empty());
    let found = app.broker().users(&visitor.actor, q, &Paging::new(query.cursor.clone(), Some(50))).await?;
    let lines = found.items.into_iter().map(|user| {
        let factor = user.second_factor && user.id != me;
        let active = if user.active { a.deactivate_named } else { a.activate_named };
        let superuser = if user.superuser { a.unmake_superuser_named } else { a.make_superuser_named };
        Line {
            tile: Tile::person(&user.name, user.id.as_str()),
            since: a.since.rich().part("when", &When::near(t, user.created_at, now)),
            superuser: user.superuser,
            active: user.active,
            version: user.version,
            me: user.id == me,
            active_label: active.with("name", &user.name).0,
            superuser_label: superuser.with("name", &user.name).0,
            factor_label: factor.then(|| a.factor_remove_named.with("name", &user.name).0),
            id: user.id.to_string(),
            name: user.name,
            email: user.email,
        }
    });
    let typed = |name: &str| pairs.get(name).unwrap_or_default().to_owned();
    let fields = vec![
        Field::email(t, "email", t.entrance.email).autocomplete("off").value(typed("email")),
        Field::text(t, "name", t.account.name).most(200).optional().autocomplete("off").value(typed("name")),
        Field::tick(t, "superuser", a.invite_superuser, pairs.ticked("superuser")),
    ];
    let part = |cursor: String| format!("/people?q={}&cursor={}", go::part(&query.q), go::part(&cursor));
    Ok(Page {
        lines: lines.collect(),
        next: found.next_cursor.map(part),
        search: Field::search(t, "q", a.people_search).value(&query.q).id("search"),
        narrowed: q.is_some(),
        fields: fields.into_iter().map(|field| field.wrong(&mut wrong)).collect(),
        wrong,
        f: Frame::of(app, visitor, Place::People, None).await?,
    })
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&page(&app, &visitor, &query, &Pairs::default(), wrong).await?))
}

pub async fn invite(
    State(app): State<App>,
    Signed(visitor): Signed,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let new = NewUser {
        email: pairs.given("email").unwrap_or_default(),
        names: Names { name: pairs.given("name"), ..Names::default() },
        superuser: pairs.ticked("superuser"),
        password: None,
    };
    match app.broker().invite(&visitor.actor, new).await {
        Ok(invited) => {
            let (t, a, now) = (visitor.t, &visitor.t.admin, app.broker().now());
            let page = Invited {
                f: Frame::of(&app, &visitor, Place::People, None).await?,
                title: a.invited.with("email", &invited.user.email).0,
                once: a.invited_once.rich().part("when", &When::near(t, invited.expires_at, now)),
                url: invited.url.reveal().to_owned(),
            };
            Ok(html(StatusCode::CREATED, &page))
        }
        Err(problem) if problem.code == Code::Invalid || frame::in_the_way(&problem) => {
            let wrong = Wrong::of(visitor.t, &problem, []);
            let page = page(&app, &visitor, &Query::default(), &pairs, wrong).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

/// One button, one change.
pub async fn change(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let asked = |name: &str| pairs.get(name).map(|value| value == "yes");
    let change = UserChange { active: asked("active"), superuser: asked("superuser") };
    let version = pairs.get("version").and_then(|text| text.parse().ok());
    match app.broker().change_user(&visitor.actor, &id, change, version).await {
        Ok(_) => Ok(go::saying("/people", Flash::PersonChanged)),
        Err(problem) if problem.code == Code::PreconditionFailed || frame::in_the_way(&problem) => {
            let wrong = Wrong::of(visitor.t, &problem, []);
            let page = page(&app, &visitor, &Query::default(), &Pairs::default(), wrong).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

/// Of somebody who has lost it; they are told, and still need their password.
pub async fn remove_factor(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
) -> Result<Response, Refused> {
    app.broker().remove_second_factor(&visitor.actor, &id).await?;
    Ok(go::saying("/people", Flash::FactorRemoved))
}
