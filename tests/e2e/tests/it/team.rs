//! A project's people, keys, secrets, connectors and trail; accounts and OAuth clients.

use latchstring_e2e::Browser;
use latchstring_testkit::app::PASSWORD;
use serde_json::Value;

use crate::scene;

#[test]
fn secrets_are_set_and_never_seen_again() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/secrets");
    browser.sees("There are no secrets in production yet");
    let fill = |browser: &Browser, id: &str, value: &str| {
        browser.js_with(
            "document.getElementById(arguments[0]).value = arguments[1]",
            vec![id.into(), value.into()],
        );
    };
    fill(&browser, "secret-name", "1 bad name");
    fill(&browser, "secret-value", "planted-secret-value");
    browser.press_near("Shown to nobody", "Set it");
    browser.sees("The name has 1 to 128 letters");
    assert!(!browser.html().contains("planted-secret-value"));
    fill(&browser, "secret-name", "signing_key");
    fill(&browser, "secret-value", "planted-secret-value");
    browser.press_near("Shown to nobody", "Set it");
    browser.sees("The secret is set");
    browser.sees("signing_key");
    assert!(!browser.html().contains("planted-secret-value"));
    browser.press("Delete");
    browser.sees("The secret is deleted");
}

#[test]
fn members_come_change_and_go() {
    let app = latchstring_e2e::app();
    app.person("grace@example.com", "viewer");
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/members");
    browser.fill("E-mail address", "nobody@example.com");
    browser.press("Add");
    assert!(browser.wrong("E-mail address").contains("Nobody with that e-mail address"));
    assert_eq!(browser.value("E-mail address"), "nobody@example.com");
    browser.choose("Role of Someone Else", "Editor");
    browser.press_near("grace@example.com", "Set the role");
    browser.sees("role is set");
    let grace = Browser::signed_in(&app, "grace@example.com");
    grace.go("/projects/acme/members");
    grace.sees("Leave the project");
    grace.sees_not("Add somebody");
    browser.press_near("grace@example.com", "Remove");
    browser.sees("no longer a member");
    grace.go("/projects/acme/credentials");
    grace.sees("There is no such project");
}

#[test]
fn secrets_and_members_without_a_script() {
    let app = latchstring_e2e::app();
    app.person("grace@example.com", "viewer");
    let browser = Browser::ada(&app);
    browser.scripts(false);
    browser.go("/projects/acme/secrets?environment=staging");
    browser.fill("Name", "1 bad name");
    browser.press_near("Shown to nobody", "Set it");
    browser.sees("The name has 1 to 128 letters");
    assert_eq!(browser.value("Name"), "1 bad name");
    browser.fill("Name", "signing_key");
    browser.fill("Value", "planted-secret-value");
    browser.press_near("Shown to nobody", "Set it");
    browser.sees("The secret is set");
    browser.sees("signing_key");
    assert!(!browser.html().contains("planted-secret-value"));
    // No time of the reader's own without a script, and none is missing.
    browser.sees("just now by ada@example.com");
    browser.press("Delete");
    browser.sees("The secret is deleted");

    browser.go("/projects/acme/members");
    browser.fill("E-mail address", "nobody@example.com");
    browser.press("Add");
    browser.sees("Nobody with that e-mail address");
    assert_eq!(browser.value("E-mail address"), "nobody@example.com");
    browser.choose("Role of Someone Else", "Editor");
    browser.press_near("grace@example.com", "Set the role");
    browser.sees("role is set");
    let members = app.done("GET", "/projects/acme/members", &Value::Null, 200);
    let grace = members["items"].as_array().unwrap().iter().find(|one| one["email"] == "grace@example.com");
    assert_eq!(grace.unwrap()["role"], "editor");
    browser.press_near("grace@example.com", "Remove");
    browser.sees("no longer a member");
    browser.go("/projects/acme/audit?action=member.delete");
    browser.sees("member.delete");
}

