//! `latchstring import`: what becomes of credentials of n8n, of `.env` files and of OpenFn.

use std::fs;

use latchstring_testkit::TestApp;
use serde_json::{Value, json};

use crate::support::{app, setup};

const KEY: &str = "sandbox-key-not-a-secret";

struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

/// With a server or without one. Nothing that was planted is ever shown.
fn run(app: &TestApp, key: Option<&str>, arguments: &[&str]) -> Run {
    let mut command = app.setup().command(&["import"]);
    command.args(arguments);
    if let Some(key) = key {
        command.env("LATCHSTRING_URL", &app.url).env("LATCHSTRING_API_KEY", key);
    }
    let done = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let run = Run { code: done.status.code(), out: text(&done.stdout), err: text(&done.stderr) };
    for planted in ["planted", KEY] {
        assert!(!run.out.contains(planted) && !run.err.contains(planted), "{}{}", run.out, run.err);
    }
    run
}

fn file(app: &TestApp, name: &str, text: &str) {
    fs::write(app.setup().folder().join(name), text).unwrap();
}

#[track_caller]
fn has(run: &Run, lines: &[&str]) {
    for line in lines {
        assert!(run.out.contains(line), "{line}\n{}{}", run.out, run.err);
    }
}

fn sandbox_url(app: &TestApp) -> String {
    let said = app.stdout();
    let line = said
        .lines()
        .find(|line| line.contains("andbox") && line.contains(" listens on "))
        .expect("its address");
    line.split_once(" listens on ").unwrap().1.trim().to_owned()
}

fn n8n() -> String {
    json!([
        {"id": "1", "name": "People", "type": "httpHeaderAuth", "data": {"name": "X-API-Key", "value": KEY}},
        {"id": "2", "name": "Wrong", "type": "httpHeaderAuth", "data": {"name": "X-API-Key", "value": "planted-wrong"}},
        {"id": "3", "name": "Jira", "type": "jiraSoftwareCloudApi",
            "data": {"email": "a@example.com", "apiToken": "planted-{{ x }}", "domain": "https://example.atlassian.net", "allowedHttpRequestDomains": "all"}},
        {"id": "4", "name": "Sheets", "type": "googleSheetsOAuth2Api",
            "data": {"clientId": "c", "clientSecret": "planted", "oauthTokenData": {"access_token": "planted"}}},
        {"id": "5", "name": "Machine", "type": "oAuth2Api",
            "data": {"grantType": "clientCredentials", "accessTokenUrl": "https://auth.example.com/token", "clientId": "c", "clientSecret": "planted", "authentication": "body"}},
        {"id": "6", "name": "Person", "type": "oAuth2Api", "data": {"clientId": "c", "clientSecret": "planted", "oauthTokenData": {"refresh_token": "planted"}}},
        {"id": "7", "name": "Odd", "type": "someVendorApi", "data": {"key": "planted"}},
        {"id": "8", "name": "Locked", "type": "slackApi", "data": "U2FsdGVkX18planted"},
        {"id": "9", "name": "Computed", "type": "slackApi", "data": {"accessToken": "={{ $vars.planted }}"}},
        {"id": "10", "name": "Half", "type": "stripeApi", "data": {}},
        {"id": "11", "name": "Cloud", "type": "nextCloudApi",
            "data": {"webDavUrl": "https://cloud.example.com/remote.php/webdav", "user": "u", "password": "planted"}},
    ])
    .to_string()
}

