//! `/projects/{project}/members`: who is in it, and with which role.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::people::Paging;
use latchstring_broker::projects::Project;
use latchstring_model::entity::Role;
use latchstring_model::{Code, FieldError, Problem, Timestamp};
use serde_json::Value;

use super::super::credentials::fields::Pairs;
use super::project;
use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::Named;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::projects::role_text;
use crate::pages::routes::Pages;
use crate::pages::ui::field::Answer;
use crate::pages::ui::{Field, Tile, When, Wrong};
use crate::texts::{Rich, T};

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/projects/{project}/members", show)
        .send("/projects/{project}/members", "member.set", set)
        .send("/projects/{project}/members/remove", "member.delete", remove)
}

struct Line {
    tile: Tile,
    name: String,
    email: String,
    since: Rich,
    role: String,
    active: bool,
    me: bool,
    /// To change it.
    choice: Option<Field>,
    may_remove: bool,
}

/// A credential that the project can no longer use without its owner.
struct Owned {
    name: String,
    /// What stops with it.
    stops: Vec<Rich>,
    /// Where it is handed over, for its owner.
    hand_over: Option<String>,
}

/// Credentials that keep somebody from being removed.
struct Owns {
    email: String,
    credentials: Vec<Owned>,
    button: Rich,
}

#[derive(Template)]
#[template(path = "team/members.html")]
struct Page {
    f: Frame,
    lead: Rich,
    lines: Vec<Line>,
    may: bool,
    wrong: Wrong,
    form: Vec<Field>,
    owns: Option<Owns>,
    action: String,
}

const ROLES: [Role; 4] = [Role::Viewer, Role::Editor, Role::Admin, Role::Owner];

/// Admins make no owners.
fn roles(t: T, mine: Role) -> Vec<Answer> {
    let may = |role: &&Role| mine == Role::Owner || **role != Role::Owner;
    ROLES.iter().filter(may).map(|role| Answer::new(role.as_str(), role_text(t, *role))).collect()
}

async fn page(
    app: &App,
    visitor: &Visitor,
    project: Project,
    pairs: &Pairs,
    mut wrong: Wrong,
    owns: Option<Owns>,
) -> Result<Page, Refused> {
    let (t, m, now) = (visitor.t, &visitor.t.team, app.broker().now());
    let me = visitor.actor.person()?.id.clone();
    let list =
        app.broker().members(&visitor.actor, project.id.as_str(), &Paging::new(None, Some(200))).await?;
    let may = project.role.may_administer();
    let lines = list
        .items
        .into_iter()
        .map(|member| {
            // An admin touches no owner.
            let touches = may && (project.role == Role::Owner || member.role != Role::Owner);
            let label = m.role_of.with("name", &member.name).0;
            let choice = touches.then(|| {
                let field = Field::choice(t, "role", label, roles(t, project.role));
                field.value(member.role.as_str()).id(format!("role-{}", member.user_id))
            });
            Line {
                tile: Tile::person(&member.name, member.user_id.as_str()),
                since: m.member_since.rich().part("when", &When::near(t, member.since, now)),
                role: role_text(t, member.role).to_string(),
                active: member.active,
                me: member.user_id == me,
                choice,
                may_remove: touches || member.user_id == me,
                name: member.name,
                email: member.email,
            }
        })
        .collect();
    let typed = |name: &str| pairs.get(name).unwrap_or_default().to_owned();
    let chosen = pairs.get("role").unwrap_or(Role::Editor.as_str());
    let help = ROLES.iter().map(|role| {
        let text = match role {
            Role::Viewer => t.common.role_viewer_help,
            Role::Editor => t.common.role_editor_help,
            Role::Admin => t.common.role_admin_help,
            Role::Owner => t.common.role_owner_help,
        };
        format!("{}: {text}", role_text(t, *role))
    });
    let help: Vec<String> = help.collect();
    let form = vec![
        Field::email(t, "email", t.entrance.email)
            .help(m.member_email_help)
            .autocomplete("off")
            .value(typed("email")),
        Field::choice(t, "role", m.role, roles(t, project.role))
            .help(help.join(" "))
            .value(chosen)
            .id("new-role"),
    ];
    Ok(Page {
        f: Frame::of(app, visitor, Place::Members, Some(&project)).await?,
        lead: m.members_lead.rich().text("project", &project.name),
        lines,
        may,
        form: form.into_iter().map(|field| field.wrong(&mut wrong)).collect(),
        wrong,
        owns,
        action: format!("/projects/{}/members", project.slug),
    })
}

