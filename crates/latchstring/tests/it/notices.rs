//! What owners and programs are told: mails as a real mail server took them, webhooks as the specification's own
//! library reads them.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use latchstring_testkit::app::EMAIL;
use latchstring_testkit::webhooks::{Received, standardwebhooks};
use latchstring_testkit::{AppSetup, MailServer, TestApp, eventually};
use serde_json::{Value, json};

use crate::support::{Authority, Seen, Upstream, json_reply, reply, setup};

const REASON: &str = "the person took the consent back";

/// A token endpoint that says that the grant is dead.
fn dead_grant() -> Upstream {
    Upstream::start(|seen| match seen.target.as_str() {
        "/token" => reply(400, json!({"error": "invalid_grant", "error_description": REASON}).to_string()),
        _ => reply(401, "{}"),
    })
}

/// A grant of a person's consent, brought along: its access token is not taken any more, so the next call refreshes.
fn oauth(app: &TestApp, slug: &str, upstream: &Upstream) -> Value {
    let client = json!({
        "name": "Provider", "client_id": "c", "client_secret": "the-client-secret-of-this-test", "client_auth": "basic",
        "authorization_endpoint": format!("{}/auth", upstream.url()), "token_endpoint": format!("{}/token", upstream.url()),
        "hosts": [upstream.at.to_string()], "projects": ["acme"],
    });
    let client = app.done("POST", "/oauth-clients", &client, 201);
    app.done(
        "POST",
        "/credentials",
        &json!({
            "name": slug, "connector": "http", "auth_method": "oauth2_authorization_code", "oauth_client": client["id"],
            "values": {"production": {"base_url": upstream.url()}}, "verify": "skip",
            "token": {"production": {"access_token": "stale", "refresh_token": "the-refresh-token-of-this-test"}},
            "shares": [{"project": "acme", "slug": slug, "grants": {"production": "production"}}],
        }),
        201,
    )
}

/// The API does not take the token, and its renewal finds that the grant is dead.
fn call_until_dead(app: &TestApp, slug: &str) {
    let answer = app.get(&format!("{slug}/x"));
    match answer.header("latchstring-error") {
        None => assert_eq!(answer.status, 401, "the API's own answer is handed over"),
        // Another call has found out before.
        Some(code) => assert_eq!((answer.status, code), (409, "needs_reconnect")),
    }
    eventually("a dead grant", || {
        let list = app.done("GET", "/credentials?project=acme", &Value::Null, 200);
        (list["items"][0]["environments"]["production"]["status"] == "needs_reconnect").then_some(())
    });
}

fn with_mail(setup: AppSetup, url: &str) -> AppSetup {
    setup
        .set("LATCHSTRING_SMTP_URL", url)
        .set("LATCHSTRING_MAIL_FROM", "Latchstring <latchstring@example.com>")
}

#[track_caller]
fn first_mail(server: &MailServer) -> Value {
    eventually("a mail", || server.mails().into_iter().next())
}

#[test]
fn the_owner_is_told_once_that_a_credential_needs_reconnecting() {
    let (mail, upstream) = (MailServer::start(), dead_grant());
    let app = with_mail(setup(), &format!("smtp://127.0.0.1:{}", mail.port())).start();
    let made = oauth(&app, "crm", &upstream);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| app.get("crm/x"));
        }
    });
    call_until_dead(&app, "crm");
    let sent = first_mail(&mail);
    assert_eq!((&sent["from"], &sent["to"]), (&json!("latchstring@example.com"), &json!([EMAIL])));
    assert_eq!((&sent["defects"], &sent["ascii"]), (&json!([]), &json!(true)));
    let headers = &sent["headers"];
    assert_eq!(headers["Subject"], "Reconnect \"crm\": its access has ended");
    assert_eq!(headers["From"], "Latchstring <latchstring@example.com>");
    assert_eq!(headers["Auto-Submitted"], "auto-generated");
    let body = sent["body"].as_str().unwrap();
    for part in
        ["has stopped working", REASON, "Usually", "What to do: ", &app.url, made["id"].as_str().unwrap()]
    {
        assert!(body.contains(part), "{part} is not in {body}");
    }
    assert!(!body.contains("the-client-secret") && !body.contains("the-refresh-token"), "{body}");
    // More calls, and a restart, are the same event.
    for _ in 0..3 {
        app.get("crm/x");
    }
    let app = app.stop().start();
    app.get("crm/x");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(mail.mails().len(), 1, "one mail per event");
    assert!(!app.log().contains("the-client-secret"));
    app.stop();
}

