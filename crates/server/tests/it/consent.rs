//! Consent from the browser's side, and what happens to those who try to slip into somebody else's. The provider is
//! a real one; the browser is this file.

mod withheld;

use axum::http::Method;
use latchstring_store::{credentials, oauth_clients, tokens};
use latchstring_testkit::{OidcProvider, http};
use serde_json::{Value, json};

use crate::app::{Answer, Db, Somebody, path_of};
use crate::calling::{World, code};

/// Makes two tests out of one, `sqlite` and `postgres`, each with a [`Scene`].
macro_rules! both_scenes {
    ($($(#[$meta:meta])* async fn $name:ident($scene:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn run($scene: Scene) $body

            #[tokio::test]
            async fn sqlite() {
                run(Scene::new(Db::Sqlite).await).await;
            }

            #[tokio::test]
            async fn postgres() {
                run(Scene::new(Db::Postgres).await).await;
            }
        }
    )*};
}
pub(crate) use both_scenes;

pub struct Scene {
    pub world: World,
    pub oidc: OidcProvider,
    pub root: Somebody,
    pub client: Value,
}

fn address(oidc: &OidcProvider) -> std::net::SocketAddr {
    format!("127.0.0.1:{}", oidc.port()).parse().unwrap()
}

impl Scene {
    pub async fn new(db: Db) -> Self {
        let oidc = OidcProvider::start();
        let world = World::reaching(db, true, &[address(&oidc)]).await;
        let root = world.app.superuser("root@example.org").await;
        let mut scene = Self { world, oidc, root, client: Value::Null };
        scene.client = scene.client("Provider", json!({})).await;
        scene.oidc.redirect_to(OidcProvider::CLIENT_ID, scene.client["redirect_uri"].as_str().unwrap());
        scene
    }

