//! An end user signs in at a provider to connect an account: what was saved waits for them, and goes when they do not come
//! back. The provider is the sandbox's; the browser is this file.

use latchstring_sandbox::DEMO;
use latchstring_testkit::http;
use serde_json::{Value, json};

use crate::app::{Answer, Call};
use crate::credentials_upstream::{Shop, both_shops};

const ORIGIN: &str = "https://app.example.org";

async fn client(shop: &Shop, name: &str) -> String {
    let root = shop.app.superuser(&format!("{name}@example.org")).await;
    let body = json!({
        "name": name, "connector": "sandbox", "client_id": DEMO.client_id, "client_secret": DEMO.client_secret,
        "client_auth": "basic", "hosts": [shop.sandbox.trim_start_matches("http://")],
        "mandatory_scopes": ["people:read"], "optional_scopes": ["people:write"], "projects": ["acme"],
    });
    let made = shop.app.post("/api/v1/oauth-clients", body).key(&root.key).is(201).await.json();
    made["id"].as_str().unwrap().to_owned()
}

fn body() -> Value {
    json!({
        "project": "acme", "connectors": ["sandbox"], "return_origin": ORIGIN, "end_user": {"id": "customer-17"},
        "external_id": "17",
    })
}

fn make<'a>(shop: &'a Shop, body: Value) -> Call<'a> {
    shop.app.post("/api/v1/connect-sessions", body).key(&shop.ada.key)
}

/// A session that is open in a browser.
struct Visit {
    /// The link's path, and the same by the session's id.
    path: String,
    known: String,
    cookie: String,
}

impl Visit {
    async fn open(shop: &Shop) -> Self {
        let made = make(shop, body()).is(201).await.json();
        let path = made["url"].as_str().unwrap().strip_prefix("http://127.0.0.1:5282").unwrap().to_owned();
        let cookie = shop.app.get(&path).is(200).await.cookie();
        Self { path, known: format!("/connect/{}", made["id"].as_str().unwrap()), cookie }
    }

    fn send<'a>(&self, shop: &'a Shop, method: &str, more: &[(&str, &str)]) -> Call<'a> {
        let mut form = vec![
            ("connector", "builtin/sandbox"),
            ("method", method),
            ("/values/default/base_url", shop.sandbox.as_str()),
        ];
        form.extend(more);
        shop.app.post(&self.path, json!({})).form(&form).cookie(&self.cookie)
    }

    /// Up to the provider's page: its address, and the flow's cookie.
    async fn leave(&self, shop: &Shop) -> (String, String) {
        let ready = self.send(shop, "authorization_code", &[]).is(200).await;
        let link = format!("{}/sign-in", self.known);
        assert!(ready.text.contains(&format!("href=\"{link}\"")), "{}", ready.text);
        assert!(!ready.text.contains(self.path.rsplit('/').next().unwrap()), "the link stays in its window");
        let start = shop.app.get(&link).cookie(&self.cookie).is(303).await;
        assert_eq!(start.header("cross-origin-opener-policy"), "unsafe-none");
        (start.header("location").to_owned(), start.cookie())
    }

    /// The end user's answer at the provider: path and query of the way back.
    async fn decide(&self, location: &str, answer: &str) -> String {
        let (location, form) = (location.to_owned(), format!("granted=people%3Aread&answer={answer}"));
        let back = tokio::task::spawn_blocking(move || http::post_form(&location, &[], &form)).await.unwrap();
        back.header("location").unwrap().strip_prefix("http://127.0.0.1:5282").unwrap().to_owned()
    }

    async fn progress(&self, shop: &Shop, origin: &str, status: u16) -> Answer {
        shop.app.get(&format!("{}/result", self.path)).header("origin", origin).is(status).await
    }
}

async fn list(shop: &Shop) -> Vec<Value> {
    let list = shop.app.get("/api/v1/credentials?project=acme").key(&shop.ada.key).is(200).await.json();
    list["items"].as_array().unwrap().clone()
}

