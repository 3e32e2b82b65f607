//! `/instance`: what superusers decide while it runs, how this server is set up, and how it is.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::people::instance::{
    InstanceChange, InstanceSettings, PasswordSignIn, ProjectMakers, RecentSignInFor, SecondFactorFor,
};
use latchstring_model::{Code, FieldError, Problem};

use super::super::credentials::fields::Pairs;
use crate::App;
use crate::extract::form::Filled;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::field::Answer;
use crate::pages::ui::{Badge, Field, Wrong};
use crate::texts::T;

#[derive(Template)]
#[template(path = "admin/instance.html")]
struct Page {
    f: Frame,
    health: Vec<(&'static str, Badge)>,
    settings: Vec<(String, String)>,
    version: i64,
    wrong: Wrong,
    fields: Vec<Field>,
}

fn fields(visitor: &Visitor, settings: &InstanceSettings, pairs: &Pairs, wrong: &mut Wrong) -> Vec<Field> {
    let (t, a) = (visitor.t, &visitor.t.admin);
    let typed = |name: &str, stored: &str| {
        let sent = pairs.sent().then(|| pairs.get(name).unwrap_or_default());
        sent.unwrap_or(stored).to_owned()
    };
    let everyone = Answer::new("everyone", a.everyone);
    let superusers = Answer::new("superusers", a.superusers);
    let nobody = Answer::new("nobody", a.nobody);
    let recent =
        vec![Answer::new("sessions", a.recent_sessions), Answer::new("everything", a.recent_everything)];
    let minutes = settings.recent_sign_in_minutes.to_string();
    let fields = vec![
        Field::text(t, "name", a.rule_name)
            .help(a.rule_name_help)
            .most(200)
            .value(typed("name", &settings.name)),
        Field::choice(t, "projects_by", a.rule_projects, vec![everyone.clone(), superusers.clone()])
            .value(typed("projects_by", settings.projects_by.as_str())),
        Field::choice(
            t,
            "password_sign_in",
            a.rule_passwords,
            vec![everyone, superusers.clone(), nobody.clone()],
        )
        .help(a.rule_passwords_help)
        .value(typed("password_sign_in", settings.password_sign_in.as_str())),
        Field::choice(t, "second_factor_for", a.rule_factor, vec![nobody, superusers])
            .help(a.rule_factor_help)
            .value(typed("second_factor_for", settings.second_factor_for.as_str())),
        Field::choice(t, "recent_sign_in_for", a.rule_recent, recent)
            .help(a.rule_recent_help)
            .value(typed("recent_sign_in_for", settings.recent_sign_in_for.as_str())),
        Field::number(t, "recent_sign_in_minutes", a.rule_minutes)
            .help(a.rule_minutes_help)
            .most(2)
            .value(typed("recent_sign_in_minutes", &minutes)),
    ];
    fields.into_iter().map(|field| field.wrong(wrong)).collect()
}

fn read(t: T, pairs: &Pairs) -> Result<InstanceChange, Box<Problem>> {
    let minutes = pairs.given("recent_sign_in_minutes").and_then(|text| text.parse().ok());
    if minutes.is_none() {
        let error = FieldError::new("/recent_sign_in_minutes", t.admin.bad_minutes);
        return Err(Problem::invalid(vec![error]).into());
    }
    let word = |name: &str| pairs.get(name).unwrap_or_default();
    Ok(InstanceChange {
        name: Some(pairs.given("name").unwrap_or_default()),
        projects_by: ProjectMakers::parse(word("projects_by")),
        password_sign_in: PasswordSignIn::parse(word("password_sign_in")),
        second_factor_for: SecondFactorFor::parse(word("second_factor_for")),
        recent_sign_in_for: RecentSignInFor::parse(word("recent_sign_in_for")),
        recent_sign_in_minutes: minutes,
    })
}

async fn page(app: &App, visitor: &Visitor, pairs: &Pairs, mut wrong: Wrong) -> Result<Page, Refused> {
    visitor.actor.superuser()?;
    let decided = app.broker().instance_settings(&visitor.actor).await?;
    let (t, a, settings) = (visitor.t, &visitor.t.admin, app.broker().settings());
    let checks = app.broker().readiness().await;
    let health = checks.into_iter().map(|(name, trouble)| {
        let badge = match trouble {
            None => Badge::new("good", "check-circle", a.healthy),
            Some(why) => Badge::new("bad", "cross-circle", why),
        };
        (name, badge)
    });
    let switch = |on: bool| if on { a.on.to_string() } else { a.off.to_string() };
    let days = settings.delete_after.as_secs().div_ceil(86_400);
    let hosts: Vec<String> = settings
        .extra_hosts
        .iter()
        .map(|(connector, host, port)| match port {
            Some(port) => format!("{connector}={host}:{port}"),
            None => format!("{connector}={host}"),
        })
        .collect();
    let sandbox = settings.sandbox.as_ref().map_or_else(|| a.off.to_string(), |at| at.base_url.clone());
    let told = vec![
        (a.setting_url.to_string(), settings.public_url.clone()),
        (
            a.setting_mail.to_string(),
            match settings.mail {
                Some(_) => a.on.to_string(),
                None => a.setting_mail_none.to_string(),
            },
        ),
        (
            a.setting_provider.to_string(),
            settings.oidc.as_ref().map_or_else(|| a.none.to_string(), |oidc| oidc.name.clone()),
        ),
        (a.setting_refresh.to_string(), switch(settings.background_refresh)),
        (a.setting_delete.to_string(), t.number(&t.credentials.days, days)),
        (a.setting_stale.to_string(), t.number(&a.seconds, settings.stale_limit.as_secs())),
        (a.setting_sandbox.to_string(), sandbox),
        (a.setting_hosts.to_string(), if hosts.is_empty() { a.none.to_string() } else { hosts.join(", ") }),
        (a.setting_version.to_string(), env!("CARGO_PKG_VERSION").to_owned()),
        (a.connectors_known.to_string(), app.broker().catalog().all_builtin().len().to_string()),
    ];
    Ok(Page {
        health: health.collect(),
        settings: told,
        version: decided.version,
        fields: fields(visitor, &decided, pairs, &mut wrong),
        wrong,
        f: Frame::of(app, visitor, Place::Instance, None).await?,
    })
}

pub async fn show(State(app): State<App>, Signed(visitor): Signed) -> Result<Response, Refused> {
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&page(&app, &visitor, &Pairs::default(), wrong).await?))
}

pub async fn send(
    State(app): State<App>,
    Signed(visitor): Signed,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let pairs = Pairs(sent);
    let version = pairs.get("version").and_then(|text| text.parse().ok());
    let done = match read(visitor.t, &pairs) {
        Ok(change) => app.broker().change_instance(&visitor.actor, change, version).await,
        Err(problem) => Err(problem),
    };
    match done {
        Ok(_) => Ok(go::saying("/instance", Flash::Saved)),
        Err(problem)
            if matches!(
                problem.code,
                Code::Invalid | Code::SecondFactorRequired | Code::PreconditionFailed
            ) || frame::in_the_way(&problem) =>
        {
            let wrong = Wrong::of(visitor.t, &problem, []);
            Ok(html(frame::status(&problem), &page(&app, &visitor, &pairs, wrong).await?))
        }
        Err(problem) => Err(problem.into()),
    }
}