    async fn client(&self, name: &str, more: Value) -> Value {
        let mut body = json!({
            "name": name, "client_id": OidcProvider::CLIENT_ID, "client_secret": OidcProvider::CLIENT_SECRET,
            "client_auth": "basic", "issuer": self.oidc.issuer(),
            "mandatory_scopes": ["openid", "read"], "optional_scopes": ["write"],
            "authorize_params": {"prompt": "consent"}, "hosts": [format!("127.0.0.1:{}", self.oidc.port())],
            "projects": ["acme"],
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.world.app.post("/api/v1/oauth-clients", body).key(&self.root.key).is(201).await.json()
    }

    fn body(&self, method: &str, more: Value) -> Value {
        let mut body = json!({
            "name": "Drive", "connector": "http", "auth_method": method, "oauth_client": self.client["id"],
            "values": {"production": {"base_url": self.oidc.issuer(), "test_path": "/resource"}},
            "shares": [{"project": "acme", "slug": "drive", "grants": {"staging": "production"}}],
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    }

    pub async fn credential(&self) -> String {
        let body = self.body("oauth2_authorization_code", json!({}));
        let made =
            self.world.app.post("/api/v1/credentials", body).key(&self.world.ada.key).is(201).await.json();
        assert_eq!(made["environments"]["production"]["status"], "needs_authorization");
        made["id"].as_str().unwrap().to_owned()
    }

    async fn begun(&self, id: &str, more: Value) -> Answer {
        let mut body = json!({"environment": "production"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let path = format!("/api/v1/credentials/{id}/authorize");
        self.world.app.post(&path, body).key(&self.world.ada.key).send().await
    }

    async fn authorize(&self, id: &str, more: Value) -> String {
        let begun = self.begun(id, more).await;
        assert_eq!(begun.status, 200, "{}", begun.text);
        path_of(begun.json()["authorize_url"].as_str().unwrap())
    }

    /// The whole way in another session of ada's: time may have ended the first.
    pub async fn connect_as(&self, session: &str, id: &str) -> Answer {
        let link = self.authorize(id, json!({})).await;
        let start = self.world.app.get(&link).cookie(session).is(303).await;
        let back = path_of(&self.oidc.browse(start.header("location")));
        self.come_back(&back, &format!("{session}; {}", start.cookie())).await
    }

    /// Opens the link as ada: where it leads, and the flow's cookie.
    async fn start(&self, path: &str) -> (String, String) {
        let start = self.world.app.get(path).cookie(&self.world.ada.cookie).is(303).await;
        (start.header("location").to_owned(), start.cookie())
    }

    /// Up to the way back: path and query of the callback, and both cookies of ada's browser.
    async fn to_callback(&self, id: &str, more: Value) -> (String, String) {
        let (location, flow) = self.start(&self.authorize(id, more).await).await;
        (path_of(&self.oidc.browse(&location)), format!("{}; {flow}", self.world.ada.cookie))
    }

    async fn come_back(&self, path: &str, cookies: &str) -> Answer {
        self.world.app.get(path).header("cookie", cookies).send().await
    }

    pub async fn connect(&self, id: &str, more: Value) -> Answer {
        let (path, cookies) = self.to_callback(id, more).await;
        self.come_back(&path, &cookies).await
    }

    async fn environment(&self, id: &str) -> Value {
        let path = format!("/api/v1/credentials/{id}");
        let credential = self.world.app.get(&path).key(&self.world.ada.key).is(200).await.json();
        credential["environments"]["production"].clone()
    }

    async fn call(&self) -> http::Answer {
        self.world.proxy_as_ada("drive/resource").await
    }
}

both_scenes! {
    async fn a_state_is_taken_once_from_its_own_browser(scene) {
        let id = scene.credential().await;
        let (path, cookies) = scene.to_callback(&id, json!({})).await;
        let bob = scene.world.app.person("bob@example.org").await;
        let flow = cookies.split("; ").nth(1).unwrap().to_owned();

        // Another browser of ada's, somebody else with the stolen cookie, nobody at all: refused, nothing used up.
        for other in [scene.world.ada.cookie.clone(), format!("{}; {flow}", bob.cookie), flow.clone(), String::new()] {
            let refused = scene.come_back(&path, &other).await;
            assert_eq!(refused.status, 403, "{}", refused.text);
            assert!(refused.text.contains("another browser or person"), "{}", refused.text);
        }
        let other_value = format!("{}; {}", scene.world.ada.cookie, flow.replace('=', "=x"));
        assert_eq!(scene.come_back(&path, &other_value).await.status, 403);
        // A changed state, none, two of them.
        let tampered = path.replacen("state=", "state=A", 1);
        let doubled = format!("{path}&state=x");
        for wrong in [tampered.as_str(), doubled.as_str(), path.split('?').next().unwrap()] {
            assert_eq!(scene.come_back(wrong, &cookies).await.status, 400, "{wrong}");
        }
        assert_eq!(scene.oidc.token_requests(), 0, "the code was shown to nobody");
        assert_eq!(scene.environment(&id).await["status"], "needs_authorization");

        assert_eq!(scene.come_back(&path, &cookies).await.status, 200);
        let replayed = scene.come_back(&path, &cookies).await;
        assert_eq!(replayed.status, 400, "{}", replayed.text);
        assert_eq!(scene.oidc.token_requests(), 1);
        assert_eq!(scene.call().await.status, 200);
        let refused = scene.world.app.recorded().await.iter().filter(|known| *known == "credential.authorize refused").count();
        assert!(refused >= 5, "tries are recorded: {refused}");
    }

    async fn twenty_at_once_make_one_token_request(scene) {
        let id = scene.credential().await;
        scene.oidc.set(&json!({"delay_ms": 300}));
        let (path, cookies) = scene.to_callback(&id, json!({})).await;
        let all = (0..20).map(|_| scene.come_back(&path, &cookies));
        let statuses: Vec<u16> = join_all(all).await.into_iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 200 | 400)), "{statuses:?}");
        assert_eq!(scene.oidc.token_requests(), 1);
        assert_eq!(scene.environment(&id).await["status"], "verified");
    }

    async fn a_link_is_for_whoever_asked_for_it(scene) {
        let id = scene.credential().await;
        let link = scene.authorize(&id, json!({})).await;
        let bob = scene.world.app.person("bob@example.org").await;
        let refused = scene.world.app.get(&link).cookie(&bob.cookie).is(403).await;
        assert!(!refused.text.contains("client_id"));
        // A key is no browser session.
        scene.world.app.get(&link).key(&scene.world.ada.key).is(403).await;
        // Signed out: to the sign-in page, and back.
        let out = scene.world.app.get(&link).is(303).await;
        assert_eq!(out.header("location"), format!("/sign-in?return_to={link}"));
        let page = scene.world.app.get(out.header("location")).is(200).await;
        assert!(page.text.contains(&format!("value=\"{link}\"")), "{}", page.text);
        let send = [("email", "ada@example.org"), ("password", crate::app::PASSWORD), ("return_to", link.as_str())];
        // A page with a link and no redirect: the policy's `form-action` would stop the one that leads to the provider.
        let sent = scene.world.app.call(Method::POST, "/sign-in").form(&send).header("sec-fetch-site", "same-origin").is(200).await;
        assert!(sent.header("content-security-policy").contains("form-action 'self'"));
        assert!(sent.text.contains(&format!("href=\"{link}\"")), "{}", sent.text);
        let started = scene.world.app.get(&link).cookie(&sent.cookie()).is(303).await;
        let cookie = started.header("set-cookie");
        for part in ["HttpOnly", "SameSite=Lax", &format!("Path=/oauth/callback/{}", scene.client["id"].as_str().unwrap())] {
            assert!(cookie.contains(part), "{cookie}");
        }
        // Opened again, the first start's state is void.
        let (first, flow) = scene.start(&link).await;
        let (second, newer) = scene.start(&link).await;
        let stale = path_of(&scene.oidc.browse(&first));
        let cookies = format!("{}; {flow}", scene.world.ada.cookie);
        assert_eq!(scene.come_back(&stale, &cookies).await.status, 400);
        let fresh = path_of(&scene.oidc.browse(&second));
        assert_eq!(scene.come_back(&fresh, &format!("{}; {newer}", scene.world.ada.cookie)).await.status, 200);
        assert_eq!(scene.oidc.token_requests(), 1);
        scene.world.app.get(&link).cookie(&scene.world.ada.cookie).is(400).await;
        for unknown in ["/oauth/start/x", "/oauth/start/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            scene.world.app.get(unknown).cookie(&scene.world.ada.cookie).is(400).await;
        }
    }

    async fn ten_minutes_and_no_longer(scene) {
        let id = scene.credential().await;
        let link = scene.authorize(&id, json!({})).await;
        let (path, cookies) = scene.to_callback(&id, json!({})).await;
        scene.world.app.clock.advance_secs(600);
        let late = scene.come_back(&path, &cookies).await;
        assert_eq!(late.status, 410, "{}", late.text);
        assert!(late.text.contains("10 minutes"), "{}", late.text);
        scene.world.app.get(&link).cookie(&scene.world.ada.cookie).is(410).await;
        assert_eq!(scene.oidc.token_requests(), 0);
        let told = scene.environment(&id).await;
        assert_eq!((&told["authorization"]["state"], &told["authorization"]["code"]), (&json!("failed"), &json!("consent_expired")));
    }

    async fn providers_are_not_mixed_up(scene) {
        let other = scene.client("Another registration", json!({})).await;
        let id = scene.credential().await;
        let (path, cookies) = scene.to_callback(&id, json!({})).await;
        // The same answer at another client's address.
        let elsewhere = path.replacen(scene.client["id"].as_str().unwrap(), other["id"].as_str().unwrap(), 1);
        assert_eq!(scene.come_back(&elsewhere, &cookies).await.status, 400);
        // The right address, and the answer of another server.
        let (before, _) = path.split_once("iss=").expect("the provider says who it is");
        let foreign = format!("{before}iss=https%3A%2F%2Fevil.example");
        let refused = scene.come_back(&foreign, &cookies).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert!(refused.text.contains("another authorization server"), "{}", refused.text);
        // One that says nothing, though it announces that it always does.
        let (path, cookies) = scene.to_callback(&id, json!({})).await;
        let silent = path.split("&iss=").next().unwrap();
        assert_eq!(scene.come_back(silent, &cookies).await.status, 400);
        assert_eq!(scene.oidc.token_requests(), 0, "no code went anywhere");
        assert_eq!(scene.environment(&id).await["authorization"]["code"], "consent_invalid");
    }

    async fn a_connector_of_another_project_cannot_use_this_client(scene) {
        let mallory = scene.world.app.person("mallory@example.org").await;
        scene.world.app.project(&mallory, "evil").await;
        scene.world.app.member(&scene.world.ada, "acme", &mallory, "editor").await;
        let theirs = format!("
id: http_like
name: Like HTTP
allow_http: true
base_url: \"{0}\"
auth_methods:
  oauth:
    scheme: {{type: oauth2_authorization_code, authorize_url: \"{0}/auth\", token_url: \"{0}/token\"}}
", scene.world.api);
        scene.world.upload_as(&mallory, "evil", &theirs).is(201).await;
        for connector in ["http_like", "evil/http_like"] {
            let body = json!({
                "name": "Steal", "connector": connector, "auth_method": "oauth", "oauth_client": scene.client["id"],
                "values": {"production": {}}, "shares": [{"project": "evil", "grants": {"staging": "production"}}],
            });
            let refused = scene.world.app.post("/api/v1/credentials", body).key(&mallory.key).is(422).await;
            assert_eq!(refused.pointers(), [if connector == "http_like" { "/oauth_client" } else { "/connector" }], "{}", refused.text);
        }
        // Nor a project that the client is not for.
        let mut body = scene.body("oauth2_authorization_code", json!({}));
        body["shares"] = json!([{"project": "evil", "grants": {"staging": "production"}}]);
        let refused = scene.world.app.post("/api/v1/credentials", body).key(&mallory.key).is(422).await;
        assert_eq!(refused.pointers(), ["/oauth_client"], "{}", refused.text);
        // Nor with an API or a page elsewhere than the client's hosts.
        let mut body = scene.body("oauth2_authorization_code", json!({}));
        body["values"]["production"]["base_url"] = scene.world.api.clone().into();
        let refused = scene.world.app.post("/api/v1/credentials", body).key(&scene.world.ada.key).is(422).await;
        assert_eq!(refused.pointers(), ["/values/production/base_url"], "{}", refused.text);
    }

    async fn nobody_is_sent_elsewhere_afterwards(scene) {
        let id = scene.credential().await;
        for bad in ["https://evil.example/", "//evil.example", "/\\evil.example", "evil", "", "/\t//evil.example"] {
            let refused = scene.begun(&id, json!({"return_to": bad})).await;
            assert_eq!((refused.status, refused.pointers()), (422, vec!["/return_to".to_owned()]), "{bad:?}: {}", refused.text);
            let encoded = percent_encoding::utf8_percent_encode(bad, percent_encoding::NON_ALPHANUMERIC);
            let page = scene.world.app.get(&format!("/sign-in?return_to={encoded}")).is(200).await;
            assert!(!page.text.contains("return_to"), "{bad:?}: {}", page.text);
            let send = [("email", "ada@example.org"), ("password", crate::app::PASSWORD), ("return_to", bad)];
            let sent = scene.world.app.call(Method::POST, "/sign-in").form(&send).header("sec-fetch-site", "same-origin").is(303).await;
            assert_eq!(sent.header("location"), "/");
        }
        let (path, cookies) = scene.to_callback(&id, json!({"return_to": "/credentials?tab=1"})).await;
        let back = scene.come_back(&path, &cookies).await;
        assert_eq!((back.status, back.header("location")), (303, "/credentials?tab=1"));
    }

    async fn scopes_are_held_against_what_was_asked_for(scene) {
        let id = scene.credential().await;
        let refused = scene.begun(&id, json!({"scopes": ["write", "admin"]})).await;
        assert_eq!((refused.status, refused.pointers()), (422, vec!["/scopes/1".to_owned()]), "{}", refused.text);

        // A mandatory scope was unticked: nothing is saved, and the page says what will not work.
        scene.oidc.set(&json!({"reject_scope": "read"}));
        let refused = scene.connect(&id, json!({})).await;
        assert_eq!(refused.status, 422, "{}", refused.text);
        assert!(refused.text.contains("without the scope read"), "{}", refused.text);
        assert_eq!(scene.environment(&id).await["status"], "needs_authorization");
        assert_eq!(scene.environment(&id).await["authorization"]["code"], "consent_incomplete");

        // An optional one: saved with what was granted, and told.
        scene.oidc.set(&json!({"reject_scope": "write"}));
        let told = scene.connect(&id, json!({"scopes": ["write"], "return_to": "/x"})).await;
        assert_eq!(told.status, 200, "{}", told.text);
        assert!(told.text.contains("not granted: <code>write</code>") && told.text.contains("href=\"/x\""), "{}", told.text);
        assert_eq!(scene.environment(&id).await["scopes"], json!(["openid", "read"]));
        assert_eq!(scene.call().await.json()["scope"], "openid read");

        // Added later, what there is stays; asked for nothing more, it stays too.
        scene.oidc.set(&json!({"reject_scope": ""}));
        for more in [json!({"scopes": ["write"]}), json!({})] {
            let (location, flow) = scene.start(&scene.authorize(&id, more).await).await;
            assert!(location.contains("scope=openid+read+write"), "{location}");
            let path = path_of(&scene.oidc.browse(&location));
            assert_eq!(scene.come_back(&path, &format!("{}; {flow}", scene.world.ada.cookie)).await.status, 200);
            assert_eq!(scene.environment(&id).await["scopes"], json!(["openid", "read", "write"]));
            assert_eq!(scene.call().await.json()["scope"], "openid read write", "calls have the new token at once");
        }
    }

    async fn what_was_connected_stands_until_the_new_one_does(scene) {
        let id = scene.credential().await;
        assert_eq!(scene.connect(&id, json!({})).await.status, 200);
        scene.oidc.reset_counts();
        // The last consent is the later one.
        scene.world.app.clock.advance_millis(1);
        // The person says no.
        let (location, flow) = scene.start(&scene.authorize(&id, json!({})).await).await;
        let path = path_of(&scene.oidc.browse(&format!("{location}&login_hint=deny")));
        let denied = scene.come_back(&path, &format!("{}; {flow}", scene.world.ada.cookie)).await;
        assert_eq!(denied.status, 403, "{}", denied.text);
        assert!(denied.text.contains("Consent was not given") && denied.text.contains("access_denied"), "{}", denied.text);
        assert_eq!(scene.environment(&id).await["authorization"]["code"], "consent_denied");
        // The token endpoint does not answer as it should, or says no.
        for (trouble, text) in [
            (json!({"fail_next": [{"status": 503, "body": {"error": "temporarily_unavailable"}}]}), "could not answer right now"),
            (json!({"fail_next": [{"status": 200, "body": {"no": "token"}}]}), "token"),
            (json!({"fail_next": [{"status": 400, "body": {"error": "invalid_grant", "error_description": "the code is old"}}]}), "the code is old"),
            (json!({"lose_next": 1}), "did not take the code"),
        ] {
            scene.oidc.set(&trouble);
            let failed = scene.connect(&id, json!({})).await;
            assert_eq!(failed.status, 502, "{}", failed.text);
            assert!(failed.text.contains(text) && failed.text.contains("What was connected before is as it was"), "{}", failed.text);
        }
        assert_eq!(scene.oidc.token_requests(), 4, "each code was sent once");
        assert_eq!(scene.environment(&id).await["status"], "verified");
        assert_eq!(scene.call().await.status, 200);
    }

    async fn editing_keeps_the_grant(scene) {
        let id = scene.credential().await;
        assert_eq!(scene.connect(&id, json!({})).await.status, 200);
        scene.oidc.reset_counts();
        let path = format!("/api/v1/credentials/{id}");
        for (verify, status) in [("required", "verified"), ("skip", "unverified")] {
            let headers = json!({"X-Edit": verify});
            let body = json!({"values": {"production": {"headers": headers}}, "verify": verify});
            let edited = scene.world.app.patch(&path, body).key(&scene.world.ada.key).is(200).await.json();
            let environment = &edited["environments"]["production"];
            assert_eq!((&environment["status"], &environment["account"]), (&json!(status), &json!("alice")), "{edited}");
            assert_eq!(environment["scopes"], json!(["openid", "read"]));
            assert_eq!(scene.call().await.status, 200);
        }
        assert_eq!(scene.environment(&id).await["version"], 3);
        assert_eq!(scene.oidc.token_requests(), 0);
        // It is renewed under the new values as it was under the old.
        assert_eq!(renewals(&scene).await, 1);
        assert_eq!(scene.call().await.status, 200);
        assert_eq!(scene.oidc.token_requests(), 1);
    }

    async fn a_refresh_token_that_stays_is_the_one_that_came_last(scene) {
        let id = scene.credential().await;
        assert_eq!(scene.connect(&id, json!({})).await.status, 200);
        // The next consent brings none, and while it is tried, what stands is renewed: the first one is used up.
        scene.oidc.set(&json!({"withhold_refresh": true, "resource_delay_ms": 4_000}));
        scene.oidc.reset_counts();
        let (path, cookies) = scene.to_callback(&id, json!({})).await;
        let meanwhile = async {
            while !scene.oidc.counts().contains_key("GET /resource") {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            assert_eq!(renewals(&scene).await, 1);
            assert_eq!(scene.oidc.token_requests(), 2, "the code, and the renewal");
        };
        let (back, ()) = tokio::join!(scene.come_back(&path, &cookies), meanwhile);
        assert_eq!(back.status, 200, "{}", back.text);
        scene.oidc.set(&json!({"resource_delay_ms": 0}));
        assert_eq!(scene.call().await.status, 200);
        assert_eq!(renewals(&scene).await, 1);
        assert_eq!(scene.call().await.status, 200);
        assert_eq!(scene.environment(&id).await["status"], "verified", "a spent one would have ended the grant");
        assert_eq!(scene.oidc.token_requests(), 3);

        // While it is being renewed nobody knows which one that is.
        let owner = latchstring_model::entity::Principal::User(scene.world.ada.id.parse().unwrap());
        let mut tx = scene.world.app.store.begin_upkeep().await.unwrap();
        let row = credentials::of_owner(&mut tx, &owner, &id.parse().unwrap()).await.unwrap().unwrap();
        let held = tokens::list_of_credential(&mut tx, &row).await.unwrap().remove(0);
        let take = tokens::Take {
            owner: "srv_other", seen_fence: held.fence, version: held.version, may_repeat: false, patience_ms: 0, forced: false,
            lease_ms: 60_000,
        };
        assert!(tokens::take(&mut tx, &held.key.id, &take).await.unwrap());
        tx.commit().await.unwrap();
        let busy = scene.connect(&id, json!({})).await;
        assert_eq!((busy.status, scene.environment(&id).await["authorization"]["code"].clone()), (503, json!("busy")), "{}", busy.text);
        let mut reader = scene.world.app.store.read().await.unwrap();
        let after = tokens::by_id(&mut reader, &held.key.id).await.unwrap().unwrap().0;
        assert_eq!((after.version, after.sealed), (held.version, held.sealed), "nothing was saved over it");
    }

    async fn a_refresh_token_stays_with_its_person_whatever_the_name(scene) {
        let client = format!("/api/v1/oauth-clients/{}", scene.client["id"].as_str().unwrap());
        scene.world.app.patch(&client, json!({"mandatory_scopes": ["openid", "email", "read"]})).key(&scene.root.key).is(200).await;
        scene.oidc.set(&json!({"email": "team@example.com"}));
        let id = scene.credential().await;
        for (person, withheld, asked) in [("alice", false, 1), ("alice", true, 1), ("mallory", true, 0)] {
            scene.oidc.set(&json!({"person": person, "withhold_refresh": withheld}));
            assert_eq!(scene.connect(&id, json!({})).await.status, 200);
            assert_eq!(scene.environment(&id).await["account"], "team@example.com");
            assert_eq!(scene.call().await.json()["sub"], person);
            scene.oidc.reset_counts();
            renewals(&scene).await;
            assert_eq!(scene.oidc.token_requests(), asked, "{person} {withheld}");
            let after = scene.call().await;
            assert!(after.status != 200 || after.json()["sub"] == person, "{person}: {}", after.text());
        }
    }

    async fn an_outage_costs_one_try_per_step(scene) {
        scene.oidc.set(&json!({"access_token_ttl": 2}));
        let id = scene.credential().await;
        assert_eq!(scene.connect(&id, json!({})).await.status, 200);
        let failure = json!({"status": 503, "body": {"error": "temporarily_unavailable"}});
        scene.oidc.set(&json!({"fail_next": vec![failure; 100]}));
        scene.oidc.reset_counts();
        // By both clocks: the database's judges too.
        tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
        scene.world.app.clock.advance_secs(3);
        // Pauses of one to two seconds, of two to four, of four to eight, by the database's clock: as many tries as steps,
        // whoever asks and however often. In seven seconds that is three tries, four where the pauses are short.
        let began = std::time::Instant::now();
        let mut asked = 0;
        while began.elapsed() < std::time::Duration::from_millis(6_500) {
            let refused = scene.call().await;
            assert_eq!((refused.status, code(&refused)), (502, "token_endpoint_error".to_owned()), "{}", refused.text());
            for renewal in scene.world.app.broker.refresh_due_tokens().await.unwrap() {
                renewal.await.unwrap();
            }
            asked += 1;
        }
        let tries = scene.oidc.token_requests();
        assert!((2..=4).contains(&tries), "{tries} tries for {asked} calls and as many turns");
        assert!(asked > 5 * tries, "{asked}");
        let told = scene.environment(&id).await;
        assert_eq!((&told["status"], &told["token"]["failures"]), (&json!("verified"), &json!(tries)), "an outage ends no grant: {told}");
        assert!(told["token"]["last_error"].as_str().unwrap().contains("temporarily_unavailable"), "{told}");
        scene.oidc.set(&json!({"fail_next": []}));
        tokio::time::sleep(std::time::Duration::from_millis(8_050)).await;
        assert_eq!(scene.call().await.status, 200);
        assert_eq!(scene.oidc.token_requests(), tries + 1);
        assert!(scene.environment(&id).await["token"]["last_error"].is_null());
    }

    async fn whoever_left_the_clients_project_uses_it_no_more(scene) {
        let app = &scene.world.app;
        let bob = app.person("bob@example.org").await;
        app.member(&scene.world.ada, "acme", &bob, "owner").await;
        app.project(&scene.world.ada, "mine").await;
        let client = format!("/api/v1/oauth-clients/{}", scene.client["id"].as_str().unwrap());
        let body = scene.body("oauth2_authorization_code", json!({"shares": []}));
        let made = app.post("/api/v1/credentials", body).key(&scene.world.ada.key).is(201).await.json();
        let id = made["id"].as_str().unwrap();
        let path = format!("/api/v1/credentials/{id}");
        let to_mine = |slug: &str| json!({"shares": [{"project": "mine", "slug": slug, "grants": {"staging": "production"}}]});
        let refused = app.patch(&path, to_mine("drive")).key(&scene.world.ada.key).is(422).await;
        assert_eq!(refused.pointers(), ["/shares/0/project"], "{}", refused.text);

        // Where the client was for the project once.
        app.patch(&client, json!({"projects": ["acme", "mine"]})).key(&scene.root.key).is(200).await;
        app.patch(&path, to_mine("drive")).key(&scene.world.ada.key).is(200).await;
        assert_eq!(scene.connect(id, json!({})).await.status, 200);
        let key = format!("Bearer {}", scene.world.ada.key);
        let place = [("authorization", key.as_str()), ("latchstring-project", "mine"), ("latchstring-environment", "staging")];
        let call = || scene.world.proxy("drive/resource", &place);
        assert_eq!(call().await.status, 200);
        let (back, cookies) = scene.to_callback(id, json!({})).await;
        let client_id = scene.client["id"].as_str().unwrap().parse().unwrap();
        let acme = scene.world.acme["id"].as_str().unwrap().parse().unwrap();
        let mut tx = app.store.begin_write(&[scene.client["id"].as_str().unwrap()]).await.unwrap();
        oauth_clients::replace_projects(&mut tx, &client_id, &[acme]).await.unwrap();
        tx.commit().await.unwrap();
        scene.oidc.reset_counts();
        scene.world.until("the route is looked up anew", async || call().await.status != 200).await;
        let refused = call().await;
        assert_eq!((refused.status, code(&refused)), (409, "oauth_client_unusable".to_owned()), "{}", refused.text());
        assert_eq!(scene.begun(id, json!({})).await.code(), "oauth_client_unusable");
        assert_eq!(scene.come_back(&back, &cookies).await.status, 409);
        assert_eq!(app.patch(&path, to_mine("disk")).key(&scene.world.ada.key).is(422).await.pointers(), ["/shares/0/project"]);
        // Taking away goes on.
        app.patch(&path, json!({"shares": []})).key(&scene.world.ada.key).is(200).await;
        assert_eq!(scene.oidc.token_requests(), 0);

        // And for a person who was in the client's project once.
        let (back, cookies) = scene.to_callback(id, json!({})).await;
        app.delete("/api/v1/projects/acme/members/ada@example.org").key(&bob.key).is(204).await;
        assert_eq!(scene.begun(id, json!({})).await.code(), "oauth_client_unusable");
        assert_eq!(scene.come_back(&back, &cookies).await.status, 409);
        assert_eq!(renewals(&scene).await, 0);
        assert_eq!(scene.oidc.token_requests(), 0);
    }

    async fn a_token_endpoint_may_move_on_its_server(scene) {
        let id = scene.credential().await;
        assert_eq!(scene.connect(&id, json!({})).await.status, 200);
        let client = format!("/api/v1/oauth-clients/{}", scene.client["id"].as_str().unwrap());
        let moved = format!("{}/v2/token", scene.oidc.issuer());
        scene.world.app.patch(&client, json!({"token_endpoint": moved})).key(&scene.root.key).is(200).await;
        scene.oidc.reset_counts();
        assert_eq!(renewals(&scene).await, 1);
        assert_eq!(scene.oidc.token_requests(), 1, "it is asked at its new address");
        assert_eq!(scene.environment(&id).await["status"], "verified");
        assert_eq!(scene.call().await.status, 200);
    }

    async fn a_client_that_changes_its_server_wants_new_consent(scene) {
        let id = scene.credential().await;
        assert_eq!(scene.connect(&id, json!({})).await.status, 200);
        assert_eq!(scene.call().await.status, 200);
        let (path, cookies) = scene.to_callback(&id, json!({})).await;
        let client = format!("/api/v1/oauth-clients/{}", scene.client["id"].as_str().unwrap());
        let moved = format!("http://localhost:{}/token", scene.oidc.port());
        let hosts = json!([format!("127.0.0.1:{}", scene.oidc.port()), format!("localhost:{}", scene.oidc.port())]);
        let body = json!({"token_endpoint": moved, "hosts": hosts, "client_secret": OidcProvider::CLIENT_SECRET});
        scene.world.app.patch(&client, body).key(&scene.root.key).is(200).await;
        // The answer to what was begun before is not used, and the old grant is over.
        scene.oidc.reset_counts();
        assert_eq!(scene.come_back(&path, &cookies).await.status, 400);
        assert_eq!(scene.oidc.token_requests(), 0);
        assert_eq!(scene.environment(&id).await["status"], "needs_reconnect");
        // Its owner is told, who did not do it.
        let told = {
            let mut reader = scene.world.app.store.read().await.unwrap();
            latchstring_store::notices::unaddressed(&mut reader, 10).await.unwrap()
        };
        assert_eq!(told.iter().map(|notice| notice.event.as_str()).collect::<Vec<_>>(), ["credential.needs_reconnect"]);
        assert_eq!((&told[0].data["credential"]["id"], &told[0].environment), (&json!(id), &Some("production".to_owned())));
        assert!(told[0].data["reason"].as_str().unwrap().contains("OAuth client was changed"), "{}", told[0].data);
        // The old provider is asked for nothing, not even to end what it gave: docs/oauth-clients.md says why.
        assert_eq!(scene.oidc.counts().get("POST /token/revocation"), None);
        let refused = scene.call().await;
        assert_eq!((refused.status, code(&refused)), (409, "needs_reconnect".to_owned()), "{}", refused.text());
        assert_eq!(scene.connect(&id, json!({})).await.status, 200);
        assert_eq!(scene.environment(&id).await["status"], "verified");
        assert_eq!(scene.call().await.status, 200);
    }

    async fn a_grant_is_brought_in_after_one_use(scene) {
        let bring = async |token: Value| {
            let body = scene.body("oauth2_authorization_code", json!({"token": {"production": token}}));
            scene.world.app.post("/api/v1/credentials", body).key(&scene.world.ada.key).send().await
        };
        for (wrong, pointer) in [
            (json!({}), "/token/production"),
            (json!({"access_token": "has a blank"}), "/token/production/access_token"),
            (json!({"refresh_token": "not-one-of-theirs"}), "/token/production/refresh_token"),
        ] {
            let refused = bring(wrong).await;
            assert_eq!((refused.status, refused.pointers()), (422, vec![pointer.to_owned()]), "{}", refused.text);
        }
        let refused = bring(json!({"access_token": "not-one-of-theirs"})).await;
        assert_eq!((refused.status, refused.code().as_str()), (422, "verification_failed"));
        scene.oidc.reset_counts();

        let grant = scene.oidc.grant(OidcProvider::CLIENT_ID, "read");
        let made = bring(json!({"access_token": grant["access_token"], "refresh_token": grant["refresh_token"], "expires_in": 3600, "scope": "read"})).await;
        assert_eq!(made.status, 201, "{}", made.text);
        assert!(!made.text.contains(grant["refresh_token"].as_str().unwrap()));
        let environment = &made.json()["environments"]["production"];
        assert_eq!((&environment["status"], &environment["scopes"]), (&json!("verified"), &json!(["read"])));
        assert_eq!(scene.oidc.token_requests(), 0, "the access token was good");
        assert_eq!(scene.call().await.status, 200);
        assert_eq!(renewals(&scene).await, 1);
        assert_eq!(scene.call().await.status, 200);
        assert_eq!(scene.oidc.token_requests(), 1, "and its refresh token renews it");

        // With a refresh token alone, or an access token that has ended, it is renewed first.
        for old in [json!({}), json!({"access_token": "long-gone"})] {
            let id = made.json()["id"].as_str().unwrap().to_owned();
            scene.world.app.delete(&format!("/api/v1/credentials/{id}?purge=true")).key(&scene.world.ada.key).send().await;
            let grant = scene.oidc.grant(OidcProvider::CLIENT_ID, "read");
            let mut body = scene.body("oauth2_authorization_code", json!({}));
            body["token"] = json!({"production": {"refresh_token": grant["refresh_token"]}});
            body["token"]["production"].as_object_mut().unwrap().extend(old.as_object().unwrap().clone());
            body["shares"] = json!([]);
            scene.world.app.post("/api/v1/credentials", body).key(&scene.world.ada.key).is(201).await;
        }
    }

    async fn a_purge_gives_the_tokens_back(scene) {
        let id = scene.credential().await;
        assert_eq!(scene.connect(&id, json!({})).await.status, 200);
        scene.oidc.reset_counts();
        scene.world.app.delete(&format!("/api/v1/credentials/{id}?purge=true")).key(&scene.world.ada.key).is(204).await;
        assert_eq!(scene.oidc.counts()["POST /token/revocation"], 2, "refresh and access token");
        let revoked: Vec<String> = scene.world.app.recorded().await.into_iter().filter(|known| known.starts_with("token.revoke")).collect();
        assert_eq!(revoked, ["token.revoke ok"]);

        // A provider that is away keeps nobody from deleting.
        let id = scene.credential().await;
        assert_eq!(scene.connect(&id, json!({})).await.status, 200);
        let client = format!("/api/v1/oauth-clients/{}", scene.client["id"].as_str().unwrap());
        let gone = format!("{}/no-such-endpoint", scene.oidc.issuer());
        scene.world.app.patch(&client, json!({"revocation_endpoint": gone})).key(&scene.root.key).is(200).await;
        scene.world.app.delete(&format!("/api/v1/credentials/{id}?purge=true")).key(&scene.world.ada.key).is(204).await;
        let failed = async || scene.world.app.records().await.into_iter().filter(|record| record.action == "token.revoke" && record.outcome.to_string() == "failed").collect::<Vec<_>>();
        assert_eq!(failed().await.len(), 1);

        // Nor one that is another by now: nobody is asked, and that is told.
        let id = scene.credential().await;
        assert_eq!(scene.connect(&id, json!({})).await.status, 200);
        scene.world.app.patch(&client, json!({"client_id": "another"})).key(&scene.root.key).is(200).await;
        scene.world.app.delete(&format!("/api/v1/credentials/{id}?purge=true")).key(&scene.world.ada.key).is(204).await;
        let failed = failed().await;
        assert_eq!(failed.len(), 2);
        assert!(failed[1].body.contains("end the access at the provider"), "{}", failed[1].body);
    }

    async fn a_device_waits_for_its_person(scene) {
        let body = scene.body("oauth2_device_code", json!({}));
        let made = scene.world.app.post("/api/v1/credentials", body).key(&scene.world.ada.key).is(201).await.json();
        let id = made["id"].as_str().unwrap().to_owned();
        let begun = scene.begun(&id, json!({})).await.json();
        assert!(begun["authorize_url"].is_null() && begun["expires_at"].is_string(), "{begun}");
        assert!(begun["verification_uri"].as_str().unwrap().starts_with(&scene.oidc.issuer()));
        let code = begun["user_code"].as_str().unwrap();
        assert_eq!(turn(&scene).await, 0, "the provider says how often it may be asked");
        tokio::time::sleep(std::time::Duration::from_millis(5_200)).await;
        assert_eq!(turn(&scene).await, 1);
        assert_eq!(scene.environment(&id).await["authorization"]["state"], "at_provider");
        scene.oidc.answer_device(code, true);
        tokio::time::sleep(std::time::Duration::from_millis(5_200)).await;
        // Two servers look at the same moment: one asks.
        let (one, two) = tokio::join!(turn(&scene), turn(&scene));
        assert_eq!(one + two, 1);
        let environment = scene.environment(&id).await;
        assert_eq!((&environment["status"], &environment["authorization"]["state"]), (&json!("verified"), &json!("done")), "{environment}");
        assert_eq!(scene.oidc.token_requests(), 2);
        assert_eq!(scene.call().await.status, 200);

        scene.world.app.clock.advance_millis(1);
        let begun = scene.begun(&id, json!({})).await.json();
        scene.oidc.answer_device(begun["user_code"].as_str().unwrap(), false);
        tokio::time::sleep(std::time::Duration::from_millis(5_200)).await;
        assert_eq!(turn(&scene).await, 1);
        let environment = scene.environment(&id).await;
        assert_eq!((&environment["status"], &environment["authorization"]["code"]), (&json!("verified"), &json!("consent_denied")), "{environment}");
        assert_eq!(scene.call().await.status, 200, "what was connected before is as it was");
    }
}

/// The token is about to end, and nobody calls.
async fn renewals(scene: &Scene) -> usize {
    scene.world.app.clock.advance_secs(3_530);
    let begun = scene.world.app.broker.refresh_due_tokens().await.unwrap();
    let count = begun.len();
    for renewal in begun {
        renewal.await.unwrap();
    }
    count
}

async fn turn(scene: &Scene) -> usize {
    let begun = scene.world.app.broker.poll_devices().await.unwrap();
    let count = begun.len();
    for one in begun {
        one.await.unwrap();
    }
    count
}

/// All at once.
pub async fn join_all<F: Future<Output = Answer>>(all: impl Iterator<Item = F>) -> Vec<Answer> {
    let mut open: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<Answer>> = open.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, done) in open.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(answer) = future.as_mut().poll(context)
            {
                *done = Some(answer);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(done.iter_mut().filter_map(Option::take).collect())
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn what_is_wrong_with_the_request_is_pointed_at() {
    let scene = Scene::new(Db::Sqlite).await;
    let create = async |more: Value| {
        let body = scene.body("oauth2_authorization_code", more);
        scene.world.app.post("/api/v1/credentials", body).key(&scene.world.ada.key).send().await
    };
    for (more, pointer) in [
        (json!({"oauth_client": null}), "/oauth_client"),
        (json!({"oauth_client": "oac_0000000001zzzzzzzzzzzzzzzz"}), "/oauth_client"),
        (
            json!({"auth_method": "bearer", "values": {"production": {"base_url": scene.world.api, "token": "t"}}}),
            "/oauth_client",
        ),
        (json!({"token": {"staging": {"access_token": "t"}}}), "/token/staging"),
    ] {
        let refused = create(more).await;
        assert_eq!((refused.status, refused.pointers()), (422, vec![pointer.to_owned()]), "{}", refused.text);
    }
    let id = scene.credential().await;
    let bob = scene.world.app.person("bob@example.org").await;
    let path = format!("/api/v1/credentials/{id}/authorize");
    scene.world.app.post(&path, json!({"environment": "production"})).key(&bob.key).is(404).await;
    scene.world.app.member(&scene.world.ada, "acme", &bob, "editor").await;
    // Who uses it does not own it.
    scene.world.app.post(&path, json!({"environment": "production"})).key(&bob.key).is(404).await;
    let refused = scene
        .world
        .app
        .post(&path, json!({"environment": "staging"}))
        .key(&scene.world.ada.key)
        .is(422)
        .await;
    assert_eq!(refused.pointers(), ["/environment"]);
    let refused = scene
        .world
        .app
        .post(&path, json!({"environment": "production", "x": 1}))
        .key(&scene.world.ada.key)
        .is(422)
        .await;
    assert_eq!(refused.code(), "invalid");
}

/// A provider that names the account in the callback only, as QuickBooks does, and gives no refresh token twice.
#[tokio::test]
async fn what_the_callback_says_is_kept_for_the_calls() {
    let scene = Scene::new(Db::Sqlite).await;
    let issuer = scene.oidc.issuer();
    let books = format!(
        "
id: books
name: Books
allow_http: true
hosts: [\"127.0.0.1:{}\"]
base_url: \"{issuer}\"
auth_methods:
  oauth:
    headers: {{X-Realm: \"{{{{ token.realm }}}}\"}}
    scheme:
      type: oauth2_authorization_code
      authorize_url: {issuer}/auth
      token_url: {issuer}/token
      authorize_params: {{prompt: consent, access_type: offline}}
      callback_metadata: {{realm: realmId}}
      scopes: {{default: [openid, read]}}
      refresh_token: required
      refresh_token_hint: Ask the books.
verify: {{get: /resource, account: sub}}
errors:
  books_closed: Open the books in the year's settings.
  no_more_codes: Ask for more codes.
",
        scene.oidc.port()
    );
    scene.world.upload("acme", &books).await;
    let client = json!({
        "name": "Books", "connector": "books", "client_id": OidcProvider::CLIENT_ID,
        "client_secret": OidcProvider::CLIENT_SECRET, "client_auth": "basic", "projects": ["acme"],
    });
    let client = scene.world.app.post("/api/v1/oauth-clients", client).key(&scene.root.key).send().await;
    assert_eq!(client.status, 201, "{}", client.text);
    let client = client.json();
    scene.oidc.redirect_to(OidcProvider::CLIENT_ID, client["redirect_uri"].as_str().unwrap());
    let body = json!({
        "name": "Books", "connector": "books", "auth_method": "oauth", "oauth_client": client["id"],
        "values": {"production": {}}, "shares": [{"project": "acme", "slug": "drive", "grants": {"staging": "production"}}],
    });
    let made =
        scene.world.app.post("/api/v1/credentials", body).key(&scene.world.ada.key).is(201).await.json();
    let id = made["id"].as_str().unwrap().to_owned();

    let (location, flow) = scene.start(&scene.authorize(&id, json!({})).await).await;
    assert!(
        location.contains("access_type=offline") && location.contains("code_challenge_method=S256"),
        "{location}"
    );
    let cookies = format!("{}; {flow}", scene.world.ada.cookie);
    let back = path_of(&scene.oidc.browse(&location));
    let page = scene.come_back(&format!("{back}&realmId=123456"), &cookies).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let path = format!("/api/v1/credentials/{id}/verify");
    let shown = scene
        .world
        .app
        .post(&path, json!({"environment": "production"}))
        .key(&scene.world.ada.key)
        .is(200)
        .await
        .json();
    assert_eq!(
        (&shown["status"], &shown["request"]["headers"]["x-realm"]),
        (&json!("verified"), &json!("******")),
        "{shown}"
    );
    assert_eq!(scene.call().await.status, 200);
    // A renewal does not repeat it, and it stays.
    assert_eq!(renewals(&scene).await, 1);
    let shown = scene
        .world
        .app
        .post(&path, json!({"environment": "production"}))
        .key(&scene.world.ada.key)
        .is(200)
        .await
        .json();
    assert_eq!(shown["request"]["headers"]["x-realm"], "******", "{shown}");

    // Without a refresh token, where one must come: the old grant stays, and the connector's hint is shown.
    scene.oidc.set(&json!({"fail_next": [{"status": 200, "body": {"access_token": "abc", "expires_in": 60, "scope": "openid read"}}]}));
    let (back, cookies) = scene.to_callback(&id, json!({})).await;
    let page = scene.come_back(&format!("{back}&realmId=1"), &cookies).await;
    assert_eq!(page.status, 422, "{}", page.text);
    assert!(page.text.contains("no refresh token") && page.text.contains("Ask the books."), "{}", page.text);
    assert_eq!(scene.call().await.status, 200);

    // The connector knows what the provider's words mean, whether they come with the browser or from the token endpoint.
    scene.world.app.clock.advance_millis(1);
    let (back, cookies) = scene.to_callback(&id, json!({})).await;
    let kept = |name: &str| back.split(['?', '&']).find(|pair| pair.starts_with(name)).unwrap().to_owned();
    let path = back.split('?').next().unwrap();
    let said =
        format!("{path}?error=BOOKS_CLOSED&error_description=no+entry&{}&{}", kept("state="), kept("iss="));
    let page = scene.come_back(&said, &cookies).await;
    assert_eq!(page.status, 502, "{}", page.text);
    assert!(
        page.text.contains("no entry") && page.text.contains("Open the books in the year"),
        "{}",
        page.text
    );
    let told = scene.environment(&id).await["authorization"]["hint"].clone();
    assert!(told.as_str().unwrap().ends_with("Then start the sign-in again."), "{told}");
    scene.oidc.set(&json!({"fail_next": [{"status": 400, "body": {"error": "invalid_request", "error_description": "no_more_codes"}}]}));
    let page = scene.connect(&id, json!({})).await;
    assert_eq!(page.status, 502, "{}", page.text);
    assert!(page.text.contains("Ask for more codes. Then start"), "{}", page.text);
}
