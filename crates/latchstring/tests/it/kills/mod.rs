//! A server that is killed (`kill -9`) at each of sixteen points of a refresh, and started again.
//!
//! The binary is the one that everybody runs: nothing in it knows of this test. It is caught from outside, by a way to
//! its database and a way to the token endpoint that stop at the point in question, and by the API that it calls.
//! What must hold: a token is lost only between the provider's commit and ours; then the credential says
//! `needs_reconnect`; and with a provider that allows a grace period it is not lost at all.

mod database;
mod provider;
mod trap;

use std::sync::Arc;
use std::time::{Duration, Instant};

use latchstring_testkit::postgres::Postgres;
use latchstring_testkit::{OidcProvider, TestApp, figure, rounds};
use serde_json::{Value, json};

use self::database::{DatabaseProxy, server_of};
use self::provider::TokenProxy;
use self::trap::{Point, Trap};
use crate::support::{Seen, Upstream, json_reply, reply, setup};

/// What the provider forgives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Provider {
    /// A refresh token is good once; used again, the whole grant ends.
    Strict,
    /// The answer to a refresh can be asked for again.
    Grace,
    /// Client credentials: nothing is spent.
    Repeatable,
}

impl Provider {
    const fn words(self) -> &'static str {
        match self {
            Provider::Strict => "rotating refresh tokens with reuse detection",
            Provider::Grace => "rotating refresh tokens with a grace period",
            Provider::Repeatable => "client credentials",
        }
    }
}

struct World {
    provider: Provider,
    trap: Arc<Trap>,
    oidc: OidcProvider,
    tokens: Arc<TokenProxy>,
    upstream: Upstream,
    /// The id of the OAuth client, where there is one.
    client: Option<String>,
}

impl World {
    /// With an OAuth client, through the API of a running server.
    fn new(app: &TestApp, oidc: OidcProvider, provider: Provider, trap: Arc<Trap>) -> Self {
        let grace = provider == Provider::Grace;
        let tokens = Arc::new(TokenProxy::start(&oidc.token_url(), grace, Arc::clone(&trap)));
        let (known, caught) = (Arc::clone(&tokens), Arc::clone(&trap));
        let upstream = Upstream::start(move |seen: &Seen| {
            let token = seen.header("authorization").trim_start_matches("Bearer ").to_owned();
            if !known.gave(&token) {
                return reply(401, "no");
            }
            caught.at(Point::CallSent);
            json_reply(&json!({}))
        });
        let mut world = Self { provider, trap, oidc, tokens, upstream, client: None };
        if provider != Provider::Repeatable {
            world.client = Some(world.oauth_client(app));
        }
        world
    }

    fn oauth_client(&self, app: &TestApp) -> String {
        let mut client = json!({
            "name": "Kills", "client_id": OidcProvider::CLIENT_ID, "client_secret": OidcProvider::CLIENT_SECRET,
            "client_auth": "basic", "authorization_endpoint": self.oidc.authorize_url(),
            "token_endpoint": self.tokens.url(), "mandatory_scopes": ["openid", "offline_access", "read"],
            "projects": ["acme"],
        });
        if self.provider == Provider::Grace {
            let yaml = format!(
                "id: forgiving\nname: Forgiving\nallow_http: true\nhosts: ['*']\nbase_url: '{}'\nauth_methods:\n  oauth:\n    scheme:\n      type: oauth2_authorization_code\n      refresh_reuse: grace\n",
                self.upstream.url()
            );
            let bearer = format!("Bearer {}", app.manage_key());
            let headers = [("authorization", bearer.as_str()), ("content-type", "application/yaml")];
            let url = app.at("/api/v1/projects/acme/connectors");
            let made = latchstring_testkit::http::request("POST", &url, &headers, yaml.as_bytes());
            assert_eq!(made.status, 201, "{}", made.text());
            client["connector"] = json!("forgiving");
        } else {
            let hosts = [self.oidc.issuer(), self.tokens.url(), self.upstream.url()];
            let hosts = hosts.map(|url| url.split('/').nth(2).unwrap_or_default().to_owned());
            client["hosts"] = json!(hosts);
        }
        let made = app.done("POST", "/oauth-clients", &client, 201);
        made["id"].as_str().unwrap().to_owned()
    }

    /// A credential whose next call refreshes: its grant lives, and the API does not take its access token.
    fn credential(&self, app: &TestApp, slug: &str) -> String {
        if self.provider == Provider::Repeatable {
            let values = json!({
                "base_url": self.upstream.url(), "token_url": self.tokens.url(),
                "client_id": OidcProvider::CLIENT_ID, "client_secret": OidcProvider::CLIENT_SECRET,
            });
            let made = app.credential(slug, "oauth2_client_credentials", &values);
            return made["id"].as_str().unwrap().to_owned();
        }
        let grant = self.oidc.grant(OidcProvider::CLIENT_ID, "openid offline_access read");
        let (connector, method, values) = match self.provider {
            Provider::Grace => ("forgiving", "oauth", json!({})),
            _ => ("http", "oauth2_authorization_code", json!({"base_url": self.upstream.url()})),
        };
        let made = app.done(
            "POST",
            "/credentials",
            &json!({
                "name": slug, "connector": connector, "auth_method": method, "oauth_client": self.client,
                "values": {"production": values}, "verify": "skip",
                "token": {"production": {"access_token": format!("stale-{slug}"), "refresh_token": grant["refresh_token"]}},
                "shares": [{"project": "acme", "slug": slug, "grants": {"production": "production"}}],
            }),
            201,
        );
        made["id"].as_str().unwrap().to_owned()
    }
}

