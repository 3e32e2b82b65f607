//! `/projects/{project}/keychains/{keychain}`: one of them, made and changed by admins.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::credentials::read::Wanted;
use latchstring_broker::keychains::{Keychain, KeychainChange, NewKeychain};
use latchstring_broker::people::Paging;
use latchstring_broker::projects::Project;
use latchstring_model::{Code, Problem};

use super::super::credentials::fields::Pairs;
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::projects::role_text;
use crate::pages::ui::field::Answer;
use crate::pages::ui::{Field, Wrong};
use crate::texts::Rich;

#[derive(Template)]
#[template(path = "ownership/keychain.html")]
struct Page {
    f: Frame,
    list: String,
    title: String,
    action: String,
    delete: Option<String>,
    version: Option<i64>,
    fixed: Option<Rich>,
    wrong: Wrong,
    fields: Vec<Field>,
}

async fn admins(app: &App, visitor: &Visitor, named: &str) -> Result<Project, Refused> {
    let project = app.broker().project(&visitor.actor, named).await?;
    if project.role.may_administer() {
        return Ok(project);
    }
    let role = role_text(visitor.t, project.role);
    let what = visitor.t.ownership.keychains_look_only.with("role", &role).0;
    Err(Box::new(Problem::new(Code::Forbidden, what)).into())
}

async fn connectors(app: &App, visitor: &Visitor, project: &Project) -> Result<Vec<Answer>, Refused> {
    let list = app.broker().connectors(&visitor.actor, Some(project.id.as_str())).await?;
    Ok(list.iter().map(|one| Answer::new(&one.definition.id, &one.definition.name)).collect())
}

/// Credentials of the project that may stand in where nothing fits; of this connector alone, where it is known.
async fn defaults(
    app: &App,
    visitor: &Visitor,
    project: &Project,
    keychain: Option<&Keychain>,
) -> Result<Vec<Answer>, Refused> {
    let mut answers = vec![Answer::new("", visitor.t.ownership.keychain_default_none)];
    let wanted = Wanted {
        project: Some(project.id.to_string()),
        connector: keychain.map(|keychain| keychain.connector.clone()),
        ..Wanted::default()
    };
    let mut cursor = None;
    // A list that nobody reads to its end helps nobody: the first thousand.
    for _ in 0..5 {
        let paging = Paging::new(cursor, Some(Paging::MAX_LIMIT));
        let page = app.broker().credentials(&visitor.actor, &wanted, &paging).await?;
        let named = page.items.iter().filter_map(|view| {
            let slug = view.shares.iter().find(|share| share.project == project.slug)?.slug.clone();
            Some(Answer::new(&slug, format!("{} ({slug})", view.name)))
        });
        answers.extend(named);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    Ok(answers)
}

async fn page(
    app: &App,
    visitor: &Visitor,
    project: &Project,
    keychain: Option<&Keychain>,
    pairs: &Pairs,
    mut wrong: Wrong,
) -> Result<Page, Refused> {
    let (t, o) = (visitor.t, &visitor.t.ownership);
    let typed = |name: &str, stored: Option<&str>| {
        let sent = pairs.sent().then(|| pairs.get(name).unwrap_or_default());
        sent.or(stored).unwrap_or_default().to_owned()
    };
    let of = |pick: fn(&Keychain) -> &str| keychain.map(pick);
    let mut fields =
        vec![
            Field::text(t, "name", o.keychain_name).most(200).value(typed("name", of(|one| &one.name))),
            crate::pages::projects::slug(t, &typed("slug", of(|one| &one.slug)))
                .help(if keychain.is_some() { o.keychain_slug_change } else { o.keychain_slug_help }),
        ];
    if keychain.is_none() {
        let answers = connectors(app, visitor, project).await?;
        let chosen = typed("connector", Some("http"));
        fields.push(Field::choice(t, "connector", o.keychain_connector, answers).value(chosen));
    }
    let by = typed("by", of(|one| &one.by));
    let default = typed("default", keychain.and_then(|one| one.default_slug.as_deref()));
    fields.extend([
        Field::text(t, "by", o.keychain_by)
            .mono()
            .help(o.keychain_by_help)
            .example("{{ input.customer }}")
            .value(by),
        Field::choice(t, "default", o.keychain_default, defaults(app, visitor, project, keychain).await?)
            .help(o.keychain_default_help)
            .value(default),
    ]);
    let list = format!("/projects/{}/keychains", project.slug);
    let here = keychain.map(|keychain| format!("{list}/{}", keychain.id));
    Ok(Page {
        f: Frame::of(app, visitor, Place::Keychains, Some(project)).await?,
        title: match keychain {
            Some(keychain) => o.keychain_edit.with("name", &keychain.name).0,
            None => o.keychain_new.to_string(),
        },
        fixed: keychain.map(|one| o.keychain_connector_fixed.rich().text("connector", &one.connector)),
        delete: here.as_ref().map(|here| format!("{here}/delete")),
        action: here.unwrap_or_else(|| list.clone()),
        list,
        version: keychain.map(|keychain| keychain.version),
        fields: fields.into_iter().map(|field| field.wrong(&mut wrong)).collect(),
        wrong,
    })
}

pub async fn new(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
) -> Result<Response, Refused> {
    let project = admins(&app, &visitor, &named).await?;
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&page(&app, &visitor, &project, None, &Pairs::default(), wrong).await?))
}

