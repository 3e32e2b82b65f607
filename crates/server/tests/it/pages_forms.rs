//! Forms as a browser without scripts sends them: what they do, read back through the API; what is refused, with what
//! was typed still there; and that none leads to another site.

use latchstring_sandbox::DEMO;
use serde_json::{Value, json};

use crate::app::{Answer, Call, PASSWORD, Somebody, TestApp, both};
use crate::credentials_upstream::{Shop, Upstream, both_shops};
use crate::oauth_clients::{any_server, with};

/// A form of our own page.
fn send<'a>(app: &'a TestApp, path: &str, who: &Somebody, form: &[(&str, &str)]) -> Call<'a> {
    app.post(path, json!({})).form(form).cookie(&who.cookie)
}

/// The page that a browser is sent to, with what it says of what was done.
async fn follows(app: &TestApp, who: &Somebody, done: &Answer) -> String {
    assert_eq!(done.status, 303, "{}", done.text);
    let set = done.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let said =
        set.filter_map(|cookie| cookie.split(';').next()).find(|pair| pair.starts_with("latchstring_said="));
    let cookies =
        format!("{}; {}", who.cookie, said.unwrap_or_else(|| panic!("nothing is said: {:?}", done.headers)));
    app.get(done.header("location")).cookie(&cookies).is(200).await.text
}

#[track_caller]
fn told<'p>(page: &'p str, texts: &[&str]) -> &'p str {
    for text in texts {
        assert!(page.contains(text), "{text}: {page}");
    }
    page
}

#[track_caller]
fn is_page(answer: &Answer) -> &str {
    assert!(answer.header("content-type").starts_with("text/html"), "{}", answer.text);
    &answer.text
}

/// What stands in a hidden field of a page.
#[track_caller]
fn hidden(page: &str, name: &str) -> String {
    let begin = format!("<input type=\"hidden\" name=\"{name}\" value=\"");
    let rest = page.split(&begin).nth(1).unwrap_or_else(|| panic!("{name} is not in {page}"));
    rest.split('"').next().unwrap().to_owned()
}

/// What a field has before anybody types.
#[track_caller]
fn filled(page: &str, name: &str) -> String {
    let (before, rest) =
        page.split_once(&format!(" name=\"{name}\"")).unwrap_or_else(|| panic!("no {name}: {page}"));
    let (tag, after) = rest.split_once('>').unwrap();
    let value = match before.rsplit('<').next().unwrap().starts_with("textarea") {
        true => after.split("</textarea>").next(),
        false => tag.split_once(" value=\"").and_then(|(_, value)| value.split('"').next()),
    };
    value.unwrap_or_default().trim().to_owned()
}

/// Where a link with these words leads.
#[track_caller]
fn link(page: &str, words: &str) -> String {
    let before = page.split(&format!("{words}</a>")).next().filter(|before| before.len() < page.len());
    let before = before.unwrap_or_else(|| panic!("no link {words}: {page}"));
    let href = before.rsplit("<a ").next().unwrap().split("href=\"").nth(1).unwrap();
    href.split('"').next().unwrap().replace("&#38;", "&")
}

fn id(made: &Value) -> &str {
    made["id"].as_str().unwrap()
}

/// Of the credential, as a form of its pages has it.
async fn version(shop: &Shop, made: &Value) -> String {
    shop.read(made).await.header("etag").trim_matches('"').to_owned()
}

/// A connector of a project's own that goes to `base`.
fn definition(base: &str) -> String {
    format!(
        "id: shop\nname: Shop\nallow_http: true\nbase_url: {base}\nauth_methods:\n  key:\n    label: Key\n    fields:\n      token: {{type: text, secret: true}}\n    scheme: {{type: bearer, token: '{{{{ token }}}}'}}\nverify: {{get: /me}}\n"
    )
}

