use serde_json::json;

use crate::app::both;
use crate::calling::both_worlds;
use crate::connectors::definition;

both! {
    async fn the_same_request_is_done_once(app) {
        let ada = app.person("ada@example.org").await;
        let make = || app.post("/api/v1/projects", json!({"slug": "acme", "name": "Acme"})).key(&ada.key).header("idempotency-key", "k-1");
        let first = make().is(201).await;
        app.clock.advance_secs(3600);
        let again = make().is(201).await;
        assert_eq!(first.text, again.text);
        assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
        assert_eq!(again.header("content-type"), "application/json");
        assert_eq!(app.get("/api/v1/projects").key(&ada.key).is(200).await.json()["items"].as_array().unwrap().len(), 1);
    }

    async fn another_request_with_the_key_is_refused(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let make = |slug: &str| app.post("/api/v1/projects", json!({"slug": slug, "name": slug})).header("idempotency-key", "k-1");
        make("one").key(&ada.key).is(201).await;
        assert_eq!(make("two").key(&ada.key).is(422).await.code(), "idempotency_mismatch");
        make("three").key(&bob.key).is(201).await;
        let long = "x".repeat(256);
        for bad in ["", " ", "a b", long.as_str()] {
            app.post("/api/v1/projects", json!({"slug": "four", "name": "x"})).key(&ada.key).header("idempotency-key", bad).is(400).await;
        }
    }

    async fn for_somebody_else_or_on_another_base_it_is_another_request(app) {
        let ada = app.person("ada@example.org").await;
        let make = || app.post("/api/v1/projects", json!({"slug": "acme", "name": "Acme"})).key(&ada.key).header("idempotency-key", "k-1");
        make().header("latchstring-user", "bob@example.org").is(201).await;
        assert_eq!(make().header("latchstring-user", "eve@example.org").is(422).await.code(), "idempotency_mismatch");
        assert_eq!(make().is(422).await.code(), "idempotency_mismatch");
        assert_eq!(make().header("latchstring-user", "bob@example.org").header("if-match", "\"1\"").is(422).await.code(), "idempotency_mismatch");
        let again = make().header("latchstring-user", "bob@example.org").is(201).await;
        assert_eq!(again.header("idempotency-replayed"), "true");
    }

    async fn what_is_kept_of_a_request_cannot_be_guessed_at(app) {
        let ada = app.person("ada@example.org").await;
        let actor = {
            let mut headers = axum::http::HeaderMap::new();
            headers.insert("authorization", format!("Bearer {}", ada.key).parse().unwrap());
            latchstring_broker::people::entry::Door::new(app.broker.clone()).enter(&headers, None).await.unwrap()
        };
        app.broker.begin_attempt(&actor, "k", &[b"/path", b"hunter2"]).await.unwrap();
        let mut joined = Vec::new();
        for part in [b"/path".as_slice(), b"hunter2"] {
            joined.extend((part.len() as u64).to_be_bytes());
            joined.extend(part);
        }
        let plain = latchstring_broker::people::random::hash_bytes(&joined);
        let mut reader = app.store.read().await.unwrap();
        let kept = latchstring_store::idempotency::get(&mut reader, &ada.id, "k 1 open").await.unwrap().unwrap();
        assert!(kept.sealed.len() > plain.len());
        assert!(!kept.sealed.windows(plain.len()).any(|bytes| bytes == plain));
        // Rotated away, or not ours: nothing is guessed.
        let mut tx = app.store.begin_upkeep().await.unwrap();
        let foreign = latchstring_store::idempotency::AnswerRow { sealed: kept.sealed.clone(), ..kept };
        latchstring_store::idempotency::put(&mut tx, &ada.id, "other 1 open", &foreign).await.unwrap();
        tx.commit().await.unwrap();
        let refused = app.broker.begin_attempt(&actor, "other", &[b"/path", b"hunter2"]).await.err().unwrap();
        assert!(refused.detail.contains("no longer be compared"), "{refused}");
    }

    async fn an_answer_is_given_again_only_to_who_may_no_less(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        app.member(&ada, "acme", &bob, "admin").await;
        let make = |key: &str| app.call(axum::http::Method::POST, "/api/v1/projects/acme/connectors").header("content-type", "application/yaml")
            .body(definition("CRM", "X-API-Key", "")).key(key).header("idempotency-key", "k-1");
        let first = make(&bob.key).is(201).await;
        assert_eq!(make(&bob.key).is(201).await.text, first.text);
        // A key that only calls could not have made it, and is not told what it came to.
        let small = app.post("/api/v1/me/keys", json!({"name": "calls", "scope": "call"})).cookie(&bob.cookie).is(201).await.json();
        let refused = make(small["key"].as_str().unwrap()).is(409).await;
        assert!(!refused.text.contains("auth_methods") && refused.text.contains("may less now"), "{}", refused.text);
        // Another project that was joined since takes nothing away; a lesser role does.
        app.project(&bob, "bobs").await;
        make(&bob.key).is(201).await;
        app.member(&ada, "acme", &bob, "viewer").await;
        let refused = make(&bob.key).is(409).await;
        assert_eq!(refused.code(), "idempotency_done");
        assert!(!refused.text.contains("auth_methods"), "{}", refused.text);
        app.delete("/api/v1/projects/acme/members/bob@example.org").key(&ada.key).is(204).await;
        make(&bob.key).is(409).await;
        app.member(&ada, "acme", &bob, "owner").await;
        make(&bob.key).is(201).await;
    }

    async fn a_refusal_is_answered_again_too(app) {
        let ada = app.person("ada@example.org").await;
        let make = || app.post("/api/v1/projects", json!({"slug": "No", "name": "x"})).key(&ada.key).header("idempotency-key", "k-1");
        let first = make().is(422).await;
        let again = make().is(422).await;
        assert_eq!(first.text, again.text);
        assert_eq!(again.code(), "invalid");
    }

    async fn a_key_is_shown_once_and_kept_nowhere(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        let make = || app.post("/api/v1/projects/acme/api-keys", json!({"name": "x", "environment": "staging"})).key(&ada.key).header("idempotency-key", "k-1");
        let made = make().is(201).await.json();
        let again = make().is(409).await;
        assert_eq!(again.code(), "idempotency_done");
        assert!(again.text.contains(made["id"].as_str().unwrap()));
        assert!(!again.text.contains(made["key"].as_str().unwrap()));
        let list = app.get("/api/v1/projects/acme/api-keys").key(&ada.key).is(200).await.json();
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
        let mut reader = app.store.read().await.unwrap();
        let kept = latchstring_store::idempotency::get(&mut reader, &ada.id, "k-1 1").await.unwrap().unwrap();
        let key = made["key"].as_str().unwrap().as_bytes();
        assert!(!kept.sealed.windows(key.len()).any(|bytes| bytes == key));
    }

    async fn what_is_kept_of_an_answer_holds_no_fields_and_is_sealed(app) {
        let ada = app.person("ada@example.org").await;
        let body = json!({
            "name": "planted-name", "connector": "http", "auth_method": "bearer", "verify": "skip",
            "values": {"production": {"base_url": "https://planted-host.example.com/planted-path", "token": "planted-token"}},
        });
        let make = || app.post("/api/v1/credentials", body.clone()).key(&ada.key).header("idempotency-key", "k-1");
        let first = make().is(201).await.json();
        assert_eq!(first["environments"]["production"]["fields"]["base_url"], "https://planted-host.example.com/planted-path");
        let again = make().is(201).await;
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!((again.json()["id"].clone(), again.json()["name"].clone()), (first["id"].clone(), json!("planted-name")));
        assert!(!again.text.contains("planted-host"), "{}", again.text);
        let mut reader = app.store.read().await.unwrap();
        let kept = latchstring_store::idempotency::get(&mut reader, &ada.id, "k-1 1").await.unwrap().unwrap();
        for plain in ["planted", "prj_", "crd_", "manages"] {
            assert!(!kept.sealed.windows(plain.len()).any(|bytes| bytes == plain.as_bytes()), "{plain}");
        }
        // What an API answered is asked for again, not kept.
        let path = format!("/api/v1/credentials/{}/verify", first["id"].as_str().unwrap());
        let verify = || app.post(&path, json!({"environment": "production"})).key(&ada.key).header("idempotency-key", "k-2");
        for _ in 0..2 {
            assert_eq!(verify().is(200).await.header("idempotency-replayed"), "");
        }
    }

    async fn of_two_at_once_one_is_done(app) {
        let ada = app.person("ada@example.org").await;
        let make = || app.post("/api/v1/projects", json!({"name": "Acme", "slug": "acme"})).key(&ada.key).header("idempotency-key", "k-1").send();
        let (a, b, c) = tokio::join!(make(), make(), make());
        for answer in [&a, &b, &c] {
            assert!(answer.status == 201 || (answer.status == 409 && answer.code() == "idempotency_in_progress"), "{}", answer.text);
        }
        assert!([&a, &b, &c].iter().any(|answer| answer.status == 201));
        assert_eq!(make().await.status, 201);
        let made = app.recorded().await.into_iter().filter(|event| event == "project.create ok").count();
        assert_eq!(made, 1);
    }

    async fn one_that_died_half_way_is_not_guessed_at(app) {
        use latchstring_broker::people::repeats::Repeat;
        let ada = app.person("ada@example.org").await;
        let actor = {
            let mut headers = axum::http::HeaderMap::new();
            headers.insert("authorization", format!("Bearer {}", ada.key).parse().unwrap());
            latchstring_broker::people::entry::Door::new(app.broker.clone()).enter(&headers, None).await.unwrap()
        };
        let begin = async || app.broker.begin_attempt(&actor, "k", &[b"a"]).await;
        assert!(matches!(begin().await, Ok(Repeat::New(_))), "and its server stops");
        let busy = begin().await.err().unwrap();
        assert_eq!((busy.code.as_str(), busy.retry_after_secs), ("idempotency_in_progress", Some(1)));
        app.clock.advance_secs(120);
        let unknown = begin().await.err().unwrap();
        assert_eq!(unknown.code.as_str(), "idempotency_unknown", "{unknown}");
        assert!(unknown.detail.contains("never ended"), "{unknown}");
        app.clock.advance_secs(86_400);
        assert_eq!(app.broker.purge_attempts().await.unwrap(), 1);
        let Ok(Repeat::New(attempt)) = begin().await else { panic!() };
        app.broker.end_attempt(*attempt, None).await.unwrap();
        assert!(matches!(begin().await, Ok(Repeat::New(_))), "freed by a refusal that passes");
    }
}

