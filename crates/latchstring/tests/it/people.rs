//! People, as the whole program treats them: commands, two servers at once, and what no key reaches.

use latchstring_broker::people::totp;
use latchstring_model::{SecretBytes, Timestamp};
use latchstring_testkit::app::{EMAIL, PASSWORD, PROJECT};
use latchstring_testkit::postgres::Postgres;
use latchstring_testkit::{eventually, http};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::consent::Browser;
use crate::support::{app, setup};

/// What an app shows now, of a secret in base32.
pub fn code_of(secret: &str) -> String {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for letter in secret.bytes() {
        let five = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == letter).unwrap();
        held = (held << 5) | u32::try_from(five).unwrap();
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 255).unwrap());
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    totp::code_at(&SecretBytes::new(bytes), Timestamp(i64::try_from(now).unwrap()))
}

fn inside(app: &latchstring_testkit::TestApp, email: &str, password: &str) -> http::Answer {
    http::post_json(&app.at("/api/v1/session"), &json!({"email": email, "password": password}))
}

#[test]
fn whoever_is_deactivated_is_out_on_every_server_within_a_second() {
    let one = setup().database(&Postgres::shared().fresh_database()).start();
    let two = one.beside().start();
    let key = one.person("bob@example.com", "editor");
    one.credential("api", "bearer", &json!({"base_url": "http://127.0.0.1:9", "token": "s3cret-value"}));
    let mut bob = Browser::default();
    let answer = bob.send(
        "POST",
        &two.at("/api/v1/session"),
        &json!({"email": "bob@example.com", "password": PASSWORD}),
    );
    assert_eq!(answer.status, 204, "{}", answer.text());
    let place = [("latchstring-project", PROJECT), ("latchstring-environment", "production")];
    let call = |app: &latchstring_testkit::TestApp| app.call_with(&key, "GET", "api/", &place, b"");
    // Both servers know key and session, and what a call needs is cached on both.
    for app in [&one, &two] {
        for _ in 0..3 {
            assert_eq!(call(app).json()["code"], "upstream_unreachable");
        }
        assert_eq!(bob.get(&app.at("/api/v1/me")).status, 200);
        assert_eq!(app.api_as(&key, "GET", "/me", &Value::Null).status, 200);
    }
    let users = one.done("GET", "/users?q=bob", &Value::Null, 200);
    let id = users["items"][0]["id"].as_str().unwrap().to_owned();
    one.done("PATCH", &format!("/users/{id}"), &json!({"active": false}), 200);
    let ended = Instant::now();
    // At once where it was done; on the other within a second, which is awaited here and measured.
    assert_eq!(call(&one).status, 401);
    for app in [&one, &two] {
        eventually("the refusal", || (call(app).status == 401).then_some(()));
        assert_eq!(bob.get(&app.at("/api/v1/me")).status, 401);
        assert_eq!(app.api_as(&key, "GET", "/me", &Value::Null).status, 401);
    }
    assert!(ended.elapsed() < Duration::from_secs(1), "{:?}", ended.elapsed());
    // Activated again, what ended stays ended.
    one.done("PATCH", &format!("/users/{id}"), &json!({"active": true}), 200);
    assert_eq!((call(&two).status, bob.get(&two.at("/api/v1/me")).status), (401, 401));
}

