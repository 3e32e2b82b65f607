//! Those who try to slip into somebody else's consent by OAuth 1.0a, which has no `state` and no PKCE: the flow's cookie,
//! the person's session, the client's own redirect URI and the verifier keep them out. The provider is `oauthlib`.

use latchstring_testkit::oauth1::OAuth1Provider;
use serde_json::{Value, json};

use crate::app::{Answer, Db, Somebody, path_of};
use crate::calling::World;
use crate::consent::both_scenes;

struct Scene {
    world: World,
    provider: OAuth1Provider,
    root: Somebody,
    client: Value,
}

impl Scene {
    async fn new(db: Db) -> Self {
        let provider = OAuth1Provider::start();
        let world = World::reaching(db, true, &[provider.authority().parse().unwrap()]).await;
        let root = world.app.superuser("root@example.org").await;
        let mut scene = Self { world, provider, root, client: Value::Null };
        scene.client = scene.client("Photos").await;
        scene.provider.set(&json!({"callbacks": [scene.client["redirect_uri"]]}));
        scene
    }

    async fn client(&self, name: &str) -> Value {
        let body = json!({
            "name": name, "client_id": OAuth1Provider::CONSUMER_KEY, "client_auth": "basic",
            "client_secret": OAuth1Provider::CONSUMER_SECRET, "request_token_endpoint": self.provider.at("/initiate"),
            "authorization_endpoint": self.provider.at("/authorize"), "token_endpoint": self.provider.at("/token"),
            "hosts": [self.provider.authority()], "projects": ["acme"],
        });
        self.world.app.post("/api/v1/oauth-clients", body).key(&self.root.key).is(201).await.json()
    }

    async fn credential(&self) -> String {
        let body = json!({
            "name": "Photos", "connector": "http", "auth_method": "oauth1_consent", "oauth_client": self.client["id"],
            "values": {"production": {"base_url": self.provider.url(), "test_path": "/resource"}},
            "shares": [{"project": "acme", "slug": "photos", "grants": {"staging": "production"}}],
        });
        let made =
            self.world.app.post("/api/v1/credentials", body).key(&self.world.ada.key).is(201).await.json();
        made["id"].as_str().unwrap().to_owned()
    }

    async fn link(&self, id: &str) -> String {
        let path = format!("/api/v1/credentials/{id}/authorize");
        let begun = self.world.app.post(&path, json!({"environment": "production"}));
        let begun = begun.key(&self.world.ada.key).is(200).await.json();
        path_of(begun["authorize_url"].as_str().unwrap())
    }

    /// Opens the link as ada: where it leads, and both cookies of her browser.
    async fn start(&self, link: &str) -> (String, String) {
        let start = self.world.app.get(link).cookie(&self.world.ada.cookie).is(303).await;
        (start.header("location").to_owned(), format!("{}; {}", self.world.ada.cookie, start.cookie()))
    }

    async fn to_callback(&self, id: &str) -> (String, String) {
        let (page, cookies) = self.start(&self.link(id).await).await;
        (path_of(&self.provider.browse(&page)), cookies)
    }

    async fn come_back(&self, path: &str, cookies: &str) -> Answer {
        self.world.app.get(path).header("cookie", cookies).send().await
    }

    async fn environment(&self, id: &str) -> Value {
        let found =
            self.world.app.get(&format!("/api/v1/credentials/{id}")).key(&self.world.ada.key).is(200).await;
        found.json()["environments"]["production"].clone()
    }

    fn exchanged(&self) -> u64 {
        self.provider.count("POST /token")
    }
}

