//! From the printed link to a line that calls an API, with the sandbox alone: no account elsewhere.

use std::process::Command;

use latchstring_e2e::Browser;
use latchstring_sandbox::DEMO;
use latchstring_testkit::app::PASSWORD;

/// The line that was copied, run as a person would.
fn run(line: &str) -> String {
    let output = Command::new("sh").args(["-c", &format!("{line} --silent --show-error")]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// From the printed link to the sandbox's methods.
fn begins(browser: &Browser, link: &str) {
    browser.go("/");
    browser.sees("not set up yet");
    browser.go(link);
    browser.fill("E-mail address", "ada@example.com");
    browser.fill("Your name", "Ada Lovelace");
    browser.fill("Password", PASSWORD);
    browser.fill("First project", "Analytical engines");
    browser.press("Make the account");
    browser.is_at("/projects/analytical-engines/credentials");
    browser.sees("The project is there");
    browser.sees("Connect your first API");
    browser.press("Try it with the sandbox");
}

#[test]
fn a_newcomer_gets_to_a_call_that_works() {
    let (app, link) = latchstring_e2e::fresh();
    let browser = Browser::at(&app.url);
    begins(&browser, &link);
    browser.press("API key");

    // A key that the API does not accept: told beside the form, and nothing that was typed is lost.
    browser.fill("Name", "The sandbox's people");
    browser.fill("API key", "a-wrong-key");
    browser.press("Check and save");
    browser.sees("Sandbox does not accept it");
    browser.sees("The key is sandbox-key-not-a-secret");
    browser.sees("wrong_api_key");
    browser.sees_not("a-wrong-key");
    assert_eq!(browser.value("Name"), "The sandbox's people");
    assert_eq!(browser.value("API key"), "a-wrong-key", "the page stays, and with it what is secret");
    browser.has_no_barriers();

    browser.fill("API key", DEMO.api_key);
    browser.press("Check and save");
    browser.sees("The credential works and is saved");
    browser.sees("Call it");
    browser.press("Make the key");
    browser.sees("It is shown now and never again");
    browser.has_no_barriers();
    browser.allow_clipboard();
    browser.press_near("Paste this into a terminal", "Copy");
    browser.sees("Copied");
    let line = browser.clipboard();
    assert!(line.contains("/proxy/the-sandbox-s-people/v1/me"), "{line}");
    let answer = run(&line);
    assert!(answer.contains("subject"), "{answer}");
    // Reading the page again does not show the key again.
    browser.press("Overview");
    browser.sees("Works");
    browser.press("Call it");
    browser.sees("$LATCHSTRING_API_KEY");
}

#[test]
fn a_newcomer_signs_in_at_the_sandbox_and_calls_it() {
    let (app, link) = latchstring_e2e::fresh();
    let browser = Browser::at(&app.url);
    begins(&browser, &link);
    browser.sees("nobody has set one up yet");
    browser.press("Sign in with the sandbox");
    browser.sees("You are a superuser: set it up first, then come back.");
    browser.has_no_barriers();
    browser.press("Set up an OAuth client");

    // What the sandbox knows is there; its secret, which is none, is told and typed.
    browser.sees("It serves Sandbox");
    browser.sees(DEMO.client_secret);
    assert_eq!(browser.value("Name"), "Sandbox");
    assert_eq!(browser.value("Client id"), DEMO.client_id);
    assert!(browser.value("Hosts").starts_with("127.0.0.1:"), "{}", browser.value("Hosts"));
    assert_eq!(browser.value("For these projects"), "analytical-engines");
    browser.fill("Client secret", DEMO.client_secret);
    browser.fill("Scopes that people choose from", "people:write ");
    browser.has_no_barriers();
    browser.press("Save the client");
    browser.sees("The OAuth client is saved");
    browser.has_no_barriers();

    // Back where it was missing.
    browser.press("Make a credential with it");
    browser.sees("Save and sign in");
    browser.has_no_barriers();
    browser.fill("Name", "Ada at the sandbox");
    browser.press("Save and sign in");
    browser.sees("What is asked for");
    browser.has_no_barriers();
    browser.tick("people:write");
    browser.press_near("What is asked for", "Sign in at");
    browser.sees("Let Latchstring in?");
    browser.has_no_barriers();
    browser.press("Allow");
    browser.sees("You are signed in there, and the credential works");
    browser.has_no_barriers();

    browser.press("Make the key");
    browser.sees("It is shown now and never again");
    browser.allow_clipboard();
    browser.press_near("Paste this into a terminal", "Copy");
    browser.sees("Copied");
    let line = browser.clipboard();
    assert!(line.contains("/proxy/ada-at-the-sandbox/v1/me"), "{line}");
    let answer = run(&line);
    assert!(answer.contains(DEMO.subject), "{answer}");
    browser.press("Overview");
    browser.sees("people:read");
    browser.sees("people:write");
}

#[test]
fn consent_is_given_at_the_sandbox() {
    let app = latchstring_e2e::app();
    let id = crate::scene::waiting(&app);
    let browser = Browser::ada(&app);
    browser.go(&format!("/credentials/{id}?project=acme"));
    browser.sees("Sign-in needed");
    browser.press_near("default", "Sign in");
    browser.sees("What is asked for");
    browser.tick("people:write");
    browser.press_near("What is asked for", "Sign in at");
    browser.sees("Let Latchstring in?");
    browser.press("Deny");
    browser.sees("Consent was not given");
    browser.sees("What was connected before is as it was");
    browser.press("Back");
    browser.sees("cannot be called yet");
    browser.press("Overview");
    browser.press_near("default", "Sign in");
    browser.sees("The last sign-in did not work");
    browser.press_near("What is asked for", "Sign in at");
    browser.sees("Let Latchstring in?");
    browser.press("Allow");
    browser.sees("You are signed in there, and the credential works");
    browser.sees("Call it");
    browser.press("Overview");
    browser.sees("people:read");
}

#[test]
fn consent_works_without_a_script() {
    let app = latchstring_e2e::app();
    let id = crate::scene::waiting(&app);
    let browser = Browser::ada(&app);
    browser.scripts(false);
    browser.go(&format!("/credentials/{id}/connect/default?project=acme"));
    browser.press_near("What is asked for", "Sign in at");
    // A page between, because the policy binds redirects that follow a form.
    browser.press("Continue");
    browser.press("Allow");
    browser.sees("You are signed in there, and the credential works");
}
