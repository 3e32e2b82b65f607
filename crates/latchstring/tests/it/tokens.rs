//! Tokens: obtained once for everybody, renewed once, shared with nobody by accident.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use latchstring_testkit::jwt::KeyPair;
use latchstring_testkit::postgres::Postgres;
use latchstring_testkit::{AppSetup, OidcProvider, TestApp, eventually, figure, long};
use serde_json::{Value, json};

use crate::support::{
    Authority, RawServer, Seen, Upstream, app, connect_h2, json_reply, localhost, reply, setup,
};

fn client(oidc: &OidcProvider, base: &str) -> Value {
    json!({
        "base_url": base, "token_url": oidc.token_url(), "client_id": OidcProvider::CLIENT_ID,
        "client_secret": OidcProvider::CLIENT_SECRET, "scope": "read",
    })
}

/// So many calls at once, as streams of a few HTTP/2 connections to these servers in turn: how many were
/// answered with each status.
pub(crate) fn burst(apps: &[&TestApp], target: &str, calls: usize) -> Vec<(u16, usize)> {
    const CONNECTIONS: usize = 8;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut statuses = std::collections::BTreeMap::new();
    runtime.block_on(async {
        let mut senders = Vec::new();
        for at in 0..CONNECTIONS {
            let app = apps[at % apps.len()];
            let sender = connect_h2::<Full<Bytes>>(app.authority()).await;
            senders.push((sender, app));
        }
        let mut open = Vec::new();
        for number in 0..calls {
            let (sender, app) = &senders[number % CONNECTIONS];
            let request = Request::get(format!("{}/proxy/{target}", app.url))
                .header("latchstring-key", app.key())
                .body(Full::new(Bytes::new()))
                .unwrap();
            let mut sender = sender.clone();
            open.push(tokio::spawn(async move {
                sender.ready().await.unwrap();
                let answer = sender.send_request(request).await.unwrap();
                let status = answer.status().as_u16();
                answer.into_body().collect().await.unwrap();
                status
            }));
        }
        for call in open {
            *statuses.entry(call.await.unwrap()).or_insert(0) += 1;
        }
    });
    statuses.into_iter().collect()
}

/// An HTTP/2 upstream, so that a thousand calls need no thousand connections.
pub(crate) fn busy_upstream(setup: AppSetup) -> (AppSetup, Upstream) {
    let authority = Authority::new();
    let upstream = Upstream::with(Some(authority.server(&["h2"], false)), |_| reply(200, "ok"));
    let ca = setup.folder().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    (setup.set("LATCHSTRING_EXTRA_CA_FILE", ca.display().to_string()), upstream)
}

const CALLS: usize = 1_000;

fn single_flight(setup: AppSetup, two_servers: bool) {
    let oidc = OidcProvider::with(&json!({"settings": {"delay_ms": 300}}));
    // Only calls renew: the count shall show what they do.
    let (setup, upstream) = busy_upstream(setup.set("LATCHSTRING_BACKGROUND_REFRESH", "off"));
    let app = setup.start();
    let other = two_servers.then(|| app.beside().start());
    let apps: Vec<&TestApp> = [Some(&app), other.as_ref()].into_iter().flatten().collect();
    let rounds = if long() { 20 } else { 1 };
    for round in 0..rounds {
        let slug = format!("cold-{round}");
        app.credential(&slug, "oauth2_client_credentials", &client(&oidc, &localhost(&upstream)));
        oidc.reset_counts();
        assert_eq!(burst(&apps, &format!("{slug}/x"), CALLS), [(200, CALLS)], "cold");
        assert_eq!(oidc.token_requests(), 1, "a cold token is asked for once");

        let slug = format!("expired-{round}");
        app.credential(&slug, "oauth2_client_credentials", &client(&oidc, &localhost(&upstream)));
        oidc.set(&json!({"access_token_ttl": 1}));
        for app in &apps {
            assert_eq!(app.get(&format!("{slug}/x")).status, 200);
        }
        oidc.set(&json!({"access_token_ttl": 3600}));
        std::thread::sleep(Duration::from_millis(1_100));
        oidc.reset_counts();
        assert_eq!(burst(&apps, &format!("{slug}/x"), CALLS), [(200, CALLS)], "expired");
        assert_eq!(oidc.token_requests(), 1, "an expired token is renewed once");
    }
    figure("rounds of 1,000 calls on a cold and on an expired token, one token request each", rounds * 2);
    let per_round = 2 * CALLS + apps.len();
    assert_eq!(upstream.count(), rounds * per_round);
    let mut tokens: Vec<String> =
        upstream.seen().iter().map(|seen| seen.header("authorization").to_owned()).collect();
    tokens.sort();
    tokens.dedup();
    // The short-lived one may have run out between the two servers' first calls.
    assert!((3 * rounds..=4 * rounds).contains(&tokens.len()), "{} tokens", tokens.len());
    if let Some(other) = other {
        other.stop();
    }
    app.stop();
}

