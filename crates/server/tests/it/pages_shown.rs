//! What pages show, and to whom: a credential as its owner and as another member sees it, lists, whom to ask, and the
//! documentation inside.

use serde_json::{Value, json};

use crate::app::{Db, Somebody, TestApp, both};
use crate::calling::both_worlds;
use crate::consent::{Scene, both_scenes};
use crate::credentials_upstream::{Shop, both_shops};
use crate::oauth_clients::{any_server, with};

/// A page as somebody in a browser gets it.
async fn page(app: &TestApp, path: &str, who: &Somebody) -> String {
    app.get(path).cookie(&who.cookie).is(200).await.text
}

/// What can be read: without tags, blanks of any number as one.
fn words(html: &str) -> String {
    let mut words = String::new();
    for part in html.split('<') {
        let text = part.split_once('>').map_or(part, |(_, text)| text);
        words.push(' ');
        words.push_str(text);
    }
    let words = crate::pages_planted::unescaped(&words);
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn between<'p>(page: &'p str, begin: &str, end: &str) -> &'p str {
    let (_, rest) = page.split_once(begin).unwrap_or_else(|| panic!("{begin} is not in {page}"));
    rest.split_once(end).unwrap_or_else(|| panic!("{end} is not in {rest}")).0
}

/// What stands beside a label of a list of facts, with its tags.
#[track_caller]
fn fact<'p>(page: &'p str, label: &str) -> &'p str {
    between(page, &format!("<dt>{label}</dt><dd"), "</dd>").split_once('>').unwrap().1
}

/// A time that programs can read, in front of its words.
#[track_caller]
fn machine_readable(html: &str) {
    let time = between(html, "<time datetime=\"", "\"");
    assert!(latchstring_model::Timestamp::parse_rfc3339(time).is_some(), "{html}");
}

fn at(credential: &Value, below: &str) -> String {
    format!("/credentials/{}{below}?project=acme", credential["id"].as_str().unwrap())
}

async fn bob(shop: &Shop) -> Somebody {
    let bob = shop.app.person("bob@example.org").await;
    shop.app.member(&shop.ada, "acme", &bob, "editor").await;
    bob
}

/// Names in a list, in its order.
fn rows(page: &str) -> Vec<String> {
    let lines = page.split("<li class=\"link\">").skip(1);
    lines.map(|line| words(&format!("<a{}", between(line, "<a", "</a>")))).collect()
}

