//! Every page, in both themes and at two widths: no barrier by axe-core's rules, nothing that hangs over the edge, no
//! fault in the console. With `cargo xtask screenshots` each is also a picture.

use latchstring_e2e::Browser;

use crate::scene;

/// What is looked at: a name for pictures, and the path.
struct Look {
    name: &'static str,
    path: String,
}

fn look(name: &'static str, path: impl Into<String>) -> Look {
    Look { name, path: path.into() }
}

/// In both themes and widths; axe-core's rules do not depend on the width alone, so it runs in both too.
fn visit(browser: &Browser, pages: &[Look]) {
    let mut wrong = Vec::new();
    for theme in ["light", "dark"] {
        browser.theme(theme);
        for page in pages {
            for width in [1600, 390] {
                browser.width(width);
                browser.go(&page.path);
                let shown = format!("{} ({}) in {theme} at {width}", page.name, page.path);
                for barrier in browser.barriers() {
                    wrong.push(format!("{shown}: {barrier}"));
                }
                let over =
                    browser.js("return document.documentElement.scrollWidth - innerWidth").as_i64().unwrap();
                if over > 0 {
                    wrong.push(format!("{shown}: {over} px wider than the window"));
                }
                browser.picture(&format!("{}-{theme}-{width}", page.name));
            }
        }
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
    visit(
        &browser,
        &[look("sign-in", "/sign-in"), look("refused", "/nothing-here"), look("docs-errors", "/docs/errors")],
    );
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
}

#[test]
fn credentials() {
    let app = latchstring_e2e::app();
    let scene = scene::whole(&app);
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
            look("credential-versions", of(&scene.works, "/versions")),
            look("credential-values", of(&scene.works, "/values/default")),
            look("credential-values-new", of(&scene.works, "/values")),
            look("credential-details", of(&scene.token, "/details")),
            look("credential-sharing", of(&scene.works, "/sharing")),
            look("credential-transfer", of(&scene.works, "/transfer")),
            look("credential-call", of(&scene.works, "/call")),
            look("credential-connect", of(&scene.waiting, "/connect/default")),
        ],
    );
}

#[test]
fn a_project() {
    let app = latchstring_e2e::app();
    let scene = scene::whole(&app);
    scene::team(&app);
    let browser = Browser::ada(&app);
    visit(
        &browser,
        &[
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
            look("oauth-client", format!("/oauth-clients/{client}")),
            look("oauth-client-new", "/oauth-clients/new?connector=google_drive"),
        ],
    );
}

#[test]
fn connecting() {
    let app = latchstring_e2e::app();
    let path = scene::connect_session(&app);
    let browser = Browser::at(&app.url);
    let form = format!("{path}?connector=builtin%2Fsandbox&method=api_key");
    visit(&browser, &[look("connect-choose", &path), look("connect-form", &form)]);
    browser.go(&form);
    browser.fill("API key", latchstring_sandbox::DEMO.api_key);
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
