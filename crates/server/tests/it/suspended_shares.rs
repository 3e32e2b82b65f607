//! A share whose values go somewhere new is of no use until an admin of the project accepts that, whoever found the new
//! place; and who may share is decided when the share is written.

use serde_json::{Value, json};

use crate::credentials_upstream::{Shop, Upstream, both_shops};

fn suspended(view: &Value, project: &str) -> Value {
    let shares = view["shares"].as_array().unwrap();
    shares.iter().find(|share| share["project"] == project).unwrap()["suspended"].clone()
}

async fn point(shop: &Shop, project: &str, key: &str, to: &str) {
    let variable = format!("/api/v1/projects/{project}/environments/production/variables/api");
    shop.app.put(&variable, json!({"value": to})).key(key).is(204).await;
}

both_shops! {
    async fn a_new_origin_that_a_check_finds_waits_for_an_admin(shop) {
        let bob = shop.app.person("bob@example.org").await;
        let carol = shop.app.person("carol@example.org").await;
        for editor in [&bob, &carol] {
            shop.app.member(&shop.ada, "acme", editor, "editor").await;
        }
        shop.app.project(&bob, "bobs").await;
        point(&shop, "acme", &shop.ada.key, &shop.up.url).await;
        point(&shop, "bobs", &bob.key, &shop.up.url).await;
        let mut body = shop.bearer("Bobs", "planted-bearer-token-1");
        body["values"]["production"]["base_url"] = "{{ get_variable('api') }}".into();
        body["shares"] = json!([
            {"project": "acme", "grants": {"production": "production"}},
            {"project": "bobs", "grants": {"production": "production"}},
        ]);
        let made = shop.app.post("/api/v1/credentials", body).key(&bob.key).is(201).await.json();
        let check = async |key: &str| shop.app.post(&shop.at(&made, "/verify"), json!({"environment": "production"})).key(key).send().await;
        let view = async || shop.app.get(&shop.at(&made, "")).key(&bob.key).is(200).await.json();
        assert_eq!(check(&carol.key).await.status, 200, "an editor tries what her environment is granted");

        let elsewhere = Upstream::start().await;
        point(&shop, "acme", &shop.ada.key, &elsewhere.url).await;
        point(&shop, "bobs", &bob.key, &elsewhere.url).await;
        let found = check(&bob.key).await;
        assert_eq!((found.status, &found.json()["status"]), (200, &json!("verified")), "{}", found.text);
        let now = view().await;
        assert_eq!(now["environments"]["production"]["destinations"], json!([format!("{}/", elsewhere.url)]), "{now}");
        assert_eq!(suspended(&now, "acme"), true, "bob does not decide for acme where its values go: {now}");
        assert_eq!(suspended(&now, "bobs"), false, "in his own project he does");

        // What is suspended is of no use, for a check neither.
        let asked = elsewhere.asked();
        let refused = check(&carol.key).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "{}", refused.text);
        assert_eq!(elsewhere.asked(), asked, "nothing was sent there");
        let accept = format!("/api/v1/projects/acme/credentials/{}/accept", made["id"].as_str().unwrap());
        let seen = shop.app.get(&shop.at(&made, "")).key(&shop.ada.key).is(200).await;
        shop.app.post(&accept, json!({})).header("if-match", seen.header("etag")).key(&shop.ada.key).is(200).await;
        assert_eq!(check(&carol.key).await.status, 200);
    }

    async fn who_administers_no_more_accepts_no_new_origin(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "admin").await;
        let made = shop.app.post("/api/v1/credentials", shop.bearer("Bobs", "planted-bearer-token-1")).key(&bob.key).is(201).await.json();
        let elsewhere = Upstream::start().await;
        let held = elsewhere.hold("/me");
        let change = json!({"values": {"production": {"base_url": elsewhere.url}}});
        let changing = shop.app.patch(&shop.at(&made, ""), change).key(&bob.key).send();
        let (changed, ()) = tokio::join!(changing, held.meanwhile(shop.app.member(&shop.ada, "acme", &bob, "editor")));
        assert_eq!(changed.status, 200, "{}", changed.text);
        assert_eq!(suspended(&changed.json(), "acme"), true, "{}", changed.text);
    }

    async fn who_lost_the_role_meanwhile_shares_nothing(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let demoted = async || shop.app.member(&shop.ada, "acme", &bob, "viewer").await;
        let held = shop.up.hold("/me");
        let making = shop.app.post("/api/v1/credentials", shop.bearer("Bobs", "planted-bearer-token-1")).key(&bob.key).send();
        let (refused, ()) = tokio::join!(making, held.meanwhile(demoted()));
        assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "{}", refused.text);
        let listed = shop.app.get("/api/v1/credentials").key(&bob.key).is(200).await.json();
        assert_eq!(listed["items"], json!([]), "nor is there a credential that is shared with nobody");

        // The same with what is there already.
        let mut body = shop.bearer("Bobs", "planted-bearer-token-1");
        let shares = body["shares"].take();
        body["shares"] = json!([]);
        let made = shop.app.post("/api/v1/credentials", body).key(&bob.key).is(201).await.json();
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let before = shop.app.get(&shop.at(&made, "")).key(&bob.key).is(200).await;
        let held = shop.up.hold("/me");
        let change = json!({"values": {"production": {"token": "planted-bearer-token-2"}}, "shares": shares});
        let changing = shop.app.patch(&shop.at(&made, ""), change).key(&bob.key).send();
        let (refused, ()) = tokio::join!(changing, held.meanwhile(demoted()));
        assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "{}", refused.text);
        Shop::same(&before, &shop.app.get(&shop.at(&made, "")).key(&bob.key).is(200).await);
    }
}
