//! What is tried before it is saved, and what stays in a form.

use latchstring_e2e::Browser;
use latchstring_testkit::OidcProvider;
use serde_json::{Value, json};

use crate::scene;

#[test]
fn a_code_is_entered_on_another_device_while_the_page_waits() {
    let oidc = OidcProvider::start();
    let app = latchstring_e2e::app();
    let id = scene::device(&app, &oidc);
    let browser = Browser::ada(&app);
    browser.go(&format!("/credentials/{id}/connect/production?project=acme"));
    browser.press_near("What is asked for", "Sign in at");
    browser.sees("Enter the code on any device");
    browser.has_no_barriers();
    let code = browser.js("return document.getElementById('code').textContent");
    oidc.answer_device(code.as_str().unwrap(), true);
    // The page notices by itself.
    browser.is_at(&format!("/credentials/{id}?project=acme"));
    browser.sees("Works");
    let seen = app.done("GET", &format!("/credentials/{id}"), &Value::Null, 200);
    assert_eq!(seen["environments"]["production"]["status"], "verified", "{seen}");
}

#[test]
fn a_request_is_previewed_and_tested_with_and_without_scripts() {
    const KEY: &str = "sk-planted-0123456789";
    let app = latchstring_e2e::app();
    for scripts in [true, false] {
        let browser = Browser::ada(&app);
        browser.scripts(scripts);
        browser.go("/projects/acme/credentials/new?connector=http&method=bearer");
        browser.fill("Name", "Looked at");
        browser.fill("Base URL", &scene::sandbox(&app));
        browser.fill("Test path", "/v1/people");
        browser.fill("Token", KEY);
        browser.press("Preview the request");
        browser.sees("What would be sent");
        browser.sees("authorization: Bearer sk-…");
        browser.sees("/v1/people");
        assert_eq!(browser.value("Name"), "Looked at");
        assert!(!browser.html().contains(KEY), "a secret stands in the page");
        if scripts {
            assert_eq!(browser.value("Token"), KEY, "what was typed stays");
            browser.has_no_barriers();
        } else {
            assert!(browser.wrong("Token").contains("Type it once more"));
            browser.fill("Token", KEY);
        }
        browser.press("Test it");
        browser.sees("HTTP does not accept it");
        browser.sees("401");
        assert!(!browser.html().contains(KEY), "a secret stands in the page");
        // Side by side where there is room for both, one below the other where there is not.
        for (width, beside) in [(1600, true), (390, false)] {
            browser.width(width);
            let boxes = browser.js(
                "const exchange = [...document.querySelectorAll('[data-part=result] .exchange')].pop();
                return [...exchange.children].map((one) => {
                    const {top, left} = one.getBoundingClientRect();
                    return [Math.round(top), Math.round(left)];
                })",
            );
            let [request, response] = boxes.as_array().unwrap().as_slice() else { panic!("{boxes}") };
            assert_eq!(request[0] == response[0], beside, "at {width}: {boxes}");
            assert_eq!(request[1] == response[1], !beside, "at {width}: {boxes}");
        }
        browser.width(1600);
    }
    let made = app.done("GET", "/credentials?project=acme", &Value::Null, 200);
    assert_eq!(made["items"], json!([]), "nothing was saved");
}

#[test]
fn a_definition_is_previewed_while_it_is_written() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/connectors/new");
    browser.press("Preview the request");
    browser.sees("What would be sent");
    browser.sees("GET https://api.example.com/me");
    browser.sees("x-api-key: …");
    browser.has_no_barriers();
    browser.js("const area = document.querySelector('[name=source]'); area.value = area.value.replace('base_url', 'base_ulr')");
    browser.press("Preview the request");
    browser.sees("Line 4");
    browser.sees_not("What would be sent");
}

#[test]
fn a_secret_that_is_typed_stays_when_its_name_is_wrong() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/secrets?environment=production");
    let value = "document.getElementById('secret-value').value";
    browser.js("document.getElementById('secret-name').value = 'no name'");
    browser.js(&format!("{value} = 'planted-secret'"));
    browser.press("Set it Set a secret");
    browser.until("the name is wrong", |browser| {
        browser
            .js("return document.getElementById('secret-name-error').textContent")
            .as_str()
            .map(str::trim)
            .is_some_and(|text| !text.is_empty())
            .then_some(())
    });
    assert_eq!(browser.js(&format!("return {value}")), "planted-secret");
    browser.js("document.getElementById('secret-name').value = 'good_name'");
    browser.press("Set it Set a secret");
    browser.sees("The secret is set");
    browser.sees("good_name");
}
