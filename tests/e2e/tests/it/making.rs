//! Credentials are made, checked, changed, shared and ended.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Sender, channel};

use latchstring_e2e::Browser;
use latchstring_e2e::keyboard::{ALL, ENTER, SPACE, TAB};
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

/// A JSON object, whole; with a request of its own it can be called.
#[test]
fn a_raw_object_is_a_credential() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/credentials/new?connector=raw");
    browser.fill("Name", "Whole object");
    let object = serde_json::json!({
        "baseUrl": scene::sandbox(&app), "apiKey": DEMO.api_key, "request": {"headers": {"X-API-Key": "{{ apiKey }}"}},
    });
    let text = serde_json::to_string_pretty(&object).unwrap();
    // What is wrong is told with its place, and nothing of what was typed is repeated.
    let broken = text.replace("\"apiKey\":", "\"apiKey\"");
    browser.fill("JSON object", &broken);
    browser.press("Check and save");
    browser.sees("In these lines");
    browser.sees_not(DEMO.api_key);
    let line = broken.lines().position(|line| line.contains("apiKey\" ")).expect("a line") + 1;
    let place =
        browser.js("return document.querySelector('.mistakes a').innerText").as_str().unwrap().to_owned();
    assert!(place.starts_with(&format!("Line {line},")), "{place}");
    browser.press(&place);
    let marked =
        "const a = document.activeElement; return a.value.slice(0, a.selectionStart).split('\\n').length";
    assert_eq!(browser.js(marked), line, "the cursor is in that line");
    assert_eq!(browser.value("JSON object"), broken, "what was typed stays");
    browser.fill("JSON object", "[1, 2]");
    browser.press("Check and save");
    browser.until("an object is asked for", |browser| {
        browser.wrong("JSON object").contains("A JSON object is needed").then_some(())
    });
    browser.fill("JSON object", &text);
    // Looked at and tried before it is saved.
    browser.press("Preview the request");
    browser.sees("What would be sent");
    browser.sees("x-api-key: ");
    browser.sees_not(DEMO.api_key);
    browser.fill("Path to ask", "/v1/people");
    browser.press("Test it");
    browser.sees("Raw accepts it");
    browser.sees("/v1/people");
    browser.sees_not(DEMO.api_key);
    assert_eq!(browser.value("JSON object"), text, "what was typed stays");
    browser.press("Check and save");
    browser.until("it is saved", |browser| browser.path().starts_with("/credentials/crd_").then_some(()));
    assert!(!browser.html().contains(DEMO.api_key));
    let made = one(&app, "Whole object");
    assert_eq!(made["connector"], "raw", "{made}");
    let answer = app.get("whole-object/v1/people");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A file that is dropped on the field takes the place of a paste.
#[test]
fn a_key_file_is_dropped_on_its_field() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/credentials/new?connector=sandbox&method=oauth2_jwt_bearer");
    browser.fill("Name", "From a file");
    browser.fill("Base URL", &scene::sandbox(&app));
    let drop = |text: &str| {
        let script = "
            const [text] = arguments;
            const place = document.querySelector('textarea[name=\"/values/default/private_key\"]').closest('.drop');
            const data = new DataTransfer();
            data.items.add(new File([text], 'server.pem', {type: 'application/x-pem-file'}));
            const event = (name) => new DragEvent(name, {dataTransfer: data, bubbles: true, cancelable: true});
            const taken = !place.dispatchEvent(event('dragover'));
            const marked = place.classList.contains('over');
            place.dispatchEvent(event('drop'));
            return [taken, marked, place.classList.contains('over')];";
        browser.js_with(script, vec![text.into()])
    };
    assert_eq!(drop(DEMO.private_key), serde_json::json!([true, true, false]));
    browser.until("the file is in the field", |browser| {
        (browser.value("Private key").trim() == DEMO.private_key.trim()).then_some(())
    });
    assert_eq!(browser.focused().lines().next(), Some("Private key"), "one goes on from there");
    // One that no value can be leaves what is there, and says so.
    drop(&"x".repeat(64 * 1024 + 1));
    assert!(browser.wrong("Private key").contains("more than 64 KiB"));
    assert_eq!(browser.value("Private key").trim(), DEMO.private_key.trim());
    browser.press("Check and save");
    browser.sees("The credential works");
    assert_eq!(app.get("from-a-file/v1/me").status, 200);
}

