//! `GET …/audit`: who sees what, filtered and page by page.

use serde_json::{Value, json};

use crate::calling::{World, both_worlds};

async fn items(world: &World, query: &str) -> Vec<Value> {
    let path = format!("/api/v1/projects/acme/audit{query}");
    let answer = world.app.get(&path).key(&world.ada.key).is(200).await.json();
    answer["items"].as_array().unwrap().clone()
}

fn of(items: &[Value], member: &str) -> Vec<String> {
    let text = |item: &Value| item[member].as_str().unwrap_or("-").to_owned();
    items.iter().map(text).collect()
}

both_worlds! {
    async fn records_are_filtered_and_come_in_pages(world) {
        let mut world = world;
        world.run_jobs();
        let bob = world.app.person("bob@example.org").await;
        world.app.member(&world.ada, "acme", &bob, "editor").await;
        let one = world.credential("acme", "sandbox", "api_key", "one").await;
        let two = world.credential("acme", "sandbox", "api_key", "two").await;
        let robot = world.app.service_key(&world.ada, "acme", json!({})).await;
        for path in ["one/v1/me?secret-query=1", "one/v1/people", "two/v1/me"] {
            assert_eq!(world.proxy_as_ada(path).await.status, 200);
        }
        let key = format!("Bearer {}", robot["key"].as_str().unwrap());
        assert_eq!(world.proxy("two/v1/me", &[("authorization", &key)]).await.status, 200);
        assert_eq!(world.proxy_as_ada("one/v1/%2e%2e/me").await.status, 400);
        world.until("all is shipped, with its outcome", async || {
            let uses = items(&world, "?action=credential.use").await;
            uses.len() == 5 && uses.iter().all(|item| item["outcome"] != "ok" || !item["call"]["status"].is_null())
        }).await;

        let all = items(&world, "?limit=200").await;
        let seqs: Vec<i64> = all.iter().map(|item| item["seq"].as_i64().unwrap()).collect();
        assert!(seqs.windows(2).all(|pair| pair[0] > pair[1]), "newest first, each once: {seqs:?}");
        assert!(!serde_json::to_string(&all).unwrap().contains("secret-query"), "no query values");

        let used = items(&world, "?action=credential.use&credential=one").await;
        assert_eq!(used.len(), 3);
        assert!(used.iter().all(|item| item["target"] == one["id"]));
        assert_eq!(of(&used, "outcome"), ["refused", "ok", "ok"]);
        let by_id = items(&world, &format!("?action=credential.use&credential={}", two["id"].as_str().unwrap())).await;
        assert_eq!(by_id.len(), 2);
        let call = &by_id[1]["call"];
        assert_eq!((call["method"].as_str(), call["path"].as_str(), call["status"].as_u64()), (Some("GET"), Some("/v1/me"), Some(200)));
        assert!(call["id"].as_str().unwrap().starts_with("cal_") && call["duration_ms"].is_u64());

        // By person, as id and as address, and by service key.
        for actor in [world.ada.id.as_str(), "ada@example.org"] {
            let hers = items(&world, &format!("?actor={actor}&limit=200")).await;
            assert!(hers.len() >= 8 && hers.iter().all(|item| item["actor"]["id"] == world.ada.id.as_str()), "{actor}");
        }
        let robots = items(&world, &format!("?actor={}", robot["id"].as_str().unwrap())).await;
        assert_eq!(of(&robots, "action"), ["credential.use"]);
        assert_eq!(robots[0]["actor"]["type"], "key");
        assert!(items(&world, "?actor=nobody@example.org").await.is_empty());
        assert!(items(&world, "?action=credential.purge").await.is_empty());

        // Page by page: the same records, each once.
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/projects/acme/audit?limit=3{cursor}");
            let page = world.app.get(&path).key(&bob.key).is(200).await.json();
            let part = page["items"].as_array().unwrap();
            assert!(part.len() <= 3);
            paged.extend(part.iter().map(|item| item["seq"].as_i64().unwrap()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(paged, seqs);
        for path in ["projects/acme/audit?cursor=x", "projects/acme/audit?after=0&cursor=x", "connectors?cursor=x"] {
            let answer = world.app.get(&format!("/api/v1/{path}")).key(&world.ada.key).is(422).await;
            assert_eq!(answer.code(), "cursor_invalid", "{path}");
        }
        for wrong in ["?limit=0", "?limit=x", "?cursor=%25", "?what=ever"] {
            let answer = world.app.get(&format!("/api/v1/projects/acme/audit{wrong}")).key(&world.ada.key).send().await;
            assert!((400..423).contains(&answer.status), "{wrong}: {}", answer.text);
        }
    }

    async fn a_projects_own_credentials_are_in_its_trail_and_in_nobody_elses(world) {
        let mut world = world;
        world.run_jobs();
        let eve = world.app.person("eve@example.org").await;
        world.app.project(&eve, "other").await;
        let body = json!({
            "name": "Ours", "connector": "sandbox", "auth_method": "api_key", "owner_project": "acme", "verify": "skip",
            "values": {"production": {"base_url": world.api, "key": latchstring_sandbox::DEMO.api_key}},
            "shares": [{"project": "acme", "grants": {"staging": "production"}}],
        });
        let ours = world.app.post("/api/v1/credentials", body).key(&world.ada.key).is(201).await.json();
        assert_eq!(world.proxy_as_ada("ours/v1/me").await.status, 200);
        world.until("it is shipped", async || items(&world, "?credential=ours&action=credential.use").await.len() == 1).await;
        let trail = items(&world, "?credential=ours").await;
        let actions = of(&trail, "action");
        for wanted in ["credential.create", "credential.share", "credential.use"] {
            assert!(actions.iter().any(|action| action == wanted), "{wanted}: {actions:?}");
        }
        // One that is only owned is in the owner's trail, too.
        let change = json!({"note": "changed", "shares": []});
        world.app.patch(&format!("/api/v1/credentials/{}", ours["id"].as_str().unwrap()), change).key(&world.ada.key).is(200).await;
        let by_id = items(&world, &format!("?credential={}", ours["id"].as_str().unwrap())).await;
        assert!(of(&by_id, "action").contains(&"credential.update".to_owned()), "{:?}", of(&by_id, "action"));
        world.app.get("/api/v1/projects/acme/audit").key(&eve.key).is(404).await;
        let hers = world.app.get("/api/v1/projects/other/audit?limit=200").key(&eve.key).is(200).await;
        assert!(!hers.text.contains(ours["id"].as_str().unwrap()));
    }
}