#[test]
fn mail_goes_over_tls_and_with_a_login() {
    let authority = Authority::new();
    let (certificate, key, _, _) = authority.sign(&["localhost"], "a mail server");
    let files = latchstring_testkit::Folder::new("mail-tls");
    let path = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (certificate, key, ca) =
        (path("cert.pem", &certificate), path("key.pem", &key), path("ca.pem", &authority.pem));
    for (mode, scheme, auth) in
        [("starttls", "smtp", "PLAIN"), ("starttls", "smtp", "LOGIN"), ("tls", "smtps", "PLAIN")]
    {
        let mail = MailServer::with(&json!({
            "mode": mode, "cert": certificate, "key": key, "user": "post@example.com", "password": "p/w: ä",
            "auth": [auth],
        }));
        let upstream = dead_grant();
        let login = "post%40example.com:p%2Fw%3A%20%C3%A4";
        let url = |port: u16| format!("{scheme}://{login}@localhost:{port}");
        let app = with_mail(setup(), &url(mail.port())).set("LATCHSTRING_EXTRA_CA_FILE", &ca).start();
        oauth(&app, "crm", &upstream);
        call_until_dead(&app, "crm");
        let sent = first_mail(&mail);
        assert_eq!(sent["tls"], true, "{mode}");
        assert_eq!(sent["auth"], format!("{auth} post@example.com"), "{mode}");
        app.stop();
    }
    // A certificate that nobody vouches for, and a server that offers no TLS at all: nothing is handed over.
    let stranger = MailServer::with(&json!({"mode": "tls", "cert": certificate, "key": key}));
    let plain = MailServer::with(&json!({"user": "u", "password": "p"}));
    for (server, url) in [
        (&stranger, format!("smtps://localhost:{}", stranger.port())),
        (&plain, format!("smtp://u:p@127.0.0.1:{}", plain.port())),
        (&plain, format!("smtp://127.0.0.1:{}?tls=required", plain.port())),
    ] {
        let upstream = dead_grant();
        let app = with_mail(setup(), &url).start();
        oauth(&app, "crm", &upstream);
        call_until_dead(&app, "crm");
        eventually("a failed try", || app.log().contains("a notice did not get through").then_some(()));
        assert!(server.mails().is_empty(), "{url}");
        assert!(!app.log().contains("u:p@"), "{}", app.log());
    }
}

#[test]
fn a_mail_server_that_is_away_or_busy_is_tried_again_also_after_a_kill() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let upstream = dead_grant();
    let app = with_mail(setup(), &format!("smtp://127.0.0.1:{port}")).start();
    oauth(&app, "crm", &upstream);
    call_until_dead(&app, "crm");
    eventually("a failed try", || app.log().contains("a notice did not get through").then_some(()));
    let setup = app.kill();
    let mail = MailServer::with(&json!({"port": port, "answers": {"DATA": ["451 later, please"]}}));
    let app = setup.start();
    eventually("the refusal", || app.log().contains("451").then_some(()));
    assert!(mail.mails().is_empty(), "refused for now");
    drop(app.kill());
}

#[test]
fn a_mail_that_was_handed_over_before_a_kill_does_not_come_twice() {
    let (mail, upstream) = (MailServer::with(&json!({"hold": true})), dead_grant());
    let app = with_mail(setup(), &format!("smtp://127.0.0.1:{}", mail.port())).start();
    oauth(&app, "crm", &upstream);
    call_until_dead(&app, "crm");
    first_mail(&mail);
    let app = app.kill().start();
    app.get("crm/x");
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(mail.mails().len(), 1);
    app.stop();
}

#[test]
fn a_recipient_that_is_refused_is_given_up() {
    let (mail, upstream) =
        (MailServer::with(&json!({"answers": {"RCPT": ["550 nobody of that name"]}})), dead_grant());
    let app = with_mail(setup(), &format!("smtp://127.0.0.1:{}", mail.port())).start();
    oauth(&app, "crm", &upstream);
    call_until_dead(&app, "crm");
    eventually("the refusal", || app.log().contains("nobody of that name").then_some(()));
    std::thread::sleep(Duration::from_secs(14));
    assert!(mail.mails().is_empty(), "a second try would have been taken");
    app.stop();
}

