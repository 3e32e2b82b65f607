//! A person connects an account: from the credential to the provider and back, and through `/proxy` to the API.

use std::collections::BTreeMap;

use latchstring_testkit::app::{EMAIL, PASSWORD, PROJECT};
use latchstring_testkit::{OidcProvider, TestApp, eventually, http};
use serde_json::{Value, json};

use crate::support::app;

/// A browser at Latchstring: its cookies, each with the path that it is for.
#[derive(Default)]
pub struct Browser {
    cookies: BTreeMap<String, (String, String)>,
}

impl Browser {
    pub fn signed_in(app: &TestApp) -> Self {
        let mut browser = Self::default();
        let answer =
            http::post_json(&app.at("/api/v1/session"), &json!({"email": EMAIL, "password": PASSWORD}));
        assert_eq!(answer.status, 204, "{}", answer.text());
        browser.keep(&answer);
        browser
    }

    fn keep(&mut self, answer: &http::Answer) {
        for (_, line) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (pair, rest) = line.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let path = rest.split(';').find_map(|part| part.trim().strip_prefix("Path=")).unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), (value.to_owned(), path.to_owned()));
            }
        }
    }

    fn fits(&self, url: &str) -> String {
        let path = url.splitn(4, '/').nth(3).map(|rest| format!("/{rest}")).unwrap();
        let fits: Vec<String> = self
            .cookies
            .iter()
            .filter(|(_, (_, own))| path.starts_with(own))
            .map(|(name, (value, _))| format!("{name}={value}"))
            .collect();
        fits.join("; ")
    }

    pub fn get(&mut self, url: &str) -> http::Answer {
        let answer = http::get(url, &[("cookie", &self.fits(url))]);
        self.keep(&answer);
        answer
    }

    /// A request that changes something, from our own page.
    pub fn send(&mut self, method: &str, url: &str, body: &Value) -> http::Answer {
        let headers = [
            ("cookie", self.fits(url)),
            ("content-type", "application/json".to_owned()),
            ("sec-fetch-site", "same-origin".to_owned()),
        ];
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = http::request(method, url, &headers, text.as_bytes());
        self.keep(&answer);
        answer
    }

    /// A form of our own page.
    pub fn submit(&mut self, url: &str, form: &str) -> http::Answer {
        let cookies = self.fits(url);
        let answer = http::post_form(url, &[("cookie", &cookies), ("sec-fetch-site", "same-origin")], form);
        self.keep(&answer);
        answer
    }

    /// Whether it has a cookie whose name begins so.
    pub fn has(&self, name: &str) -> bool {
        self.cookies.keys().any(|known| known.starts_with(name))
    }
}

/// A server, a provider, and the client that joins them.
pub struct World {
    pub app: TestApp,
    pub oidc: OidcProvider,
    pub client: String,
}

impl World {
    fn new() -> Self {
        Self::with(app(), &json!({}))
    }

    pub fn with(app: TestApp, settings: &Value) -> Self {
        let oidc = OidcProvider::with(&json!({"settings": settings}));
        let client = app.done(
            "POST",
            "/oauth-clients",
            &json!({
                "name": "Test provider", "client_id": OidcProvider::CLIENT_ID,
                "client_secret": OidcProvider::CLIENT_SECRET, "client_auth": "basic", "issuer": oidc.issuer(),
                "mandatory_scopes": ["openid", "offline_access", "read"], "optional_scopes": ["write", "email"],
                "authorize_params": {"prompt": "consent"}, "hosts": [format!("127.0.0.1:{}", oidc.port())],
                "projects": [PROJECT],
            }),
            201,
        );
        oidc.redirect_to(OidcProvider::CLIENT_ID, client["redirect_uri"].as_str().unwrap());
        let client = client["id"].as_str().unwrap().to_owned();
        Self { app, oidc, client }
    }

    pub fn body(&self, slug: &str, method: &str) -> Value {
        json!({
            "name": slug, "connector": "http", "auth_method": method, "oauth_client": self.client,
            "values": {"production": {"base_url": self.oidc.issuer(), "test_path": "/resource"}},
            "shares": [{"project": PROJECT, "slug": slug, "grants": {"production": "production"}}],
        })
    }

