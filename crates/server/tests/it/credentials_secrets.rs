//! Planted secrets are in no answer, in no form, whatever the API repeats.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

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
