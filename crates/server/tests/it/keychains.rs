//! The credential that the data says: through operations and through `/proxy`.

use latchstring_sandbox::DEMO;
use serde_json::{Value, json};

use crate::app::{Call, Somebody};
use crate::calling::{World, both_worlds, code};

/// A sandbox credential of ada's in acme, with an external id; `key` tells calls apart: the wrong one is refused.
async fn customer(world: &World, name: &str, key: &str, grants: Value) -> Value {
    let body = json!({
        "name": name, "connector": "sandbox", "auth_method": "api_key", "verify": "skip", "external_id": name,
        "values": {"production": {"base_url": world.api, "key": key}},
        "shares": [{"project": "acme", "grants": grants}],
    });
    world.app.post("/api/v1/credentials", body).key(&world.ada.key).is(201).await.json()
}

fn granted() -> Value {
    json!({"staging": "production"})
}

fn make<'a>(world: &'a World, body: Value) -> Call<'a> {
    world.app.post("/api/v1/projects/acme/keychains", body).key(&world.ada.key)
}

/// `people` in acme's staging through a keychain, chosen by the header.
fn people<'a>(world: &'a World, customer: Option<&str>) -> Call<'a> {
    let call = world.operation("customers", "people", json!({})).key(&world.ada.key);
    match customer {
        Some(id) => call.header("latchstring-external-id", id),
        None => call,
    }
}

async fn proxied(world: &World, customer: Option<&str>) -> (u16, String) {
    let key = format!("Bearer {}", world.ada.key);
    let mut headers = vec![
        ("authorization", key.as_str()),
        ("latchstring-project", "acme"),
        ("latchstring-environment", "staging"),
    ];
    if let Some(id) = customer {
        headers.push(("latchstring-external-id", id));
    }
    let answer = world.proxy("customers/v1/people", &headers).await;
    (answer.status, code(&answer))
}