fn shown_here(problem: &Problem) -> bool {
    matches!(problem.code, Code::Invalid | Code::PreconditionFailed) || frame::in_the_way(problem)
}

pub async fn create(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let new = NewKeychain {
        name: pairs.given("name").unwrap_or_default(),
        slug: pairs.given("slug"),
        connector: pairs.given("connector").unwrap_or_default(),
        by: pairs.given("by").unwrap_or_default(),
        default: pairs.given("default"),
    };
    match app.broker().create_keychain(&visitor.actor, &named, new).await {
        Ok(_) => Ok(go::saying(&format!("/projects/{}/keychains", go::part(&named)), Flash::KeychainSaved)),
        Err(problem) if shown_here(&problem) => {
            let project = admins(&app, &visitor, &named).await?;
            let wrong = Wrong::of(visitor.t, &problem, []);
            let page = page(&app, &visitor, &project, None, &pairs, wrong).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((named, id)): Named<(String, String)>,
) -> Result<Response, Refused> {
    let project = admins(&app, &visitor, &named).await?;
    let keychain = app.broker().keychain(&visitor.actor, project.id.as_str(), &id).await?;
    let wrong = Wrong::none(visitor.t);
    let page = page(&app, &visitor, &project, Some(&keychain), &Pairs::default(), wrong).await?;
    Ok(visitor.show(&page))
}

pub async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((named, id)): Named<(String, String)>,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let change = KeychainChange {
        name: Some(pairs.given("name").unwrap_or_default()),
        slug: Some(pairs.given("slug").unwrap_or_default()),
        by: Some(pairs.given("by").unwrap_or_default()),
        default: Some(pairs.given("default")),
    };
    let version = pairs.get("version").and_then(|text| text.parse().ok());
    match app.broker().change_keychain(&visitor.actor, &named, &id, change, version).await {
        Ok(_) => Ok(go::saying(&format!("/projects/{}/keychains", go::part(&named)), Flash::KeychainSaved)),
        Err(problem) if shown_here(&problem) => {
            let project = admins(&app, &visitor, &named).await?;
            let keychain = app.broker().keychain(&visitor.actor, project.id.as_str(), &id).await?;
            let wrong = Wrong::of(visitor.t, &problem, []);
            let page = page(&app, &visitor, &project, Some(&keychain), &pairs, wrong).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn delete(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named((named, id)): Named<(String, String)>,
) -> Result<Response, Refused> {
    app.broker().delete_keychain(&visitor.actor, &named, &id, None).await?;
    Ok(go::saying(&format!("/projects/{}/keychains", go::part(&named)), Flash::KeychainDeleted))
}