#[test]
fn mail_settings_that_cannot_be_understood_stop_the_start() {
    for (url, from, said) in [
        ("mail.example.com", Some("l@example.com"), "LATCHSTRING_SMTP_URL cannot be understood"),
        ("smtps://u@mail.example.com", Some("l@example.com"), "without a password"),
        ("smtps://mail.example.com", Some("nobody"), "LATCHSTRING_MAIL_FROM cannot be understood"),
        ("smtps://u:secret-p@mail.example.com", None, "LATCHSTRING_MAIL_FROM is missing"),
    ] {
        let mut setup = setup().set("LATCHSTRING_SMTP_URL", url);
        if let Some(from) = from {
            setup = setup.set("LATCHSTRING_MAIL_FROM", from);
        }
        let (code, text) = setup.refused();
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(said) && !text.contains("secret-p"), "{text}");
    }
}

#[test]
fn a_grant_that_ends_is_told_ahead() {
    let lives = Arc::new(AtomicU16::new(10));
    let days = Arc::clone(&lives);
    let upstream = Upstream::start(move |seen| match seen.target.as_str() {
        "/token" => json_reply(&json!({
            "access_token": "the-access-token-1", "token_type": "bearer", "expires_in": 5,
            "grant_ends": u64::from(days.load(Ordering::SeqCst)) * 86_400,
        })),
        _ => json_reply(&json!({})),
    });
    let mail = MailServer::start();
    let app = with_mail(setup(), &format!("smtp://127.0.0.1:{}", mail.port())).start();
    let definition = json!({
        "id": "ending", "name": "Ending", "allow_http": true, "base_url": "{{ base_url }}",
        "auth_methods": {"m": {
            "fields": {"base_url": "url"},
            "scheme": {
                "type": "oauth2_client_credentials", "token_url": "{{ base_url }}/token", "client_id": "c",
                "token_answer": {"grant_expiry": "grant_ends"},
            },
        }},
    });
    app.done("POST", "/projects/acme/connectors", &definition, 201);
    app.credential_of("ending", "crm", "m", &json!({"base_url": upstream.url()}));
    assert_eq!(app.get("crm/x").status, 200);
    // The job looks at the start and every hour.
    let app = app.stop().start();
    let told = first_mail(&mail);
    assert!(told["headers"]["Subject"].as_str().unwrap().contains("within 14 days"), "{told}");
    let app = app.stop().start();
    lives.store(2, Ordering::SeqCst);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(app.get("crm/x").status, 200);
    assert_eq!(mail.mails().len(), 1, "told once");
    let app = app.stop().start();
    let second = eventually("the second mail", || mail.mails().into_iter().nth(1));
    assert!(second["headers"]["Subject"].as_str().unwrap().contains("within 3 days"), "{second}");
    assert!(second["body"].as_str().unwrap().contains("connect the credential again"), "{second}");
    app.stop();
}

fn webhook(app: &TestApp, url: &str, events: &[&str]) -> Value {
    app.done("POST", "/projects/acme/webhooks", &json!({"url": url, "events": events}), 201)
}

fn received(seen: &Seen, secret: &Value) -> Received {
    let one = |name: &str| (name.to_owned(), seen.header(name).to_owned());
    Received {
        secret: secret.as_str().unwrap().to_owned(),
        headers: vec![one("webhook-id"), one("webhook-timestamp"), one("webhook-signature")],
        body: String::from_utf8(seen.body.clone()).unwrap(),
    }
}

/// What the example of docs/notifications.md says to a delivery.
fn documented(received: &Received) -> bool {
    let page = std::fs::read_to_string(latchstring_testkit::root().join("docs/notifications.md")).unwrap();
    let example = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let ask = "\nimport json, sys\nq = json.load(sys.stdin)\nprint(verify(q['secret'], q['headers'], q['body'].encode()))\n";
    let headers: serde_json::Map<String, Value> =
        received.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let question = json!({"secret": received.secret, "headers": headers, "body": received.body});
    let mut python = std::process::Command::new("python3")
        .args(["-c", &format!("{example}{ask}")])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), question.to_string().as_bytes()).unwrap();
    let said = python.wait_with_output().unwrap();
    assert!(said.status.success());
    String::from_utf8(said.stdout).unwrap().trim() == "True"
}