both_shops! {
    async fn what_the_project_owns_says_so(shop) {
        let bob = bob(&shop).await;
        shop.app.patch("/api/v1/projects/acme", json!({"name": "Acme & Sons"})).key(&shop.ada.key).is(200).await;
        let form = |owner: &'static str| [
            ("connector", "http"), ("method", "bearer"), ("name", "Ours"), ("owner_project", owner), ("sets", "one"),
            ("use-staging", "yes"), ("use-production", "yes"), ("/values/default/base_url", shop.up.url.as_str()),
            ("/values/default/token", "planted-bearer-token-1"), ("/values/default/test_path", "/me"),
        ];
        let new = "/projects/acme/credentials/new";
        let shown = page(&shop.app, &format!("{new}?connector=http&method=bearer"), &shop.ada).await;
        assert!(words(&shown).contains("Acme & Sons does"), "{shown}");
        // Whoever may not make it so is not asked.
        let his = page(&shop.app, &format!("{new}?connector=http&method=bearer"), &bob).await;
        assert!(!his.contains("name=\"owner_project\""), "{his}");
        let refused = shop.app.post(new, json!({})).form(&form("project")).cookie(&bob.cookie).send().await;
        assert!(matches!(refused.status, 403 | 422), "{}", refused.text);
        assert_eq!(shop.count().await, 0);
        shop.app.post(new, json!({})).form(&form("project")).cookie(&shop.ada.cookie).is(303).await;
        let listed = shop.app.get("/api/v1/credentials?project=acme").key(&shop.ada.key).is(200).await.json();
        let made = &listed["items"][0];
        assert_eq!((&made["owner"]["type"], &made["owner"]["slug"]), (&json!("project"), &json!("acme")), "{made}");
        for who in [&shop.ada, &bob] {
            let sheet = page(&shop.app, &at(made, ""), who).await;
            assert_eq!(words(fact(&sheet, "Owner")), "The project Acme & Sons");
            let list = words(&page(&shop.app, "/projects/acme/credentials", who).await);
            assert!(list.contains("Owner: this project"), "{list}");
        }
    }

    async fn the_owner_sees_everything_but_what_is_secret(shop) {
        let bob = bob(&shop).await;
        let more = json!({"note": "Ask <Grace>.", "acts_as": "import-robot", "expires_on": "2030-01-31T00:00:00Z"});
        let made = shop.create(with(shop.bearer("API", "planted-bearer-token-1"), more)).is(201).await.json();
        shop.app.clock.advance_secs(2 * 3600 + 60);
        let hers = page(&shop.app, &at(&made, ""), &shop.ada).await;
        let token = fact(&hers, "Token");
        assert!(words(token).ends_with("Set, changed 2 hours ago by ada@example.org"), "{token}");
        machine_readable(token);
        assert!(words(fact(&hers, "Base URL")).ends_with(&shop.up.url), "{hers}");
        assert_eq!(words(fact(&hers, "Owner")), "you");
        assert_eq!(words(fact(&hers, "Acts as")), "import-robot");
        assert_eq!(words(fact(&hers, "Expires on")), "31 January 2030");
        machine_readable(fact(&hers, "Expires on"));
        assert!(fact(&hers, "Note").contains("Ask &#60;Grace&#62;."), "{hers}");
        assert_eq!(words(fact(&hers, "Id")), made["id"].as_str().unwrap());
        for label in ["Made", "Last changed"] {
            machine_readable(fact(&hers, label));
        }
        let card = between(&hers, "data-part=\"env-production\"", "</article>");
        let text = words(card);
        assert!(text.contains("production Works") && text.contains("It works: the API accepted it."), "{text}");
        assert!(text.contains("Last check: 2 hours ago"), "{text}");
        machine_readable(between(card, "Last check:", "</p>"));
        let used = words(fact(card, "Used in"));
        assert!(used.contains("acme: staging") && used.contains("acme: production"), "{used}");
        assert!(fact(card, "Sent to").contains(&shop.up.url), "{card}");

        // What another member sees of it: that it is set, and who owns it; nothing to change, and no values.
        let his = page(&shop.app, &at(&made, ""), &bob).await;
        assert_eq!(words(fact(&his, "Owner")), "ada@example.org");
        assert_eq!(words(fact(&his, "Token")), "Set");
        assert!(!his.contains("<dt>Base URL</dt>"), "{his}");
        let text = words(&his);
        assert!(text.contains("production Works") && text.contains("Check now"), "{text}");
        for action in ["Change values", "Edit details", "Change sharing", "Disable", "Delete", "Hand it over", "Activity", "Versions"] {
            assert!(words(&hers).contains(action), "{action}: {}", words(&hers));
            assert!(!text.contains(action), "{action}: {text}");
        }
        for below in ["/values/production", "/details", "/sharing", "/transfer"] {
            let refused = shop.app.get(&at(&made, below)).cookie(&bob.cookie).is(403).await;
            assert!(refused.text.contains("ada@example.org"), "{below}: who could do it is told: {}", refused.text);
        }
        for below in ["/activity", "/versions"] {
            let refused = shop.app.get(&at(&made, below)).cookie(&bob.cookie).send().await;
            assert!(matches!(refused.status, 403 | 404), "{below}: {}", refused.text);
        }
    }

    async fn what_refuses_it_and_how_to_mend_that_stand_in_words(shop) {
        let bob = bob(&shop).await;
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        shop.up.json("/me", 401, json!({"error": "expired"}));
        for _ in 0..2 {
            shop.verify(&made, "production").is(200).await;
        }
        let text = words(&page(&shop.app, &at(&made, ""), &shop.ada).await);
        assert!(text.contains("production Failing"), "{text}");
        assert!(text.contains("The API refused it twice in a row. Change the values, or mend the account at the provider; then check it."), "{text}");
        let text = words(&page(&shop.app, &at(&made, ""), &bob).await);
        assert!(text.contains("The API refused it twice in a row. ada@example.org can change the values."), "{text}");

        let skipped = with(shop.bearer("Unchecked", "planted-bearer-token-2"), json!({"verify": "skip"}));
        let skipped = shop.create(skipped).is(201).await.json();
        let text = words(&page(&shop.app, &at(&skipped, ""), &shop.ada).await);
        assert!(text.contains("production Not checked") && text.contains("Nobody has checked yet whether it works. Check it now."), "{text}");
        assert!(text.contains("Last check: Never checked"), "{text}");
        shop.app.post(&shop.at(&skipped, "/disable"), json!({})).key(&shop.ada.key).is(200).await;
        let text = words(&page(&shop.app, &at(&skipped, ""), &shop.ada).await);
        assert!(text.contains("production Disabled") && text.contains("It is disabled: nobody can use it."), "{text}");
        assert!(text.contains("Enable") && !text.contains("Check now"), "{text}");
        shop.app.delete(&shop.at(&skipped, "")).key(&shop.ada.key).is(200).await;
        let gone = page(&shop.app, &at(&skipped, ""), &shop.ada).await;
        let text = words(&gone);
        assert!(text.contains("It is going to be deleted Removed for good in 7 days"), "{text}");
        machine_readable(between(&gone, "id=\"deletes\"", "</p>"));
        assert!(text.contains("Restore") && text.contains("Delete for good now") && !text.contains("Change values"), "{text}");
    }

    async fn the_life_of_a_token_is_a_bar(shop) {
        let bar = |page: &str| {
            let bar = between(page, "<progress ", ">").to_owned();
            let number = |name: &str| between(&bar, &format!("{name}=\""), "\"").parse::<i64>().unwrap();
            (number("value"), number("max"), bar.clone())
        };
        let made = shop.create(shop.tokened("Tokened", "read")).is(201).await.json();
        let fresh = page(&shop.app, &at(&made, ""), &shop.ada).await;
        let (left, whole, told) = bar(&fresh);
        assert!(left > 0 && left == whole, "{left} of {whole}");
        assert!(told.contains("aria-label=\"Life of the token that is left\""), "{told}");
        assert!(!fresh.contains("class=\"life late\""), "{fresh}");
        shop.app.clock.advance_secs(60);
        let later = page(&shop.app, &at(&made, ""), &shop.ada).await;
        assert_eq!((bar(&later).0, bar(&later).1), (whole - 60, whole));
        let life = between(&later, "<div class=\"life", "</div>");
        assert!(words(life).contains("ends in"), "{life}");
        machine_readable(life);
        // The last tenth looks different, and what has ended has no bar.
        shop.app.clock.advance_secs(whole - 60 - whole / 20);
        assert!(page(&shop.app, &at(&made, ""), &shop.ada).await.contains("class=\"life late\""));
        shop.app.clock.advance_secs(whole);
        let over = page(&shop.app, &at(&made, ""), &shop.ada).await;
        assert!(!over.contains("<progress"), "{over}");
        assert!(words(&over).contains("the next call gets a new one"), "{}", words(&over));
    }

    async fn shares_are_a_table_of_environments_and_values(shop) {
        let made = shop.create(shop.of_sandbox("People", "api_key")).is(201).await.json();
        shop.app.project(&shop.ada, "beta").await;
        let shares = json!({"external_id": "customer-7", "shares": [
            {"project": "acme", "grants": {"production": "production"}}, {"project": "beta", "slug": "their-people", "grants": {}},
        ]});
        shop.patch(&made, shares).is(200).await;
        let hers = page(&shop.app, &at(&made, ""), &shop.ada).await;
        let table = between(&hers, "<table>", "</table>");
        for head in ["Project", "Short name", "Environment", "Uses the values"] {
            assert!(table.contains(&format!("<th scope=\"col\">{head}</th>")), "{head}: {table}");
        }
        let mut bodies: Vec<String> = table.split("<tbody>").skip(1).map(words).collect();
        bodies.sort();
        assert_eq!(bodies.len(), 2, "{bodies:?}");
        assert!(bodies[0].starts_with("acme") && bodies[0].contains("people") && bodies[0].contains("customer-7"), "{bodies:?}");
        assert!(bodies[0].ends_with("staging nothing production production"), "{bodies:?}");
        assert!(bodies[1].starts_with("beta their-people") && bodies[1].contains("Granted to no environment"), "{bodies:?}");
        let none = shop.create(with(shop.bearer("Alone", "planted-bearer-token-1"), json!({"shares": []}))).is(201).await.json();
        let alone = words(&page(&shop.app, &format!("/credentials/{}", none["id"].as_str().unwrap()), &shop.ada).await);
        assert!(alone.contains("No project may use it yet.") && alone.contains("Granted to no environment of a project"), "{alone}");
    }

    async fn versions_are_told_by_names_alone(shop) {
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        shop.app.clock.advance_secs(3600);
        shop.patch(&made, json!({"values": {"production": {"token": "planted-bearer-token-2"}}})).is(200).await;
        let shown = page(&shop.app, &at(&made, "/versions"), &shop.ada).await;
        let lines: Vec<&str> = between(&shown, "<ul class=\"rows\"", "</ul>").split("<li>").skip(1).collect();
        assert_eq!(lines.len(), 2, "{shown}");
        for (line, begins) in lines.iter().zip(["Version 2 · production", "Version 1 · production"]) {
            assert!(words(line).starts_with(begins), "{line}");
            assert!(words(line).contains("by ada@example.org"), "{line}");
            machine_readable(line);
        }
        assert!(words(lines[0]).contains("Changed: token just now by ada@example.org") && words(lines[0]).ends_with("In use"), "{}", lines[0]);
        assert!(words(lines[1]).contains("1 hour ago") && words(lines[1]).ends_with("Restore"), "{}", lines[1]);
        let action = format!("/credentials/{}/versions/production/1?project=acme", made["id"].as_str().unwrap());
        assert!(lines[1].contains(&format!("action=\"{action}\"")), "{}", lines[1]);
        assert!(!shown.contains("planted-bearer"), "{shown}");
    }

    async fn what_happened_to_it_is_told_to_its_owner(shop) {
        let bob = bob(&shop).await;
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let other = shop.create(shop.bearer("Other", "planted-bearer-token-2")).is(201).await.json();
        shop.patch(&made, json!({"values": {"production": {"token": "planted-bearer-token-3"}}})).is(200).await;
        let shown = page(&shop.app, &at(&made, "/audit"), &shop.ada).await;
        let trail = between(&shown, "id=\"trail\"", "</ol>");
        let lines: Vec<&str> = trail.split("<li").skip(1).collect();
        for action in ["credential.create", "credential.update"] {
            let line = lines.iter().find(|line| line.contains(action)).unwrap_or_else(|| panic!("{action}: {trail}"));
            assert!(words(line).contains("ada@example.org") && words(line).contains("done"), "{line}");
            machine_readable(line);
        }
        assert!(!trail.contains(other["id"].as_str().unwrap()) && !trail.contains("project.create"), "{trail}");
        let export = format!("/api/v1/credentials/{}/audit/export?format=csv", made["id"].as_str().unwrap());
        assert!(shown.contains(&format!("href=\"{export}\"")), "{shown}");
        let csv = shop.app.get(&export).cookie(&shop.ada.cookie).is(200).await.text;
        assert!(csv.contains("credential.update") && !csv.contains(other["id"].as_str().unwrap()), "{csv}");
        for path in [at(&made, "/audit"), export] {
            let refused = shop.app.get(&path).cookie(&bob.cookie).send().await;
            assert!(matches!(refused.status, 403 | 404), "{path}: {}", refused.text);
        }
    }

    async fn a_list_counts_by_connector_and_narrows(shop) {
        let bob = bob(&shop).await;
        shop.create(shop.bearer("Billing", "planted-bearer-token-1")).is(201).await;
        shop.app.clock.advance_millis(1);
        let old = with(shop.bearer("Old billing", "planted-bearer-token-2"), json!({"verify": "skip"}));
        let old = shop.create(old).is(201).await.json();
        shop.app.clock.advance_millis(1);
        shop.create(shop.of_sandbox("People", "api_key")).is(201).await;
        shop.up.json("/me", 401, json!({}));
        for _ in 0..2 {
            shop.verify(&old, "production").is(200).await;
        }
        let base = "/projects/acme/credentials";
        let whole = page(&shop.app, base, &bob).await;
        let nav = words(between(&whole, "<nav aria-label=\"By connector\">", "</nav>"));
        assert!(nav.starts_with("All 3"), "{nav}");
        assert!(nav.contains("HTTP 2") && nav.contains("Sandbox 1"), "{nav}");
        assert_eq!(rows(&whole).len(), 3, "{whole}");
        let text = words(&whole);
        assert!(text.contains("Sandbox · API key · Owner: ada@example.org"), "{text}");
        assert!(text.contains("staging: Failing") && text.contains("production: Works"), "{text}");
        for (query, names) in [
            ("q=old", vec!["Old billing"]),
            ("status=failing", vec!["Old billing"]),
            ("status=verified&q=bill", vec!["Billing"]),
            ("connector=sandbox", vec!["People"]),
            ("connector=http&status=disabled", vec![]),
        ] {
            let narrowed = page(&shop.app, &format!("{base}?{query}"), &bob).await;
            assert_eq!(rows(&narrowed), names, "{query}: {narrowed}");
            assert!(narrowed.contains("Show all"), "{query}");
            assert_eq!(names.is_empty(), narrowed.contains("Nothing fits"), "{query}");
        }
        // What was asked for stays in the form.
        let narrowed = page(&shop.app, &format!("{base}?q=%22bill%22&status=failing"), &bob).await;
        assert!(narrowed.contains("value=\"&#34;bill&#34;\"") && narrowed.contains("<option value=\"failing\" selected>Failing</option>"), "{narrowed}");
        // One's own, in all projects.
        let mine = words(&page(&shop.app, "/credentials", &shop.ada).await);
        assert!(mine.contains("Billing") && mine.contains("In acme"), "{mine}");
        let mine = "/credentials";
        for (query, names) in [
            ("q=&status=&connector=", vec!["People", "Old billing", "Billing"]),
            ("q=old&status=&connector=", vec!["Old billing"]),
            ("q=&status=verified&connector=", vec!["People", "Billing"]),
            ("q=&status=failing&connector=http", vec!["Old billing"]),
            ("q=bill&status=verified&connector=http", vec!["Billing"]),
            ("q=bill&status=&connector=sandbox", vec![]),
        ] {
            let narrowed = page(&shop.app, &format!("{mine}?{query}"), &shop.ada).await;
            let mut found = rows(&narrowed);
            let mut names = names;
            found.sort();
            names.sort_unstable();
            assert_eq!(found, names, "{query}: {narrowed}");
            assert_eq!(names.len() < 3, narrowed.contains("Show all"), "{query}");
            assert_eq!(names.is_empty(), narrowed.contains("Nothing fits"), "{query}");
        }
        let his = page(&shop.app, "/credentials", &bob).await;
        assert!(his.contains("You own no credential yet"), "{his}");
    }
}

