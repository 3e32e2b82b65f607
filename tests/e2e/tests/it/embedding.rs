//! An end user of a product connects an account: from the product's own page, in a window. The product is at `localhost`
//! and the server at `127.0.0.1`: another port, another host, and for a browser another site.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use latchstring_e2e::Browser;
use latchstring_sandbox::DEMO;
use latchstring_testkit::{TestApp, http};
use serde_json::{Value, json};

use crate::scene;

/// `examples/embed`, as a product's server runs it.
struct Example {
    child: Child,
    url: String,
    /// What it has printed since it said where it is.
    said: Receiver<String>,
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Example {
    fn start(app: &TestApp) -> Self {
        Self::hearing(app, "")
    }

    /// With the secret of a webhook.
    fn hearing(app: &TestApp, secret: &str) -> Self {
        let key =
            app.done("POST", "/projects/acme/api-keys", &json!({"name": "shop", "scope": "manage"}), 201);
        let mut child = Command::new("node")
            .arg(latchstring_testkit::root().join("examples/embed/server.mjs"))
            .envs([
                ("LATCHSTRING_URL", app.url.as_str()),
                ("LATCHSTRING_API_KEY", key["key"].as_str().unwrap()),
                ("WEBHOOK_SECRET", secret),
                ("PORT", "0"),
                ("HOST", "localhost"),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is installed (cargo xtask setup)");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().expect("it says where it is").unwrap();
        let url = line.trim().strip_prefix("The example listens on ").expect("it says where").to_owned();
        assert!(url.starts_with("http://localhost:") && app.url.starts_with("http://127.0.0.1:"), "{url}");
        let (tell, said) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, url, said }
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

/// The product's server hears of it by a signed message, and of nothing that is not signed so.
#[test]
fn the_example_hears_of_it_by_a_signed_webhook() {
    let app = latchstring_e2e::app();
    // The example has a port once it runs, and runs with the secret.
    let hook = json!({"url": "http://127.0.0.1:9/hook", "events": ["credential.connected"]});
    let hook = app.done("POST", "/projects/acme/webhooks", &hook, 201);
    let example = Example::hearing(&app, hook["secret"].as_str().unwrap());
    let at = format!("{}/hook", example.under_another_name());
    let path = format!("/projects/acme/webhooks/{}", hook["id"].as_str().unwrap());
    app.done("PATCH", &path, &json!({"url": at}), 200);
    let browser = Browser::at(&example.url);
    let now = browser.js("return String(Math.floor(Date.now() / 1000))");
    let now = now.as_str().unwrap();
    let forged = br#"{"type":"credential.connected","data":{"credential":{"id":"crd_forged"}}}"#;
    for signature in ["v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "v1,", ""] {
        let headers = [("webhook-id", "msg_1"), ("webhook-timestamp", now), ("webhook-signature", signature)];
        assert_eq!(http::request("POST", &at, &headers, forged).status, 401, "{signature}");
    }
    browser.go("/");
    browser.press("Connect an account");
    let (page, _) = window(&browser);
    browser.press("API key");
    browser.fill("API key", DEMO.api_key);
    browser.press("Check and connect");
    browser.switch_to(page);
    browser.sees("Connected: sandbox, crd_");
    let list = app.done("GET", "/credentials?project=acme", &Value::Null, 200);
    let id = list["items"][0]["id"].as_str().unwrap();
    // The first line: nothing that was forged was printed.
    let line = example.said.recv_timeout(Duration::from_secs(60)).expect("it hears of it");
    assert_eq!(line, format!("credential.connected: {id} for customer-17"));
}

/// What a page of another origin may not do: act for whoever is signed in here, or show our pages as its own.
#[test]
fn a_page_elsewhere_neither_acts_for_a_person_nor_frames_a_page() {
    let app = latchstring_e2e::app();
    let example = Example::start(&app);
    let browser = Browser::ada(&app);
    // Another site, to which the browser gives no cookie of ours, and another origin of the same site, to which it does.
    for elsewhere in [example.url.clone(), example.under_another_name()] {
        browser.go(&elsewhere);
        browser.sees("Your accounts");
        browser.js_with(
            "const form = document.createElement('form');
            Object.assign(form, {method: 'post', action: arguments[0] + '/projects'});
            for (const [name, value] of [['name', 'Stolen'], ['slug', 'stolen'], ['environments', 'production']]) {
                form.append(Object.assign(document.createElement('input'), {name, value}));
            }
            document.body.append(form);
            setTimeout(() => form.submit(), 0)",
            vec![json!(app.url)],
        );
        browser.until("it is answered", |browser| browser.url().starts_with(&app.at("/")).then_some(()));
        let projects = app.done("GET", "/projects", &Value::Null, 200);
        let slugs: Vec<&str> =
            projects["items"].as_array().unwrap().iter().map(|one| one["slug"].as_str().unwrap()).collect();
        assert_eq!(slugs, ["acme"], "{elsewhere}");

        for (framed, shown) in
            [(format!("{elsewhere}/"), true), (app.at("/sign-in"), false), (app.at("/projects"), false)]
        {
            browser.go(&elsewhere);
            browser.js_async(&format!(
                "const done = arguments[0];
                const frame = document.createElement('iframe');
                frame.addEventListener('load', () => done(null));
                frame.src = {};
                document.body.append(frame)",
                json!(framed)
            ));
            let inside = browser.inside_frame();
            assert_eq!(inside.contains("Your accounts"), shown, "{framed} in {elsewhere}: {inside}");
            if !shown {
                assert!(inside.starts_with("chrome-error:"), "{framed} in {elsewhere}: {inside}");
            }
        }
    }
    // From our own pages the same form makes a project.
    browser.go("/projects/new");
    browser.fill("Name", "Ours");
    browser.press("Make the project");
    browser.is_at("/projects/ours/credentials");
}
