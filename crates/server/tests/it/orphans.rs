//! What somebody left behind: a superuser gives it on, and nobody reads what was set before.

use serde_json::{Value, json};

use crate::app::{Call, Somebody};
use crate::credentials_upstream::{Shop, both_shops};
use crate::transfers::told;

struct Left {
    bob: Somebody,
    carol: Somebody,
    root: Somebody,
    made: Value,
}

/// Bob's credential, which acme uses; carol is a member, bob is gone.
async fn left(shop: &Shop) -> Left {
    let bob = shop.app.person("bob@example.org").await;
    let carol = shop.app.person("carol@example.org").await;
    let root = shop.app.superuser("root@example.org").await;
    shop.app.member(&shop.ada, "acme", &bob, "editor").await;
    shop.app.member(&shop.ada, "acme", &carol, "editor").await;
    let mut body = shop.tokened("API", "read");
    let values = &mut body["values"]["production"];
    values["base_url"] = format!("{}/planted-prefix", shop.up.url).into();
    values["headers"] = json!({"X-Tenant": "planted-tenant"});
    values["query"] = json!({"site": "planted-site"});
    let made = shop.app.post("/api/v1/credentials", body).key(&bob.key).is(201).await.json();
    // An older version, which holds what bob has set, too.
    let change = json!({"values": {"production": {"client_secret": "planted-client-secret-4567"}}});
    let made = shop.app.patch(&shop.at(&made, ""), change).key(&bob.key).is(200).await.json();
    Left { bob, carol, root, made }
}

fn active<'a>(shop: &'a Shop, left: &Left, yes: bool) -> Call<'a> {
    shop.app.patch(&format!("/api/v1/users/{}", left.bob.id), json!({"active": yes})).key(&left.root.key)
}

fn give<'a>(shop: &'a Shop, left: &Left, by: &Somebody, to: &str) -> Call<'a> {
    shop.app.post(&shop.at(&left.made, "/owner"), json!({"email": to})).key(&by.key)
}