both_worlds! {
    async fn who_used_it_and_the_newest_calls_are_told(world) {
        let mut world = world;
        world.run_jobs();
        let made = world.credential("acme", "sandbox", "api_key", "Robot").await;
        let none = words(&page(&world.app, &at(&made, "/activity"), &world.ada).await);
        assert!(none.contains("Nobody has called with it yet.") && none.contains("No key has used it"), "{none}");
        let key = world.app.service_key(&world.ada, "acme", json!({"name": "importer", "credentials": [made["id"]]})).await;
        world.operation("robot", "people", json!({})).key(key["key"].as_str().unwrap()).is(200).await;
        assert_eq!(world.proxy_as_ada("robot/v1/nothing").await.status, 404);
        let path = at(&made, "/activity");
        let shown = async || page(&world.app, &path, &world.ada).await;
        world.until("both calls are told", async || words(&shown().await).contains("1 call ")
            && words(&shown().await).contains("/v1/nothing")).await;
        let shown = shown().await;
        let used = between(&shown, "aria-labelledby=\"used\"", "</section>");
        let lines: Vec<&str> = used.split("<li>").skip(1).collect();
        let importer = lines.iter().find(|line| line.contains("importer")).unwrap_or_else(|| panic!("{used}"));
        assert!(words(importer).contains("importer acme 1 call last just now"), "{importer}");
        machine_readable(importer);
        let calls = between(&shown, "aria-labelledby=\"calls\"", "</section>");
        let lines: Vec<&str> = calls.split("<li>").skip(1).collect();
        assert_eq!(lines.len(), 2, "{calls}");
        let call = |path: &str| lines.iter().find(|line| words(line).starts_with(path)).unwrap_or_else(|| panic!("{path}: {calls}"));
        assert!(call("GET /v1/nothing").contains("<span class=\"badge warn\">404</span>"), "{calls}");
        assert!(call("GET (operation people)").contains("<span class=\"badge good\">200</span>"), "{calls}");
        let host = world.api.trim_start_matches("http://").split(':').next().unwrap();
        for line in lines {
            machine_readable(line);
            let text = words(line);
            assert!(text.contains("production ·") && text.contains(host) && text.contains(" ms "), "{text}");
        }
        assert!(shown.contains(&format!("href=\"/projects/acme/audit?credential={}\"", made["id"].as_str().unwrap())), "{shown}");
    }
}