#[test]
fn a_webhook_is_signed_as_the_specification_has_it_and_tried_until_it_gets_through() {
    let upstream = dead_grant();
    let failures = Arc::new(AtomicU16::new(2));
    let left = Arc::clone(&failures);
    let hooks = Upstream::start(move |seen| {
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/hooks/a%2Fb?k=v"));
        let failing = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if failing { reply(500, "{\"secret\": \"of the receiver\"}") } else { reply(204, "") }
    });
    let other = Upstream::recording();
    let app = setup().start();
    let url = format!("{}/hooks/a%2Fb?k=v", hooks.url());
    let made = webhook(&app, &url, &["credential.needs_reconnect"]);
    webhook(&app, &other.url(), &["credential.failing"]);
    let made_credential = oauth(&app, "crm", &upstream);
    call_until_dead(&app, "crm");
    let path = format!("/projects/acme/webhooks/{}", made["id"].as_str().unwrap());
    let log = || app.done("GET", &format!("{path}/deliveries"), &Value::Null, 200)["items"].clone();
    eventually("the first failed try", || (log()[0]["tries"][0]["status"] == 500).then_some(()));
    // Killed with a delivery in the queue: it goes on. Meanwhile the secret is replaced.
    let app = app.kill().start();
    let rotated = app.done("POST", &format!("{path}/rotate-secret"), &json!({}), 200);
    let log = || app.done("GET", &format!("{path}/deliveries"), &Value::Null, 200)["items"].clone();
    let done = eventually("the delivery", || Some(log()[0].clone()).filter(|one| one["state"] == "done"));
    assert_eq!((&done["event"], &done["attempts"]), (&json!("credential.needs_reconnect"), &json!(3)));
    let statuses: Vec<_> =
        done["tries"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [500, 500, 204]);
    assert!(!done.to_string().contains("of the receiver"), "what an endpoint answers is not kept");

    let seen = hooks.seen();
    assert_eq!(seen.len(), 3);
    let ids: Vec<&str> = seen.iter().map(|one| one.header("webhook-id")).collect();
    assert!(ids.iter().all(|id| id == &ids[0] && id.starts_with("evt_")), "{ids:?}");
    let last = &seen[2];
    let stranger = json!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let mut cases = vec![
        received(&seen[0], &made["secret"]),
        received(last, &made["secret"]),
        received(last, &rotated["secret"]),
        received(last, &stranger),
        received(last, &rotated["secret"]),
    ];
    cases[4].body.push(' ');
    let verdicts = standardwebhooks(&cases);
    for good in &verdicts[..3] {
        assert!(good.is_ok(), "{good:?}");
    }
    assert!(verdicts[3].is_err() && verdicts[4].is_err(), "the judge is awake");
    let by_the_page: Vec<bool> = cases.iter().map(documented).collect();
    assert_eq!(by_the_page, [true, true, true, false, false], "docs/notifications.md");
    let payload = verdicts[2].as_ref().unwrap();
    assert_eq!(payload["type"], "credential.needs_reconnect");
    let about = &payload["data"]["credential"];
    assert_eq!((&about["id"], &about["slug"]), (&made_credential["id"], &json!("crm")));
    assert_eq!(
        (&payload["data"]["project"]["slug"], &payload["data"]["environment"]),
        (&json!("acme"), &json!("production"))
    );
    assert!(payload["data"]["reason"].as_str().unwrap().contains(REASON), "{payload}");
    let text = payload.to_string();
    assert!(!text.contains("the-client-secret") && !text.contains("the-refresh-token"), "{text}");
    assert_eq!(other.count(), 0, "told of what it asked for alone");

    // Once more by hand: the same event.
    let delivery = done["id"].as_str().unwrap();
    app.done("POST", &format!("{path}/deliveries/{delivery}/redeliver"), &json!({}), 202);
    eventually("the second delivery", || (hooks.count() == 4).then_some(()));
    assert_eq!(hooks.last().header("webhook-id"), ids[0]);
    let actions: Vec<String> = app
        .audit("")
        .iter()
        .map(|item| item["action"].as_str().unwrap().to_owned())
        .filter(|action| action.starts_with("webhook."))
        .collect();
    for action in ["webhook.create", "webhook.rotate", "webhook.redeliver", "webhook.deliver"] {
        assert!(actions.iter().any(|known| known == action), "{action} in {actions:?}");
    }
    app.stop();
}

#[test]
fn a_webhook_is_no_way_into_private_networks() {
    let hooks = Upstream::recording();
    let app = setup().set("LATCHSTRING_EGRESS_ALLOW", "127.0.0.2/32").start();
    let url = hooks.url();
    let refused = app.api("POST", "/projects/acme/webhooks", &json!({"url": url}));
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert_eq!(refused.json()["errors"][0]["pointer"], "/url");
    // A name is judged when it is called.
    let by_name = format!("http://localhost:{}/", hooks.at.port());
    let made = webhook(&app, &by_name, &[]);
    // Calls cannot reach it either, so the grant dies without a token endpoint: a check that fails twice.
    let path = format!("/projects/acme/webhooks/{}", made["id"].as_str().unwrap());
    assert_eq!(app.done("GET", &path, &Value::Null, 200)["url"], by_name);
    assert_eq!(hooks.count(), 0);
    app.stop();
}