both_shops! {
    async fn it_goes_to_a_member_and_stays_unread(shop) {
        let left = left(&shop).await;
        let list = || shop.app.get(&format!("/api/v1/users/{}/credentials", left.bob.id));
        // While he is there it is his, and a superuser is nobody to it.
        assert_eq!(list().key(&left.root.key).is(409).await.code(), "owner_active");
        let alive = give(&shop, &left, &left.root, "carol@example.org").is(404).await;
        let missing = shop.app.post("/api/v1/credentials/crd_0000000001zzzzzzzzzzzzzzzz/owner", json!({"email": "carol@example.org"})).key(&left.root.key).is(404).await;
        assert_eq!(alive.text, missing.text);
        active(&shop, &left, false).is(200).await;
        // The share is dead: nobody uses it, nobody checks it.
        assert_eq!(shop.verify(&left.made, "production").is(403).await.code(), "forbidden");
        assert_eq!(shop.app.get(&shop.at(&left.made, "")).key(&shop.ada.key).is(200).await.json()["owner"]["active"], false);
        for (who, status) in [(&shop.ada, 403), (&left.carol, 403)] {
            give(&shop, &left, who, "carol@example.org").is(status).await;
            list().key(&who.key).is(status).await;
        }
        let listed = list().key(&left.root.key).is(200).await;
        assert_eq!((listed.json()["items"][0]["id"].clone(), listed.json()["items"][0]["projects"].clone()), (left.made["id"].clone(), json!(["acme"])));
        assert!(!listed.text.contains("planted") && !listed.text.contains("latch\""), "{}", listed.text);
        let outside = shop.app.person("outside@example.org").await;
        assert_eq!(give(&shop, &left, &left.root, &outside.email).is(422).await.json()["projects"], json!(["acme"]));

        let given = give(&shop, &left, &left.root, "carol@example.org").is(200).await;
        assert!(!given.text.contains("fields") && !given.text.contains("planted"), "{}", given.text);
        give(&shop, &left, &left.root, "carol@example.org").is(404).await;
        // It is carol's, and works; she reads nothing of it.
        let hers = shop.app.get(&shop.at(&left.made, "")).key(&left.carol.key).is(200).await.json();
        let production = &hers["environments"]["production"];
        assert_eq!((hers["owner"]["email"].as_str(), production["fields"].clone()), (Some("carol@example.org"), json!({})));
        let withheld: Vec<&str> = production["withheld_fields"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert!(withheld.contains(&"client_id") && withheld.contains(&"client_secret") && withheld.contains(&"base_url"), "{withheld:?}");
        assert_eq!(production["destinations"], json!([shop.up.url]), "where it goes, as a project's admins see it: {production}");
        // Nor by a check, good or bad, or by what a change is refused with.
        let checked = shop.verify(&left.made, "production").key(&left.carol.key).is(200).await;
        assert_eq!(checked.json()["status"], "verified");
        let change = json!({"values": {"production": {"scope": "none"}}});
        shop.up.json("/planted-prefix/me", 401, json!({}));
        let refused = shop.app.patch(&shop.at(&left.made, ""), change).key(&left.carol.key).is(422).await;
        let failed = shop.verify(&left.made, "production").key(&left.carol.key).is(200).await;
        assert_eq!(failed.json()["status"], "failing");
        shop.up.json("/planted-prefix/me", 200, json!({}));
        let looked = shop.app.get(&shop.at(&left.made, "")).key(&left.carol.key).is(200).await;
        for (what, answer) in [("good", checked), ("refused", refused), ("failed", failed), ("look", looked)] {
            assert!(!answer.text.contains("planted-"), "{what}: {}", answer.text);
        }
        assert_eq!(shop.verify(&left.made, "production").key(&left.carol.key).is(200).await.json()["status"], "verified");
        // What she sets anew she reads; also with the value that was there.
        let patch = |body: Value| shop.app.patch(&shop.at(&left.made, ""), body).key(&left.carol.key);
        let changed = patch(json!({"values": {"production": {"client_id": "latch", "scope": "write"}}})).is(200).await.json();
        assert_eq!(changed["environments"]["production"]["fields"], json!({"client_id": "latch", "scope": "write"}));
        assert_eq!(changed["environments"]["production"]["version"], 3);
        // Going back does not show what was bob's.
        let restore = |number: i64| shop.app.post(&shop.at(&left.made, &format!("/versions/{number}/restore")), json!({})).key(&left.carol.key);
        let back = restore(1).is(200).await.json();
        assert_eq!(back["environments"]["production"]["fields"], json!({}), "all of version 1 was his");
        let forth = restore(3).is(200).await.json();
        assert_eq!(forth["environments"]["production"]["fields"], json!({"client_id": "latch", "scope": "write"}), "these are hers");
        // Everybody is told, and it is in the trail.
        for who in [&shop.ada, &left.carol] {
            assert!(told(&shop, who).await.contains(&"credential.given".to_owned()));
        }
        let trail = shop.app.audit(&shop.acme).await;
        let handed = trail.iter().find(|item| item.record.action == "credential.transfer").unwrap();
        assert!(handed.record.body.contains("given") && handed.record.body.contains(&left.carol.id) && handed.record.body.contains(&left.bob.id));
        assert_eq!(handed.record.actor_email.as_deref(), Some("root@example.org"));
        // Bob comes back: it is not his any more.
        active(&shop, &left, true).is(200).await;
        let again = shop.app.person("bob2@example.org").await;
        shop.app.get(&shop.at(&left.made, "")).key(&again.key).is(404).await;
    }

    // Whoever could move the values elsewhere could read them there.
    async fn withheld_values_go_nowhere_else(shop) {
        let left = left(&shop).await;
        active(&shop, &left, false).is(200).await;
        give(&shop, &left, &left.root, "carol@example.org").is(200).await;
        let thief = crate::credentials_upstream::Upstream::start().await;
        let patch = |body: Value| shop.app.patch(&shop.at(&left.made, ""), body).key(&left.carol.key);
        for (what, body) in [
            ("base URL", json!({"values": {"production": {"base_url": thief.url}}})),
            ("token URL", json!({"values": {"production": {"token_url": format!("{}/token", thief.url)}}})),
            ("both", json!({"values": {"production": {"base_url": thief.url, "token_url": format!("{}/token", thief.url)}}})),
        ] {
            let refused = patch(body.clone()).send().await;
            assert!(refused.status >= 400, "{what}: {}", refused.text);
            // Unverified it is saved, and pinned to where it was.
            let mut skipped = body;
            skipped["verify"] = "skip".into();
            patch(skipped).is(200).await;
            shop.app.post(&shop.at(&left.made, "/verify"), json!({"environment": "production"})).key(&left.carol.key).send().await;
            assert_eq!(thief.asked(), 0, "{what}");
            shop.app.post(&shop.at(&left.made, "/versions/2/restore"), json!({"verify": "skip"})).key(&left.carol.key).is(200).await;
        }
        // Shared with a project of her own, whose variable says where.
        let template = json!({"verify": "skip", "values": {"production": {"base_url": "{{ get_variable('where') }}"}}});
        shop.app.project(&left.carol, "hers").await;
        shop.app.put("/api/v1/projects/hers/environments/staging/variables/where", json!({"value": thief.url})).key(&left.carol.key).is(204).await;
        patch(template).is(200).await;
        let shares = json!({"shares": [
            {"project": "acme", "grants": {}}, {"project": "hers", "grants": {"staging": "production"}},
        ]});
        let refused = patch(shares.clone()).send().await;
        assert!(refused.status >= 400, "{}", refused.text);
        let mut skipped = shares;
        skipped["verify"] = "skip".into();
        patch(skipped).send().await;
        shop.app.post(&shop.at(&left.made, "/verify"), json!({"environment": "production"})).key(&left.carol.key).send().await;
        assert_eq!(thief.asked(), 0);
        // With all of it set anew it is hers, and goes where she says.
        let all = json!({"values": {"production": {
            "base_url": thief.url, "token_url": format!("{}/token", thief.url), "client_id": "hers",
            "client_secret": "her-own-client-secret", "scope": "read", "test_path": "/me", "headers": {}, "query": {},
        }}});
        let moved = patch(all).is(200).await.json();
        assert!(moved["environments"]["production"].get("withheld_fields").is_none(), "{moved}");
        assert!(thief.asked() > 0);
        for seen in thief.seen("/token") {
            assert!(!seen.body.contains("planted") && !format!("{:?}", seen.headers).contains("planted"), "{seen:?}");
        }
    }

    async fn the_certificate_of_a_withheld_key_is_not_shown(shop) {
        let left = left(&shop).await;
        let body = json!({
            "name": "Signed", "connector": "http", "auth_method": "jwt", "verify": "skip",
            "values": {"production": {"base_url": shop.up.url, "private_key": {"generate": "ec256"}, "algorithm": "ES256", "claims": {"iss": "me"}}},
            "shares": [{"project": "acme", "grants": {"production": "production"}}],
        });
        let made = shop.app.post("/api/v1/credentials", body).key(&left.bob.key).is(201).await.json();
        let certificate = |who: &Somebody, more: &str| shop.app.get(&shop.at(&made, &format!("/certificate?environment=production{more}"))).key(&who.key);
        let bobs = certificate(&left.bob, "").is(200).await.text;
        active(&shop, &left, false).is(200).await;
        shop.app.post(&shop.at(&made, "/owner"), json!({"email": "carol@example.org"})).key(&left.root.key).is(200).await;
        for more in ["", "&field=private_key"] {
            let refused = certificate(&left.carol, more).is(404).await;
            assert!(!refused.text.contains("BEGIN"), "{}", refused.text);
        }
        // A key of her own has one that she may see.
        let anew = json!({"verify": "skip", "values": {"production": {"private_key": {"generate": "ec256"}}}});
        shop.app.patch(&shop.at(&made, ""), anew).key(&left.carol.key).is(200).await;
        let hers = certificate(&left.carol, "").is(200).await.text;
        assert!(hers.starts_with("-----BEGIN CERTIFICATE-----") && hers != bobs, "{hers}");
    }

    async fn what_no_project_uses_has_nobody_to_go_to(shop) {
        let left = left(&shop).await;
        shop.app.patch(&shop.at(&left.made, ""), json!({"shares": []})).key(&left.bob.key).is(200).await;
        active(&shop, &left, false).is(200).await;
        assert_eq!(give(&shop, &left, &left.root, "carol@example.org").is(409).await.code(), "not_shared");
    }
}
