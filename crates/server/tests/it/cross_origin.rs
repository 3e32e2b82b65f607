use serde_json::json;

use crate::app::{PASSWORD, both};

both! {
    async fn a_session_acts_for_our_own_pages_only(app) {
        let ada = app.person("ada@example.org").await;
        let change = || app.patch("/api/v1/me", json!({"name": "Ada"})).header("cookie", &ada.cookie);
        for (name, value) in [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("sec-fetch-site", "none"), ("origin", "https://evil.example"), ("origin", "null")] {
            assert_eq!(change().header(name, value).is(403).await.code(), "cross_origin", "{name}: {value}");
        }
        assert_eq!(change().is(403).await.code(), "cross_origin", "saying nothing is not saying same-origin");
        change().header("sec-fetch-site", "same-origin").is(200).await;
        change().header("origin", "http://127.0.0.1:5282").is(200).await;
        for call in [app.delete("/api/v1/session"), app.post("/api/v1/me/keys", json!({"name": "x"})), app.post("/account/keys", json!({})), app.post("/sign-out", json!({}))] {
            assert_eq!(call.header("cookie", &ada.cookie).header("origin", "https://evil.example").is(403).await.code(), "cross_origin");
        }
        app.get("/api/v1/me").header("cookie", &ada.cookie).header("sec-fetch-site", "cross-site").is(200).await;
        let refused = app.records().await.into_iter().filter(|record| record.body.contains("cross_origin")).count();
        assert_eq!(refused, 10, "six changes of the name; a session and a key through the API, and both through pages");
    }

    async fn keys_need_no_origin(app) {
        let ada = app.person("ada@example.org").await;
        app.patch("/api/v1/me", json!({"name": "Ada"})).key(&ada.key).header("origin", "https://evil.example").is(200).await;
    }

    async fn nobody_is_signed_in_from_elsewhere(app) {
        app.person("ada@example.org").await;
        let body = json!({"email": "ada@example.org", "password": PASSWORD});
        let answer = app.post("/api/v1/session", body.clone()).header("origin", "https://evil.example").is(403).await;
        assert!(answer.headers.get("set-cookie").is_none());
        app.post("/sign-in", json!({})).form(&[("email", "ada@example.org"), ("password", PASSWORD)]).header("sec-fetch-site", "cross-site").is(403).await;
        app.post("/api/v1/session", body).is(204).await;
    }
}