#[test]
fn a_service_key_is_shown_once_and_ends() {
    let app = latchstring_e2e::app();
    scene::works(&app);
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/keys/new");
    browser.fill("Which program it is for", "importer");
    browser.press("Limits");
    browser.fill("Only these HTTP methods", "G T");
    browser.press("Make the key");
    assert!(browser.wrong("Only these HTTP methods").contains("HTTP method"));
    browser.fill("Only these HTTP methods", "GET");
    browser.press("Make the key");
    browser.sees("It is shown now and never again");
    let key = browser.js("return document.getElementById('key').textContent").as_str().unwrap().to_owned();
    assert_eq!(app.call_with(&key, "GET", "people-of-the-sandbox/v1/people", &[], b"").status, 200);
    assert_eq!(app.call_with(&key, "POST", "people-of-the-sandbox/v1/people", &[], b"{}").status, 403);
    browser.press("To the keys");
    browser.sees("importer");
    assert!(!browser.html().contains(&key));
    browser.press_near("importer", "End");
    browser.sees("The key is ended");
    let refused = |app: &latchstring_testkit::TestApp| {
        (app.call_with(&key, "GET", "people-of-the-sandbox/v1/people", &[], b"").status == 401).then_some(())
    };
    latchstring_testkit::eventually("the key is refused", || refused(&app));
}

#[test]
fn the_trail_is_narrowed_and_followed() {
    let app = latchstring_e2e::app();
    let id = scene::works(&app);
    let browser = Browser::ada(&app);
    browser.go(&format!("/projects/acme/audit?credential={id}"));
    browser.sees("credential.create");
    browser.sees_not("project.create");
    browser.go("/projects/acme/audit?credential=nothing-of-that-name");
    browser.sees("no credential of that name");
    browser.go("/projects/acme/audit");
    browser.press("Follow live");
    app.set_secret("seen_live", "x");
    browser.sees("seen_live");
    // More than a page holds at once: none is passed over.
    for number in 0..60 {
        app.set_secret(&format!("burst_{number}"), "x");
    }
    browser.sees("burst_0");
    browser.sees("burst_59");
    browser.press("Pause");
    // Nothing fits yet; what does is told as it comes.
    browser.go("/projects/acme/audit?action=secret.delete");
    browser.sees("Nothing fits");
    browser.press("Follow live");
    app.done(
        "DELETE",
        "/projects/acme/environments/production/secrets/seen_live",
        &serde_json::Value::Null,
        204,
    );
    browser.sees("seen_live");
    browser.sees_not("Nothing fits");
    browser.has_no_barriers();
}

#[test]
fn a_connector_of_ones_own_with_its_mistakes_beside_the_lines() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/connectors/new");
    let source = browser.value("Definition");
    assert!(source.starts_with("id: my_api"), "{source}");
    let set = "const area = document.querySelector('[name=source]'); area.value = area.value.replace('base_url', 'base_ulr')";
    browser.js(set);
    browser.press("Save the connector");
    browser.sees("In these lines");
    browser.sees("Line 4");
    browser.sees("did you mean `base_url`");
    browser.has_no_barriers();
    browser.press("Line 4");
    let marked = "const a = document.activeElement; return a.value.slice(a.selectionStart, a.selectionEnd)";
    assert!(browser.js(marked).as_str().unwrap().starts_with("base_ulr"));
    browser.js("const area = document.querySelector('[name=source]'); area.value = area.value.replace('base_ulr', 'base_url')");
    browser.press("Save the connector");
    browser.sees("The connector is saved");
    browser.sees("Ways to be let in");
    browser.press("Make a credential");
    browser.sees("New credential for My API");
}

#[test]
fn one_s_own_account() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/account");
    browser.fill("First name", "Augusta");
    browser.press("Save");
    browser.sees("Your names are saved");
    browser.press("Password");
    browser.fill("Current password", "not it");
    browser.fill("New password", "another long pass phrase");
    browser.press("Change the password");
    assert!(browser.wrong("Current password").contains("not your password"));
    browser.fill("Current password", PASSWORD);
    browser.fill("New password", "another long pass phrase");
    browser.press("Change the password");
    browser.sees("The password is changed");
    browser.press("Personal keys");
    browser.fill("What it is for", "laptop");
    browser.press("Make the key");
    browser.sees("It is shown now and never again");
    let key = browser.js("return document.getElementById('key').textContent").as_str().unwrap().to_owned();
    assert_eq!(app.api_as(&key, "GET", "/me", &Value::Null).status, 200);
    browser.press("To your keys");
    browser.press_near("laptop", "End");
    browser.sees("The key is ended");
    browser.press("Sessions");
    browser.sees("this browser");
}

