//! Pages of who owns what: what they show, to whom, and what never stands in them.

use serde_json::json;

use crate::app::{Somebody, both};
use crate::credentials_upstream::{Shop, both_shops};

fn page<'a>(shop: &'a Shop, path: &str, who: &Somebody) -> crate::app::Call<'a> {
    shop.app.get(path).cookie(&who.cookie)
}

/// The link that stands between the tags of a page, as a path.
fn link(page: &str) -> String {
    let url = page.split("<code id=\"link\"").nth(1).unwrap().split('>').nth(1).unwrap();
    url.split('<').next().unwrap().strip_prefix("http://127.0.0.1:5282").unwrap().to_owned()
}

both_shops! {
    async fn an_offer_is_made_taken_back_and_accepted(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "viewer").await;
        let made = shop.create(shop.tokened("API", "read")).is(201).await.json();
        let path = format!("/credentials/{}/transfer", made["id"].as_str().unwrap());
        let form = |email: &'static str| shop.app.post(&path, json!({})).form(&[("email", email)]);
        // Whoever only uses it is sent to its owner.
        page(&shop, &path, &bob).is(403).await;
        let wrong = form("nobody@example.org").cookie(&shop.ada.cookie).is(422).await;
        assert!(wrong.text.contains("not an active member of acme") && wrong.text.contains("value=\"nobody@example.org\""), "{}", wrong.text);

        let offered = form("bob@example.org").cookie(&shop.ada.cookie).is(201).await;
        let first = link(&offered.text);
        let open = page(&shop, &path, &shop.ada).is(200).await;
        assert!(open.text.contains("It is offered to bob@example.org") && !open.text.contains(&first), "{}", open.text);
        shop.app.post(&format!("{path}/cancel"), json!({})).form(&[]).cookie(&shop.ada.cookie).is(303).await;
        let gone = page(&shop, &first, &bob).is(410).await;
        assert!(gone.text.contains("The offer was taken back"), "{}", gone.text);

        let second = link(&form("bob@example.org").cookie(&shop.ada.cookie).is(201).await.text);
        // Two who are not meant, and one who has not signed in: none of them learns anything.
        page(&shop, &second, &shop.ada).is(404).await;
        let browser = shop.app.get(&second).header("accept", "text/html").is(303).await;
        assert!(browser.header("location").starts_with("/sign-in?return_to="));
        let shown = page(&shop, &second, &bob).is(200).await;
        for part in ["Take over “API”?", "ada@example.org offers you", "acme", "What changes"] {
            assert!(shown.text.contains(part), "{part}: {}", shown.text);
        }
        let token = second.rsplit('/').next().unwrap();
        assert!(!shown.text.contains(token), "the link is not repeated");
        // From elsewhere nobody makes bob accept.
        let forged = shop.app.post(&second, json!({})).form(&[]).cookie(&bob.cookie);
        forged.header("sec-fetch-site", "cross-site").is(403).await;
        let taken = shop.app.post(&second, json!({})).form(&[]).cookie(&bob.cookie).is(303).await;
        let at = taken.header("location").to_owned();
        let his = page(&shop, &at, &bob).is(200).await;
        assert!(his.text.contains("Hand it over"), "{}", his.text);
        page(&shop, &path, &shop.ada).is(403).await;
    }

    async fn the_bell_counts_what_was_not_read(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "viewer").await;
        let made = shop.create(shop.tokened("API", "read")).is(201).await.json();
        let none = page(&shop, "/notices", &bob).is(200).await;
        assert!(none.text.contains("Nothing to tell") && none.text.contains("Notices: none unread"), "{}", none.text);
        shop.app.post(&shop.at(&made, "/transfer"), json!({"email": "bob@example.org"})).key(&shop.ada.key).is(201).await;
        shop.app.broker.deliver_notices().await.unwrap();
        let told = page(&shop, "/notices", &bob).is(200).await;
        for part in ["Notices: 1 unread", "is to change hands", "ada@example.org offers it to you", "Mark as read"] {
            assert!(told.text.contains(part), "{part}: {}", told.text);
        }
        let id = shop.app.get("/api/v1/me/notices").key(&bob.key).is(200).await.json()["items"][0]["id"].clone();
        let read = format!("/notices/{}/read", id.as_str().unwrap());
        // One's own alone, and from our own pages.
        shop.app.post(&read, json!({})).form(&[]).cookie(&bob.cookie).header("sec-fetch-site", "cross-site").is(403).await;
        let eve = shop.app.person("eve@example.org").await;
        shop.app.post(&read, json!({})).form(&[]).cookie(&eve.cookie).is(404).await;
        shop.app.post(&read, json!({})).form(&[]).cookie(&bob.cookie).is(303).await;
        let after = page(&shop, "/notices?unread=yes", &bob).is(200).await;
        assert!(after.text.contains("You have read everything") && after.text.contains("none unread"), "{}", after.text);
        // Hers is another matter, and goes at once.
        shop.app.post("/notices/read", json!({})).form(&[]).cookie(&shop.ada.cookie).is(303).await;
        assert!(page(&shop, "/notices", &shop.ada).is(200).await.text.contains("none unread"));
    }

    async fn keychains_are_made_changed_and_deleted_by_admins(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        shop.create(shop.tokened("API", "read")).is(201).await;
        let base = "/projects/acme/keychains";
        let form = |by: &'static str, more: &[(&'static str, &'static str)]| {
            let mut all = vec![("name", "Customers"), ("slug", ""), ("connector", "http"), ("by", by), ("default", "api")];
            all.extend(more);
            all
        };
        assert!(page(&shop, base, &shop.ada).is(200).await.text.contains("No keychain yet"));
        page(&shop, &format!("{base}/new"), &bob).is(403).await;
        let wrong = shop.app.post(base, json!({})).form(&form("{{ nothing", &[])).cookie(&shop.ada.cookie).is(422).await;
        assert!(wrong.text.contains("aria-invalid=\"true\"") && wrong.text.contains("value=\"Customers\""), "{}", wrong.text);
        shop.app.post(base, json!({})).form(&form("{{ input.customer }}", &[])).cookie(&bob.cookie).is(403).await;
        shop.app.post(base, json!({})).form(&form("{{ input.customer }}", &[])).cookie(&shop.ada.cookie).is(303).await;
        let list = page(&shop, base, &bob).is(200).await;
        assert!(list.text.contains("Customers") && list.text.contains("otherwise api") && !list.text.contains("New keychain"), "{}", list.text);
        let id = shop.app.get("/api/v1/projects/acme/keychains").key(&shop.ada.key).is(200).await.json()["items"][0]["id"].as_str().unwrap().to_owned();
        let one = format!("{base}/{id}");
        page(&shop, &one, &shop.ada).is(200).await;
        let change = [("name", "Tenants"), ("slug", "tenants"), ("by", "{{ input.tenant }}"), ("default", ""), ("version", "1")];
        shop.app.post(&one, json!({})).form(&change).cookie(&shop.ada.cookie).is(303).await;
        let seen = shop.app.get("/api/v1/projects/acme/keychains/tenants").key(&shop.ada.key).is(200).await.json();
        assert_eq!((seen["by"].as_str(), seen["default"].clone()), (Some("{{ input.tenant }}"), json!(null)));
        // Somebody else's change in between is not overwritten.
        let late = shop.app.post(&one, json!({})).form(&change).cookie(&shop.ada.cookie).is(412).await;
        assert!(late.header("content-type").starts_with("text/html"));
        shop.app.post(&format!("{one}/delete"), json!({})).form(&[]).cookie(&bob.cookie).is(403).await;
        shop.app.post(&format!("{one}/delete"), json!({})).form(&[]).cookie(&shop.ada.cookie).is(303).await;
        assert!(page(&shop, base, &shop.ada).is(200).await.text.contains("No keychain yet"));
    }

    async fn what_somebody_left_is_given_on(shop) {
        let bob = shop.app.person("bob@example.org").await;
        let carol = shop.app.person("carol@example.org").await;
        let root = shop.app.superuser("root@example.org").await;
        for who in [&bob, &carol] {
            shop.app.member(&shop.ada, "acme", who, "editor").await;
        }
        let made = shop.app.post("/api/v1/credentials", shop.tokened("API", "read")).key(&bob.key).is(201).await.json();
        // Who owns what is told before somebody goes, with what would stop.
        let remove = [("email", "bob@example.org")];
        let kept = shop.app.post("/projects/acme/members/remove", json!({})).form(&remove).cookie(&shop.ada.cookie).is(409).await;
        assert!(kept.text.contains("They own credentials") && kept.text.contains("<strong>API</strong>; stops in staging, production"), "{}", kept.text);
        let leaves = shop.app.post("/projects/acme/members/remove", json!({})).form(&remove).cookie(&bob.cookie).is(409).await;
        assert!(leaves.text.contains(&format!("/credentials/{}/transfer", made["id"].as_str().unwrap())), "{}", leaves.text);

        let path = format!("/people/{}/credentials", bob.id);
        page(&shop, &path, &root).is(409).await;
        shop.app.patch(&format!("/api/v1/users/{}", bob.id), json!({"active": false})).key(&root.key).is(200).await;
        page(&shop, &path, &shop.ada).is(403).await;
        assert!(page(&shop, "/people", &root).is(200).await.text.contains(&path));
        let left = page(&shop, &path, &root).is(200).await;
        assert!(left.text.contains("API") && left.text.contains("used in acme") && !left.text.contains("planted"), "{}", left.text);
        let give = |email: &'static str| {
            shop.app.post(&path, json!({})).form(&[("credential", made["id"].as_str().unwrap()), ("email", email)])
        };
        give("carol@example.org").cookie(&shop.ada.cookie).is(403).await;
        let wrong = give("nobody@example.org").cookie(&root.cookie).is(422).await;
        assert!(wrong.text.contains("not an active member of acme"), "{}", wrong.text);
        give("carol@example.org").cookie(&root.cookie).is(303).await;
        assert!(page(&shop, &path, &root).is(200).await.text.contains("They left nothing behind"));
        assert_eq!(shop.app.get(&shop.at(&made, "")).key(&carol.key).is(200).await.json()["owner"]["email"], "carol@example.org");
    }
}

