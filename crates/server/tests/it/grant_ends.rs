//! Grants that end after a known time: their owners are told 14 and 3 days ahead, also where the grant was brought along.

use latchstring_model::Timestamp;
use latchstring_store::notices;
use latchstring_testkit::OidcProvider;
use serde_json::{Value, json};

use crate::app::Db;
use crate::consent::{Scene, both_scenes};

const DAY: i64 = 86_400;

/// A connector that knows how long consents last.
fn definition(oidc: &OidcProvider) -> String {
    let issuer = oidc.issuer();
    format!(
        "
id: crm
name: CRM
allow_http: true
hosts: [\"127.0.0.1:{}\"]
base_url: \"{issuer}\"
auth_methods:
  oauth:
    scheme:
      type: oauth2_authorization_code
      authorize_url: {issuer}/auth
      token_url: {issuer}/token
      authorize_params: {{prompt: consent}}
      scopes: {{default: [openid, read]}}
      grant_ttl: {}
verify: {{get: /resource}}
",
        oidc.port(),
        90 * DAY
    )
}

impl Scene {
    async fn crm(&self) -> Value {
        self.crm_of(&definition(&self.oidc)).await
    }

    async fn crm_of(&self, definition: &str) -> Value {
        self.world.upload("acme", definition).await;
        let client = json!({
            "name": "CRM", "connector": "crm", "client_id": OidcProvider::CLIENT_ID,
            "client_secret": OidcProvider::CLIENT_SECRET, "client_auth": "basic", "projects": ["acme"],
        });
        self.world.app.post("/api/v1/oauth-clients", client).key(&self.root.key).is(201).await.json()
    }

    async fn bring(&self, client: &Value, more: Value) -> Value {
        let grant = self.oidc.grant(OidcProvider::CLIENT_ID, "read");
        let mut token = json!({"access_token": grant["access_token"], "refresh_token": grant["refresh_token"], "expires_in": 3600});
        token.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let body = json!({
            "name": "CRM", "connector": "crm", "auth_method": "oauth", "oauth_client": client["id"],
            "values": {"production": {}}, "token": {"production": token},
            "shares": [{"project": "acme", "grants": {"staging": "production"}}],
        });
        let made =
            self.world.app.post("/api/v1/credentials", body).key(&self.world.ada.key).is(201).await.json();
        made["environments"]["production"]["token"].clone()
    }

    /// Days ahead of all that was told, in order.
    async fn told(&self) -> Vec<i64> {
        self.world.app.broker.tell_of_ending_grants().await.unwrap();
        let mut reader = self.world.app.store.read().await.unwrap();
        let all = notices::unaddressed(&mut reader, 100).await.unwrap();
        let ending = all.iter().filter(|notice| notice.event == "credential.grant_expiring");
        ending.map(|notice| notice.data["days_ahead"].as_i64().unwrap()).collect()
    }
}

fn time(value: &Value) -> Timestamp {
    Timestamp::parse_rfc3339(value.as_str().unwrap_or_else(|| panic!("a time, not {value}"))).unwrap()
}

both_scenes! {
    async fn a_grant_that_was_brought_along_is_told_of_too(scene) {
        let client = scene.crm().await;
        let brought = scene.bring(&client, json!({})).await;
        let (ends, now) = (time(&brought["grant_expires_at"]), scene.world.now());
        assert!((ends.millis() - now.plus_secs(90 * DAY).millis()).abs() < 60_000, "{brought}: from now on at the latest");
        assert_eq!(scene.told().await, Vec::<i64>::new());
        for (days, told) in [(75, vec![]), (2, vec![14]), (5, vec![14]), (6, vec![14, 3]), (1, vec![14, 3])] {
            scene.world.app.clock.advance_secs(days * DAY);
            assert_eq!(scene.told().await, told, "after {days} more days");
        }
    }

    async fn one_that_dies_of_idleness_is_kept_alive(scene) {
        let knows = format!("grant_ttl: {}", 90 * DAY);
        let definition = definition(&scene.oidc).replace(&knows, &format!("keep_alive: {}", 30 * DAY));
        let client = scene.crm_of(&definition).await;
        // Its access token is good for longer than the grant without use, and nobody calls.
        scene.bring(&client, json!({"expires_in": 90 * DAY})).await;
        let before = scene.oidc.token_requests();
        let turn = async || {
            let begun = scene.world.app.broker.refresh_due_tokens().await.unwrap();
            let count = begun.len();
            for renewal in begun {
                renewal.await.unwrap();
            }
            count
        };
        for (days, renewed) in [(20, 0), (10, 1)] {
            scene.world.app.clock.advance_secs(days * DAY);
            assert_eq!(turn().await, renewed, "after {days} more days");
        }
        assert_eq!(scene.oidc.token_requests(), before + 1);
    }

    async fn whoever_brings_it_knows_when_it_ends(scene) {
        let client = scene.crm().await;
        let ends = scene.world.now().plus_secs(10 * DAY);
        let brought = scene.bring(&client, json!({"grant_expires_at": ends.to_rfc3339()})).await;
        assert_eq!(time(&brought["grant_expires_at"]).secs(), ends.secs());
        assert_eq!(scene.told().await, [14], "less than 14 days are left: told at once");
        // A renewal does not make it longer.
        scene.world.app.clock.advance_secs(3_530);
        for renewal in scene.world.app.broker.refresh_due_tokens().await.unwrap() {
            renewal.await.unwrap();
        }
        scene.world.app.clock.advance_secs(8 * DAY);
        assert_eq!(scene.told().await, [14, 3]);
    }

    async fn one_that_is_consented_to_counts_from_then(scene) {
        let client = scene.crm().await;
        scene.oidc.redirect_to(OidcProvider::CLIENT_ID, client["redirect_uri"].as_str().unwrap());
        let body = json!({
            "name": "CRM", "connector": "crm", "auth_method": "oauth", "oauth_client": client["id"], "values": {"production": {}},
            "shares": [{"project": "acme", "grants": {"staging": "production"}}],
        });
        let made = scene.world.app.post("/api/v1/credentials", body).key(&scene.world.ada.key).is(201).await.json();
        let id = made["id"].as_str().unwrap();
        for _ in 0..2 {
            scene.world.app.clock.advance_secs(20 * DAY);
            let ada = scene.world.app.sign_in("ada@example.org").await;
            assert_eq!(scene.connect_as(&ada, id).await.status, 200);
            let found = scene.world.app.get(&format!("/api/v1/credentials/{id}")).key(&scene.world.ada.key).is(200).await.json();
            let ends = time(&found["environments"]["production"]["token"]["grant_expires_at"]);
            assert!((ends.millis() - scene.world.now().plus_secs(90 * DAY).millis()).abs() < 60_000, "a new consent, a new end");
        }
        assert_eq!(scene.told().await, Vec::<i64>::new());
    }
}