#[test]
fn a_thousand_calls_make_one_token_request_on_sqlite() {
    single_flight(setup(), false);
}

#[test]
fn a_thousand_calls_on_two_servers_make_one_token_request() {
    single_flight(setup().database(&Postgres::shared().fresh_database()), true);
}

/// An upstream that refuses one token, or every token.
struct Picky {
    upstream: Upstream,
    refused: Arc<Mutex<Vec<String>>>,
}

impl Picky {
    fn start() -> Self {
        let refused: Arc<Mutex<Vec<String>>> = Arc::default();
        let list = Arc::clone(&refused);
        let upstream = Upstream::start(move |seen: &Seen| {
            let sent = seen.header("authorization");
            if list.lock().unwrap().iter().any(|bad| bad == "all" || bad == sent) {
                reply(401, "no")
            } else {
                json_reply(&json!({"length": seen.body.len()}))
            }
        });
        Self { upstream, refused }
    }

    /// From now on the token of the newest request is refused.
    fn refuse_last(&self) {
        self.refused.lock().unwrap().push(self.upstream.last().header("authorization").to_owned());
    }
}

#[test]
fn a_401_is_followed_by_one_refresh_and_one_replay() {
    let (app, oidc, picky) = (app(), OidcProvider::start(), Picky::start());
    for (slug, method, length) in [("none", "GET", 0), ("small", "POST", 10), ("limit", "PUT", 64 * 1024)] {
        app.credential(slug, "oauth2_client_credentials", &client(&oidc, &picky.upstream.url()));
        oidc.reset_counts();
        assert_eq!(app.get(&format!("{slug}/warm")).status, 200);
        picky.refuse_last();
        let before = picky.upstream.count();
        let body: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let answer = app.call(method, &format!("{slug}/x?a=b"), &[("x-mine", "1")], &body);
        assert_eq!((answer.status, &answer.json()["length"]), (200, &json!(length)), "{slug}");
        assert_eq!((picky.upstream.count() - before, oidc.token_requests()), (2, 2), "{slug}");
        let seen = picky.upstream.seen();
        let [first, again] = &seen[before..] else { panic!("two requests") };
        assert_eq!((&first.method, &first.target, &first.body), (&again.method, &again.target, &again.body));
        assert_ne!(first.header("authorization"), again.header("authorization"));
        assert_eq!(again.header("x-mine"), "1");
        assert_eq!(again.body, body);
    }
    app.stop();
}

/// Many servers look at the head alone before they refuse, and the caller may be slower than that.
#[test]
fn a_401_that_comes_before_a_small_body_is_here_is_followed_by_a_replay_too() {
    let oidc = OidcProvider::start();
    let first = Mutex::new(None);
    let api = RawServer::start(move |head, stream| {
        let head = String::from_utf8_lossy(head).into_owned();
        let token = head.lines().find(|line| line.starts_with("authorization: ")).map(str::to_owned);
        let known = first.lock().unwrap().get_or_insert_with(|| token.clone()) == &token;
        if known && head.starts_with("POST") {
            let refused = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
            let _ = stream.write_all(refused.as_bytes());
            // What is closed with bytes unread is reset, and the refusal lost.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
            return;
        }
        let mut body = vec![0; if head.starts_with("POST") { 5 } else { 0 }];
        let _ = stream.read_exact(&mut body);
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let _ = stream.write_all(&[answer.as_bytes(), &body].concat());
    });
    let app = app();
    app.credential("up", "oauth2_client_credentials", &client(&oidc, &api.url()));
    assert_eq!(app.get("up/warm").status, 200);
    let mut stream = crate::support::connect(&app);
    let head = crate::support::head(&app, "POST", "up/x", "content-length: 5\r\nconnection: close\r\n");
    stream.write_all(&head).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    stream.write_all(b"hello").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let (answer, body) = crate::support::split(&answer);
    assert!(answer.starts_with("http/1.1 200") && body == b"hello", "{answer}");
    assert_eq!(oidc.token_requests(), 2);
    app.stop();
}

