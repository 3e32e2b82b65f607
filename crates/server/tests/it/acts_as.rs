//! `acts_as`: whom the API takes for who did it, beside every call in the trail.

use serde_json::{Value, json};

use crate::calling::both_worlds;

both_worlds! {
    async fn a_call_shows_whom_it_acts_as(world) {
        let mut world = world;
        world.run_jobs();
        let made = world.credential("acme", "sandbox", "api_key", "Robot").await;
        let path = format!("/api/v1/credentials/{}", made["id"].as_str().unwrap());
        let name = |text: Value| world.app.patch(&path, json!({"acts_as": text})).key(&world.ada.key);
        assert_eq!(name(json!("two\nlines")).is(422).await.pointers(), ["/acts_as"]);
        assert_eq!(name(json!("x".repeat(201))).is(422).await.pointers(), ["/acts_as"]);
        name(json!("svc-integration")).is(200).await;
        assert_eq!(world.proxy_as_ada("robot/v1/people").await.status, 200);
        world.operation("robot", "people", json!({})).key(&world.ada.key).is(200).await;
        // Another name is for what comes after it.
        name(json!("svc-other")).is(200).await;
        assert_eq!(world.proxy_as_ada("robot/v1/people").await.status, 200);
        name(Value::Null).is(200).await;
        assert_eq!(world.proxy_as_ada("robot/v1/people").await.status, 200);
        let mut seen = Vec::new();
        world.until("four calls in the trail", async || {
            let trail = world.app.get("/api/v1/projects/acme/audit?action=credential.use").key(&world.ada.key).is(200).await.json();
            seen = trail["items"].as_array().unwrap().iter().rev().map(|item| item["call"]["acts_as"].clone()).collect();
            seen.len() == 4
        }).await;
        assert_eq!(seen, [json!("svc-integration"), json!("svc-integration"), json!("svc-other"), Value::Null]);
        let changes = world.app.get("/api/v1/projects/acme/audit?action=credential.update").key(&world.ada.key).is(200).await.json();
        assert_eq!(changes["items"][0]["detail"]["changed"], json!(["acts_as"]));
    }
}