#[test]
fn a_credential_is_made_with_the_keyboard_alone() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/credentials");
    browser.tab_to("Try it with the sandbox");
    browser.keys(ENTER);
    browser.sees("How does Sandbox let you in?");
    browser.tab_to("API key");
    browser.keys(ENTER);
    browser.sees("New credential for Sandbox");
    browser.tab_to("Name");
    browser.keys(ALL);
    browser.keys("By keyboard");
    browser.tab_to("staging");
    browser.keys(SPACE);
    browser.tab_to("API key");
    browser.keys("a-wrong-key");
    browser.keys(ENTER);
    browser.sees("Sandbox does not accept it");
    assert!(
        browser.focused().contains("Sandbox does not accept it"),
        "the result has the focus: {}",
        browser.focused()
    );
    browser.js("document.getElementById('main').focus()");
    browser.tab_to("API key");
    browser.keys(ALL);
    browser.keys(DEMO.api_key);
    browser.tab_to("Check and save");
    browser.keys(ENTER);
    browser.sees("The credential works and is saved");
    browser.tab_to("Make the key");
    browser.keys(ENTER);
    browser.sees("It is shown now and never again");
    let made = one(&app, "By keyboard");
    assert_eq!(made["shares"][0]["grants"], serde_json::json!({"production": "default"}), "{made}");
}

#[test]
fn values_and_sharing_are_changed_without_a_script() {
    let app = latchstring_e2e::app();
    let id = scene::works(&app);
    app.done("POST", "/projects", &serde_json::json!({"slug": "second", "name": "Second"}), 201);
    let browser = Browser::ada(&app);
    browser.scripts(false);
    browser.go(&format!("/credentials/{id}?project=acme"));
    browser.press_near("default", "Check now");
    browser.sees("The API accepted it");
    browser.sees_not(DEMO.api_key);
    browser.press_near("default", "Change values");
    browser.fill("API key", "a-wrong-key");
    browser.press("Check and save");
    browser.sees("does not accept");
    assert!(!browser.html().contains("a-wrong-key"));
    browser.fill("API key", DEMO.read_only_api_key);
    browser.press("Check and save");
    browser.sees("The change is saved");
    let read = || app.done("GET", &format!("/credentials/{id}"), &Value::Null, 200);
    assert_eq!(read()["environments"]["default"]["version"], 2);

    browser.press("Change sharing");
    browser.choose("staging", "Nothing");
    browser.press("Save the sharing");
    browser.sees("The change is saved");
    assert_eq!(read()["shares"][0]["grants"], serde_json::json!({"production": "default"}));
    browser.press("Change sharing");
    browser.choose("Share with another project", "Second");
    browser.press("Add");
    browser.sees("New");
    browser.press("Save the sharing");
    browser.sees("The change is saved");
    assert_eq!(read()["shares"].as_array().unwrap().len(), 2, "{}", read());
    browser.press("Edit details");
    browser.fill("Note", "Ask Grace.");
    browser.press("Save");
    browser.sees("Ask Grace.");
    browser.press("Disable");
    browser.sees("nobody can use it now");
    assert_eq!(read()["disabled"], true);
}

/// An API that answers when it is told to, with the status that it is told.
fn slow_api() -> (String, Sender<u16>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (answer, told) = channel::<u16>();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let Ok(status) = told.recv() else { return };
            let head = format!(
                "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
            );
            let _ = stream.write_all(head.as_bytes());
        }
    });
    (url, answer)
}

