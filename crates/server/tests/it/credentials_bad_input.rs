//! What people get wrong: each with its code, a pointer, and what to do; and nothing is saved.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::app::Db;
use crate::credentials_upstream::{Shop, both_shops};

/// A body with one thing wrong, where it is, and a part of what is said.
fn wrong(shop: &Shop) -> Vec<(Value, &'static str, &'static str)> {
    let http = |method: &str, mut values: Value| {
        values["base_url"] = shop.up.url.as_str().into();
        json!({"name": "x", "connector": "http", "auth_method": method, "values": {"production": values}})
    };
    let with = |mut body: Value, pointer: &str, value: Value| {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[name] = value;
        body
    };
    let good = || http("bearer", json!({"token": "planted-bearer-token", "test_path": "/me"}));
    let key = latchstring_sandbox::DEMO.private_key;
    let public = latchstring_sandbox::DEMO.public_key;
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let jwt = |key: &str, algorithm: &str| {
        http("jwt", json!({"private_key": key, "algorithm": algorithm, "claims": {"iss": "x"}}))
    };
    vec![
        (with(good(), "/connector", "salesfroce".into()), "/connector", "did you mean `salesforce`?"),
        (
            with(good(), "/connector", "no-such-thing-at-all".into()),
            "/connector",
            "`no-such-thing-at-all`; GET /api/v1/connectors and the page /docs/connectors list",
        ),
        (with(good(), "/auth_method", "beaer".into()), "/auth_method", "did you mean `bearer`?"),
        (with(good(), "/auth_method", "x".into()), "/auth_method", "it has none, api_key"),
        (
            with(good(), "/values/production/tokn", "x".into()),
            "/values/production/tokn",
            "did you mean `token`?",
        ),
        (with(good(), "/values/production/token", "".into()), "/values/production/token", "Token is missing"),
        (
            with(good(), "/values/production/token", json!(["x"])),
            "/values/production/token",
            "a text is needed",
        ),
        (with(good(), "/values", json!({})), "/values", "no environment"),
        (with(good(), "/name", "".into()), "/name", "is empty"),
        (with(good(), "/external_id", "7".into()), "/external_id", "belongs to a share"),
        (with(good(), "/oauth_client", "oac_x".into()), "/oauth_client", "no OAuth client"),
        (
            with(good(), "/token", json!({"production": {}})),
            "/token",
            "neither an access token nor a refresh token",
        ),
        (
            with(good(), "/values/production/base_url", "api.example.com".into()),
            "/values/production/base_url",
            "write it whole",
        ),
        (
            with(good(), "/values/production/base_url", "ftp://example.com".into()),
            "/values/production/base_url",
            "https",
        ),
        (
            with(good(), "/values/production/base_url", "https://me:pw@example.com".into()),
            "/values/production/base_url",
            "user name and password",
        ),
        (
            with(good(), "/values/production/base_url", "https://example.com/?a=b".into()),
            "/values/production/base_url",
            "no `?`",
        ),
        (
            with(good(), "/values/production/token", "{{ get_secret('x' }}".into()),
            "/values/production/token",
            "template",
        ),
        (
            with(good(), "/values/production/token", "{{ nothing }}".into()),
            "/values/production/token",
            "nothing",
        ),
        (
            with(good(), "/values/production/token", "line\nend".into()),
            "/values/production/token",
            "line end",
        ),
        (
            with(good(), "/values/production/token", "Bearer abcdefghijkl".into()),
            "/values/production/token",
            "already",
        ),
        (
            jwt("no key at all", "RS256"),
            "/values/production/private_key",
            "not a private key in PEM form: there is no `-----BEGIN … PRIVATE KEY-----` line. Paste the whole file",
        ),
        (
            jwt(certificate, "RS256"),
            "/values/production/private_key",
            "this is a certificate; the private key is needed",
        ),
        (
            jwt(public, "RS256"),
            "/values/production/private_key",
            "this is a public key; the private key is needed",
        ),
        (
            jwt(&key[..key.len() / 2], "RS256"),
            "/values/production/private_key",
            "is missing; paste the whole file",
        ),
        (
            jwt(key, "ES256"),
            "/values/production/private_key",
            "Choose the algorithm that the API expects, or paste the key that belongs to ES256",
        ),
        (
            jwt(key, "EdDSA"),
            "/values/production/private_key",
            "Choose the algorithm that the API expects, or paste the key that belongs to EdDSA",
        ),
        (jwt(key, "RS257"), "/values/production/algorithm", "did you mean"),
        (
            json!({"name": "x", "connector": "stripe", "auth_method": "api_key", "values": {"production": {"api_key": "sk_test_0123456789", "base_url": "http://api.stripe.com"}}}),
            "/values/production/base_url",
            "no such field",
        ),
    ]
}