#[test]
fn a_larger_body_is_not_sent_twice_but_the_token_is_renewed() {
    let (app, oidc, picky) = (app(), OidcProvider::start(), Picky::start());
    app.credential("large", "oauth2_client_credentials", &client(&oidc, &picky.upstream.url()));
    assert_eq!(app.get("large/warm").status, 200);
    picky.refuse_last();
    let body = vec![7; 64 * 1024 + 1];
    let answer = app.call("POST", "large/x", &[], &body);
    assert_eq!((answer.status, answer.text().as_str()), (401, "no"), "the upstream's own answer");
    assert_eq!(picky.upstream.count(), 2, "what was not kept is not sent again");
    eventually("a renewed token", || (oidc.token_requests() == 2).then_some(()));
    let answer = eventually("a call with the new token", || {
        Some(app.call("POST", "large/x", &[], &body)).filter(|answer| answer.status == 200)
    });
    assert_eq!(answer.json()["length"], body.len());
    assert_eq!(oidc.token_requests(), 2);
}

#[test]
fn a_refresh_is_forced_once_in_a_while_and_not_by_every_401() {
    let (app, oidc, picky) = (app(), OidcProvider::start(), Picky::start());
    app.credential("up", "oauth2_client_credentials", &client(&oidc, &picky.upstream.url()));
    assert_eq!(app.get("up/warm").status, 200);
    picky.refused.lock().unwrap().push("all".into());
    for _ in 0..10 {
        let answer = app.get("up/x");
        assert_eq!((answer.status, answer.text().as_str()), (401, "no"));
        assert!(answer.header("latchstring-error").is_none());
    }
    assert_eq!(oidc.token_requests(), 2, "one to begin with, one forced");
    assert_eq!(picky.upstream.count(), 1 + 10 + 1, "one replay");
}

#[test]
fn a_bearer_that_is_refused_is_not_tried_again() {
    let (app, picky) = (app(), Picky::start());
    picky.refused.lock().unwrap().push("all".into());
    app.credential("up", "bearer", &json!({"base_url": picky.upstream.url(), "token": "the-token-5"}));
    assert_eq!(app.get("up/x").status, 401);
    assert_eq!(picky.upstream.count(), 1);
}

#[test]
fn a_token_is_renewed_before_it_expires() {
    // Six seconds of life, of which a tenth is the margin: no call may be sent with an expired one.
    let oidc = OidcProvider::with(&json!({"settings": {"access_token_ttl": 6}}));
    let app = setup().set("LATCHSTRING_BACKGROUND_REFRESH", "off").start();
    app.credential("up", "oauth2_client_credentials", &client(&oidc, &oidc.issuer()));
    let (began, mut calls) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(8) {
        assert_eq!(app.get("up/resource").status, 200);
        calls += 1;
        std::thread::sleep(Duration::from_millis(40));
    }
    let counts = oidc.counts();
    assert_eq!(counts["GET /resource"], calls, "none was refused and sent again");
    assert_eq!(oidc.token_requests(), 2);
}

#[test]
fn token_endpoints_that_misbehave_are_told_in_words() {
    let answers: [(u16, &str, &str); 5] = [
        (200, "text/html", "<html>sign in, please</html>"),
        (
            200,
            "application/json",
            "{\"error\": \"invalid_client\", \"error_description\": \"the-planted-secret-1 is wrong\"}",
        ),
        (200, "application/json", ""),
        (500, "text/plain", "oops"),
        (302, "text/plain", ""),
    ];
    let app = app();
    for (number, (status, kind, body)) in answers.into_iter().enumerate() {
        let upstream = Upstream::start(move |_| {
            let mut answer = reply(status, body);
            answer.headers_mut().insert("content-type", kind.parse().unwrap());
            answer.headers_mut().insert("location", "http://127.0.0.1:1/".parse().unwrap());
            answer
        });
        let slug = format!("up-{number}");
        app.credential(
            &slug,
            "oauth2_client_credentials",
            &json!({
                "base_url": upstream.url(), "token_url": format!("{}/token", upstream.url()), "client_id": "me",
                "client_secret": "the-planted-secret-1",
            }),
        );
        for _ in 0..3 {
            let answer = app.get(&format!("{slug}/x"));
            assert_eq!(
                (answer.status, answer.header("latchstring-error")),
                (502, Some("token_endpoint_error")),
                "{body}"
            );
            assert!(!answer.text().contains("the-planted-secret-1"), "{}", answer.text());
            assert!(answer.json()["hint"].is_string(), "{}", answer.text());
        }
        assert_eq!(
            upstream.count(),
            1,
            "after a refusal the endpoint is left alone for a while; nothing else is asked"
        );
    }
}