fn of(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

both_worlds! {
    async fn the_data_chooses(world) {
        customer(&world, "north", DEMO.api_key, granted()).await;
        // The API refuses this one: that shows which was taken.
        customer(&world, "south", "a-key-the-api-does-not-know", granted()).await;
        make(&world, json!({"name": "Customers", "connector": "sandbox", "by": "{{ input.customer }}"})).is(201).await;
        people(&world, Some("north")).is(200).await;
        assert_eq!(people(&world, Some("south")).is(502).await.json()["upstream"]["status"], 401);
        assert_eq!(proxied(&world, Some("north")).await, of(200, ""));
        assert_eq!(proxied(&world, Some("south")).await, of(401, ""));
        // No match and no default is an error, never "no credential"; saying nothing is an error, too.
        assert_eq!(people(&world, Some("east")).is(404).await.code(), "no_keychain_match");
        assert_eq!(proxied(&world, Some("east")).await, of(404, "no_keychain_match"));
        assert_eq!(people(&world, None).is(424).await.code(), "template_error", "`input` has no customer");
        assert_eq!(proxied(&world, None).await, of(422, "context_missing"));
        // With a plain credential the header is a mistake.
        let plain = world.operation("north", "people", json!({})).key(&world.ada.key).header("latchstring-external-id", "south");
        assert_eq!(plain.is(400).await.code(), "not_a_keychain");
        // What the cores remember follows a change at once.
        let north = world.app.get("/api/v1/credentials?q=north").key(&world.ada.key).is(200).await.json()["items"][0].clone();
        let path = format!("/api/v1/credentials/{}", north["id"].as_str().unwrap());
        world.app.patch(&path, json!({"external_id": "north-2"})).key(&world.ada.key).is(200).await;
        assert_eq!(proxied(&world, Some("north")).await, of(404, "no_keychain_match"));
        assert_eq!(proxied(&world, Some("north-2")).await, of(200, ""));
    }

    async fn the_template_reads_the_calls_input(world) {
        customer(&world, "customer-7", DEMO.api_key, granted()).await;
        let body = json!({"name": "Customers", "connector": "sandbox", "by": "customer-{{ input.id }}"});
        make(&world, body).is(201).await;
        let person = |id: Value| world.operation("customers", "person", json!({"id": id})).key(&world.ada.key);
        assert_eq!(person(json!(8)).is(404).await.code(), "no_keychain_match");
        // Chosen, and asked; what the API says of the person is its own.
        let answer = person(json!(7)).send().await;
        assert!(answer.status == 200 || answer.code() == "upstream_error", "{}", answer.text);
    }

    async fn a_match_is_never_replaced_by_the_default(world) {
        let fallback = customer(&world, "fallback", DEMO.api_key, granted()).await;
        let ungranted = customer(&world, "ungranted", DEMO.api_key, json!({})).await;
        let body = json!({"name": "Customers", "connector": "sandbox", "by": "{{ input.customer }}", "default": "fallback"});
        let made = make(&world, body).is(201).await.json();
        assert_eq!((made["default"].clone(), made["default_slug"].as_str()), (fallback["id"].clone(), Some("fallback")));
        // Nothing found: the default.
        people(&world, Some("unheard-of")).is(200).await;
        assert_eq!(proxied(&world, Some("unheard-of")).await, of(200, ""));
        // Found, and not usable: refused, whatever the reason.
        let refused = async |status: u16, wanted: &str| {
            assert_eq!(people(&world, Some("ungranted")).is(status).await.code(), wanted);
            assert_eq!(proxied(&world, Some("ungranted")).await, of(status, wanted));
        };
        refused(403, "no_grant").await;
        let at = |rest: &str| format!("/api/v1/credentials/{}{rest}", ungranted["id"].as_str().unwrap());
        let shares = json!({"shares": [{"project": "acme", "grants": granted()}]});
        world.app.patch(&at(""), shares).key(&world.ada.key).is(200).await;
        people(&world, Some("ungranted")).is(200).await;
        world.app.post(&at("/disable"), json!({})).key(&world.ada.key).is(200).await;
        refused(409, "credential_disabled").await;
        world.app.post(&at("/enable"), json!({})).key(&world.ada.key).is(200).await;
        world.app.delete(&at("")).key(&world.ada.key).is(200).await;
        refused(409, "credential_disabled").await;
        // A key that is limited to other credentials is refused the match, too.
        let key = world.app.service_key(&world.ada, "acme", json!({"credentials": [fallback["id"]]})).await;
        let key = key["key"].as_str().unwrap();
        let by_key = |id: &str| world.operation("customers", "people", json!({})).key(key).header("latchstring-external-id", id);
        by_key("nobody").is(200).await;
        customer(&world, "other", DEMO.api_key, granted()).await;
        assert_eq!(by_key("other").is(403).await.code(), "not_allowed");
        // The owner is gone: so is the share, and the default is not asked.
        let bob = world.app.person("bob@example.org").await;
        world.app.member(&world.ada, "acme", &bob, "editor").await;
        let body = json!({
            "name": "bobs", "connector": "sandbox", "auth_method": "api_key", "verify": "skip", "external_id": "bobs",
            "values": {"production": {"base_url": world.api, "key": DEMO.api_key}},
            "shares": [{"project": "acme", "grants": granted()}],
        });
        world.app.post("/api/v1/credentials", body).key(&bob.key).is(201).await;
        people(&world, Some("bobs")).is(200).await;
        let root = world.app.superuser("root@example.org").await;
        world.app.patch(&format!("/api/v1/users/{}", bob.id), json!({"active": false})).key(&root.key).is(200).await;
        assert_eq!(people(&world, Some("bobs")).is(404).await.code(), "credential_not_found");
        assert_eq!(proxied(&world, Some("bobs")).await, of(404, "credential_not_found"));
    }

    async fn another_connectors_credential_is_no_match(world) {
        customer(&world, "fallback", DEMO.api_key, granted()).await;
        let body = json!({
            "name": "web", "connector": "http", "auth_method": "bearer", "verify": "skip", "external_id": "web",
            "values": {"production": {"base_url": world.api, "token": "planted-token-0123"}},
            "shares": [{"project": "acme", "grants": granted()}],
        });
        world.app.post("/api/v1/credentials", body).key(&world.ada.key).is(201).await;
        let chain = |default: &str| make(&world, json!({"name": "Customers", "connector": "sandbox", "by": "{{ input.c }}", "default": default}));
        assert_eq!(chain("web").is(422).await.pointers(), ["/default"]);
        assert_eq!(chain("nothing").is(422).await.pointers(), ["/default"]);
        chain("fallback").is(201).await;
        assert_eq!(people(&world, Some("web")).is(404).await.code(), "no_keychain_match");
    }

    async fn slugs_are_one_namespace(world) {
        customer(&world, "north", DEMO.api_key, granted()).await;
        let chain = |slug: &str| make(&world, json!({"name": "C", "slug": slug, "connector": "sandbox", "by": "{{ input.c }}"}));
        assert_eq!(chain("north").is(409).await.code(), "slug_taken");
        chain("south").is(201).await;
        assert_eq!(chain("south").is(409).await.code(), "slug_taken");
        let taken = json!({
            "name": "South", "connector": "sandbox", "auth_method": "api_key", "verify": "skip",
            "values": {"production": {"base_url": world.api, "key": "k"}}, "shares": [{"project": "acme", "grants": {}}],
        });
        let refused = world.app.post("/api/v1/credentials", taken.clone()).key(&world.ada.key).is(409).await;
        assert_eq!((refused.code(), refused.json()["suggestion"].as_str().map(str::to_owned)), ("slug_taken".into(), Some("south-2".into())));
        // What named a keychain means a credential only if an admin says so.
        let bob = world.app.person("bob@example.org").await;
        world.app.member(&world.ada, "acme", &bob, "editor").await;
        let etag = world.app.get("/api/v1/projects/acme/keychains/south").key(&bob.key).is(200).await;
        let delete = || world.app.delete("/api/v1/projects/acme/keychains/south").key(&world.ada.key);
        delete().header("if-match", "\"9\"").is(412).await;
        delete().header("if-match", etag.header("etag")).is(204).await;
        assert_eq!(world.app.post("/api/v1/credentials", taken.clone()).key(&bob.key).is(403).await.code(), "name_reserved");
        world.app.post("/api/v1/credentials", taken).key(&world.ada.key).is(201).await;
    }

    async fn what_is_wrong_is_pointed_at(world) {
        let body = json!({"name": "", "slug": "Not One", "connector": "nothing", "by": "{{ user.email }}"});
        assert_eq!(make(&world, body).is(422).await.pointers(), ["/name", "/slug", "/by", "/connector"]);
        for by in ["constant", "{{ get_secret('x') }}", "{{ input.a", "{{ token }}"] {
            let body = json!({"name": "C", "connector": "sandbox", "by": by});
            assert_eq!(make(&world, body).is(422).await.pointers(), ["/by"], "{by}");
        }
        make(&world, json!({"name": "C", "connector": "sandbox", "by": "{{ input.a }}"})).is(201).await;
        let path = "/api/v1/projects/acme/keychains/c";
        let patch = |body: Value| world.app.patch(path, body).key(&world.ada.key);
        assert_eq!(patch(json!({"by": "x"})).is(422).await.pointers(), ["/by"]);
        assert_eq!(patch(json!({"bye": "x"})).is(422).await.pointers(), ["/bye"]);
        let changed = patch(json!({"name": "Other", "slug": "d"})).is(200).await;
        assert_eq!((changed.header("etag"), changed.json()["name"].as_str()), ("\"2\"", Some("Other")));
        world.app.get(path).key(&world.ada.key).is(404).await;
        let trail: Vec<String> = world.app.audit(&world.acme).await.into_iter().map(|item| item.record.action).collect();
        assert!(trail.contains(&"keychain.create".to_owned()) && trail.contains(&"keychain.update".to_owned()));
    }

    async fn a_default_is_a_use(world) {
        let fallback = customer(&world, "fallback", DEMO.api_key, granted()).await;
        let body = json!({"name": "Customers", "connector": "sandbox", "by": "{{ input.c }}", "default": "fallback"});
        make(&world, body).is(201).await;
        let at = |rest: &str| format!("/api/v1/credentials/{}{rest}", fallback["id"].as_str().unwrap());
        for rest in ["", "?purge=true"] {
            let refused = world.app.delete(&at(rest)).key(&world.ada.key).is(409).await;
            assert_eq!((refused.code(), refused.json()["used_by"].clone()), ("credential_in_use".into(), json!([{"project": "acme", "keychain": "customers"}])));
        }
        let usage = world.app.get(&at("/usage")).key(&world.ada.key).is(200).await.json();
        assert_eq!((usage["keychains"].clone(), usage["workflows"].clone()), (json!([{"project": "acme", "keychain": "customers"}]), json!([])));
        let path = "/api/v1/projects/acme/keychains/customers";
        world.app.patch(path, json!({"default": null})).key(&world.ada.key).is(200).await;
        world.app.delete(&at("")).key(&world.ada.key).is(200).await;
        // One that is going to be deleted does not become a default.
        assert_eq!(world.app.patch(path, json!({"default": "fallback"})).key(&world.ada.key).is(422).await.pointers(), ["/default"]);
    }

    async fn a_withdrawn_default_is_not_another(world) {
        let fallback = customer(&world, "fallback", DEMO.api_key, granted()).await;
        let body = json!({"name": "Customers", "connector": "sandbox", "by": "{{ input.c }}", "default": "fallback"});
        make(&world, body).is(201).await;
        people(&world, Some("x")).is(200).await;
        world.app.delete("/api/v1/projects/acme/credentials/fallback").key(&world.ada.key).is(204).await;
        assert_eq!(people(&world, Some("x")).is(404).await.code(), "credential_not_found");
        let shown = world.app.get("/api/v1/projects/acme/keychains/customers").key(&world.ada.key).is(200).await.json();
        assert_eq!((shown["default"].clone(), shown["default_slug"].clone()), (fallback["id"].clone(), Value::Null));
        // It is of no use any more, so that it can be deleted.
        world.app.delete(&format!("/api/v1/credentials/{}", fallback["id"].as_str().unwrap())).key(&world.ada.key).is(200).await;
    }

    async fn external_ids_are_unique_and_stay_whose_they_were(world) {
        let first = customer(&world, "north", DEMO.api_key, granted()).await;
        let bob: Somebody = world.app.person("bob@example.org").await;
        world.app.member(&world.ada, "acme", &bob, "editor").await;
        let second = |slug: &str| json!({
            "name": slug, "connector": "sandbox", "auth_method": "api_key", "verify": "skip", "external_id": "north",
            "values": {"production": {"base_url": world.api, "key": "k"}}, "shares": [{"project": "acme", "slug": slug, "grants": {}}],
        });
        let create = |who: &Somebody, slug: &str| world.app.post("/api/v1/credentials", second(slug)).key(&who.key);
        assert_eq!(create(&world.ada, "second").is(409).await.code(), "external_id_taken");
        let path = format!("/api/v1/credentials/{}", first["id"].as_str().unwrap());
        world.app.patch(&path, json!({"external_id": "north-old"})).key(&world.ada.key).is(200).await;
        // Whatever names it would suddenly mean another account: that takes an admin.
        assert_eq!(create(&bob, "third").is(403).await.code(), "name_reserved");
        create(&world.ada, "second").is(201).await;
    }
}
