//! A thousand callers on an expired token, round after round, at a server whose refresh tokens are good once and which
//! ends the whole grant when one comes again: one refresh each round, no reuse, and no caller is told of it.

use std::time::{Duration, Instant};

use latchstring_testkit::postgres::Postgres;
use latchstring_testkit::{AppSetup, OidcProvider, TestApp, figure};
use serde_json::{Value, json};

use crate::support::{localhost, setup};
use crate::tokens::{burst, busy_upstream};

const CALLERS: usize = 1_000;
/// Seconds that the token endpoint takes in the slow round.
const SLOW: u64 = 30;

/// Brings in a grant that alice gave elsewhere.
pub(crate) fn credential(app: &TestApp, oidc: &OidcProvider, base: &str, slug: &str) -> String {
    let hosts = [oidc.issuer(), base.to_owned()];
    let hosts = hosts.map(|url| url.split('/').nth(2).unwrap_or_default().to_owned());
    let client = app.done(
        "POST",
        "/oauth-clients",
        &json!({
            "name": slug, "client_id": OidcProvider::CLIENT_ID, "client_secret": OidcProvider::CLIENT_SECRET,
            "client_auth": "basic", "authorization_endpoint": oidc.authorize_url(), "token_endpoint": oidc.token_url(),
            "mandatory_scopes": ["openid", "offline_access", "read"], "projects": ["acme"], "hosts": hosts,
        }),
        201,
    );
    let grant = oidc.grant(OidcProvider::CLIENT_ID, "openid offline_access read");
    let made = app.done(
        "POST",
        "/credentials",
        &json!({
            "name": slug, "connector": "http", "auth_method": "oauth2_authorization_code", "oauth_client": client["id"],
            "values": {"production": {"base_url": base}}, "verify": "skip",
            "token": {"production": grant},
            "shares": [{"project": "acme", "slug": slug, "grants": {"production": "production"}}],
        }),
        201,
    );
    made["id"].as_str().unwrap().to_owned()
}

/// Calls one after another, until every core of every server knows the way: the crowd is to meet an expired token,
/// not cold caches.
fn know_the_way(apps: &[&TestApp], slug: &str) {
    for app in apps {
        for _ in 0..8 {
            assert_eq!(app.get(&format!("{slug}/x")).status, 200);
        }
    }
}

fn crowds(setup: AppSetup, two_servers: bool) {
    let oidc = OidcProvider::start();
    // Only calls renew: the count shall show what they do.
    let (setup, upstream) = busy_upstream(setup.set("LATCHSTRING_BACKGROUND_REFRESH", "off"));
    let app = setup.start();
    let other = two_servers.then(|| app.beside().start());
    let apps: Vec<&TestApp> = [Some(&app), other.as_ref()].into_iter().flatten().collect();
    // How long a crowd takes here with a living token: the token has to outlive it.
    let warm = credential(&app, &oidc, &localhost(&upstream), "warm");
    know_the_way(&apps, "warm");
    let began = Instant::now();
    assert_eq!(burst(&apps, "warm/x", CALLERS), [(200, CALLERS)]);
    let mut ttl = 3 + 4 * began.elapsed().as_secs();
    app.done("DELETE", &format!("/credentials/{warm}?purge=true"), &Value::Null, 204);

    oidc.set(&json!({"access_token_ttl": ttl}));
    let id = credential(&app, &oidc, &localhost(&upstream), "rotating");
    know_the_way(&apps, "rotating");
    std::thread::sleep(Duration::from_secs(ttl));
    let rounds = latchstring_testkit::rounds(10, 100);
    let (mut refreshes, mut round, mut slow) = (0, 0, 0);
    while round < rounds {
        oidc.reset_counts();
        // Of the token that this round obtains.
        let life = Duration::from_secs(ttl);
        let began = Instant::now();
        assert_eq!(burst(&apps, "rotating/x", CALLERS), [(200, CALLERS)], "round {round}");
        let took = began.elapsed();
        if took < life * 4 / 5 {
            assert_eq!(oidc.token_requests(), 1, "round {round}");
            refreshes += oidc.token_requests();
            round += 1;
        } else {
            // The machine has other work, and the token ended while the crowd was still coming: no round, but
            // everybody got an answer.
            slow += 1;
            assert!(slow <= 20, "this machine is too slow: {took:?} for a token of {life:?}");
            ttl = ttl.max(took.as_secs()) * 2;
            oidc.set(&json!({"access_token_ttl": ttl}));
        }
        std::thread::sleep((life + Duration::from_millis(100)).saturating_sub(took));
    }
    // The endpoint takes its time; everybody waits, and nobody is told to go away.
    oidc.reset_counts();
    oidc.set(&json!({"delay_ms": SLOW * 1000, "access_token_ttl": 3600}));
    let began = Instant::now();
    assert_eq!(burst(&apps, "rotating/x", CALLERS), [(200, CALLERS)], "the slow round");
    assert!(began.elapsed() >= Duration::from_secs(SLOW));
    assert_eq!(oidc.token_requests(), 1, "the slow round");
    let shown = app.done("GET", &format!("/credentials/{id}"), &Value::Null, 200);
    assert!(shown["environments"]["production"]["token"]["last_error"].is_null(), "{shown}");

    let servers = apps.len();
    figure(
        &format!(
            "rounds of 1,000 callers on an expired, rotating token, {servers} server(s): refreshes / rounds"
        ),
        format!("{refreshes} / {round}, and 1 / 1 with a token endpoint that takes {SLOW} s"),
    );
    figure(
        &format!(
            "rounds of 1,000 callers on an expired, rotating token, {servers} server(s): callers that got an error"
        ),
        0,
    );
    if let Some(other) = other {
        other.stop();
    }
    app.stop();
}

#[test]
fn a_crowd_on_an_expired_rotating_token_makes_one_refresh_on_sqlite() {
    crowds(setup(), false);
}

#[test]
fn a_crowd_on_an_expired_rotating_token_makes_one_refresh_on_two_servers() {
    crowds(setup().database(&Postgres::shared().fresh_database()), true);
}
