//! A credential changes hands, people are told, keychains, and what superusers do.

use latchstring_e2e::Browser;
use latchstring_e2e::keyboard::ENTER;
use serde_json::{Value, json};

use crate::scene;

/// The link that a page shows once.
fn link(browser: &Browser) -> String {
    browser.js("return document.getElementById('link').textContent").as_str().unwrap().to_owned()
}

#[test]
fn a_credential_goes_from_one_person_to_another() {
    let app = latchstring_e2e::app();
    let id = scene::works(&app);
    app.person("grace@example.com", "editor");
    let ada = Browser::ada(&app);
    ada.go(&format!("/credentials/{id}?project=acme"));
    ada.press("Hand it over");
    ada.fill("Their e-mail address", "nobody@example.com");
    ada.press("Make the offer");
    assert!(ada.wrong("Their e-mail address").contains("not an active member of acme"));
    ada.fill("Their e-mail address", "grace@example.com");
    ada.press("Make the offer");
    ada.sees("The offer to grace@example.com");
    ada.has_no_barriers();
    let first = link(&ada);
    ada.press("To the credential");
    ada.press("Hand it over");
    ada.sees("It is offered to grace@example.com");
    ada.press("Take the offer back");
    ada.sees("The offer is taken back");
    ada.go(&format!("/credentials/{id}/transfer?project=acme"));
    ada.fill("Their e-mail address", "grace@example.com");
    ada.press("Make the offer");
    let second = link(&ada);

    let grace = Browser::signed_in(&app, "grace@example.com");
    grace.go(&first);
    grace.sees("The offer was taken back");
    // She is told where she is, without a mail.
    grace.until("the bell counts", |grace| {
        grace.go("/notices");
        grace.text().contains("is to change hands").then_some(())
    });
    grace.sees("offers it to you");
    grace.press("Mark all as read");
    grace.sees("Everything is marked as read");
    grace.go(&second);
    grace.sees("What changes");
    grace.has_no_barriers();
    grace.press("Take it over");
    grace.sees("The credential is yours now");
    grace.sees("Change values");
    // It works on, and ada is what every member is.
    assert_eq!(app.get("people-of-the-sandbox/v1/people").status, 200);
    ada.go(&format!("/credentials/{id}?project=acme"));
    ada.sees_not("Change values");
    // Before she goes she is told what would stop.
    grace.go("/projects/acme/members");
    grace.press("Leave the project");
    grace.sees("They own credentials that this project uses");
    grace.sees("stops in production, staging");
    grace.has_no_barriers();
    grace.press_near("stops in", "Hand it over");
    grace.sees("Their e-mail address");
}

#[test]
fn keychains_without_a_script() {
    let app = latchstring_e2e::app();
    scene::works(&app);
    let browser = Browser::ada(&app);
    browser.scripts(false);
    browser.go("/projects/acme/keychains");
    browser.sees("No keychain yet");
    browser.press("New keychain");
    browser.fill("Name", "Customers");
    browser.choose("Connector", "Sandbox");
    browser.fill("Found by", "{{ input.customer");
    browser.press("Save the keychain");
    assert!(!browser.wrong("Found by").is_empty());
    assert_eq!(browser.value("Name"), "Customers");
    browser.fill("Found by", "{{ input.customer }}");
    browser.choose("Otherwise", "People of the sandbox (people-of-the-sandbox)");
    browser.press("Save the keychain");
    browser.sees("The keychain is saved");
    browser.sees("otherwise people-of-the-sandbox");
    browser.press("Customers");
    browser.fill("Name", "Tenants");
    browser.press("Save the keychain");
    browser.sees("Tenants");
    browser.press("Tenants");
    browser.press("Delete the keychain");
    browser.sees("The keychain is deleted");
}

#[test]
fn superusers_give_on_what_somebody_left_and_decide_the_rules() {
    let app = latchstring_e2e::app();
    let key = app.person("grace@example.com", "editor");
    app.person("nora@example.com", "editor");
    let body = json!({
        "name": "Grace's key", "connector": "http", "auth_method": "bearer", "verify": "skip",
        "values": {"default": {"base_url": "https://api.example.com", "token": "planted-token-of-grace"}},
        "shares": [{"project": "acme", "grants": {"production": "default"}}],
    });
    assert_eq!(app.api_as(&key, "POST", "/credentials", &body).status, 201);
    let users = app.done("GET", "/users?q=grace", &Value::Null, 200);
    let id = users["items"][0]["id"].as_str().unwrap().to_owned();
    app.done("PATCH", &format!("/users/{id}"), &json!({"active": false}), 200);
    let browser = Browser::ada(&app);
    browser.go("/people?q=grace");
    browser.press_near("grace@example.com", "What they own");
    browser.sees("Grace's key");
    browser.has_no_barriers();
    let set = "document.querySelector('input[name=email]').value = arguments[0]";
    browser.js_with(set, vec!["nobody@example.com".into()]);
    browser.press_near("used in acme", "Give it");
    browser.sees("not an active member of acme");
    browser.js_with(set, vec!["nora@example.com".into()]);
    browser.press_near("used in acme", "Give it");
    browser.sees("The credential has a new owner");
    browser.sees("They left nothing behind");
    assert!(!browser.html().contains("planted-token-of-grace"));

    browser.go("/instance");
    browser.fill("Name of this server", "Keys of Acme");
    browser.fill("Minutes for which a sign-in is recent", "90");
    browser.press("Save");
    assert!(browser.wrong("Minutes for which a sign-in is recent").contains("1 to 60"));
    browser.fill("Minutes for which a sign-in is recent", "5");
    browser.choose("Who may make projects", "Superusers");
    browser.press("Save");
    browser.sees("Saved.");
    let now = app.done("GET", "/instance", &Value::Null, 200);
    assert_eq!(
        (now["name"].as_str(), now["projects_by"].as_str()),
        (Some("Keys of Acme"), Some("superusers"))
    );
}

#[test]
fn sharing_and_handing_over_take_the_keyboard_alone() {
    let app = latchstring_e2e::app();
    let id = scene::works(&app);
    app.person("grace@example.com", "editor");
    let ada = Browser::ada(&app);
    ada.go("/projects/acme/credentials");
    ada.tab_to("People of the sandbox");
    ada.keys(ENTER);
    ada.sees("Change sharing");
    ada.tab_to("Change sharing");
    ada.keys(ENTER);
    ada.sees("Save the sharing");
    // The letter that a choice begins with.
    ada.tab_to("staging");
    ada.keys("N");
    ada.tab_to("Save the sharing");
    ada.keys(ENTER);
    ada.has_focus("The change is saved");
    let shares = app.done("GET", &format!("/credentials/{id}"), &Value::Null, 200)["shares"].clone();
    assert_eq!(shares[0]["grants"], json!({"production": "default"}), "{shares}");
    ada.tab_to("Hand it over");
    ada.keys(ENTER);
    ada.sees("Make the offer");
    ada.tab_to("Their e-mail address");
    ada.keys("grace@example.com");
    ada.keys(ENTER);
    ada.sees("The offer to grace@example.com");
    let offer = link(&ada);
    ada.tab_to("To the credential");
    ada.keys(ENTER);
    ada.sees("Change values");

    let grace = Browser::signed_in(&app, "grace@example.com");
    grace.go(&offer);
    grace.sees("What changes");
    grace.tab_to("Take it over");
    grace.keys(ENTER);
    grace.has_focus("The credential is yours now");
    let owner = app.done("GET", &format!("/credentials/{id}"), &Value::Null, 200)["owner"].clone();
    assert_eq!(owner["email"], "grace@example.com", "{owner}");
}
