//! Every page, in both themes and at two widths: no barrier by axe-core's rules, nothing that hangs over the edge, no
//! fault in the console. With `cargo xtask screenshots` each is also a picture.

use latchstring_e2e::Browser;
use latchstring_sandbox::DEMO;
use latchstring_testkit::app::{EMAIL, PASSWORD};
use latchstring_testkit::{MailServer, OidcProvider, TestApp};
use serde_json::{Value, json};

use crate::scene;

/// What is looked at: a name for pictures, and the path.
struct Look {
    name: &'static str,
    path: String,
}

fn look(name: &'static str, path: impl Into<String>) -> Look {
    Look { name, path: path.into() }
}

/// What is wrong with the page as it is shown, in both themes.
fn wrong_with(browser: &Browser, name: &str, width: u32) -> Vec<String> {
    // Colours change at once.
    browser.prefers("prefers-reduced-motion", "reduce");
    // Before axe-core comes in: what the page itself did.
    let faults = browser.faults().into_iter();
    let mut all: Vec<String> = faults.map(|one| format!("{name} at {width}: {one}")).collect();
    for theme in ["light", "dark"] {
        browser.js_with("document.documentElement.dataset.theme = arguments[0]", vec![json!(theme)]);
        let mut wrong = if theme == "light" { browser.barriers() } else { browser.barriers_of_colour() };
        let over = browser.js("return document.documentElement.scrollWidth - innerWidth").as_i64().unwrap();
        if over > 0 {
            wrong.push(format!("{over} px wider than the window"));
        }
        browser.picture(&format!("{name}-{theme}-{width}"));
        let at = format!("{name} ({}) in {theme} at {width}", browser.path());
        all.extend(wrong.into_iter().map(|one| format!("{at}: {one}")));
    }
    all
}

