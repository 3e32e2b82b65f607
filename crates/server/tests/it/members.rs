use latchstring_model::Timestamp;
use latchstring_model::entity::Principal;
use latchstring_model::id::{CredentialId, ShareId};
use latchstring_store::credentials::{self, CredentialRow};
use latchstring_store::shares::{self, ShareRow};
use serde_json::{Value, json};

use crate::app::{Somebody, TestApp, both};

/// A credential of somebody's, shared with a project, as the store keeps it.
async fn shared(app: &TestApp, owner: &Somebody, project: &Value, n: u8) -> CredentialId {
    let now = Timestamp(app.broker.now().millis());
    let id: CredentialId = format!("crd_000000000{n}zzzzzzzzzzzzzzzz").parse().unwrap();
    let share: ShareId = format!("shr_000000000{n}zzzzzzzzzzzzzzzz").parse().unwrap();
    let project_id = project["id"].as_str().unwrap().parse().unwrap();
    let row = CredentialRow {
        id: id.clone(),
        owner: Principal::User(owner.id.parse().unwrap()),
        connector: "builtin/http".into(),
        auth_method: "none".into(),
        digest: "d".into(),
        oauth_client_id: None,
        name: format!("Credential {n}"),
        note: None,
        acts_as: None,
        disabled: false,
        expires_on: None,
        deletes_at: None,
        version: 1,
        created_by: owner.id.clone(),
        created_at: now,
        updated_at: now,
    };
    let share = ShareRow {
        id: share,
        credential_id: id.clone(),
        project_id,
        slug: format!("credential-{n}"),
        external_id: None,
        suspended: false,
        created_by: owner.id.clone(),
        created_at: now,
    };
    let mut tx = app.store.begin_write(&[id.as_str()]).await.unwrap();
    credentials::create(&mut tx, &row).await.unwrap();
    shares::create(&mut tx, &share).await.unwrap();
    tx.commit().await.unwrap();
    id
}