both_shops! {
    async fn an_end_user_signs_in_and_is_connected(shop) {
        client(&shop, "sandbox").await;
        let visit = Visit::open(&shop).await;
        assert_eq!(visit.progress(&shop, ORIGIN, 200).await.json()["type"], "open");
        let form = shop.app.get(&format!("{}?connector=builtin%2Fsandbox&method=authorization_code", visit.path)).cookie(&visit.cookie).is(200).await;
        assert!(form.text.contains("Continue and sign in"), "{}", form.text);
        let (location, flow) = visit.leave(&shop).await;
        assert!(location.contains("scope=people%3Aread&") && !location.contains("people%3Awrite"), "{location}");
        let waits = list(&shop).await;
        assert_eq!(waits[0]["environments"]["default"]["status"], "needs_authorization", "{waits:?}");
        let away = visit.progress(&shop, ORIGIN, 200).await;
        assert_eq!(away.json()["type"], "signing_in");
        assert_eq!((away.header("access-control-allow-origin"), away.header("vary")), (ORIGIN, "origin"));

        let back = visit.decide(&location, "allow").await;
        let came = shop.app.get(&back).cookie(&flow).is(303).await;
        assert_eq!(came.header("location"), format!("{}/done", visit.known));
        // One answer that parts the window from the page that opened it parts them for good.
        assert_eq!(came.header("cross-origin-opener-policy"), "unsafe-none");
        let done = shop.app.get(came.header("location")).cookie(&visit.cookie).is(200).await;
        assert!(done.text.contains("Sandbox is connected") && done.text.contains(&format!("data-origin=\"{ORIGIN}\"")), "{}", done.text);

        let made = list(&shop).await;
        let id = made[0]["id"].as_str().unwrap();
        assert_eq!(made.len(), 1);
        let view = shop.app.get(&format!("/api/v1/credentials/{id}")).key(&shop.ada.key).is(200).await.json();
        assert_eq!((view["external_id"].as_str(), view["owner"]["type"].as_str()), (Some("17"), Some("project")));
        let one = &view["environments"]["default"];
        assert_eq!((one["status"].as_str(), one["account"].as_str()), (Some("verified"), Some(DEMO.subject)));
        let told = visit.progress(&shop, ORIGIN, 200).await.json();
        assert_eq!((told["type"].as_str(), told["credential"].as_str()), (Some("connected"), Some(id)));
        // Used up, and the provider's answer with it.
        shop.app.get(&visit.path).cookie(&visit.cookie).is(410).await;
        shop.app.get(&back).cookie(&flow).is(400).await;
        let told = shop.app.recorded().await;
        for wanted in ["connect_session.use ok", "credential.authorize ok"] {
            assert_eq!(told.iter().filter(|known| *known == wanted).count(), 1, "{wanted}: {told:?}");
        }
    }

    async fn who_says_no_can_begin_again(shop) {
        client(&shop, "sandbox").await;
        let visit = Visit::open(&shop).await;
        let (location, flow) = visit.leave(&shop).await;
        let back = visit.decide(&location, "deny").await;
        let came = shop.app.get(&back).cookie(&flow).is(303).await;
        assert_eq!(came.header("location"), format!("{}?back=1", visit.known));
        assert_eq!(came.header("cross-origin-opener-policy"), "unsafe-none");
        let page = shop.app.get(came.header("location")).cookie(&visit.cookie).is(200).await;
        assert!(page.text.contains("Nothing is connected yet") && page.text.contains("Continue and sign in"), "{}", page.text);
        assert!(!page.text.contains("from the credential"), "{}", page.text);
        assert_eq!(visit.progress(&shop, ORIGIN, 200).await.json()["type"], "open");

        // The first try goes with the second, its external id with it; the state of the first is worth nothing.
        let (location, flow) = visit.leave(&shop).await;
        assert_eq!(list(&shop).await.len(), 1);
        let back = visit.decide(&location, "allow").await;
        visit.send(&shop, "api_key", &[("/values/default/key", DEMO.api_key)]).is(303).await;
        shop.app.get(&back).cookie(&flow).is(400).await;
        let left = list(&shop).await;
        assert_eq!((left.len(), left[0]["auth_method"].as_str()), (1, Some("api_key")), "{left:?}");
    }

    async fn who_does_not_come_back_leaves_nothing(shop) {
        client(&shop, "sandbox").await;
        let visit = Visit::open(&shop).await;
        let (location, flow) = visit.leave(&shop).await;
        let back = visit.decide(&location, "allow").await;
        shop.app.clock.advance_secs(601);
        shop.app.get(&back).cookie(&flow).is(410).await;
        shop.app.broker.delete_due_credentials().await.unwrap();
        assert_eq!(list(&shop).await.len(), 1, "the session is still open");
        shop.app.clock.advance_secs(1800);
        shop.app.broker.delete_due_credentials().await.unwrap();
        assert_eq!(list(&shop).await, Vec::<Value>::new());
        visit.progress(&shop, ORIGIN, 410).await;
        // The name and the external id are free.
        let visit = Visit::open(&shop).await;
        visit.leave(&shop).await;
    }

    async fn what_a_person_has_connected_meanwhile_stays(shop) {
        client(&shop, "sandbox").await;
        let visit = Visit::open(&shop).await;
        visit.leave(&shop).await;
        let id = list(&shop).await[0]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/credentials/{id}/authorize");
        let begun = shop.app.post(&path, json!({"environment": "default"})).key(&shop.ada.key).is(200).await.json();
        let link = begun["authorize_url"].as_str().unwrap().strip_prefix("http://127.0.0.1:5282").unwrap().to_owned();
        let start = shop.app.get(&link).cookie(&shop.ada.cookie).is(303).await;
        let back = visit.decide(start.header("location"), "allow").await;
        shop.app.get(&back).cookie(&format!("{}; {}", shop.ada.cookie, start.cookie())).is(200).await;
        shop.app.clock.advance_secs(3600);
        shop.app.broker.delete_due_credentials().await.unwrap();
        assert_eq!(list(&shop).await[0]["id"], json!(id));
    }

    async fn only_its_own_browser_goes_and_comes_back(shop) {
        client(&shop, "sandbox").await;
        let visit = Visit::open(&shop).await;
        let unopened = make(&shop, {
            let mut other = body();
            other["external_id"] = json!("18");
            other
        })
        .is(201)
        .await
        .json();
        // The id opens nothing: it is no secret.
        shop.app.get(&format!("/connect/{}", unopened["id"].as_str().unwrap())).is(410).await;
        let (location, flow) = visit.leave(&shop).await;
        let link = format!("{}/sign-in", visit.known);
        for other in ["latchstring_connect_x=y".to_owned(), format!("{}x", visit.cookie), shop.ada.cookie.clone()] {
            shop.app.get(&link).cookie(&other).is(403).await;
        }
        let back = visit.decide(&location, "allow").await;
        for other in [visit.cookie.clone(), format!("{flow}x"), shop.ada.cookie.clone()] {
            shop.app.get(&back).cookie(&other).is(403).await;
        }
        for other in ["https://evil.example", "null", "", "https://app.example.org.evil.example"] {
            let refused = visit.progress(&shop, other, 410).await;
            assert_eq!(refused.header("access-control-allow-origin"), "");
        }
        let id = visit.known.rsplit('/').next().unwrap();
        shop.app.get(&format!("/connect/{id}/result")).header("origin", ORIGIN).is(410).await;
        // Its own is not bothered by any of that.
        shop.app.get(&back).cookie(&flow).is(303).await;
    }

    async fn of_several_clients_the_product_names_one(shop) {
        // None: the other methods are offered.
        make(&shop, body()).is(201).await;
        let (one, two) = (client(&shop, "one").await, client(&shop, "two").await);
        let refused = make(&shop, body()).is(422).await.json();
        assert_eq!(refused["errors"][0]["pointer"], "/connectors/0");
        let detail = refused["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(&one) && detail.contains(&two), "{detail}");
        let mut named = body();
        named["oauth_clients"] = json!(["oac_01k9x0000000000000000000zz", two]);
        let refused = make(&shop, named.clone()).is(422).await.json();
        assert_eq!(refused["errors"][0]["pointer"], "/oauth_clients/0");
        named["oauth_clients"] = json!([two]);
        let made = make(&shop, named).is(201).await.json();
        let path = made["url"].as_str().unwrap().strip_prefix("http://127.0.0.1:5282").unwrap().to_owned();
        let cookie = shop.app.get(&path).is(200).await.cookie();
        let visit = Visit { path, known: format!("/connect/{}", made["id"].as_str().unwrap()), cookie };
        let (location, flow) = visit.leave(&shop).await;
        assert!(location.contains(&format!("callback%2F{two}")), "{location}");
        let back = visit.decide(&location, "allow").await;
        shop.app.get(&back).cookie(&flow).is(303).await;
    }
}