/// No person is behind an assertion: nothing has died, and nobody can connect it anew.
#[test]
fn a_refused_assertion_is_no_dead_grant() {
    let upstream = Upstream::start(|seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let jwt = body.rsplit("assertion=").next().unwrap();
        let body = json!({"error": "invalid_grant", "error_description": format!("bad assertion {jwt}")});
        reply(400, body.to_string())
    });
    let app = app();
    app.credential(
        "up",
        "oauth2_jwt_bearer",
        &json!({
            "base_url": upstream.url(), "token_url": format!("{}/token", upstream.url()), "client_id": "me",
            "subject": "ada", "audience": "https://id.example.com", "private_key": KeyPair::generate("RS256").private_pem,
        }),
    );
    for number in 0..2 {
        let answer = app.get("up/x");
        let code = answer.header("latchstring-error");
        assert_eq!((answer.status, code), (502, Some("token_endpoint_error")), "{}", answer.text());
        assert!(
            !answer.text().contains("eyJ") && answer.text().contains("bad assertion ***"),
            "{}",
            answer.text()
        );
        let hint = answer.json()["hint"].as_str().unwrap().to_owned();
        assert!(number > 0 || hint.contains("audience and key"), "{hint}");
    }
}

/// The wait is real: as long as a token request may take.
#[test]
fn a_token_endpoint_that_never_answers_ends_in_words() {
    let silent = RawServer::start(|_, _| std::thread::sleep(Duration::from_secs(120)));
    let upstream = Upstream::recording();
    let app = app();
    app.credential(
        "up",
        "oauth2_client_credentials",
        &json!({
            "base_url": upstream.url(), "token_url": format!("{}/token", silent.url()), "client_id": "me",
            "client_secret": "the-planted-secret-1",
        }),
    );
    let began = Instant::now();
    let answer = app.call_with(app.key(), "GET", "up/x", &[], b"");
    assert!(began.elapsed() < Duration::from_secs(58), "{:?}", began.elapsed());
    let code = answer.header("latchstring-error").unwrap_or_default().to_owned();
    assert!(
        [(502, "token_endpoint_error"), (503, "busy")].contains(&(answer.status, &code)),
        "{} {code}",
        answer.status
    );
    assert!(
        answer.json()["hint"].is_string() && !answer.text().contains("the-planted-secret-1"),
        "{}",
        answer.text()
    );
    assert_eq!((upstream.count(), silent.heads().len()), (0, 1));
}

/// A credential whose assertion is about whoever this template names, in two projects of two people.
struct Templated {
    app: TestApp,
    oidc: OidcProvider,
    grace: String,
}

fn templated(subject: &str) -> Templated {
    let keys = KeyPair::generate("ES256");
    let oidc = OidcProvider::with(&json!({
        "settings": {"delay_ms": 100},
        "clients": [{
            "client_id": "robot", "token_endpoint_auth_method": "none",
            "grant_types": ["urn:ietf:params:oauth:grant-type:jwt-bearer"], "redirect_uris": [], "response_types": [],
            "jwks": {"keys": [keys.public_jwk]},
        }],
    }));
    let app = app();
    let grace = app.person("grace@example.com", "editor");
    app.done(
        "POST",
        "/projects",
        &json!({"slug": "other", "name": "Other", "environments": ["production"]}),
        201,
    );
    app.done(
        "POST",
        "/credentials",
        &json!({
            "name": "API", "connector": "http", "auth_method": "oauth2_jwt_bearer", "verify": "skip",
            "values": {"production": {
                "base_url": oidc.issuer(), "token_url": oidc.token_url(), "client_id": "robot", "subject": subject,
                "audience": oidc.issuer(), "private_key": keys.private_pem, "algorithm": "ES256",
            }},
            "shares": [
                {"project": "acme", "slug": "api", "grants": {"production": "production"}},
                {"project": "other", "slug": "api", "grants": {"production": "production"}},
            ],
        }),
        201,
    );
    Templated { app, oidc, grace }
}