both_scenes! {
    async fn an_answer_is_taken_once_from_its_own_browser(scene) {
        let id = scene.credential().await;
        let (path, cookies) = scene.to_callback(&id).await;
        let bob = scene.world.app.person("bob@example.org").await;
        let flow = cookies.split("; ").nth(1).unwrap().to_owned();
        for other in [scene.world.ada.cookie.clone(), format!("{}; {flow}", bob.cookie), flow.clone(), String::new()] {
            let refused = scene.come_back(&path, &other).await;
            assert_eq!(refused.status, 403, "{}", refused.text);
        }
        let other_value = format!("{}; {}", scene.world.ada.cookie, flow.replace('=', "=x"));
        assert_eq!(scene.come_back(&path, &other_value).await.status, 403);
        // Another token, none, two of them; another client's address.
        let tampered = path.replacen("oauth_token=", "oauth_token=A", 1);
        let doubled = format!("{path}&oauth_token=x");
        let other = scene.client("Another registration").await;
        let elsewhere = path.replacen(scene.client["id"].as_str().unwrap(), other["id"].as_str().unwrap(), 1);
        let no_client = path.replacen(scene.client["id"].as_str().unwrap(), "oac_nobody", 1);
        for wrong in [&tampered, &doubled, &elsewhere, &no_client, path.split('?').next().unwrap()] {
            assert_eq!(scene.come_back(wrong, &cookies).await.status, 400, "{wrong}");
        }
        assert_eq!(scene.exchanged(), 0, "the verifier was shown to nobody");
        assert_eq!(scene.environment(&id).await["status"], "needs_authorization");

        assert_eq!(scene.come_back(&path, &cookies).await.status, 200);
        assert_eq!(scene.come_back(&path, &cookies).await.status, 400, "replayed");
        assert_eq!(scene.exchanged(), 1);
        assert_eq!(scene.world.proxy_as_ada("photos/resource").await.json()["sub"], "alice");
        let refused = scene.world.app.recorded().await.iter().filter(|known| *known == "credential.authorize refused").count();
        assert!(refused >= 5, "tries are recorded: {refused}");
    }

    async fn a_verifier_of_somebody_elses_consent_is_of_no_use(scene) {
        // Mallory consents for ada's temporary credentials, or brings a verifier of her own (session fixation).
        let id = scene.credential().await;
        let (path, cookies) = scene.to_callback(&id).await;
        let (other, _) = scene.to_callback(&id).await;
        let verifier = |path: &str| path.split("oauth_verifier=").nth(1).unwrap().split('&').next().unwrap().to_owned();
        let mixed = path.replace(&verifier(&path), &verifier(&other));
        let refused = scene.come_back(&mixed, &cookies).await;
        assert_eq!(refused.status, 502, "{}", refused.text);
        assert!(refused.text.contains("did not exchange the consent"), "{}", refused.text);
        assert_eq!(scene.environment(&id).await["status"], "needs_authorization");
        assert_eq!(scene.come_back(&path, &cookies).await.status, 400, "and that flow is over");
        assert_eq!(scene.exchanged(), 1);
    }

    async fn many_at_once_make_one_token_request(scene) {
        let id = scene.credential().await;
        let (path, cookies) = scene.to_callback(&id).await;
        let all: Vec<_> = (0..20).map(|_| scene.come_back(&path, &cookies)).collect();
        let statuses: Vec<u16> = crate::consent::join_all(all.into_iter()).await.into_iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(scene.exchanged(), 1);
    }

    async fn ten_minutes_and_no_longer(scene) {
        let id = scene.credential().await;
        let link = scene.link(&id).await;
        let (path, cookies) = scene.to_callback(&id).await;
        scene.world.app.clock.advance_secs(600);
        let late = scene.come_back(&path, &cookies).await;
        assert_eq!(late.status, 410, "{}", late.text);
        let asked = scene.provider.count("POST /initiate");
        scene.world.app.get(&link).cookie(&scene.world.ada.cookie).is(410).await;
        assert_eq!((scene.exchanged(), scene.provider.count("POST /initiate")), (0, asked));
        assert_eq!(scene.environment(&id).await["authorization"]["code"], "consent_expired");
    }

    async fn a_link_is_for_whoever_asked_for_it(scene) {
        let id = scene.credential().await;
        let link = scene.link(&id).await;
        let bob = scene.world.app.person("bob@example.org").await;
        scene.world.app.get(&link).cookie(&bob.cookie).is(403).await;
        scene.world.app.get(&link).key(&scene.world.ada.key).is(403).await;
        assert_eq!(scene.provider.count("POST /initiate"), 0, "nobody is asked for them");
        // Opened again, what was given out before is void.
        let (first, cookies) = scene.start(&link).await;
        let (second, newer) = scene.start(&link).await;
        let stale = path_of(&scene.provider.browse(&first));
        assert_eq!(scene.come_back(&stale, &cookies).await.status, 400);
        let fresh = path_of(&scene.provider.browse(&second));
        assert_eq!(scene.come_back(&fresh, &newer).await.status, 200);
        assert_eq!(scene.exchanged(), 1);
    }

    async fn a_client_that_changes_its_server_wants_new_consent(scene) {
        let id = scene.credential().await;
        let (path, cookies) = scene.to_callback(&id).await;
        assert_eq!(scene.come_back(&path, &cookies).await.status, 200);
        let (path, cookies) = scene.to_callback(&id).await;
        let client = format!("/api/v1/oauth-clients/{}", scene.client["id"].as_str().unwrap());
        let port = scene.provider.authority().rsplit(':').next().unwrap().to_owned();
        let body = json!({
            "request_token_endpoint": format!("http://localhost:{port}/initiate"), "client_secret": OAuth1Provider::CONSUMER_SECRET,
            "hosts": [scene.provider.authority(), format!("localhost:{port}")],
        });
        scene.world.app.patch(&client, body).key(&scene.root.key).is(200).await;
        scene.provider.reset_counts();
        assert_eq!(scene.come_back(&path, &cookies).await.status, 400);
        assert_eq!(scene.exchanged(), 0);
        assert_eq!(scene.environment(&id).await["status"], "needs_reconnect");
    }
}
