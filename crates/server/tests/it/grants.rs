//! Grants are explicit and stay withdrawn: whatever is removed and made again, shared anew or brought back.

use serde_json::{Value, json};

use crate::app::Answer;
use crate::calling::{World, both_worlds, code};

/// A call of ada's in one of acme's environments.
async fn called(world: &World, environment: &str) -> (u16, String) {
    let key = format!("Bearer {}", world.ada.key);
    let headers = [
        ("authorization", key.as_str()),
        ("latchstring-project", "acme"),
        ("latchstring-environment", environment),
    ];
    let answer = world.proxy("robot/v1/people", &headers).await;
    (answer.status, code(&answer))
}

async fn patch(world: &World, made: &Value, body: Value) -> Answer {
    let path = format!("/api/v1/credentials/{}", made["id"].as_str().unwrap());
    world.app.patch(&path, body).key(&world.ada.key).is(200).await
}

fn refused() -> (u16, String) {
    (403, "no_grant".to_owned())
}

both_worlds! {
    async fn an_environment_made_again_has_no_grants(world) {
        let made = world.credential("acme", "sandbox", "api_key", "Robot").await;
        assert_eq!(called(&world, "staging").await.0, 200);
        let project = |body: Value| world.app.patch("/api/v1/projects/acme", body).key(&world.ada.key);
        // A grant is something that goes with it.
        let refused_first = project(json!({"environments": ["production"]})).is(409).await;
        assert_eq!(refused_first.json()["environments"][0]["credentials"], json!(["robot"]), "{}", refused_first.text);
        assert_eq!(called(&world, "staging").await.0, 200);
        let removed = project(json!({"environments": ["production"], "remove_environments": ["staging"]})).is(200).await.json();
        assert_eq!(removed["removed"][0]["credentials"], json!(["robot"]), "{removed}");
        project(json!({"environments": ["production", "staging"]})).is(200).await;
        assert_eq!(called(&world, "staging").await, refused());
        let seen = world.app.get(&format!("/api/v1/credentials/{}", made["id"].as_str().unwrap())).key(&world.ada.key).is(200).await.json();
        assert_eq!(seen["shares"][0]["grants"], json!({"production": "production"}));
    }

    async fn a_share_made_again_has_the_grants_that_it_names(world) {
        let made = world.credential("acme", "sandbox", "api_key", "Robot").await;
        patch(&world, &made, json!({"shares": []})).await;
        assert_eq!(called(&world, "staging").await, (404, "credential_not_found".to_owned()));
        patch(&world, &made, json!({"shares": [{"project": "acme"}]})).await;
        assert_eq!(called(&world, "staging").await, refused());
        // Withdrawn by the project's admin and shared anew with one of them.
        world.app.delete("/api/v1/projects/acme/credentials/robot").key(&world.ada.key).is(204).await;
        patch(&world, &made, json!({"shares": [{"project": "acme", "grants": {"production": "production"}}]})).await;
        assert_eq!((called(&world, "staging").await, called(&world, "production").await.0), (refused(), 200));
    }

    async fn what_is_brought_back_brings_no_grants(world) {
        let made = world.credential("acme", "sandbox", "api_key", "Robot").await;
        let at = |rest: &str| format!("/api/v1/credentials/{}{rest}", made["id"].as_str().unwrap());
        let key = latchstring_sandbox::DEMO.api_key;
        patch(&world, &made, json!({"verify": "skip", "values": {"production": {"base_url": world.api, "key": "another-key-000"}}})).await;
        patch(&world, &made, json!({"shares": [{"project": "acme", "grants": {"production": "production"}}]})).await;
        // A version from when staging had a grant.
        world.app.post(&at("/versions/1/restore"), json!({"verify": "skip"})).key(&world.ada.key).is(200).await;
        assert_eq!((called(&world, "staging").await, called(&world, "production").await.0), (refused(), 200));
        // Deleted and restored, with a grant withdrawn in between: its environment went.
        world.app.delete(&at("")).key(&world.ada.key).is(200).await;
        let environments = json!({"environments": ["staging"], "remove_environments": ["production"]});
        world.app.patch("/api/v1/projects/acme", environments).key(&world.ada.key).is(200).await;
        let environments = json!({"environments": ["staging", "production"]});
        world.app.patch("/api/v1/projects/acme", environments).key(&world.ada.key).is(200).await;
        world.app.post(&at("/restore"), json!({})).key(&world.ada.key).is(200).await;
        assert_eq!((called(&world, "staging").await, called(&world, "production").await), (refused(), refused()));
        // Values of the same name, removed with their grants and set again.
        patch(&world, &made, json!({"shares": [{"project": "acme", "grants": {"staging": "production"}}]})).await;
        assert_eq!(called(&world, "staging").await.0, 200);
        let moved = json!({
            "verify": "skip", "values": {"production": null, "other": {"base_url": world.api, "key": key}},
            "shares": [{"project": "acme", "grants": {}}],
        });
        patch(&world, &made, moved).await;
        patch(&world, &made, json!({"verify": "skip", "values": {"production": {"base_url": world.api, "key": key}}})).await;
        assert_eq!(called(&world, "staging").await, refused());
    }

    async fn nothing_is_matched_by_a_name(world) {
        // The credential's environments are called what the project's are; nothing of that counts.
        let body = json!({
            "name": "Robot", "connector": "sandbox", "auth_method": "api_key", "verify": "skip",
            "values": {
                "staging": {"base_url": world.api, "key": latchstring_sandbox::DEMO.api_key},
                "production": {"base_url": world.api, "key": latchstring_sandbox::DEMO.api_key},
            },
            "shares": [{"project": "acme", "grants": {"staging": "staging"}}],
        });
        world.app.post("/api/v1/credentials", body).key(&world.ada.key).is(201).await;
        assert_eq!((called(&world, "staging").await.0, called(&world, "production").await), (200, refused()));
    }

    // The same call, and another environment named: nothing else changes.
    async fn from_staging_to_production_only_the_environment_is_another(world) {
        let body = json!({
            "name": "Robot", "connector": "sandbox", "auth_method": "api_key", "verify": "skip",
            "values": {
                "try": {"base_url": world.api, "key": "a-key-the-api-does-not-know"},
                "live": {"base_url": world.api, "key": latchstring_sandbox::DEMO.api_key},
            },
            "shares": [{"project": "acme", "grants": {"staging": "try", "production": "live"}}],
        });
        world.app.post("/api/v1/credentials", body).key(&world.ada.key).is(201).await;
        assert_eq!((called(&world, "staging").await.0, called(&world, "production").await.0), (401, 200));
        for (environment, status) in [("staging", 502), ("production", 200)] {
            let path = format!("/api/v1/projects/acme/environments/{environment}/credentials/robot/call/people");
            world.app.post(&path, json!({})).key(&world.ada.key).is(status).await;
        }
    }

    // Bob owns what acme uses and leaves: the list says what stops, and what stops has stopped.
    async fn who_leaves_leaves_a_list(world) {
        let bob = world.app.person("bob@example.org").await;
        world.app.member(&world.ada, "acme", &bob, "editor").await;
        let body = json!({
            "name": "Bobs", "connector": "sandbox", "auth_method": "api_key", "verify": "skip",
            "values": {"production": {"base_url": world.api, "key": latchstring_sandbox::DEMO.api_key}},
            "shares": [{"project": "acme", "grants": {"staging": "production"}}],
        });
        let made = world.app.post("/api/v1/credentials", body).key(&bob.key).is(201).await.json();
        let key = world.app.service_key(&world.ada, "acme", json!({"credentials": [made["id"]]})).await;
        let chain = json!({"name": "Chain", "connector": "sandbox", "by": "{{ input.c }}", "default": "bobs"});
        world.app.post("/api/v1/projects/acme/keychains", chain).key(&world.ada.key).is(201).await;
        let stops = json!([{
            "id": made["id"], "name": "Bobs", "slug": "bobs", "environments": ["staging"], "keychains": ["chain"], "api_keys": ["robot"],
            "complete": true, "looked_back_to": null,
        }]);
        let path = "/api/v1/projects/acme/members/bob@example.org";
        let refused = world.app.delete(path).key(&bob.key).is(409).await;
        assert_eq!((refused.code(), refused.json()["credentials"].clone()), ("member_owns_credentials".into(), stops.clone()));
        let call = || world.operation("bobs", "people", json!({})).key(key["key"].as_str().unwrap());
        call().is(200).await;
        let gone = world.app.delete(&format!("{path}?withdraw=true")).key(&world.ada.key).is(200).await;
        assert_eq!(gone.json()["withdrawn"], stops);
        assert_eq!(call().is(404).await.code(), "credential_not_found");
        world.app.get("/api/v1/projects/acme").key(&bob.key).is(404).await;
        // Back again, what was withdrawn is still withdrawn.
        world.app.member(&world.ada, "acme", &bob, "editor").await;
        assert_eq!(call().is(404).await.code(), "credential_not_found");
    }
}
