//! A browser, and what a person does with it.

use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use latchstring_testkit::TestApp;
use latchstring_testkit::app::{EMAIL, PASSWORD};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::driver::{self, Place};

/// How long something may take to come about on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Browser {
    client: Option<Client>,
    runtime: Runtime,
    base: String,
    _place: Place,
}

/// What chromedriver has beside the standard.
#[derive(Debug)]
struct Own {
    path: &'static str,
    body: Value,
}

impl Own {
    /// The DevTools protocol, as chromedriver passes it on.
    fn devtools(command: &'static str, parameters: Value) -> Self {
        Self { path: "goog/cdp/execute", body: json!({"cmd": command, "params": parameters}) }
    }

    /// What the console said since it was read last.
    fn console() -> Self {
        Self { path: "se/log", body: json!({"type": "browser"}) }
    }
}

impl WebDriverCompatibleCommand for Own {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        let mut url = base.clone();
        url.set_path(&format!("/session/{}/{}", session.unwrap_or_default(), self.path));
        Ok(url)
    }

    fn method_and_body(&self, _: &url::Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

/// A text as a literal of XPath 1.0, which knows no escapes.
fn literal(text: &str) -> String {
    if !text.contains('"') {
        return format!("\"{text}\"");
    }
    let parts: Vec<String> = text.split('"').map(|part| format!("\"{part}\"")).collect();
    format!("concat({})", parts.join(", '\"', "))
}

fn field_of(label: &str) -> String {
    let label = literal(label);
    format!(
        "//*[@id = //label[starts-with(normalize-space(.), {label})]/@for] | //label[starts-with(normalize-space(.), {label})]//input"
    )
}

/// The element was of a page that is gone: nothing was done with it.
fn is_of_another_page(error: &CmdError) -> bool {
    error.is_stale_element_reference() || error.is_no_such_element()
}

impl Browser {
    /// At `base`, signed in as nobody, 1600 × 1000.
    pub fn at(base: &str) -> Self {
        let place = Place::wait();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // Everything in it runs as root in a container: Chromium's own sandbox cannot.
        let options = json!({
            "binary": "/usr/bin/chromium",
            "args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1600,1000",
                "--hide-scrollbars", "--lang=en-GB", "--no-first-run", "--disable-background-networking",
                // Pages of others ask for fonts and the like: nothing beyond this machine is looked up.
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"],
        });
        let capabilities = [
            ("goog:chromeOptions".to_owned(), options),
            ("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"})),
        ];
        let client = runtime
            .block_on(
                ClientBuilder::new(HttpConnector::new())
                    .capabilities(capabilities.into_iter().collect())
                    .connect(driver::url()),
            )
            .expect("the driver starts a browser");
        let browser = Self { client: Some(client), runtime, base: base.to_owned(), _place: place };
        browser.width(1600);
        browser
    }

    /// Signed in as the test kit's first person, or as another one with its password.
    pub fn signed_in(app: &TestApp, email: &str) -> Self {
        let browser = Self::at(&app.url);
        browser.sign_in(app, email);
        browser
    }

    /// Signed in as the first person.
    pub fn ada(app: &TestApp) -> Self {
        Self::signed_in(app, EMAIL)
    }

    /// Puts a session's cookie into the browser, without the form.
    pub fn sign_in(&self, app: &TestApp, email: &str) {
        let body = json!({"email": email, "password": PASSWORD});
        let answer = latchstring_testkit::http::post_json(&app.at("/api/v1/session"), &body);
        assert_eq!(answer.status, 204, "{}", answer.text());
        let cookie = answer.header("set-cookie").and_then(|text| text.split(';').next()).expect("a session");
        let (name, value) = cookie.split_once('=').expect("a cookie");
        self.cookie(name, value);
    }

    pub fn cookie(&self, name: &str, value: &str) {
        // As the server sets it.
        let set = json!({
            "name": name, "value": value, "url": self.base, "path": "/", "sameSite": "Lax", "httpOnly": true,
        });
        assert_eq!(self.devtools("Network.setCookie", set)["success"], true);
    }

    pub(crate) fn client(&self) -> &Client {
        self.client.as_ref().expect("it is open")
    }

    pub(crate) fn wait_for<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }

    pub fn devtools(&self, command: &'static str, parameters: Value) -> Value {
        let command = Own::devtools(command, parameters);
        self.wait_for(self.client().issue_cmd(command)).expect("the browser takes the command")
    }

    /// Errors of our pages that the console told of since this was asked last, those of the policy among them. That the
    /// page itself was answered with a refusal is none.
    pub fn faults(&self) -> Vec<String> {
        let said = self.wait_for(self.client().issue_cmd(Own::console())).expect("the console can be read");
        let url = self.url();
        let page = format!("{} - Failed to load resource", url.split('#').next().unwrap_or_default());
        let entries = said.as_array().expect("a list of entries").iter();
        entries
            .filter_map(|entry| Some((entry["level"].as_str()?, entry["message"].as_str()?)))
            .filter(|(level, message)| *level == "SEVERE" || message.contains("Content Security Policy"))
            .filter(|(_, message)| !message.starts_with("http") || message.starts_with(&self.base))
            .filter(|(_, message)| !message.starts_with(&page))
            .map(|(_, message)| message.to_owned())
            .collect()
    }

    /// A path of the server, or a whole address.
    pub fn go(&self, path: &str) {
        let url = if path.starts_with('/') { format!("{}{path}", self.base) } else { path.to_owned() };
        self.wait_for(self.client().goto(&url)).unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Waits until everything that scripts make handier on this page of ours has begun: it comes after the page itself.
    #[track_caller]
    pub fn started(&self) {
        self.until("the scripts have started", |browser| {
            let started = browser.js("return document.documentElement.dataset.started === ''");
            (started == true).then_some(())
        });
    }

    pub fn reload(&self) {
        self.wait_for(self.client().refresh()).expect("a page can be loaded again");
    }

    pub fn url(&self) -> String {
        self.wait_for(self.client().current_url()).expect("there is an address").to_string()
    }

    /// Without the server's own part.
    pub fn path(&self) -> String {
        let url = self.url();
        url.strip_prefix(&self.base).unwrap_or(&url).to_owned()
    }

    pub fn title(&self) -> String {
        self.wait_for(self.client().title()).expect("a page has a title")
    }

    pub fn html(&self) -> String {
        self.wait_for(self.client().source()).expect("a page has a source")
    }

    /// What can be read on the page; nothing while one page goes and the next is not there yet.
    pub fn text(&self) -> String {
        let read = self.try_js("return document.body?.innerText");
        read.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Nothing while one page goes and the next is not there yet.
    pub(crate) fn try_js(&self, script: &str) -> Option<Value> {
        self.wait_for(self.client().execute(script, Vec::new())).ok()
    }

    pub fn js(&self, script: &str) -> Value {
        self.js_with(script, Vec::new())
    }

    pub fn js_with(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.wait_for(self.client().execute(script, arguments))
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    pub fn js_async(&self, script: &str) -> Value {
        self.js_async_with(script, Vec::new())
    }

    pub fn js_async_with(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.wait_for(self.client().execute_async(script, arguments))
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Looks until it is so.
    #[track_caller]
    pub fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            if began.elapsed() > PATIENCE {
                panic!("{what}: not within {} s on {}:\n{}", PATIENCE.as_secs(), self.url(), self.text());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    pub fn sees(&self, text: &str) {
        self.until(&format!("sees {text:?}"), |browser| browser.text().contains(text).then_some(()));
    }

    #[track_caller]
    pub fn sees_not(&self, text: &str) {
        let page = self.text();
        assert!(!page.contains(text), "{text:?} is on {}:\n{page}", self.url());
    }

    #[track_caller]
    pub fn is_at(&self, path: &str) {
        self.until(&format!("is at {path}"), |browser| (browser.path() == path).then_some(()));
    }

    fn found(&self, xpath: &str) -> Option<Element> {
        let all = self.wait_for(self.client().find_all(Locator::XPath(xpath))).ok()?;
        all.into_iter().find(|one| self.wait_for(one.is_displayed()).unwrap_or(false))
    }

    #[track_caller]
    fn find(&self, what: &str, xpath: &str) -> Element {
        self.until(what, |browser| browser.found(xpath))
    }

    /// Finds it and does something with it: once more where the page went away between the two, as a person looks again
    /// for what is there no longer.
    #[track_caller]
    fn with<T, F>(&self, what: &str, xpath: &str, deed: impl Fn(Element) -> F) -> T
    where
        F: Future<Output = Result<T, CmdError>>,
    {
        self.until(what, |browser| match browser.wait_for(deed(browser.found(xpath)?)) {
            Ok(done) => Some(done),
            Err(error) if is_of_another_page(&error) => None,
            Err(error) => panic!("{what}: {error}"),
        })
    }

    /// The field whose label begins with these words.
    #[track_caller]
    pub fn field(&self, label: &str) -> Element {
        self.find(&format!("a field {label:?}"), &field_of(label))
    }

    #[track_caller]
    pub fn fill(&self, label: &str, value: &str) {
        self.with(&format!("a field {label:?}"), &field_of(label), |field| async move {
            field.clear().await?;
            field.send_keys(value).await
        });
    }

    /// A field of somebody else's page, which says in the field itself what it wants.
    #[track_caller]
    pub fn fill_inside(&self, placeholder: &str, value: &str) {
        let xpath = format!("//input[@placeholder = {}]", literal(placeholder));
        self.with(&format!("a field with {placeholder:?} in it"), &xpath, |field| async move {
            field.clear().await?;
            field.send_keys(value).await
        });
    }

    #[track_caller]
    pub fn value(&self, label: &str) -> String {
        self.wait_for(self.field(label).prop("value")).expect("a field has a value").unwrap_or_default()
    }

    /// What is said beside a field that is wrong.
    #[track_caller]
    pub fn wrong(&self, label: &str) -> String {
        self.until(&format!("something wrong with {label}"), |browser| {
            let field = browser.field(label);
            let id = browser.wait_for(field.attr("id")).ok()??;
            let error = browser.js_with(
                "return document.getElementById(arguments[0] + '-error')?.innerText ?? ''",
                vec![json!(id)],
            );
            Some(error.as_str()?.trim().to_owned()).filter(|text| !text.is_empty())
        })
    }

    #[track_caller]
    pub fn choose(&self, label: &str, option: &str) {
        let field = self.field(label);
        self.wait_for(field.select_by_label(option)).unwrap_or_else(|error| panic!("{label}: {error}"));
    }

    /// Ticks a box or a radio button that is not ticked.
    #[track_caller]
    pub fn tick(&self, label: &str) {
        let field = self.field(label);
        if !self.wait_for(field.is_selected()).expect("a box") {
            self.click(&field, label);
        }
    }

    #[track_caller]
    pub fn untick(&self, label: &str) {
        let field = self.field(label);
        if self.wait_for(field.is_selected()).expect("a box") {
            self.click(&field, label);
        }
    }

    #[track_caller]
    fn click(&self, element: &Element, what: &str) {
        let clicked: Result<(), CmdError> = self.wait_for(element.click());
        clicked.unwrap_or_else(|error| panic!("{what}: {error}"));
    }

    /// A button or link with these words; the first that can be seen.
    #[track_caller]
    pub fn press(&self, words: &str) {
        let text = literal(words);
        let xpath = format!(
            "(//button | //a)[normalize-space(.) = {text}] | //summary[starts-with(normalize-space(.), {text})]"
        );
        self.with(&format!("a button {text}"), &xpath, |element| async move { element.click().await });
    }

    /// A button whose words begin so, within the part of the page whose text holds `near`.
    #[track_caller]
    pub fn press_near(&self, near: &str, words: &str) {
        let (near, text) = (literal(near), literal(words));
        let part =
            format!("(//li | //tr | //section | //article | //form)[contains(normalize-space(.), {near})]");
        let xpath = format!(
            "({part}//*[self::button or self::a or self::summary][starts-with(normalize-space(.), {text})])[last()]"
        );
        self.with(
            &format!("a button {text} near {near}"),
            &xpath,
            |element| async move { element.click().await },
        );
    }

    /// As a person who lets the page use it.
    pub fn allow_clipboard(&self) {
        let permissions = json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]});
        self.devtools("Browser.grantPermissions", permissions);
    }

    /// What is stored on the clipboard.
    pub fn clipboard(&self) -> String {
        let read = "const done = arguments[0]; navigator.clipboard.readText().then(done, (error) => done(String(error)))";
        self.js_async(read).as_str().unwrap_or_default().to_owned()
    }

    pub fn keys(&self, keys: &str) {
        let active = self.wait_for(self.client().active_element()).expect("something has the focus");
        self.wait_for(active.send_keys(keys)).expect("keys can be pressed");
    }

    /// The words of what has the focus.
    pub fn focused(&self) -> String {
        let name = "const e = document.activeElement; return (e.labels?.[0]?.innerText ?? e.getAttribute('aria-label') ?? e.innerText ?? '').trim()";
        self.js(name).as_str().unwrap_or_default().to_owned()
    }

    /// As wide as a phone, or as a large screen.
    pub fn width(&self, width: u32) {
        let height = if width < 600 { 844 } else { 1000 };
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// What the system asks for.
    pub fn prefers(&self, feature: &str, value: &str) {
        let features = json!({"features": [{"name": feature, "value": value}]});
        self.devtools("Emulation.setEmulatedMedia", features);
    }

    /// How the reader writes times, and where they live.
    pub fn reader(&self, locale: &str, zone: &str) {
        self.devtools("Emulation.setLocaleOverride", json!({"locale": locale}));
        self.devtools("Emulation.setTimezoneOverride", json!({"timezoneId": zone}));
    }

    pub fn scripts(&self, on: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({"value": !on}));
    }

    /// The address of what the page's first frame shows, and what can be read there.
    pub fn inside_frame(&self) -> String {
        self.wait_for(self.client().enter_frame(0)).expect("there is a frame");
        let inside = self.js("return location.href + '\\n' + (document.body?.innerText ?? '')");
        self.wait_for(self.client().enter_parent_frame()).expect("a frame is in a page");
        inside.as_str().unwrap_or_default().to_owned()
    }

    pub fn windows(&self) -> Vec<fantoccini::wd::WindowHandle> {
        self.wait_for(self.client().windows()).expect("there are windows")
    }

    pub fn switch_to(&self, window: fantoccini::wd::WindowHandle) {
        self.wait_for(self.client().switch_to_window(window)).expect("the window is there");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            if std::thread::panicking()
                && let Ok(url) = self.runtime.block_on(client.current_url())
            {
                eprintln!("| the browser was at {url}");
            }
            // It may have crashed, which is why the test ends.
            let _ = self.runtime.block_on(client.close());
        }
    }
}
