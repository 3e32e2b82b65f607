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
                let over = browser.js("return document.documentElement.scrollWidth - innerWidth").as_i64().unwrap();
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
            look("credential-call", of(&scene.works, "/call")),
            look("credential-connect", of(&scene.waiting, "/connect/default")),
        ],
    );
}
