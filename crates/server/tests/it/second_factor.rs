//! A second factor: set up, asked for, used once, lost, removed.

use serde_json::{Value, json};

use crate::app::{PASSWORD, both};

fn with(code: &str) -> Value {
    json!({"email": "ada@example.org", "password": PASSWORD, "totp": code})
}

both! {
    async fn signing_in_takes_a_code_once_it_was_shown_to_work(app) {
        let ada = app.person("ada@example.org").await;
        let before = app.get("/api/v1/me/totp").cookie(&ada.cookie).is(200).await.json();
        assert_eq!(before, json!({"enabled": false, "confirmed_at": null, "recovery_codes_left": 0}));
        let offered = app.post("/api/v1/me/totp", json!({})).cookie(&ada.cookie).is(201).await.json();
        assert_eq!(offered["secret"].as_str().unwrap().len(), 32);
        let uri = offered["uri"].as_str().unwrap();
        assert!(uri.starts_with("otpauth://totp/Latchstring:ada%40example%2Eorg?secret="), "{uri}");
        // Until it has been shown to work it guards nothing.
        app.post("/api/v1/session", json!({"email": ada.email, "password": PASSWORD})).is(204).await;
        let wrong = app.post("/api/v1/me/totp/confirm", json!({"code": "000000"})).cookie(&ada.cookie).is(422).await;
        assert_eq!(wrong.pointers(), ["/code"]);
        let other = app.sign_in("ada@example.org").await;
        let factor = app.second_factor(&ada).await;
        assert_eq!(factor.recovery.len(), 10);
        app.get("/api/v1/me").cookie(&other).is(401).await;
        app.get("/api/v1/me").cookie(&ada.cookie).is(200).await;
        let needed = app.post("/api/v1/session", json!({"email": ada.email, "password": PASSWORD})).is(401).await;
        assert_eq!(needed.code(), "second_factor_needed");
        assert!(needed.headers.get("set-cookie").is_none());
        let code = app.next_code(&factor);
        let inside = app.post("/api/v1/session", with(&code)).is(204).await.cookie();
        let sessions = app.get("/api/v1/me/sessions").cookie(&inside).is(200).await.json();
        assert_eq!(sessions["items"][0]["second_factor"], true);
        assert_eq!(app.get("/api/v1/me").cookie(&inside).is(200).await.json()["second_factor"], true);
        // A wrong password says nothing of a second factor.
        let bad = json!({"email": ada.email, "password": "incorrect horse", "totp": app.next_code(&factor)});
        assert_eq!(app.post("/api/v1/session", bad).is(401).await.code(), "unauthenticated");
        let again = app.post("/api/v1/me/totp", json!({})).cookie(&inside).is(409).await;
        assert_eq!(again.code(), "second_factor_exists");
        let recorded = app.recorded().await;
        assert!(recorded.contains(&"second_factor.create ok".to_owned()));
        let secret = offered["secret"].as_str().unwrap();
        assert!(app.records().await.iter().all(|record| !record.body.contains(secret) && !record.body.contains(&factor.recovery[0])));
    }

    async fn a_code_is_good_once_and_a_step_before_and_after(app) {
        let ada = app.person("ada@example.org").await;
        let factor = app.second_factor(&ada).await;
        let code = app.next_code(&factor);
        app.post("/api/v1/session", with(&code)).is(204).await;
        assert_eq!(app.post("/api/v1/session", with(&code)).is(401).await.code(), "second_factor_wrong");
        let late = app.next_code(&factor);
        app.clock.advance_secs(30);
        app.post("/api/v1/session", with(&late)).is(204).await;
        let too_late = app.next_code(&factor);
        app.clock.advance_secs(60);
        app.post("/api/v1/session", with(&too_late)).is(401).await;
        let recorded = app.recorded().await;
        assert_eq!(recorded.iter().filter(|event| *event == "session.refuse refused").count(), 2);
    }

    async fn of_two_who_bring_the_same_code_at_once_one_comes_in(app) {
        let ada = app.person("ada@example.org").await;
        let factor = app.second_factor(&ada).await;
        let code = app.next_code(&factor);
        let (one, two) = tokio::join!(app.post("/api/v1/session", with(&code)).send(), app.post("/api/v1/session", with(&code)).send());
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 401], "{} {}", one.text, two.text);
    }

    async fn codes_are_few(app) {
        let ada = app.person("ada@example.org").await;
        let factor = app.second_factor(&ada).await;
        app.clock.advance_secs(3600);
        // From wherever it is tried.
        let mut wrong = 0;
        for n in 0..12 {
            let answer = app.post("/api/v1/session", with("123456")).from(&format!("192.0.2.{n}")).send().await;
            wrong += u32::from(answer.status == 401);
        }
        assert_eq!(wrong, 6, "one for the last success");
        let right = app.post("/api/v1/session", with(&app.next_code(&factor))).from("198.51.100.1").is(429).await;
        assert_eq!((right.code().as_str(), right.header("retry-after")), ("too_many_requests", "270"));
        app.clock.advance_secs(300);
        app.post("/api/v1/session", with(&app.next_code(&factor))).from("198.51.100.1").is(204).await;
    }

    async fn a_recovery_code_is_good_once(app) {
        let ada = app.person("ada@example.org").await;
        let factor = app.second_factor(&ada).await;
        let typed = factor.recovery[3].to_lowercase().replace('-', " ");
        let inside = app.post("/api/v1/session", with(&typed)).is(204).await.cookie();
        assert_eq!(app.post("/api/v1/session", with(&factor.recovery[3])).is(401).await.code(), "second_factor_wrong");
        assert_eq!(app.get("/api/v1/me/totp").cookie(&inside).is(200).await.json()["recovery_codes_left"], 9);
        let new = app.post("/api/v1/me/totp/recovery-codes", json!({})).cookie(&inside).is(201).await.json();
        app.post("/api/v1/session", with(&factor.recovery[4])).is(401).await;
        app.post("/api/v1/session", with(new["recovery_codes"][0].as_str().unwrap())).is(204).await;
        assert!(app.recorded().await.contains(&"second_factor.recover ok".to_owned()));
    }

    async fn one_persons_codes_are_nobody_elses(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let (adas, bobs) = (app.second_factor(&ada).await, app.second_factor(&bob).await);
        app.post("/api/v1/session", with(&bobs.recovery[0])).is(401).await;
        app.post("/api/v1/session", with(&app.next_code(&bobs))).is(401).await;
        app.post("/api/v1/session", with(&app.next_code(&adas))).is(204).await;
    }

    async fn it_is_removed_with_a_recent_sign_in(app) {
        let ada = app.person("ada@example.org").await;
        let factor = app.second_factor(&ada).await;
        app.clock.advance_secs(16 * 60);
        let late = app.delete("/api/v1/me/totp").cookie(&ada.cookie).is(403).await;
        assert_eq!(late.code(), "recent_sign_in_required");
        app.delete("/api/v1/me/totp").key(&ada.key).is(403).await;
        let confirm = json!({"password": PASSWORD, "totp": app.next_code(&factor)});
        app.post("/api/v1/session/confirm", confirm).cookie(&ada.cookie).is(204).await;
        app.delete("/api/v1/me/totp").cookie(&ada.cookie).is(204).await;
        app.post("/api/v1/session", json!({"email": ada.email, "password": PASSWORD})).is(204).await;
        assert_eq!(app.delete("/api/v1/me/totp").cookie(&ada.cookie).is(409).await.code(), "no_second_factor");
        app.post("/api/v1/session", with(&factor.recovery[0])).is(204).await;
        let sessions = app.get("/api/v1/me/sessions").cookie(&ada.cookie).is(200).await.json();
        assert!(sessions["items"].as_array().unwrap().iter().all(|session| session["second_factor"] == false));
    }

    async fn a_superuser_removes_it_and_the_person_is_told(app) {
        let ada = app.superuser("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.second_factor(&bob).await;
        let path = format!("/api/v1/users/{}/totp", bob.id);
        assert_eq!(app.delete(&path).cookie(&bob.cookie).is(403).await.code(), "forbidden");
        assert_eq!(app.delete("/api/v1/users/usr_0000000001zzzzzzzzzzzzzzzz/totp").cookie(&ada.cookie).is(404).await.code(), "not_found");
        app.delete(&path).cookie(&ada.cookie).is(204).await;
        app.post("/api/v1/session", json!({"email": bob.email, "password": PASSWORD})).is(204).await;
        app.delete(&path).cookie(&ada.cookie).is(409).await;
        let own = app.delete(&format!("/api/v1/users/{}/totp", ada.id)).cookie(&ada.cookie).is(403).await;
        assert_eq!(own.code(), "forbidden");
        let records = app.records().await;
        let removed = records.iter().find(|record| record.action == "second_factor.delete" && record.outcome.as_str() == "ok").unwrap();
        assert!(removed.body.contains("\"by\":\"superuser\"") && removed.target.as_deref() == Some(bob.id.as_str()));
        let mut reader = app.store.read().await.unwrap();
        let told = latchstring_store::notices::unaddressed(&mut reader, 100).await.unwrap();
        assert!(told.iter().any(|notice| notice.event == "account.second_factor_removed" && notice.data["by"] == "superuser"));
    }

    async fn a_secret_is_sealed_for_its_person_and_moves_with_the_data_keys(app) {
        let ada = app.person("ada@example.org").await;
        let factor = app.second_factor(&ada).await;
        let sealed = async || latchstring_store::second_factors::get(&mut app.store.read().await.unwrap(), &ada.id.parse().unwrap()).await.unwrap().unwrap();
        let before = sealed().await;
        assert!(before.sealed.windows(20).all(|part| part != factor.secret.expose()));
        app.rotate_data_keys().await;
        let after = sealed().await;
        assert_ne!((before.data_key, before.sealed), (after.data_key, after.sealed));
        app.post("/api/v1/session", with(&app.next_code(&factor))).is(204).await;
    }

    async fn a_page_asks_for_the_code_and_holds_no_password(app) {
        let ada = app.person("ada@example.org").await;
        let factor = app.second_factor(&ada).await;
        let form = [("email", "ada@example.org"), ("password", PASSWORD), ("return_to", "/docs/errors")];
        let first = app.post("/sign-in", json!({})).form(&form).is(303).await;
        let path = first.header("location").to_owned();
        assert!(path.starts_with("/sign-in/code/sgn_"), "{path}");
        let cookie = first.cookie();
        assert!(cookie.starts_with("latchstring_sign_in_"), "{cookie}");
        let page = app.get(&path).cookie(&cookie).is(200).await;
        assert!(!page.text.contains(PASSWORD));
        // Another browser has no cookie of it.
        app.get(&path).is(410).await;
        app.post(&path, json!({})).form(&[("code", &app.next_code(&factor))]).is(410).await;
        app.post(&path, json!({})).form(&[("code", "000000")]).cookie(&cookie).is(401).await;
        let right = app.next_code(&factor);
        let inside = app.post(&path, json!({})).form(&[("code", &right)]).cookie(&cookie).is(303).await;
        assert_eq!(inside.header("location"), "/docs/errors");
        let cookies: Vec<&str> = inside.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
        let session = cookies.iter().find(|line| line.starts_with("latchstring_session=")).unwrap();
        app.get("/api/v1/me").cookie(session.split(';').next().unwrap()).is(200).await;
        app.post(&path, json!({})).form(&[("code", &app.next_code(&factor))]).cookie(&cookie).is(410).await;
        // A password that is changed meanwhile ends what was begun with the old one.
        let second = app.post("/sign-in", json!({})).form(&form).is(303).await;
        let token = app.reset_token("ada@example.org").await;
        app.post("/api/v1/password-resets/accept", json!({"token": token, "password": "another horse battery"})).is(204).await;
        let code = app.next_code(&factor);
        app.post(second.header("location"), json!({})).form(&[("code", &code)]).cookie(&second.cookie()).is(410).await;
    }

    async fn what_waits_for_a_code_ends_with_the_factor_and_its_time(app) {
        let ada = app.person("ada@example.org").await;
        let root = app.superuser("root@example.org").await;
        let half_done = async || {
            let form = [("email", "ada@example.org"), ("password", PASSWORD)];
            let first = app.post("/sign-in", json!({})).form(&form).is(303).await;
            let (path, cookie) = (first.header("location").to_owned(), first.cookie());
            app.get(&path).cookie(&cookie).is(200).await;
            (path, cookie)
        };
        // Removed by the person, and by a superuser: a new factor's code does not finish it either.
        for by_root in [false, true] {
            app.second_factor(&ada).await;
            let (path, cookie) = half_done().await;
            if by_root {
                app.delete(&format!("/api/v1/users/{}/totp", ada.id)).cookie(&root.cookie).is(204).await;
            } else {
                app.delete("/api/v1/me/totp").cookie(&ada.cookie).is(204).await;
            }
            app.get(&path).cookie(&cookie).is(410).await;
            let factor = app.second_factor(&ada).await;
            app.post(&path, json!({})).form(&[("code", &app.next_code(&factor))]).cookie(&cookie).is(410).await;
            app.delete("/api/v1/me/totp").cookie(&ada.cookie).is(204).await;
        }
        let factor = app.second_factor(&ada).await;
        let (path, cookie) = half_done().await;
        app.clock.advance_secs(300);
        app.get(&path).cookie(&cookie).is(410).await;
        app.post(&path, json!({})).form(&[("code", &app.next_code(&factor))]).cookie(&cookie).is(410).await;
    }

    async fn the_account_page_sets_it_up_without_a_script(app) {
        let ada = app.person("ada@example.org").await;
        assert!(app.get("/account/totp").cookie(&ada.cookie).is(200).await.text.contains("Set up a second factor"));
        let page = app.post("/account/totp", json!({})).form(&[]).cookie(&ada.cookie).is(200).await;
        assert!(page.text.contains("<svg") && page.text.contains("otpauth://"));
        let secret = page.text.split("<code id=\"secret\"").nth(1).unwrap().split(['>', '<']).nth(1).unwrap();
        assert_eq!(secret.len(), 32);
        let wrong = app.post("/account/totp/confirm", json!({})).form(&[("code", "000000")]).cookie(&ada.cookie).is(422).await;
        assert!(!wrong.text.contains(secret) && !wrong.text.contains("000000"), "neither is ever drawn again");
        app.clock.advance_secs(16 * 60);
        let late = || app.post("/account/totp", json!({})).form(&[]).cookie(&ada.cookie).header("accept", "text/html");
        assert_eq!(late().is(303).await.header("location"), "/confirm");
        // Back to the page that it came from, if that is one of ours.
        let from = |page: &str| late().header("referer", page);
        let ours = from("http://127.0.0.1:5282/account/totp").is(303).await;
        assert_eq!(ours.header("location"), "/confirm?return_to=%2Faccount%2Ftotp");
        assert_eq!(from("http://evil.example/account/totp").is(303).await.header("location"), "/confirm");
        let confirm = |password: &str, back: &str| {
            app.post("/confirm", json!({})).form(&[("password", password), ("return_to", back)]).cookie(&ada.cookie)
        };
        let wrong = confirm("not the password", "/account/totp").is(422).await;
        assert!(wrong.text.contains("Confirm that it is you") && !wrong.text.contains("not the password"));
        assert_eq!(confirm(PASSWORD, "https://evil.example/").is(303).await.header("location"), "/account");
        assert_eq!(confirm(PASSWORD, "/account/totp").is(303).await.header("location"), "/account/totp");
        app.post("/account/totp", json!({})).form(&[]).cookie(&ada.cookie).is(200).await;
    }
}
