//! `/instance`: how this server is set up, and how it is.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::App;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Place, Signed};
use crate::pages::ui::Badge;

#[derive(Template)]
#[template(path = "admin/instance.html")]
struct Page {
    f: Frame,
    health: Vec<(&'static str, Badge)>,
    settings: Vec<(String, String)>,
}

pub async fn show(State(app): State<App>, Signed(visitor): Signed) -> Result<Response, Refused> {
    visitor.actor.superuser()?;
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
        (a.setting_refresh.to_string(), switch(settings.background_refresh)),
        (a.setting_delete.to_string(), t.number(&t.credentials.days, days)),
        (a.setting_stale.to_string(), t.number(&a.seconds, settings.stale_limit.as_secs())),
        (a.setting_sandbox.to_string(), sandbox),
        (a.setting_hosts.to_string(), if hosts.is_empty() { a.none.to_string() } else { hosts.join(", ") }),
        (a.connectors_known.to_string(), app.broker().catalog().all_builtin().len().to_string()),
    ];
    let page = Page {
        health: health.collect(),
        settings: told,
        f: Frame::of(&app, &visitor, Place::Instance, None).await?,
    };
    Ok(visitor.show(&page))
}
