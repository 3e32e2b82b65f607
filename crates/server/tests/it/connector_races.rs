//! A connector that is changed while its values are being tried, and shares that come back.

use axum::http::Method;
use serde_json::{Value, json};

use crate::credentials_upstream::{Shop, Upstream, both_shops};

fn definition(base: &str) -> String {
    format!(
        "id: shop\nname: Shop\nallow_http: true\nbase_url: {base}\nauth_methods:\n  key:\n    label: Key\n    fields:\n      token: {{type: text, secret: true}}\n    scheme: {{type: bearer, token: '{{{{ token }}}}'}}\nverify: {{get: /me}}\n"
    )
}

async fn upload(shop: &Shop, method: Method, base: &str) {
    let made = method == Method::POST;
    let path =
        if made { "/api/v1/projects/acme/connectors" } else { "/api/v1/projects/acme/connectors/shop" };
    shop.app
        .call(method, path)
        .header("content-type", "application/yaml")
        .body(definition(base))
        .key(&shop.ada.key)
        .is(if made { 201 } else { 200 })
        .await;
}

fn wanted() -> Value {
    json!({
        "name": "S", "connector": "shop", "auth_method": "key", "values": {"production": {"token": "planted-shop-token"}},
        "shares": [{"project": "acme", "grants": {"production": "production"}}],
    })
}

both_shops! {
    async fn a_connector_that_changes_while_values_are_tried_gets_none(shop) {
        upload(&shop, Method::POST, &shop.up.url).await;
        let elsewhere = Upstream::start().await;
        let change = shop.up.hold("/me").meanwhile(upload(&shop, Method::PUT, &elsewhere.url));
        let (refused, ()) = tokio::join!(shop.create(wanted()).send(), change);
        assert_eq!((refused.status, refused.code().as_str()), (409, "connector_changed"), "{}", refused.text);
        assert_eq!(shop.count().await, 0, "nothing was saved");
        // Deleted meanwhile: the same, and no credential of a connector that is not there.
        let held = elsewhere.hold("/me");
        let delete = async {
            shop.app.delete("/api/v1/projects/acme/connectors/shop").key(&shop.ada.key).is(204).await;
        };
        let (refused, ()) = tokio::join!(shop.create(wanted()).send(), held.meanwhile(delete));
        assert_eq!((refused.status, refused.code().as_str()), (409, "connector_changed"), "{}", refused.text);
        assert_eq!(shop.count().await, 0);
    }

    async fn what_is_approved_is_what_was_looked_at(shop) {
        upload(&shop, Method::POST, &shop.up.url).await;
        let made = shop.create(wanted()).is(201).await.json();
        let (second, third) = (Upstream::start().await, Upstream::start().await);
        upload(&shop, Method::PUT, &second.url).await;
        let look = shop.app.post(&shop.at(&made, "/approve"), json!({"preview": true})).key(&shop.ada.key).is(200).await.json();
        let digest = look["after"]["digest"].clone();
        // Changed once more while the second place is asked.
        let held = second.hold("/me");
        let approve = shop.app.post(&shop.at(&made, "/approve"), json!({"digest": digest})).key(&shop.ada.key).send();
        let (approved, ()) = tokio::join!(approve, held.meanwhile(upload(&shop, Method::PUT, &third.url)));
        assert_eq!(approved.status, 200, "{}", approved.text);
        let approved = approved.json();
        assert_eq!(approved["after"]["digest"], digest);
        assert_eq!(approved["credential"]["environments"]["production"]["destinations"], json!([format!("{}/", second.url)]));
        assert_eq!(shop.verify(&made, "production").is(409).await.code(), "connector_changed", "the third was not looked at");
        assert_eq!(third.asked(), 0);
        // Who approves the second digest now is told that there is another.
        let late = shop.app.post(&shop.at(&made, "/approve"), json!({"digest": digest})).key(&shop.ada.key).is(412).await;
        assert_ne!(late.json()["digest"], digest);
    }

    async fn a_share_that_an_admin_took_away_comes_back_suspended(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let body = shop.bearer("Bobs API", "planted-bearer-token-1");
        let made = shop.app.post("/api/v1/credentials", body).key(&bob.key).is(201).await.json();
        assert_eq!(made["shares"][0]["suspended"], false, "the first time an editor shares freely");
        shop.app.delete("/api/v1/projects/acme/credentials/bobs-api").key(&shop.ada.key).is(204).await;
        let again = json!({"shares": [{"project": "acme", "grants": {"production": "production"}}]});
        let share = |who: String| shop.app.patch(&shop.at(&made, ""), again.clone()).key(&who);
        let back = share(bob.key.clone()).is(200).await.json();
        assert_eq!(back["shares"][0]["suspended"], true, "{back}");
        // An admin who shares again accepts thereby.
        shop.app.patch(&shop.at(&made, ""), json!({"shares": []})).key(&bob.key).is(200).await;
        shop.app.member(&shop.ada, "acme", &bob, "admin").await;
        let back = share(bob.key.clone()).is(200).await.json();
        assert_eq!(back["shares"][0]["suspended"], false, "{back}");
    }

    async fn who_lost_the_role_meanwhile_makes_no_credential_of_the_project(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "admin").await;
        let mut body = shop.bearer("Ours", "planted-bearer-token-1");
        body["owner_project"] = "acme".into();
        let held = shop.up.hold("/me");
        let demote = async { shop.app.member(&shop.ada, "acme", &bob, "editor").await };
        let making = shop.app.post("/api/v1/credentials", body).key(&bob.key).send();
        let (refused, ()) = tokio::join!(making, held.meanwhile(demote));
        assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "{}", refused.text);
        let listed = shop.app.get("/api/v1/credentials?project=acme").key(&shop.ada.key).is(200).await.json();
        assert_eq!(listed["items"], json!([]));
    }

    async fn a_short_secret_is_not_shown_where_it_was_sent(shop) {
        let body = json!({
            "name": "Short", "connector": "http", "auth_method": "api_key",
            "values": {"production": {"base_url": shop.up.url, "key": "code", "value": "pin 7", "in": "query", "test_path": "/me?page=7"}},
        });
        let made = shop.create(body).is(201).await.json();
        let report = shop.verify(&made, "production").is(200).await.json();
        let url = report["request"]["url"].as_str().unwrap();
        assert!(url.ends_with("/me?page=7&code=***"), "{url}");
    }
}
