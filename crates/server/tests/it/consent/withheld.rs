//! Consent for a credential with values that its owner was given unread.

use latchstring_testkit::OidcProvider;
use serde_json::{Value, json};

use super::{Scene, address, both_scenes, path_of};
use crate::app::{Db, Somebody};

both_scenes! {
    async fn what_was_given_unread_is_consented_to_where_it_was_alone(scene) {
        let (app, ada) = (&scene.world.app, &scene.world.ada);
        let api = scene.world.api.strip_prefix("http://").unwrap();
        let client = scene.client("Of two places", json!({"hosts": [address(&scene.oidc).to_string(), api]})).await;
        scene.oidc.redirect_to(OidcProvider::CLIENT_ID, client["redirect_uri"].as_str().unwrap());
        let bob = app.person("bob@example.org").await;
        let carol = app.person("carol@example.org").await;
        for who in [&bob, &carol] {
            app.member(ada, "acme", who, "editor").await;
        }
        let body = scene.body("oauth2_authorization_code", json!({"oauth_client": client["id"]}));
        let made = app.post("/api/v1/credentials", body).key(&bob.key).is(201).await.json();
        let at = |rest: &str| format!("/api/v1/credentials/{}{rest}", made["id"].as_str().unwrap());
        let authorize = |who: &Somebody| app.post(&at("/authorize"), json!({"environment": "production"})).key(&who.key);
        // Bob's own consent says where the values go.
        let link = path_of(authorize(&bob).is(200).await.json()["authorize_url"].as_str().unwrap());
        let start = app.get(&link).cookie(&bob.cookie).is(303).await;
        let back = path_of(&scene.oidc.browse(start.header("location")));
        assert_eq!(scene.come_back(&back, &format!("{}; {}", bob.cookie, start.cookie())).await.status, 200);
        app.patch(&format!("/api/v1/users/{}", bob.id), json!({"active": false})).key(&scene.root.key).is(200).await;
        app.post(&at("/owner"), json!({"email": "carol@example.org"})).key(&scene.root.key).is(200).await;
        authorize(&carol).is(200).await;
        // Moved, and one of the fields is still his.
        let moved = |values: Value| app.patch(&at(""), json!({"verify": "skip", "values": {"production": values}})).key(&carol.key);
        moved(json!({"base_url": scene.world.api})).is(200).await;
        let refused = authorize(&carol).send().await;
        assert_eq!(refused.code(), "destination_not_allowed", "{}", refused.text);
        assert!(refused.text.contains("without reading them"), "{}", refused.text);
        moved(json!({"base_url": scene.world.api, "test_path": "/resource"})).is(200).await;
        authorize(&carol).is(200).await;
    }
}
