//! Everything that has to be recorded, done once, and what the trail then says of it: one table. And where it is read:
//! followed, exported, by whom.

use latchstring_sandbox::DEMO;
use serde_json::{Value, json};

use crate::app::PASSWORD;
use crate::calling::{World, both_worlds};

async fn trail(world: &World, path: &str, key: &str) -> Vec<Value> {
    let answer = world.app.get(&format!("{path}?limit=200")).key(key).is(200).await.json();
    assert_eq!(answer["next_cursor"], Value::Null);
    answer["items"].as_array().unwrap().clone()
}

/// Whether all that is expected is there. `"*"` is anything but nothing.
fn holds(expected: &Value, seen: &Value) -> bool {
    match (expected, seen) {
        (Value::String(any), _) if any == "*" => !seen.is_null(),
        (Value::Object(expected), Value::Object(seen)) => {
            expected.iter().all(|(name, value)| holds(value, seen.get(name).unwrap_or(&Value::Null)))
        }
        _ => expected == seen,
    }
}

/// Who tells of an event.
#[derive(Clone, Copy, Debug)]
enum In {
    Project,
    Credential,
    Instance,
}

both_worlds! {
    async fn everything_that_has_to_be_recorded_is(world) {
        let mut world = world;
        world.run_jobs();
        let (app, ada) = (&world.app, &world.ada);
        let root = app.superuser("root@example.org").await;
        let bob = app.person("bob@example.org").await;
        let eve = app.person("eve@example.org").await;

        // Create, share and grant; the check before obtains a token.
        let robot = app.post("/api/v1/credentials", json!({
            "name": "Robot", "connector": "sandbox", "auth_method": "oauth2_client_credentials", "acts_as": "svc-robot",
            "values": {"live": {"base_url": world.api, "client_secret": DEMO.client_secret}},
            "shares": [{"project": "acme", "grants": {"staging": "live"}}],
        })).key(&ada.key).from("198.51.100.7").is(201).await.json();
        let id = robot["id"].as_str().unwrap();
        let path = format!("/api/v1/credentials/{id}");
        app.get(&path).key(&ada.key).is(200).await;
        let edit = json!({"values": {"live": {"scope": "people:read"}}, "verify": "skip"});
        app.patch(&path, edit).key(&ada.key).is(200).await;
        let grant = json!({"shares": [{"project": "acme", "grants": {"staging": "live", "production": "live"}}], "verify": "skip"});
        app.patch(&path, grant).key(&ada.key).is(200).await;
        app.post(&format!("{path}/verify"), json!({"environment": "live"})).key(&ada.key).is(200).await;
        assert_eq!(world.proxy_as_ada("robot/v1/people").await.status, 200);
        app.post(&format!("{path}/disable"), json!({})).key(&ada.key).is(200).await;
        assert_eq!(world.proxy_as_ada("robot/v1/people").await.status, 409);

        // Tries that fail.
        let wrong = json!({
            "name": "Wrong", "connector": "sandbox", "auth_method": "api_key",
            "values": {"live": {"base_url": world.api, "key": "a-key-that-is-not-it"}},
        });
        app.post("/api/v1/credentials", wrong).key(&ada.key).is(422).await;
        app.member(ada, "acme", &bob, "viewer").await;
        let secret = "/api/v1/projects/acme/environments/staging/secrets/x";
        app.put(secret, json!({"value": "planted-secret-value"})).key(&bob.key).is(403).await;
        app.patch(&path, json!({"name": "Mine"})).key(&eve.key).is(404).await;
        let looks = ["", "/usage", "/versions", "/audit", "/certificate?environment=live"];
        for look in looks {
            app.get(&format!("{path}{look}")).key(&eve.key).is(404).await;
        }
        // Set for the first time, and once more.
        for hosts in [json!([]), json!(["api.example.org"])] {
            app.put(secret, json!({"value": "planted-secret-value", "hosts": hosts})).key(&ada.key).is(204).await;
        }
        app.patch("/api/v1/projects/acme", json!({"name": "Acme Inc", "environments": ["production", "staging"]})).key(&ada.key).is(200).await;

        // People and keys.
        app.post("/api/v1/session", json!({"email": "eve@example.org", "password": PASSWORD})).from("198.51.100.9").is(204).await;
        app.post("/api/v1/session", json!({"email": "eve@example.org", "password": "not the pass phrase"})).is(401).await;
        app.get("/api/v1/me").key("lst_nobody_has_ever_made_this_key_at_all").is(401).await;
        let key = app.post("/api/v1/me/keys", json!({"name": "k"})).cookie(&eve.cookie).is(201).await.json();
        let own = key["id"].as_str().unwrap();
        app.delete(&format!("/api/v1/me/keys/{own}")).cookie(&eve.cookie).is(204).await;
        let service = app.service_key(ada, "acme", json!({})).await;
        let service = service["id"].as_str().unwrap();
        app.delete(&format!("/api/v1/projects/acme/api-keys/{service}")).key(&ada.key).is(204).await;

        let user = |who: &crate::app::Somebody| json!({"type": "user", "id": who.id, "email": who.email});
        let (by_ada, by_bob, by_eve) = (user(ada), user(&bob), user(&eve));
        let table: &[(&str, In, Value)] = &[
            ("create", In::Credential, json!({
                "action": "credential.create", "outcome": "ok", "actor": by_ada, "target": "Robot", "client": "198.51.100.7",
                "detail": {"connector": "builtin/sandbox", "environments": {"live": {"status": "verified"}}},
            })),
            ("view of fields, where it is used", In::Project, json!({
                "action": "credential.view", "outcome": "ok", "actor": by_ada, "target": "Robot", "client": "192.0.2.1",
                "detail": {"environments": {"live": "*"}},
            })),
            ("view of fields, for its owner", In::Credential, json!({"action": "credential.view", "outcome": "ok", "actor": by_ada})),
            ("edit, with the keys before and after", In::Credential, json!({
                "action": "credential.update", "outcome": "ok", "actor": by_ada, "client": "192.0.2.1",
                "detail": {"environments": {"live": {
                    "fields_before": ["base_url", "client_secret"], "fields": ["base_url", "client_secret", "scope"],
                    "changed": ["scope"], "version": 2,
                }}},
            })),
            ("share", In::Project, json!({"action": "credential.share", "outcome": "ok", "actor": by_ada, "detail": {"slug": "robot", "grants": {"staging": "live"}}})),
            ("grant, before and after", In::Project, json!({
                "action": "credential.share", "actor": by_ada,
                "detail": {"grants_before": {"staging": "live"}, "grants": {"staging": "live", "production": "live"}},
            })),
            ("verify: the request", In::Credential, json!({
                "action": "credential.verify", "outcome": "ok", "actor": by_ada, "target": id, "environment": "live", "client": "192.0.2.1",
                "call": {"id": "*", "method": "GET", "host": "*", "path": "(verification)", "status": 200},
            })),
            ("verify: what it found", In::Credential, json!({
                "action": "credential.verify", "actor": by_ada, "environment": "live", "detail": {"found": "*", "status": "verified"},
            })),
            ("refresh", In::Project, json!({
                "action": "token.refresh", "outcome": "ok", "target": id, "environment": "live",
                "call": {"id": "*", "method": "POST", "host": "*", "path": "(token request)", "status": 200},
            })),
            ("use", In::Project, json!({
                "action": "credential.use", "outcome": "ok", "actor": by_ada, "target": id, "environment": "live", "client": "127.0.0.1",
                "call": {"id": "*", "method": "GET", "host": "*", "path": "/v1/people", "status": 200, "duration_ms": "*", "acts_as": "svc-robot", "project_environment": "staging"},
            })),
            ("use, refused", In::Project, json!({
                "action": "credential.use", "outcome": "refused", "actor": by_ada, "client": "127.0.0.1",
                "detail": {"code": "credential_disabled", "method": "GET", "path": "/v1/people"},
            })),
            ("a failed verification", In::Instance, json!({"action": "credential.create", "outcome": "failed", "actor": by_ada, "detail": {"code": "verification_failed"}})),
            ("a role that is too low", In::Project, json!({"action": "secret.set", "outcome": "refused", "actor": by_bob, "target": "x", "client": "192.0.2.1", "detail": {"code": "forbidden"}})),
            ("somebody else's: edit", In::Credential, json!({"action": "credential.update", "outcome": "refused", "actor": by_eve, "target": id, "detail": {"code": "not_found"}})),
            ("somebody else's: view", In::Credential, json!({"action": "credential.view", "outcome": "refused", "actor": by_eve, "target": id, "detail": {"code": "not_found"}})),
            ("a secret that was not there", In::Project, json!({"action": "secret.set", "outcome": "ok", "actor": by_ada, "target": "x", "detail": {"existed_before": false, "hosts": []}})),
            ("a secret that was there", In::Project, json!({
                "action": "secret.set", "outcome": "ok", "target": "x", "detail": {"existed_before": true, "hosts_before": [], "hosts": ["api.example.org"]},
            })),
            ("a project, before and after", In::Project, json!({
                "action": "project.update", "outcome": "ok", "actor": by_ada,
                "detail": {
                    "name_before": "acme", "name": "Acme Inc",
                    "environments_before": ["staging", "production"], "environments": ["production", "staging"],
                },
            })),
            ("sign-in", In::Instance, json!({"action": "session.create", "outcome": "ok", "actor": by_eve, "client": "198.51.100.9", "target": "*"})),
            ("sign-in, refused", In::Instance, json!({"action": "session.refuse", "outcome": "refused", "client": "192.0.2.1", "detail": {"reason": "wrong_password"}})),
            ("a key that is none", In::Instance, json!({"action": "key.refuse", "outcome": "refused", "actor": {"type": "anonymous"}, "client": "192.0.2.1"})),
            ("key made", In::Instance, json!({"action": "key.create", "outcome": "ok", "actor": by_eve, "target": own})),
            ("key ended", In::Instance, json!({"action": "key.delete", "outcome": "ok", "actor": by_eve, "target": own})),
            ("service key made", In::Project, json!({"action": "key.create", "outcome": "ok", "actor": by_ada, "target": service})),
            ("service key ended", In::Project, json!({"action": "key.delete", "outcome": "ok", "actor": by_ada, "target": service})),
        ];
        let mut missing = Vec::new();
        let mut told = String::new();
        for attempt in 0..100 {
            let project = trail(&world, "/api/v1/projects/acme/audit", &ada.key).await;
            let credential = trail(&world, &format!("{path}/audit"), &ada.key).await;
            let instance = trail(&world, "/api/v1/audit", &root.key).await;
            missing = table
                .iter()
                .filter(|(_, place, expected)| {
                    let list = match place {
                        In::Project => &project,
                        In::Credential => &credential,
                        In::Instance => &instance,
                    };
                    !list.iter().any(|item| item["hash"].as_str().is_some_and(|hash| hash.len() == 64) && holds(expected, item))
                })
                .collect::<Vec<_>>();
            told = json!([project, credential, instance]).to_string();
            let refused = json!({"action": "credential.view", "outcome": "refused", "actor": by_eve, "target": id});
            let looked = credential.iter().filter(|item| holds(&refused, item)).count();
            if missing.is_empty() && looked == looks.len() {
                break;
            }
            assert!(attempt < 99, "{looked} looks of {}, {missing:#?}\n{}", looks.len(), serde_json::to_string_pretty(&json!([project, credential, instance])).unwrap());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert!(missing.is_empty());
        for value in [DEMO.client_secret, "a-key-that-is-not-it", "planted-secret-value", "not the pass phrase", "lst_", PASSWORD] {
            assert!(!told.contains(value), "{value} was recorded");
        }
    }

    async fn who_follows_gets_each_once_and_in_order(world) {
        let mut world = world;
        world.run_jobs();
        world.credential("acme", "sandbox", "api_key", "one").await;
        let base = "/api/v1/projects/acme/audit";
        let (mut seen, mut after) = (Vec::new(), "0".to_owned());
        for round in 0..4 {
            for _ in 0..3 {
                assert_eq!(world.proxy_as_ada("one/v1/me").await.status, 200);
            }
            world.app.put("/api/v1/projects/acme/environments/staging/variables/v", json!({"value": "1"})).key(&world.ada.key).is(204).await;
            // As much as is there: sometimes less, and then later.
            loop {
                // `next_cursor` goes on in either of two ways.
                let path = if round % 2 == 0 { format!("{base}?after={after}&limit=2") } else { format!("{base}?after=0&cursor={after}&limit=2") };
                let page = world.app.get(&path).key(&world.ada.key).is(200).await.json();
                let items = page["items"].as_array().unwrap();
                assert!(items.len() <= 2);
                after = page["next_cursor"].as_str().unwrap().to_owned();
                if items.is_empty() {
                    break;
                }
                seen.extend(items.iter().map(|item| item["seq"].as_i64().unwrap()));
            }
        }
        world.until("the rest", async || {
            let page = world.app.get(&format!("{base}?after={after}")).key(&world.ada.key).is(200).await.json();
            after = page["next_cursor"].as_str().unwrap().to_owned();
            seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["seq"].as_i64().unwrap()));
            let all = trail(&world, base, &world.ada.key).await;
            let all: Vec<i64> = all.iter().rev().map(|item| item["seq"].as_i64().unwrap()).collect();
            all.len() >= 17 && all == seen
        }).await;
        let only = world.app.get(&format!("{base}?after=0&action=variable.set&actor=ada@example.org")).key(&world.ada.key).is(200).await.json();
        assert_eq!(only["items"].as_array().unwrap().len(), 4);
        for wrong in ["?after=-1", "?after=x", "?after=1&cursor=x", "?after=1&cursor=-1"] {
            let answer = world.app.get(&format!("{base}{wrong}")).key(&world.ada.key).send().await;
            assert_eq!(answer.status, 422, "{wrong}: {}", answer.text);
        }
    }

    async fn an_export_is_what_the_list_says_and_is_recorded(world) {
        let mut world = world;
        world.run_jobs();
        let (app, ada) = (&world.app, &world.ada);
        let made = world.credential("acme", "sandbox", "api_key", "one").await;
        let id = made["id"].as_str().unwrap();
        // A name that a spreadsheet would run, and one that would end its row.
        let variable = json!({"name": "=HYPERLINK(\"http://x\")", "note": "a,\"b\"\r\nc"});
        app.patch(&format!("/api/v1/credentials/{id}"), variable).key(&ada.key).is(200).await;
        for _ in 0..3 {
            assert_eq!(world.proxy_as_ada("one/v1/me").await.status, 200);
        }
        let base = "/api/v1/projects/acme/audit";
        world.until("the calls with their ends", async || {
            trail(&world, base, &ada.key).await.iter().filter(|item| !item["call"]["status"].is_null()).count() == 3
        }).await;
        let mut listed = trail(&world, base, &ada.key).await;
        listed.reverse();
        let lines = app.get(&format!("{base}/export")).key(&ada.key).is(200).await;
        assert_eq!(lines.header("content-type"), "application/jsonl");
        assert_eq!(lines.header("content-disposition"), "attachment; filename=\"audit.jsonl\"");
        let mut exported: Vec<Value> = lines.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let own = exported.pop().unwrap();
        assert_eq!((&own["action"], &own["actor"]["id"], &own["detail"]["format"]), (&json!("audit.export"), &json!(ada.id), &json!("jsonl")));
        assert_eq!(exported, listed, "the same items, oldest first");

        let csv = app.get(&format!("{base}/export?format=csv&credential={id}")).key(&ada.key).is(200).await;
        assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8; header=present");
        let mut reader = csv.text.split("\r\n");
        let columns: Vec<&str> = reader.next().unwrap().split(',').collect();
        assert_eq!((columns.len(), columns[0], columns[20]), (21, "seq", "hash"));
        assert_eq!(csv.text.matches("\"'=HYPERLINK(\"\"http://x\"\")\"").count(), 1, "{}", csv.text);
        assert!(!csv.text.contains(",=") && !csv.text.contains("\n="), "{}", csv.text);
        let with = |word: &str| csv.text.split("\r\n").filter(|line| line.contains(word)).count();
        assert_eq!((with("credential.use"), with("variable.set"), with("audit.export")), (3, 0, 0));

        // Narrowed in time.
        let (first, last) = (listed.first().unwrap(), listed.last().unwrap());
        let from = last["at"].as_str().unwrap();
        let later = app.get(&format!("{base}/export?from={from}&action=credential.use")).key(&ada.key).is(200).await;
        assert!(later.text.lines().all(|line| line.contains("credential.use")) && !later.text.is_empty());
        let before = app.get(&format!("{base}/export?to={}", first["at"].as_str().unwrap())).key(&ada.key).is(200).await;
        assert_eq!(before.text, "");

        // Whose it is not: 404, and the owner's own in whichever project.
        let eve = app.person("eve@example.org").await;
        let root = app.superuser("root@example.org").await;
        for path in [format!("{base}/export"), format!("/api/v1/credentials/{id}/audit/export"), format!("/api/v1/credentials/{id}/audit")] {
            app.get(&path).key(&eve.key).is(404).await;
            app.get(&path).key(&root.key).is(404).await;
        }
        for path in ["/api/v1/audit", "/api/v1/audit/export"] {
            app.get(path).key(&eve.key).is(403).await;
            let seen = app.get(path).key(&root.key).is(200).await;
            assert!(seen.text.contains("session.create") && !seen.text.contains(id), "{}", seen.text);
        }
        let owners = app.get(&format!("/api/v1/credentials/{id}/audit/export")).key(&ada.key).is(200).await;
        assert_eq!(owners.text.lines().filter(|line| line.contains("credential.use")).count(), 3);
        app.get(&format!("{base}/export?format=xml")).key(&ada.key).is(422).await;
        app.get(&format!("{base}/export?credential=nothing")).key(&ada.key).is(404).await;
    }

    // As it is without a script: a list with links. A script asks the same address for what is newer.
    async fn the_page_is_a_list_that_can_be_followed_and_taken_along(world) {
        let (app, ada) = (&world.app, &world.ada);
        let variable = |name: String| {
            app.put(&format!("/api/v1/projects/acme/environments/staging/variables/{name}"), json!({"value": "1"})).key(&ada.key)
        };
        let page = async |query: &str| app.get(&format!("/projects/acme/audit{query}")).cookie(&ada.cookie).is(200).await.text;
        let newest = |text: &str| text.split("data-newest=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let lines = |text: &str| text.matches("<li data-seq=").count();
        let empty = page("?action=variable.set").await;
        assert!(empty.contains("id=\"trail-empty\"") && empty.contains("data-newest=\"0\" hidden"), "{empty}");
        assert!(empty.contains("data-follow=\"audit\"") && empty.contains("data-same=\"/projects/acme/audit?action=variable.set\""), "{empty}");
        for number in 0..70 {
            variable(format!("v{number}")).is(204).await;
        }
        // Everything behind a place comes, in parts, oldest part first.
        let first = page("?action=variable.set&after=0").await;
        assert!(first.contains(">v0<") && first.contains(">v49<") && !first.contains(">v50<"), "{first}");
        assert!(!first.contains("data-follow"), "only the newest page is followed");
        let second = page(&format!("?action=variable.set&after={}", newest(&first))).await;
        assert_eq!((lines(&first), lines(&second)), (50, 20));
        assert!(second.find(">v69<").unwrap() < second.find(">v50<").unwrap(), "newest on top");
        let third = page(&format!("?action=variable.set&after={}", newest(&second))).await;
        assert_eq!((lines(&third), newest(&third)), (0, newest(&second)));
        // The newest page goes on from its own newest line.
        let top = page("?action=variable.set").await;
        assert_eq!((lines(&top), newest(&top)), (50, newest(&second)));
        for (format, media) in [("csv", "text/csv"), ("jsonl", "application/jsonl")] {
            let link = format!("/api/v1/projects/acme/audit/export?action=variable.set&#38;format={format}");
            assert!(top.contains(&format!("href=\"{link}\" download")), "{link}: {top}");
            let copy = app.get(&link.replace("&#38;", "&")).cookie(&ada.cookie).is(200).await;
            assert!(copy.header("content-type").starts_with(media) && copy.text.matches("variable.set").count() == 70);
        }
    }
}
