//! Disabled, deleted, restored, purged, withdrawn; older versions; who uses it.

use axum::http::Method;
use latchstring_store::{credentials as rows, tokens, values};
use serde_json::{Value, json};

use crate::app::Db;
use crate::calling::both_worlds;
use crate::credentials_upstream::{Shop, both_shops};

both_shops! {
    async fn a_disabled_credential_is_sent_nowhere(shop) {
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let post = |what: &str| shop.app.post(&shop.at(&made, what), json!({})).key(&shop.ada.key);
        let off = post("/disable").is(200).await;
        assert_eq!((off.header("etag"), off.json()["disabled"].as_bool()), ("\"2\"", Some(true)));
        assert_eq!(off.json()["environments"]["production"]["status"], "disabled");
        assert_eq!(post("/disable").is(200).await.header("etag"), "\"2\"", "twice is no change");
        let asked = shop.up.asked();
        assert_eq!(shop.verify(&made, "production").is(409).await.code(), "credential_disabled");
        assert_eq!(shop.up.asked(), asked);
        assert_eq!(post("/enable").header("if-match", "\"1\"").is(412).await.code(), "precondition_failed");
        let on = post("/enable").is(200).await.json();
        assert_eq!(on["environments"]["production"]["status"], "verified");
        let actions: Vec<String> = shop.app.audit(&shop.acme).await.into_iter().map(|item| item.record.action).collect();
        for action in ["credential.disable", "credential.enable"] {
            assert_eq!(actions.iter().filter(|known| *known == action).count(), 1, "{actions:?}");
        }
    }

    async fn an_answer_with_fields_is_a_look_at_them(shop) {
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let looks = async || {
            let all = shop.app.audit(&shop.acme).await;
            all.iter().filter(|item| item.record.action == "credential.view").count()
        };
        let post = |what: &str| shop.app.post(&shop.at(&made, what), json!({})).key(&shop.ada.key);
        post("/disable").is(200).await;
        post("/enable").is(200).await;
        assert_eq!(looks().await, 0, "what changes something is recorded as the change");
        let again: [(&str, Value); 2] = [
            ("enabled twice", post("/enable").is(200).await.json()),
            ("changed in nothing", shop.patch(&made, json!({})).is(200).await.json()),
        ];
        for (what, answer) in &again {
            assert!(answer["environments"]["production"]["fields"]["base_url"].is_string(), "{what}: {answer}");
        }
        assert_eq!(looks().await, again.len());
    }

    async fn a_deletion_waits_and_can_be_taken_back(shop) {
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let delete = || shop.app.delete(&shop.at(&made, "")).key(&shop.ada.key);
        assert_eq!(shop.app.post(&shop.at(&made, "/restore"), json!({})).key(&shop.ada.key).is(409).await.code(), "nothing_to_restore");
        let authorize = shop.app.post(&shop.at(&made, "/authorize"), json!({"environment": "production"})).key(&shop.ada.key);
        assert_eq!(authorize.is(422).await.code(), "consent_not_needed");
        let scheduled = delete().is(200).await.json();
        assert_eq!(scheduled["deletes_at"], shop.app.broker.now().plus_secs(7 * 86_400).to_rfc3339());
        shop.app.clock.advance_secs(3600);
        assert_eq!(delete().is(200).await.json(), scheduled, "the day does not move");
        for refused in [shop.verify(&made, "production"), shop.patch(&made, json!({"name": "x"})),
            shop.app.post(&shop.at(&made, "/enable"), json!({})).key(&shop.ada.key)] {
            let refused = refused.is(409).await;
            assert_eq!(refused.code(), "credential_disabled");
            assert!(refused.json()["hint"].as_str().unwrap().contains("/restore"));
        }
        let back = shop.app.post(&shop.at(&made, "/restore"), json!({})).key(&shop.ada.key).is(200).await.json();
        assert!(back["deletes_at"].is_null());
        assert_eq!(back["shares"], made["shares"]);
        assert_eq!(shop.verify(&made, "production").is(200).await.json()["status"], "verified");
        // What is restored in time is not deleted; once the day has come, its tokens may be gone already.
        delete().is(200).await;
        shop.app.clock.advance_secs(7 * 86_400 - 1);
        shop.app.broker.delete_due_credentials().await.unwrap();
        shop.app.post(&shop.at(&made, "/restore"), json!({})).key(&shop.ada.key).is(200).await;
        delete().is(200).await;
        shop.app.clock.advance_secs(7 * 86_400);
        let late = shop.app.post(&shop.at(&made, "/restore"), json!({})).key(&shop.ada.key).is(409).await;
        assert!(late.text.contains("day of deletion has come"), "{}", late.text);
        shop.app.broker.delete_due_credentials().await.unwrap();
        shop.app.get(&shop.at(&made, "")).key(&shop.ada.key).is(404).await;
    }

    async fn a_purge_leaves_nothing_to_open(shop) {
        let made = shop.create(shop.tokened("API", "read")).is(201).await.json();
        let id = made["id"].as_str().unwrap().parse().unwrap();
        let row = {
            let mut tx = shop.app.store.read().await.unwrap();
            rows::for_upkeep(&mut tx, &id).await.unwrap().unwrap()
        };
        // In a browser that signed in long ago: sign in again.
        shop.app.clock.advance_secs(3600);
        let purge = shop.at(&made, "?purge=true");
        let old = shop.app.delete(&purge).cookie(&shop.ada.cookie).send().await;
        assert_eq!(old.status, 403, "{}", old.text);
        assert_eq!(shop.app.delete(&purge).key(&shop.ada.key).is(204).await.text, "");
        let mut tx = shop.app.store.read().await.unwrap();
        assert!(rows::for_upkeep(&mut tx, &id).await.unwrap().is_none());
        assert!(values::list(&mut tx, &row).await.unwrap().is_empty());
        assert!(values::versions(&mut tx, &row).await.unwrap().is_empty());
        assert!(tokens::list_of_credential(&mut tx, &row).await.unwrap().is_empty());
        drop(tx);
        assert_eq!(shop.app.get(&shop.at(&made, "")).key(&shop.ada.key).is(404).await.code(), "not_found");
        let told = shop.app.audit(&shop.acme).await;
        assert!(told.iter().any(|item| item.record.action == "credential.delete" && item.record.body.contains("purged")), "the trail stays");
    }

    async fn an_admin_withdraws_a_share(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let made = shop.app.post("/api/v1/credentials", shop.bearer("Bobs API", "planted-bearer-token-1")).key(&bob.key).is(201).await.json();
        let path = "/api/v1/projects/acme/credentials/bobs-api";
        assert_eq!(shop.app.delete(path).key(&bob.key).is(403).await.code(), "forbidden");
        assert_eq!(shop.app.delete("/api/v1/projects/acme/credentials/nothing").key(&shop.ada.key).is(404).await.code(), "not_found");
        shop.app.delete(path).key(&shop.ada.key).is(204).await;
        shop.app.delete(path).key(&shop.ada.key).is(404).await;
        assert_eq!(shop.app.get(&shop.at(&made, "")).key(&shop.ada.key).is(404).await.code(), "not_found");
        let his = shop.app.get(&shop.at(&made, "")).key(&bob.key).is(200).await.json();
        assert_eq!(his["shares"], json!([]));
    }

    async fn older_values_come_back_as_new_ones(shop) {
        let mut body = shop.bearer("API", "planted-bearer-token-1");
        body["values"]["test"] = json!({"base_url": shop.up.url, "token": "planted-test-token"});
        let made = shop.create(body).is(201).await.json();
        let versions = || shop.app.get(&shop.at(&made, "/versions")).key(&shop.ada.key).is(200);
        for number in 2..=12 {
            shop.app.clock.advance_secs(1);
            shop.patch(&made, json!({"values": {"production": {"token": format!("planted-bearer-token-{number}")}}})).is(200).await;
        }
        let listed = versions().await;
        assert!(!listed.text.contains("planted-bearer"), "{}", listed.text);
        let items = listed.json()["items"].as_array().unwrap().clone();
        let of = |number: i64| items.iter().find(|item| item["environment"] == "production" && item["version"] == number).unwrap().clone();
        assert_eq!(items.len(), 13);
        assert_eq!((of(12)["current"].as_bool(), of(12)["changed_fields"].clone()), (Some(true), json!(["token"])));
        assert_eq!((of(3)["restorable"].as_bool(), of(2)["restorable"].as_bool()), (Some(true), Some(false)), "ten are kept");
        assert_eq!(of(3)["set_by_email"], "ada@example.org");
        let restore = |number: i64, body: Value| shop.app.post(&shop.at(&made, &format!("/versions/{number}/restore")), body).key(&shop.ada.key);
        assert_eq!(restore(1, json!({})).is(422).await.pointers(), ["/environment"], "two environments have one");
        assert_eq!(restore(1, json!({"environment": "production"})).is(410).await.code(), "version_wiped");
        assert_eq!(restore(12, json!({})).is(409).await.code(), "version_in_use");
        assert_eq!(restore(99, json!({})).is(404).await.code(), "not_found");
        let before = shop.read(&made).await;
        shop.up.json("/me", 401, json!({}));
        assert_eq!(restore(5, json!({})).is(422).await.code(), "verification_failed");
        Shop::same(&before, &shop.read(&made).await);
        shop.up.json("/me", 200, json!({}));
        let back = restore(5, json!({})).is(200).await.json();
        assert_eq!(back["environments"]["production"]["version"], 13);
        assert_eq!(shop.up.seen("/me").last().unwrap().headers["authorization"], "Bearer planted-bearer-token-5");
    }

    async fn what_is_another_persons_is_missing(shop) {
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let eve = shop.app.person("eve@example.org").await;
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "admin").await;
        let missing = json!({"id": "crd_0000000001zzzzzzzzzzzzzzzz"});
        for (method, rest, body) in [
            (Method::GET, "", Value::Null),
            (Method::PATCH, "", json!({"name": "mine"})),
            (Method::DELETE, "", Value::Null),
            (Method::DELETE, "?purge=true", Value::Null),
            (Method::POST, "/disable", Value::Null),
            (Method::POST, "/enable", Value::Null),
            (Method::POST, "/restore", Value::Null),
            (Method::POST, "/approve", json!({})),
            (Method::POST, "/verify", json!({"environment": "production"})),
            (Method::GET, "/versions", Value::Null),
            (Method::POST, "/versions/1/restore", json!({})),
            (Method::GET, "/usage", Value::Null),
        ] {
            let ask = |credential: &Value, key: &str| {
                let call = shop.app.call(method.clone(), &shop.at(credential, rest)).key(key);
                if body.is_null() { call } else { call.json(body.clone()) }
            };
            let foreign = ask(&made, &eve.key).is(404).await;
            let none = ask(&missing, &eve.key).is(404).await;
            assert_eq!(foreign.code(), "not_found");
            assert_eq!(foreign.text, none.text, "{method} {rest}");
            let nonsense = shop.app.call(method.clone(), &format!("/api/v1/credentials/nonsense{rest}")).key(&eve.key).json(json!({"environment": "x"})).send().await;
            assert!(matches!(nonsense.status, 404 | 422), "{method} {rest}: {}", nonsense.text);
            // A member who uses it does not own it.
            let member = ask(&made, &bob.key).send().await;
            let may = (method == Method::GET && rest.is_empty()) || rest == "/verify";
            assert_eq!(member.status == 200, may, "{method} {rest}: {}", member.text);
            assert!(!member.text.contains("planted-bearer"), "{}", member.text);
            assert!(member.json().pointer("/environments/production/fields").is_none(), "{}", member.text);
        }
        assert_eq!(shop.read(&made).await.json()["environments"]["production"]["status"], "verified");
    }

    async fn a_projects_credential_is_edited_by_its_admins(shop) {
        let bob = shop.app.person("bob@example.org").await;
        let carol = shop.app.person("carol@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "admin").await;
        shop.app.member(&shop.ada, "acme", &carol, "editor").await;
        shop.app.project(&shop.ada, "beta").await;
        let mut body = shop.bearer("Team", "planted-bearer-token-1");
        body["owner_project"] = "acme".into();
        let elsewhere = {
            let mut body = body.clone();
            body["shares"][0]["project"] = "beta".into();
            body
        };
        assert_eq!(shop.create(elsewhere).is(422).await.pointers(), ["/shares/0/project"]);
        let made = shop.create(body).is(201).await.json();
        assert_eq!(made["owner"], json!({"type": "project", "id": shop.acme["id"], "slug": "acme", "active": true}), "shown clearly");
        let patch = |key: &str| shop.app.patch(&shop.at(&made, ""), json!({"values": {"production": {"token": "planted-bearer-token-2"}}})).key(key);
        assert_eq!(patch(&carol.key).is(404).await.code(), "not_found");
        patch(&bob.key).is(200).await;
        assert_eq!(shop.read(&made).await.json()["environments"]["production"]["version"], 2);
    }
}

