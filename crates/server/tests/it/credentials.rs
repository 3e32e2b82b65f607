//! Credentials made, changed and checked, with a real API at the other end.

use std::time::Duration;

use latchstring_store::{credentials as rows, tokens, values};
use serde_json::{Value, json};

use crate::credentials_upstream::{Shop, both_shops};

async fn row(shop: &Shop, credential: &Value) -> rows::CredentialRow {
    let id = credential["id"].as_str().unwrap().parse().unwrap();
    let mut tx = shop.app.store.read().await.unwrap();
    rows::for_upkeep(&mut tx, &id).await.unwrap().unwrap()
}

async fn held_tokens(shop: &Shop, credential: &Value) -> Vec<tokens::TokenRow> {
    let row = row(shop, credential).await;
    let mut tx = shop.app.store.read().await.unwrap();
    tokens::list_of_credential(&mut tx, &row).await.unwrap()
}

async fn stored(shop: &Shop, credential: &Value) -> Vec<values::ValuesRow> {
    let row = row(shop, credential).await;
    let mut tx = shop.app.store.read().await.unwrap();
    values::list(&mut tx, &row).await.unwrap()
}

fn share(view: &Value, project: &str) -> Value {
    let shares = view["shares"].as_array().unwrap();
    shares
        .iter()
        .find(|share| share["project"] == project)
        .unwrap_or_else(|| panic!("{project}: {view}"))
        .clone()
}