/// Kills at one point; gives the server that was started after it.
fn kill_at(world: &World, app: TestApp, point: Point, slug: &str) -> TestApp {
    world.trap.arm(point);
    let (target, key) = (app.at(&format!("/proxy/{slug}/things")), app.key().to_owned());
    let caller = std::thread::spawn(move || {
        // The connection breaks when the server dies.
        drop(latchstring_testkit::http::try_request("GET", &target, &[("latchstring-key", &key)], b""));
    });
    world.trap.wait();
    let setup = app.kill();
    world.trap.release();
    caller.join().unwrap();
    setup.start()
}

/// What a caller gets after the restart. Where the grant is lost, the first one may still get the API's 401: it is what
/// follows from that by which the grant is found dead.
fn after(app: &TestApp, slug: &str, lost: bool) -> (u16, Option<String>, Duration) {
    let (began, mut tries) = (Instant::now(), 0);
    loop {
        let answer = app.get(&format!("{slug}/things"));
        let code = answer.header("latchstring-error").map(str::to_owned);
        let again = code.as_deref() == Some("busy") || (lost && answer.status == 401 && tries == 0);
        if !again || began.elapsed() > Duration::from_secs(120) {
            return (answer.status, code, began.elapsed());
        }
        tries += 1;
    }
}

fn loop_of_kills(provider: Provider) {
    let kills = rounds(if provider == Provider::Repeatable { 1 } else { 2 }, 50);
    let trap = Arc::new(Trap::new());
    let direct = Postgres::shared().fresh_database();
    let proxy = DatabaseProxy::start(&server_of(&direct), Arc::clone(&trap));
    let mut app = setup()
        .database(&proxy.url(&direct))
        // Only callers renew, so that the one that is caught is ours.
        .set("LATCHSTRING_BACKGROUND_REFRESH", "off")
        .start();
    let world = World::new(&app, OidcProvider::start(), provider, trap);
    let mut lost = 0;
    let mut slowest = Duration::ZERO;
    for number in 0..kills {
        for point in Point::ALL {
            let slug = format!("k-{number}-{}", format!("{point:?}").to_ascii_lowercase());
            let id = world.credential(&app, &slug);
            let before = world.tokens.counts();
            app = kill_at(&world, app, point, &slug);
            let lossy = provider == Provider::Strict && point.answer_is_lost();
            let (status, code, took) = after(&app, &slug, lossy);
            slowest = slowest.max(took);
            let (asked, refused) = world.tokens.counts();
            let (asked, refused) = (asked - before.0, refused - before.1);
            let shown = app.done("GET", &format!("/credentials/{id}"), &Value::Null, 200);
            let standing = shown["environments"]["production"]["status"].as_str().unwrap().to_owned();
            if lossy {
                assert_eq!((status, code.as_deref()), (409, Some("needs_reconnect")), "{point:?}");
                assert_eq!(standing, "needs_reconnect", "{point:?}: {shown}");
                lost += 1;
            } else {
                assert_eq!(status, 200, "{point:?}: {code:?}, {shown}");
                assert_ne!(standing, "needs_reconnect", "{point:?}");
                // No second use of a spent token; and no second request but where the answer of the first was lost.
                let again = provider == Provider::Repeatable && point.answer_is_lost();
                assert_eq!((asked, refused), (1 + u32::from(again), 0), "{point:?}");
            }
        }
    }
    // What a dead run left open is cleared when the next one begins, not when its lease runs out.
    assert!(slowest < Duration::from_secs(20), "{slowest:?}");
    app.stop();
    let (points, what) = (Point::ALL.len(), provider.words());
    figure(&format!("kill -9 at {points} points of a refresh, {what}: kills"), kills * points);
    let told = if lost > 0 {
        ", each between the provider's commit and ours, each reported as needs_reconnect"
    } else {
        ""
    };
    figure(&format!("kill -9 at {points} points of a refresh, {what}: grants lost"), format!("{lost}{told}"));
    figure(
        &format!(
            "kill -9 at {points} points of a refresh, {what}: longest wait for the first answer after the restart"
        ),
        format!("{} ms", slowest.as_millis()),
    );
    let lossy = Point::ALL.iter().filter(|point| point.answer_is_lost()).count();
    assert_eq!(lost, if provider == Provider::Strict { kills * lossy } else { 0 });
}

#[test]
fn a_grant_is_lost_only_between_the_providers_commit_and_ours() {
    loop_of_kills(Provider::Strict);
}

#[test]
fn no_grant_is_lost_where_the_provider_allows_a_grace_period() {
    loop_of_kills(Provider::Grace);
}

#[test]
fn nothing_is_lost_where_nothing_is_spent() {
    loop_of_kills(Provider::Repeatable);
}