both_scenes! {
    async fn a_sign_in_that_ended_says_how_to_mend_it(scene) {
        let app = &scene.world.app;
        let ada = &scene.world.ada;
        let bob = app.person("bob@example.org").await;
        app.member(ada, "acme", &bob, "editor").await;
        let id = scene.credential().await;
        let path = format!("/credentials/{id}?project=acme");
        let connect = format!("href=\"/credentials/{id}/connect/production?project=acme\"");
        let waits = page(app, &path, ada).await;
        let text = words(&waits);
        assert!(text.contains("production Sign-in needed") && text.contains("so it cannot be used. Sign in at the provider."), "{text}");
        assert!(waits.contains(&connect), "{waits}");
        let text = words(&page(app, &path, &bob).await);
        assert!(text.contains("Nobody has signed in for it yet, so it cannot be used. ada@example.org can sign in again."), "{text}");

        assert_eq!(scene.connect(&id, json!({})).await.status, 200);
        let works = page(app, &path, ada).await;
        assert_eq!(words(fact(&works, "Account")), "alice", "{works}");
        assert!(words(fact(&works, "Granted")).contains("openid read"), "{works}");
        assert_eq!(words(fact(&works, "OAuth client")), "Provider");

        // Its client asks another server now: the grant is over.
        let moved = format!("http://localhost:{}/token", scene.oidc.port());
        let hosts = json!([format!("127.0.0.1:{}", scene.oidc.port()), format!("localhost:{}", scene.oidc.port())]);
        let body = json!({"token_endpoint": moved, "hosts": hosts, "client_secret": latchstring_testkit::OidcProvider::CLIENT_SECRET});
        let client = format!("/api/v1/oauth-clients/{}", scene.client["id"].as_str().unwrap());
        app.patch(&client, body).key(&scene.root.key).is(200).await;
        let ended = page(app, &path, ada).await;
        let text = words(&ended);
        assert!(text.contains("production Reconnect"), "{text}");
        assert!(text.contains("The sign-in behind it has ended at the provider, so it cannot be used. Sign in once more."), "{text}");
        assert!(ended.contains(&connect), "{ended}");
        let his = page(app, &path, &bob).await;
        assert!(words(&his).contains("so it cannot be used. ada@example.org can sign in again."), "{}", words(&his));
        assert!(!his.contains("/connect/production"), "{his}");
        let listed = page(app, "/projects/acme/credentials?status=needs_reconnect", &bob).await;
        assert_eq!(rows(&listed), ["Drive"], "{listed}");
    }
}

