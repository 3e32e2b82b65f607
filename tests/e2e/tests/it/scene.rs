//! A server with something in it: credentials of the sandbox in every state.

use latchstring_e2e::Browser;
use latchstring_sandbox::DEMO;
use latchstring_testkit::{OidcProvider, TestApp};
use serde_json::{Value, json};

/// Where the sandbox of this server listens.
pub fn sandbox(app: &TestApp) -> String {
    let said = app.stdout();
    let line = said.lines().find(|line| line.starts_with("The sandbox")).expect("the server has a sandbox");
    line.rsplit(' ').next().expect("an address").to_owned()
}

/// A credential of the sandbox, shared with acme in both environments.
pub fn credential(app: &TestApp, name: &str, method: &str, values: &Value, more: &Value) -> String {
    let mut values = values.clone();
    values["base_url"] = json!(sandbox(app));
    let mut body = json!({
        "name": name, "connector": "sandbox", "auth_method": method,
        "values": {"default": values},
        "shares": [{"project": "acme", "grants": {"production": "default", "staging": "default"}}],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = app.done("POST", "/credentials", &body, 201);
    made["id"].as_str().expect("an id").to_owned()
}

pub fn works(app: &TestApp) -> String {
    credential(app, "People of the sandbox", "api_key", &json!({"key": DEMO.api_key}), &json!({}))
}

/// With a token.
pub fn with_token(app: &TestApp) -> String {
    let values = json!({"client_secret": DEMO.client_secret});
    let more = json!({"note": "For the nightly import.\nAsk Grace about it.", "acts_as": "import-robot", "expires_on": "2030-01-31T00:00:00Z"});
    credential(app, "Nightly import", "oauth2_client_credentials", &values, &more)
}

/// With values that the sandbox refuses, and that were checked twice.
pub fn failing(app: &TestApp) -> String {
    let id =
        credential(app, "Old key", "api_key", &json!({"key": "a-wrong-key"}), &json!({"verify": "skip"}));
    for _ in 0..2 {
        app.done("POST", &format!("/credentials/{id}/verify"), &json!({"environment": "default"}), 200);
    }
    id
}

/// The sandbox's own registration of this server.
pub fn client(app: &TestApp) -> String {
    let at = sandbox(app);
    let host = at.trim_start_matches("http://");
    let client = app.done(
        "POST",
        "/oauth-clients",
        &json!({
            "name": "Sandbox", "connector": "sandbox", "client_id": DEMO.client_id, "client_secret": DEMO.client_secret,
            "client_auth": "basic", "hosts": [host], "mandatory_scopes": ["people:read"], "optional_scopes": ["people:write"],
            "projects": ["acme"],
        }),
        201,
    );
    client["id"].as_str().expect("an id").to_owned()
}

/// Nobody has consented yet.
pub fn waiting(app: &TestApp) -> String {
    let client = client(app);
    credential(app, "Ada's own account", "authorization_code", &json!({}), &json!({"oauth_client": client}))
}

/// One of each.
pub struct Scene {
    pub works: String,
    pub token: String,
    pub failing: String,
    pub waiting: String,
}

pub fn whole(app: &TestApp) -> Scene {
    let scene =
        Scene { works: works(app), token: with_token(app), failing: failing(app), waiting: waiting(app) };
    let http =
        app.credential("billing", "bearer", &json!({"base_url": "https://api.example.com", "token": "t"}));
    app.done("POST", &format!("/credentials/{}/disable", http["id"].as_str().unwrap()), &Value::Null, 200);
    for _ in 0..3 {
        assert_eq!(app.get("people-of-the-sandbox/v1/people").status, 200);
    }
    assert_eq!(app.get("people-of-the-sandbox/v1/nothing").status, 404);
    scene
}

/// A credential whose connector, one of the project's own, goes elsewhere by now.
pub fn changed_connector(app: &TestApp) -> String {
    let crm = |port: u16| {
        json!({
            "id": "crm", "name": "CRM", "allow_http": true, "base_url": format!("http://127.0.0.1:{port}"),
            "auth_methods": {"key": {
                "label": "Key", "fields": {"key": {"type": "text", "secret": true}},
                "scheme": {"type": "api_key", "in": "header", "key": "X-API-Key", "value": "{{ key }}"},
            }},
        })
    };
    app.done("POST", "/projects/acme/connectors", &crm(9), 201);
    let body = json!({
        "name": "CRM", "connector": "crm", "auth_method": "key", "verify": "skip", "values": {"default": {"key": "k"}},
        "shares": [{"project": "acme", "grants": {"production": "default"}}],
    });
    let made = app.done("POST", "/credentials", &body, 201);
    app.done("PUT", "/projects/acme/connectors/crm", &crm(10), 200);
    made["id"].as_str().expect("an id").to_owned()
}

/// Members, secrets, a webhook: what a project has beside its credentials.
pub fn team(app: &TestApp) {
    app.person("grace@example.com", "editor");
    app.set_secret("signing_key", "s3cret-of-the-scene");
    let path = "/projects/acme/environments/production/variables/tenant";
    app.done("PUT", path, &json!({"value": "t-17"}), 204);
    let limits = json!({"name": "nightly-import", "environment": "staging", "methods": ["GET"], "path_prefixes": ["/v1"]});
    app.limited_key(&limits);
    app.done(
        "POST",
        "/projects/acme/webhooks",
        &json!({"url": "http://127.0.0.1:9/hook", "description": "Pager"}),
        201,
    );
    let keychain = json!({"name": "Customers", "connector": "sandbox", "by": "{{ input.customer }}"});
    app.done("POST", "/projects/acme/keychains", &keychain, 201);
}

fn of_somebody(app: &TestApp, key: &str, name: &str) -> Value {
    let body = json!({
        "name": name, "connector": "http", "auth_method": "bearer", "verify": "skip",
        "values": {"default": {"base_url": "https://api.example.com", "token": "t"}},
        "shares": [{"project": "acme", "grants": {"production": "default"}}],
    });
    let made = app.api_as(key, "POST", "/credentials", &body);
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()
}

/// Somebody whose account is not active any more, with what they own; their id.
pub fn left(app: &TestApp) -> String {
    let key = app.person("hedy@example.com", "editor");
    of_somebody(app, &key, "Hedy's key");
    let users = app.done("GET", "/users?q=hedy", &Value::Null, 200);
    let id = users["items"][0]["id"].as_str().expect("an id").to_owned();
    app.done("PATCH", &format!("/users/{id}"), &json!({"active": false}), 200);
    id
}

/// A credential that somebody offers to ada; the token of the offer.
pub fn offered(app: &TestApp) -> String {
    let key = app.person("nora@example.com", "editor");
    let made = of_somebody(app, &key, "Nora's key");
    let path = format!("/credentials/{}/transfer", made["id"].as_str().expect("an id"));
    let offered = app.api_as(&key, "POST", &path, &json!({"email": "ada@example.com"}));
    assert_eq!(offered.status, 201, "{}", offered.text());
    offered.json()["token"].as_str().expect("a token").to_owned()
}

/// A credential of somebody's that goes to another place by now, which no admin of the project has accepted; its id.
pub fn suspended(app: &TestApp) -> String {
    let key = app.person("hedy@example.com", "editor");
    let made = of_somebody(app, &key, "Hedy's key");
    let id = made["id"].as_str().expect("an id").to_owned();
    let moved = json!({"verify": "skip", "values": {"default": {"base_url": "https://other.example.com"}}});
    let changed = app.api_as(&key, "PATCH", &format!("/credentials/{id}"), &moved);
    assert_eq!(changed.status, 200, "{}", changed.text());
    id
}

/// A credential that is connected by a code which is entered elsewhere; its id.
pub fn device(app: &TestApp, oidc: &OidcProvider) -> String {
    let client = app.done(
        "POST",
        "/oauth-clients",
        &json!({
            "name": "Test provider", "client_id": OidcProvider::CLIENT_ID, "client_secret": OidcProvider::CLIENT_SECRET,
            "client_auth": "basic", "issuer": oidc.issuer(), "mandatory_scopes": ["openid", "read"],
            "hosts": [format!("127.0.0.1:{}", oidc.port())], "projects": ["acme"],
        }),
        201,
    );
    let body = json!({
        "name": "Set-top box", "connector": "http", "auth_method": "oauth2_device_code", "oauth_client": client["id"],
        "values": {"production": {"base_url": oidc.issuer(), "test_path": "/resource"}},
        "shares": [{"project": "acme", "slug": "box", "grants": {"production": "production"}}],
    });
    let made = app.done("POST", "/credentials", &body, 201);
    made["id"].as_str().expect("an id").to_owned()
}

/// A session of a product on another origin; its path.
pub fn connect_session(app: &TestApp) -> String {
    let body = json!({
        "project": "acme", "connectors": ["sandbox"], "end_user": {"id": "customer-17"},
        "return_origin": "https://app.example.com",
    });
    let made = app.done("POST", "/connect-sessions", &body, 201);
    made["url"].as_str().expect("a link").strip_prefix(&app.url).expect("of this server").to_owned()
}

/// The secret that an authenticator app is given.
pub fn totp_secret(browser: &Browser) -> String {
    browser.js("return document.getElementById('secret').textContent").as_str().expect("a secret").to_owned()
}

/// What the app shows now (RFC 6238), by the browser's own cryptography.
pub fn totp(browser: &Browser, secret: &str) -> String {
    let script = format!(
        "const done = arguments[0];
        const bits = [...{}].map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0')).join('');
        const key = Uint8Array.from(bits.match(/.{{8}}/g).map((byte) => parseInt(byte, 2)));
        const step = new DataView(new ArrayBuffer(8));
        step.setBigUint64(0, BigInt(Math.floor(Date.now() / 30000)));
        (async () => {{
            const hmac = await crypto.subtle.importKey('raw', key, {{name: 'HMAC', hash: 'SHA-1'}}, false, ['sign']);
            const digest = new DataView(await crypto.subtle.sign('HMAC', hmac, step.buffer));
            const number = digest.getUint32(digest.getUint8(19) & 15) & 0x7fffffff;
            done(String(number % 1000000).padStart(6, '0'));
        }})();",
        json!(secret)
    );
    browser.js_async(&script).as_str().expect("a code").to_owned()
}
