//! OAuth clients in their own form: scopes as tags, and what an issuer says about itself.

use latchstring_e2e::Browser;
use latchstring_e2e::keyboard::{ALL, BACK, BACKSPACE, ENTER, PASTE, SPACE, TAB};
use latchstring_testkit::{OidcProvider, TestApp};
use serde_json::{Value, json};

const ALWAYS: &str = "Scopes that are always asked for";
/// Of a connector, so that a draft needs nothing but a name.
const NEW: &str = "/oauth-clients/new?connector=google_drive&project=acme";
const CHOSEN: &str = "Scopes that people choose from";

/// The tags that a field shows, in order; `None` where it shows none because it is a field as any other.
fn tags(browser: &Browser, name: &str) -> Option<Value> {
    let script = "const box = document.querySelector(`[name=\"${arguments[0]}\"]`).previousElementSibling;
        return box?.matches('.tags') ? [...box.querySelectorAll('li')].map((tag) => tag.innerText.trim()) : null";
    Some(browser.js_with(script, vec![name.into()])).filter(|found| !found.is_null())
}

#[track_caller]
fn shows(browser: &Browser, name: &str, wanted: &Value) {
    browser.until(&format!("{name} shows {wanted}"), |browser| {
        (tags(browser, name).as_ref() == Some(wanted)).then_some(())
    });
}

/// What is said to those who listen.
#[track_caller]
fn says(browser: &Browser, text: &str) {
    let said = browser.js("return document.getElementById('said').textContent");
    assert_eq!(said, text);
}

fn client(app: &TestApp, name: &str) -> Value {
    let list = app.done("GET", "/oauth-clients", &Value::Null, 200);
    let id = list["items"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()["id"].clone();
    app.done("GET", &format!("/oauth-clients/{}", id.as_str().unwrap()), &Value::Null, 200)
}

#[test]
fn scopes_are_tags_for_the_keyboard_alone() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.allow_clipboard();
    browser.go(NEW);
    shows(&browser, "mandatory_scopes", &json!([]));
    browser.tab_to("Name");
    browser.keys(ALL);
    browser.keys("Tagged");
    browser.tab_to(ALWAYS);
    // Enter, a comma and a blank end one.
    browser.keys("openid");
    browser.keys(ENTER);
    shows(&browser, "mandatory_scopes", &json!(["openid"]));
    says(&browser, "Added: openid");
    browser.keys("email,profile ");
    shows(&browser, "mandatory_scopes", &json!(["openid", "email", "profile"]));
    assert_eq!(browser.value(ALWAYS), "");
    browser.has_focus(ALWAYS);
    // One that is there is not added again.
    browser.keys("email,");
    says(&browser, "There already: email");
    shows(&browser, "mandatory_scopes", &json!(["openid", "email", "profile"]));
    // Backspace corrects what is typed, and then takes the last one.
    browser.keys("x");
    browser.keys(BACKSPACE);
    shows(&browser, "mandatory_scopes", &json!(["openid", "email", "profile"]));
    browser.keys(BACKSPACE);
    says(&browser, "Removed: profile");
    browser.has_focus(ALWAYS);
    // What is left there counts too, and so does the order.
    browser.keys("files:read");
    browser.keys(TAB);
    browser.has_focus(CHOSEN);
    shows(&browser, "mandatory_scopes", &json!(["openid", "email", "files:read"]));
    // Several at once, on lines of their own.
    browser.js_async(
        "const done = arguments[0]; navigator.clipboard.writeText('files:write\\n  files:list, files:write').then(done)",
    );
    browser.keys(PASTE);
    shows(&browser, "optional_scopes", &json!(["files:write", "files:list"]));
    says(&browser, "Added: files:write, files:list");
    // Each has a button of its own; from one that is gone one goes on with the next, and at last with the field.
    browser.keys(BACK);
    browser.has_focus("Remove files:list");
    browser.keys(BACK);
    browser.has_focus("Remove files:write");
    browser.keys(SPACE);
    shows(&browser, "optional_scopes", &json!(["files:list"]));
    says(&browser, "Removed: files:write");
    browser.has_focus("Remove files:list");
    browser.keys(ENTER);
    shows(&browser, "optional_scopes", &json!([]));
    browser.has_focus(CHOSEN);
    browser.keys("files:list files:write ");
    for theme in ["dark", "light"] {
        browser.prefers("prefers-reduced-motion", "reduce");
        browser.js_with("document.documentElement.dataset.theme = arguments[0]", vec![theme.into()]);
        browser.has_no_barriers();
    }
    browser.tab_to("Save the client");
    browser.keys(ENTER);
    browser.has_focus("The OAuth client is saved");
    shows(&browser, "mandatory_scopes", &json!(["openid", "email", "files:read"]));
    browser.reload();
    shows(&browser, "mandatory_scopes", &json!(["openid", "email", "files:read"]));
    shows(&browser, "optional_scopes", &json!(["files:list", "files:write"]));
    let made = client(&app, "Tagged");
    assert_eq!(made["mandatory_scopes"], json!(["openid", "email", "files:read"]), "{made}");
    assert_eq!(made["optional_scopes"], json!(["files:list", "files:write"]), "{made}");
    assert_eq!(browser.faults(), Vec::<String>::new());
}

