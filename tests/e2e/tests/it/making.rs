//! Credentials are made, checked, changed, shared and ended.

use latchstring_e2e::Browser;
use latchstring_sandbox::DEMO;
use serde_json::Value;

use crate::scene;

fn one(app: &latchstring_testkit::TestApp, name: &str) -> Value {
    let list = app.done("GET", "/credentials?project=acme", &Value::Null, 200);
    let items = list["items"].as_array().unwrap();
    items.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name} in {list}")).clone()
}

#[test]
fn one_set_of_values_or_one_for_each_environment() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    let form = "/projects/acme/credentials/new?connector=sandbox&method=api_key";
    browser.go(form);
    browser.fill("Name", "Both");
    browser.fill("API key", DEMO.api_key);
    browser.press("Check and save");
    browser.sees("The credential works");
    assert_eq!(
        one(&app, "Both")["shares"][0]["grants"],
        serde_json::json!({"production": "default", "staging": "default"})
    );

    browser.go(form);
    browser.fill("Name", "Each");
    browser.tick("A set for each environment");
    browser.sees("For production");
    browser
        .js("document.querySelector('[name=\"/values/production/key\"]').value = 'sandbox-key-not-a-secret'");
    browser.press("Check and save");
    browser.sees("1 thing is not right yet");
    browser.sees("API key is missing");
    browser.js("document.querySelector('[name=\"/values/staging/key\"]').value = 'sandbox-read-only-key-not-a-secret'");
    browser.press("Check and save");
    browser.sees("The credential works");
    let each = one(&app, "Each");
    assert_eq!(
        each["shares"][0]["grants"],
        serde_json::json!({"production": "production", "staging": "staging"})
    );
    assert_eq!(each["environments"].as_object().unwrap().len(), 2);
}

#[test]
fn it_works_without_a_script_and_no_secret_is_sent_back() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.scripts(false);
    browser.go("/projects/acme/credentials/new?q=sandbox");
    browser.press_near("A small API to try", "Sa");
    browser.press("API key");
    browser.fill("Name", "Plain");
    browser.fill("API key", "a-wrong-key");
    browser.press("Check and save");
    browser.sees("Sandbox does not accept it");
    assert_eq!(browser.value("Name"), "Plain");
    assert!(!browser.html().contains("a-wrong-key"), "a secret stands in the page");
    assert!(browser.wrong("API key").contains("Type it once more"));
    browser.fill("API key", DEMO.api_key);
    browser.press("Check and save");
    browser.sees("The credential works");
}

#[test]
fn the_catalog_narrows_while_one_types() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/credentials/new");
    browser.sees("Airtable");
    browser.fill("Search connectors", "salesf");
    browser.sees_not("Airtable");
    browser.sees("Salesforce");
    browser.fill("Search connectors", "nothing like it");
    browser.sees("No connector of that name");
    browser.fill("Search connectors", "github");
    browser.keys("\u{e007}");
    browser.until("the connector is chosen", |browser| {
        browser.path().contains("connector=github").then_some(())
    });
}

#[test]
fn fields_follow_a_choice() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/credentials/new?connector=http&method=api_key");
    let shown = |browser: &Browser| {
        browser
            .js("return document.querySelector('[name=\"/values/default/prefix\"]').offsetParent !== null")
            .as_bool()
            .unwrap()
    };
    browser.js("document.querySelectorAll('details.more').forEach((one) => { one.open = true; })");
    assert!(shown(&browser), "a key in a header may have a prefix");
    browser.choose("Where it goes", "Query parameter");
    assert!(!shown(&browser), "one in the query has none");
    browser.choose("Where it goes", "Header");
    assert!(shown(&browser));
}

#[test]
fn values_are_changed_and_brought_back() {
    let app = latchstring_e2e::app();
    let id = scene::works(&app);
    let browser = Browser::ada(&app);
    browser.go(&format!("/credentials/{id}?project=acme"));
    browser.press_near("default", "Check now");
    browser.sees("The API accepted it");
    browser.sees("x-api-key: ***");
    browser.sees_not(DEMO.api_key);
    browser.has_no_barriers();

    browser.press_near("default", "Change values");
    browser.sees("Leave it empty to keep it");
    browser.fill("API key", "a-wrong-key");
    browser.press("Check and save");
    browser.sees("does not accept");
    browser.fill("API key", DEMO.read_only_api_key);
    browser.press("Check and save");
    browser.sees("The change is saved");
    browser.press("Versions");
    browser.sees("Version 2");
    browser.press_near("Version 1", "Restore");
    browser.sees("The older values are in use again");
    browser.press("Versions");
    browser.sees("Version 3");

    browser.go(&format!("/credentials/{id}?project=acme"));
    browser.press("Disable");
    browser.sees("nobody can use it now");
    assert_eq!(app.get("people-of-the-sandbox/v1/people").status, 409);
    browser.press("Enable");
    browser.sees("enabled again");
    browser.press("Delete");
    browser.sees("scheduled for deletion");
    browser.sees("It is going to be deleted");
    browser.press("Restore");
    browser.sees("is restored");
    assert_eq!(app.get("people-of-the-sandbox/v1/people").status, 200);
}

#[test]
fn sharing_is_a_table() {
    let app = latchstring_e2e::app();
    let id = scene::works(&app);
    app.done("POST", "/projects", &serde_json::json!({"slug": "second", "name": "Second"}), 201);
    let browser = Browser::ada(&app);
    browser.go(&format!("/credentials/{id}/sharing?project=acme"));
    browser.choose("staging", "Nothing");
    browser.press("Save the sharing");
    browser.sees("The change is saved");
    assert_eq!(
        one(&app, "People of the sandbox")["shares"][0]["grants"],
        serde_json::json!({"production": "default"})
    );
    browser.go(&format!("/credentials/{id}/sharing?project=acme"));
    browser.choose("Share with another project", "Second");
    browser.press("Add");
    browser.sees("New");
    browser.press("Save the sharing");
    browser.sees("The change is saved");
    let whole = app.done("GET", &format!("/credentials/{id}"), &Value::Null, 200);
    assert_eq!(whole["shares"].as_array().unwrap().len(), 2, "{whole}");
}