#[test]
fn a_second_factor_is_set_up_asked_for_and_removed() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/account");
    browser.press("Second factor");
    browser.sees("Signing in takes a password alone");
    browser.press("Set up a second factor");
    let secret = scene::totp_secret(&browser);
    browser.fill("The code that the app shows now", "000000");
    browser.press("Turn it on");
    assert!(!browser.wrong("The code that the app shows now").is_empty());
    assert!(!browser.html().contains(&secret), "the secret is shown once");
    browser.fill("The code that the app shows now", &scene::totp(&browser, &secret));
    browser.press("Turn it on");
    browser.sees("Each is good once");
    let codes =
        browser.js("return document.getElementById('recovery').textContent").as_str().unwrap().to_owned();
    let codes: Vec<&str> = codes.split_whitespace().collect();
    assert_eq!(codes.len(), 10, "{codes:?}");
    browser.press("I have kept them");
    browser.sees("Signing in takes a code of your app");
    browser.sees("10 recovery codes are left");

    // Elsewhere the password alone is not enough.
    let other = Browser::at(&app.url);
    other.go("/projects/acme/secrets");
    other.fill("E-mail address", latchstring_testkit::app::EMAIL);
    other.fill("Password", PASSWORD);
    other.press("Sign in");
    other.sees("The six digits that your app shows now");
    other.go("/projects");
    other.sees("Sign in");
    other.sees_not("Acme");
    other.go("/projects/acme/secrets");
    other.fill("E-mail address", latchstring_testkit::app::EMAIL);
    other.fill("Password", PASSWORD);
    other.press("Sign in");
    other.fill("Code", "000000");
    other.press("Go on");
    other.sees("The code is not right");
    other.fill("Code", codes[0]);
    other.press("Go on");
    other.is_at("/projects/acme/secrets");
    other.go("/account/totp");
    other.sees("9 recovery codes are left");
    other.press("Remove the second factor");
    other.sees("The second factor is removed");
    other.sees("Signing in takes a password alone");
}

#[test]
fn an_invited_person_comes_in() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/people");
    browser.js("document.getElementById('f-email').value = 'nora@example.com'");
    browser.press("Make the invitation");
    browser.sees("The invitation of nora@example.com");
    let link = browser.js("return document.getElementById('link').textContent").as_str().unwrap().to_owned();
    let nora = Browser::at(&app.url);
    nora.go(&link);
    nora.sees("You were invited as nora@example.com");
    nora.fill("Password", PASSWORD);
    nora.press("Come in");
    nora.sees("You are in no project yet");
    // A person that is not a superuser finds none of their pages.
    nora.go("/people");
    nora.sees("Only a superuser may do that");
    nora.go("/instance");
    nora.sees("Only a superuser may do that");
}

#[test]
fn an_oauth_client_is_made_as_a_draft_and_finished() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/oauth-clients/new?connector=google_drive&project=acme");
    browser.fill("Name", "Google");
    browser.press("Save the client");
    browser.sees("The OAuth client is saved");
    browser.sees("draft");
    let uri = browser.js("return document.getElementById('uri').textContent").as_str().unwrap().to_owned();
    assert!(uri.starts_with(&format!("{}/oauth/callback/oac_", app.url)), "{uri}");
    browser.fill("Client id", "our-client-id");
    browser.fill("Client secret", "planted-client-secret");
    browser.press("Save the client");
    // The page of before says already that it is saved.
    browser.until("a client that is no draft any more", |browser| {
        browser.js("return document.querySelector('h1 .badge')").is_null().then_some(())
    });
    browser.sees("The OAuth client is saved");
    assert!(!browser.html().contains("planted-client-secret"));
    // It is offered where a credential is made.
    browser.go("/projects/acme/credentials/new?connector=google_drive");
    browser.sees_not("nobody has set one up yet");
}