#[test]
fn a_scope_that_is_wrong_is_told_beside_its_tags() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go(NEW);
    browser.fill("Name", "Odd");
    shows(&browser, "optional_scopes", &json!([]));
    browser.fill(ALWAYS, "openid read ");
    browser.fill(CHOSEN, "write read list");
    shows(&browser, "optional_scopes", &json!(["write", "read"]));
    // What nothing ended counts when the form is sent.
    browser.press("Save the client");
    assert!(browser.wrong(CHOSEN).contains("always asked for"), "{}", browser.wrong(CHOSEN));
    shows(&browser, "mandatory_scopes", &json!(["openid", "read"]));
    shows(&browser, "optional_scopes", &json!(["write", "read", "list"]));
    let invalid = "return document.getElementById('f-optional_scopes').getAttribute('aria-invalid')";
    assert_eq!(browser.js(invalid), "true");
    browser.has_no_barriers();
    // The list of what is wrong leads to where one types.
    browser.press(CHOSEN);
    browser.has_focus(CHOSEN);
    browser.js("document.querySelectorAll('[aria-label=\"Remove read\"]')[1].click()");
    browser.has_focus("Remove list");
    browser.press("Save the client");
    browser.sees("The OAuth client is saved");
    assert_eq!(client(&app, "Odd")["optional_scopes"], json!(["write", "list"]));
}

#[test]
fn without_scripts_scopes_are_lines() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.scripts(false);
    browser.go(NEW);
    browser.fill("Name", "Plain");
    browser.fill(ALWAYS, "openid\nemail");
    browser.fill(CHOSEN, "read write");
    browser.press("Save the client");
    browser.sees("The OAuth client is saved");
    assert_eq!(tags(&browser, "mandatory_scopes"), None);
    assert_eq!(browser.value(ALWAYS), "openid\nemail");
    let made = client(&app, "Plain");
    assert_eq!(made["mandatory_scopes"], json!(["openid", "email"]), "{made}");
    assert_eq!(made["optional_scopes"], json!(["read", "write"]), "{made}");
}

/// Where a connector takes them in one line, they are tags too, and are sent as the line.
#[test]
fn scopes_of_a_credential_are_tags() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    let scope = "/values/default/scope";
    browser.go("/projects/acme/credentials/new?connector=sandbox&method=oauth2_client_credentials");
    shows(&browser, scope, &json!([]));
    browser.fill("Name", "Both scopes");
    browser.fill("Base URL", &crate::scene::sandbox(&app));
    browser.fill("Client secret", latchstring_sandbox::DEMO.client_secret);
    browser.fill("Scope", "people:read people:write ");
    shows(&browser, scope, &json!(["people:read", "people:write"]));
    // A template is one, with the blanks that are in it, and a comma is a letter here.
    browser.fill("Scope", "{{ user.email }} a,b ");
    shows(&browser, scope, &json!(["people:read", "people:write", "{{ user.email }}", "a,b"]));
    for _ in 0..2 {
        browser.keys(BACKSPACE);
    }
    shows(&browser, scope, &json!(["people:read", "people:write"]));
    browser.has_no_barriers();
    browser.press("Check and save");
    browser.sees("The credential works and is saved");
    let list = app.done("GET", "/credentials?project=acme", &Value::Null, 200);
    let id = list["items"][0]["id"].as_str().unwrap().to_owned();
    let made = app.done("GET", &format!("/credentials/{id}"), &Value::Null, 200);
    assert!(made.to_string().contains("people:read people:write"), "{made}");
}

