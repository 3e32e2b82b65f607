//! A credential handed to another person: offered, accepted once, void when anything has changed; and never two owners.

use latchstring_model::Entropy;
use latchstring_testkit::SeededEntropy;
use serde_json::{Value, json};

use crate::app::{Call, Somebody};
use crate::credentials_upstream::{Shop, both_shops};

fn offer<'a>(shop: &'a Shop, credential: &Value, from: &Somebody, to: &str) -> Call<'a> {
    shop.app.post(&shop.at(credential, "/transfer"), json!({"email": to})).key(&from.key)
}

fn accept<'a>(shop: &'a Shop, offered: &Value, who: &Somebody) -> Call<'a> {
    let path = format!("/api/v1/transfers/{}/accept", offered["token"].as_str().unwrap());
    shop.app.post(&path, json!({})).key(&who.key)
}

/// What somebody was told in the browser, newest first.
pub async fn told(shop: &Shop, who: &Somebody) -> Vec<String> {
    shop.app.broker.deliver_notices().await.unwrap();
    let answer = shop.app.get("/api/v1/me/notices").key(&who.key).is(200).await.json();
    answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["event"].as_str().unwrap().to_owned())
        .collect()
}

both_shops! {
    async fn it_changes_hands_and_nothing_breaks(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "viewer").await;
        let made = shop.create(shop.tokened("API", "read")).is(201).await.json();
        let key = shop.app.service_key(&shop.ada, "acme", json!({"credentials": [made["id"]]})).await;
        let before = shop.read(&made).await.json();
        let tokens = shop.up.seen("/token").len();

        let offered = offer(&shop, &made, &shop.ada, "BOB@example.org").is(201).await.json();
        assert_eq!(offered["expires_at"], shop.app.broker.now().plus_secs(3 * 86_400).to_rfc3339());
        // Nothing has changed yet, and both know.
        assert_eq!(shop.read(&made).await.json()["owner"]["email"], "ada@example.org");
        shop.app.patch(&shop.at(&made, ""), json!({"name": "Mine"})).key(&bob.key).is(404).await;
        for (who, direction) in [(&shop.ada, "outgoing"), (&bob, "incoming")] {
            let open = shop.app.get("/api/v1/me/transfers").key(&who.key).is(200).await;
            assert!(!open.text.contains(offered["token"].as_str().unwrap()), "the token is told once");
            let open = open.json();
            assert_eq!((open["items"][0]["direction"].as_str(), open["items"][0]["to"].as_str()), (Some(direction), Some("bob@example.org")));
            assert_eq!(told(&shop, who).await, ["credential.transfer_offered"]);
        }
        let path = format!("/api/v1/transfers/{}", offered["token"].as_str().unwrap());
        let seen = shop.app.get(&path).key(&bob.key).is(200).await.json();
        assert_eq!((seen["credential"]["name"].as_str(), seen["projects"].clone()), (Some("API"), json!(["acme"])));
        // The token alone is nothing: it works for its recipient.
        let eve = shop.app.person("eve@example.org").await;
        let foreign = accept(&shop, &offered, &eve).is(404).await;
        let none = shop.app.post("/api/v1/transfers/nonsense/accept", json!({})).key(&eve.key).is(404).await;
        assert_eq!(foreign.text, none.text);
        accept(&shop, &offered, &shop.ada).is(404).await;

        shop.app.clock.advance_millis(1);
        let taken = accept(&shop, &offered, &bob).is(200).await.json();
        assert_eq!(taken["owner"]["email"], "bob@example.org");
        assert_eq!(taken["environments"]["production"]["fields"], before["environments"]["production"]["fields"], "handed over, to be read");
        assert_eq!(taken["shares"], before["shares"]);
        for same in ["status", "version", "token", "destinations", "secret_fields", "verified_at"] {
            assert_eq!(taken["environments"]["production"][same], before["environments"]["production"][same], "{same}");
        }
        // Ada is what every member is.
        let hers = shop.app.get(&shop.at(&made, "")).key(&shop.ada.key).is(200).await.json();
        assert!(hers["environments"]["production"].get("fields").is_none());
        for (call, status) in [
            (shop.patch(&made, json!({"name": "Back"})), 404),
            (shop.app.get(&shop.at(&made, "/versions")).key(&shop.ada.key), 404),
            (shop.app.delete(&shop.at(&made, "")).key(&shop.ada.key), 404),
            (offer(&shop, &made, &shop.ada, "ada@example.org"), 404),
            (accept(&shop, &offered, &bob), 410),
        ] {
            call.is(status).await;
        }
        // The token that was there is used on, and the new owner edits what is there.
        assert_eq!(shop.verify(&made, "production").key(&bob.key).is(200).await.json()["status"], "verified");
        let wanted = json!({"values": {"production": {"scope": "write"}}});
        shop.app.patch(&shop.at(&made, ""), wanted).key(&bob.key).is(200).await;
        assert!(shop.up.seen("/token").len() > tokens);
        let usage = shop.app.get(&shop.at(&made, "/usage")).key(&bob.key).is(200).await.json();
        assert_eq!(usage["api_keys"][0]["id"], key["id"], "keys that name it stay");
        for who in [&shop.ada, &bob] {
            assert_eq!(told(&shop, who).await, ["credential.transferred", "credential.transfer_offered"]);
        }
        let trail = shop.app.audit(&shop.acme).await;
        let handed = trail.iter().find(|item| item.record.action == "credential.transfer").unwrap();
        assert!(handed.record.body.contains("accepted") && handed.record.body.contains(&bob.id) && handed.record.body.contains(&shop.ada.id));
    }

    async fn the_recipient_is_in_every_project(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.project(&shop.ada, "beta").await;
        shop.app.member(&shop.ada, "acme", &bob, "viewer").await;
        let mut body = shop.bearer("API", "planted-bearer-token-1");
        body["shares"] = json!([{"project": "acme", "grants": {}}, {"project": "beta", "grants": {}}]);
        let made = shop.create(body).is(201).await.json();
        let refused = offer(&shop, &made, &shop.ada, "bob@example.org").is(422).await;
        assert_eq!((refused.pointers(), refused.json()["projects"].clone()), (vec!["/email".to_owned()], json!(["beta"])));
        let nobody = offer(&shop, &made, &shop.ada, "nobody@example.org").is(422).await;
        assert_eq!(nobody.json()["projects"], json!(["acme", "beta"]));
        assert_eq!(offer(&shop, &made, &shop.ada, "ada@example.org").is(422).await.pointers(), ["/email"]);
        shop.app.member(&shop.ada, "beta", &bob, "viewer").await;
        offer(&shop, &made, &shop.ada, "bob@example.org").is(201).await;
    }

    async fn it_is_void_after_any_change(shop) {
        let bob = shop.app.person("bob@example.org").await;
        let carol = shop.app.person("carol@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        shop.app.member(&shop.ada, "acme", &carol, "owner").await;
        shop.app.project(&shop.ada, "beta").await;
        shop.app.member(&shop.ada, "beta", &bob, "viewer").await;
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let root = shop.app.superuser("root@example.org").await;
        let bobs = "/api/v1/projects/acme/members/bob@example.org";
        let share = |project: &str| json!({"project": project, "grants": {"staging": "production"}});
        let changes: Vec<(&str, Vec<Call<'_>>)> = vec![
            ("values", vec![shop.patch(&made, json!({"values": {"production": {"token": "planted-bearer-token-2"}}}))]),
            ("name", vec![shop.patch(&made, json!({"name": "Renamed"}))]),
            ("disabled", vec![shop.app.post(&shop.at(&made, "/disable"), json!({})).key(&shop.ada.key), shop.app.post(&shop.at(&made, "/enable"), json!({})).key(&shop.ada.key)]),
            ("grants", vec![shop.patch(&made, json!({"shares": [share("acme")]}))]),
            ("another share", vec![shop.patch(&made, json!({"shares": [share("acme"), share("beta")]}))]),
            ("a share less", vec![shop.patch(&made, json!({"shares": [share("acme")]}))]),
            ("role", vec![shop.app.put(bobs, json!({"role": "viewer"})).key(&shop.ada.key)]),
            ("membership", vec![shop.app.delete(bobs).key(&shop.ada.key), shop.app.put(bobs, json!({"role": "viewer"})).key(&shop.ada.key)]),
            ("the owner's role", vec![shop.app.put("/api/v1/projects/acme/members/ada@example.org", json!({"role": "admin"})).key(&carol.key)]),
            ("deletion", vec![shop.app.delete(&shop.at(&made, "")).key(&shop.ada.key), shop.app.post(&shop.at(&made, "/restore"), json!({})).key(&shop.ada.key)]),
            ("account", vec![shop.app.patch(&format!("/api/v1/users/{}", bob.id), json!({"active": false})).key(&root.key)]),
        ];
        for (what, calls) in changes {
            let offered = offer(&shop, &made, &shop.ada, "bob@example.org").is(201).await.json();
            shop.app.clock.advance_millis(1);
            for call in calls {
                let done = call.send().await;
                assert!(done.status < 300, "{what}: {}", done.text);
            }
            let refused = accept(&shop, &offered, &bob).send().await;
            // Who is not active does not come in at all.
            let wanted = if what == "account" { 401 } else { 410 };
            assert_eq!(refused.status, wanted, "{what}: {}", refused.text);
            assert_eq!(shop.app.get(&shop.at(&made, "")).key(&shop.ada.key).is(200).await.json()["owner"]["email"], "ada@example.org", "{what}");
        }
    }

    async fn an_offer_ends(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let cancel = || shop.app.delete(&shop.at(&made, "/transfer")).key(&shop.ada.key);
        cancel().is(404).await;
        let first = offer(&shop, &made, &shop.ada, "bob@example.org").is(201).await.json();
        let second = offer(&shop, &made, &shop.ada, "bob@example.org").is(201).await.json();
        assert_eq!(accept(&shop, &first, &bob).is(410).await.code(), "gone");
        shop.app.clock.advance_millis(1);
        cancel().is(204).await;
        cancel().is(404).await;
        assert_eq!(accept(&shop, &second, &bob).is(410).await.code(), "gone");
        assert_eq!(told(&shop, &bob).await[0], "credential.transfer_cancelled");
        let third = offer(&shop, &made, &shop.ada, "bob@example.org").is(201).await.json();
        shop.app.clock.advance_secs(3 * 86_400);
        assert_eq!(accept(&shop, &third, &bob).is(410).await.code(), "gone");
        assert_eq!(shop.app.get("/api/v1/me/transfers").key(&shop.ada.key).is(200).await.json()["items"], json!([]));
        // In a browser it wants a recent sign-in; a key has none.
        let cookie = shop.app.sign_in("ada@example.org").await;
        let by_session = || shop.app.post(&shop.at(&made, "/transfer"), json!({"email": "bob@example.org"})).cookie(&cookie);
        by_session().is(201).await;
        shop.app.clock.advance_secs(901);
        assert_eq!(by_session().is(403).await.code(), "recent_sign_in_required");
        let fourth = offer(&shop, &made, &shop.ada, "bob@example.org").is(201).await.json();
        let old = shop.app.sign_in("bob@example.org").await;
        shop.app.clock.advance_secs(901);
        let path = format!("/api/v1/transfers/{}/accept", fourth["token"].as_str().unwrap());
        assert_eq!(shop.app.post(&path, json!({})).cookie(&old).is(403).await.code(), "recent_sign_in_required");
        let fresh = shop.app.sign_in("bob@example.org").await;
        shop.app.post(&path, json!({})).cookie(&fresh).is(200).await;
    }

    async fn the_token_is_kept_nowhere(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let again = || offer(&shop, &made, &shop.ada, "bob@example.org").header("idempotency-key", "once");
        let token = again().is(201).await.json()["token"].as_str().unwrap().to_owned();
        let repeated = again().is(409).await;
        assert!(!repeated.text.contains(&token), "{}", repeated.text);
        for record in shop.app.records().await {
            assert!(!record.body.contains(&token));
        }
        let notices = shop.app.get("/api/v1/me/notices").key(&bob.key).is(200).await;
        assert!(!notices.text.contains(&token));
    }

    async fn a_projects_credential_stays_the_projects(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "admin").await;
        let mut body = shop.bearer("Team", "planted-bearer-token-1");
        body["owner_project"] = "acme".into();
        let made = shop.create(body).is(201).await.json();
        let refused = offer(&shop, &made, &shop.ada, "bob@example.org").is(409).await;
        assert!(refused.text.contains("stays the project's"), "{}", refused.text);
    }

    // Whatever several people do at the same time, exactly one of them is the owner; every offer is accepted once.
    async fn never_two_owners(shop) {
        let mut people = vec![shop.ada.clone()];
        for name in ["bob", "carol"] {
            let who = shop.app.person(&format!("{name}@example.org")).await;
            shop.app.member(&shop.ada, "acme", &who, "owner").await;
            people.push(who);
        }
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let entropy = SeededEntropy::new(4);
        let dice = |sides: usize| {
            let mut byte = [0];
            entropy.fill(&mut byte);
            usize::from(byte[0]) % sides
        };
        let mut offers: Vec<Value> = Vec::new();
        let (mut accepted, mut raced) = (0, 0);
        let mut steps = 0;
        while accepted < 6 {
            steps += 1;
            assert!(steps < 1_000, "{accepted} of {raced} races had a winner");
            let owners: Vec<&Somebody> = {
                let mut owners = Vec::new();
                for who in &people {
                    let seen = shop.app.get(&shop.at(&made, "")).key(&who.key).is(200).await.json();
                    if seen["environments"]["production"].get("fields").is_some() {
                        owners.push(who);
                    }
                }
                owners
            };
            assert_eq!(owners.len(), 1, "exactly one reads the fields");
            let owner = owners[0];
            let to = &people[dice(people.len())];
            match dice(6) {
                0..=2 if to.id != owner.id => {
                    offers.push(offer(&shop, &made, owner, &to.email).is(201).await.json());
                }
                3 => {
                    shop.app.delete(&shop.at(&made, "/transfer")).key(&owner.key).send().await;
                }
                4 => {
                    shop.app.patch(&shop.at(&made, ""), json!({"note": format!("n{}", offers.len())})).key(&owner.key).is(200).await;
                }
                _ => {
                    // All at once: three who bring the last offer, the owner who offers, edits and takes it back.
                    let Some(last) = offers.last() else { continue };
                    let (a, b, c, d, e) = tokio::join!(
                        accept(&shop, last, &people[0]).send(),
                        accept(&shop, last, &people[1]).send(),
                        accept(&shop, last, &people[2]).send(),
                        offer(&shop, &made, owner, &people[dice(people.len())].email).send(),
                        shop.app.patch(&shop.at(&made, ""), json!({"note": "meanwhile"})).key(&owner.key).send(),
                    );
                    let won = [&a, &b, &c].iter().filter(|answer| answer.status == 200).count();
                    assert!(won <= 1, "an offer is accepted once: {} {} {}", a.text, b.text, c.text);
                    accepted += won;
                    raced += 1;
                    for answer in [&a, &b, &c, &d, &e] {
                        assert!(answer.status < 500 || answer.status == 503, "{} {}", answer.status, answer.text);
                    }
                    if d.status == 201 {
                        offers.push(d.json());
                    }
                }
            }
        }
        assert!(raced >= accepted);
    }
}