async fn one_day_to_restore(db: Db) {
    let shop =
        Shop::changed(db, |settings| settings.delete_after = std::time::Duration::from_secs(86_400)).await;
    let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
    let page = shop
        .app
        .get(&format!("/credentials/{}", made["id"].as_str().unwrap()))
        .cookie(&shop.ada.cookie)
        .is(200)
        .await;
    assert!(page.text.contains("1 day") && !page.text.contains("7 days"), "{}", page.text);
    let delete = || shop.app.delete(&shop.at(&made, "")).key(&shop.ada.key).is(200);
    let scheduled = delete().await.json();
    assert_eq!(scheduled["deletes_at"], shop.app.broker.now().plus_secs(86_400).to_rfc3339());
    shop.app.clock.advance_secs(86_400 - 1);
    shop.app.broker.delete_due_credentials().await.unwrap();
    shop.app.post(&shop.at(&made, "/restore"), json!({})).key(&shop.ada.key).is(200).await;
    delete().await;
    shop.app.clock.advance_secs(86_400);
    shop.app.broker.delete_due_credentials().await.unwrap();
    shop.app.get(&shop.at(&made, "")).key(&shop.ada.key).is(404).await;
}

async fn two_versions_to_go_back_to(db: Db) {
    let shop = Shop::changed(db, |settings| settings.keep_versions = 2).await;
    let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
    for number in 2..=4 {
        shop.patch(
            &made,
            json!({"values": {"production": {"token": format!("planted-bearer-token-{number}")}}}),
        )
        .is(200)
        .await;
    }
    let restorable = async || {
        let listed = shop.app.get(&shop.at(&made, "/versions")).key(&shop.ada.key).is(200).await.json();
        let items = listed["items"].as_array().unwrap().clone();
        let kept: Vec<i64> = items
            .iter()
            .filter(|item| item["restorable"] == true)
            .map(|item| item["version"].as_i64().unwrap())
            .collect();
        (items.len(), kept)
    };
    assert_eq!(restorable().await, (4, vec![3]), "besides the one in use");
    let restore = |number: i64| {
        shop.app.post(&shop.at(&made, &format!("/versions/{number}/restore")), json!({})).key(&shop.ada.key)
    };
    let wiped = restore(2).is(410).await;
    assert_eq!(wiped.code(), "version_wiped");
    assert!(wiped.text.contains("newest 2 versions"), "{}", wiped.text);
    assert_eq!(restore(3).is(200).await.json()["environments"]["production"]["version"], 5);
    assert_eq!(shop.up.seen("/me").last().unwrap().headers["authorization"], "Bearer planted-bearer-token-3");
    assert_eq!(restorable().await, (5, vec![4]));
    assert_eq!(restore(3).is(410).await.code(), "version_wiped");
}