    pub fn credential(&self, slug: &str) -> String {
        let made = self.app.done("POST", "/credentials", &self.body(slug, "oauth2_authorization_code"), 201);
        assert_eq!(made["environments"]["production"]["status"], "needs_authorization", "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    pub fn authorize(&self, id: &str, more: Value) -> String {
        let mut body = json!({"environment": "production"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let begun = self.app.done("POST", &format!("/credentials/{id}/authorize"), &body, 200);
        begun["authorize_url"].as_str().unwrap().to_owned()
    }

    /// Up to the address at which the provider sends the browser back.
    pub fn to_callback(&self, browser: &mut Browser, authorize_url: &str) -> String {
        let start = browser.get(authorize_url);
        assert_eq!(start.status, 303, "{}", start.text());
        self.oidc.browse(start.header("location").unwrap())
    }

    pub fn connect(&self, browser: &mut Browser, id: &str, more: Value) -> http::Answer {
        let back = self.to_callback(browser, &self.authorize(id, more));
        browser.get(&back)
    }

    pub fn environment(&self, id: &str) -> Value {
        self.app.done("GET", &format!("/credentials/{id}"), &Value::Null, 200)["environments"]["production"]
            .clone()
    }
}

#[test]
fn a_person_connects_an_account_and_calls_go_through() {
    let world = World::new();
    let id = world.credential("drive");
    let refused = world.app.get("drive/resource");
    assert_eq!((refused.status, refused.header("latchstring-error")), (409, Some("needs_authorization")));

    let mut browser = Browser::signed_in(&world.app);
    let page = world.connect(&mut browser, &id, json!({}));
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("Connected") && page.text().contains("alice"), "{}", page.text());
    assert_eq!(world.oidc.token_requests(), 1);

    let environment = world.environment(&id);
    assert_eq!(environment["status"], "verified", "{environment}");
    assert_eq!(environment["account"], "alice");
    assert_eq!(environment["scopes"], json!(["openid", "offline_access", "read"]));
    assert_eq!(environment["authorization"]["state"], "done");
    assert!(environment["token"]["expires_at"].is_string());

    let call = world.app.get("drive/resource");
    assert_eq!((call.status, call.json()["sub"].as_str()), (200, Some("alice")), "{}", call.text());
    assert_eq!(world.oidc.token_requests(), 1, "the token of the consent is the one that is used");
    let trail = world.app.audit(&format!("&credential={id}&action=credential.authorize"));
    assert_eq!(trail.len(), 1, "{trail:?}");
    assert_eq!(trail[0]["outcome"], "ok");
    let verified = world.app.done(
        "POST",
        &format!("/credentials/{id}/verify"),
        &json!({"environment": "production"}),
        200,
    );
    assert_eq!(verified["status"], "verified", "{verified}");
    assert_eq!(world.oidc.token_requests(), 1);
    world.app.stop();
}

#[test]
fn a_token_that_ends_is_renewed_and_a_grant_that_dies_wants_reconnecting() {
    let world = World::with(
        crate::support::setup().set("LATCHSTRING_BACKGROUND_REFRESH", "off").start(),
        &json!({"access_token_ttl": 1}),
    );
    let id = world.credential("drive");
    let mut browser = Browser::signed_in(&world.app);
    assert_eq!(world.connect(&mut browser, &id, json!({})).status, 200);
    world.oidc.reset_counts();
    for round in 1..=3 {
        std::thread::sleep(std::time::Duration::from_millis(1_100));
        assert_eq!(world.app.get("drive/resource").status, 200);
        assert_eq!(
            world.oidc.token_requests(),
            round,
            "each end is one renewal, with the refresh token that came last"
        );
    }
    world.oidc.set(&json!({"access_token_ttl": 3600}));
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    assert_eq!(world.app.get("drive/resource").status, 200);

    // The person takes the consent back: the API says 401, the refresh says that the grant is dead.
    world.oidc.end_grants();
    let refused = world.app.get("drive/resource");
    assert!(matches!(refused.status, 401 | 409), "{}", refused.text());
    let environment = eventually("needs_reconnect", || {
        world.app.get("drive/resource");
        let environment = world.environment(&id);
        (environment["status"] == "needs_reconnect").then_some(environment)
    });
    assert!(environment["token"]["last_error"].as_str().unwrap().contains("invalid_grant"), "{environment}");
    let listed = world.app.done("GET", "/credentials?status=needs_reconnect", &Value::Null, 200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let refused = world.app.get("drive/resource");
    assert_eq!(refused.header("latchstring-error"), Some("needs_reconnect"), "{}", refused.text());

    // Connected once more, it works again at once.
    assert_eq!(world.connect(&mut browser, &id, json!({})).status, 200);
    assert_eq!(world.app.get("drive/resource").status, 200);
    assert_eq!(world.environment(&id)["status"], "verified");
    world.app.stop();
}

/// A person sits before it: after twenty seconds there is a page that says so, and the API says the same.
#[test]
fn a_provider_that_does_not_answer_is_told_in_words() {
    let world = World::new();
    let id = world.credential("drive");
    world.oidc.set(&json!({"delay_ms": 30_000}));
    let began = std::time::Instant::now();
    let page = world.connect(&mut Browser::signed_in(&world.app), &id, json!({}));
    assert!((15..28).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(page.status, 502, "{}", page.text());
    assert!(
        page.text().contains("did not answer within 20 seconds")
            && page.text().contains("Start the sign-in again"),
        "{}",
        page.text()
    );
    let told = world.environment(&id)["authorization"].clone();
    assert_eq!((&told["state"], &told["code"]), (&json!("failed"), &json!("token_endpoint_error")), "{told}");
    assert!(
        told["detail"].as_str().unwrap().contains("within 20 seconds") && told["hint"].is_string(),
        "{told}"
    );
    world.oidc.set(&json!({"delay_ms": 0}));
    assert_eq!(world.connect(&mut Browser::signed_in(&world.app), &id, json!({})).status, 200);
    world.app.stop();
}
