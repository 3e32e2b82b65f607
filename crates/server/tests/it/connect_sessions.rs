//! An end user connects an account on a page of this server: once, in one browser, for one project, told to one origin.

use latchstring_sandbox::DEMO;
use serde_json::{Value, json};

use crate::app::{Answer, Call};
use crate::credentials_upstream::{Shop, both_shops};

const SANDBOX: &str = "builtin/sandbox";

fn body() -> Value {
    json!({
        "project": "acme", "connectors": ["sandbox"], "return_origin": "https://app.example.org",
        "end_user": {"id": "customer-17", "tags": {"plan": "pro"}}, "external_id": "17",
    })
}

fn make<'a>(shop: &'a Shop, body: Value) -> Call<'a> {
    shop.app.post("/api/v1/connect-sessions", body).key(&shop.ada.key)
}

/// Its path.
async fn made(shop: &Shop, body: Value) -> String {
    let made = make(shop, body).is(201).await.json();
    made["url"].as_str().unwrap().strip_prefix("http://127.0.0.1:5282").unwrap().to_owned()
}

fn of_form(query: &str) -> String {
    format!("?connector={}{query}", "builtin%2Fsandbox")
}

/// Opened for the first time: the cookie that it left.
async fn opened(shop: &Shop, path: &str) -> String {
    shop.app.get(&format!("{path}{}", of_form("&method=api_key"))).is(200).await.cookie()
}

fn send<'a>(shop: &'a Shop, path: &str, cookie: &str, key: &str) -> Call<'a> {
    let form = [
        ("connector", SANDBOX),
        ("method", "api_key"),
        ("/values/default/base_url", shop.sandbox.as_str()),
        ("/values/default/key", key),
    ];
    shop.app.post(path, json!({})).form(&form).cookie(cookie)
}

fn looks_over(answer: &Answer) {
    assert!(answer.text.contains("This link is not valid"), "{}", answer.text);
}

