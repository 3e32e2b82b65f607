//! What is counted, on real calls.

use serde_json::json;

use crate::calling::both_worlds;

both_worlds! {
    async fn calls_are_counted_where_they_end(world) {
        world.credential("acme", "sandbox", "api_key", "main").await;
        for path in ["main/v1/me", "main/v1/me", "main/v1/nothing", "main/v1/status/503", "main/v1/status/302", "main/v1/me/%2e%2e/x", "nothing/x"] {
            world.proxy_as_ada(path).await;
        }
        world.proxy("main/v1/me", &[]).await;
        world.operation("main", "people", json!({})).key(&world.ada.key).is(200).await;
        world.operation("nothing", "people", json!({})).key(&world.ada.key).is(404).await;
        let calls = |purpose: &str, outcome: &str| world.metric(&format!("latchstring_calls_total{{purpose=\"{purpose}\",outcome=\"{outcome}\"}}"));
        // The outcome is noted when the body has been handed over, which the reader may see a moment earlier.
        world.until("all calls have ended", async || calls("call", "2xx") == 2 && calls("call", "5xx") == 1).await;
        assert_eq!((calls("call", "3xx"), calls("call", "4xx"), calls("call", "broken")), (1, 1, 0));
        assert_eq!((calls("operation", "2xx"), calls("verify", "2xx")), (1, 0));
        let errors = |code: &str| world.metric(&format!("latchstring_call_errors_total{{code=\"{code}\"}}"));
        assert_eq!((errors("bad_path"), errors("credential_not_found"), errors("unauthenticated")), (1, 2, 1));
        assert_eq!(world.metric("latchstring_call_duration_seconds_count{purpose=\"call\"}"), 5);
        assert_eq!(world.metric("latchstring_call_duration_seconds_bucket{purpose=\"call\",le=\"+Inf\"}"), 5);
        assert!(world.metric("latchstring_upstream_connections_opened_total{core=\"0\"}") >= 1);
        assert!(world.metric("latchstring_upstream_connections_reused_total{core=\"0\"}") >= 1);
        assert_eq!(world.metric("latchstring_routes_cached"), 1);
        assert!(world.metric("latchstring_journal_unshipped_bytes") > 0);
    }

    async fn a_cold_route_is_looked_up_once_however_many_ask(world) {
        world.credential("acme", "sandbox", "api_key", "main").await;
        let before = world.metric("latchstring_route_lookups_total");
        let mut calls = tokio::task::JoinSet::new();
        let world = std::sync::Arc::new(world);
        for _ in 0..64 {
            let world = std::sync::Arc::clone(&world);
            calls.spawn(async move { world.proxy_as_ada("main/v1/me").await.status });
        }
        while let Some(status) = calls.join_next().await {
            assert_eq!(status.unwrap(), 200);
        }
        let looked_up = world.metric("latchstring_route_lookups_total") - before;
        assert!((1..=2).contains(&looked_up), "{looked_up} look-ups for one route");
    }

    async fn the_text_is_well_formed_and_names_nobody(world) {
        world.credential("acme", "sandbox", "api_key", "main").await;
        world.proxy_as_ada("main/v1/me").await;
        let text = world.app.broker.metrics();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap().to_owned();
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(name.starts_with(&family), "{line} stands below {family}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        assert!(text.ends_with('\n'));
        for secret in ["acme", "example.org", &world.ada.id, "crd_", "prj_", "127.0.0.1"] {
            assert!(!text.contains(secret), "{secret}");
        }
    }
}
