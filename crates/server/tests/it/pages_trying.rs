//! Forms that are tried before they are saved, and what pages say of mistakes, flows and usage.

use serde_json::json;

use crate::app::{Answer, Call, Db};
use crate::consent::{Scene, both_scenes};
use crate::credentials_upstream::{Shop, both_shops, hex, url};

/// A key that begins as its provider's do.
const KEY: &str = "sk-planted-0123456789";
const NEW: &str = "/projects/acme/credentials/new";

/// What a browser sends of the form of the connector `raw`.
fn raw<'a>(shop: &'a Shop, object: &str, more: &[(&str, &str)]) -> Call<'a> {
    // The first of a name counts.
    let mut form = more.to_vec();
    form.extend([
        ("connector", "raw"),
        ("method", "custom"),
        ("name", "Kept name"),
        ("sets", "one"),
        ("owner_project", "me"),
        ("use-staging", "yes"),
        ("use-production", "yes"),
        ("/values/default/?json", object),
    ]);
    shop.app.post(NEW, json!({})).form(&form).cookie(&shop.ada.cookie)
}

fn keyed(shop: &Shop) -> String {
    json!({"baseUrl": format!("{}/v1", shop.up.url), "apiKey": KEY, "request": {"headers": {"X-API-Key": "{{ apiKey }}"}}}).to_string()
}

fn http<'a>(shop: &'a Shop, method: &str, values: &[(&str, &str)], more: &[(&str, &str)]) -> Call<'a> {
    let names: Vec<(String, &str)> =
        values.iter().map(|(name, value)| (format!("/values/default/{name}"), *value)).collect();
    let mut form = more.to_vec();
    form.extend([("connector", "http"), ("method", method), ("name", "Kept name"), ("sets", "one")]);
    form.extend(names.iter().map(|(name, value)| (name.as_str(), *value)));
    shop.app.post(NEW, json!({})).form(&form).cookie(&shop.ada.cookie)
}

#[track_caller]
fn hides(page: &Answer, secret: &str) {
    for form in [secret.to_owned(), url(secret), hex(secret)] {
        assert!(!page.text.contains(&form), "{form}: {}", page.text);
    }
}