/// A superuser names the issuer, sees what it says about itself, and somebody signs in there with what came of it.
#[test]
fn a_client_is_discovered_by_its_issuer_and_used() {
    let oidc = OidcProvider::with(&json!({"pages": true}));
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/oauth-clients/new?project=acme");
    browser.fill("Name", "Discovered");
    browser.fill("Issuer", &oidc.at("/nothing-here"));
    browser.fill("Client secret", OidcProvider::CLIENT_SECRET);
    shows(&browser, "mandatory_scopes", &json!([]));
    browser.fill(ALWAYS, "openid,read,offline_access,");
    browser.fill(CHOSEN, "write ");
    browser.press("Endpoints, parameters and hosts");
    browser.fill("Hosts", &format!("127.0.0.1:{}", oidc.port()));
    browser.fill("Further parameters of the consent page", "prompt: consent");
    browser.press("Save the client");
    // Not the issuer: that is told beside it, and nothing that was typed is lost.
    assert!(browser.wrong("Issuer").contains("answered 404"), "{}", browser.wrong("Issuer"));
    browser.has_focus("Issuer");
    assert_eq!(browser.value("Name"), "Discovered");
    assert_eq!(browser.value("Issuer"), oidc.at("/nothing-here"));
    assert_eq!(browser.value("Client secret"), OidcProvider::CLIENT_SECRET);
    shows(&browser, "mandatory_scopes", &json!(["openid", "read", "offline_access"]));
    browser.has_no_barriers();

    // What the issuer says is seen before there is a client id: the redirect URI that the provider wants comes with it.
    browser.fill("Issuer", &oidc.issuer());
    browser.press("Save the client");
    browser.sees("The OAuth client is saved");
    browser.sees("draft");
    for (label, url) in [
        ("Authorization endpoint", oidc.authorize_url()),
        ("Token endpoint", oidc.token_url()),
        ("Userinfo endpoint", oidc.userinfo_url()),
    ] {
        assert_eq!(browser.value(label), "", "{label} is not written down, but read from the issuer");
        browser.sees(&format!("{url} (from the issuer)"));
    }
    shows(&browser, "optional_scopes", &json!(["write"]));
    browser.sees("No credential names it");
    let uri = browser.js("return document.getElementById('uri').textContent");
    oidc.redirect_to(OidcProvider::CLIENT_ID, uri.as_str().unwrap());
    browser.fill("Client id", OidcProvider::CLIENT_ID);
    browser.press("Save the client");
    browser.until("a client that is no draft any more", |browser| {
        browser.js("return document.querySelector('h1 .badge')").is_null().then_some(())
    });

    let made = app.done(
        "POST",
        "/credentials",
        &json!({
            "name": "Ada's drive", "connector": "http", "auth_method": "oauth2_authorization_code",
            "oauth_client": client(&app, "Discovered")["id"],
            "values": {"production": {"base_url": oidc.issuer(), "test_path": "/resource"}},
            "shares": [{"project": "acme", "slug": "drive", "grants": {"production": "production"}}],
        }),
        201,
    );
    browser.go(&format!("/credentials/{}/connect/production?project=acme", made["id"].as_str().unwrap()));
    browser.tick("write");
    browser.press_near("What is asked for", "Sign in at");
    browser.fill_inside("Enter any login", "alice");
    browser.fill_inside("and password", "whatever alice chose there");
    browser.press("Sign-in");
    browser.press("Continue");
    browser.sees("You are signed in there, and the credential works");
    assert_eq!(app.get("drive/resource").json()["scope"], "openid read offline_access write");
    browser.go(&format!("/oauth-clients/{}", client(&app, "Discovered")["id"].as_str().unwrap()));
    browser.sees("Ada's drive");
}