#[test]
fn a_second_factor_that_a_project_wants_is_wanted_on_every_server_within_a_second() {
    let one = setup().database(&Postgres::shared().fresh_database()).start();
    let two = one.beside().start();
    let key = one.person("bob@example.com", "editor");
    one.credential("api", "bearer", &json!({"base_url": "http://127.0.0.1:9", "token": "s3cret-value"}));
    let place = [("latchstring-project", PROJECT), ("latchstring-environment", "production")];
    let call = |app: &latchstring_testkit::TestApp, key: &str| {
        app.call_with(key, "GET", "api/", &place, b"").json()["code"].as_str().unwrap().to_owned()
    };
    for app in [&one, &two] {
        assert_eq!(call(app, &key), "upstream_unreachable");
    }
    let mut ada = Browser::signed_in(&one);
    let offered = ada.send("POST", &one.at("/api/v1/me/totp"), &json!({})).json();
    let code = code_of(offered["secret"].as_str().unwrap());
    let confirmed = ada.send("POST", &one.at("/api/v1/me/totp/confirm"), &json!({"code": code}));
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    let demand = json!({"require_second_factor": true});
    assert_eq!(ada.send("PATCH", &one.at("/api/v1/projects/acme"), &demand).status, 200);
    let wanted = Instant::now();
    for app in [&one, &two] {
        eventually("the refusal", || (call(app, &key) == "second_factor_required").then_some(()));
    }
    assert!(wanted.elapsed() < Duration::from_secs(1), "{:?}", wanted.elapsed());
    // Ada's key was there before; she has a second factor now. A service key is nobody's.
    for app in [&one, &two] {
        assert_eq!(call(app, one.manage_key()), "upstream_unreachable");
        assert_eq!(app.call_with(one.key(), "GET", "api/", &[], b"").json()["code"], "upstream_unreachable");
    }
}