both! {
    async fn set_listed_and_removed(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let project = app.project(&ada, "acme").await;
        app.get("/api/v1/projects/acme").key(&bob.key).is(404).await;
        let path = "/api/v1/projects/acme/members/BOB@example.org";
        let member = app.put(path, json!({"role": "viewer"})).key(&ada.key).is(200).await.json();
        assert_eq!((member["email"].as_str(), member["role"].as_str(), member["user_id"].as_str()), (Some("bob@example.org"), Some("viewer"), Some(bob.id.as_str())));
        assert_eq!(app.get("/api/v1/projects/acme").key(&bob.key).is(200).await.json()["role"], "viewer");
        app.put(path, json!({"role": "editor"})).key(&ada.key).is(200).await;
        let list = app.get("/api/v1/projects/acme/members").key(&bob.key).is(200).await.json();
        let roles: Vec<&str> = list["items"].as_array().unwrap().iter().map(|item| item["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["owner", "editor"]);
        app.delete(path).key(&ada.key).is(204).await;
        app.get("/api/v1/projects/acme").key(&bob.key).is(404).await;
        app.delete(path).key(&ada.key).is(404).await;
        let actions: Vec<String> = app.audit(&project).await.into_iter().map(|item| item.record.action).collect();
        assert_eq!(actions, ["member.delete", "member.set", "member.set", "project.create"]);
    }

    async fn a_role_that_changes_ends_what_is_cached(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let project = app.project(&ada, "acme").await;
        let id = project["id"].as_str().unwrap().to_owned();
        let epochs = async || {
            let mut reader = app.store.read().await.unwrap();
            (latchstring_store::scopes::epoch(&mut reader, &id).await.unwrap(), latchstring_store::scopes::epoch(&mut reader, &bob.id).await.unwrap())
        };
        let mut before = epochs().await;
        for change in ["editor", "viewer", ""] {
            let path = "/api/v1/projects/acme/members/bob@example.org";
            if change.is_empty() {
                app.delete(path).key(&ada.key).is(204).await;
            } else {
                app.put(path, json!({"role": change})).key(&ada.key).is(200).await;
            }
            let after = epochs().await;
            assert!(after.0 > before.0 && after.1 > before.1, "{change}: {before:?} {after:?}");
            before = after;
        }
        // A stranger's try raises nothing.
        app.put("/api/v1/projects/acme/members/ada@example.org", json!({"role": "viewer"})).key(&bob.key).is(404).await;
        assert_eq!(epochs().await, before);
    }

    async fn admins_make_and_unmake_no_owners(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let cat = app.person("cat@example.org").await;
        app.project(&ada, "acme").await;
        app.member(&ada, "acme", &bob, "admin").await;
        app.member(&bob, "acme", &cat, "admin").await;
        let cats = "/api/v1/projects/acme/members/cat@example.org";
        let adas = "/api/v1/projects/acme/members/ada@example.org";
        for call in [app.put(cats, json!({"role": "owner"})), app.put(adas, json!({"role": "admin"})), app.delete(adas)] {
            let answer = call.key(&bob.key).is(403).await;
            assert_eq!((answer.code().as_str(), answer.json()["needed_role"].as_str()), ("forbidden", Some("owner")));
        }
        app.put(cats, json!({"role": "viewer"})).key(&bob.key).is(200).await;
        let up = app.put(cats, json!({"role": "admin"})).key(&cat.key).is(403).await;
        assert_eq!(up.json()["needed_role"], "admin");
        app.put(cats, json!({"role": "owner"})).key(&ada.key).is(200).await;
    }

    async fn the_last_owner_stays(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        let path = "/api/v1/projects/acme/members/ada@example.org";
        assert_eq!(app.delete(path).key(&ada.key).is(409).await.code(), "last_owner");
        assert_eq!(app.put(path, json!({"role": "admin"})).key(&ada.key).is(409).await.code(), "last_owner");
        app.member(&ada, "acme", &bob, "owner").await;
        let bobs = "/api/v1/projects/acme/members/bob@example.org";
        let (one, two) = tokio::join!(app.delete(path).key(&ada.key).send(), app.delete(bobs).key(&bob.key).send());
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 409], "{} {}", one.text, two.text);
    }

    async fn who_has_no_account_is_told_from_a_project_that_is_not_there(app) {
        let ada = app.superuser("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        app.patch(&format!("/api/v1/users/{}", bob.id), json!({"active": false})).key(&ada.key).is(200).await;
        for (path, code) in [
            ("/api/v1/projects/acme/members/nobody@example.org", "user_not_found"),
            ("/api/v1/projects/acme/members/bob@example.org", "user_not_found"),
            ("/api/v1/projects/moon/members/ada@example.org", "not_found"),
        ] {
            assert_eq!(app.put(path, json!({"role": "viewer"})).key(&ada.key).is(404).await.code(), code, "{path}");
        }
    }

    async fn anybody_may_leave(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        app.member(&ada, "acme", &bob, "viewer").await;
        app.delete("/api/v1/projects/acme/members/ada@example.org").key(&bob.key).is(403).await;
        app.delete("/api/v1/projects/acme/members/bob@example.org").key(&bob.key).is(204).await;
        app.get("/api/v1/projects/acme").key(&bob.key).is(404).await;
    }

    async fn who_has_no_account_is_no_member(app) {
        let ada = app.superuser("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        app.put("/api/v1/projects/acme/members/eve@example.org", json!({"role": "viewer"})).key(&ada.key).is(404).await;
        app.patch(&format!("/api/v1/users/{}", bob.id), json!({"active": false})).key(&ada.key).is(200).await;
        app.put("/api/v1/projects/acme/members/bob@example.org", json!({"role": "viewer"})).key(&ada.key).is(404).await;
        assert_eq!(app.put("/api/v1/projects/acme/members/bob@example.org", json!({"role": "king"})).key(&ada.key).is(422).await.pointers(), ["/role"]);
    }

    async fn whose_credentials_are_used_is_not_removed_by_the_way(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let project = app.project(&ada, "acme").await;
        let other = app.project(&bob, "other").await;
        app.member(&ada, "acme", &bob, "editor").await;
        let here = shared(&app, &bob, &project, 1).await;
        let elsewhere = shared(&app, &bob, &other, 2).await;
        let path = "/api/v1/projects/acme/members/bob@example.org";
        let refused = app.delete(path).key(&ada.key).is(409).await;
        assert_eq!(refused.code(), "member_owns_credentials");
        let stops = json!([{"id": here, "name": "Credential 1", "slug": "credential-1", "environments": [], "keychains": [], "api_keys": [], "complete": true, "looked_back_to": null}]);
        assert_eq!(refused.json()["credentials"], stops);
        app.get("/api/v1/projects/acme").key(&bob.key).is(200).await;
        let epoch = async || latchstring_store::scopes::epoch(&mut app.store.read().await.unwrap(), here.as_str()).await.unwrap();
        let before = epoch().await;
        let gone = app.delete(&format!("{path}?withdraw=true")).key(&ada.key).is(200).await;
        assert_eq!(gone.json(), json!({"withdrawn": stops}), "what stops is told");
        assert!(epoch().await > before, "routes to it end at once");
        app.get("/api/v1/projects/acme").key(&bob.key).is(404).await;
        let mut reader = app.store.read().await.unwrap();
        let (acme, other) = (project["id"].as_str().unwrap().parse().unwrap(), other["id"].as_str().unwrap().parse().unwrap());
        assert!(shares::in_project(&mut reader, &acme, here.as_str()).await.unwrap().is_none());
        assert!(shares::in_project(&mut reader, &other, elsewhere.as_str()).await.unwrap().is_some());
    }
}