/// Key, project, and whom the token must be about. All at once and again and again: in the cold, and warm.
fn each_gets_their_own(world: &Templated, callers: [(&str, &str, &str); 2]) {
    let app = &world.app;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            for (key, project, subject) in callers {
                scope.spawn(move || {
                    let at = [("latchstring-project", project), ("latchstring-environment", "production")];
                    for _ in 0..5 {
                        let answer = app.call_with(key, "GET", "api/resource", &at, b"");
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        assert_eq!(answer.json()["sub"], subject);
                    }
                });
            }
        }
    });
    assert_eq!(world.oidc.token_requests(), 2, "one for each");
}

#[test]
fn two_people_with_a_templated_token_field_never_share_a_token() {
    let world = templated("{{ user.email }}");
    let ada = latchstring_testkit::app::EMAIL;
    let callers =
        [(world.app.manage_key(), "acme", ada), (world.grace.as_str(), "acme", "grace@example.com")];
    each_gets_their_own(&world, callers);
    // The same person in another project is the same subject, and does not get the other one's either.
    let at = [("latchstring-project", "other"), ("latchstring-environment", "production")];
    let answer = world.app.call_with(world.app.manage_key(), "GET", "api/resource", &at, b"");
    assert_eq!(answer.json()["sub"], ada, "{}", answer.text());
    world.app.stop();
}

#[test]
fn two_projects_with_a_templated_token_field_never_share_a_token() {
    let world = templated("{{ project.slug }}");
    let ada = world.app.manage_key();
    each_gets_their_own(&world, [(ada, "acme", "acme"), (ada, "other", "other")]);
    // Everybody in a project shares the project's.
    let at = [("latchstring-project", "acme"), ("latchstring-environment", "production")];
    let answer = world.app.call_with(&world.grace, "GET", "api/resource", &at, b"");
    assert_eq!(answer.json()["sub"], "acme", "{}", answer.text());
    assert_eq!(world.oidc.token_requests(), 2);
    world.app.stop();
}

#[test]
fn a_token_outlives_a_restart_and_a_kill() {
    let oidc = OidcProvider::start();
    let app = app();
    app.credential("up", "oauth2_client_credentials", &client(&oidc, &oidc.issuer()));
    assert_eq!(app.get("up/resource").status, 200);
    let app = app.stop().start();
    assert_eq!(app.get("up/resource").status, 200);
    let app = app.kill().start();
    assert_eq!(app.get("up/resource").status, 200);
    assert_eq!(oidc.token_requests(), 1, "it was stored");
}

#[test]
fn a_caller_that_hangs_up_cancels_no_refresh() {
    let oidc = OidcProvider::with(&json!({"settings": {"delay_ms": 1000}}));
    let app = app();
    app.credential("up", "oauth2_client_credentials", &client(&oidc, &oidc.issuer()));
    let mut stream = crate::support::connect(&app);
    let request = crate::support::head(&app, "GET", "up/resource", "");
    stream.write_all(&request).unwrap();
    eventually("the token request", || (oidc.token_requests() == 1).then_some(()));
    drop(stream);
    assert_eq!(app.get("up/resource").status, 200);
    assert_eq!(oidc.token_requests(), 1, "the one that was under way served the next caller");
}

#[test]
fn a_lost_token_answer_is_not_asked_for_again_and_again() {
    let oidc = OidcProvider::with(&json!({"settings": {"lose_next": 100}}));
    let app = app();
    app.credential("up", "oauth2_client_credentials", &client(&oidc, &oidc.issuer()));
    for _ in 0..5 {
        let answer = app.get("up/resource");
        assert_eq!((answer.status, answer.header("latchstring-error")), (502, Some("token_endpoint_error")));
        assert!(answer.json()["hint"].is_string());
    }
    assert_eq!(oidc.token_requests(), 1, "after a lost answer the provider is left alone for a while");
}