#[test]
fn commands_for_people_who_have_lost_something() {
    let app = app();
    let mut ada = Browser::signed_in(&app);
    let offered = ada.send("POST", &app.at("/api/v1/me/totp"), &json!({})).json();
    let code = code_of(offered["secret"].as_str().unwrap());
    assert_eq!(ada.send("POST", &app.at("/api/v1/me/totp/confirm"), &json!({"code": code})).status, 200);
    assert_eq!(inside(&app, EMAIL, PASSWORD).json()["code"], "second_factor_needed");
    let gone = app.setup().run(&["admin", "remove-second-factor", "--email", EMAIL]);
    assert!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
    assert_eq!(inside(&app, EMAIL, PASSWORD).status, 204);
    let twice = app.setup().run(&["admin", "remove-second-factor", "--email", EMAIL]);
    assert!(!twice.status.success() && String::from_utf8_lossy(&twice.stderr).contains("No second factor"));
    // The link alone, on stdout.
    let link = app.setup().run(&["admin", "reset-password", "--email", EMAIL]);
    assert!(link.status.success(), "{}", String::from_utf8_lossy(&link.stderr));
    let link = String::from_utf8(link.stdout).unwrap();
    let token = link.trim().rsplit('/').next().unwrap();
    assert!(link.contains("/reset/") && token.len() == 43, "{link}");
    let set = json!({"token": token, "password": "a new pass phrase"});
    assert_eq!(http::post_json(&app.at("/api/v1/password-resets/accept"), &set).status, 204);
    assert_eq!(inside(&app, EMAIL, PASSWORD).status, 401);
    assert_eq!(inside(&app, EMAIL, "a new pass phrase").status, 204);
    assert!(!app.log().contains(token));
    let nobody = app.setup().run(&["admin", "reset-password", "--email", "nobody@example.com"]);
    assert!(!nobody.status.success() && nobody.stdout.is_empty());
    // A service account for CI.
    let made = app.setup().run(&[
        "admin",
        "create-key",
        "--email",
        EMAIL,
        "--name",
        "ci",
        "--project",
        PROJECT,
        "--manage",
    ]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert_eq!(app.api_as(&key, "PATCH", "/projects/acme", &json!({"name": "Acme"})).status, 200);
    assert_eq!(app.call_with(&key, "GET", "api/", &[], b"").json()["code"], "not_allowed");
    for wrong in [
        vec!["--project", PROJECT],
        vec!["--manage"],
        vec!["--project", PROJECT, "--manage", "--environment", "production"],
    ] {
        let mut all = vec!["admin", "create-key", "--email", EMAIL, "--name", "ci"];
        all.extend(&wrong);
        assert!(!app.setup().run(&all).status.success(), "{wrong:?}");
    }
}

/// Each thing that even a key of scope manage never reaches, and what a key of scope call reaches besides calls.
#[test]
fn no_key_reaches_what_makes_a_person() {
    let app = app();
    let mut ada = Browser::signed_in(&app);
    let call = ada.send("POST", &app.at("/api/v1/me/keys"), &json!({"name": "call"})).json();
    let other =
        ada.send("POST", &app.at("/api/v1/me/keys"), &json!({"name": "other", "scope": "manage"})).json();
    let session =
        ada.get(&app.at("/api/v1/me/sessions")).json()["items"][0]["id"].as_str().unwrap().to_owned();
    let reaches = [
        (
            "PUT",
            "/me/password".to_owned(),
            json!({"current_password": PASSWORD, "new_password": "another pass phrase"}),
        ),
        ("GET", "/me/totp".to_owned(), Value::Null),
        ("POST", "/me/totp".to_owned(), json!({})),
        ("POST", "/me/totp/confirm".to_owned(), json!({"code": "123456"})),
        ("POST", "/me/totp/recovery-codes".to_owned(), json!({})),
        ("DELETE", "/me/totp".to_owned(), Value::Null),
        ("GET", "/me/keys".to_owned(), Value::Null),
        ("POST", "/me/keys".to_owned(), json!({"name": "x", "scope": "manage"})),
        ("DELETE", format!("/me/keys/{}", other["id"].as_str().unwrap()), Value::Null),
        ("GET", "/me/sessions".to_owned(), Value::Null),
        ("DELETE", "/me/sessions".to_owned(), Value::Null),
        ("DELETE", format!("/me/sessions/{session}"), Value::Null),
        ("GET", "/me/identities".to_owned(), Value::Null),
        ("POST", "/me/identities".to_owned(), json!({})),
        ("DELETE", "/me/identities/idn_0000000001zzzzzzzzzzzzzzzz".to_owned(), Value::Null),
        ("POST", "/session/confirm".to_owned(), json!({"password": PASSWORD})),
        ("POST", "/session/confirm/provider".to_owned(), json!({})),
        ("DELETE", "/session".to_owned(), Value::Null),
    ];
    let call = call["key"].as_str().unwrap();
    for key in [app.manage_key(), call] {
        for (method, path, body) in &reaches {
            let answer = app.api_as(key, method, path, body);
            assert!(
                answer.status == 403 && answer.json()["code"] == "not_allowed",
                "{method} {path}: {}",
                answer.text()
            );
        }
    }
    assert_eq!(ada.get(&app.at("/api/v1/me")).status, 200, "nothing of that was done");
    assert_eq!(inside(&app, EMAIL, PASSWORD).status, 204);
    // A key of scope call looks, and manages nothing.
    for (method, path, body) in [
        ("PATCH", "/me", json!({"name": "x"})),
        ("POST", "/projects", json!({"name": "x"})),
        ("PATCH", "/projects/acme", json!({"name": "x"})),
        (
            "POST",
            "/credentials",
            json!({"name": "x", "connector": "raw", "auth_method": "custom", "values": {"production": {"a": "b"}}}),
        ),
        ("GET", "/users", Value::Null),
        ("PATCH", "/instance", json!({"name": "x"})),
        ("POST", "/invites", json!({"email": "x@example.com"})),
    ] {
        let answer = app.api_as(call, method, path, &body);
        assert_eq!(answer.json()["code"], "not_allowed", "{method} {path}: {}", answer.text());
    }
}

/// A superuser is nobody in a project of others: nothing of a secret, by whichever way.
#[test]
fn a_superuser_sees_no_secret() {
    let app = app();
    let cat =
        app.setup().command(&["admin", "create-user", "--email", "cat@example.com", "--password-stdin"]);
    let mut cat = cat;
    let mut child =
        cat.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), PASSWORD.as_bytes()).unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    let key = app.setup().run(&["admin", "create-key", "--email", "cat@example.com", "--name", "x"]);
    let cats = String::from_utf8(key.stdout).unwrap().trim().to_owned();
    let as_cat = |method: &str, path: &str, body: &Value| app.api_as(&cats, method, path, body);
    assert_eq!(as_cat("POST", "/projects", &json!({"slug": "cats", "name": "Cats"})).status, 201);
    let made = as_cat(
        "POST",
        "/credentials",
        &json!({
            "name": "Mine", "connector": "http", "auth_method": "bearer", "verify": "skip",
            "values": {"production": {"base_url": "https://cats.example.com", "token": "s3cret-of-cat"}},
            "shares": [{"project": "cats", "slug": "mine", "grants": {"production": "production"}}],
        }),
    );
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        as_cat("PUT", "/projects/cats/environments/production/secrets/a", &json!({"value": "s3cret-of-cat"}))
            .status,
        204
    );
    // The superuser, with a key of scope manage.
    for (method, path, body) in [
        ("GET", format!("/credentials/{id}"), Value::Null),
        (
            "PATCH",
            format!("/credentials/{id}"),
            json!({"values": {"production": {"base_url": "https://evil.example.com"}}}),
        ),
        ("DELETE", format!("/credentials/{id}"), Value::Null),
        ("GET", format!("/credentials/{id}/versions"), Value::Null),
        ("GET", format!("/credentials/{id}/usage"), Value::Null),
        ("POST", format!("/credentials/{id}/verify"), json!({"environment": "production"})),
        ("GET", "/projects/cats".to_owned(), Value::Null),
        ("GET", "/projects/cats/audit".to_owned(), Value::Null),
        ("GET", "/projects/cats/environments/production/secrets".to_owned(), Value::Null),
        ("PUT", format!("/projects/cats/members/{EMAIL}"), json!({"role": "owner"})),
        ("POST", "/projects/cats/api-keys".to_owned(), json!({"name": "x", "environment": "production"})),
    ] {
        let answer = app.api(method, &path, &body);
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
        assert!(!answer.text().contains("cats.example.com") && !answer.text().contains("s3cret"));
    }
    let place = [("latchstring-project", "cats"), ("latchstring-environment", "production")];
    assert_eq!(app.call_with(app.manage_key(), "GET", "mine/", &place, b"").status, 404);
    let listed = app.done("GET", "/credentials", &Value::Null, 200);
    assert!(!listed.to_string().contains(&id));
}

