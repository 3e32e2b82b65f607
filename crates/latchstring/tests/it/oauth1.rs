//! OAuth 1.0a from the credential to the API: a person consents at a provider made of `oauthlib`, and calls are signed
//! with what came of it.

use latchstring_testkit::app::PROJECT;
use latchstring_testkit::oauth1::OAuth1Provider;
use latchstring_testkit::{TestApp, http};
use serde_json::{Value, json};

use crate::consent::Browser;
use crate::support::app;

fn key_file(name: &str) -> String {
    let path = format!("{}/../schemes/tests/data/keys/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

struct World {
    app: TestApp,
    provider: OAuth1Provider,
    client: Value,
}

impl World {
    fn new(provider: OAuth1Provider, proof: Value) -> Self {
        let app = app();
        let mut body = json!({
            "name": "Photos", "client_id": OAuth1Provider::CONSUMER_KEY,
            "request_token_endpoint": provider.at("/initiate"), "authorization_endpoint": provider.at("/authorize"),
            "token_endpoint": provider.at("/token"), "userinfo_endpoint": provider.at("/me"),
            "hosts": [provider.authority()], "projects": [PROJECT],
        });
        body.as_object_mut().unwrap().extend(proof.as_object().unwrap().clone());
        let client = app.done("POST", "/oauth-clients", &body, 201);
        provider.set(&json!({"callbacks": [client["redirect_uri"]]}));
        Self { app, provider, client }
    }

    fn with_secret() -> Self {
        let proof = json!({"client_secret": OAuth1Provider::CONSUMER_SECRET, "client_auth": "basic"});
        Self::new(OAuth1Provider::start(), proof)
    }

    fn body(&self, slug: &str, more: Value) -> Value {
        let mut values = json!({"base_url": self.provider.url(), "test_path": "/resource"});
        values.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({
            "name": slug, "connector": "http", "auth_method": "oauth1_consent", "oauth_client": self.client["id"],
            "values": {"production": values},
            "shares": [{"project": PROJECT, "slug": slug, "grants": {"production": "production"}}],
        })
    }

    fn credential(&self, slug: &str, more: Value) -> String {
        let made = self.app.done("POST", "/credentials", &self.body(slug, more), 201);
        assert_eq!(made["environments"]["production"]["status"], "needs_authorization", "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    fn authorize(&self, id: &str) -> String {
        let body = json!({"environment": "production"});
        let begun = self.app.done("POST", &format!("/credentials/{id}/authorize"), &body, 200);
        begun["authorize_url"].as_str().unwrap().to_owned()
    }

    fn connect(&self, browser: &mut Browser, id: &str) -> http::Answer {
        let start = browser.get(&self.authorize(id));
        match start.header("location") {
            Some(page) => browser.get(&self.provider.browse(page)),
            None => start,
        }
    }

    fn environment(&self, id: &str) -> Value {
        let found = self.app.done("GET", &format!("/credentials/{id}"), &Value::Null, 200);
        found["environments"]["production"].clone()
    }
}

#[test]
fn a_person_consents_and_calls_are_signed() {
    let world = World::with_secret();
    assert_eq!(world.client["request_token_endpoint"], world.provider.at("/initiate").as_str());
    let id = world.credential("photos", json!({}));
    let refused = world.app.get("photos/resource");
    assert_eq!((refused.status, refused.header("latchstring-error")), (409, Some("needs_authorization")));

    let mut browser = Browser::signed_in(&world.app);
    let page = world.connect(&mut browser, &id);
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("Connected") && page.text().contains("alice"), "{}", page.text());
    let environment = world.environment(&id);
    assert_eq!(
        (&environment["status"], &environment["account"]),
        (&json!("verified"), &json!("alice")),
        "{environment}"
    );
    assert_eq!(environment["authorization"]["state"], "done");
    assert!(
        environment["token"].is_object() && environment["token"]["expires_at"].is_null(),
        "{environment}"
    );
    assert_eq!((world.provider.count("POST /initiate"), world.provider.count("POST /token")), (1, 1));

    let form = ("content-type", "application/x-www-form-urlencoded");
    let plain = ("content-type", "application/json");
    for (verb, target, header, body) in [
        ("GET", "photos/resource?size=original&file=a%20b", plain, ""),
        ("POST", "photos/resource?n=1", form, "b=2&a=1+1&c"),
        ("PUT", "photos/resource", plain, "{\"a\": 1}"),
    ] {
        let answer = world.app.call(verb, target, &[header], body.as_bytes());
        assert_eq!(answer.status, 200, "{verb}: {}", answer.text());
        let said = answer.json();
        assert_eq!(
            (&said["sub"], &said["body"], &said["method"]),
            (&json!("alice"), &json!(body), &json!(verb))
        );
    }
    let verify = json!({"environment": "production"});
    let verified = world.app.done("POST", &format!("/credentials/{id}/verify"), &verify, 200);
    assert_eq!(verified["status"], "verified", "{verified}");
    let shown = format!("{verified} {}", world.environment(&id));
    assert!(!shown.contains("oauth_token=\\\"") && !shown.contains("consumer's secret"), "{shown}");

    // The token is there after a restart, and nobody was asked for another one.
    let World { app, provider, client } = world;
    let log = app.log();
    assert!(!log.contains("oauth_signature") && !log.contains("consumer's secret"), "{log}");
    let app = app.kill().start();
    let world = World { app, provider, client };
    // It listens elsewhere now.
    let path = format!("/oauth-clients/{}", world.client["id"].as_str().unwrap());
    let moved = world.app.done("GET", &path, &Value::Null, 200);
    world.provider.set(&json!({"callbacks": [moved["redirect_uri"]]}));
    assert_eq!(world.app.get("photos/resource").status, 200);
    assert_eq!(world.provider.count("POST /token"), 1);

    // An edit keeps it, a new consent takes its place.
    let edit = json!({"values": {"production": {"headers": {"X-Edit": "1"}}}});
    let edited = world.app.done("PATCH", &format!("/credentials/{id}"), &edit, 200);
    assert_eq!(edited["environments"]["production"]["status"], "verified", "{edited}");
    world.provider.set(&json!({"person": "bob"}));
    let mut browser = Browser::signed_in(&world.app);
    assert_eq!(world.connect(&mut browser, &id).status, 200);
    assert_eq!(world.environment(&id)["account"], "bob");
    assert_eq!(world.app.get("photos/resource").json()["sub"], "bob");

    // Taken back at the provider: its 401 is the caller's to see, since it may mean the clock as well; no token
    // request is made, and verification finds out.
    world.provider.revoke_all();
    world.provider.reset_counts();
    assert_eq!(world.app.get("photos/resource").status, 401);
    assert_eq!(world.provider.count("POST /token") + world.provider.count("POST /initiate"), 0);
    assert_eq!(world.provider.count("GET /resource"), 1);
    for wanted in ["verified", "failing"] {
        let found = world.app.done("POST", &format!("/credentials/{id}/verify"), &verify, 200);
        assert_eq!(found["status"], "failing", "{found}");
        assert_eq!(world.environment(&id)["status"], wanted);
    }
    world.app.stop();
}

#[test]
fn each_way_of_signing_consents() {
    for method in ["HMAC-SHA256", "PLAINTEXT"] {
        let world = World::with_secret();
        let id = world.credential("photos", json!({"signature_method": method}));
        let page = world.connect(&mut Browser::signed_in(&world.app), &id);
        assert_eq!(page.status, 200, "{method}: {}", page.text());
        assert_eq!(world.app.get("photos/resource").status, 200, "{method}");
        let methods = world
            .provider
            .seen()
            .iter()
            .filter(|seen| {
                seen["authorization"].as_str().is_some_and(|line| line.contains(&format!("\"{method}\"")))
            })
            .count();
        assert!(methods >= 4, "{method}: initiate, token, me and calls: {methods}");
    }
    // The application's own key.
    let provider = OAuth1Provider::with(&json!({"public_key": key_file("rsa2048.pub.pem")}));
    let proof = json!({"client_auth": "private_key_jwt", "private_key": key_file("rsa2048.pkcs8.pem")});
    let world = World::new(provider, proof);
    let id = world.credential("photos", json!({}));
    let page = world.connect(&mut Browser::signed_in(&world.app), &id);
    assert_eq!(page.status, 200, "{}", page.text());
    assert_eq!(world.app.get("photos/resource").json()["sub"], "alice");
}

#[test]
fn what_goes_wrong_is_told_on_the_page_and_by_the_api() {
    let world = World::with_secret();
    let id = world.credential("photos", json!({}));
    let mut browser = Browser::signed_in(&world.app);
    for says in ["no", "denied", "problem"] {
        world.provider.set(&json!({"person_says": says}));
        let page = world.connect(&mut browser, &id);
        assert_eq!(page.status, 403, "{says}: {}", page.text());
        assert!(
            page.text().contains("consent was not given") && page.text().contains("agree at the provider"),
            "{}",
            page.text()
        );
        let told = world.environment(&id)["authorization"].clone();
        assert_eq!((&told["state"], &told["code"]), (&json!("failed"), &json!("consent_denied")), "{told}");
        assert!(told["hint"].as_str().is_some_and(|hint| hint.contains("again")), "{told}");
    }
    assert_eq!(world.provider.count("POST /token"), 0);
    world.provider.set(&json!({"person_says": "yes"}));
    for (trouble, status, words) in [
        (json!({"fail_next": [["/initiate", 503, ""]]}), 502, "had trouble (HTTP 503)"),
        (json!({"fail_next": [["/initiate", 401, "oauth_problem=timestamp_refused"]]}), 502, "clock is off"),
        (json!({"fail_next": [["/initiate", 200, "<html>"]]}), 502, "holds no "),
        (json!({"fail_next": [["/token", 401, "oauth_problem=token_expired"]]}), 502, "took too long"),
        (json!({"fail_next": [["/token", 200, "oauth_token=x"]]}), 502, "oauth_token_secret"),
        (json!({"lose_next": 1}), 502, "did not exchange the consent"),
        (json!({"unconfirmed": true}), 502, "without the callback"),
    ] {
        world.provider.set(&trouble);
        let page = world.connect(&mut browser, &id);
        assert_eq!(page.status, status, "{trouble}: {}", page.text());
        assert!(page.text().contains(words), "{trouble}: {}", page.text());
        let told = world.environment(&id)["authorization"].clone();
        assert_eq!(
            (&told["state"], &told["code"]),
            (&json!("failed"), &json!("token_endpoint_error")),
            "{told}"
        );
        let both = format!("{} {}", told["detail"], told["hint"]);
        assert!(both.contains(words), "{both}");
    }
    world.provider.set(&json!({"unconfirmed": false, "callbacks": ["https://elsewhere.example/"]}));
    let page = world.connect(&mut browser, &id);
    assert_eq!(page.status, 502, "{}", page.text());
    assert!(page.text().contains("redirect URI is not the registered one"), "{}", page.text());
    assert_eq!(world.environment(&id)["status"], "needs_authorization");
    // Temporary credentials that another flow has already cannot be told apart from it.
    world.provider.set(&json!({"callbacks": [world.client["redirect_uri"]], "same_token": "always-this"}));
    let first = browser.get(&world.authorize(&id));
    assert_eq!(first.status, 303, "{}", first.text());
    let second = browser.get(&world.authorize(&id));
    assert_eq!(second.status, 502, "{}", second.text());
    assert!(second.text().contains("given before"), "{}", second.text());
    world.provider.set(&json!({"same_token": ""}));
    assert_eq!(world.connect(&mut browser, &id).status, 200);
    world.app.stop();
}

#[test]
fn a_token_is_brought_along() {
    let world = World::with_secret();
    let bring = |slug: &str, token: Value| {
        let mut body = world.body(slug, json!({}));
        body["token"] = json!({"production": token});
        world.app.api("POST", "/credentials", &body)
    };
    let grant = world.provider.grant();
    for (wrong, pointer) in [
        (json!({"access_token": grant["access_token"]}), "/token/production/token_secret"),
        (json!({"token_secret": "x"}), "/token/production"),
        (
            json!({"access_token": "a", "token_secret": "x", "refresh_token": "r"}),
            "/token/production/refresh_token",
        ),
    ] {
        let refused = bring("wrong", wrong.clone());
        assert_eq!(
            (refused.status, &refused.json()["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{wrong}: {}",
            refused.text()
        );
    }
    let refused = bring("wrong", json!({"access_token": grant["access_token"], "token_secret": "another"}));
    assert_eq!(
        (refused.status, refused.json()["code"].as_str()),
        (422, Some("verification_failed")),
        "{}",
        refused.text()
    );
    let made = bring("photos", grant);
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json()["environments"]["production"]["status"], "verified");
    assert_eq!(world.app.get("photos/resource").json()["sub"], "alice");
    // OAuth 2 knows no such secret.
    let mut other = world.body("other", json!({}));
    other["auth_method"] = "oauth2_authorization_code".into();
    other["token"] = json!({"production": {"access_token": "a", "token_secret": "b"}});
    let refused = world.app.api("POST", "/credentials", &other);
    assert_eq!(
        (refused.status, &refused.json()["errors"][0]["pointer"]),
        (422, &json!("/token/production/token_secret"))
    );
    world.app.stop();
}