#[test]
fn a_report_says_what_becomes_what_and_why_not() {
    // No server, no key.
    let app = app();
    file(&app, "n8n.json", &n8n());
    let report = run(&app, None, &["n8n", "n8n.json", "--dry-run"]);
    assert_eq!((report.code, report.err.as_str()), (Some(1), ""), "{}", report.out);
    has(
        &report,
        &[
            "! People (httpHeaderAuth): http/api_key needs base_url: give it with --set 'People.base_url=…'",
            "+ Jira (jiraSoftwareCloudApi) becomes jira/api_token with api_token, email, site\n    not taken along: allowedHttpRequestDomains",
            "! Sheets (googleSheetsOAuth2Api): somebody signed in at the provider for it",
            "store it with google_sheets/authorization_code",
            "! Machine (oAuth2Api): http/oauth2_client_credentials needs base_url",
            "! Person (oAuth2Api): somebody signed in",
            "! Odd (someVendorApi): there is no connector for this type",
            "! Locked (slackApi): it is still encrypted",
            "! Computed (slackApi): `accessToken` is an expression of n8n",
            "! Half (stripeApi): stripe/api_key needs api_key: it is not in the export",
            "+ Cloud (nextCloudApi) becomes nextcloud/app_password with app_password, base_url, username",
            "2 of 11 can be taken over.",
        ],
    );
    let report = run(&app, None, &["n8n", "n8n.json", "--dry-run", "--json"]);
    assert_eq!((report.code, report.err.as_str()), (Some(1), ""), "{}", report.out);
    let whole: Value = serde_json::from_str(&report.out).unwrap();
    assert_eq!(whole["items"].as_array().unwrap().len(), 11);
    assert_eq!(
        whole["items"][2],
        json!({
            "name": "Jira", "type": "jiraSoftwareCloudApi", "connector": "jira", "auth_method": "api_token",
            "fields": ["api_token", "email", "site"], "not_taken": ["allowedHttpRequestDomains"],
        })
    );
    assert_eq!(
        (&whole["items"][6]["name"], &whole["items"][6]["type"]),
        (&json!("Odd"), &json!("someVendorApi"))
    );
    assert!(whole["items"][6]["refused"].as_str().unwrap().contains("no connector for this type"));
    let alone = run(&app, None, &["n8n", "n8n.json", "--json"]);
    assert!(alone.code == Some(2) && alone.err.contains("--dry-run"), "{}", alone.err);
    let set = [
        "n8n",
        "n8n.json",
        "--dry-run",
        "--only",
        "Machine",
        "--set",
        "Machine.base_url=https://api.example.com",
    ];
    let report = run(&app, None, &set);
    assert_eq!(report.code, Some(0), "{}", report.out);
    has(
        &report,
        &[
            "+ Machine (oAuth2Api) becomes http/oauth2_client_credentials with base_url, client_auth, client_id, client_secret, token_url",
        ],
    );
    for (arguments, said) in [
        (&["--set", "People.value=x"][..], "`value` is secret and does not come from the command line"),
        (&["--set", "People.nothing=x"], "has no field `nothing`"),
    ] {
        let mut all = vec!["n8n", "n8n.json", "--dry-run", "--only", "People"];
        all.extend(arguments);
        let report = run(&app, None, &all);
        assert!(report.code == Some(1) && report.out.contains(said), "{}{}", report.out, report.err);
    }
    for (arguments, said) in [
        (&["--set", "Nobody.base_url=x"][..], "no credential `Nobody`"),
        (&["--only", "Nobody"], "no credential `Nobody`"),
        (&["--set", "planless"], "--set is NAME.FIELD=VALUE"),
    ] {
        let mut all = vec!["n8n", "n8n.json", "--dry-run"];
        all.extend(arguments);
        let report = run(&app, None, &all);
        assert!(report.code == Some(2) && report.err.contains(said), "{}{}", report.out, report.err);
    }
    file(&app, "broken.json", "[{\"name\": \"planted\", ");
    let broken = run(&app, None, &["n8n", "broken.json", "--dry-run"]);
    assert!(broken.code == Some(2) && broken.err.contains("broken.json: line 1, column"), "{}", broken.err);
    app.stop();
}