both_shops! {
    async fn each_method_of_the_sandbox_is_verified_and_saved(shop) {
        for method in ["api_key", "basic", "oauth2_client_credentials", "oauth2_jwt_bearer", "jwt"] {
            let made = shop.create(shop.of_sandbox(method, method)).is(201).await;
            assert_eq!(made.header("etag"), "\"1\"");
            let made = made.json();
            let production = &made["environments"]["production"];
            assert_eq!(production["status"], "verified", "{method}: {made}");
            assert_eq!(production["version"], 1);
            assert!(production["account"].is_string(), "{method}: {made}");
            assert_eq!(production["token"].is_object(), method.starts_with("oauth2"), "{made}");
            assert_eq!(made["owner"]["email"], "ada@example.org");
            let again = shop.verify(&made, "production").is(200).await.json();
            assert_eq!((again["status"].as_str(), again["response"]["status"].as_i64()), (Some("verified"), Some(200)), "{again}");
            assert!(again["request"]["url"].as_str().unwrap().ends_with("/v1/me"), "{again}");
        }
        assert_eq!(shop.count().await, 5);
    }

    async fn a_refused_credential_is_explained_and_not_saved(shop) {
        let mut wrong = shop.of_sandbox("robot", "api_key");
        wrong["values"]["production"]["key"] = "wrong-key-that-was-planted".into();
        let refused = shop.create(wrong).is(422).await;
        assert_eq!(refused.code(), "verification_failed");
        let problem = refused.json();
        assert!(problem["hint"].as_str().unwrap().contains("sandbox-key-not-a-secret"), "the connector explains: {problem}");
        assert_eq!(problem["upstream"]["status"], 401);
        assert_eq!(problem["request"]["method"], "GET");
        assert!(problem["response"]["body_excerpt"].as_str().unwrap().contains("wrong_api_key"));
        assert!(problem["detail"].as_str().unwrap().ends_with("Nothing was saved."), "{problem}");
        assert!(!refused.text.contains("wrong-key-that-was-planted"));

        for (status, code, says) in [
            (401, "verification_failed", "does not accept"),
            (403, "verification_failed", "does not allow"),
            (404, "verification_inconclusive", "nothing at that address"),
            (302, "verification_inconclusive", "redirect"),
            (429, "verification_inconclusive", "slow down"),
            (400, "verification_inconclusive", "did not like"),
            (503, "verification_inconclusive", "trouble of its own"),
        ] {
            shop.up.json("/me", status, json!({"error": "so it is"}));
            let refused = shop.create(shop.bearer("b", "planted-bearer-token")).is(422).await;
            let problem = refused.json();
            assert_eq!(refused.code(), code, "{status}");
            assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
            assert!(problem["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{problem}");
            assert_eq!(problem["upstream"]["status"], status);
        }
        assert_eq!(shop.count().await, 0);
        let skipped = {
            let mut body = shop.bearer("b", "planted-bearer-token");
            body["verify"] = "skip".into();
            shop.create(body).is(201).await.json()
        };
        assert_eq!(skipped["environments"]["production"]["status"], "unverified");
        assert_eq!(shop.up.seen("/me").len(), 7, "skipping asks nobody");
    }

    async fn one_environment_that_fails_saves_none(shop) {
        shop.up.json("/bad/me", 401, json!({}));
        let mut body = shop.bearer("two", "planted-bearer-token");
        body["values"]["staging"] = json!({"base_url": format!("{}/bad", shop.up.url), "token": "x", "test_path": "/me"});
        let refused = shop.create(body).is(422).await;
        assert!(refused.json()["detail"].as_str().unwrap().contains("staging"), "{}", refused.text);
        assert_eq!(shop.count().await, 0);
    }

    async fn a_trailing_slash_makes_no_other_destination(shop) {
        let mut pins = Vec::new();
        for (name, base) in [("with", format!("{}/v1/", shop.up.url)), ("without", format!("{}/v1", shop.up.url))] {
            let mut body = shop.bearer(name, "planted-bearer-token");
            body["values"]["production"]["base_url"] = base.into();
            let made = shop.create(body).is(201).await.json();
            pins.push(made["environments"]["production"]["destinations"].clone());
        }
        assert_eq!(pins[0], pins[1]);
        assert_eq!(pins[0], json!([format!("{}/v1/", shop.up.url)]));
        assert_eq!(shop.up.seen("/v1/me").len(), 2);
    }

    async fn a_change_merges_per_field_and_is_verified_first(shop) {
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let first = stored(&shop, &made).await;
        let changed = shop
            .patch(&made, json!({"name": "Renamed", "note": "by the robot", "acts_as": "robot", "expires_on": "2027-01-31T12:00:00Z",
                "values": {"production": {"token": "planted-bearer-token-2"}}}))
            .header("if-match", "\"1\"")
            .is(200)
            .await;
        assert_eq!(changed.header("etag"), "\"2\"");
        let now = changed.json();
        assert_eq!(now["environments"]["production"]["version"], 2);
        assert_eq!(now["environments"]["production"]["fields"]["test_path"], "/me", "what is not named stays");
        assert_eq!((now["name"].as_str(), now["note"].as_str(), now["acts_as"].as_str()), (Some("Renamed"), Some("by the robot"), Some("robot")));
        assert_eq!(now["expires_on"], "2027-01-31T12:00:00.000Z");
        assert_eq!(now["slug"], "api", "a slug does not follow the name");
        let asked = shop.up.seen("/me");
        assert_eq!(asked.last().unwrap().headers["authorization"], "Bearer planted-bearer-token-2");
        assert_ne!(first[0].sealed, stored(&shop, &made).await[0].sealed);

        // Null clears: without a test path there is nothing to ask, and what is left is unverified.
        let cleared = shop.patch(&made, json!({"note": null, "values": {"production": {"test_path": null}}})).is(200).await.json();
        assert!(cleared["note"].is_null());
        assert_eq!(cleared["environments"]["production"]["status"], "unverified");
        assert!(cleared["environments"]["production"]["fields"].get("test_path").is_none());
        assert_eq!(shop.up.seen("/me").len(), asked.len());

        // The same values again are no change.
        let before = shop.read(&made).await;
        shop.patch(&made, json!({"name": "Renamed", "values": {"production": {"token": "planted-bearer-token-2"}}})).is(200).await;
        Shop::same(&before, &shop.read(&made).await);
    }

    async fn a_refused_change_saves_nothing(shop) {
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let before = shop.read(&made).await;
        shop.up.json("/me", 401, json!({"error": "expired"}));
        let refused = shop.patch(&made, json!({"name": "Other", "shares": [], "values": {"production": {"token": "planted-bearer-token-9"}}})).is(422).await;
        assert_eq!(refused.code(), "verification_failed");
        Shop::same(&before, &shop.read(&made).await);
        for (body, pointer) in [
            (json!({"name": " "}), "/name"),
            (json!({"slug": "Not one"}), "/slug"),
            (json!({"connector": "github"}), "/connector"),
            (json!({"owner": {}}), "/owner"),
            (json!({"values": {"production": {"tokn": "x"}}}), "/values/production/tokn"),
            (json!({"values": {"production": {"token": null}}}), "/values/production/token"),
            (json!({"values": {"moon": null}}), "/values/moon"),
            (json!({"values": {"UPPER": {}}}), "/values/UPPER"),
            (json!({"shares": [{"project": "nowhere"}]}), "/shares/0/project"),
            (json!({"shares": [{"project": "acme", "grants": {"moon": "production"}}]}), "/shares/0/grants/moon"),
            (json!({"shares": [{"project": "acme", "grants": {"staging": "moon"}}]}), "/shares/0/grants/staging"),
            (json!({"expires_on": "soon"}), "/expires_on"),
        ] {
            let refused = shop.patch(&made, body.clone()).is(422).await;
            assert_eq!(refused.code(), "invalid");
            assert!(refused.pointers().iter().any(|found| found == pointer), "{body}: {}", refused.text);
        }
        Shop::same(&before, &shop.read(&made).await);
        assert_eq!(shop.app.patch(&shop.at(&made, ""), json!({})).is(401).await.code(), "unauthenticated");
    }

    async fn of_two_changes_at_once_one_wins(shop) {
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let stale = shop.patch(&made, json!({"name": "x"})).header("if-match", "\"7\"").is(412).await;
        assert_eq!(stale.code(), "precondition_failed");
        shop.up.slow("/me", Duration::from_secs(3));
        let slow = shop.patch(&made, json!({"values": {"production": {"token": "planted-bearer-token-2"}}})).send();
        let fast = async {
            while shop.up.seen("/me").len() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            shop.patch(&made, json!({"name": "Faster"})).send().await
        };
        let (slow, fast) = tokio::join!(slow, fast);
        assert_eq!((slow.status, fast.status), (412, 200), "{} {}", slow.text, fast.text);
        let now = shop.read(&made).await.json();
        assert_eq!((now["name"].as_str(), now["environments"]["production"]["version"].as_i64()), (Some("Faster"), Some(1)));
    }

    async fn new_values_end_older_tokens(shop) {
        let made = shop.create(shop.tokened("API", "read")).is(201).await.json();
        let before = held_tokens(&shop, &made).await;
        assert_eq!((before.len(), before[0].key.values_version), (1, 1));
        shop.patch(&made, json!({"values": {"production": {"scope": "read write"}}})).is(200).await;
        let after = held_tokens(&shop, &made).await;
        assert_eq!((after.len(), after[0].key.values_version), (1, 2));
        assert_ne!(before[0].key.id, after[0].key.id);
        assert_eq!(shop.up.seen("/token").len(), 2);
        // Refused: the older token stays.
        shop.up.json("/token", 400, json!({"error": "invalid_scope"}));
        shop.patch(&made, json!({"values": {"production": {"scope": "all"}}})).is(422).await;
        assert_eq!(held_tokens(&shop, &made).await, after);
    }

    async fn a_granted_environment_goes_only_with_its_grants(shop) {
        let mut body = shop.bearer("API", "planted-bearer-token-1");
        body["values"]["test"] = json!({"base_url": shop.up.url, "token": "planted-test-token"});
        let made = shop.create(body).is(201).await.json();
        let refused = shop.patch(&made, json!({"values": {"production": null}})).is(409).await;
        assert_eq!((refused.code(), refused.pointers()), ("values_granted".into(), vec!["/values/production".to_owned()]));
        assert_eq!(refused.json()["grants"].as_array().unwrap().len(), 2, "{}", refused.text);
        assert_eq!(refused.json()["grants"][0]["project"], "acme");
        shop.patch(&made, json!({"values": {"production": null}, "shares": [{"project": "acme", "grants": {"staging": "production"}}]})).is(422).await;
        let last = shop.patch(&made, json!({"values": {"production": null, "test": null}, "shares": []})).is(422).await;
        assert_eq!(last.pointers(), ["/values"]);
        // One that is not granted goes alone; a granted one together with its grants.
        shop.patch(&made, json!({"values": {"test": null}})).is(200).await;
        let moved = json!({"values": {"production": null, "live": {"base_url": shop.up.url, "token": "planted-live-token"}},
            "shares": [{"project": "acme", "grants": {"production": "live"}}]});
        let now = shop.patch(&made, moved).is(200).await.json();
        assert_eq!(now["environments"].as_object().unwrap().keys().collect::<Vec<_>>(), ["live"]);
        assert_eq!(now["shares"][0]["grants"], json!({"production": "live"}));
        let versions = shop.app.get(&shop.at(&made, "/versions")).key(&shop.ada.key).is(200).await.json();
        for version in versions["items"].as_array().unwrap() {
            assert_eq!(version["current"], version["environment"] == "live");
            assert_eq!(version["restorable"], false, "removed values are wiped: {version}");
        }
        // Made again, its numbers go on: a sealed value never fits twice.
        let back = shop.patch(&made, json!({"values": {"production": {"base_url": shop.up.url, "token": "planted-new-token"}}})).is(200).await.json();
        assert_eq!(back["environments"]["production"]["version"], 2);
        assert_eq!(back["shares"][0]["grants"], json!({"production": "live"}), "a grant never comes back by itself");
    }

    async fn shares_are_replaced_as_a_list(shop) {
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let beta = shop.app.project(&shop.ada, "beta").await;
        let both = json!({"external_id": "customer-7", "shares": [
            {"project": "acme", "grants": {}},
            {"project": beta["id"], "slug": "their-api", "grants": {"production": "production"}},
        ]});
        let now = shop.patch(&made, both).is(200).await.json();
        let (acmes, betas) = (share(&now, "acme"), share(&now, "beta"));
        assert_eq!((acmes["slug"].as_str(), betas["slug"].as_str()), (Some("api"), Some("their-api")));
        assert_eq!((acmes["grants"].clone(), betas["grants"].clone()), (json!({}), json!({"production": "production"})));
        assert_eq!((acmes["external_id"].as_str(), betas["external_id"].as_str()), (Some("customer-7"), Some("customer-7")));
        let slug = shop.patch(&made, json!({"slug": "api-two"})).is(200).await.json();
        assert_eq!((slug["shares"][0]["slug"].as_str(), slug["shares"][1]["slug"].as_str()), (Some("api-two"), Some("api-two")));
        let one = shop.patch(&made, json!({"shares": [{"project": "beta", "grants": {}}]})).is(200).await.json();
        assert_eq!(one["shares"].as_array().unwrap().len(), 1);
        assert_eq!(one["shares"][0]["external_id"], "customer-7");
        // A slug that is taken comes with another one.
        let other = shop.create(shop.bearer("Other", "planted-bearer-token-3")).is(201).await.json();
        let taken = shop.patch(&made, json!({"shares": [{"project": "acme", "slug": "other"}]})).is(409).await;
        assert_eq!(taken.code(), "slug_taken");
        assert_eq!(taken.json()["suggestion"], "other-2");
        let free = shop.patch(&made, json!({"shares": []})).is(200).await.json();
        assert_eq!(free["shares"], json!([]));
        assert_eq!(shop.patch(&made, json!({"slug": "nowhere"})).is(422).await.pointers(), ["/slug"]);
        let actions: Vec<String> = shop.app.audit(&shop.acme).await.into_iter().map(|item| item.record.action).collect();
        assert!(actions.iter().filter(|action| *action == "credential.share").count() >= 3, "{actions:?}");
        assert_eq!(other["shares"][0]["slug"], "other");
    }

    async fn sharing_needs_an_editor_and_claims_an_admin(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "viewer").await;
        let body = shop.bearer("Bobs", "planted-bearer-token-1");
        let refused = shop.app.post("/api/v1/credentials", body.clone()).key(&bob.key).is(422).await;
        assert_eq!(refused.pointers(), ["/shares/0/project"]);
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let bobs = shop.app.post("/api/v1/credentials", body.clone()).key(&bob.key).is(201).await.json();
        // As viewer again, bob can take away and not give.
        shop.app.member(&shop.ada, "acme", &bob, "viewer").await;
        let give = json!({"shares": [{"project": "acme", "slug": "new-name", "grants": {"production": "production", "staging": "production"}}]});
        shop.app.patch(&shop.at(&bobs, ""), give).key(&bob.key).is(422).await;
        let less = json!({"shares": [{"project": "acme", "grants": {"staging": "production"}}]});
        let less = shop.app.patch(&shop.at(&bobs, ""), less).key(&bob.key).is(200).await.json();
        assert_eq!(less["shares"][0]["grants"], json!({"staging": "production"}));
        // A slug that belonged to ada's credential is not bob's to take.
        let hers = shop.create(shop.bearer("Hers", "planted-bearer-token-2")).is(201).await.json();
        shop.patch(&hers, json!({"shares": []})).is(200).await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let claim = shop.app.patch(&shop.at(&bobs, ""), json!({"slug": "hers"})).key(&bob.key).is(403).await;
        assert_eq!((claim.code(), claim.json()["suggestion"].as_str().unwrap().to_owned()), ("name_reserved".to_owned(), "hers-2".to_owned()));
    }

    async fn a_new_origin_waits_for_an_admin(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        shop.app.project(&bob, "bobs").await;
        let mut body = shop.bearer("Bobs", "planted-bearer-token-1");
        body["shares"].as_array_mut().unwrap().push(json!({"project": "bobs", "grants": {"production": "production"}}));
        let made = shop.app.post("/api/v1/credentials", body).key(&bob.key).is(201).await.json();
        let id = made["id"].as_str().unwrap();
        // Another path of the same origin is none.
        let path = json!({"values": {"production": {"base_url": format!("{}/v2", shop.up.url)}}});
        let same = shop.app.patch(&shop.at(&made, ""), path).key(&bob.key).is(200).await.json();
        assert_eq!(same["shares"][0]["suspended"], false);
        let elsewhere = crate::credentials_upstream::Upstream::start().await;
        let moved = json!({"values": {"production": {"base_url": elsewhere.url}}});
        let now = shop.app.patch(&shop.at(&made, ""), moved).key(&bob.key).is(200).await.json();
        let suspended = |view: &Value, project: &str| share(view, project)["suspended"].clone();
        assert_eq!(suspended(&now, "acme"), true, "{now}");
        assert_eq!(suspended(&now, "bobs"), false, "in his own project bob decides");
        let accept = format!("/api/v1/projects/acme/credentials/{id}/accept");
        assert_eq!(shop.app.post(&accept, json!({})).key(&bob.key).is(403).await.code(), "forbidden");
        let seen = shop.app.get(&shop.at(&made, "")).key(&shop.ada.key).is(200).await;
        assert_eq!(seen.json()["shares"][0]["destinations"], json!([elsewhere.url]), "an admin sees where to: {}", seen.text);
        // Moved once more since ada looked.
        let third = crate::credentials_upstream::Upstream::start().await;
        let again = json!({"values": {"production": {"base_url": third.url}}});
        shop.app.patch(&shop.at(&made, ""), again).key(&bob.key).is(200).await;
        shop.app.post(&accept, json!({})).header("if-match", seen.header("etag")).key(&shop.ada.key).is(412).await;
        let tag = shop.app.get(&shop.at(&made, "")).key(&shop.ada.key).is(200).await;
        let accepted = shop.app.post(&accept, json!({})).header("if-match", tag.header("etag")).key(&shop.ada.key).is(200).await.json();
        assert_eq!(suspended(&accepted, "acme"), false);
        assert!(accepted["environments"]["production"].get("fields").is_none());
        let actions: Vec<String> = shop.app.audit(&shop.acme).await.into_iter().map(|item| item.record.action).collect();
        assert!(actions.contains(&"credential.accept".to_owned()), "{actions:?}");
    }

    async fn a_check_moves_how_the_values_stand(shop) {
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let status = |view: Value| view["environments"]["production"]["status"].as_str().unwrap().to_owned();
        shop.up.json("/me", 401, json!({"error": "token {raw} expired"}));
        let once = shop.verify(&made, "production").is(200).await;
        let report = once.json();
        assert_eq!((report["status"].as_str(), report["code"].as_str()), (Some("failing"), Some("verification_failed")), "{report}");
        assert_eq!(report["environment_status"], "verified", "one refusal is not enough");
        assert!(report["explanation"].as_str().is_some_and(|text| text.contains("401") && !text.contains("saved")), "{report}");
        assert!(report["hint"].is_string());
        assert_eq!(report["request"]["headers"]["authorization"], format!("Bearer {}", "*".repeat(22)));
        assert!(!once.text.contains("planted-bearer"), "{}", once.text);
        assert_eq!(status(shop.read(&made).await.json()), "verified");
        shop.up.json("/me", 503, json!({}));
        let unclear = shop.verify(&made, "production").is(200).await.json();
        assert_eq!((unclear["status"].as_str(), unclear["code"].as_str()), (Some("unverified"), Some("verification_inconclusive")));
        shop.up.json("/me", 401, json!({}));
        shop.verify(&made, "production").is(200).await;
        let failing = shop.read(&made).await.json();
        assert_eq!(status(failing.clone()), "failing");
        assert!(failing["environments"]["production"]["check_error"].as_str().unwrap().contains("401"), "{failing}");
        shop.up.json("/me", 200, json!({}));
        shop.app.clock.advance_secs(60);
        let good = shop.verify(&made, "production").is(200).await.json();
        assert_eq!((good["status"].as_str(), good["environment_status"].as_str()), (Some("verified"), Some("verified")));
        assert_eq!(good["checked_at"], shop.app.broker.now().to_rfc3339());
        let cleared = shop.read(&made).await.json();
        assert!(cleared["environments"]["production"].get("check_error").is_none(), "{cleared}");
        assert_eq!(cleared["environments"]["production"]["verified_at"], good["checked_at"]);
        assert_eq!(shop.verify(&made, "moon").is(422).await.pointers(), ["/environment"]);
        let nothing = shop.create(json!({"name": "None", "connector": "http", "auth_method": "none", "values": {"production": {"base_url": shop.up.url}}})).is(201).await.json();
        let unasked = shop.verify(&nothing, "production").is(200).await.json();
        assert_eq!((unasked["status"].as_str(), unasked["request"].is_null()), (Some("unverified"), true), "{unasked}");
        assert!(unasked["hint"].as_str().unwrap().contains("test_path"));
    }

    async fn members_who_may_call_may_check_too(shop) {
        let mut body = shop.bearer("API", "planted-bearer-token-1");
        body["values"]["production"]["headers"] = json!({"X-Tenant": "planted-tenant-1"});
        body["values"]["production"]["query"] = json!({"site": "planted-site-1"});
        let made = shop.create(body).is(201).await.json();
        let bob = shop.app.person("bob@example.org").await;
        let path = shop.at(&made, "/verify");
        let check = |environment: &str| shop.app.post(&path, json!({"environment": environment})).key(&bob.key);
        assert_eq!(check("production").is(404).await.code(), "not_found");
        shop.app.member(&shop.ada, "acme", &bob, "viewer").await;
        assert_eq!(check("production").is(403).await.code(), "forbidden");
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let good = check("production").is(200).await;
        assert_eq!(good.json()["status"], "verified");
        assert!(!good.text.contains("planted-"), "neither what is secret nor the other values: {}", good.text);
        assert_eq!(good.json()["request"], json!({"method": "GET", "url": shop.up.url}), "not what is asked: that is a field");
        let own = shop.verify(&made, "production").is(200).await.text;
        assert!(own.contains("x-tenant") && own.contains("planted-site-1") && !own.contains("planted-bearer"), "{own}");
        // Nor what the token endpoint is asked.
        shop.up.reply("/token", 401, "application/json", "{\"error\":\"invalid_client\"}");
        let mut tokened = shop.tokened("Tokened", "planted-scope-1");
        tokened["verify"] = "skip".into();
        tokened["shares"] = json!([{"project": "acme", "slug": "tokened", "grants": {"production": "production"}}]);
        let tokened = shop.create(tokened).is(201).await.json();
        let theirs = shop.app.post(&shop.at(&tokened, "/verify"), json!({"environment": "production"})).key(&bob.key).is(200).await;
        assert!(!theirs.text.contains("planted-"), "{}", theirs.text);
        assert_eq!(theirs.json()["request"], json!({"method": "POST", "url": shop.up.url}));
        let own = shop.verify(&tokened, "production").is(200).await.json();
        assert_eq!(own["request"]["body"], "grant_type=client_credentials&scope=planted-scope-1", "{own}");
        // A path is often a value, or the better part of a webhook's address.
        shop.up.json("/planted-prefix/planted-test", 401, json!({}));
        let moved = json!({"verify": "skip", "values": {"production": {"base_url": format!("{}/planted-prefix", shop.up.url), "test_path": "/planted-test"}}});
        shop.patch(&made, moved).is(200).await;
        let refused = check("production").is(200).await;
        assert_eq!(refused.json()["status"], "failing", "{}", refused.text);
        assert!(refused.text.contains("401") && !refused.text.contains("planted-"), "{}", refused.text);
        for path in [shop.at(&made, ""), "/api/v1/projects/acme/audit".to_owned(), "/api/v1/credentials?project=acme".to_owned()] {
            let seen = shop.app.get(&path).key(&bob.key).is(200).await;
            assert!(!seen.text.contains("planted-"), "{path}: {}", seen.text);
        }
        assert!(shop.read(&made).await.text.contains("planted-prefix"), "the owner sees it");
        shop.patch(&made, json!({"shares": [{"project": "acme", "grants": {}}]})).is(200).await;
        assert_eq!(check("production").is(403).await.code(), "forbidden", "not granted any more");
    }

    async fn a_member_does_not_move_where_values_go(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let variable = "/api/v1/projects/acme/environments/production/variables/api";
        shop.app.put(variable, json!({"value": shop.up.url})).key(&shop.ada.key).is(204).await;
        let mut body = shop.bearer("API", "planted-bearer-token-1");
        body["values"]["production"]["base_url"] = "{{ get_variable('api') }}".into();
        body["shares"][0]["grants"] = json!({"production": "production"});
        let made = shop.create(body).is(201).await.json();
        let elsewhere = crate::credentials_upstream::Upstream::start().await;
        shop.app.put(variable, json!({"value": elsewhere.url})).key(&bob.key).is(204).await;
        let held = shop.app.post(&shop.at(&made, "/verify"), json!({"environment": "production"})).key(&bob.key).is(200).await.json();
        assert_eq!((held["status"].as_str(), held["code"].as_str()), (Some("unverified"), Some("destination_not_allowed")), "{held}");
        assert_eq!(elsewhere.asked(), 0, "nothing was sent there");
        // The owner's check does.
        let moved = shop.verify(&made, "production").is(200).await.json();
        assert_eq!(moved["status"], "verified", "{moved}");
        assert_eq!(shop.read(&made).await.json()["environments"]["production"]["destinations"], json!([format!("{}/", elsewhere.url)]));
    }

    async fn while_owner_rights_rest_a_check_is_like_a_members(shop) {
        let variable = "/api/v1/projects/acme/environments/production/variables/api";
        let point = async |to: &str| shop.app.put(variable, json!({"value": to})).key(&shop.ada.key).is(204).await;
        point(&shop.up.url).await;
        let mut body = shop.bearer("API", "planted-bearer-token-1");
        body["values"]["production"]["base_url"] = "{{ get_variable('api') }}".into();
        body["values"]["production"]["headers"] = json!({"X-Tenant": "planted-tenant-1"});
        body["shares"][0]["grants"] = json!({"production": "production"});
        let made = shop.create(body.clone()).is(201).await.json();
        body["shares"] = json!([]);
        body["values"]["production"]["base_url"] = shop.up.url.as_str().into();
        let alone = shop.create(body).is(201).await.json();
        let token = shop.app.reset_token(&shop.ada.email).await;
        let password = json!({"token": token, "password": "another horse battery"});
        shop.app.post("/api/v1/password-resets/accept", password).is(204).await;
        let checked = shop.verify(&made, "production").is(200).await;
        assert_eq!(checked.json()["status"], "verified");
        assert!(!checked.text.contains("planted-"), "{}", checked.text);
        let elsewhere = crate::credentials_upstream::Upstream::start().await;
        point(&elsewhere.url).await;
        assert_eq!(shop.verify(&made, "production").is(200).await.json()["code"], "destination_not_allowed");
        assert_eq!(elsewhere.asked(), 0, "nothing was sent there");
        // What nobody else uses is checked by nobody until then.
        assert_eq!(shop.verify(&alone, "production").is(403).await.code(), "owner_frozen");
    }

    async fn a_check_says_what_the_token_endpoint_said(shop) {
        let made = shop.create(shop.tokened("API", "read")).is(201).await.json();
        shop.up.json("/token", 401, json!({"error": "invalid_client", "error_description": "secret planted-client-secret-0123 is over"}));
        let report = shop.verify(&made, "production").is(200).await;
        assert!(!report.text.contains("planted-client-secret"), "{}", report.text);
        let report = report.json();
        assert_eq!((report["status"].as_str(), report["response"]["status"].as_i64()), (Some("failing"), Some(401)), "{report}");
        assert!(report["request"]["url"].as_str().unwrap().ends_with("/token"));
        assert!(report["response"]["body_excerpt"].as_str().unwrap().contains("invalid_client"), "{report}");
    }

    async fn the_owner_approves_a_changed_connector(shop) {
        // The second one would make the token a field that is shown.
        let definition = |base: &str| { let secret = base == shop.up.url; format!("id: shop\nname: Shop\nallow_http: true\nbase_url: {base}\nauth_methods:\n  key:\n    label: Key\n    fields:\n      token: {{type: text, secret: {secret}}}\n    scheme: {{type: bearer, token: '{{{{ token }}}}'}}\nverify: {{get: /me}}\n") };
        let upload = |method: axum::http::Method, path: &str, base: &str| {
            shop.app.call(method, path).header("content-type", "application/yaml").body(definition(base)).key(&shop.ada.key)
        };
        upload(axum::http::Method::POST, "/api/v1/projects/acme/connectors", &shop.up.url).is(201).await;
        let body = json!({"name": "S", "connector": "shop", "auth_method": "key", "values": {"production": {"token": "planted-shop-token"}},
            "shares": [{"project": "acme", "grants": {"production": "production"}}]});
        let made = shop.create(body).is(201).await.json();
        let quiet = shop.app.post(&shop.at(&made, "/approve"), json!({"preview": true})).key(&shop.ada.key).is(200).await.json();
        assert_eq!(quiet["changed"], false);
        let elsewhere = crate::credentials_upstream::Upstream::start().await;
        upload(axum::http::Method::PUT, "/api/v1/projects/acme/connectors/shop", &elsewhere.url).is(200).await;
        for refused in [shop.verify(&made, "production"), shop.patch(&made, json!({"values": {"production": {"token": "x"}}}))] {
            assert_eq!(refused.is(409).await.code(), "connector_changed");
        }
        shop.patch(&made, json!({"note": "a name can change"})).is(200).await;
        let look = shop.app.post(&shop.at(&made, "/approve"), json!({"preview": true})).key(&shop.ada.key).is(200).await.json();
        assert_eq!(look["changed"], true);
        assert_eq!(look["before"]["destinations"]["production"], json!([format!("{}/", shop.up.url)]));
        assert_eq!(look["after"]["destinations"]["production"], json!([format!("{}/", elsewhere.url)]));
        assert_ne!(look["before"]["digest"], look["after"]["digest"]);
        assert_eq!(elsewhere.asked(), 0);
        let stale = json!({"digest": look["before"]["digest"]});
        shop.app.post(&shop.at(&made, "/approve"), stale).key(&shop.ada.key).is(412).await;
        elsewhere.json("/me", 401, json!({}));
        let approve = || shop.app.post(&shop.at(&made, "/approve"), json!({"digest": look["after"]["digest"]})).key(&shop.ada.key);
        assert_eq!(approve().is(422).await.code(), "verification_failed");
        assert_eq!(shop.verify(&made, "production").is(409).await.code(), "connector_changed", "nothing was approved");
        elsewhere.json("/me", 200, json!({}));
        let done = approve().is(200).await.json();
        assert_eq!(done["credential"]["environments"]["production"]["destinations"], look["after"]["destinations"]["production"]);
        assert_eq!(done["credential"]["environments"]["production"]["version"], 1, "the values are the same");
        assert_eq!(elsewhere.seen("/me").last().unwrap().headers["authorization"], "Bearer planted-shop-token");
        let public = shop.patch(&made, json!({"values": {"production": {"token": "planted-other-token"}}})).is(200).await;
        assert_eq!(public.json()["environments"]["production"]["secret_fields"], json!(["token"]), "secrecy only rises");
        assert!(!public.text.contains("planted-"), "{}", public.text);
        shop.verify(&made, "production").is(200).await;
        let actions: Vec<String> = shop.app.audit(&shop.acme).await.into_iter().map(|item| item.record.action).collect();
        assert!(actions.contains(&"credential.approve".to_owned()), "{actions:?}");
    }

    async fn each_context_has_its_own_token(shop) {
        let made = shop.create(shop.tokened("plain", "read")).is(201).await.json();
        assert_eq!((shop.up.seen("/token").len(), held_tokens(&shop, &made).await.len()), (1, 1), "nothing of a context is read: one token");
        shop.app.project(&shop.ada, "beta").await;
        let mut body = shop.tokened("templated", "{{ project.slug }}.{{ environment }}.{{ user.email }}");
        body["shares"].as_array_mut().unwrap().push(json!({"project": "beta", "grants": {"production": "production"}}));
        let made = shop.create(body).is(201).await.json();
        let asked: Vec<String> = shop.up.seen("/token").into_iter().skip(1).map(|seen| seen.body).collect();
        assert_eq!(asked.len(), 3, "{asked:?}");
        for scope in ["acme.production.ada", "acme.staging.ada", "beta.production.ada"] {
            assert_eq!(asked.iter().filter(|body| body.contains(scope)).count(), 1, "{scope}: {asked:?}");
        }
        let tokens = held_tokens(&shop, &made).await;
        assert_eq!(tokens.len(), 3);
        // Another person: another token, and ada's stays hers.
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let path = shop.at(&made, "/verify");
        shop.app.post(&path, json!({"environment": "production"})).key(&bob.key).is(200).await;
        let bobs: Vec<String> = shop.up.seen("/token").into_iter().skip(4).map(|seen| seen.body).collect();
        assert_eq!(bobs.len(), 2, "bob's two environments, and nothing of beta: {bobs:?}");
        assert!(bobs.iter().all(|body| body.contains("bob") && !body.contains("beta")), "{bobs:?}");
        let after = held_tokens(&shop, &made).await;
        assert_eq!(after.len(), 5);
        for token in &tokens {
            assert!(after.contains(token), "ada's tokens are as they were");
        }
        let used = shop.up.seen("/me").last().unwrap().headers["authorization"].to_str().unwrap().to_owned();
        assert_eq!(used, format!("Bearer access-token-number-{}", shop.up.seen("/token").len()));
    }

    async fn a_new_grant_is_tried_where_it_is_new(shop) {
        let mut body = shop.tokened("API", "{{ project.slug }}");
        body["shares"][0]["grants"] = json!({"production": "production"});
        let made = shop.create(body).is(201).await.json();
        shop.app.project(&shop.ada, "beta").await;
        let shares = json!([{"project": "acme", "grants": {"production": "production"}}, {"project": "beta", "grants": {"staging": "production"}}]);
        shop.up.json("/token", 400, json!({"error": "invalid_scope"}));
        let refused = shop.patch(&made, json!({"shares": shares})).is(422).await;
        assert_eq!(refused.code(), "verification_failed");
        shop.up.json("/token", 200, json!({"access_token": "for-beta-token", "token_type": "Bearer", "expires_in": 600}));
        let now = shop.patch(&made, json!({"shares": shares})).is(200).await.json();
        assert_eq!(now["environments"]["production"]["version"], 1);
        let asked = shop.up.seen("/token");
        assert!(asked.len() == 3 && asked[2].body.contains("beta"), "{asked:?}");
        assert_eq!(held_tokens(&shop, &made).await.len(), 2);
    }
}
