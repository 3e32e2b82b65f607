use axum::http::Method;
use serde_json::json;

use crate::app::both;

both! {
    async fn unknown_addresses_and_methods_are_problems(app) {
        let ada = app.person("ada@example.org").await;
        for path in ["/api/v1/nothing", "/api/v2/me", "/nothing", "/api/v1/projects/acme/nothing"] {
            assert_eq!(app.get(path).key(&ada.key).is(404).await.code(), "not_found", "{path}");
        }
        let answer = app.put("/api/v1/projects", json!({})).key(&ada.key).is(405).await;
        assert_eq!(answer.code(), "method_not_allowed");
        assert!(answer.header("allow").contains("POST"), "{:?}", answer.headers);
    }

    async fn bodies_that_are_none_are_problems(app) {
        let ada = app.person("ada@example.org").await;
        let post = || app.call(Method::POST, "/api/v1/projects").key(&ada.key);
        assert_eq!(post().header("content-type", "application/json").body("{").is(400).await.code(), "bad_request");
        assert_eq!(post().header("content-type", "text/xml").body("<a/>").is(415).await.code(), "unsupported_media_type");
        assert_eq!(post().body("[]").is(422).await.code(), "invalid");
        assert_eq!(post().body("").is(422).await.code(), "invalid");
        for (name, value) in [("content-type", "application/json"), ("idempotency-key", "k")] {
            let large = post().header(name, value).body(vec![b' '; 1024 * 1024 + 1]).is(413).await;
            assert_eq!(large.code(), "body_too_large");
            let problem = large.json();
            assert!(problem["detail"].as_str().unwrap().contains("larger than 1048576 bytes"), "{problem}");
            assert!(problem["hint"].as_str().unwrap().contains("Send a smaller body"), "{problem}");
        }
        assert_eq!(app.get("/api/v1/projects/%FF").key(&ada.key).is(400).await.code(), "bad_request");
    }

    async fn every_answer_has_its_headers(app) {
        let ada = app.person("ada@example.org").await;
        let page = app.get("/sign-in").is(200).await.text;
        let style = page.split("href=\"").find_map(|part| part.split('"').next().filter(|path| path.ends_with("style.css"))).unwrap().to_owned();
        for path in ["/", "/sign-in", "/api/v1/me", "/api/v1/nothing", "/healthz", "/api/v1/openapi.json", style.as_str()] {
            let answer = app.get(path).key(&ada.key).send().await;
            let policy = answer.header("content-security-policy");
            assert!(policy.starts_with("default-src 'self';") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
            assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
            let kept = if path.starts_with("/assets") { "public, max-age=31536000, immutable" } else { "no-store" };
            assert_eq!(answer.header("cache-control"), kept, "{path}");
            assert!(answer.header("x-request-id").starts_with("req_"), "{path}");
        }
        let given = app.get("/healthz").header("x-request-id", "abc-123").is(200).await;
        assert_eq!(given.header("x-request-id"), "abc-123");
        for strange in ["a b", "<script>", &"x".repeat(65)] {
            assert!(app.get("/healthz").header("x-request-id", strange).is(200).await.header("x-request-id").starts_with("req_"), "{strange}");
        }
    }

    async fn whoever_watches_needs_no_key(app) {
        assert_eq!(app.get("/healthz").is(200).await.json(), json!({"status": "ok"}));
        assert_eq!(app.get("/readyz").is(200).await.json(), json!({"status": "ready", "checks": {"database": "ok"}}));
        let metrics = app.get("/metrics").is(200).await;
        assert_eq!((metrics.text.as_str(), metrics.header("content-type")), ("latchstring_up 1\n", "text/plain; version=0.0.4; charset=utf-8"));
    }
}

#[tokio::test]
async fn not_ready_is_a_503_that_says_why() {
    use std::sync::Arc;

    use latchstring_server::{Check, Options};
    let mut app = crate::app::TestApp::new(crate::app::Db::Sqlite).await;
    let options = Options {
        ready: Arc::new(|| {
            Box::pin(async {
                vec![
                    Check { name: "key", trouble: None },
                    Check { name: "journal", trouble: Some("the backlog is full".into()) },
                ]
            })
        }),
        metrics: Arc::new(String::new),
    };
    app.router = latchstring_server::router(app.broker.clone(), options);
    assert_eq!(
        app.get("/readyz").is(503).await.json(),
        json!({"status": "not_ready", "checks": {"key": "ok", "journal": "the backlog is full"}})
    );
}