#[test]
fn a_slow_check_shows_that_it_goes_on() {
    let app = latchstring_e2e::app();
    let (api, answer) = slow_api();
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/credentials/new?connector=http&method=bearer");
    browser.fill("Name", "Slow");
    browser.fill("Base URL", &api);
    browser.fill("Test path", "/me");
    browser.fill("Token", "planted-slow-token");
    // The progress that can be seen, what it has counted, and the buttons that cannot be pressed meanwhile.
    let shown = |browser: &Browser| {
        let told = browser.js("const form = document.querySelector('form[data-stay]');
            const progress = form.querySelector('[data-progress]');
            const buttons = [...form.querySelectorAll('button[type=submit]')];
            return [progress.checkVisibility(), Number(progress.querySelector('[data-seconds]').textContent),
                buttons.filter((one) => one.disabled).length, buttons.length]");
        let number = |at: usize| told[at].as_u64().unwrap();
        (told[0] == true, number(1), number(2) == number(3), number(2))
    };
    assert_eq!((shown(&browser).0, shown(&browser).3), (false, 0));
    for (status, says) in [(401, "HTTP does not accept it"), (200, "The credential works and is saved")] {
        browser.press("Check and save");
        let busy = browser.until("it counts", |browser| Some(shown(browser)).filter(|shown| shown.1 >= 2));
        assert!(busy.0 && busy.2, "{busy:?}");
        browser.sees("Asking the API…");
        browser.sees_not(says);
        if status == 401 {
            // It is told too, and nothing stands in anybody's way.
            assert!(browser.js("return document.getElementById('said').textContent") != "");
            browser.has_no_barriers();
        }
        answer.send(status).unwrap();
        browser.sees(says);
        if status == 401 {
            browser.until("it is over", |browser| {
                let shown = shown(browser);
                (!shown.0 && shown.3 == 0).then_some(())
            });
            assert_eq!(browser.value("Token"), "planted-slow-token", "what was typed stays");
        }
    }
    assert_eq!(one(&app, "Slow")["name"], "Slow");
}

/// What cannot be right is told when one goes on to the next field, and nothing is sent for it.
#[test]
fn a_hint_comes_before_anything_is_sent() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/credentials/new?connector=airtable&method=token");
    browser.started();
    let field = "Personal access token";
    let state = |browser: &Browser| {
        let script = "const one = document.querySelector('[name=\"/values/default/token\"]');
            return [one.getAttribute('aria-invalid'), document.getElementById(one.id + '-error').innerText.trim()]";
        let told = browser.js(script);
        (told[0] == "true", told[1].as_str().unwrap().to_owned())
    };
    assert_eq!(state(&browser), (false, String::new()));
    for (typed, fits) in
        [("key0123456789", false), ("patAbc.0123", true), ("{{ get_secret('airtable') }}", true)]
    {
        browser.fill(field, typed);
        browser.keys(TAB);
        let (wrong, said) = state(&browser);
        assert_eq!((wrong, said.contains("begins with pat")), (!fits, !fits), "{typed}: {said}");
        browser.has_no_barriers();
    }
    assert_eq!(
        app.done("GET", "/credentials?project=acme", &Value::Null, 200)["items"],
        serde_json::json!([])
    );
}

/// A secret is hidden until whoever types it wants to see it.
#[test]
fn a_secret_is_shown_while_it_is_typed() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/credentials/new?connector=sandbox&method=api_key");
    browser.started();
    browser.fill("API key", "sk-planted-secret");
    let shown = |browser: &Browser| {
        let script = "const one = document.querySelector('[name=\"/values/default/key\"]');
            return [one.type, one.value, one.parentElement.querySelector('button').getAttribute('aria-pressed')]";
        browser.js(script)
    };
    assert_eq!(shown(&browser), serde_json::json!(["password", "sk-planted-secret", "false"]));
    browser.press("Show API key");
    assert_eq!(shown(&browser), serde_json::json!(["text", "sk-planted-secret", "true"]));
    browser.has_no_barriers();
    browser.press("Hide API key");
    assert_eq!(shown(&browser), serde_json::json!(["password", "sk-planted-secret", "false"]));
    // With the keyboard too.
    browser.js("document.querySelector('[name=\"/values/default/key\"]').focus()");
    browser.tab_to("Show");
    browser.keys(SPACE);
    assert_eq!(shown(&browser)[0], "text");
}

/// The button comes with a script, which may be late: whoever types already goes on typing.
#[test]
fn a_field_that_gets_its_button_keeps_the_focus() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/credentials/new?connector=sandbox&method=api_key");
    browser.started();
    let script = "const [done] = arguments;
        const late = Object.assign(document.createElement('input'), {id: 'late', type: 'password', value: 'planted'});
        late.dataset.secret = '';
        document.querySelector('main form').append(late);
        late.focus();
        late.setSelectionRange(3, 5);
        const own = document.querySelector('script[type=module]').src;
        import(new URL('./fields.js?late', own)).then((fields) => {
          fields.start();
          done([document.activeElement.id, late.selectionStart, late.selectionEnd, late.parentElement.className]);
        }, (error) => done(String(error)));";
    assert_eq!(browser.js_async(script), serde_json::json!(["late", 3, 5, "with-button"]));
}