both! {
    async fn whom_to_ask_for_an_oauth_client(app) {
        let root = app.superuser("root@example.org").await;
        app.patch("/api/v1/me", json!({"name": "Rosa Root"})).key(&root.key).is(200).await;
        let second = app.superuser("sam@example.org").await;
        app.patch("/api/v1/me", json!({"name": "Sam Second"})).key(&second.key).is(200).await;
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        let bob = app.person("bob@example.org").await;
        app.member(&ada, "acme", &bob, "editor").await;
        app.member(&ada, "acme", &root, "editor").await;
        let choose = "/projects/acme/credentials/new?connector=google_drive";
        let form = format!("{choose}&method=authorization_code");
        let sentence = "This method needs an OAuth client, the registration of this server with Google Drive, and nobody has set one up yet.";
        let ask = "Ask Rosa Root, Sam Second: a superuser of this server sets it up once for everybody.";
        for path in [choose, form.as_str()] {
            let text = words(&page(&app, path, &bob).await);
            assert!(text.contains(sentence) && text.contains(ask), "{path}: {text}");
            assert!(!text.contains("Set up an OAuth client"), "{path}: {text}");
        }
        assert!(!page(&app, &form, &bob).await.contains("name=\"connector\""), "there is no form to send");
        let other = words(&page(&app, &format!("{choose}&method=service_account"), &bob).await);
        assert!(!other.contains("nobody has set one up yet"), "a method without consent needs none: {other}");

        let hers = page(&app, &form, &root).await;
        assert!(words(&hers).contains("You are a superuser: set it up first, then come back."), "{hers}");
        assert!(hers.contains("href=\"/oauth-clients/new?connector=google_drive&#38;project=acme&#38;return_to=%2Fprojects%2Facme%2F"), "{hers}");
        let client = json!({"name": "Our Google", "connector": "google_drive", "client_id": "ours", "client_secret": "planted-secret-of-google", "projects": ["acme"]});
        let client = app.post("/api/v1/oauth-clients", client).key(&root.key).is(201).await.json();
        let ready = page(&app, &form, &bob).await;
        assert!(!ready.contains("nobody has set one up yet"), "{ready}");
        assert!(ready.contains(&format!("<option value=\"{}\" selected>Our Google</option>", client["id"].as_str().unwrap())), "{ready}");
        assert!(ready.contains("Save and sign in"), "{ready}");
    }

    async fn every_connector_is_explained(app) {
        // Without an account too.
        let list = app.get("/docs/connectors").is(200).await.text;
        let known = app.broker.catalog().all_builtin();
        assert!(known.len() > 50, "{}", known.len());
        for definition in known {
            let path = format!("/docs/connectors/{}", definition.id);
            assert!(list.contains(&format!("href=\"{path}\"")), "{path} is not listed");
            let shown = app.get(&path).is(200).await.text;
            for method in &definition.auth_methods {
                let article = between(&shown, &format!("aria-labelledby=\"method-{}\"", method.id), "</article>");
                let text = words(article);
                assert!(text.contains(&words(&method.label)), "{path} {}: {text}", method.id);
                assert!(article.contains(&format!("/docs/guides/{}\"", method.scheme.ty.as_str())), "{path} {}", method.id);
                let sent = words(between(article, "<strong>What is sent:</strong>", "</p>"));
                assert!(sent.len() > 20 && sent.ends_with('.'), "{path} {}: {sent}", method.id);
                for field in &method.fields {
                    let one = between(article, &format!("<code>{}</code></dt>", field.name), "</dd>");
                    let marks = words(one);
                    assert!(marks.contains(field.ty.as_str()), "{path} {}: {one}", field.name);
                    assert_eq!(field.secret, one.contains("<span class=\"chip\">secret</span>"), "{path} {}: {one}", field.name);
                    assert_eq!(field.optional, one.contains("<span class=\"chip\">optional</span>"), "{path} {}: {one}", field.name);
                }
            }
        }
        app.get("/docs/connectors/nothing").header("accept", "text/html").is(404).await;
    }

    async fn a_connector_s_sheet_says_what_to_get_where(app) {
        let shown = app.get("/docs/connectors/github").is(200).await.text;
        let text = words(&shown);
        assert!(text.contains("Credentials go only to Where its owner says"), "{text}");
        let stripe = words(&app.get("/docs/connectors/stripe").is(200).await.text);
        assert!(stripe.contains("Credentials go only to api.stripe.com"), "{stripe}");
        assert!(text.contains("Checked with GET /user"), "{text}");
        let article = between(&shown, "aria-labelledby=\"method-token\"", "</article>");
        let method = words(article);
        for part in [
            "Personal access token",
            "A fine-grained token reaches only the repositories that you choose for it.",
            "Settings, Developer settings, Personal access tokens.",
            "The token goes into the Authorization header of every request (Bearer).",
        ] {
            assert!(method.contains(part), "{part}: {method}");
        }
        assert!(article.contains("href=\"https://docs.github.com/en/authentication/"), "{article}");
        assert!(text.contains("Issues of a repository GET list_issues") && text.contains("New issue POST create_issue"), "{text}");
        assert!(text.contains("bad credentials The token is not valid."), "{text}");
        // Choices, and what a field depends on.
        let http = words(&app.get("/docs/connectors/http").is(200).await.text);
        assert!(http.contains("one of header (Header), query (Query parameter), cookie (Cookie)"), "{http}");
        assert!(http.contains("only where Where it goes = header"), "{http}");
        assert!(http.contains("For example X-API-Key"), "{http}");
    }

    async fn the_api_s_reference_is_the_document(app) {
        let document = app.get("/api/v1/openapi.json").is(200).await.json();
        let index = app.get("/docs/api").is(200).await.text;
        assert!(index.contains("href=\"/api/v1/openapi.json\""));
        let parts: Vec<String> = index.split("href=\"/docs/api/").skip(1).map(|part| part.split('"').next().unwrap().to_owned()).collect();
        let mut shown = String::new();
        for part in &parts {
            shown.push_str(&app.get(&format!("/docs/api/{part}")).is(200).await.text);
        }
        let mut operations = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            for (verb, operation) in item.as_object().unwrap().iter().filter(|(_, one)| one["operationId"].is_string()) {
                operations += 1;
                let id = operation["operationId"].as_str().unwrap();
                let article = between(&shown, &format!("<article class=\"card\" id=\"{id}\""), "</article>");
                assert!(words(article).contains(&format!("{} {path}", verb.to_uppercase())), "{verb} {path}: {article}");
            }
        }
        assert!(operations > 80, "{operations}");
        // One of them whole: what goes in and what comes out.
        let article = words(between(&shown, "id=\"create_credential\"", "</article>"));
        for part in ["POST /api/v1/credentials", "Body", "auth_method string required", "values", "Answers 201"] {
            assert!(article.contains(part), "{part}: {article}");
        }
        app.get("/docs/api/nothing").header("accept", "text/html").is(404).await;
    }

    async fn guides_are_read_inside(app) {
        let index = app.get("/docs").is(200).await.text;
        for path in ["/docs/connectors", "/docs/guides/templates", "/docs/api", "/docs/errors"] {
            assert!(index.contains(&format!("href=\"{path}\"")), "{path}");
        }
        let templates = app.get("/docs/guides/templates").is(200).await.text;
        let text = words(&templates);
        for (template, result) in [
            ("{{ get_secret('signing_key') }}", "s3cret"),
            ("{{ get_variable('tenant') }}", "t-17"),
            ("{{ now(0, 'date') }}", "2026-01-31"),
            ("{{ name | upper }}", "ADA"),
        ] {
            assert!(text.contains(&format!("{template} {result}")), "{template}: {text}");
        }
        // Links between files lead to pages.
        assert!(templates.contains("href=\"/docs/guides/connectors#templates\""), "{templates}");
        let mut paths: Vec<&str> = index.split("href=\"/docs/guides/").skip(1).map(|part| part.split('"').next().unwrap()).collect();
        paths.dedup();
        assert!(paths.len() > 20, "{paths:?}");
        for path in paths {
            assert!(app.get(&format!("/docs/guides/{path}")).is(200).await.text.contains("<h1 "), "{path}");
        }
    }

    async fn a_method_says_what_it_takes_where_it_is_chosen(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        let new = "/projects/acme/credentials/new?connector=airtable";
        let guide = "href=\"https://airtable.com/developers/web/guides/personal-access-tokens\"";
        let (help, sent) = (
            "It reaches only the bases and scopes that you choose for it.",
            "The token goes into the Authorization header of every request (Bearer).",
        );
        let choose = page(&app, new, &ada).await;
        let text = words(&choose);
        assert!(text.contains("How does Airtable let you in?") && text.contains("Take the first one that you have what it takes for."), "{text}");
        let way = between(&choose, "id=\"method-token\"", "</li>");
        let text = words(way);
        for part in ["Personal access token", help, sent, "The provider's guide"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(way.contains(guide) && way.contains("target=\"_blank\" rel=\"noreferrer\""), "{way}");
        let consent = between(&choose, "id=\"method-authorization_code\"", "</main>");
        let text = words(consent);
        for part in ["Sign in with Airtable", "Every person consents with their own account", "You sign in at the provider and agree."] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(consent.contains("href=\"https://airtable.com/developers/web/api/oauth-reference\""), "{consent}");

        let form = page(&app, &format!("{new}&method=token"), &ada).await;
        let card = between(&form, "<section class=\"card guide\"", "</section>");
        let text = words(card);
        for part in ["Personal access token", help, "What is sent", sent, "The provider's documentation"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(card.contains(guide), "{card}");
        // Beside the field: where to get it, and what it looks like.
        assert!(words(&form).contains("airtable.com/create/tokens, Create token."), "{form}");
        assert!(form.contains("placeholder=\"pat…\"") && form.contains("pattern=\"pat.+\""), "{form}");
        let form = page(&app, "/projects/acme/credentials/new?connector=http&method=api_key", &ada).await;
        let text = words(between(&form, "name=\"/values/default/base_url\"", "</form>"));
        assert!(text.contains("Of the header, query parameter or cookie. For example X-API-Key"), "{text}");
    }

    async fn members_see_of_a_client_what_they_consent_to(app) {
        let root = app.superuser("root@example.org").await;
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        let client = with(any_server("Provider"), json!({"projects": ["acme"]}));
        let client = app.post("/api/v1/oauth-clients", client).key(&root.key).is(201).await.json();
        let path = format!("/oauth-clients/{}", client["id"].as_str().unwrap());
        let seen = page(&app, &path, &ada).await;
        assert!(words(fact(&seen, "Owner")).contains("root@example.org"), "{seen}");
        assert!(seen.contains("Files.Read") && !seen.contains("<form class=\"form\""), "{seen}");
        let whole = page(&app, &path, &root).await;
        assert!(whole.contains(client["redirect_uri"].as_str().unwrap()) && whole.contains("name=\"client_secret\""), "{whole}");
        assert!(!seen.contains(client["redirect_uri"].as_str().unwrap()), "{seen}");
    }
}