both_shops! {
    async fn a_slug_that_was_anothers_is_told_beside_its_field(shop) {
        let hers = shop.create(shop.bearer("Hers", "planted-bearer-token-1")).is(201).await.json();
        shop.patch(&hers, json!({"shares": []})).is(200).await;
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let form = [
            ("connector", "sandbox"), ("method", "api_key"), ("name", "Bobs"), ("slug", "hers"), ("sets", "one"),
            ("/values/default/base_url", shop.sandbox.as_str()), ("/values/default/key", DEMO.api_key),
        ];
        let refused = send(&shop.app, "/projects/acme/credentials/new", &bob, &form).send().await;
        assert_eq!(refused.status, 403, "{}", refused.text);
        told(is_page(&refused), &["href=\"#f-slug\"", "belonged to another credential", "value=\"hers\""]);
        let listed = shop.app.get("/api/v1/credentials").key(&bob.key).is(200).await.json();
        assert_eq!(listed["items"], json!([]), "nothing was saved");
    }

    async fn a_credential_of_ones_own_is_made(shop) {
        let form = |key: &'static str| {
            vec![
                ("connector", "sandbox"), ("method", "api_key"), ("name", "My \"own\" key"), ("/values/default/base_url", ""),
                ("/values/default/key", key), ("note", "Ask Grace."), ("acts_as", ""), ("expires_on", "2030-01-31"),
            ]
        };
        let empty = shop.app.get("/credentials/new?connector=sandbox&method=api_key").cookie(&shop.ada.cookie).is(200).await;
        assert!(empty.text.contains("action=\"/credentials/new\"") && !empty.text.contains("Use it in"), "no project is in it: {}", empty.text);
        let mut wrong = form("a-wrong-key");
        wrong[3].1 = shop.sandbox.as_str();
        let refused = send(&shop.app, "/credentials/new", &shop.ada, &wrong).is(422).await;
        told(is_page(&refused), &[
            "Sandbox does not accept it", "value=\"My &#34;own&#34; key\"", "Ask Grace.</textarea>", "value=\"2030-01-31\"",
            "Type it once more", "Nothing was saved.",
        ]);
        assert!(!refused.text.contains("a-wrong-key"));
        assert_eq!(shop.count().await, 0);
        let mut late = wrong.clone();
        late[7].1 = "tomorrow";
        let refused = send(&shop.app, "/credentials/new", &shop.ada, &late).is(422).await;
        told(is_page(&refused), &["A day such as 2027-01-31", "href=\"#f-expires_on\"", "value=\"My &#34;own&#34; key\""]);

        let mut right = form(DEMO.api_key);
        right[3].1 = shop.sandbox.as_str();
        let done = send(&shop.app, "/credentials/new", &shop.ada, &right).is(303).await;
        told(&follows(&shop.app, &shop.ada, &done).await, &["The credential works and is saved.", "No project may use it yet."]);
        let list = shop.app.get("/api/v1/credentials").key(&shop.ada.key).is(200).await.json();
        let made = &list["items"][0];
        assert_eq!(done.header("location"), format!("/credentials/{}", id(made)));
        assert_eq!((made["name"].as_str(), made["shares"].clone()), (Some("My \"own\" key"), json!([])));
        let made = shop.read(made).await.json();
        assert_eq!((made["note"].as_str(), made["environments"]["default"]["status"].as_str()), (Some("Ask Grace."), Some("verified")));
        assert_eq!(made["expires_on"], "2030-01-31T00:00:00.000Z");
    }

    async fn a_connector_is_made_changed_approved_and_deleted(shop) {
        let (base, app, ada) = ("/projects/acme/connectors", &shop.app, &shop.ada);
        let source = definition(&shop.up.url);
        let wrong = source.replace("base_url", "base_ulr");
        let refused = send(app, base, ada, &[("source", &wrong)]).is(422).await;
        told(is_page(&refused), &["In these lines", "Line 4", "did you mean", "base_ulr: http"]);
        // Browsers end lines as mail does.
        let done = send(app, base, ada, &[("source", &source.replace('\n', "\r\n"))]).is(303).await;
        told(&follows(app, ada, &done).await, &["The connector is saved.", "Shop", "Change it"]);
        let path = "/api/v1/connectors/shop?project=acme";
        assert_eq!(app.get(path).key(&ada.key).is(200).await.json()["source"], source.as_str());
        let made = shop.create(json!({
            "name": "S", "connector": "shop", "auth_method": "key", "values": {"production": {"token": "planted-shop-token"}},
            "shares": [{"project": "acme", "grants": {"production": "production"}}],
        })).is(201).await.json();

        let edit = format!("{base}/shop/edit");
        let open = app.get(&edit).cookie(&ada.cookie).is(200).await;
        assert!(open.text.contains("id: shop"), "{}", open.text);
        let seen = hidden(&open.text, "version");
        let elsewhere = Upstream::start().await;
        let moved = definition(&elsewhere.url);
        let refused = send(app, &edit, ada, &[("version", &seen), ("source", &moved.replace("verify:", "verifies:"))]).is(422).await;
        told(is_page(&refused), &["In these lines", "verifies: {get: /me}"]);
        let changed = send(app, &edit, ada, &[("version", &seen), ("source", &moved)]).is(303).await;
        told(&follows(app, ada, &changed).await, &["The connector is saved."]);
        assert_eq!(app.get(path).key(&ada.key).is(200).await.json()["source"], moved.as_str());
        // Somebody else's change in between is not overwritten, and what was typed is still there.
        let late = send(app, &edit, ada, &[("version", &seen), ("source", &moved.replace("name: Shop", "name: My late change"))]).is(412).await;
        told(is_page(&late), &["name: My late change"]);

        // Its owner looks at the change before anything is sent there.
        let overview = format!("/credentials/{}?project=acme", id(&made));
        let waits = app.get(&overview).cookie(&ada.cookie).is(200).await;
        let approve = format!("/credentials/{}/approve?project=acme", id(&made));
        told(&waits.text, &["Its connector was changed", &format!("href=\"{approve}\"")]);
        assert_eq!(shop.verify(&made, "production").is(409).await.code(), "connector_changed");
        let look = app.get(&approve).cookie(&ada.cookie).is(200).await;
        told(&look.text, &["Until now", "From now on", &shop.up.url, &elsewhere.url]);
        let digest = hidden(&look.text, "digest");
        let stale = send(app, &approve, ada, &[("digest", "of-something-else")]).is(412).await;
        assert_eq!(hidden(is_page(&stale), "digest"), digest, "it is to be looked at once more");
        assert_eq!(elsewhere.asked(), 0);
        // The new place refuses the token: nothing is approved, and its answer stands beside the form.
        elsewhere.json("/me", 401, json!({"error": "who are you"}));
        let refused = send(app, &approve, ada, &[("digest", &digest)]).is(422).await;
        told(is_page(&refused), &["who are you"]);
        assert_eq!(shop.verify(&made, "production").is(409).await.code(), "connector_changed");
        elsewhere.json("/me", 200, json!({"ok": true}));
        let done = send(app, &approve, ada, &[("digest", &digest)]).is(303).await;
        let page = follows(app, ada, &done).await;
        told(&page, &["You approved the connector as it is now.", &elsewhere.url]);
        assert!(!page.contains("Its connector was changed"), "{page}");
        assert_eq!(shop.verify(&made, "production").is(200).await.json()["status"], "verified");

        // One that is used stays.
        let delete = format!("{base}/shop/delete");
        let used = send(app, &delete, ada, &[]).header("accept", "text/html").is(409).await;
        is_page(&used);
        app.get(path).key(&ada.key).is(200).await;
        let bob = app.person("bob@example.org").await;
        app.member(ada, "acme", &bob, "editor").await;
        app.delete(&shop.at(&made, "?purge=true")).key(&ada.key).is(204).await;
        send(app, &delete, &bob, &[]).is(403).await;
        let gone = send(app, &delete, ada, &[]).is(303).await;
        told(&follows(app, ada, &gone).await, &["The connector is deleted."]);
        app.get(path).key(&ada.key).is(404).await;
    }

    async fn a_credential_is_deleted_and_purged(shop) {
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let path = |what: &str| format!("/credentials/{}/{what}", id(&made));
        let first = version(&shop, &made).await;
        let scheduled = send(&shop.app, &path("delete"), &shop.ada, &[("version", &first)]).is(303).await;
        told(&follows(&shop.app, &shop.ada, &scheduled).await, &["scheduled for deletion", "Delete for good now"]);
        assert!(shop.read(&made).await.json()["deletes_at"].is_string());
        // Of something else than what was looked at: nothing happens.
        let stale = send(&shop.app, &path("purge"), &shop.ada, &[("version", &first)]).is(412).await;
        is_page(&stale);
        let now = version(&shop, &made).await;
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "admin").await;
        let other = send(&shop.app, &path("purge"), &bob, &[("version", &now)]).send().await;
        assert!(matches!(other.status, 403 | 404), "{}", other.text);
        shop.read(&made).await;
        let done = send(&shop.app, &path("purge"), &shop.ada, &[("version", &now)]).is(303).await;
        assert_eq!(done.header("location"), "/credentials");
        told(&follows(&shop.app, &shop.ada, &done).await, &["The credential is deleted for good."]);
        shop.app.get(&shop.at(&made, "")).key(&shop.ada.key).is(404).await;
    }

    async fn a_new_place_is_accepted_and_a_share_withdrawn(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let body = shop.bearer("Bobs API", "planted-bearer-token-1");
        let made = shop.app.post("/api/v1/credentials", body).key(&bob.key).is(201).await.json();
        let elsewhere = Upstream::start().await;
        let moved = json!({"values": {"production": {"base_url": elsewhere.url}}});
        shop.app.patch(&shop.at(&made, ""), moved).key(&bob.key).is(200).await;
        let overview = format!("/credentials/{}?project=acme", id(&made));
        let accept = format!("/projects/acme/credentials/{}/accept", id(&made));
        let hers = shop.app.get(&overview).cookie(&shop.ada.cookie).is(200).await;
        told(&hers.text, &["It would go to a new place", &elsewhere.url, &format!("action=\"{accept}\"")]);
        let his = shop.app.get(&overview).cookie(&bob.cookie).is(200).await;
        assert!(his.text.contains("It would go to a new place") && !his.text.contains(&accept), "{}", his.text);
        let seen = hidden(hers.text.split(&accept).nth(1).unwrap(), "version");
        let suspended = async || shop.app.get(&shop.at(&made, "")).key(&bob.key).is(200).await.json()["shares"][0]["suspended"].clone();
        send(&shop.app, &accept, &bob, &[("version", &seen)]).is(403).await;
        send(&shop.app, &accept, &shop.ada, &[("version", "1")]).is(412).await;
        assert_eq!(suspended().await, true);
        let done = send(&shop.app, &accept, &shop.ada, &[("version", &seen)]).is(303).await;
        let page = follows(&shop.app, &shop.ada, &done).await;
        told(&page, &["The new destination is accepted."]);
        assert!(!page.contains("It would go to a new place"), "{page}");
        assert_eq!(suspended().await, false);

        let withdraw = format!("/projects/acme/credentials/{}/withdraw", id(&made));
        told(&page, &[&format!("action=\"{withdraw}\""), "Stop using it here", "What stops with it:", "calls in staging, production"]);
        send(&shop.app, &withdraw, &bob, &[]).is(403).await;
        let done = send(&shop.app, &withdraw, &shop.ada, &[]).is(303).await;
        told(&follows(&shop.app, &shop.ada, &done).await, &["The project no longer uses that credential."]);
        let his = shop.app.get(&shop.at(&made, "")).key(&bob.key).is(200).await.json();
        assert_eq!(his["shares"], json!([]));
        shop.app.get(&shop.at(&made, "")).key(&shop.ada.key).is(404).await;
    }

    async fn values_are_added_and_removed(shop) {
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let path = |below: &str| format!("/credentials/{}/values{below}?project=acme", id(&made));
        let base = shop.up.url.clone();
        let seen = version(&shop, &made).await;
        let form = |name: &str| {
            let fields = [
                ("version", seen.as_str()), ("environment", name), ("/values/new/base_url", base.as_str()),
                ("/values/new/token", "planted-test-token"), ("/values/new/test_path", "/me"),
            ];
            send(&shop.app, &path(""), &shop.ada, &fields)
        };
        for (name, says) in [("", "Give it a name"), ("production", "There are values for it already")] {
            let refused = form(name).is(422).await;
            told(is_page(&refused), &[says, &format!("value=\"{base}\""), "value=\"/me\"", "Type it once more"]);
            assert!(!refused.text.contains("planted-test-token"));
        }
        let done = form("test").is(303).await;
        told(&follows(&shop.app, &shop.ada, &done).await, &["The change is saved.", "Change sharing"]);
        let environments = async || shop.read(&made).await.json()["environments"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(environments().await, ["production", "test"]);

        let now = version(&shop, &made).await;
        // What an environment of a project uses stays.
        let used = send(&shop.app, &path("/production/remove"), &shop.ada, &[("version", &now)]).is(409).await;
        told(is_page(&used), &["granted to environments of projects", "Nothing was removed."]);
        send(&shop.app, &path("/test/remove"), &shop.ada, &[("version", &seen)]).is(412).await;
        assert_eq!(environments().await, ["production", "test"]);
        let done = send(&shop.app, &path("/test/remove"), &shop.ada, &[("version", &now)]).is(303).await;
        told(&follows(&shop.app, &shop.ada, &done).await, &["The change is saved."]);
        assert_eq!(environments().await, ["production"]);
    }

    async fn a_webhook_through_its_whole_life(shop) {
        let (app, ada, base) = (&shop.app, &shop.ada, "/projects/acme/webhooks");
        let refused = send(app, base, ada, &[("url", "no address"), ("description", "Pager"), ("event", "credential.failing")]).is(422).await;
        told(is_page(&refused), &["value=\"no address\"", "value=\"Pager\"", "value=\"credential.failing\" checked", "href=\"#f-url\""]);
        let hook = format!("{}/hook", shop.up.url);
        let made = send(app, base, ada, &[("url", &hook), ("description", "Pager"), ("event", "credential.failing")]).is(201).await;
        let secret = |page: &str| page.split("<code id=\"secret\"").nth(1).unwrap().split(['>', '<']).nth(1).unwrap().to_owned();
        let first = secret(told(is_page(&made), &["It is shown now and never again"]));
        let list = app.get("/api/v1/projects/acme/webhooks").key(&ada.key).is(200).await.json();
        let one = list["items"][0].clone();
        assert_eq!((one["url"].as_str(), one["events"].clone()), (Some(hook.as_str()), json!(["credential.failing"])));
        let (path, api) = (format!("{base}/{}", id(&one)), format!("/api/v1/projects/acme/webhooks/{}", id(&one)));
        let read = async || app.get(&api).key(&ada.key).is(200).await.json();
        let open = async || app.get(&path).cookie(&ada.cookie).is(200).await.text;
        let shown = open().await;
        assert!(!shown.contains(&first), "{shown}");
        let seen = hidden(&shown, "version");

        let wrong = send(app, &path, ada, &[("version", &seen), ("url", "gopher://x"), ("description", "Another word")]).is(422).await;
        told(is_page(&wrong), &["value=\"gopher://x\"", "value=\"Another word\"", "aria-invalid=\"true\""]);
        let done = send(app, &path, ada, &[("version", &seen), ("url", &hook), ("description", "Phone")]).is(303).await;
        told(&follows(app, ada, &done).await, &["The webhook is saved.", "value=\"Phone\""]);
        assert_eq!((read().await["description"].as_str().map(str::to_owned), read().await["events"].clone()), (Some("Phone".to_owned()), json!([])));
        let late = send(app, &path, ada, &[("version", &seen), ("url", &hook), ("description", "Late")]).is(412).await;
        told(is_page(&late), &["value=\"Late\""]);

        let now = hidden(&open().await, "version");
        let off = send(app, &format!("{path}/switch"), ada, &[("version", &now), ("to", "off")]).is(303).await;
        told(&follows(app, ada, &off).await, &["The webhook is saved.", "Turn on"]);
        assert_eq!(read().await["disabled"], true);
        let now = hidden(&open().await, "version");
        send(app, &format!("{path}/switch"), ada, &[("version", &now), ("to", "on")]).is(303).await;
        assert_eq!(read().await["disabled"], false);

        let rotated = send(app, &format!("{path}/rotate"), ada, &[]).is(201).await;
        assert_ne!(secret(is_page(&rotated)), first);
        assert!(read().await["old_secret_until"].is_string());

        // Something is told, and told once more.
        let credential = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        shop.up.json("/me", 401, json!({}));
        for _ in 0..2 {
            shop.verify(&credential, "production").is(200).await;
            app.clock.advance_millis(10);
        }
        let turn = async || {
            for delivery in app.broker.deliver_notices().await.unwrap() {
                delivery.await.unwrap();
            }
        };
        turn().await;
        turn().await;
        assert_eq!(shop.up.seen("/hook").len(), 1);
        let shown = open().await;
        told(&shown, &["credential.failing", "1 try", "Send again"]);
        let again = shown.split("action=\"").filter_map(|part| part.split('"').next()).find(|action| action.contains("/redeliver/")).unwrap().to_owned();
        let bob = app.person("bob@example.org").await;
        app.member(ada, "acme", &bob, "editor").await;
        send(app, &again, &bob, &[]).is(403).await;
        let done = send(app, &again, ada, &[]).is(303).await;
        told(&follows(app, ada, &done).await, &["The delivery is in the queue once more."]);
        turn().await;
        assert_eq!(shop.up.seen("/hook").len(), 2);

        send(app, &format!("{path}/delete"), &bob, &[]).is(403).await;
        let done = send(app, &format!("{path}/delete"), ada, &[]).is(303).await;
        told(&follows(app, ada, &done).await, &["The webhook is deleted.", "Nobody is told yet"]);
        app.get(&api).key(&ada.key).is(404).await;
    }

    async fn a_missing_client_is_set_up_on_the_way_to_a_sign_in(shop) {
        let (app, root) = (&shop.app, shop.app.superuser("root@example.org").await);
        app.member(&shop.ada, "acme", &root, "editor").await;
        let read = async |path: &str| app.get(path).cookie(&root.cookie).is(200).await.text;
        let new = "/projects/acme/credentials/new";
        let step = format!("{new}?connector=sandbox&method=authorization_code");
        let missing = read(&step).await;
        told(&missing, &["nobody has set one up yet", "set it up first, then come back"]);

        // What the connector says is there already; what is secret is told, and typed.
        let empty = read(&link(&missing, "Set up an OAuth client")).await;
        let host = shop.sandbox.trim_start_matches("http://");
        for (name, value) in [("name", "Sandbox"), ("client_id", DEMO.client_id), ("hosts", host), ("projects", "acme"), ("client_secret", "")] {
            assert_eq!(filled(&empty, name), value, "{name}: {empty}");
        }
        told(&empty, &["It serves Sandbox.", DEMO.client_secret, "Left empty: <code>people:read</code>", "<details class=\"more\" open>"]);
        let back = hidden(&empty, "return_to").replace("&#38;", "&");
        assert_eq!(back, step);
        assert_eq!(link(&empty, "Cancel"), step);
        let form = |hosts: &str| {
            let pairs = [
                ("preset", hidden(&empty, "preset")), ("connector", hidden(&empty, "connector")), ("return_to", back.clone()),
                ("name", "The sandbox's own".to_owned()), ("client_id", filled(&empty, "client_id")), ("client_secret", DEMO.client_secret.to_owned()),
                ("hosts", hosts.to_owned()), ("projects", filled(&empty, "projects")), ("pkce", "yes".to_owned()),
            ];
            pairs.to_vec()
        };
        let post = |path: &str, pairs: Vec<(&str, String)>| {
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
            send(app, path, &root, &pairs)
        };
        // One that is refused knows what it is for all the same.
        let refused = post("/oauth-clients", form("")).is(422).await;
        told(is_page(&refused), &["It serves Sandbox.", "href=\"#f-hosts\"", "value=\"The sandbox&#39;s own\""]);
        assert_eq!(hidden(&refused.text, "return_to").replace("&#38;", "&"), step);
        assert_eq!(hidden(&refused.text, "connector"), "sandbox");

        let done = post("/oauth-clients", form(host)).is(303).await;
        let saved = follows(app, &root, &done).await;
        told(&saved, &["The OAuth client is saved."]);
        let client = done.header("location").split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
        let made = app.get(&format!("/api/v1/oauth-clients/{client}")).key(&root.key).is(200).await.json();
        assert_eq!((&made["mandatory_scopes"], &made["hosts"]), (&json!(["people:read"]), &json!([host])));
        // Saved once more, it knows the way still.
        let mut again = form(host);
        again.push(("version", hidden(&saved, "version")));
        again.push(("mandatory_scopes", "people:read".to_owned()));
        let done = post(&format!("/oauth-clients/{client}"), again).is(303).await;
        let on = link(&follows(app, &root, &done).await, "Make a credential with it");
        assert_eq!(on, format!("{step}&client={client}"));

        // It is chosen among several.
        let other = json!({
            "name": "Another client", "connector": "sandbox", "client_id": "another", "client_secret": "x", "hosts": [host], "projects": ["acme"],
        });
        let other = app.post("/api/v1/oauth-clients", other).key(&root.key).is(201).await.json();
        let chosen = |client: &str| format!("<option value=\"{client}\" selected>");
        let shown = read(&on).await;
        told(&shown, &[&chosen(&client), "Another client", "Save and sign in"]);
        told(&read(&format!("{step}&client={}", id(&other))).await, &[&chosen(id(&other))]);
        told(&read(&format!("{step}&client=oac_unknown")).await, &["Save and sign in"]);

        // Saved, it waits for a person, who is led to where it is given.
        let base_url = filled(&shown, "/values/default/base_url");
        let form = [
            ("connector", "sandbox"), ("method", "authorization_code"), ("name", "Root's own account"), ("oauth_client", client.as_str()),
            ("owner_project", "me"), ("sets", "one"), ("use-production", "yes"), ("/values/default/base_url", base_url.as_str()),
        ];
        let done = send(app, new, &root, &form).is(303).await;
        let list = app.get("/api/v1/credentials?project=acme").key(&root.key).is(200).await.json();
        let made = app.get(&format!("/api/v1/credentials/{}", id(&list["items"][0]))).key(&root.key).is(200).await.json();
        assert_eq!(made["oauth_client"], client.as_str());
        assert_eq!(made["environments"]["default"]["status"], "needs_authorization");
        assert_eq!(done.header("location"), format!("/credentials/{}/connect/default?project=acme", id(&made)));
        told(&follows(app, &root, &done).await, &["What is asked for", "people:read", "Sign in at 127.0.0.1"]);
    }

    async fn an_oauth_client_that_is_used_stays(shop) {
        let root = shop.app.superuser("root@example.org").await;
        let body = with(any_server("Provider"), json!({"projects": ["acme"]}));
        let client = shop.app.post("/api/v1/oauth-clients", body).key(&root.key).is(201).await.json();
        let used = shop.create(json!({
            "name": "Ada at her drive", "connector": "http", "auth_method": "oauth2_authorization_code", "oauth_client": client["id"],
            "values": {"production": {"base_url": "https://api.example.com"}},
        })).is(201).await.json();
        let (path, api) = (format!("/oauth-clients/{}", id(&client)), format!("/api/v1/oauth-clients/{}", id(&client)));
        let refused = send(&shop.app, &format!("{path}/delete"), &root, &[]).is(409).await;
        told(is_page(&refused), &["Used by", "Ada at her drive", "ada@example.org"]);
        shop.app.get(&api).key(&root.key).is(200).await;
        send(&shop.app, &format!("{path}/delete"), &shop.ada, &[]).is(403).await;
        // A change that is refused keeps what was typed; nothing typed keeps what is secret.
        let shown = shop.app.get(&path).cookie(&root.cookie).is(200).await;
        let seen = hidden(&shown.text, "version");
        let form = |name: &'static str, hosts: &'static str| {
            vec![
                ("version", seen.clone()), ("name", name.to_owned()), ("client_id", "ours".to_owned()), ("client_secret", String::new()),
                ("client_auth", "basic".to_owned()), ("mandatory_scopes", "openid".to_owned()), ("pkce", "yes".to_owned()),
                ("authorization_endpoint", "https://auth.example.com/authorize".to_owned()),
                ("token_endpoint", "https://auth.example.com/token".to_owned()), ("hosts", hosts.to_owned()), ("projects", "acme".to_owned()),
            ]
        };
        let post = |fields: Vec<(&'static str, String)>| {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            send(&shop.app, &path, &root, &fields)
        };
        let wrong = post(form("Another name", "https://no.host/")).is(422).await;
        told(is_page(&wrong), &["value=\"Another name\"", "https://no.host/"]);
        let done = post(form("Another name", "auth.example.com\napi.example.com")).is(303).await;
        told(&follows(&shop.app, &root, &done).await, &["The OAuth client is saved.", "Another name"]);
        let now = shop.app.get(&api).key(&root.key).is(200).await.json();
        assert_eq!((now["name"].as_str(), now["mandatory_scopes"].clone()), (Some("Another name"), json!(["openid"])));
        shop.app.delete(&shop.at(&used, "?purge=true")).key(&shop.ada.key).is(204).await;
        let done = send(&shop.app, &format!("{path}/delete"), &root, &[]).is(303).await;
        told(&follows(&shop.app, &root, &done).await, &["The OAuth client is deleted."]);
        shop.app.get(&api).key(&root.key).is(404).await;
    }
}