both_shops! {
    async fn a_preview_shows_the_request_and_sends_nothing(shop) {
        let page = raw(&shop, &keyed(&shop), &[("try", "preview"), ("try_path", "/me?page=2")]).is(200).await;
        assert!(page.text.contains(&format!("GET {}/v1/me?page=2", shop.up.url)), "{}", page.text);
        assert!(page.text.contains("x-api-key: sk-…") && page.text.contains("Nothing was sent."), "{}", page.text);
        assert!(!page.text.contains("<title>Error"), "nothing is wrong: {}", page.text);
        // What was typed stays, but for what is secret: that is asked for again.
        assert!(page.text.contains("value=\"Kept name\"") && page.text.contains("value=\"/me?page=2\""), "{}", page.text);
        assert!(page.text.contains("Type it once more"), "{}", page.text);
        hides(&page, KEY);
        assert_eq!((shop.up.asked(), shop.count().await), (0, 0));
        // In the background everything stays where it is, and nothing has to be typed again.
        let kept = raw(&shop, &keyed(&shop), &[("try", "preview")]).header("latchstring-form", "stay").is(200).await;
        assert!(!kept.text.contains("Type it once more") && kept.text.contains("data-part=\"result\""), "{}", kept.text);
        // A name is wanted of what is saved, not of what is looked at.
        http(&shop, "bearer", &[("base_url", &shop.up.url), ("token", KEY)], &[("name", ""), ("try", "preview")]).is(200).await;
        assert_eq!((shop.up.asked(), shop.count().await), (0, 0));
    }

    async fn a_preview_of_a_token_shows_both_requests(shop) {
        let token = format!("{}/token", shop.up.url);
        let values = [
            ("base_url", shop.up.url.as_str()), ("token_url", &token), ("client_id", "latch"), ("client_secret", "planted-client-secret"),
            ("scope", "read"), ("test_path", "/me"), ("headers", "X-Tenant: acme-7"),
        ];
        let page = http(&shop, "oauth2_client_credentials", &values, &[("try", "preview")]).is(200).await;
        for part in [&format!("POST {token}"), "grant_type=client_credentials", "scope=read", "authorization: Basic …", &format!("GET {}/me", shop.up.url), "authorization: Bearer …"] {
            assert!(page.text.contains(part), "{part}: {}", page.text);
        }
        // The form shows it too, in a field that is not secret.
        assert!(page.text.contains("x-tenant: acme-7"), "{}", page.text);
        hides(&page, "planted-client-secret");
        assert_eq!(shop.up.asked(), 0);
    }

    async fn a_test_sends_once_and_saves_nothing(shop) {
        shop.up.reply("/v1/me", 200, "application/json", r#"{"you": "ada", "again": "sk-planted-0123456789"}"#);
        let page = raw(&shop, &keyed(&shop), &[("try", "test"), ("try_path", "/me")]).is(200).await;
        let seen = shop.up.seen("/v1/me");
        assert_eq!((seen.len(), shop.count().await), (1, 0));
        assert_eq!(seen[0].headers["x-api-key"], KEY);
        for part in [&format!("GET {}/v1/me", shop.up.url), "&#34;you&#34;: &#34;ada&#34;", "200", "Raw accepts it"] {
            assert!(page.text.contains(part), "{part}: {}", page.text);
        }
        hides(&page, KEY);

        shop.up.reply("/v1/me", 401, "application/json", r#"{"no": "{raw}"}"#);
        let bad = raw(&shop, &keyed(&shop), &[("try", "test"), ("try_path", "/me")]).is(422).await;
        for part in ["does not accept it", "<title>Error", "GET", "401", "value=\"Kept name\""] {
            assert!(bad.text.contains(part), "{part}: {}", bad.text);
        }
        hides(&bad, KEY);
        assert_eq!(shop.count().await, 0);
        // The connector's own question is asked where it has one.
        let values = [("base_url", shop.up.url.as_str()), ("token", KEY), ("test_path", "/whoami")];
        http(&shop, "bearer", &values, &[("try", "test")]).is(200).await;
        assert_eq!((shop.up.seen("/whoami").len(), shop.count().await), (1, 0));
        // Where it has none for these values, the base URL.
        http(&shop, "bearer", &values[..2], &[("try", "test")]).is(200).await;
        assert_eq!((shop.up.seen("/").len(), shop.count().await), (1, 0));
    }

    async fn a_test_goes_nowhere_that_a_verification_would_not(shop) {
        // A network that the operator has not opened.
        let inner = [("base_url", "http://10.1.2.3"), ("token", KEY), ("test_path", "/me")];
        let page = http(&shop, "bearer", &inner, &[("try", "test")]).is(422).await;
        assert!(page.text.contains("private") || page.text.contains("could not be checked"), "{}", page.text);
        hides(&page, KEY);
        // Out of the base URL.
        for path in ["/../admin", "/%2e%2e/admin", "me"] {
            for way in ["preview", "test"] {
                let page = raw(&shop, &keyed(&shop), &[("try", way), ("try_path", path)]).send().await;
                assert!(matches!(page.status, 400 | 422), "{path}: {} {}", page.status, page.text);
                hides(&page, KEY);
            }
        }
        // Whoever may not make one may not try one, and nobody from elsewhere.
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "viewer").await;
        raw(&shop, &keyed(&shop), &[("try", "test")]).cookie(&bob.cookie).is(403).await;
        raw(&shop, &keyed(&shop), &[("try", "test")]).header("sec-fetch-site", "cross-site").is(403).await;
        assert_eq!((shop.up.asked(), shop.count().await), (0, 0));
    }

    async fn a_projects_secret_is_in_no_preview(shop) {
        let secret = "/api/v1/projects/acme/environments/staging/secrets/signing";
        shop.app.put(secret, json!({"value": "planted-of-project"})).key(&shop.ada.key).is(204).await;
        let base = format!("{}/{{{{ get_secret('signing') | upper }}}}", shop.up.url);
        let values = [("base_url", base.as_str()), ("token", "{{ get_secret('signing') }}")];
        let page = http(&shop, "bearer", &values, &[("use-staging", "yes"), ("try", "preview")]).is(200).await;
        assert!(page.text.contains(&format!("GET {}/…", shop.up.url)) && page.text.contains("authorization: Bearer …"), "{}", page.text);
        hides(&page, "planted-of-project");
        hides(&page, "PLANTED-OF-PROJECT");
        assert_eq!(shop.up.asked(), 0);
    }

    async fn mistakes_in_json_have_a_line_and_a_column_and_no_text(shop) {
        let broken = format!("\n{{\n  \"apiKey\": \"{KEY}\"\n  \"baseUrl\": \"https://api.example.com\"\n}}");
        for more in [&[][..], &[("try", "preview")][..]] {
            let page = raw(&shop, &broken, more).is(422).await;
            let link = "href=\"#f-values-default--json\" data-line=\"4\">Line 4, column 3</a>";
            assert!(page.text.contains(link) && page.text.contains("Line 4, column 3: expected"), "{}", page.text);
            hides(&page, KEY);
        }
        // Where a credential's values are changed, too.
        let made = shop.create(json!({"name": "Any", "connector": "raw", "auth_method": "custom", "values": {"production": {"key": KEY}}, "verify": "skip"})).is(201).await.json();
        let path = format!("/credentials/{}/values/production", made["id"].as_str().unwrap());
        let page = shop.app.post(&path, json!({})).form(&[("version", "1"), ("/values/production/?json", &broken)]).cookie(&shop.ada.cookie).is(422).await;
        assert!(page.text.contains("data-line=\"4\"") && page.text.contains("data-part=\"mistakes\""), "{}", page.text);
        hides(&page, KEY);
    }

    async fn a_definition_is_previewed_with_its_examples(shop) {
        let source = "id: mine\nname: Mine\nhosts: [api.example.com]\nbase_url: https://api.example.com/v2\nheaders: {X-Version: \"2024-01-01\"}\nauth_methods:\n  key:\n    label: API key\n    fields:\n      region: {type: text, example: eu}\n      key: {type: text, secret: true, label: API key, example: sk-example-0123456789, pattern: \"sk-.*\", pattern_message: It begins with sk-.}\n    scheme: {type: api_key, in: header, key: X-API-Key, value: \"{{ key }}\"}\n    verify: {get: \"/{{ region }}/me\"}\n  signed:\n    label: Signed\n    fields: {private_key: {type: pem, secret: true}}\n    scheme: {type: jwt, private_key: \"{{ private_key }}\", claims: {iss: x}}\n";
        let list = "/projects/acme/connectors";
        let form = |source: &str, way: &str| shop.app.post(list, json!({})).form(&[("source", source), ("try", way)]).cookie(&shop.ada.cookie);
        let page = form(source, "preview").is(200).await;
        for part in ["API key", "GET https://api.example.com/v2/eu/me", "x-api-key: sk-…", "x-version: 2024-01-01", "Signed", "scheme.private_key"] {
            assert!(page.text.contains(part), "{part}: {}", page.text);
        }
        assert!(page.text.contains("name: Mine"), "what was typed stays");
        let known = shop.app.get(&format!("/api/v1{list}")).key(&shop.ada.key).send().await;
        assert!(!known.text.contains("\"mine\""), "nothing is saved: {}", known.text);
        // A mistake is told with its line, as when it is saved.
        let wrong = form(&source.replace("scheme: {type: api_key", "scheme: {typ: api_key"), "preview").is(422).await;
        assert!(wrong.text.contains("data-line=\"12\"") && wrong.text.contains("scheme: {typ: api_key"), "{}", wrong.text);
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        form(source, "preview").cookie(&bob.cookie).is(403).await;

        // Saved, it is tried on its own form, whose secret field has its hint.
        form(source, "").is(303).await;
        let new = shop.app.get(&format!("{NEW}?connector=mine&method=key")).cookie(&shop.ada.cookie).is(200).await;
        let field = new.text.split("<input type=\"password\"").nth(1).unwrap().split('>').next().unwrap();
        assert!(field.contains("pattern=\"sk-.*\"") && field.contains("data-hint=\"It begins with sk-.\""), "{field}");
        assert!(new.text.contains("name=\"try\" value=\"test\""), "{}", new.text);
        let shown = shop.app.get(&format!("{list}/mine/edit")).cookie(&shop.ada.cookie).is(200).await;
        assert!(shown.text.contains("name=\"try\" value=\"preview\""), "{}", shown.text);
        let edit = [("source", source), ("version", "1"), ("try", "preview")];
        let again = shop.app.post(&format!("{list}/mine/edit"), json!({})).form(&edit).cookie(&shop.ada.cookie).is(200).await;
        assert!(again.text.contains("x-api-key: sk-…") && again.text.contains("name=\"version\" value=\"1\""), "{}", again.text);
    }

    async fn an_owner_sees_the_trail_of_a_credential_in_no_project(shop) {
        let mut body = shop.bearer("Mine alone", "planted-token-0123456789");
        body["shares"] = json!([]);
        let made = shop.create(body).is(201).await.json();
        let id = made["id"].as_str().unwrap();
        let activity = shop.app.get(&format!("/credentials/{id}/activity")).cookie(&shop.ada.cookie).is(200).await;
        let path = format!("/credentials/{id}/audit");
        assert!(activity.text.contains(&format!("href=\"{path}\"")), "{}", activity.text);
        let trail = shop.app.get(&path).cookie(&shop.ada.cookie).is(200).await;
        for part in ["credential.create", "Mine alone", &format!("href=\"/api/v1{path}/export?format=csv\""), "data-follow=\"audit\""] {
            assert!(trail.text.contains(part), "{part}: {}", trail.text);
        }
        hides(&trail, "planted-token-0123456789");
        // What is newer than what was seen, for those who follow.
        let newest = trail.text.split("data-newest=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let none = shop.app.get(&format!("{path}?after={newest}")).cookie(&shop.ada.cookie).is(200).await;
        assert!(!none.text.contains("credential.create"), "{}", none.text);
        // Members who only use one do not see it.
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        shop.app.get(&path).cookie(&bob.cookie).is(404).await;
        let shared = shop.create(shop.bearer("Shared", "planted-token-0123456789")).is(201).await.json();
        let path = format!("/credentials/{}/audit", shared["id"].as_str().unwrap());
        shop.app.get(&path).cookie(&bob.cookie).is(404).await;
        let here = shop.app.get(&format!("{path}?project=acme")).cookie(&shop.ada.cookie).is(200).await;
        assert!(here.text.contains("credential.create"), "{}", here.text);
    }

    async fn one_connector_has_its_number_too(shop) {
        shop.create(shop.bearer("One", "planted-token-0123456789")).is(201).await;
        for path in ["/projects/acme/credentials", "/credentials"] {
            let page = shop.app.get(path).cookie(&shop.ada.cookie).is(200).await;
            let row = page.text.split("aria-label=\"By connector\"").nth(1).unwrap_or_else(|| panic!("{}", page.text));
            let row = row.split("</nav>").next().unwrap();
            assert!(row.contains("<strong>HTTP</strong>") && row.contains("<span class=\"count\">1</span>"), "{row}");
        }
    }

    async fn a_typed_secret_stays_where_a_script_sends_it(shop) {
        let page = shop.app.get("/projects/acme/secrets").cookie(&shop.ada.cookie).is(200).await;
        let form = page.text.split("action=\"/projects/acme/secrets/staging\"").nth(1).unwrap();
        assert!(form.split('>').next().unwrap().contains("data-stay"), "{}", page.text);
        assert!(form.split("</form>").next().unwrap().contains("data-trouble"), "a place for what the server did not say");
        assert!(page.text.contains("data-part=\"wrong\""), "what is wrong has its place before anything is: {}", page.text);
        let send = |name: &str| {
            let form = [("name", name), ("value", "planted-secret-value"), ("hosts", "")];
            shop.app.post("/projects/acme/secrets/staging", json!({})).form(&form).cookie(&shop.ada.cookie).header("latchstring-form", "stay")
        };
        let wrong = send("no name").is(422).await;
        assert!(wrong.text.contains("data-part=\"wrong\"") && wrong.text.contains("id=\"secret-name-error\""), "{}", wrong.text);
        hides(&wrong, "planted-secret-value");
        let done = send("good_name").is(204).await;
        assert_eq!(done.header("latchstring-go"), "/projects/acme/secrets?environment=staging");
    }
}

both_scenes! {
    async fn a_code_for_another_device_is_a_page_of_its_own(scene) {
        let app = &scene.world.app;
        let ada = &scene.world.ada;
        let make = async |method: &str| {
            let body = json!({
                "name": "Drive", "connector": "http", "auth_method": method, "oauth_client": scene.client["id"],
                "values": {"production": {"base_url": scene.oidc.issuer(), "test_path": "/resource"}},
            });
            let made = app.post("/api/v1/credentials", body).key(&ada.key).is(201).await.json();
            format!("/credentials/{}/connect/production", made["id"].as_str().unwrap())
        };
        let device = make("oauth2_device_code").await;
        let page = app.get(&device).cookie(&ada.cookie).is(200).await;
        let form = |page: &Answer, path: &str| page.text.split(&format!("action=\"{path}\"")).nth(1).unwrap().split('>').next().unwrap().to_owned();
        assert!(!form(&page, &device).contains("data-stay"), "a form that stays could not show the code: {}", page.text);
        let code = app.post(&device, json!({})).form(&[]).cookie(&ada.cookie).is(200).await;
        assert!(code.text.contains("data-follow=\"device\"") && code.text.contains("Enter the code on any device"), "{}", code.text);
        assert!(code.text.contains(&scene.oidc.issuer()) && code.text.contains("code-large"), "{}", code.text);
        // In a browser one leaves by a script: that form stays.
        let browser = make("oauth2_authorization_code").await;
        let page = app.get(&browser).cookie(&ada.cookie).is(200).await;
        assert!(form(&page, &browser).contains("data-stay"), "{}", page.text);
    }

    async fn an_issuer_fills_in_a_clients_endpoints(scene) {
        let app = &scene.world.app;
        let host = format!("127.0.0.1:{}", scene.oidc.port());
        let form = |issuer| vec![
            ("name", "Kept name"), ("issuer", issuer), ("client_id", "kept-id"), ("client_secret", "planted-client-secret"),
            ("client_auth", "basic"), ("mandatory_scopes", "openid\r\nread"), ("optional_scopes", "write email"),
            ("hosts", host.as_str()), ("projects", "acme"), ("pkce", "yes"),
        ];
        let (wrong_issuer, issuer) = (scene.oidc.at("/nothing-here"), scene.oidc.issuer());
        let send = |issuer| app.post("/oauth-clients", json!({})).form(&form(issuer)).cookie(&scene.root.cookie);
        // One that is none: said beside the field, and nothing that was typed is lost, but for what is secret.
        let wrong = send(wrong_issuer.as_str()).is(422).await;
        let beside = wrong.text.split("id=\"f-issuer-error\">").nth(1).unwrap().split("</p>").next().unwrap();
        assert!(beside.contains("answered 404") && beside.contains("Correct the issuer"), "{}", wrong.text);
        for kept in ["value=\"Kept name\"", "/nothing-here\"", "value=\"kept-id\"", "openid\r\nread</textarea>", "write email</textarea>", "acme</textarea>", host.as_str(), "Type it once more"] {
            assert!(wrong.text.contains(kept), "{kept}: {}", wrong.text);
        }
        hides(&wrong, "planted-client-secret");
        // Without scripts its scopes are lines; with them the same field is shown as tags.
        assert!(wrong.text.contains("name=\"mandatory_scopes\" rows=\"3\"") && wrong.text.contains("data-tags=\""), "{}", wrong.text);

        let done = send(issuer.as_str()).is(303).await;
        let page = app.get(done.header("location")).cookie(&scene.root.cookie).is(200).await;
        for part in [scene.oidc.authorize_url(), scene.oidc.token_url(), scene.oidc.userinfo_url()] {
            assert!(page.text.contains(&format!("<code>{part}</code> (from the issuer)")), "{part}: {}", page.text);
        }
        assert!(page.text.contains("openid\nread</textarea>") && page.text.contains("write\nemail</textarea>"), "{}", page.text);
        assert!(page.text.contains("/oauth/callback/oac_") && page.text.contains("data-copy=\"uri\""), "{}", page.text);
        hides(&page, "planted-client-secret");
    }

    async fn scopes_are_explained_where_they_are_chosen(scene) {
        let (app, ada) = (&scene.world.app, &scene.world.ada);
        let page = format!("/credentials/{}/connect/production?project=acme", scene.credential().await);
        let none = app.get(&page).cookie(&ada.cookie).is(200).await;
        assert!(none.text.contains("What is asked for") && !none.text.contains("provider.example"), "{}", none.text);
        let client = format!("/api/v1/oauth-clients/{}", scene.client["id"].as_str().unwrap());
        let body = json!({"scopes_doc_url": "https://provider.example/scopes?of=all#list"});
        app.patch(&client, body).key(&scene.root.key).is(200).await;
        let shown = app.get(&page).cookie(&ada.cookie).is(200).await;
        let boxes = shown.text.split("<fieldset").find(|part| part.contains("What is asked for")).unwrap();
        let link = "<a href=\"https://provider.example/scopes?of=all#list\" target=\"_blank\" rel=\"noreferrer\">";
        assert!(boxes.split("</fieldset>").next().unwrap().contains(link), "{}", shown.text);
    }

    async fn who_uses_an_oauth_client_is_seen_before_it_is_deleted(scene) {
        let app = &scene.world.app;
        let ada = &scene.world.ada;
        let path = format!("/oauth-clients/{}", scene.client["id"].as_str().unwrap());
        let none = app.get(&path).cookie(&scene.root.cookie).is(200).await;
        assert!(none.text.contains("No credential names it."), "{}", none.text);
        scene.credential().await;
        let used = app.get(&path).cookie(&scene.root.cookie).is(200).await;
        assert!(used.text.contains("<strong>Drive</strong>") && used.text.contains("Owner: ada@example.org"), "{}", used.text);
        let kept = app.post(&format!("{path}/delete"), json!({})).form(&[]).cookie(&scene.root.cookie).is(409).await;
        assert!(kept.text.contains("<strong>Drive</strong>"), "{}", kept.text);
        assert!(used.text.contains("<label for=\"f-token_endpoint\">Token endpoint"), "{}", used.text);
        // Members come to the clients of a project from its pages, and see who made them, not who uses them.
        let connectors = app.get("/projects/acme/connectors").cookie(&ada.cookie).is(200).await;
        assert!(connectors.text.contains("href=\"/oauth-clients?project=acme\""), "{}", connectors.text);
        let list = app.get("/oauth-clients?project=acme").cookie(&ada.cookie).is(200).await;
        assert!(list.text.contains("OAuth clients of ") && list.text.contains(&path), "{}", list.text);
        let seen = app.get(&path).cookie(&ada.cookie).is(200).await;
        assert!(!seen.text.contains("<strong>Drive</strong>"), "{}", seen.text);
        let eve = app.person("eve@example.org").await;
        app.get("/oauth-clients?project=acme").cookie(&eve.cookie).is(404).await;
    }
}