#[test]
fn what_is_taken_over_is_verified_stored_and_used() {
    let app = setup().sandbox().start();
    let url = sandbox_url(&app);
    file(&app, "n8n.json", &n8n());
    let base = |name: &str| [format!("{name}.base_url={url}"), format!("{name}.test_path=/v1/people")];
    let (people, wrong) = (base("People"), base("Wrong"));
    let mut arguments = vec!["n8n", "n8n.json", "--project", "acme", "--grant", "production"];
    for one in people.iter().chain(&wrong) {
        arguments.extend(["--set", one.as_str()]);
    }
    for only in ["People", "Wrong"] {
        arguments.extend(["--only", only]);
    }
    // Nobody can be asked.
    let unasked = run(&app, Some(app.manage_key()), &arguments);
    assert!(unasked.code == Some(2) && unasked.err.contains("--yes"), "{}", unasked.err);
    let none = app.done("GET", "/credentials", &Value::Null, 200);
    assert_eq!(none["items"], json!([]));
    arguments.push("--yes");
    let done = run(&app, Some(app.manage_key()), &arguments);
    assert_eq!(done.code, Some(1), "one of two: {}{}", done.out, done.err);
    has(&done, &["stored People as http/api_key: verified", "not    Wrong: ", "1 stored."]);
    assert_eq!(app.get("people/v1/people?limit=1").status, 200);
    // Again: what is there is left; the other one is stored when nobody asks the API.
    arguments.push("--unverified");
    let again = run(&app, Some(app.manage_key()), &arguments);
    assert_eq!(again.code, Some(0), "{}{}", again.out, again.err);
    has(&again, &["there  People (http)", "stored Wrong as http/api_key: unverified", "1 stored."]);
    // A text with braces was a text there, and is one here.
    let jira = ["n8n", "n8n.json", "--only", "Jira", "--yes", "--unverified", "--environment", "live"];
    assert_eq!(run(&app, Some(app.manage_key()), &jira).code, Some(0));
    let stored = app.done("GET", "/credentials?q=Jira", &Value::Null, 200);
    assert_eq!(stored["items"][0]["environments"]["live"]["secret_fields"], json!(["api_token"]));
    assert_eq!(stored["items"][0]["shares"], json!([]));
    // A service account takes over for its project.
    let body = json!({"name": "ci", "scope": "manage"});
    let account = app.done("POST", "/projects/acme/api-keys", &body, 201)["key"].as_str().unwrap().to_owned();
    file(&app, ".env", &format!("SANDBOX_URL={url}\nSANDBOX_API_KEY='{KEY}'\nexport OTHER=planted\n"));
    let foreign = run(&app, Some(&account), &["env", ".env", "--yes"]);
    assert!(
        foreign.code == Some(1) && foreign.out.contains("a service account owns nothing itself"),
        "{}{}",
        foreign.out,
        foreign.err
    );
    let arguments = ["env", ".env", "--project", "acme", "--grant", "staging", "--team", "--yes"];
    let done = run(&app, Some(&account), &arguments);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    has(
        &done,
        &[
            "+ Sandbox (SANDBOX_URL, SANDBOX_API_KEY) becomes sandbox/api_key",
            "! of no connector: OTHER;",
            "stored Sandbox as sandbox/api_key: verified",
        ],
    );
    let listed = app.done("GET", "/credentials?project=acme&q=Sandbox", &Value::Null, 200);
    assert_eq!(listed["items"][0]["owner"]["slug"], "acme");
    assert_eq!(listed["items"][0]["shares"][0]["grants"], json!({"staging": "production"}));
    let nowhere = ["env", ".env", "--project", "acme", "--grant", "prodction", "--yes"];
    let nowhere = run(&app, Some(app.manage_key()), &nowhere);
    assert!(
        nowhere.code == Some(2) && nowhere.err.contains("no environment `prodction`, and nothing was stored"),
        "{}",
        nowhere.err
    );
    assert!(!app.log().contains("planted"));
    app.stop();
}

