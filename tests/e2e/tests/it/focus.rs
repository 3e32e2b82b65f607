//! Where the focus is after something was done with a row of a list: on what says that it was done, from where one goes
//! on. A page that came anew and has the focus nowhere sends whoever uses the keyboard back to its beginning in silence.

use latchstring_e2e::Browser;
use latchstring_e2e::keyboard::{ENTER, TAB};
use latchstring_testkit::{TestApp, app::PASSWORD};
use serde_json::{Value, json};

use crate::scene;

/// What is pressed on a page, near which words, and what is said then.
struct Deed {
    path: String,
    near: &'static str,
    button: &'static str,
    says: &'static str,
}

fn deed(path: impl Into<String>, near: &'static str, button: &'static str, says: &'static str) -> Deed {
    Deed { path: path.into(), near, button, says }
}

fn variable(app: &TestApp, name: &str) {
    let path = format!("/projects/acme/environments/production/variables/{name}");
    app.done("PUT", &path, &json!({"value": "t-17"}), 204);
}

fn does(browser: &Browser, deeds: &[Deed]) {
    for deed in deeds {
        browser.go(&deed.path);
        browser.press_near(deed.near, deed.button);
        browser.sees(deed.says);
        browser.has_focus(deed.says);
    }
}

#[test]
fn what_was_done_with_a_row_has_the_focus() {
    let app = latchstring_e2e::app();
    scene::team(&app);
    scene::offered(&app);
    latchstring_testkit::eventually("she is told of the offer", || {
        let told = app.done("GET", "/me/notices", &Value::Null, 200);
        told["items"].as_array().is_some_and(|items| !items.is_empty()).then_some(())
    });
    // Another session of hers.
    let body = json!({"email": latchstring_testkit::app::EMAIL, "password": PASSWORD});
    assert_eq!(latchstring_testkit::http::post_json(&app.at("/api/v1/session"), &body).status, 204);
    let browser = Browser::ada(&app);
    let secrets = "/projects/acme/secrets?environment=production";
    does(
        &browser,
        &[
            deed(secrets, "signing_key", "Delete", "The secret is deleted"),
            deed(secrets, "tenant", "Delete", "The variable is deleted"),
            deed("/projects/acme/members", "grace@example.com", "Set the role", "role is set"),
            deed("/projects/acme/members", "grace@example.com", "Remove", "no longer a member"),
            deed("/projects/acme/keys", "nightly-import", "End", "The key is ended"),
            deed("/account/sessions", "An unknown browser", "End", "The session is ended"),
            deed("/notices", "Nora", "Mark as read", "It is marked as read"),
            deed("/people", "grace@example.com", "Make a superuser", "The account is changed"),
        ],
    );
}

#[test]
fn from_what_was_done_one_goes_on_by_the_keyboard() {
    let app = latchstring_e2e::app();
    for name in ["first", "second"] {
        variable(&app, name);
    }
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/secrets?environment=production");
    browser.tab_to("Delete first");
    browser.keys(ENTER);
    browser.has_focus("The variable is deleted");
    assert_eq!(browser.js("return document.activeElement.getAttribute('role')"), "status");
    browser.has_no_barriers();
    // Within the content, not at the beginning of the page.
    browser.keys(TAB);
    assert_eq!(browser.js("return document.activeElement.closest('main') !== null"), true);
    browser.tab_to("Delete second");
    browser.keys(ENTER);
    browser.has_focus("The variable is deleted");
    browser.sees("There are no variables in production yet");
}

/// A form that stays is sent in the background, and then leads to another page.
#[test]
fn a_form_that_stays_says_what_it_did() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/secrets?environment=production");
    browser.started();
    let fill = |id: &str, value: &str| {
        browser.js_with(
            "document.getElementById(arguments[0]).value = arguments[1]",
            vec![id.into(), value.into()],
        );
    };
    fill("secret-name", "no name");
    fill("secret-value", "planted-secret");
    browser.press("Set it Set a secret");
    browser.has_focus("The name has 1 to 128 letters");
    fill("secret-name", "signing_key");
    browser.press("Set it Set a secret");
    browser.has_focus("The secret is set");
}

/// Without scripts it is the browser that puts the focus there.
#[test]
fn without_scripts_it_is_the_same() {
    let app = latchstring_e2e::app();
    variable(&app, "tenant");
    let browser = Browser::ada(&app);
    browser.scripts(false);
    browser.go("/projects/acme/secrets?environment=production");
    browser.press_near("tenant", "Delete");
    browser.has_focus("The variable is deleted");
}

/// Whoever has set a new password is told so where they sign in with it.
#[test]
fn a_password_that_was_reset_is_told_of() {
    let app = latchstring_e2e::app();
    let printed = app.setup().run(&["admin", "reset-password", "--email", latchstring_testkit::app::EMAIL]);
    let printed = String::from_utf8(printed.stdout).expect("a link");
    let browser = Browser::at(&app.url);
    browser.go(&format!("/reset/{}", printed.rsplit("/reset/").next().expect("a link").trim()));
    browser.fill("New password", "another long pass phrase");
    browser.press("Set the password");
    browser.has_focus("Your password is set");
    browser.has_no_barriers();
    assert_eq!(app.done("GET", "/credentials?project=acme", &Value::Null, 200)["items"], json!([]));
}