both! {
    async fn secrets_and_variables_are_set_and_deleted(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        let bob = app.person("bob@example.org").await;
        app.member(&ada, "acme", &bob, "viewer").await;
        let api = |kind: &str, name: &str| format!("/api/v1/projects/acme/environments/staging/{kind}/{name}");
        let refused = send(&app, "/projects/acme/variables/staging", &ada, &[("name", "1 bad"), ("value", "eu <1>")]).is(422).await;
        told(is_page(&refused), &["value=\"1 bad\"", "eu &#60;1&#62;</textarea>", "id=\"variable-name-error\"", "href=\"#variable-name\""]);
        let done = send(&app, "/projects/acme/variables/staging", &ada, &[("name", "region"), ("value", "eu\r\n1")]).is(303).await;
        assert_eq!(done.header("location"), "/projects/acme/secrets?environment=staging");
        told(&follows(&app, &ada, &done).await, &["The variable is set.", "region", "by ada@example.org"]);
        assert_eq!(app.get(&api("variables", "region")).key(&ada.key).is(200).await.json()["value"], "eu\n1");

        let refused = send(&app, "/projects/acme/secrets/staging", &ada, &[("name", "signing_key"), ("value", ""), ("hosts", "not a host\n")]).is(422).await;
        told(is_page(&refused), &["value=\"signing_key\"", "not a host"]);
        let form = [("name", "signing_key"), ("value", "planted-signing-key"), ("hosts", "api.example.com\r\n\r\n*.example.org")];
        let done = send(&app, "/projects/acme/secrets/staging", &ada, &form).is(303).await;
        let page = follows(&app, &ada, &done).await;
        told(&page, &["The secret is set.", "signing_key", "only to api.example.com, *.example.org"]);
        assert!(!page.contains("planted-signing-key"), "{page}");
        let set = app.get(&api("secrets", "signing_key")).key(&ada.key).is(200).await.json();
        assert_eq!(set["hosts"], json!(["api.example.com", "*.example.org"]));

        // Who may only look is told so, and has no form.
        let his = app.get("/projects/acme/secrets?environment=staging").cookie(&bob.cookie).is(200).await;
        assert!(his.text.contains("that takes the role editor") && !his.text.contains("Set it"), "{}", his.text);
        for (path, form) in [
            ("/projects/acme/variables/staging", vec![("name", "x"), ("value", "y")]),
            ("/projects/acme/secrets/staging", vec![("name", "x"), ("value", "y")]),
            ("/projects/acme/variables/staging/region/delete", vec![]),
            ("/projects/acme/secrets/staging/signing_key/delete", vec![]),
        ] {
            send(&app, path, &bob, &form).is(403).await;
        }
        let done = send(&app, "/projects/acme/variables/staging/region/delete", &ada, &[]).is(303).await;
        told(&follows(&app, &ada, &done).await, &["The variable is deleted."]);
        app.get(&api("variables", "region")).key(&ada.key).is(404).await;
        let done = send(&app, "/projects/acme/secrets/staging/signing_key/delete", &ada, &[]).is(303).await;
        told(&follows(&app, &ada, &done).await, &["The secret is deleted."]);
        app.get(&api("secrets", "signing_key")).key(&ada.key).is(404).await;
    }

    async fn sessions_are_ended(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let phone = app.sign_in(&ada.email).await;
        let tablet = app.sign_in(&ada.email).await;
        let shown = app.get("/account/sessions").cookie(&ada.cookie).is(200).await.text;
        assert_eq!(shown.matches("this browser").count(), 1, "{shown}");
        let ends: Vec<String> = shown.split("action=\"").filter_map(|part| part.split('"').next())
            .filter(|action| action.starts_with("/account/sessions/ses_") && action.ends_with("/end")).map(str::to_owned).collect();
        assert_eq!(ends.len(), 2, "not its own: {shown}");
        // Somebody else's is none of mine.
        send(&app, &ends[0], &bob, &[]).is(404).await;
        for cookie in [&phone, &tablet] {
            app.get("/api/v1/me").cookie(cookie).is(200).await;
        }
        let done = send(&app, &ends[0], &ada, &[]).is(303).await;
        told(&follows(&app, &ada, &done).await, &["The session is ended."]);
        let alive = async || {
            let mut alive = 0;
            for cookie in [&phone, &tablet] {
                alive += usize::from(app.get("/api/v1/me").cookie(cookie).send().await.status == 200);
            }
            alive
        };
        assert_eq!(alive().await, 1);
        app.sign_in(&ada.email).await;
        let done = send(&app, "/account/sessions/end-others", &ada, &[]).is(303).await;
        told(&follows(&app, &ada, &done).await, &["All other sessions are ended.", "this browser"]);
        assert_eq!(alive().await, 0);
        let list = app.get("/api/v1/me/sessions").cookie(&ada.cookie).is(200).await.json();
        assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    }

    async fn an_account_is_put_to_rest_and_woken(app) {
        let root = app.superuser("root@example.org").await;
        let bob = app.person("bob@example.org").await;
        let path = format!("/people/{}", bob.id);
        let version = async || {
            let shown = app.get("/people?q=bob").cookie(&root.cookie).is(200).await.text;
            hidden(shown.split(&format!("action=\"{path}\"")).nth(1).unwrap(), "version")
        };
        let seen = version().await;
        send(&app, &path, &bob, &[("version", &seen), ("active", "no")]).is(403).await;
        let done = send(&app, &path, &root, &[("version", &seen), ("active", "no")]).is(303).await;
        told(&follows(&app, &root, &done).await, &["The account is changed.", &format!("href=\"{path}/credentials\"")]);
        app.get("/api/v1/me").cookie(&bob.cookie).is(401).await;
        app.get("/api/v1/me").key(&bob.key).is(401).await;
        // What somebody saw before it was changed does not undo the change.
        let late = send(&app, &path, &root, &[("version", &seen), ("active", "yes")]).is(412).await;
        is_page(&late);
        app.get("/api/v1/me").key(&bob.key).is(401).await;
        let done = send(&app, &path, &root, &[("version", &version().await), ("active", "yes")]).is(303).await;
        told(&follows(&app, &root, &done).await, &["The account is changed."]);
        let again = app.sign_in(&bob.email).await;
        assert_eq!(app.get("/api/v1/me").cookie(&again).is(200).await.json()["superuser"], false);
        // What ended with it stays ended.
        app.get("/api/v1/me").cookie(&bob.cookie).is(401).await;
        app.get("/api/v1/me").key(&bob.key).is(401).await;
    }

    async fn recovery_codes_are_made_anew(app) {
        let ada = app.person("ada@example.org").await;
        send(&app, "/account/totp/codes", &ada, &[]).header("accept", "text/html").is(409).await;
        let old = app.second_factor(&ada).await.recovery;
        let made = send(&app, "/account/totp/codes", &ada, &[]).is(200).await;
        let text = is_page(&made);
        let codes = text.split("id=\"recovery\"").nth(1).and_then(|rest| rest.split_once('>')).and_then(|(_, rest)| rest.split('<').next());
        let codes: Vec<&str> = codes.unwrap_or_else(|| panic!("{text}")).split_whitespace().collect();
        assert_eq!(codes.len(), 10, "{text}");
        assert!(codes.iter().all(|code| !old.iter().any(|one| one == code)), "{codes:?}");
        let enter = |code: &str| app.post("/api/v1/session", json!({"email": ada.email, "password": PASSWORD, "totp": code}));
        enter(&old[0]).is(401).await;
        enter(codes[0]).is(204).await;
        // They are shown once.
        let shown = app.get("/account/totp").cookie(&ada.cookie).is(200).await;
        told(&shown.text, &["9 recovery codes are left."]);
        assert!(codes.iter().all(|code| !shown.text.contains(code)), "{}", shown.text);
    }

    async fn the_trail_is_narrowed_to_one_person(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        let bob = app.person("bob@example.org").await;
        app.member(&ada, "acme", &bob, "editor").await;
        for (name, who) in [("set_by_ada", &ada), ("set_by_bob", &bob)] {
            let path = format!("/api/v1/projects/acme/environments/staging/variables/{name}");
            app.put(&path, json!({"value": "t-17"})).key(&who.key).is(204).await;
        }
        let shown = async |query: &str| app.get(&format!("/projects/acme/audit?{query}")).cookie(&ada.cookie).is(200).await.text;
        told(&shown("credential=&actor=&action=").await, &["set_by_ada", "set_by_bob"]);
        for who in [bob.email.as_str(), bob.id.as_str()] {
            let sent = who.replace('@', "%40");
            let his = shown(&format!("credential=&actor={sent}&action=")).await;
            told(&his, &["set_by_bob", &format!("value=\"{who}\"")]);
            assert!(!his.contains("set_by_ada"), "{his}");
            // What is taken along is narrowed in the same way.
            told(&his, &[&format!("/api/v1/projects/acme/audit/export?actor={sent}")]);
        }
        told(&shown("actor=nobody%40example.org").await, &["Nothing fits"]);
    }

    async fn an_environment_goes_only_when_that_is_said(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        let secret = "/api/v1/projects/acme/environments/staging/secrets/signing_key";
        app.put(secret, json!({"value": "planted-signing-key"})).key(&ada.key).is(204).await;
        let path = "/projects/acme/settings";
        let shown = app.get(path).cookie(&ada.cookie).is(200).await;
        let seen = hidden(&shown.text, "version");
        let form = |more: &[(&'static str, &'static str)]| {
            let mut all = vec![("name", "Acme & Sons"), ("slug", "acme"), ("environments", "production"), ("version", seen.as_str())];
            all.extend(more);
            send(&app, path, &ada, &all)
        };
        let asked = form(&[]).is(409).await;
        told(is_page(&asked), &["With staging would go", "signing_key", "name=\"remove\"", "value=\"Acme &#38; Sons\""]);
        assert_eq!(hidden(&asked.text, "removing"), "staging");
        // What was not shown does not go with it.
        form(&[("remove", "yes"), ("removing", "other")]).is(422).await;
        form(&[("removing", "staging")]).is(409).await;
        app.get(secret).key(&ada.key).is(200).await;
        let gone = form(&[("remove", "yes"), ("removing", "staging")]).is(200).await;
        told(is_page(&gone), &["Saved.", "Gone with staging", "signing_key"]);
        let project = app.get("/api/v1/projects/acme").key(&ada.key).is(200).await.json();
        assert_eq!(project["name"], "Acme & Sons");
        assert_eq!(project["environments"].as_array().unwrap().len(), 1, "{project}");
        app.get(secret).key(&ada.key).is(404).await;
    }

    async fn a_project_is_deleted_by_its_name(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        let bob = app.person("bob@example.org").await;
        app.member(&ada, "acme", &bob, "admin").await;
        let path = "/projects/acme/delete";
        send(&app, path, &bob, &[("confirm", "acme")]).is(403).await;
        let refused = send(&app, path, &ada, &[("confirm", "acmee")]).is(422).await;
        told(is_page(&refused), &["That is not the project's short name".replace('\'', "&#39;").as_str(), "href=\"#f-confirm\""]);
        app.get("/api/v1/projects/acme").key(&ada.key).is(200).await;
        // What the project owns itself goes first.
        let owned = json!({
            "name": "Ours", "connector": "http", "auth_method": "bearer", "verify": "skip", "owner_project": "acme",
            "values": {"production": {"base_url": "https://api.example.com", "token": "planted-token"}},
        });
        let owned = app.post("/api/v1/credentials", owned).key(&ada.key).is(201).await.json();
        let kept = send(&app, path, &ada, &[("confirm", "acme")]).is(409).await;
        told(is_page(&kept), &["href=\"/projects/acme/settings\""]);
        app.delete(&format!("/api/v1/credentials/{}?purge=true", id(&owned))).key(&ada.key).is(204).await;
        // Long after a sign-in one shows who one is first.
        app.clock.advance_secs(3600);
        let late = send(&app, path, &ada, &[("confirm", "acme")]).header("accept", "text/html").is(303).await;
        assert!(late.header("location").starts_with("/confirm"), "{}", late.header("location"));
        app.get("/api/v1/projects/acme").key(&ada.key).is(200).await;
        send(&app, "/confirm", &ada, &[("password", PASSWORD)]).is(303).await;
        let done = send(&app, path, &ada, &[("confirm", " acme ")]).is(303).await;
        told(&follows(&app, &ada, &done).await, &["The project is deleted."]);
        app.get("/api/v1/projects/acme").key(&ada.key).is(404).await;
    }

    async fn no_form_leads_to_another_site(app) {
        let ada = app.person("ada@example.org").await;
        let root = app.superuser("root@example.org").await;
        for foreign in [
            "https://evil.example/", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
            "/..//evil.example", "javascript:alert(1)", "http://127.0.0.1:5282@evil.example/", "http://127.0.0.1:5282.evil.example/", "evil.example",
        ] {
            let chosen = app.post("/theme", json!({})).form(&[("theme", "dark"), ("back", foreign)]).is(303).await;
            assert_eq!(chosen.header("location"), "/", "{foreign:?}");
            assert!(chosen.header("set-cookie").starts_with("latchstring_theme=dark;"), "the choice counts all the same");
            let form = [("email", ada.email.as_str()), ("password", PASSWORD), ("return_to", foreign)];
            let inside = app.post("/sign-in", json!({})).form(&form).is(303).await;
            assert_eq!(inside.header("location"), "/", "{foreign:?}");
            let confirmed = send(&app, "/confirm", &ada, &[("password", PASSWORD), ("return_to", foreign)]).is(303).await;
            assert_eq!(confirmed.header("location"), "/account", "{foreign:?}");
            let client = [
                ("preset", "google_drive"), ("connector", "google_drive"), ("name", "Drive"), ("client_id", "ours"), ("client_secret", "x"),
                ("global", "yes"), ("pkce", "yes"), ("return_to", foreign),
            ];
            let made = send(&app, "/oauth-clients", &root, &client).is(303).await;
            let path = made.header("location").to_owned();
            assert!(path.starts_with("/oauth-clients/oac_") && !path.contains('?'), "{path}");
            let linked = format!("{path}?return_to={}", crate::credentials_upstream::url(foreign));
            let shown = app.get(&linked).cookie(&root.cookie).is(200).await;
            assert!(!shown.text.contains("Make a credential with it"), "{linked}: {}", shown.text);
            let version = hidden(&shown.text, "version");
            let form = [client.as_slice(), &[("version", version.as_str())]].concat();
            let saved = send(&app, &path, &root, &form).is(303).await;
            assert_eq!(saved.header("location"), path);
            // What a link brings does not get into the form in the first place.
            let new = format!("/oauth-clients/new?connector=google_drive&return_to={}", crate::credentials_upstream::url(foreign));
            for path in [&new, &linked] {
                let shown = app.get(path).cookie(&root.cookie).is(200).await;
                assert!(!shown.text.contains("name=\"return_to\""), "{path}: {}", shown.text);
            }
            for page in ["/sign-in", "/confirm"] {
                let path = format!("{page}?return_to={}", crate::credentials_upstream::url(foreign));
                let shown = app.get(&path).cookie(if page == "/confirm" { &ada.cookie } else { "none=none" }).is(200).await;
                assert!(!shown.text.contains("name=\"return_to\""), "{path}: {}", shown.text);
            }
        }
        for own in ["/projects?cursor=x", "/credentials/new?connector=http#name"] {
            let chosen = app.post("/theme", json!({})).form(&[("theme", "light"), ("back", own)]).is(303).await;
            assert_eq!(chosen.header("location"), own);
        }
    }
}