both_shops! {
    async fn an_account_is_connected_once(shop) {
        let account = json!({"name": "shop", "scope": "manage"});
        let account = shop.app.post("/api/v1/projects/acme/api-keys", account).key(&shop.ada.key).is(201).await.json();
        let session = make(&shop, body()).key(account["key"].as_str().unwrap()).is(201).await.json();
        assert_eq!(session["expires_at"], shop.app.broker.now().plus_secs(1800).to_rfc3339());
        let path = session["url"].as_str().unwrap().strip_prefix("http://127.0.0.1:5282").unwrap().to_owned();
        let token = path.rsplit('/').next().unwrap().to_owned();
        // Nothing but a hash of it lies in the database, and nothing of it in the trail.
        assert!(shop.app.records().await.iter().all(|record| !format!("{record:?}").contains(&token)));

        let first = shop.app.get(&path).is(200).await;
        let cookie = first.cookie();
        assert!(first.header("set-cookie").contains("; Path=/connect/; HttpOnly; SameSite=Lax; Max-Age=1800"), "{}", first.header("set-cookie"));
        assert!(first.text.contains("How do you want to connect Sandbox?") && !first.text.contains(&token), "{}", first.text);
        // It opens in a window that knows of the one that opened it, and in no frame.
        assert_eq!(first.header("cross-origin-opener-policy"), "unsafe-none");
        assert_eq!(first.header("x-frame-options"), "DENY");
        assert!(first.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(shop.app.get("/sign-in").is(200).await.header("cross-origin-opener-policy"), "same-origin");

        let form = shop.app.get(&format!("{path}{}", of_form("&method=api_key"))).cookie(&cookie).is(200).await;
        assert!(form.text.contains("https://app.example.org alone") && !form.text.contains(&token), "{}", form.text);
        let wrong = send(&shop, &path, &cookie, "a-wrong-key").is(422).await;
        assert!(wrong.text.contains("Sandbox does not accept it") && !wrong.text.contains("a-wrong-key"), "{}", wrong.text);
        let done = send(&shop, &path, &cookie, DEMO.api_key).is(303).await;
        assert_eq!(done.header("location"), format!("{path}/done"));
        let end = shop.app.get(done.header("location")).cookie(&cookie).is(200).await;
        assert_eq!(end.header("cross-origin-opener-policy"), "unsafe-none");
        assert!(end.text.contains("Sandbox is connected") && end.text.contains("data-origin=\"https://app.example.org\""), "{}", end.text);
        assert!(!end.text.contains(DEMO.api_key));

        let list = shop.app.get("/api/v1/credentials?project=acme").key(&shop.ada.key).is(200).await.json();
        let one = &list["items"][0];
        assert_eq!((one["owner"]["type"].as_str(), one["connector"].as_str()), (Some("project"), Some("sandbox")));
        assert!(end.text.contains(one["id"].as_str().unwrap()) && end.text.contains(session["id"].as_str().unwrap()));
        let view = shop.app.get(&format!("/api/v1/credentials/{}", one["id"].as_str().unwrap())).key(&shop.ada.key).is(200).await.json();
        assert_eq!((view["external_id"].as_str(), view["note"].as_str()), (Some("17"), Some("End user: customer-17\nplan: pro")));
        assert_eq!(view["shares"][0]["grants"], json!({"production": "default", "staging": "default"}));
        assert_eq!(view["environments"]["default"]["status"], "verified");

        // Used up: the form is gone, and a second try saves nothing.
        looks_over(&shop.app.get(&path).cookie(&cookie).is(410).await);
        looks_over(&send(&shop, &path, &cookie, DEMO.api_key).is(410).await);
        let list = shop.app.get("/api/v1/credentials?project=acme").key(&shop.ada.key).is(200).await.json();
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
        let told = shop.app.recorded().await;
        for wanted in ["connect_session.create ok", "connect_session.use ok", "credential.create ok"] {
            assert!(told.contains(&wanted.to_owned()), "{wanted}: {told:?}");
        }
    }

    async fn the_first_browser_has_it(shop) {
        let path = made(&shop, body()).await;
        let cookie = opened(&shop, &path).await;
        let before = shop.app.recorded().await.len();
        for other in ["", "latchstring_connect_x=y", &format!("{}x", cookie)] {
            let call = |path: &str| if other.is_empty() { shop.app.get(path) } else { shop.app.get(path).cookie(other) };
            let refused = call(&path).is(403).await;
            assert!(refused.text.contains("opened in another browser"), "{}", refused.text);
            call(&format!("{path}/done")).is(403).await;
            send(&shop, &path, other, DEMO.api_key).is(403).await;
        }
        assert!(shop.app.recorded().await.len() > before, "refused tries are recorded");
        // Its own is not bothered by that.
        send(&shop, &path, &cookie, DEMO.api_key).is(303).await;
        // A form that nobody has seen does not open it either.
        let mut other = body();
        other["external_id"] = json!("18");
        let path = made(&shop, other).await;
        send(&shop, &path, "", DEMO.api_key).is(404).await;
    }

    async fn another_site_sends_no_form(shop) {
        let path = made(&shop, body()).await;
        let cookie = opened(&shop, &path).await;
        for site in ["cross-site", "same-site", "none"] {
            let forged = send(&shop, &path, &cookie, DEMO.api_key).header("sec-fetch-site", site).is(403).await;
            assert!(forged.text.contains("cross_origin") || forged.text.contains("came from elsewhere"), "{}", forged.text);
        }
        let list = shop.app.get("/api/v1/credentials?project=acme").key(&shop.ada.key).is(200).await.json();
        assert_eq!(list["items"], json!([]));
        send(&shop, &path, &cookie, DEMO.api_key).is(303).await;
    }

    async fn it_ends_with_whoever_made_it(shop) {
        let account = json!({"name": "shop", "scope": "manage"});
        let account = shop.app.post("/api/v1/projects/acme/api-keys", account).key(&shop.ada.key).is(201).await.json();
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "admin").await;
        let mut opened = Vec::new();
        for key in [account["key"].as_str().unwrap(), &bob.key] {
            let made = make(&shop, body()).key(key).is(201).await.json();
            let path = made["url"].as_str().unwrap().strip_prefix("http://127.0.0.1:5282").unwrap().to_owned();
            let cookie = shop.app.get(&path).is(200).await.cookie();
            opened.push((path, cookie));
        }
        let path = format!("/api/v1/projects/acme/api-keys/{}", account["id"].as_str().unwrap());
        shop.app.delete(&path).key(&shop.ada.key).is(204).await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        for (path, cookie) in opened {
            looks_over(&send(&shop, &path, &cookie, DEMO.api_key).is(410).await);
            looks_over(&shop.app.get(&path).cookie(&cookie).is(410).await);
        }
    }

    async fn it_ends_by_time_and_by_tries(shop) {
        let path = made(&shop, body()).await;
        let cookie = opened(&shop, &path).await;
        shop.app.clock.advance_secs(1799);
        shop.app.get(&path).cookie(&cookie).is(200).await;
        shop.app.clock.advance_secs(1);
        looks_over(&shop.app.get(&path).cookie(&cookie).is(410).await);
        looks_over(&send(&shop, &path, &cookie, DEMO.api_key).is(410).await);
        looks_over(&shop.app.get("/connect/nonsense").is(410).await);

        let path = made(&shop, body()).await;
        let cookie = opened(&shop, &path).await;
        for _ in 0..20 {
            send(&shop, &path, &cookie, "a-wrong-key").is(422).await;
        }
        let over = send(&shop, &path, &cookie, DEMO.api_key).is(410).await;
        assert!(over.text.contains("tried 20 times"), "{}", over.text);
    }

    async fn of_two_at_once_one_is_connected(shop) {
        let path = made(&shop, body()).await;
        let cookie = opened(&shop, &path).await;
        let (one, two) = tokio::join!(
            send(&shop, &path, &cookie, DEMO.api_key).send(),
            send(&shop, &path, &cookie, DEMO.read_only_api_key).send()
        );
        let mut both = [one.status, two.status];
        both.sort_unstable();
        assert!(both[0] == 303 && both[1] >= 400, "{both:?}");
        let list = shop.app.get("/api/v1/credentials?project=acme").key(&shop.ada.key).is(200).await.json();
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
    }

    async fn what_is_typed_is_no_template(shop) {
        // The value would be right, if a stranger could name the project's secret.
        for environment in ["staging", "production"] {
            let path = format!("/api/v1/projects/acme/environments/{environment}/secrets/planted");
            shop.app.put(&path, json!({"value": DEMO.api_key})).key(&shop.ada.key).is(204).await;
        }
        let path = made(&shop, body()).await;
        let cookie = opened(&shop, &path).await;
        let refused = send(&shop, &path, &cookie, "{{ get_secret('planted') }}").is(422).await;
        assert!(refused.text.contains("Sandbox does not accept it"), "{}", refused.text);
    }

    async fn only_what_was_allowed_is_offered(shop) {
        let path = made(&shop, body()).await;
        let cookie = opened(&shop, &path).await;
        for query in ["?connector=builtin%2Fhttp", "?connector=builtin%2Fgithub", &of_form("&method=authorization_code")] {
            shop.app.get(&format!("{path}{query}")).cookie(&cookie).is(404).await;
        }
        for (connector, method) in [("builtin/http", "bearer"), ("builtin/airtable", "api_key"), (SANDBOX, "authorization_code"), (SANDBOX, "")] {
            let form = [("connector", connector), ("method", method), ("/values/default/key", DEMO.api_key)];
            shop.app.post(&path, json!({})).form(&form).cookie(&cookie).is(404).await;
        }
    }

    async fn who_may_ask_for_one_and_for_what(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        make(&shop, body()).key(&bob.key).is(403).await;
        let service = shop.app.service_key(&shop.ada, "acme", json!({})).await;
        make(&shop, body()).key(service["key"].as_str().unwrap()).is(403).await;
        let eve = shop.app.person("eve@example.org").await;
        let foreign = make(&shop, body()).key(&eve.key).is(404).await;
        let mut none = body();
        none["project"] = json!("nowhere");
        assert_eq!(foreign.text, make(&shop, none).key(&eve.key).is(404).await.text);
        for (pointer, name, value) in [
            ("/return_origin", "return_origin", json!("https://app.example.org/")),
            ("/return_origin", "return_origin", json!("http://app.example.org")),
            ("/return_origin", "return_origin", json!("null")),
            ("/return_origin", "return_origin", json!("*")),
            ("/connectors", "connectors", json!([])),
            ("/connectors/0", "connectors", json!(["http"])),
            ("/connectors/0", "connectors", json!(["raw"])),
            ("/connectors/1", "connectors", json!(["sandbox", "builtin/sandbox"])),
            ("/connectors/0", "connectors", json!(["nothing-of-that-name"])),
            ("/environments/0", "environments", json!(["moon"])),
            ("/environments", "environments", json!([])),
            ("/end_user/id", "end_user", json!({"id": " "})),
            ("/end_user/tags/n", "end_user", json!({"id": "x", "tags": {"n": 1}})),
        ] {
            let mut wrong = body();
            wrong[name] = value;
            let answer = make(&shop, wrong).is(422).await.json();
            assert_eq!(answer["errors"][0]["pointer"], pointer, "{answer}");
        }
    }

    async fn programs_and_people_are_told(shop) {
        let hook = json!({"url": format!("{}/hook", shop.up.url), "events": ["credential.connected"]});
        shop.app.post("/api/v1/projects/acme/webhooks", hook).key(&shop.ada.key).is(201).await;
        let path = made(&shop, body()).await;
        let cookie = opened(&shop, &path).await;
        send(&shop, &path, &cookie, DEMO.api_key).is(303).await;
        for delivery in shop.app.broker.deliver_notices().await.unwrap() {
            delivery.await.unwrap();
        }
        let came = shop.up.seen("/hook");
        assert_eq!(came.len(), 1);
        assert!(came[0].headers.get("webhook-signature").unwrap().to_str().unwrap().starts_with("v1,"));
        let told: Value = serde_json::from_str(&came[0].body).unwrap();
        assert_eq!((told["type"].as_str(), told["data"]["end_user"].clone()), (Some("credential.connected"), json!({"id": "customer-17", "tags": {"plan": "pro"}})));
        assert!(told["data"]["connect_session"].as_str().unwrap().starts_with("cns_"));
        let inbox = shop.app.get("/api/v1/me/notices").key(&shop.ada.key).is(200).await.json();
        assert_eq!(inbox["items"][0]["event"], "credential.connected");
    }

    async fn the_script_is_for_other_origins(shop) {
        let script = shop.app.get("/connect.js").header("origin", "https://app.example.org").is(200).await;
        assert_eq!(script.header("access-control-allow-origin"), "*");
        assert_eq!(script.header("cross-origin-resource-policy"), "cross-origin");
        assert!(script.header("content-type").starts_with("text/javascript") && script.text.contains("event.origin !== HOME"));
        // Nothing else here is.
        let page = shop.app.get("/sign-in").is(200).await;
        assert_eq!((page.header("access-control-allow-origin"), page.header("cross-origin-resource-policy")), ("", "same-origin"));
    }
}
