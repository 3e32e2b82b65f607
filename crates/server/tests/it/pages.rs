use serde_json::json;

use crate::app::{PASSWORD, both};

both! {
    async fn from_the_printed_link_to_a_project_without_a_script(app) {
        let start = app.get("/").is(200).await;
        assert!(start.text.contains("not set up yet"), "{}", start.text);
        let token = app.broker.begin_setup().await.unwrap().unwrap().reveal().to_owned();
        let path = format!("/setup/{token}");
        let page = app.get(&path).is(200).await;
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(page.text.contains("<form class=\"form\" method=\"post\" novalidate>") && !page.text.contains("style="));
        assert!(!page.text.contains(&token), "the link is not repeated");
        let form = [("email", "ada@example.org"), ("name", "<b>Ada"), ("password", "short"), ("project", "Acme Inc")];
        let wrong = app.post(&path, json!({})).form(&form).is(422).await;
        assert!(wrong.text.contains("A password has at least 8 characters") && wrong.text.contains("value=\"ada@example.org\""), "{}", wrong.text);
        assert!(wrong.text.contains("aria-invalid=\"true\"") && wrong.text.contains("href=\"#f-password\""), "{}", wrong.text);
        assert!(!wrong.text.contains("<b>Ada") && wrong.text.contains("value=\"&#60;b&#62;Ada\""), "names are escaped: {}", wrong.text);
        let form = [("email", "ada@example.org"), ("name", "Ada"), ("password", PASSWORD), ("project", "Acme Inc")];
        let done = app.post(&path, json!({})).form(&form).header("origin", "http://127.0.0.1:5282").is(303).await;
        assert_eq!(done.header("location"), "/projects/acme-inc/credentials");
        let cookie = done.cookie();
        let gone = app.get(&path).is(409).await;
        assert!(gone.text.contains("set up already"));
        let start = app.get("/").cookie(&cookie).is(303).await;
        assert_eq!(start.header("location"), "/projects/acme-inc/credentials");
        let key = app.post("/account/keys", json!({})).form(&[("name", "laptop"), ("manage", "yes")]).cookie(&cookie).is(201).await;
        let key = key.text.split("<code id=\"key\"").nth(1).unwrap().split(['>', '<']).nth(1).unwrap().to_owned();
        app.post("/api/v1/projects", json!({"name": "Two"})).key(&key).is(201).await;
        let projects = app.get("/projects").cookie(&cookie).is(200).await;
        assert!(projects.text.contains("Acme Inc") && projects.text.contains("ada@example.org"));
        let out = app.post("/sign-out", json!({})).cookie(&cookie).is(303).await;
        assert_eq!(out.header("location"), "/sign-in");
        assert_eq!(app.get("/").cookie(&cookie).is(303).await.header("location"), "/sign-in");
    }

    async fn signing_in(app) {
        app.person("ada@example.org").await;
        app.get("/sign-in").is(200).await;
        let wrong = app.post("/sign-in", json!({})).form(&[("email", "ada@example.org"), ("password", "incorrect horse")]).is(401).await;
        assert!(wrong.text.contains("do not fit together") && !wrong.text.contains("incorrect horse"));
        let right = app.post("/sign-in", json!({})).form(&[("email", "ada@example.org"), ("password", PASSWORD)]).is(303).await;
        assert_eq!(right.header("location"), "/");
        app.get("/api/v1/me").cookie(&right.cookie()).is(200).await;
    }

    async fn a_browser_is_shown_pages_and_the_way_in(app) {
        let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
        for path in ["/account/keys", "/sign-out"] {
            let away = app.post(path, json!({})).form(&[("name", "x")]).header("accept", browser).is(303).await;
            assert_eq!(away.header("location"), "/sign-in");
            let gone = app.post(path, json!({})).form(&[("name", "x")]).cookie("latchstring_session=ended").header("accept", browser).is(303).await;
            assert_eq!(gone.header("location"), "/sign-in");
            // Programs are told in their own way.
            assert_eq!(app.post(path, json!({})).form(&[("name", "x")]).is(401).await.code(), "unauthenticated");
        }
        let nowhere = app.get("/nothing-here").header("accept", browser).is(404).await;
        assert!(nowhere.header("content-type").starts_with("text/html") && nowhere.text.contains("Nothing lives"), "{}", nowhere.text);
        assert_eq!(app.get("/nothing-here").is(404).await.code(), "not_found");
        // Back to where one wanted to go.
        let asked = app.get("/projects?cursor=x").header("accept", browser).is(303).await;
        assert_eq!(asked.header("location"), "/sign-in?return_to=%2Fprojects%3Fcursor%3Dx");
        // Keys are for programs.
        let ada = app.person("ada@example.org").await;
        assert_eq!(app.get("/projects").key(&ada.key).is(401).await.code(), "unauthenticated");
        // The API speaks JSON to browsers, too.
        assert_eq!(app.get("/api/v1/me").header("accept", browser).is(401).await.code(), "unauthenticated");
    }

    async fn where_a_problem_points_it_is_explained(app) {
        let problem = app.get("/api/v1/me").is(401).await.json();
        let (path, anchor) = problem["type"].as_str().unwrap().split_once('#').unwrap();
        let page = app.get(path).is(200).await;
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(page.text.contains(&format!("id=\"{anchor}\"")) && page.text.contains("<table>"));
        for code in latchstring_model::Code::ALL {
            assert!(page.text.contains(&format!("id=\"{}\"", code.as_str())), "{code:?}");
        }
    }

    async fn a_link_that_is_void_says_so(app) {
        let page = app.get("/setup/x").is(410).await;
        assert!(page.text.contains("set-up link is not valid") && page.header("content-type").starts_with("text/html"));
        assert!(app.get("/invite/x").is(410).await.text.contains("invitation is not valid"));
    }

    async fn an_invited_person_chooses_a_password(app) {
        let ada = app.superuser("ada@example.org").await;
        let made = app.post("/api/v1/invites", json!({"email": "bob@example.org"})).key(&ada.key).is(201).await.json();
        let path = made["url"].as_str().unwrap().strip_prefix("http://127.0.0.1:5282").unwrap().to_owned();
        assert!(app.get(&path).is(200).await.text.contains("bob@example.org"));
        app.post(&path, json!({})).form(&[("password", "short")]).is(422).await;
        let accepted = app.post(&path, json!({})).form(&[("password", PASSWORD)]).is(303).await;
        assert_eq!(app.get("/api/v1/me").cookie(&accepted.cookie()).is(200).await.json()["email"], "bob@example.org");
    }
}
