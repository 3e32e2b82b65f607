//! Secrets are planted, and everything that links lead to is read, by all who may look: no page, form, link, script or
//! file holds one, in whatever form.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use latchstring_testkit::OidcProvider;
use serde_json::{Value, json};

use crate::app::{Answer, Db, Somebody, TestApp};
use crate::consent::{Scene, both_scenes};
use crate::credentials_upstream::{Shop, both_shops, hex, url};
use crate::oauth_clients::{SECRET, any_server, with};

/// Names and values, as a form sends them.
type Form<'a> = Vec<(&'a str, &'a str)>;

const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

/// As a browser reads what a template has escaped.
pub fn unescaped(text: &str) -> String {
    let signs = [
        ("&#60;", "<"),
        ("&lt;", "<"),
        ("&#62;", ">"),
        ("&gt;", ">"),
        ("&#34;", "\""),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ];
    signs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// How a value may stand in a text: as it is, encoded for a URL, in hexadecimal, and within anything that was put into
/// base64: there what three bytes make depends on where they begin.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), url(secret), url(secret).to_lowercase(), hex(secret)];
    for begin in 0..3 {
        let whole = (secret.len() - begin) / 3 * 3;
        let part = &secret.as_bytes()[begin..begin + whole];
        forms.extend([STANDARD_NO_PAD.encode(part), URL_SAFE_NO_PAD.encode(part)]);
    }
    forms
}

fn holds(text: &str, secret: &str) -> bool {
    let plain = unescaped(text);
    forms(secret).iter().any(|form| text.contains(form.as_str()) || plain.contains(form.as_str()))
}

#[test]
fn a_secret_is_found_in_every_form() {
    let secret = "planted: a word & <another>";
    let url_safe = base64::engine::general_purpose::URL_SAFE.encode(format!("ada:{secret}"));
    for text in [
        format!("<p>{secret}</p>"),
        "planted: a word &#38; &#60;another&#62;".to_owned(),
        format!("/x?y={}", url(secret)),
        hex(secret),
        STANDARD.encode(secret),
        STANDARD.encode(format!("ada:{secret}")),
        STANDARD.encode(format!("{{\"token\": \"{secret}\"}}")),
        url_safe,
    ] {
        assert!(holds(&text, secret), "{text}");
    }
    assert!(!holds("planted: a word", secret));
}

/// Places that say the same of different things: a few of them are enough.
fn is_one_of_many(path: &str) -> bool {
    path.starts_with("/docs/")
        || path.contains("connector=")
        || path.starts_with("/projects/acme/connectors/")
}

/// Where a page or a script leads on this server.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for begin in ["href=\"", "src=\"", "data-same=\""] {
        for part in text.split(begin).skip(1) {
            let link = unescaped(part.split('"').next().unwrap_or_default());
            found.push(link.split('#').next().unwrap_or_default().to_owned());
        }
    }
    found.retain(|link| link.starts_with('/'));
    found
}

/// All that somebody gets to by links, from the pages that everybody has.
async fn walk(app: &TestApp, who: &Somebody) -> BTreeMap<String, Answer> {
    let mut seen = BTreeSet::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = BTreeMap::new();
    let mut open: Vec<String> =
        ["/", "/projects", "/credentials", "/notices", "/account"].map(str::to_owned).into();
    while let Some(path) = open.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        if is_one_of_many(&path) {
            let kind = path.rsplit_once(['/', '=']).map_or("", |(kind, _)| kind);
            let count = kinds.entry(kind.to_owned()).or_default();
            *count += 1;
            if *count > 3 {
                continue;
            }
        }
        let answer = app.get(&path).cookie(&who.cookie).header("accept", BROWSER).send().await;
        assert!(matches!(answer.status, 200 | 303), "{path}: {} {}", answer.status, answer.text);
        if answer.status == 303 {
            open.push(answer.header("location").to_owned());
        }
        if answer.header("content-type").starts_with("text/html") {
            open.extend(links(&answer.text));
        }
        if answer.header("content-type").starts_with("text/javascript") {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let parts = answer.text.split("\"./").skip(1).filter_map(|part| part.split('"').next());
            open.extend(parts.map(|name| format!("{folder}/{name}")));
        }
        found.insert(path, answer);
    }
    found
}

/// Headers lead somewhere too.
fn whole(answer: &Answer) -> String {
    format!("{:?}\n{}", answer.headers, answer.text)
}

