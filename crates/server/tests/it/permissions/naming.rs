//! Who may write the name of somebody else's secret into a credential.

use serde_json::json;

use super::{People, Place, bearer, call_key};
use crate::app::both;
use crate::credentials_upstream::both_shops;

const NAMES_A_SECRET: &str = "{{ get_secret('prod_key') }}";

both! {
    async fn naming_a_secret(app) {
        let people = People::new(&app).await;
        let place = Place::new(&app, &people, "acme", false).await;
        let secret = "/api/v1/projects/acme/environments/staging/secrets/adas";
        app.put(secret, json!({"value": "planted-secret-0123"})).key(&people.ada.key).is(204).await;
        let calls = call_key(&app, &people.boss).await;
        for (number, (key, status, pointer)) in [
            (&people.viewer.key, 422, "/shares/0/project"), (&people.editor.key, 422, "/values/production"), (&people.admin.key, 201, ""),
            (&people.boss.key, 201, ""), (&people.eve.key, 422, "/shares/0/project"), (&people.root.key, 422, "/shares/0/project"),
            (&place.service, 403, ""), (&calls, 403, ""), (&place.account, 201, ""),
        ].into_iter().enumerate() {
            let mut body = bearer(&format!("Names {number}"), "acme");
            body["values"]["production"]["token"] = "{{ get_secret('adas') }}".into();
            if key == &place.account {
                body["owner_project"] = "acme".into();
            }
            let answer = app.post("/api/v1/credentials", body).key(key).is(status).await;
            if status == 422 {
                assert_eq!(answer.pointers(), [pointer], "{}", answer.text);
            }
        }
    }
}

both_shops! {
    // What an editor may not name may stand in a text of theirs, which stays one: as it is typed, stored, edited and sent.
    async fn a_literal_names_no_secret(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let secret = "/api/v1/projects/acme/environments/production/secrets/prod_key";
        shop.app.put(secret, json!({"value": "planted-secret-0123"})).key(&shop.ada.key).is(204).await;
        let definition = format!("id: notes\nname: Notes\nallow_http: true\nbase_url: {}\nauth_methods:\n  m:\n    fields: {{note: json, more: {{type: text, optional: true}}}}\n    headers: {{X-Leak: '{{{{ note if note is string else note.deep }}}}'}}\n    scheme: none\n    verify: {{get: /me}}\n", shop.up.url);
        shop.app.call(axum::http::Method::POST, "/api/v1/projects/acme/connectors").header("content-type", "application/yaml").body(definition).key(&shop.ada.key).is(201).await;
        let whole = format!("{{\"X-Leak\": \"{NAMES_A_SECRET}\"}}");
        let literal = json!({"literal": NAMES_A_SECRET});
        let http = |headers: serde_json::Value| json!({"base_url": shop.up.url, "test_path": "/me", "headers": headers});
        for (number, (connector, method, values, field, shown, sent)) in [
            ("http", "none", http(json!({"literal": whole})), "headers", json!({"X-Leak": literal}), NAMES_A_SECRET),
            ("http", "none", http(json!({"X-Leak": literal})), "headers", json!({"X-Leak": literal}), NAMES_A_SECRET),
            ("notes", "m", json!({"note": {"literal": whole}}), "note", json!({"literal": whole}), whole.as_str()),
            ("notes", "m", json!({"note": {"deep": literal}}), "note", json!({"deep": literal}), NAMES_A_SECRET),
        ].into_iter().enumerate() {
            let body = json!({
                "name": format!("Literal {number}"), "connector": connector, "auth_method": method, "values": {"production": values},
                "shares": [{"project": "acme", "grants": {"production": "production"}}],
            });
            let last = || shop.up.seen("/me").last().unwrap().headers["x-leak"].to_str().unwrap().to_owned();
            let made = shop.app.post("/api/v1/credentials", body).key(&bob.key).is(201).await.json();
            assert_eq!(made["environments"]["production"]["fields"][field], shown, "{number}");
            assert_eq!(last(), sent, "{number}: as it was typed");
            // As it was stored.
            let verify = json!({"environment": "production"});
            let checked = shop.app.post(&shop.at(&made, "/verify"), verify.clone()).key(&bob.key).is(200).await;
            assert_eq!(checked.json()["status"], "verified", "{number}: {}", checked.text);
            assert_eq!(last(), sent, "{number}: as it was stored");
            // What is read is given again, which changes nothing.
            let fields = shop.app.get(&shop.at(&made, "")).key(&bob.key).is(200).await.json()["environments"]["production"]["fields"].clone();
            let same = shop.app.patch(&shop.at(&made, ""), json!({"values": {"production": fields}})).key(&bob.key).is(200).await.json();
            assert_eq!(same["environments"]["production"]["version"], 1, "{number}: {same}");
            // Something else is changed, and changed back.
            let more = if connector == "http" { json!({"query": {"a": "1"}}) } else { json!({"more": "x"}) };
            let changed = shop.app.patch(&shop.at(&made, ""), json!({"values": {"production": more}})).key(&bob.key).is(200).await.json();
            assert_eq!(changed["environments"]["production"]["version"], 2, "{number}: {changed}");
            assert_eq!(changed["environments"]["production"]["fields"][field], shown, "{number}");
            shop.app.post(&shop.at(&made, "/versions/1/restore"), json!({})).key(&bob.key).is(200).await;
            shop.app.post(&shop.at(&made, "/verify"), verify).key(&bob.key).is(200).await;
            assert_eq!(last(), sent, "{number}: as it was restored");
        }
        for seen in shop.up.seen("/me") {
            assert!(!format!("{:?}", seen.headers).contains("planted"), "{:?}", seen.headers);
        }
        // The same text is a template where nobody says otherwise.
        for values in [http(json!({"X-Leak": NAMES_A_SECRET})), http(json!(whole))] {
            let body = json!({
                "name": "Template", "connector": "http", "auth_method": "none", "values": {"production": values},
                "shares": [{"project": "acme", "grants": {"production": "production"}}],
            });
            let refused = shop.app.post("/api/v1/credentials", body).key(&bob.key).is(422).await;
            assert_eq!(refused.pointers(), ["/values/production"], "{}", refused.text);
        }
    }
}