both! {
    async fn superusers_decide_about_the_server(app) {
        let root = app.superuser("root@example.org").await;
        let ada = app.person("ada@example.org").await;
        app.get("/instance").cookie(&ada.cookie).is(403).await;
        let shown = app.get("/instance").cookie(&root.cookie).is(200).await;
        assert!(shown.text.contains("Who may sign in with a password") && shown.text.contains("value=\"15\""), "{}", shown.text);
        let form = |passwords: &'static str, minutes: &'static str, factor: &'static str| {
            let fields = [
                ("version", "1"), ("name", "Keys of Acme"), ("projects_by", "superusers"), ("password_sign_in", passwords),
                ("second_factor_for", factor), ("recent_sign_in_for", "sessions"), ("recent_sign_in_minutes", minutes),
            ];
            app.post("/instance", json!({})).form(&fields)
        };
        form("everyone", "10", "nobody").cookie(&ada.cookie).is(403).await;
        for minutes in ["", "many", "61"] {
            let wrong = form("everyone", minutes, "nobody").cookie(&root.cookie).is(422).await;
            assert!(wrong.text.contains("A number of minutes from 1 to 60"), "{}", wrong.text);
        }
        // Nobody shuts themselves out.
        let out = form("nobody", "10", "nobody").cookie(&root.cookie).send().await;
        assert!(out.status != 303 && out.text.contains("No sign-in provider is set up"), "{}", out.text);
        form("everyone", "10", "superusers").cookie(&root.cookie).is(403).await;
        form("everyone", "10", "nobody").cookie(&root.cookie).is(303).await;
        let now = app.get("/api/v1/instance").key(&root.key).is(200).await.json();
        assert_eq!((now["name"].as_str(), now["projects_by"].as_str(), now["recent_sign_in_minutes"].as_i64()), (Some("Keys of Acme"), Some("superusers"), Some(10)));
        form("everyone", "20", "nobody").cookie(&root.cookie).is(412).await;
    }

    async fn a_lost_second_factor_is_removed(app) {
        let root = app.superuser("root@example.org").await;
        let ada = app.person("ada@example.org").await;
        let path = format!("/people/{}/second-factor/remove", ada.id);
        assert!(!app.get("/people").cookie(&root.cookie).is(200).await.text.contains(&path));
        app.second_factor(&ada).await;
        assert!(app.get("/people").cookie(&root.cookie).is(200).await.text.contains(&path));
        app.post(&path, json!({})).form(&[]).cookie(&ada.cookie).is(403).await;
        app.post(&path, json!({})).form(&[]).cookie(&root.cookie).is(303).await;
        assert_eq!(app.get(&format!("/api/v1/users/{}", ada.id)).key(&root.key).is(200).await.json()["second_factor"], false);
        // Long after a sign-in one shows who one is first.
        app.second_factor(&ada).await;
        app.clock.advance_secs(3600);
        let late = app.post(&path, json!({})).form(&[]).cookie(&root.cookie).header("accept", "text/html").is(303).await;
        assert!(late.header("location").starts_with("/confirm"), "{}", late.header("location"));
    }
}
