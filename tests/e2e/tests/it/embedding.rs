//! An end user of a product connects an account: from the product's own page, in a window. The product is at `localhost`
//! and the server at `127.0.0.1`: another port, another host, and for a browser another site.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use latchstring_e2e::Browser;
use latchstring_sandbox::DEMO;
use latchstring_testkit::TestApp;
use serde_json::{Value, json};

use crate::scene;

/// `examples/embed`, as a product's server runs it.
struct Example {
    child: Child,
    url: String,
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Example {
    fn start(app: &TestApp) -> Self {
        let key =
            app.done("POST", "/projects/acme/api-keys", &json!({"name": "shop", "scope": "manage"}), 201);
        let mut child = Command::new("node")
            .arg(latchstring_testkit::root().join("examples/embed/server.mjs"))
            .envs([
                ("LATCHSTRING_URL", app.url.as_str()),
                ("LATCHSTRING_API_KEY", key["key"].as_str().unwrap()),
                ("PORT", "0"),
                ("HOST", "localhost"),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is installed (cargo xtask setup)");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("The example listens on ").expect("it says where").to_owned();
        assert!(url.starts_with("http://localhost:") && app.url.starts_with("http://127.0.0.1:"), "{url}");
        Self { child, url }
    }

    /// The same page under the other name of this machine.
    fn under_another_name(&self) -> String {
        self.url.replace("//localhost:", "//127.0.0.1:")
    }
}

/// The window that was opened, once it shows something.
fn window(browser: &Browser) -> (fantoccini::wd::WindowHandle, fantoccini::wd::WindowHandle) {
    let first = browser.until("a window opens", |browser| {
        let windows = browser.windows();
        (windows.len() == 2).then_some(windows)
    });
    let [page, window] = first.try_into().unwrap();
    browser.switch_to(window.clone());
    (page, window)
}

/// From the product's page to the provider's, by the method that people consent to.
fn at_the_provider(browser: &Browser) -> (fantoccini::wd::WindowHandle, fantoccini::wd::WindowHandle) {
    browser.go("/");
    browser.press("Connect an account");
    let windows = window(browser);
    browser.sees("How do you want to connect Sandbox?");
    browser.press_near("A person consents", "Sign in with the sandbox");
    browser.press("Continue and sign in");
    browser.sees("Let Latchstring in?");
    windows
}

#[test]
fn an_account_is_connected_from_another_origin() {
    let app = latchstring_e2e::app();
    let example = Example::start(&app);
    let browser = Browser::at(&example.url);
    browser.go("/");
    browser.press("Connect an account");
    let (page, _) = window(&browser);
    browser.sees("How do you want to connect Sandbox?");
    browser.press("API key");
    browser.sees(&format!("{} alone", example.url));
    browser.fill("API key", "a-wrong-key");
    browser.press("Check and connect");
    browser.sees("Sandbox does not accept it");
    assert_eq!(browser.value("API key"), "a-wrong-key", "nothing typed is lost");
    browser.has_no_barriers();
    browser.fill("API key", DEMO.api_key);
    browser.press("Check and connect");
    // The page closes the window when it was told.
    browser.switch_to(page);
    browser.sees("Connected: sandbox, crd_");
    browser.until("the window is closed", |browser| (browser.windows().len() == 1).then_some(()));
    assert!(!browser.html().contains(DEMO.api_key), "the product never sees it");
    let list = app.done("GET", "/credentials?project=acme", &Value::Null, 200);
    let one = &list["items"][0];
    assert!(browser.text().contains(one["id"].as_str().unwrap()));
    assert_eq!(one["owner"]["type"], "project");
    let view = app.done("GET", &format!("/credentials/{}", one["id"].as_str().unwrap()), &Value::Null, 200);
    let slug = view["shares"][0]["slug"].as_str().unwrap();
    assert_eq!(app.get(&format!("{slug}/v1/people")).status, 200, "the project calls with it");
}

#[test]
fn an_account_is_signed_in_to_from_another_origin() {
    let app = latchstring_e2e::app();
    scene::client(&app);
    let example = Example::start(&app);
    let browser = Browser::at(&example.url);
    let (page, _) = at_the_provider(&browser);
    browser.press("Deny");
    browser.sees("Nothing is connected yet");
    browser.has_no_barriers();
    browser.press("Continue and sign in");
    browser.press("Allow");
    browser.switch_to(page);
    browser.sees("Connected: sandbox, crd_");
    browser.until("the window is closed", |browser| (browser.windows().len() == 1).then_some(()));
    let list = app.done("GET", "/credentials?project=acme", &Value::Null, 200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "the try that was denied is gone");
}

/// What providers do whose sign-in page parts the window from the page that opened it.
#[test]
fn a_window_that_is_cut_off_is_heard_of_all_the_same() {
    let app = latchstring_e2e::app();
    scene::client(&app);
    let example = Example::start(&app);
    let browser = Browser::at(&example.url);
    let (page, _) = at_the_provider(&browser);
    // A page of this server that is shown with `same-origin`, on the way.
    let provider = browser.js("return location.href");
    browser.js_with("location.href = arguments[0]", vec![format!("{}/sign-in", app.url).into()]);
    browser.sees("Sign in");
    browser.js_with("location.href = arguments[0]", vec![provider]);
    browser.press("Allow");
    browser.sees("Sandbox is connected");
    assert_eq!(browser.js("return window.opener === null"), json!(true));
    browser.switch_to(page);
    browser.sees("Connected: sandbox, crd_");
}

#[test]
fn who_closes_the_window_connects_nothing() {
    let app = latchstring_e2e::app();
    let example = Example::start(&app);
    let browser = Browser::at(&example.url);
    browser.go("/");
    browser.press("Connect an account");
    let (page, _) = window(&browser);
    browser.sees("How do you want to connect Sandbox?");
    browser.js("setTimeout(() => window.close(), 50)");
    browser.switch_to(page);
    browser.sees("The window was closed before anything was connected");
}

/// What a page hears that opens the window itself, and what it is answered when it asks for the result.
fn hears(browser: &Browser, page: &str, session: &str) -> [Value; 2] {
    browser.go(page);
    let open = "window.heard = []; addEventListener('message', (event) => heard.push([event.origin, event.data.type])); window.open(arguments[0])";
    browser.js_with(open, vec![session.into()]);
    let (opener, _) = window(browser);
    browser.press("API key");
    browser.fill("API key", DEMO.api_key);
    browser.press("Check and connect");
    browser.sees("Sandbox is connected");
    // The button comes when the page has told whom it tells.
    browser.sees("Close this window");
    browser.has_no_barriers();
    browser.js("setTimeout(() => document.querySelector('[data-close]').click(), 50)");
    browser.switch_to(opener);
    browser.until("the window is closed", |browser| (browser.windows().len() == 1).then_some(()));
    let ask = format!(
        "const done = arguments[0]; fetch({} + '/result').then((answer) => answer.json()).then((said) => done(said.type), () => done('refused'))",
        json!(session)
    );
    [browser.js("return heard"), browser.js_async(&ask)]
}

#[test]
fn another_origin_is_told_nothing() {
    let app = latchstring_e2e::app();
    let example = Example::start(&app);
    let session_for = |origin: &str| {
        let body = json!({
            "project": "acme", "connectors": ["sandbox"], "end_user": {"id": "customer-17"}, "return_origin": origin,
        });
        app.done("POST", "/connect-sessions", &body, 201)["url"].as_str().unwrap().to_owned()
    };
    let browser = Browser::at(&example.url);
    // The page that a session is for is told, under its own name and port.
    let told = hears(&browser, &example.url, &session_for(&example.url));
    assert_eq!(told, [json!([[app.url, "connected"]]), json!("connected")]);
    // The same page under another name, the same name at another port, and a page elsewhere are not.
    let other_port = format!("{}1", example.url.trim_end_matches(|c: char| c != ':'));
    for (page, origin) in [
        (example.under_another_name(), example.url.clone()),
        (example.url.clone(), example.under_another_name()),
        (example.url.clone(), other_port),
        (example.url.clone(), "https://app.example.com".to_owned()),
    ] {
        let told = hears(&browser, &page, &session_for(&origin));
        assert_eq!(told, [json!([]), json!("refused")], "{page} heard what {origin} alone may hear");
    }
}