both_shops! {
    async fn each_mistake_is_pointed_at(shop) {
        for (body, pointer, says) in wrong(&shop) {
            let refused = shop.create(body.clone()).send().await;
            assert_eq!(refused.status, 422, "{pointer} {says}: {}", refused.text);
            assert_eq!(refused.code(), "invalid", "{}", refused.text);
            let problem = refused.json();
            let found = problem["errors"].as_array().unwrap().iter().find(|error| error["pointer"].as_str().unwrap().starts_with(pointer));
            let found = found.unwrap_or_else(|| panic!("{pointer}: {problem}"));
            assert!(found["detail"].as_str().unwrap().contains(says), "{says}: {problem}");
            assert!(!refused.text.contains("planted-bearer"), "{}", refused.text);
        }
        assert_eq!((shop.count().await, shop.up.asked()), (0, 0), "nothing was saved, nobody was asked");
    }

    async fn keys_are_made_for_good_requests_and_a_few_at_a_time(shop) {
        let one = || json!({"base_url": shop.up.url, "private_key": {"generate": "ec256"}, "algorithm": "ES256", "claims": {"iss": "x"}});
        let body = |count: usize| {
            let values: serde_json::Map<String, Value> = (0..count).map(|i| (format!("e{i}"), one())).collect();
            json!({"name": "x", "connector": "http", "auth_method": "jwt", "verify": "skip", "values": values})
        };
        let refused = shop.create(body(5)).is(422).await;
        assert_eq!(refused.pointers(), ["/values"], "{}", refused.text);
        assert!(refused.text.contains("asks for 5 keys; one request makes at most 4"), "{}", refused.text);
        let made = shop.create(body(4)).is(201).await.json();
        // Were keys made first, this would be refused because a new key cannot be verified.
        let change = json!({"name": "", "values": {"e0": {"private_key": {"generate": "rsa4096"}}}});
        assert_eq!(shop.patch(&made, change).is(422).await.pointers(), ["/name"]);
    }

    async fn all_mistakes_come_at_once(shop) {
        let body = json!({"name": "x", "connector": "http", "auth_method": "basic", "values": {
            "production": {"base_url": "nowhere", "usrname": "x"}, "staging": {"test_path": "me"}}});
        let refused = shop.create(body).is(422).await;
        let mut pointers = refused.pointers();
        pointers.sort();
        assert_eq!(pointers, ["/values/production/base_url", "/values/production/usrname", "/values/staging/base_url", "/values/staging/test_path"]);
    }

    async fn http_where_https_is_wanted_is_pointed_at(shop) {
        let definition = "id: strict\nname: Strict\nhosts: ['*.example.com']\nbase_url: '{{ base_url }}'\nauth_methods:\n  key:\n    label: Key\n    fields:\n      base_url: {type: url}\n      token: {type: text, secret: true}\n    scheme: {type: bearer, token: '{{ token }}'}\n";
        shop.app.call(axum::http::Method::POST, "/api/v1/projects/acme/connectors").header("content-type", "application/yaml").body(definition).key(&shop.ada.key).is(201).await;
        for (base, says) in [("http://api.example.com", "wants https"), ("https://api.example.org", "none of the hosts"), ("https://example.com.evil.org", "none of the hosts")] {
            let body = json!({"name": "x", "connector": "strict", "auth_method": "key", "values": {"production": {"base_url": base, "token": "planted-bearer-token"}},
                "shares": [{"project": "acme", "grants": {}}]});
            let refused = shop.create(body).is(422).await;
            assert_eq!(refused.pointers(), ["/values/production/base_url"], "{}", refused.text);
            assert!(refused.json()["detail"].as_str().unwrap().contains(says), "{}", refused.text);
            assert!(refused.json()["hint"].is_string());
        }
    }

    async fn private_unknown_and_dead_addresses_read_the_same(shop) {
        let closed = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            format!("http://{}", listener.local_addr().unwrap())
        };
        let mut texts = std::collections::HashSet::new();
        for base in ["http://10.0.0.1", "http://169.254.169.254", "http://nothing.invalid", closed.as_str()] {
            let mut body = shop.bearer("x", "planted-bearer-token");
            body["values"]["production"]["base_url"] = base.into();
            let refused = shop.create(body).is(422).await;
            assert_eq!(refused.code(), "verification_inconclusive");
            assert_eq!(refused.pointers(), ["/values/production/base_url"]);
            let problem = refused.json();
            assert!(problem["hint"].as_str().unwrap().contains("Check the address; an operator finds the exact reason in the log and can allow a network with LATCHSTRING_EGRESS_ALLOW"), "{problem}");
            texts.insert(refused.text.replace(base, "").replace(base.trim_start_matches("http://"), ""));
        }
        assert_eq!(texts.len(), 1, "a verification is no port scanner: {texts:?}");
        assert_eq!(shop.count().await, 0);
    }

    async fn token_endpoints_that_give_none_are_explained(shop) {
        for (status, kind, body, code) in [
            (200, "text/html", "<html><title>Sign in</title></html>", "verification_inconclusive"),
            (200, "application/json", "", "verification_inconclusive"),
            (200, "application/json", "[]", "verification_inconclusive"),
            (200, "application/json", "{\"error\":\"invalid_client\",\"error_description\":\"no such client\"}", "verification_failed"),
            (400, "application/json", "{\"error\":\"invalid_grant\"}", "verification_failed"),
            (401, "application/json", "{\"error\":\"invalid_client\"}", "verification_failed"),
            (302, "text/plain", "", "verification_inconclusive"),
            (404, "text/html", "<h1>Not found</h1>", "verification_inconclusive"),
            (500, "text/plain", "boom", "verification_inconclusive"),
            (429, "application/json", "{}", "verification_inconclusive"),
        ] {
            shop.up.reply("/token", status, kind, body);
            let refused = shop.create(shop.tokened("x", "read")).is(422).await;
            assert_eq!(refused.code(), code, "{status} {body}: {}", refused.text);
            let problem = refused.json();
            assert_eq!(problem["upstream"]["status"], status, "{problem}");
            let hint = problem["hint"].as_str().unwrap();
            assert!(hint.len() > 10 && !hint.contains("Reconnect"), "nobody signs in: {problem}");
            assert!(problem["request"]["url"].as_str().unwrap().ends_with("/token"), "{problem}");
            assert!(!refused.text.contains("planted-client-secret"));
        }
        assert_eq!((shop.count().await, shop.up.seen("/me").len()), (0, 0));
    }

    async fn a_token_request_and_its_refusal_stand_side_by_side(shop) {
        shop.up.reply("/token", 401, "application/json", "{\"error\":\"invalid_client\",\"error_description\":\"bad header Basic {raw}\"}");
        let problem = shop.create(shop.tokened("x", "read")).is(422).await.json();
        let request = &problem["request"];
        assert_eq!((&request["method"], &request["url"]), (&json!("POST"), &json!(format!("{}/token", shop.up.url))));
        assert_eq!(request["headers"]["authorization"], "Basic …", "{problem}");
        assert_eq!(request["headers"]["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(request["body"], "grant_type=client_credentials&scope=read");
        let response = &problem["response"];
        assert_eq!(response["status"], 401);
        let stars = "*".repeat(44);
        let wanted = json!({"content-type": "application/json", "www-authenticate": format!("Basic realm=\"for {stars}\"")});
        assert_eq!(response["headers"], wanted);
        let said = json!({"error": "invalid_client", "error_description": format!("bad header Basic {stars}")});
        assert_eq!(serde_json::from_str::<Value>(response["body_excerpt"].as_str().unwrap()).unwrap(), said);
        assert!(problem["detail"].as_str().unwrap().contains(&format!("bad header Basic {stars}")), "{problem}");
        // In the body, where the method puts the client there.
        let mut post = shop.tokened("x", "read");
        post["values"]["production"]["client_auth"] = "post".into();
        let request = shop.create(post).is(422).await.json()["request"].clone();
        assert_eq!(request["body"], "grant_type=client_credentials&scope=read&client_id=…&client_secret=…");
        assert!(request["headers"]["authorization"].is_null());
    }

    async fn a_refused_assertion_is_not_told_as_a_dead_consent(shop) {
        shop.up.reply("/token", 400, "application/json", "{\"error\":\"invalid_grant\"}");
        let body = json!({"name": "x", "connector": "http", "auth_method": "oauth2_jwt_bearer", "values": {"production": {
            "base_url": shop.up.url, "token_url": format!("{}/token", shop.up.url), "client_id": "latch", "subject": "ada",
            "audience": "https://id.example.com", "private_key": {"generate": "ec256"}, "algorithm": "ES256", "test_path": "/me"}},
            "verify": "skip", "shares": [{"project": "acme", "grants": {"production": "production"}}]});
        let made = shop.create(body).is(201).await.json();
        let report = shop.verify(&made, "production").is(200).await.json();
        assert!(report["hint"].as_str().unwrap().contains("Compare client id, subject, audience and key"), "{report}");
        assert!(report["explanation"].as_str().unwrap().contains("does not accept the assertion (HTTP 400)"), "{report}");
        let shown = report["request"]["body"].as_str().unwrap();
        assert_eq!(shown, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=…");
    }

    async fn a_secret_in_a_value_needs_a_project_and_an_editor(shop) {
        let secret = "/api/v1/projects/acme/environments/production/secrets/api_token";
        let mut body = shop.bearer("API", "{{ get_secret('api_token') }}");
        let grants = body["shares"].take();
        body["shares"] = json!([]);
        let alone = shop.create(body.clone()).is(422).await;
        assert_eq!(alone.pointers(), ["/values/production/token"]);
        assert!(alone.json()["detail"].as_str().unwrap().contains("granted to none"), "{}", alone.text);
        assert!(alone.json()["hint"].as_str().unwrap().contains("skip"));
        // Kept for later, unverified and pinned nowhere.
        body["verify"] = "skip".into();
        let kept = shop.create(body.clone()).is(201).await.json();
        assert_eq!(kept["environments"]["production"]["status"], "unverified");
        let mut granted = body.clone();
        granted["shares"] = grants;
        granted["shares"][0]["grants"] = json!({"production": "production"});
        granted["verify"] = "required".into();
        granted["name"] = "Granted".into();
        let missing = shop.create(granted.clone()).is(424).await;
        assert_eq!((missing.code(), missing.pointers()), ("secret_missing".to_owned(), vec!["/values/production/token".to_owned()]));
        shop.app.put(secret, json!({"value": "planted-project-secret"})).key(&shop.ada.key).is(204).await;
        let made = shop.create(granted.clone()).is(201).await.json();
        assert_eq!(shop.up.seen("/me").last().unwrap().headers["authorization"], "Bearer planted-project-secret");
        // Granted later, it is verified there and pinned.
        let later = shop.patch(&kept, json!({"shares": [{"project": "acme", "slug": "later", "grants": {"production": "production"}}]})).is(200).await.json();
        assert_eq!(later["environments"]["production"]["destinations"], made["environments"]["production"]["destinations"]);
        let bob = shop.app.person("bob@example.org").await;
        // An editor names what they have set themselves, and nothing of others: it would go wherever they like.
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let asked = shop.up.asked();
        let mut theirs = granted.clone();
        theirs["name"] = "Theirs".into();
        let take = async |body: &Value| shop.app.post("/api/v1/credentials", body.clone()).key(&bob.key).send().await;
        let refused = take(&theirs).await;
        assert_eq!((refused.status, refused.pointers()), (422, vec!["/values/production".to_owned()]), "{}", refused.text);
        assert!(refused.json()["detail"].as_str().unwrap().contains("`api_token`") && refused.text.contains("needs admin"), "{}", refused.text);
        // Nor what somebody may set under that name later.
        let mut later = theirs.clone();
        later["values"]["production"]["token"] = "{{ get_secret('not_there_yet') }}".into();
        assert_eq!(take(&later).await.code(), "secret_missing");
        later["verify"] = "skip".into();
        assert!(take(&later).await.text.contains("`not_there_yet`"));
        assert_eq!(shop.up.asked(), asked, "no secret left");
        shop.app.put(secret, json!({"value": "planted-project-secret"})).key(&bob.key).is(204).await;
        assert_eq!(take(&theirs).await.status, 201, "what bob has set himself");
        shop.app.put(secret, json!({"value": "planted-project-secret"})).key(&shop.ada.key).is(204).await;
        // Somebody who only looks at a project does not make its secrets travel.
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        granted["name"] = "Bobs".into();
        granted["values"]["production"]["token"] = "planted-bobs-own-token".into();
        let bobs = shop.app.post("/api/v1/credentials", granted).key(&bob.key).is(201).await.json();
        shop.app.member(&shop.ada, "acme", &bob, "viewer").await;
        let asked = shop.up.asked();
        let name = json!({"values": {"production": {"token": "{{ get_secret('api_token') }}"}}});
        let refused = shop.app.patch(&shop.at(&bobs, ""), name).key(&bob.key).is(422).await;
        assert!(refused.json()["detail"].as_str().unwrap().contains("your role is viewer"), "{}", refused.text);
        assert_eq!(shop.up.asked(), asked, "the secret did not leave");
        // Nor to a host that the secret is not for.
        shop.app.put(secret, json!({"value": "planted-project-secret", "hosts": ["api.example.org"]})).key(&shop.ada.key).is(204).await;
        let hosts = shop.patch(&made, json!({"values": {"production": {"test_path": "/other"}}})).is(422).await;
        assert!(hosts.json()["detail"].as_str().unwrap().contains("may only be sent to"), "{}", hosts.text);
        assert!(shop.up.seen("/other").is_empty());
    }
}

/// The wait is real, so once is enough: the database has no part in it.
#[tokio::test]
async fn a_token_endpoint_that_never_answers_is_not_waited_for_long() {
    let shop = Shop::new(Db::Sqlite).await;
    shop.up.slow("/token", Duration::from_secs(120));
    let began = Instant::now();
    let refused = shop.create(shop.tokened("x", "read")).is(422).await;
    assert_eq!(refused.code(), "verification_inconclusive");
    assert!(refused.json()["detail"].as_str().unwrap().contains("did not answer within"), "{}", refused.text);
    assert_eq!(refused.pointers(), ["/values/production/token_url"]);
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(shop.count().await, 0);
}