both_worlds! {
    async fn what_a_call_answered_is_not_kept(world) {
        let more = "operations:\n  echo: {get: /echo/here, query: {said: \"{{ input.said }}\"}, input: {said: {type: text, default: nothing}}}\n";
        world.upload("acme", &definition("CRM", "X-API-Key", more)).await;
        world.credential("acme", "crm", "key", "main").await;
        let ask = || world.operation("main", "echo", json!({"said": "for-ada-alone"})).key(&world.ada.key).header("idempotency-key", "k-1");
        let first = ask().is(200).await;
        assert!(first.text.contains("for-ada-alone"), "{}", first.text);
        let again = ask().is(409).await;
        assert_eq!((again.code().as_str(), again.header("idempotency-replayed")), ("idempotency_done", "true"));
        assert!(again.json()["detail"].as_str().unwrap().contains("answered with 200"), "{}", again.text);
        assert!(!again.text.contains("for-ada-alone"), "{}", again.text);
        let mut reader = world.app.store.read().await.unwrap();
        let kept = latchstring_store::idempotency::get(&mut reader, &world.ada.id, "k-1 1").await.unwrap().unwrap();
        assert_eq!(kept.status, 409);
        let said = b"for-ada-alone";
        assert!(!kept.sealed.windows(said.len()).any(|bytes| bytes == said));
    }

    // Nothing was sent, so nothing was done: the same key does it once what was in the way is gone.
    async fn a_call_that_was_refused_here_was_not_done(world) {
        let more = "operations:\n  echo: {get: /echo/here, input: {said: {type: text}}}\n";
        world.upload("acme", &definition("CRM", "X-API-Key", more)).await;
        let made = world.credential("acme", "crm", "key", "main").await;
        let switch = async |to: &str| {
            let path = format!("/api/v1/credentials/{}/{to}", made["id"].as_str().unwrap());
            world.app.post(&path, json!({})).key(&world.ada.key).is(200).await;
        };
        let ask = || world.operation("main", "echo", json!({"said": "now"})).key(&world.ada.key).header("idempotency-key", "k-2");
        switch("disable").await;
        let refused = ask().send().await;
        assert!((400..500).contains(&refused.status) && refused.code() == "credential_disabled", "{}", refused.text);
        switch("enable").await;
        ask().is(200).await;
        assert_eq!(ask().is(409).await.code(), "idempotency_done");
    }
}