#[test]
fn variables_by_the_names_that_providers_give_them() {
    let app = app();
    file(
        &app,
        ".env",
        "# of the app\nSTRIPE_SECRET_KEY=planted\nTWILIO_ACCOUNT_SID=AC1\nTWILIO_AUTH_TOKEN=\"planted\"\nGITHUB_TOKEN=${planted}\nAWS_ACCESS_KEY_ID=AKIA\nAWS_SECRET_ACCESS_KEY=planted\nDHIS2_PASSWORD=planted\nDATABASE_URL=postgres://u:planted@h/d\n",
    );
    let report = run(&app, None, &["env", ".env", "--dry-run"]);
    assert_eq!(report.code, Some(1));
    has(
        &report,
        &[
            "+ Stripe (STRIPE_SECRET_KEY) becomes stripe/api_key with api_key",
            "becomes twilio/auth_token with account_sid, auth_token",
            "GITHUB_TOKEN names another variable",
            "aws_s3/access_key needs region: give it with --set 'Amazon S3.region=…'",
            "dhis2/basic needs base_url, username: give it with --set",
            "! of no connector: DATABASE_URL;",
            "2 of 5 can be taken over.",
        ],
    );
    app.stop();
}

#[test]
fn openfn_by_adaptor_by_name_or_as_it_is() {
    let app = app();
    let map = json!({
        "Main": {"hostUrl": "https://play.dhis2.org/dev", "username": "admin", "password": "planted"},
        "my-openmrs": {"instanceUrl": "https://mrs.example.com/openmrs", "username": "admin", "password": "planted"},
        "anything": {"apiKey": "planted", "baseUrl": "https://api.example.com", "deep": {"x": "planted {{ y }}"}},
        "google": {"access_token": "planted", "refresh_token": "planted", "expires_at": 1},
        "empty": {"name": "Empty", "owner": "ada@example.com"},
    });
    file(&app, "map.json", &map.to_string());
    let report = run(&app, None, &["openfn", "map.json", "--dry-run"]);
    assert_eq!(report.code, Some(1));
    has(
        &report,
        &[
            "+ Main (any JSON) becomes raw/custom with baseUrl, password, username",
            "+ my-openmrs (openmrs) becomes openmrs/basic with base_url, password, username",
            "+ anything (any JSON) becomes raw/custom with apiKey, baseUrl, deep",
            "! google (any JSON): somebody signed in at the provider",
            "! empty (any JSON): it has no body",
        ],
    );
    let named = ["openfn", "map.json", "--dry-run", "--only", "Main", "--type", "Main=dhis2"];
    let report = run(&app, None, &named);
    assert_eq!(report.code, Some(0), "{}{}", report.out, report.err);
    has(&report, &["+ Main (dhis2) becomes dhis2/basic with base_url, password, username"]);
    let unknown = run(&app, None, &["openfn", "map.json", "--dry-run", "--type", "Main=dihs2"]);
    assert!(unknown.code == Some(2) && unknown.err.contains("`dihs2` is no adaptor"), "{}", unknown.err);
    // Stored as it is, it can be shown to whoever owns it as what it is: names, no values.
    let stored = ["openfn", "map.json", "--only", "anything", "--yes", "--unverified"];
    assert_eq!(run(&app, Some(app.manage_key()), &stored).code, Some(0));
    let stored = app.done("GET", "/credentials?q=anything", &Value::Null, 200);
    assert_eq!(stored["items"][0]["connector"], "raw");
    assert_eq!(stored["items"][0]["environments"]["production"]["secret_fields"], json!(["apiKey", "deep"]));
    // A project says which adaptor a credential is used with.
    let project = "name: p\nworkflows:\n  w:\n    jobs:\n      j: {adaptor: '@openfn/language-dhis2@latest', credential: main}\ncredentials:\n  main: {hostUrl: 'https://play.dhis2.org/dev', username: admin, password: planted}\n  hidden: {password: '******'}\n";
    file(&app, "project.yaml", project);
    let report = run(&app, None, &["openfn", "project.yaml", "--dry-run"]);
    has(
        &report,
        &["+ main (dhis2) becomes dhis2/basic", "! hidden (any JSON): `password` is hidden in the export"],
    );
    file(&app, "state.json", &json!({"configuration": map["Main"], "data": {"x": "planted"}}).to_string());
    let report = run(&app, None, &["openfn", "state.json", "--dry-run", "--type", "state=dhis2"]);
    has(&report, &["+ state (dhis2) becomes dhis2/basic"]);
    app.stop();
}