#[tokio::test]
async fn a_deletion_waits_as_long_as_the_setting_says_sqlite() {
    one_day_to_restore(Db::Sqlite).await;
}

#[tokio::test]
async fn a_deletion_waits_as_long_as_the_setting_says_postgres() {
    one_day_to_restore(Db::Postgres).await;
}

#[tokio::test]
async fn as_many_versions_are_kept_as_the_setting_says_sqlite() {
    two_versions_to_go_back_to(Db::Sqlite).await;
}

#[tokio::test]
async fn as_many_versions_are_kept_as_the_setting_says_postgres() {
    two_versions_to_go_back_to(Db::Postgres).await;
}

both_worlds! {
    async fn an_admin_sees_what_stops_before_it_is_withdrawn(world) {
        let mut world = world;
        world.run_jobs();
        let (app, ada) = (&world.app, &world.ada);
        // Carol owns it, and shares it with a project of others, too.
        let mut people = std::collections::BTreeMap::new();
        for (name, role) in [("carol", "editor"), ("bob", "admin"), ("victor", "editor")] {
            let who = app.person(&format!("{name}@example.org")).await;
            app.member(ada, "acme", &who, role).await;
            people.insert(name, who);
        }
        let (carol, bob, eve) = (&people["carol"], &people["bob"], app.person("eve@example.org").await);
        app.project(carol, "beta").await;
        let share = |project: &str| json!({"project": project, "slug": "robot", "grants": {"staging": "production"}});
        let body = json!({
            "name": "Robot", "connector": "sandbox", "auth_method": "api_key", "verify": "skip",
            "values": {"production": {"base_url": world.api, "key": latchstring_sandbox::DEMO.api_key}},
            "shares": [share("acme"), share("beta")],
        });
        let made = app.post("/api/v1/credentials", body).key(&carol.key).is(201).await.json();
        for (project, owner, name) in [("acme", ada, "Customers"), ("beta", carol, "Elsewhere")] {
            let chain = json!({"name": name, "connector": "sandbox", "by": "{{ input.c }}", "default": "robot"});
            app.post(&format!("/api/v1/projects/{project}/keychains"), chain).key(&owner.key).is(201).await;
            app.service_key(owner, project, json!({"name": format!("only-{project}"), "credentials": [made["id"]]})).await;
        }
        let any = app.service_key(ada, "acme", json!({"name": "nightly"})).await;
        app.service_key(ada, "acme", json!({"name": "idle"})).await;
        let elsewhere = app.service_key(carol, "beta", json!({"name": "beta-calls"})).await;
        for key in [&any, &elsewhere] {
            let bearer = format!("Bearer {}", key["key"].as_str().unwrap());
            assert_eq!(world.proxy("robot/v1/me", &[("authorization", &bearer)]).await.status, 200);
        }
        assert_eq!(world.proxy_as_ada("robot/v1/me").await.status, 200);

        let path = "/api/v1/projects/acme/credentials/robot/usage";
        let usage = async || app.get(path).key(&bob.key).is(200).await.json();
        world.until("both calls of the project's", async || usage().await["calls"].as_array().unwrap().len() == 2).await;
        let told = usage().await;
        assert_eq!((&told["id"], told["name"].as_str(), told["slug"].as_str()), (&made["id"], Some("Robot"), Some("robot")));
        assert_eq!((&told["environments"], &told["workflows"]), (&json!(["staging"]), &json!([])));
        assert_eq!(told["keychains"], json!([{"project": "acme", "keychain": "customers"}]));
        let mut keys: Vec<(&str, u64)> = told["api_keys"].as_array().unwrap().iter()
            .map(|key| (key["name"].as_str().unwrap(), key["calls"].as_u64().unwrap())).collect();
        keys.sort_unstable();
        assert_eq!(keys, [("nightly", 1), ("only-acme", 0)], "{told}");
        assert!(told["calls"].as_array().unwrap().iter().any(|call| call["actor_email"] == "ada@example.org"), "{told}");
        let text = told.to_string();
        assert!(!text.contains("beta") && !text.contains("elsewhere"), "nothing of another project's: {told}");
        let by_id = format!("/api/v1/projects/acme/credentials/{}/usage", made["id"].as_str().unwrap());
        assert_eq!(app.get(&by_id).key(&bob.key).is(200).await.json(), told);

        // The page says it above the button; to nobody who has no button.
        let sheet = format!("/credentials/{}?project=acme", made["id"].as_str().unwrap());
        let page = app.get(&sheet).cookie(&bob.cookie).is(200).await.text;
        let (before, _) = page.split_once("Stop using it here").unwrap();
        let said = before.rsplit_once("What stops with it:").unwrap().1;
        for line in [
            "calls in staging", "keychains that fall back to it: customers", "made for it: nightly, only-acme",
            "people who called with it lately: ada@example.org",
        ] {
            assert!(said.contains(line), "{line}: {said}");
        }
        assert!(!said.contains("beta") && !said.contains("idle"), "{said}");
        let victors = app.get(&sheet).cookie(&people["victor"].cookie).is(200).await.text;
        assert!(!victors.contains("What stops with it:") && !victors.contains("customers"), "{victors}");

        // Whoever may not withdraw it is told as little.
        assert_eq!(app.get(path).key(&carol.key).is(403).await.code(), "forbidden");
        assert_eq!(app.get(path).key(&people["victor"].key).is(403).await.code(), "forbidden");
        let foreign = app.get(path).key(&eve.key).is(404).await;
        let nowhere = app.get("/api/v1/projects/nowhere/credentials/robot/usage").key(&eve.key).is(404).await;
        assert_eq!(foreign.text, nowhere.text);
        app.get("/api/v1/projects/acme/credentials/nothing/usage").key(&bob.key).is(404).await;

        app.delete("/api/v1/projects/acme/credentials/robot").key(&bob.key).is(204).await;
        app.get(path).key(&bob.key).is(404).await;
        let bearer = format!("Bearer {}", any["key"].as_str().unwrap());
        assert_eq!(world.proxy("robot/v1/me", &[("authorization", &bearer)]).await.status, 404, "it was told");
    }

    async fn the_owner_sees_who_uses_it(world) {
        let mut world = world;
        world.run_jobs();
        let app = &world.app;
        let made = world.credential("acme", "sandbox", "api_key", "Robot").await;
        let id = made["id"].as_str().unwrap().to_owned();
        let key = app.service_key(&world.ada, "acme", json!({"credentials": [id]})).await;
        let path = format!("/api/v1/credentials/{id}/usage");
        let fresh = app.get(&path).key(&world.ada.key).is(200).await.json();
        assert_eq!((fresh["calls"].clone(), fresh["workflows"].clone()), (json!([]), json!([])));
        assert_eq!((fresh["api_keys"][0]["name"].as_str(), fresh["api_keys"][0]["calls"].as_u64()), (Some("robot"), Some(0)), "made for it: {fresh}");
        world.operation("robot", "people", json!({})).key(key["key"].as_str().unwrap()).is(200).await;
        let mut usage = Value::Null;
        for _ in 0..100 {
            usage = app.get(&path).key(&world.ada.key).is(200).await.json();
            if usage["calls"].as_array().is_some_and(|calls| !calls.is_empty()) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(usage["calls"][0]["actor_id"], key["id"], "{usage}");
        assert_eq!((usage["calls"][0]["method"].as_str(), usage["calls"][0]["environment"].as_str()), (Some("GET"), Some("production")));
        assert_eq!((usage["api_keys"][0]["id"].clone(), usage["api_keys"][0]["calls"].as_u64()), (key["id"].clone(), Some(1)));
        assert_eq!(usage["api_keys"][0]["project"], "acme");
    }
}