/// The commands of docs/people.md, as they stand there.
#[test]
fn the_guides_commands_run() {
    let app = app();
    let guide = std::fs::read_to_string(latchstring_testkit::root().join("docs/people.md")).unwrap();
    let mut ada = Browser::signed_in(&app);
    let offered = ada.send("POST", &app.at("/api/v1/me/totp"), &json!({})).json();
    let code = code_of(offered["secret"].as_str().unwrap());
    assert_eq!(ada.send("POST", &app.at("/api/v1/me/totp/confirm"), &json!({"code": code})).status, 200);
    let commands: Vec<&str> = guide.lines().filter(|line| line.starts_with("latchstring ")).collect();
    assert_eq!(commands.len(), 4, "{commands:?}");
    for line in commands {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let done = app.setup().run(&words);
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    }
    // What was done on the machine is in the trail, as done by the server: also an account and a person's key.
    app.person("grace@example.com", "viewer");
    for (of, actions) in [
        (
            &["--instance"][..],
            &["user.create", "key.create", "password.reset_ask", "second_factor.delete"][..],
        ),
        (&["--project", PROJECT], &["key.create"]),
    ] {
        let trail = trail(&app, of);
        for action in actions {
            let by_server = trail.iter().any(|item| {
                item["action"] == *action && item["actor"]["type"] == "server" && item["outcome"] == "ok"
            });
            assert!(by_server, "{action} of {of:?}: {trail:?}");
        }
    }
}

/// What `audit export` tells, oldest first.
pub fn trail(app: &latchstring_testkit::TestApp, of: &[&str]) -> Vec<Value> {
    let done = app.setup().run(&[&["audit", "export"], of].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
