//! Planted secrets are in no answer, in no form, whatever the API repeats.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::app::Answer;
use crate::credentials_upstream::{both_shops, hex, url};

const TOKEN: &str = "planted/bearer+token=0123456789";
const ECHO: &str = r#"{"raw": "{raw}", "base64": "{base64}", "hex": "{hex}", "url": "{url}"}"#;

#[track_caller]
fn clean(answer: &Answer, secret: &str) {
    let forms = [
        secret.to_owned(),
        STANDARD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        hex(secret),
        hex(secret).to_uppercase(),
        url(secret),
        secret.replace('/', "\\/"),
    ];
    for form in forms {
        assert!(!answer.text.contains(&form), "{form}: {}", answer.text);
        let headers = format!("{:?}", answer.headers);
        assert!(!headers.contains(&form), "{form}: {headers}");
    }
}

both_shops! {
    async fn a_bearer_token_is_in_no_answer(shop) {
        for status in [401, 404, 500] {
            shop.up.reply("/me", status, "application/json", ECHO);
            let refused = shop.create(shop.bearer("API", TOKEN)).is(422).await;
            assert!(refused.text.contains("***"), "the echo is shown, masked: {}", refused.text);
            clean(&refused, TOKEN);
        }
        shop.up.reply("/me", 200, "application/json", ECHO);
        let made = shop.create(shop.bearer("API", TOKEN)).is(201).await;
        clean(&made, TOKEN);
        let made = made.json();
        let checked = shop.verify(&made, "production").is(200).await;
        assert!(checked.json()["response"]["body_excerpt"].as_str().unwrap().contains("***"));
        clean(&checked, TOKEN);
        let key = &shop.ada.key;
        let mut answers = vec![shop.read(&made).await];
        for rest in ["/versions", "/usage"] {
            answers.push(shop.app.get(&shop.at(&made, rest)).key(key).is(200).await);
        }
        answers.push(shop.app.get("/api/v1/credentials?project=acme").key(key).is(200).await);
        answers.push(shop.app.get("/api/v1/projects/acme/audit").key(key).is(200).await);
        answers.push(shop.patch(&made, json!({"note": "x", "values": {"production": {"token": format!("{TOKEN}-two")}}})).is(200).await);
        shop.up.reply("/me", 403, "text/plain", "no: {raw} {base64} {hex} {url}");
        answers.push(shop.patch(&made, json!({"values": {"production": {"token": format!("{TOKEN}-three")}}})).is(422).await);
        answers.push(shop.patch(&made, json!({"values": {"production": {"token": {"wrong": TOKEN}}}})).is(422).await);
        answers.push(shop.patch(&made, json!({"values": {"production": {"test_path": TOKEN, "token": TOKEN}}})).is(422).await);
        answers.push(shop.app.post(&shop.at(&made, "/versions/1/restore"), json!({})).key(key).is(422).await);
        for answer in &answers[..6] {
            clean(answer, TOKEN);
        }
        for secret in [format!("{TOKEN}-two"), format!("{TOKEN}-three")] {
            for answer in &answers {
                clean(answer, &secret);
            }
        }
        for record in shop.app.records().await {
            assert!(!record.body.contains("planted"), "{}", record.body);
        }
    }

    async fn a_failed_login_says_what_the_api_said_without_what_it_repeats(shop) {
        let definition = format!("id: desk\nname: Desk\nallow_http: true\nbase_url: {}/api\nauth_methods:\n  login:\n    label: Login\n    fields:\n      password: {{type: text, secret: true}}\n    scheme:\n      type: steps\n      steps:\n        - name: open\n          post: /open\n          extract: {{nonce: nonce}}\n        - name: login\n          post: /login\n          body: {{json: {{password: '{{{{ password }}}}', nonce: '{{{{ token.nonce }}}}'}}}}\n          error: message\n          extract: {{sid: sid}}\n      apply: {{headers: {{X-Sid: '{{{{ token.sid }}}}'}}}}\nverify: {{get: /me}}\n", shop.up.url);
        shop.app.call(axum::http::Method::POST, "/api/v1/projects/acme/connectors").header("content-type", "application/yaml").body(definition).key(&shop.ada.key).is(201).await;
        shop.up.json("/api/open", 200, json!({"nonce": "planted-nonce-of-the-login"}));
        shop.up.json("/api/login", 401, json!({"message": "wrong password: {body}"}));
        let wanted = |verify: &str| json!({"name": "Desk", "connector": "desk", "auth_method": "login", "verify": verify, "values": {"production": {"password": "planted-pass-word-1"}},
            "shares": [{"project": "acme", "grants": {"production": "production"}}]});
        let check = |answer: &Answer| {
            assert!(answer.text.contains("wrong password"), "the API's own words: {}", answer.text);
            for secret in ["planted-pass-word-1", "planted-nonce-of-the-login"] {
                clean(answer, secret);
            }
        };
        check(&shop.create(wanted("required")).is(422).await);
        assert!(shop.up.seen("/api/login")[0].body.contains("planted-nonce-of-the-login"), "it was sent");
        let made = shop.create(wanted("skip")).is(201).await.json();
        check(&shop.verify(&made, "production").is(200).await);
        // What is kept about it is masked as well.
        clean(&shop.read(&made).await, "planted-pass-word-1");
    }

    async fn a_secret_with_hosts_goes_to_no_other_by_a_login(shop) {
        let definition = format!("id: desk\nname: Desk\nallow_http: true\nbase_url: {}/api\nauth_methods:\n  login:\n    label: Login\n    fields:\n      password: {{type: text, secret: true}}\n    scheme:\n      type: steps\n      steps: [{{name: login, post: /login, body: {{json: {{password: '{{{{ password }}}}'}}}}, extract: {{sid: sid}}}}]\n      apply: {{headers: {{X-Sid: '{{{{ token.sid }}}}'}}}}\nverify: {{get: /me}}\n", shop.up.url);
        shop.app.call(axum::http::Method::POST, "/api/v1/projects/acme/connectors").header("content-type", "application/yaml").body(definition).key(&shop.ada.key).is(201).await;
        let secret = |hosts: Value| shop.app.put("/api/v1/projects/acme/environments/production/secrets/desk", json!({"value": "planted-project-secret", "hosts": hosts})).key(&shop.ada.key);
        secret(json!(["api.example.org"])).is(204).await;
        shop.up.json("/api/login", 200, json!({"sid": "session-of-the-login"}));
        let wanted = json!({"name": "Desk", "connector": "desk", "auth_method": "login", "values": {"production": {"password": "{{ get_secret('desk') }}"}},
            "shares": [{"project": "acme", "grants": {"production": "production"}}]});
        let refused = shop.create(wanted.clone()).is(422).await;
        assert!(refused.json()["detail"].as_str().unwrap().contains("may only be sent to"), "{}", refused.text);
        assert_eq!(shop.up.asked(), 0, "nothing was sent");
        secret(json!([])).is(204).await;
        let made = shop.create(wanted).is(201).await.json();
        assert_eq!(shop.up.seen("/api/login").len(), 1);
        // Narrowed afterwards: no login any more, whoever asks.
        secret(json!(["api.example.org"])).is(204).await;
        let before = shop.up.asked();
        let report = shop.verify(&made, "production").send().await;
        assert!(report.text.contains("may only be sent to"), "{}", report.text);
        assert_eq!(shop.up.asked(), before);
    }

    async fn a_client_secret_and_its_token_are_in_no_answer(shop) {
        const SECRET: &str = "planted-client-secret-0123";
        shop.up.reply("/token", 400, "application/json", r#"{"error": "invalid_client", "error_description": "{body} {raw}", "access_token": "planted-access-token-77"}"#);
        let refused = shop.create(shop.tokened("API", "read")).is(422).await;
        clean(&refused, SECRET);
        clean(&refused, "planted-access-token-77");
        shop.up.json("/token", 200, json!({"access_token": "planted-access-token-78", "refresh_token": "planted-refresh-token-78", "token_type": "Bearer", "expires_in": 60}));
        shop.up.reply("/me", 401, "application/json", ECHO);
        let refused = shop.create(shop.tokened("API", "read")).is(422).await;
        shop.up.reply("/me", 200, "application/json", ECHO);
        let made = shop.create(shop.tokened("API", "read")).is(201).await;
        let checked = shop.verify(&made.json(), "production").is(200).await;
        let read = shop.read(&made.json()).await;
        for answer in [&refused, &made, &checked, &read] {
            for secret in [SECRET, "planted-access-token-78", "planted-refresh-token-78"] {
                clean(answer, secret);
            }
        }
    }
}