#[track_caller]
fn clean(pages: &BTreeMap<String, Answer>, planted: &[(&str, String)]) {
    let mut leaks = Vec::new();
    for (path, answer) in pages {
        for (what, value) in planted {
            if holds(&whole(answer), value) || holds(path, value) {
                leaks.push(format!("{what} in {path}"));
            }
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

#[track_caller]
fn was_seen(pages: &BTreeMap<String, Answer>, begins: &str) {
    let seen: Vec<&String> = pages.keys().collect();
    assert!(pages.keys().any(|path| path.starts_with(begins)), "{begins} was not looked at: {seen:?}");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}")).to_owned()
}

const TOKEN: &str = "planted-token+of/a=credential~1";
const PASSWORD_OF_AN_API: &str = "planted password & <words> \"2\"";
const LEAF: &str = "planted leaf of an 'object' 3";
const PROJECT_SECRET: &str = "planted secret of a project & 4";
const ACCESS_TOKEN: &str = "planted-access-token-5";
const PARAMETER: &str = "planted parameter 6";
const TYPED: &str = "planted & typed into a form";

async fn credentials(shop: &Shop) -> Value {
    shop.up.json(
        "/token",
        200,
        json!({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 3600}),
    );
    let made = shop.create(shop.bearer("API", TOKEN)).is(201).await.json();
    let tokened = shop.create(shop.tokened("Tokened", "read")).is(201).await.json();
    let shares = json!([{"project": "acme", "grants": {"production": "production"}}]);
    for body in [
        json!({
            "name": "Plain", "connector": "http", "auth_method": "basic", "shares": shares, "verify": "skip",
            "values": {"production": {"base_url": shop.up.url, "username": "ada", "password": PASSWORD_OF_AN_API}},
        }),
        json!({
            "name": "Object", "connector": "raw", "auth_method": "custom", "shares": shares, "verify": "skip",
            "values": {"production": {"baseUrl": shop.up.url, "apiKey": LEAF, "nested": {"list": [LEAF]}}},
        }),
    ] {
        shop.create(body).is(201).await;
    }
    // The API repeats what it was sent, in the page that tells of the check.
    shop.up.reply("/me", 401, "text/plain", "{raw} {base64} {hex} {url}");
    for one in [&made, &tokened] {
        for _ in 0..2 {
            shop.verify(one, "production").is(200).await;
        }
    }
    made
}

both_shops! {
    async fn no_page_holds_what_is_secret(shop) {
        let app = &shop.app;
        let bob = app.person("bob@example.org").await;
        app.member(&shop.ada, "acme", &bob, "editor").await;
        let root = app.superuser("root@example.org").await;
        let made = credentials(&shop).await;
        let id = text(&made["id"]);
        let path = "/api/v1/projects/acme/environments/production/secrets/signing_key";
        app.put(path, json!({"value": PROJECT_SECRET})).key(&shop.ada.key).is(204).await;
        let client = with(any_server("Provider"), json!({"projects": ["acme"], "token_params": {"audience": PARAMETER}}));
        let client = app.post("/api/v1/oauth-clients", client).key(&root.key).is(201).await.json();
        let hook = json!({"url": format!("{}/hook", shop.up.url)});
        let hook = app.post("/api/v1/projects/acme/webhooks", hook).key(&shop.ada.key).is(201).await.json();
        let service = app.service_key(&shop.ada, "acme", json!({})).await;
        let invited = app.post("/api/v1/invites", json!({"email": "carol@example.org"})).key(&root.key).is(201).await.json();
        let offer = app.post(&shop.at(&made, "/transfer"), json!({"email": "bob@example.org"})).key(&shop.ada.key).is(201).await.json();
        let factor = app.second_factor(&shop.ada).await;
        app.broker.deliver_notices().await.unwrap();
        let session = |who: &Somebody| who.cookie.split_once('=').unwrap().1.to_owned();
        let planted = [
            ("a credential's token", TOKEN.to_owned()),
            ("a credential's password", PASSWORD_OF_AN_API.to_owned()),
            ("a leaf of an object", LEAF.to_owned()),
            ("a credential's client secret", "planted-client-secret-0123".to_owned()),
            ("an access token", ACCESS_TOKEN.to_owned()),
            ("a project's secret", PROJECT_SECRET.to_owned()),
            ("an OAuth client's secret", SECRET.to_owned()),
            ("an OAuth client's parameter", PARAMETER.to_owned()),
            ("a webhook's secret", text(&hook["secret"])),
            ("a service key", text(&service["key"])),
            ("a personal key", shop.ada.key.clone()),
            ("ada's session", session(&shop.ada)),
            ("root's session", session(&root)),
            ("an invitation", text(&invited["url"]).rsplit('/').next().unwrap().to_owned()),
            ("an offer", text(&offer["token"])),
            ("a recovery code", factor.recovery[0].clone()),
        ];

        let hers = walk(app, &shop.ada).await;
        for below in ["", "/values/production", "/values", "/details", "/sharing", "/transfer", "/call", "/activity", "/versions", "/audit"] {
            was_seen(&hers, &format!("/credentials/{id}{below}?project=acme"));
        }
        for begins in ["/projects/acme/secrets", "/projects/acme/audit", "/projects/acme/keys/new", "/account/keys", "/account/totp", "/api/v1/projects/acme/audit/export"] {
            was_seen(&hers, begins);
        }
        was_seen(&hers, &format!("/projects/acme/webhooks/{}", text(&hook["id"])));
        let assets = hers.keys().filter(|path| path.starts_with("/assets/")).count();
        assert!(assets >= 10, "style, icons and scripts are read too: {assets}");
        assert!(hers["/projects/acme/secrets"].text.contains("signing_key"), "{}", hers["/projects/acme/secrets"].text);
        clean(&hers, &planted);

        clean(&walk(app, &bob).await, &planted);
        let roots = walk(app, &root).await;
        was_seen(&roots, &format!("/oauth-clients/{}", text(&client["id"])));
        was_seen(&roots, "/people");
        clean(&roots, &planted);
    }

    async fn no_answer_to_a_form_holds_what_was_typed_in_secret(shop) {
        let app = &shop.app;
        let made = shop.create(shop.bearer("API", TOKEN)).is(201).await.json();
        let id = text(&made["id"]);
        let root = app.superuser("root@example.org").await;
        app.member(&shop.ada, "acme", &root, "admin").await;
        shop.up.reply("/me", 401, "text/plain", "{raw} {base64} {hex} {url}");
        let new = "/projects/acme/credentials/new";
        let base = shop.up.url.as_str();
        let object = format!("{{\"apiKey\": \"{TYPED}\"");
        let forms: [(&Somebody, String, Form<'_>); 6] = [
            (&shop.ada, new.to_owned(), vec![
                ("connector", "http"), ("method", "bearer"), ("name", "Kept name"), ("use-production", "yes"), ("sets", "one"),
                ("/values/default/base_url", base), ("/values/default/token", TYPED), ("/values/default/test_path", "/me"),
            ]),
            (&shop.ada, new.to_owned(), vec![
                ("connector", "raw"), ("method", "custom"), ("name", "Kept name"), ("use-production", "yes"), ("sets", "one"),
                ("/values/default/?json", object.as_str()),
            ]),
            (&shop.ada, format!("/credentials/{id}/values/production?project=acme"), vec![
                ("version", "1"), ("/values/production/base_url", base), ("/values/production/token", TYPED),
                ("/values/production/test_path", "/me"),
            ]),
            (&shop.ada, "/projects/acme/secrets/production".to_owned(), vec![("name", "1 bad name"), ("value", TYPED), ("hosts", "")]),
            (&root, "/oauth-clients".to_owned(), vec![
                ("name", "Kept name"), ("client_id", "ours"), ("client_secret", TYPED), ("authorization_endpoint", "no address"),
                ("token_params", TYPED),
            ]),
            (&shop.ada, "/account/password".to_owned(), vec![("current_password", TYPED), ("new_password", TYPED)]),
        ];
        for (who, path, form) in forms {
            // Also where the page stays and takes over what the answer says.
            for stays in [false, true] {
                let call = app.post(&path, json!({})).form(&form).cookie(&who.cookie);
                let answer = if stays { call.header("latchstring-form", "stay") } else { call }.send().await;
                assert!((400..500).contains(&answer.status), "{path}: {} {}", answer.status, answer.text);
                assert!(answer.header("content-type").starts_with("text/html"), "{path}: {}", answer.text);
                assert!(!holds(&whole(&answer), TYPED), "{path}: {}", answer.text);
            }
        }
    }

    async fn no_preview_and_no_test_shows_what_was_typed_in_secret(shop) {
        shop.up.reply("/me", 200, "text/plain", "{raw} {base64} {hex} {url}");
        shop.up.json("/token", 200, json!({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 3600}));
        let (base, token_url) = (shop.up.url.clone(), format!("{}/token", shop.up.url));
        let object = json!({"baseUrl": base, "apiKey": TYPED, "request": {"headers": {"X-Key": "sk {{ apiKey }}"}, "query": {"key": "{{ apiKey }}"}}});
        let object = object.to_string();
        let methods: [(&str, &str, Form<'_>); 6] = [
            ("http", "bearer", vec![("token", TYPED)]),
            ("http", "basic", vec![("username", "ada"), ("password", TYPED)]),
            ("http", "api_key", vec![("key", "X-Key"), ("value", TYPED), ("in", "header"), ("prefix", "Token")]),
            ("http", "api_key", vec![("key", "key"), ("value", TYPED), ("in", "query")]),
            ("http", "oauth2_client_credentials", vec![("client_id", "ours"), ("client_secret", TYPED), ("token_url", &token_url), ("client_auth", "post")]),
            ("raw", "custom", vec![("?json", &object)]),
        ];
        for (connector, method, values) in methods {
            for how in ["preview", "test"] {
                let values = values.iter().map(|(name, value)| (format!("/values/default/{name}"), *value));
                let mut form: Vec<(String, &str)> = values.collect();
                if connector == "http" {
                    form.push(("/values/default/base_url".to_owned(), &base));
                    form.push(("/values/default/test_path".to_owned(), "/me"));
                }
                for (name, value) in [("connector", connector), ("method", method), ("name", "Tried"), ("use-production", "yes"), ("sets", "one"), ("try", how), ("try_path", "/me")] {
                    form.push((name.to_owned(), value));
                }
                let asked = shop.up.asked();
                let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), *value)).collect();
                let call = shop.app.post("/projects/acme/credentials/new", json!({})).form(&form).cookie(&shop.ada.cookie);
                let shown = call.is(200).await;
                let exchange = shown.text.split("<div class=\"exchange\">").nth(1).unwrap_or_else(|| panic!("{method} {how}: {}", shown.text));
                assert!(exchange.contains("***") || exchange.contains('…'), "{method} {how}: it is masked, not left out: {exchange}");
                assert!(!holds(&whole(&shown), TYPED), "{method} {how}: {}", shown.text);
                assert!(!holds(&whole(&shown), ACCESS_TOKEN), "{method} {how}: {}", shown.text);
                assert_eq!(shop.up.asked() > asked, how == "test", "{method} {how}");
            }
        }
        assert_eq!(shop.count().await, 0, "nothing is saved");
    }
}

both_scenes! {
    async fn no_page_holds_a_grants_tokens(scene) {
        let app = &scene.world.app;
        let id = scene.credential().await;
        assert_eq!(scene.connect(&id, json!({})).await.status, 200);
        let grant = scene.oidc.grant(OidcProvider::CLIENT_ID, "read");
        let body = json!({
            "name": "Brought", "connector": "http", "auth_method": "oauth2_authorization_code", "oauth_client": scene.client["id"],
            "values": {"production": {"base_url": scene.oidc.issuer(), "test_path": "/resource"}},
            "token": {"production": {"access_token": grant["access_token"], "refresh_token": grant["refresh_token"], "expires_in": 3600}},
            "shares": [{"project": "acme", "grants": {"staging": "production"}}],
        });
        let brought = app.post("/api/v1/credentials", body).key(&scene.world.ada.key).is(201).await.json();
        assert_eq!(scene.world.proxy_as_ada("brought/resource").await.status, 200, "it is the token that is used");
        let planted = [
            ("an access token", text(&grant["access_token"])),
            ("a refresh token", text(&grant["refresh_token"])),
            ("a client secret", OidcProvider::CLIENT_SECRET.to_owned()),
        ];
        let hers = walk(app, &scene.world.ada).await;
        for one in [&id, &text(&brought["id"])] {
            for below in ["", "/connect/production", "/activity", "/versions"] {
                was_seen(&hers, &format!("/credentials/{one}{below}?project=acme"));
            }
        }
        clean(&hers, &planted);
        let roots = walk(app, &scene.root).await;
        was_seen(&roots, &format!("/oauth-clients/{}", text(&scene.client["id"])));
        clean(&roots, &planted);
    }
}