/// At both widths, since what is hidden is another; and whether the keyboard alone gets to everything.
fn visit(browser: &Browser, pages: &[Look]) {
    let mut wrong = Vec::new();
    browser.faults();
    for width in [1600, 390] {
        browser.width(width);
        for page in pages {
            browser.go(&page.path);
            wrong.extend(wrong_with(browser, page.name, width));
            // Once: where there is little room, menus are folded besides.
            if width == 390 {
                let passed_over = browser.passed_over().into_iter();
                wrong.extend(passed_over.map(|one| format!("{} at {width}: {one}", page.name)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same of what cannot be loaded once more: what a form was answered with, what is shown once.
#[track_caller]
fn state(browser: &Browser, name: &str) {
    let mut wrong = Vec::new();
    for width in [390, 1600] {
        browser.width(width);
        wrong.extend(wrong_with(browser, name, width));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn before_anybody_signed_in() {
    let (app, link) = latchstring_e2e::fresh();
    let browser = Browser::at(&app.url);
    visit(&browser, &[look("not-set-up", "/"), look("set-up", link)]);
}

#[test]
fn outside() {
    let app = latchstring_e2e::app();
    let browser = Browser::at(&app.url);
    let printed = app.setup().run(&["admin", "reset-password", "--email", EMAIL]);
    let printed = String::from_utf8(printed.stdout).expect("a link");
    let reset = format!("/reset/{}", printed.rsplit("/reset/").next().expect("a link").trim());
    let invited = app.done("POST", "/invites", &json!({"email": "nora@example.com"}), 201);
    let invite = invited["url"].as_str().expect("a link").strip_prefix(&app.url).expect("of this server");
    visit(
        &browser,
        &[
            look("sign-in", "/sign-in"),
            look("refused", "/nothing-here"),
            look("docs-errors", "/docs/errors"),
            look("forgotten", "/forgotten"),
            look("reset", reset),
            look("reset-void", "/reset/not-a-link"),
            look("invite", invite),
        ],
    );
    browser.go("/sign-in");
    browser.fill("E-mail address", EMAIL);
    browser.fill("Password", "not her password");
    browser.press("Sign in");
    browser.sees("do not fit together");
    state(&browser, "sign-in-refused");
}

/// Where a mail can be sent, a forgotten password is asked for by it.
#[test]
fn a_link_is_asked_for_by_mail() {
    let mails = MailServer::start();
    let app = latchstring_e2e::setup()
        .set("LATCHSTRING_SMTP_URL", format!("smtp://127.0.0.1:{}", mails.port()))
        .set("LATCHSTRING_MAIL_FROM", "latchstring@example.com")
        .start();
    let browser = Browser::at(&app.url);
    browser.go("/forgotten");
    browser.fill("E-mail address", EMAIL);
    browser.press("Send the link");
    browser.sees("Look into your mail");
    state(&browser, "forgotten-sent");
}

/// Where there is a provider to sign in at.
#[test]
fn with_a_provider() {
    let oidc = OidcProvider::start();
    let app = latchstring_e2e::setup()
        .set("LATCHSTRING_OIDC_ISSUER", oidc.issuer())
        .set("LATCHSTRING_OIDC_CLIENT_ID", OidcProvider::CLIENT_ID)
        .set("LATCHSTRING_OIDC_CLIENT_SECRET", OidcProvider::CLIENT_SECRET)
        .set("LATCHSTRING_OIDC_NAME", "Acme ID")
        .start();
    oidc.redirect_to(OidcProvider::CLIENT_ID, &app.at("/sign-in/callback"));
    let browser = Browser::at(&app.url);
    visit(&browser, &[look("sign-in-provider", "/sign-in")]);
    // Nobody has made an account for alice.
    browser.go("/sign-in");
    browser.press("Sign in with Acme ID");
    browser.sees("nobody has made an account for you");
    state(&browser, "sign-in-provider-refused");
    browser.sign_in(&app, EMAIL);
    visit(
        &browser,
        &[
            look("account-identities-empty", "/account/identities"),
            look("confirm", "/confirm?return_to=%2Faccount"),
        ],
    );
    browser.go("/account/identities");
    browser.press("Link it with Acme ID");
    browser.sees("Next: Acme ID");
    state(&browser, "to-provider");
    browser.press("Go on to Acme ID");
    browser.sees("alice@example.com");
    visit(&browser, &[look("account-identities", "/account/identities")]);
}

/// A second factor: offered, confirmed, and asked for.
#[test]
fn a_second_factor() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    visit(&browser, &[look("account-totp-none", "/account/totp")]);
    browser.go("/account/totp");
    browser.press("Set up a second factor");
    browser.sees("Read this with an authenticator app");
    state(&browser, "account-totp-offer");
    let secret = scene::totp_secret(&browser);
    browser.fill("The code that the app shows now", "000000");
    browser.press("Turn it on");
    assert!(!browser.wrong("The code that the app shows now").is_empty());
    state(&browser, "account-totp-again");
    browser.fill("The code that the app shows now", &scene::totp(&browser, &secret));
    browser.press("Turn it on");
    browser.sees("Recovery codes");
    state(&browser, "account-recovery-codes");
    visit(&browser, &[look("account-totp", "/account/totp")]);
    let other = Browser::at(&app.url);
    other.go("/sign-in");
    other.fill("E-mail address", EMAIL);
    other.fill("Password", PASSWORD);
    other.press("Sign in");
    other.sees("Second factor");
    visit(&other, &[look("sign-in-code", other.path())]);
    other.go(&other.path());
    other.fill("Code", "000000");
    other.press("Go on");
    other.sees("The code is not right");
    state(&other, "sign-in-code-refused");
}

#[test]
fn projects() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    visit(
        &browser,
        &[
            look("projects", "/projects"),
            look("project-new", "/projects/new"),
            look("project-settings", "/projects/acme/settings"),
        ],
    );
    // What an environment holds goes only when that is said.
    app.done("PUT", "/projects/acme/environments/staging/variables/tenant", &json!({"value": "t-17"}), 204);
    browser.go("/projects/acme/settings");
    browser.js("document.querySelector('[name=environments]').value = 'production'");
    browser.press("Save");
    browser.sees("With staging would go");
    state(&browser, "project-settings-in-use");
}

/// Somebody who has an account and nothing else.
#[test]
fn who_is_in_no_project() {
    let app = latchstring_e2e::app();
    app.person("nora@example.com", "viewer");
    app.done("DELETE", "/projects/acme/members/nora@example.com", &Value::Null, 204);
    let nora = Browser::signed_in(&app, "nora@example.com");
    visit(&nora, &[look("projects-none", "/projects"), look("notices-empty", "/notices")]);
    nora.go("/projects");
    nora.sees("You are in no project yet");
    nora.go("/notices");
    nora.sees("Nothing to tell");
}

#[test]
fn an_empty_project() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    let base = "/projects/acme/credentials";
    visit(
        &browser,
        &[
            look("credentials-empty", base),
            look("credentials-mine-empty", "/credentials"),
            look("connector-choose", format!("{base}/new?q=git")),
            look("method-choose", format!("{base}/new?connector=salesforce")),
            look("method-blocked", format!("{base}/new?connector=google_drive")),
            look("form-sandbox", format!("{base}/new?connector=sandbox&method=api_key")),
            look("form-salesforce", format!("{base}/new?connector=salesforce&method=jwt_bearer")),
            look("form-http", format!("{base}/new?connector=http&method=oauth2_client_credentials")),
            look("form-raw", format!("{base}/new?connector=raw")),
        ],
    );
    app.done("POST", "/projects", &json!({"slug": "fresh", "name": "Fresh"}), 201);
    let empty = [
        ("keys-empty", "/projects/fresh/keys", "No program has a key here yet"),
        ("webhooks-empty", "/projects/fresh/webhooks", "Nobody is told yet"),
        ("keychains-empty", "/projects/fresh/keychains", "No keychain yet"),
        ("secrets-none", "/projects/fresh/secrets", "There are no secrets in "),
        ("connectors-empty", "/projects/fresh/connectors", "No connector of its own yet"),
    ];
    visit(&browser, &empty.map(|(name, path, _)| look(name, path)));
    for (_, path, says) in empty {
        browser.go(path);
        browser.sees(says);
    }
}

/// Who may look and change nothing.
#[test]
fn a_viewers_pages() {
    let app = latchstring_e2e::app();
    app.person("grace@example.com", "viewer");
    let browser = Browser::signed_in(&app, "grace@example.com");
    let empty = [look("credentials-empty-viewer", "/projects/acme/credentials")];
    visit(&browser, &empty);
    browser.sees("ask one of its editors, admins or owners");
    let works = scene::works(&app);
    visit(
        &browser,
        &[
            look("credentials-viewer", "/projects/acme/credentials"),
            look("credential-viewer", format!("/credentials/{works}?project=acme")),
            look("credential-new-viewer", "/projects/acme/credentials/new"),
            look("secrets-viewer", "/projects/acme/secrets"),
            look("members-viewer", "/projects/acme/members"),
            look("keys-viewer", "/projects/acme/keys"),
            look("settings-viewer", "/projects/acme/settings"),
            look("oauth-clients-none", "/oauth-clients"),
        ],
    );
    // What a member sees of a client: what people consent to.
    let client = scene::client(&app);
    visit(&browser, &[look("oauth-client-seen", format!("/oauth-clients/{client}"))]);
    browser.go(&format!("/oauth-clients/{client}"));
    browser.sees("people:read");
}

#[test]
fn credentials() {
    let app = latchstring_e2e::app();
    let scene = scene::whole(&app);
    let changed = scene::changed_connector(&app);
    let browser = Browser::ada(&app);
    let base = "/projects/acme/credentials";
    let of = |id: &str, below: &str| format!("/credentials/{id}{below}?project=acme");
    visit(
        &browser,
        &[
            look("credentials", base),
            look("credentials-none-found", format!("{base}?q=nothing-like-it")),
            look("credentials-mine", "/credentials"),
            look("credential", of(&scene.works, "")),
            look("credential-token", of(&scene.token, "")),
            look("credential-failing", of(&scene.failing, "")),
            look("credential-waiting", of(&scene.waiting, "")),
            look("credential-activity", of(&scene.works, "/activity")),
            look("credential-audit", of(&scene.works, "/audit")),
            look("credential-versions", of(&scene.works, "/versions")),
            look("credential-values", of(&scene.works, "/values/default")),
            look("credential-values-new", of(&scene.works, "/values")),
            look("credential-details", of(&scene.token, "/details")),
            look("credential-sharing", of(&scene.works, "/sharing")),
            look("credential-transfer", of(&scene.works, "/transfer")),
            look("credential-call", of(&scene.works, "/call")),
            look("credential-connect", of(&scene.waiting, "/connect/default")),
            look("credential-changed", of(&changed, "")),
            look("credential-approve", of(&changed, "/approve")),
            look("own-connector", "/projects/acme/connectors/crm"),
            look("own-connector-edit", "/projects/acme/connectors/crm/edit"),
            look("connector-choose-mine", "/credentials/new"),
            look("method-choose-mine", "/credentials/new?connector=sandbox"),
            look("form-mine", "/credentials/new?connector=sandbox&method=api_key"),
        ],
    );
}

/// What keeps a credential from being used, and what an offer looks like that is open.
#[test]
fn credentials_on_their_way_out() {
    let app = latchstring_e2e::app();
    let (works, failing) = (scene::works(&app), scene::failing(&app));
    app.done("DELETE", &format!("/credentials/{failing}"), &Value::Null, 200);
    let suspended = scene::suspended(&app);
    let of = |id: &str, below: &str| format!("/credentials/{id}{below}?project=acme");
    let browser = Browser::ada(&app);
    app.person("grace@example.com", "editor");
    browser.go(&of(&works, "/transfer"));
    browser.fill("Their e-mail address", "grace@example.com");
    browser.press("Make the offer");
    browser.sees("The offer to grace@example.com");
    state(&browser, "transfer-offered");
    visit(
        &browser,
        &[
            look("credential-deleted", of(&failing, "")),
            look("credentials-deleted", "/projects/acme/credentials"),
            look("credential-suspended", of(&suspended, "")),
            look("credential-transfer-open", of(&works, "/transfer")),
        ],
    );
    browser.go(&of(&failing, ""));
    browser.sees("It is going to be deleted");
    browser.go(&of(&suspended, ""));
    browser.sees("It would go to a new place");
    browser.go(&of(&works, "/transfer"));
    browser.sees("It is offered to grace@example.com");
    // Before somebody goes, an admin is told what would stop.
    browser.go("/projects/acme/members");
    browser.press_near("hedy@example.com", "Remove");
    browser.sees("They own credentials that this project uses");
    state(&browser, "members-owns");
}

/// A code that is entered on another device.
#[test]
fn a_device() {
    let oidc = OidcProvider::start();
    let app = latchstring_e2e::app();
    let id = scene::device(&app, &oidc);
    let browser = Browser::ada(&app);
    browser.go(&format!("/credentials/{id}/connect/production?project=acme"));
    browser.press_near("What is asked for", "Sign in at");
    browser.sees("Enter the code on any device");
    state(&browser, "credential-device");
}

/// What comes of checking a credential, while it is made and afterwards.
#[test]
fn results_of_checks() {
    let app = latchstring_e2e::app();
    let (works, failing) = (scene::works(&app), scene::failing(&app));
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/credentials/new?connector=sandbox&method=api_key");
    browser.fill("API key", "a-wrong-key");
    browser.press("Check and save");
    browser.sees("Sandbox does not accept it");
    // That the server refused a form is told by the console too, and is what was wanted.
    browser.faults();
    state(&browser, "form-verification-failed");
    browser.fill("API key", DEMO.api_key);
    browser.press("Preview the request");
    browser.sees("What would be sent");
    state(&browser, "form-preview");
    browser.press("Test it");
    browser.sees("Sandbox accepts it");
    state(&browser, "form-tested");
    browser.go("/projects/acme/connectors/new");
    browser.press("Preview the request");
    browser.sees("What would be sent");
    state(&browser, "own-connector-preview");
    browser.js(
        "document.querySelector('[name=source]').value = 'id: crm\\nbase_ulr: https://crm.example.com\\n'",
    );
    browser.press("Save the connector");
    browser.sees("In these lines");
    browser.faults();
    state(&browser, "own-connector-mistakes");
    for (id, says, name) in [
        (&works, "The API accepted it", "credential-checked"),
        (&failing, "The API refused it", "credential-checked-bad"),
    ] {
        browser.go(&format!("/credentials/{id}?project=acme"));
        browser.press_near("default", "Check now");
        browser.sees(says);
        state(&browser, name);
    }
    browser.go(&format!("/credentials/{works}/call?project=acme"));
    browser.press("Make the key");
    browser.sees("It is shown now and never again");
    state(&browser, "credential-call-key");
}

/// Away to a provider and back: without a place to go on to, a page tells what came of it.
#[test]
fn consent() {
    let app = latchstring_e2e::app();
    let id = scene::waiting(&app);
    let browser = Browser::ada(&app);
    let authorize = |app: &TestApp| {
        let path = format!("/credentials/{id}/authorize");
        let begun = app.done("POST", &path, &json!({"environment": "default"}), 200);
        begun["authorize_url"].as_str().expect("a link").to_owned()
    };
    // Whoever is not signed in does that first, and a link leads on: no form leads to a provider.
    let begun = authorize(&app);
    let other = Browser::at(&app.url);
    other.go(&begun);
    other.fill("E-mail address", EMAIL);
    other.fill("Password", PASSWORD);
    other.press("Sign in");
    other.until("they are in", |other| {
        let link = "return document.querySelector('main a.first')?.getAttribute('href') ?? ''";
        other.js(link).as_str()?.starts_with("/oauth/start/").then_some(())
    });
    state(&other, "signed-in");
    // The same where the form of the page leads there without a script.
    browser.scripts(false);
    browser.go(&format!("/credentials/{id}/connect/default?project=acme"));
    browser.press_near("What is asked for", "Sign in at");
    browser.sees("Continue");
    browser.scripts(true);
    state(&browser, "connect-go");
    browser.go(&authorize(&app));
    browser.press("Deny");
    browser.sees("Consent was not given");
    state(&browser, "consent-failed");
    browser.go(&authorize(&app));
    browser.press("Allow");
    browser.sees("You can close this page");
    state(&browser, "consent-done");
    visit(
        &browser,
        &[
            look("credential-connected", format!("/credentials/{id}?project=acme")),
            look("consent-void", "/oauth/start/not-a-link"),
        ],
    );
}

/// Keys, a webhook's secret, an invitation: shown once.
#[test]
fn what_is_shown_once() {
    let app = latchstring_e2e::app();
    scene::team(&app);
    let browser = Browser::ada(&app);
    browser.go("/projects/acme/keys/new");
    browser.fill("Which program it is for", "importer");
    browser.press("Make the key");
    browser.sees("It is shown now and never again");
    state(&browser, "key-made");
    browser.go("/account/keys");
    browser.fill("What it is for", "laptop");
    browser.press("Make the key");
    browser.sees("It is shown now and never again");
    state(&browser, "account-key-made");
    browser.go("/projects/acme/webhooks/new");
    browser.fill("Address", "http://127.0.0.1:9/other");
    browser.press("Make the webhook");
    browser.sees("the receiver checks signatures with it");
    state(&browser, "webhook-secret");
    browser.go("/people");
    browser.js("document.getElementById('f-email').value = 'hedy@example.com'");
    browser.press("Make the invitation");
    browser.sees("The invitation of hedy@example.com");
    state(&browser, "invited");
    browser.go("/projects/new");
    browser.fill("Name", "Field work");
    browser.fill("Short name", "Not a slug");
    browser.press("Make the project");
    assert!(!browser.wrong("Short name").is_empty());
    state(&browser, "project-new-refused");
}

#[test]
fn a_project() {
    let app = latchstring_e2e::app();
    let scene = scene::whole(&app);
    scene::team(&app);
    let hooks = app.done("GET", "/projects/acme/webhooks", &Value::Null, 200);
    let hook = hooks["items"][0]["id"].as_str().expect("an id").to_owned();
    let browser = Browser::ada(&app);
    visit(
        &browser,
        &[
            look("webhook", format!("/projects/acme/webhooks/{hook}")),
            look("secrets", "/projects/acme/secrets"),
            look("secrets-empty", "/projects/acme/secrets?environment=staging"),
            look("members", "/projects/acme/members"),
            look("keys", "/projects/acme/keys"),
            look("key-new", "/projects/acme/keys/new"),
            look("webhooks", "/projects/acme/webhooks"),
            look("webhook-new", "/projects/acme/webhooks/new"),
            look("audit", "/projects/acme/audit"),
            look("audit-narrowed", format!("/projects/acme/audit?credential={}", scene.works)),
            look("connectors", "/projects/acme/connectors"),
            look("connector", "/projects/acme/connectors/github"),
            look("connector-new", "/projects/acme/connectors/new"),
            look("keychains", "/projects/acme/keychains"),
            look("keychain", "/projects/acme/keychains/customers"),
            look("keychain-new", "/projects/acme/keychains/new"),
        ],
    );
}

#[test]
fn people_and_server() {
    let app = latchstring_e2e::app();
    let client = scene::client(&app);
    app.person("grace@example.com", "viewer");
    let left = scene::left(&app);
    let offered = scene::offered(&app);
    let browser = Browser::ada(&app);
    visit(
        &browser,
        &[
            look("account", "/account"),
            look("account-password", "/account/password"),
            look("account-sessions", "/account/sessions"),
            look("account-keys", "/account/keys"),
            look("notices", "/notices"),
            look("transfer", format!("/transfers/{offered}")),
            look("people", "/people"),
            look("left-behind", format!("/people/{left}/credentials")),
            look("instance", "/instance"),
            look("oauth-clients", "/oauth-clients"),
            look("oauth-clients-of-project", "/oauth-clients?project=acme"),
            look("oauth-client", format!("/oauth-clients/{client}")),
            look("oauth-client-new", "/oauth-clients/new?connector=google_drive"),
        ],
    );
}

#[test]
fn connecting() {
    let app = latchstring_e2e::app();
    scene::client(&app);
    let path = scene::connect_session(&app);
    let browser = Browser::at(&app.url);
    let form = format!("{path}?connector=builtin%2Fsandbox&method=api_key");
    visit(&browser, &[look("connect-choose", &path), look("connect-form", &form)]);
    browser.go(&path);
    browser.press_near("A person consents", "Sign in with the sandbox");
    browser.press("Continue and sign in");
    browser.sees("Let Latchstring in?");
    browser.press("Deny");
    browser.sees("Nothing is connected yet");
    state(&browser, "connect-denied");
    browser.go(&form);
    browser.fill("API key", DEMO.api_key);
    browser.press("Check and connect");
    browser.sees("Sandbox is connected");
    visit(&browser, &[look("connect-done", browser.path()), look("connect-over", path)]);
}

#[test]
fn documentation() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    visit(
        &browser,
        &[
            look("docs", "/docs"),
            look("docs-connectors", "/docs/connectors"),
            look("docs-connector", "/docs/connectors/salesforce"),
            look("docs-templates", "/docs/guides/templates"),
            look("docs-guide", "/docs/guides/oauth-clients"),
            look("docs-api", "/docs/api"),
            look("docs-api-part", "/docs/api/credentials"),
        ],
    );
}

/// No link of any page leads nowhere.
#[test]
fn every_link_leads_somewhere() {
    let app = latchstring_e2e::app();
    let scene = scene::whole(&app);
    scene::team(&app);
    let browser = Browser::ada(&app);
    browser.go("/projects");
    let mut seen = std::collections::BTreeSet::new();
    let mut open = vec!["/projects".to_owned(), format!("/credentials/{}?project=acme", scene.waiting)];
    let mut dead = Vec::new();
    while let Some(path) = open.pop() {
        // One page of a kind is enough: connectors, guides and parts of the API are many.
        let kind = path
            .split('?')
            .next()
            .unwrap_or_default()
            .rsplit_once('/')
            .map_or("", |(kind, _)| kind)
            .to_owned();
        let many = kind.starts_with("/docs/") || kind.ends_with("/connectors") || path.contains("connector=");
        if many && seen.iter().filter(|one: &&String| one.starts_with(&kind)).count() > 3
            || !seen.insert(path.clone())
        {
            continue;
        }
        let script = format!(
            "const done = arguments[0]; fetch({}, {{headers: {{Accept: 'text/html'}}}}).then(async (a) => done([a.status, a.headers.get('content-type') ?? '', await a.text()]), (e) => done([0, String(e), '']))",
            serde_json::json!(path)
        );
        let answer = browser.js_async(&script);
        let (status, kind) = (answer[0].as_u64().unwrap(), answer[1].as_str().unwrap());
        if status != 200 {
            dead.push(format!("{path}: {status} {kind}"));
            continue;
        }
        if !kind.starts_with("text/html") {
            continue;
        }
        for part in answer[2].as_str().unwrap().split("href=\"").skip(1) {
            let link = part.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
            let link = link.split('#').next().unwrap().to_owned();
            if link.starts_with('/') && !link.starts_with("/assets/") && !link.contains("/certificate/") {
                open.push(link);
            }
        }
    }
    assert!(seen.len() > 60, "{} pages: {seen:?}", seen.len());
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}
