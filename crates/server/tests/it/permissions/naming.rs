//! Who may write the name of somebody else's secret into a credential.

use serde_json::json;

use super::{People, Place, bearer, call_key};
use crate::app::both;

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
