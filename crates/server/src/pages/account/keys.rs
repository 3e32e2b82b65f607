//! `/account/keys`: personal keys; a new one is shown once.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use latchstring_broker::people::Paging;
use latchstring_broker::people::keys::NewKey;
use latchstring_model::entity::KeyScope;
use latchstring_model::{Code, Problem};

use super::{Link, Tab, tabs};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::pages::credentials::day;
use crate::pages::credentials::fields::Pairs;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, When, Wrong};
use crate::texts::Rich;

struct Line {
    name: String,
    scope: String,
    about: Vec<Rich>,
    end: String,
    label: String,
}

#[derive(Template)]
#[template(path = "account/keys.html")]
struct Page {
    f: Frame,
    tabs: Vec<Link>,
    lines: Vec<Line>,
    wrong: Wrong,
    fields: Vec<Field>,
}

#[derive(Template)]
#[template(path = "account/key_made.html")]
struct Made {
    f: Frame,
    tabs: Vec<Link>,
    title: String,
    key: String,
    curl: String,
}

async fn page(app: &App, visitor: &Visitor, pairs: &Pairs, mut wrong: Wrong) -> Result<Page, Refused> {
    let (t, a, m, now) = (visitor.t, &visitor.t.account, &visitor.t.team, app.broker().now());
    let keys = app.broker().my_keys(&visitor.actor, &Paging::new(None, Some(200))).await?;
    let lines = keys.items.into_iter().map(|key| {
        let mut about = vec![m.key_hint.rich().text("hint", &key.hint)];
        about.push(match key.used_at {
            Some(at) => m.key_used.rich().part("when", &When::near(t, at, now)),
            None => m.key_unused.rich(),
        });
        about.extend(key.expires_at.map(|at| m.key_ends.rich().part("when", &When::near(t, at, now))));
        let scope = if key.scope == KeyScope::Manage { a.key_scope_manage } else { a.key_scope_call };
        Line {
            scope: scope.to_string(),
            about,
            end: format!("/account/keys/{}/end", key.id),
            label: m.key_end_named.with("name", &key.name).0,
            name: key.name,
        }
    });
    let fields = vec![
        Field::text(t, "name", a.key_name).most(200).value(pairs.get("name").unwrap_or_default()),
        Field::tick(t, "manage", a.key_manage, pairs.ticked("manage")).help(a.key_manage_help),
        Field::date(t, "expires_at", a.key_expires)
            .optional()
            .value(pairs.get("expires_at").unwrap_or_default()),
    ];
    Ok(Page {
        lines: lines.collect(),
        tabs: tabs(app, visitor, Tab::Keys).await?,
        fields: fields.into_iter().map(|field| field.wrong(&mut wrong)).collect(),
        wrong,
        f: Frame::of(app, visitor, Place::Account, None).await?,
    })
}

pub async fn show(State(app): State<App>, Signed(visitor): Signed) -> Result<Response, Refused> {
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&page(&app, &visitor, &Pairs::default(), wrong).await?))
}

pub async fn make(
    State(app): State<App>,
    Signed(visitor): Signed,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let made = match day(visitor.t, &pairs, "expires_at") {
        Ok(expires_at) => {
            let scope = if pairs.ticked("manage") { KeyScope::Manage } else { KeyScope::Call };
            let new = NewKey { name: pairs.given("name").unwrap_or_default(), scope, expires_at };
            app.broker().create_my_key(&visitor.actor, new).await
        }
        Err(error) => Err(Problem::invalid(vec![error]).into()),
    };
    match made {
        Ok(made) => {
            let (key, url) = (made.secret.reveal(), &app.broker().settings().public_url);
            let page = Made {
                f: Frame::of(&app, &visitor, Place::Account, None).await?,
                tabs: tabs(&app, &visitor, Tab::Keys).await?,
                title: visitor.t.account.key_title.with("name", &made.key.name).0,
                curl: format!("curl -H \"Authorization: Bearer {key}\" {url}/api/v1/me"),
                key: key.to_owned(),
            };
            Ok(html(StatusCode::CREATED, &page))
        }
        Err(problem) if problem.code == Code::Invalid => {
            let wrong = Wrong::of(visitor.t, &problem, []);
            Ok(html(frame::status(&problem), &page(&app, &visitor, &pairs, wrong).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn end(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
) -> Result<Response, Refused> {
    app.broker().end_my_key(&visitor.actor, &id).await?;
    Ok(go::saying("/account/keys", Flash::KeyEnded))
}