/// Two calls want a token at once, the first because of a 401 of which it will be told that a token was renewed for
/// one a moment ago. The second has to have one all the same.
#[test]
fn who_only_needs_a_token_is_not_told_that_anothers_401_was_one_too_many() {
    let (database, postgres) = (Postgres::shared().fresh_database(), Postgres::shared());
    let oidc = OidcProvider::start();
    let (let_go, refusals) = std::sync::mpsc::channel();
    let (first, refusals) = (Mutex::new(None), Mutex::new(refusals));
    let api = RawServer::start(move |head, stream| {
        let head = String::from_utf8_lossy(head).into_owned();
        let token = head.lines().find(|line| line.starts_with("authorization: ")).map(str::to_owned);
        let refused = match head.split(' ').nth(1) {
            Some("/first") => *first.lock().unwrap().get_or_insert_with(|| token.clone()) == token,
            Some("/late") => {
                refusals.lock().unwrap().recv().unwrap();
                true
            }
            _ => false,
        };
        let status = if refused { "401 Unauthorized" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        let _ = stream.write_all(answer.as_bytes());
    });
    let app = setup()
        .database(&database)
        .set("LATCHSTRING_BACKGROUND_REFRESH", "off")
        .set("LATCHSTRING_DATA_CORES", "1")
        .start();
    app.credential("up", "oauth2_client_credentials", &client(&oidc, &api.url()));
    assert_eq!(app.get("up/x").status, 200);
    oidc.set(&json!({"access_token_ttl": 4}));
    assert_eq!(app.get("up/first").status, 200, "refused, renewed, sent again");
    oidc.set(&json!({"access_token_ttl": 3600}));
    assert_eq!(oidc.token_requests(), 2);
    let waits_for_the_row =
        "SELECT count(*) FROM pg_locks WHERE relation = 'tokens'::regclass AND NOT granted";
    let locks = |sql: &str| postgres.run(&database, sql).trim().parse::<usize>().unwrap();
    std::thread::scope(|scope| {
        let late = scope.spawn(|| app.get("up/late"));
        eventually("the late call at the API", || {
            api.heads().iter().any(|head| head.starts_with(b"GET /late")).then_some(())
        });
        // Now its token ends, and nobody can read what is there instead.
        std::thread::sleep(Duration::from_secs(4));
        scope.spawn(|| {
            let held = "BEGIN; LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(3); COMMIT";
            postgres.run(&database, held);
        });
        let held = "SELECT count(*) FROM pg_locks WHERE relation = 'tokens'::regclass AND mode = 'AccessExclusiveLock'";
        eventually("the lock", || (locks(held) == 1).then_some(()));
        let_go.send(()).unwrap();
        eventually("the renewal at the lock", || (locks(waits_for_the_row) == 1).then_some(()));
        let other = scope.spawn(|| app.get("up/x"));
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(locks(waits_for_the_row), 1, "the other call has joined, not asked for itself");
        assert!(!other.is_finished());
        assert_eq!(late.join().unwrap().status, 401, "renewed a moment ago: the API's own answer");
        let answer = other.join().unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    });
    assert_eq!(oidc.token_requests(), 3);
    app.stop();
}

#[test]
fn another_server_takes_over_from_a_dead_one_that_has_gone_silent() {
    let oidc = OidcProvider::with(&json!({"settings": {"delay_ms": 5000}}));
    let app = setup().database(&Postgres::shared().fresh_database()).start();
    let other = app.beside().start();
    app.credential("up", "oauth2_client_credentials", &client(&oidc, &oidc.issuer()));
    let mut stream = crate::support::connect(&app);
    let request = crate::support::head(&app, "GET", "up/resource", "");
    stream.write_all(&request).unwrap();
    eventually("the token request", || (oidc.token_requests() == 1).then_some(()));
    app.kill();
    oidc.set(&json!({"delay_ms": 0}));
    let began = Instant::now();
    loop {
        let answer = other.get("up/resource");
        if answer.status == 200 {
            break;
        }
        let code = answer.header("latchstring-error");
        assert_eq!((answer.status, code), (503, Some("busy")), "{}", answer.text());
        assert!(began.elapsed() < Duration::from_secs(40), "a silent holder is waited for");
    }
    assert_eq!(oidc.token_requests(), 2);
    figure(
        "seconds until another server can have the token that a killed one was asking for",
        began.elapsed().as_secs(),
    );
    other.stop();
}