/// What a refusal lists: each with what stops, in words.
fn owned(visitor: &Visitor, listed: &Value, leaves: bool) -> Owned {
    let o = &visitor.t.ownership;
    let text = |name: &str| listed.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let names = |name: &str| {
        let list = listed.get(name).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let lines = [
        (&o.stops_in, "environments", names("environments")),
        (&o.stops_keychains, "names", names("keychains")),
        (&o.stops_keys, "names", names("api_keys")),
    ];
    let lines = lines.into_iter().filter(|(_, _, names)| !names.is_empty());
    let stops = lines.map(|(text, slot, names)| text.rich().text(slot, &names));
    let cut = listed.get("complete") == Some(&Value::Bool(false));
    let cut = Timestamp::parse_rfc3339(&text("looked_back_to")).filter(|_| cut);
    let cut = cut.map(|at| o.stops_cut.rich().part("when", &When::moment(visitor.t, at)));
    Owned {
        name: text("name"),
        stops: stops.chain(cut).collect(),
        hand_over: leaves.then(|| format!("/credentials/{}/transfer", go::part(&text("id")))),
    }
}

async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
) -> Result<Response, Refused> {
    let project = project(&app, &visitor, &named).await?;
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&page(&app, &visitor, project, &Pairs::default(), wrong, None).await?))
}

async fn set(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let email = pairs.given("email").unwrap_or_default();
    let role = Role::parse(pairs.get("role").unwrap_or_default());
    let done = match role {
        Some(role) => app.broker().set_member(&visitor.actor, &named, &email, role).await.map(|_| ()),
        None => Err(Problem::invalid(vec![FieldError::new("/role", visitor.t.team.role_choose)]).into()),
    };
    match done {
        Ok(_) => Ok(go::saying(&format!("/projects/{}/members", go::part(&named)), Flash::MemberSet)),
        Err(problem) if problem.code == Code::Forbidden => Err(problem.into()),
        Err(problem) => {
            // A project that is not theirs is told as that; an address that nobody has, beside the field.
            let project = project(&app, &visitor, &named).await?;
            let mut problem = problem;
            if problem.code == Code::UserNotFound {
                problem.errors.push(FieldError::new("/email", problem.detail.to_string()));
                problem.code = Code::Invalid;
            }
            let wrong = Wrong::of(visitor.t, &problem, []);
            Ok(html(frame::status(&problem), &page(&app, &visitor, project, &pairs, wrong, None).await?))
        }
    }
}

async fn remove(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(named): Named<String>,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let email = pairs.given("email").unwrap_or_default();
    let withdraw = pairs.ticked("withdraw");
    let leaves = visitor.actor.person()?.email.eq_ignore_ascii_case(&email);
    match app.broker().remove_member(&visitor.actor, &named, &email, withdraw).await {
        Ok(_) if leaves => Ok(go::saying("/projects", Flash::MemberRemoved)),
        Ok(_) => Ok(go::saying(&format!("/projects/{}/members", go::part(&named)), Flash::MemberRemoved)),
        Err(problem) if problem.code == Code::MemberOwnsCredentials => {
            let list = problem.extra.get("credentials").and_then(Value::as_array).into_iter().flatten();
            let owns = Owns {
                credentials: list.map(|one| owned(&visitor, one, leaves)).collect(),
                button: visitor.t.team.member_withdraw.rich().text("email", &email),
                email,
            };
            let project = project(&app, &visitor, &named).await?;
            let wrong = Wrong::none(visitor.t);
            let status = frame::status(&problem);
            Ok(html(status, &page(&app, &visitor, project, &Pairs::default(), wrong, Some(owns)).await?))
        }
        Err(problem) if frame::in_the_way(&problem) => {
            let project = project(&app, &visitor, &named).await?;
            let wrong = Wrong::of(visitor.t, &problem, []);
            let status = frame::status(&problem);
            Ok(html(status, &page(&app, &visitor, project, &Pairs::default(), wrong, None).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}
