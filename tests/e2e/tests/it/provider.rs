//! Accounts at a provider that is not ours: `oidc-provider`, a certified server, with its own pages.

use latchstring_e2e::Browser;
use latchstring_testkit::{OidcProvider, TestApp};
use serde_json::{Value, json};

/// A credential that wants a person's consent there; its id.
fn waiting(app: &TestApp, oidc: &OidcProvider) -> String {
    let client = app.done(
        "POST",
        "/oauth-clients",
        &json!({
            "name": "Test provider", "client_id": OidcProvider::CLIENT_ID, "client_secret": OidcProvider::CLIENT_SECRET,
            "client_auth": "basic", "issuer": oidc.issuer(), "mandatory_scopes": ["openid", "offline_access", "read"],
            "optional_scopes": ["write", "email"], "authorize_params": {"prompt": "consent"},
            "hosts": [format!("127.0.0.1:{}", oidc.port())], "projects": ["acme"],
        }),
        201,
    );
    oidc.redirect_to(OidcProvider::CLIENT_ID, client["redirect_uri"].as_str().unwrap());
    let made = app.done(
        "POST",
        "/credentials",
        &json!({
            "name": "Ada's drive", "connector": "http", "auth_method": "oauth2_authorization_code", "oauth_client": client["id"],
            "values": {"production": {"base_url": oidc.issuer(), "test_path": "/resource"}},
            "shares": [{"project": "acme", "slug": "drive", "grants": {"production": "production"}}],
        }),
        201,
    );
    made["id"].as_str().unwrap().to_owned()
}

fn environment(app: &TestApp, id: &str) -> Value {
    app.done("GET", &format!("/credentials/{id}"), &Value::Null, 200)["environments"]["production"].clone()
}

#[test]
fn an_account_is_connected_on_the_providers_own_pages() {
    let oidc = OidcProvider::with(&json!({"pages": true}));
    let app = latchstring_e2e::app();
    let id = waiting(&app, &oidc);
    assert_eq!(app.get("drive/resource").status, 409, "nobody has signed in yet");
    let browser = Browser::ada(&app);
    browser.go(&format!("/credentials/{id}?project=acme"));
    browser.sees("Sign-in needed");
    browser.press_near("Sign in at the provider", "Sign in");
    browser.sees("What is asked for");
    browser.sees("always asked for");
    browser.tick("write");
    browser.press_near("What is asked for", "Sign in at");

    // Who turns back there is told so here, and nothing is connected.
    browser.until("the provider's page", |browser| browser.url().starts_with(&oidc.issuer()).then_some(()));
    browser.press("[ Cancel ]");
    browser.sees("Consent was not given");
    browser.sees("What was connected before is as it was");
    assert_eq!(environment(&app, &id)["status"], "needs_authorization");
    browser.go(&format!("/credentials/{id}/connect/production?project=acme"));
    browser.sees("The last sign-in did not work");
    browser.tick("write");
    browser.press_near("What is asked for", "Sign in at");

    browser.fill_inside("Enter any login", "alice");
    browser.fill_inside("and password", "whatever alice chose there");
    browser.press("Sign-in");
    browser.sees("Authorize");
    for scope in ["read", "write", "offline access"] {
        browser.sees(scope);
    }
    assert_eq!(oidc.token_requests(), 0, "nothing is asked for before she has agreed");
    browser.press("Continue");
    browser.sees("You are signed in there, and the credential works");
    browser.sees("Call it");
    browser.press("Overview");
    browser.sees("Works");
    browser.sees("alice");

    // It is her account that is used from now on.
    let connected = environment(&app, &id);
    assert_eq!(
        (connected["status"].as_str(), connected["account"].as_str()),
        (Some("verified"), Some("alice"))
    );
    assert_eq!(connected["scopes"], json!(["openid", "offline_access", "read", "write"]), "{connected}");
    let call = app.get("drive/resource");
    assert_eq!((call.status, call.json()["sub"].as_str()), (200, Some("alice")), "{}", call.text());
    assert_eq!(call.json()["scope"], "openid offline_access read write");
    assert_eq!(oidc.token_requests(), 1);

    // Once more, from the credential's page: she is known there, agrees again, and what comes of it takes its place.
    browser.press_near("production", "Reconnect");
    browser.sees("What is asked for");
    assert_eq!(oidc.token_requests(), 1);
    browser.press_near("What is asked for", "Sign in at");
    browser.sees("Authorize");
    browser.press("Continue");
    browser.sees("You are signed in there, and the credential works");
    assert_eq!(oidc.token_requests(), 2);
    let again = environment(&app, &id);
    assert_eq!((&again["status"], &again["account"]), (&connected["status"], &connected["account"]));
    assert_eq!(again["scopes"], connected["scopes"], "what was granted is asked for again");
    assert_eq!(app.get("drive/resource").json()["sub"], "alice");
    assert_eq!(oidc.token_requests(), 2, "the call takes the new token");
    assert!(!app.log().contains(OidcProvider::CLIENT_SECRET));
}

#[test]
fn somebody_comes_in_and_links_an_account_at_the_provider() {
    let oidc = OidcProvider::with(&json!({"pages": true}));
    let setup = latchstring_e2e::setup()
        .set("LATCHSTRING_OIDC_ISSUER", oidc.issuer())
        .set("LATCHSTRING_OIDC_CLIENT_ID", OidcProvider::CLIENT_ID)
        .set("LATCHSTRING_OIDC_CLIENT_SECRET", OidcProvider::CLIENT_SECRET)
        .set("LATCHSTRING_OIDC_NAME", "Acme ID");
    let app = setup.start();
    oidc.redirect_to(OidcProvider::CLIENT_ID, &app.at("/sign-in/callback"));
    let ada = Browser::ada(&app);
    ada.go("/account/identities");
    ada.press("Link it with Acme ID");
    ada.press("Go on to Acme ID");
    ada.fill_inside("Enter any login", "ada-there");
    ada.fill_inside("and password", "x");
    ada.press("Sign-in");
    ada.press("Continue");
    ada.is_at("/account/identities");
    ada.sees("ada-there@example.com");

    // From now on she comes in without a password of this server: to where she wanted to go.
    let again = Browser::at(&app.url);
    again.go("/projects/acme/members");
    again.press("Sign in with Acme ID");
    again.fill_inside("Enter any login", "ada-there");
    again.fill_inside("and password", "x");
    again.press("Sign-in");
    again.press("Continue");
    again.is_at("/projects/acme/members");
    again.sees("ada@example.com");
}
