//! What is ended is refused: at once by the server that was told, within a second by every other.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use latchstring_testkit::app::PROJECT;
use latchstring_testkit::postgres::Postgres;
use latchstring_testkit::{TestApp, eventually, figure};
use serde_json::{Value, json};

use crate::support::{Upstream, median, setup};

const IN_ACME: [(&str, &str); 2] =
    [("latchstring-project", PROJECT), ("latchstring-environment", "production")];

/// The bound is a second, and holds for the median. The slack is for a single one: starting the request and being
/// scheduled on a machine whose two cores are busy with other tests.
const BOUND: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_millis(1_500);

/// Ends something and sees it refused on both servers, with this status. How long that took, from the request that
/// ended it to the other server's first refusal.
fn ended(app: &TestApp, other: &TestApp, key: &str, slug: &str, status: u16, end: impl FnOnce()) -> Duration {
    let get = |app: &TestApp| app.call_with(key, "GET", &format!("{slug}/x"), &IN_ACME, b"").status;
    assert_eq!((get(app), get(other)), (200, 200), "{slug}");
    let began = Instant::now();
    end();
    assert_eq!(get(app), status, "{slug}: the server that was told knows at once");
    while get(other) == 200 {
        assert!(began.elapsed() < BOUND + SLACK, "{slug}: the other server still lets it through");
    }
    let took = began.elapsed();
    assert_eq!(get(other), status, "{slug}");
    took
}

/// Of keys, grants and shares each, so that one of them that is slow does not hide among the others.
const EACH: usize = 5;

/// Ends of one kind: half of them are within the bound.
fn bounded(what: &str, end: impl FnMut(usize) -> Duration) -> Vec<Duration> {
    let took: Vec<Duration> = (0..EACH).map(end).collect();
    let middle = median(took.clone());
    assert!(middle <= BOUND, "{what}: half of the ends took longer than a second: {took:?}");
    figure(
        &format!("from ending {what} to its refusal by another server, median of {EACH}"),
        format!("{} ms", middle.as_millis()),
    );
    took
}

#[test]
fn what_is_ended_on_one_server_is_refused_by_all() {
    let upstream = Upstream::recording();
    let app = setup().database(&Postgres::shared().fresh_database()).start();
    let other = app.beside().start();
    let values = json!({"base_url": upstream.url(), "token": "the-token-5"});
    app.credential("up", "bearer", &values);

    let mut took = bounded("a key", |_| {
        let key = app.limited_key(&json!({"name": "short-lived", "environment": "production"}));
        let (id, secret) = (key["id"].as_str().unwrap(), key["key"].as_str().unwrap());
        ended(&app, &other, secret, "up", 401, || {
            app.done("DELETE", &format!("/projects/{PROJECT}/api-keys/{id}"), &Value::Null, 204);
        })
    });

    let grace = app.person("grace@example.com", "editor");
    took.push(ended(&app, &other, &grace, "up", 404, || {
        app.done("DELETE", &format!("/projects/{PROJECT}/members/grace@example.com"), &Value::Null, 204);
    }));

    let linus = app.person("linus@example.com", "editor");
    let people = app.done("GET", "/users?q=linus", &Value::Null, 200);
    let id = people["items"][0]["id"].as_str().unwrap().to_owned();
    took.push(ended(&app, &other, &linus, "up", 401, || {
        app.done("PATCH", &format!("/users/{id}"), &json!({"active": false}), 200);
    }));

    // What owners and admins end: the grant, the credential, the share.
    let own = app.key().to_owned();
    let credential = |slug: &str| app.credential(slug, "bearer", &values)["id"].as_str().unwrap().to_owned();
    took.extend(bounded("a grant", |number| {
        let slug = format!("granted-{number}");
        let id = credential(&slug);
        ended(&app, &other, &own, &slug, 403, || {
            let shares = json!({"shares": [{"project": PROJECT, "slug": slug, "grants": {}}]});
            app.done("PATCH", &format!("/credentials/{id}"), &shares, 200);
        })
    }));
    let id = credential("able");
    took.push(ended(&app, &other, &own, "able", 409, || {
        app.done("POST", &format!("/credentials/{id}/disable"), &Value::Null, 200);
    }));
    app.done("POST", &format!("/credentials/{id}/enable"), &Value::Null, 200);
    eventually("both let it through again", || {
        (app.get("able/x").status == 200 && other.get("able/x").status == 200).then_some(())
    });
    took.extend(bounded("a share", |number| {
        let slug = format!("shared-{number}");
        let id = credential(&slug);
        ended(&app, &other, &own, &slug, 404, || {
            app.done("DELETE", &format!("/projects/{PROJECT}/credentials/{id}"), &Value::Null, 204);
        })
    }));
    // It can be restored for a while, so it is disabled rather than gone.
    let id = credential("deleted");
    took.push(ended(&app, &other, &own, "deleted", 409, || {
        app.done("DELETE", &format!("/credentials/{id}"), &Value::Null, 200);
    }));

    let (ends, median) = (took.len(), median(took.clone()));
    assert!(median <= BOUND, "half of the ends took longer than a second: {took:?}");
    figure(
        &format!(
            "from ending a key, a membership, an account, a grant, a share or a credential to its refusal by another server, median of {ends}"
        ),
        format!("{} ms", median.as_millis()),
    );

    // A value that was changed is not sent any more.
    let id = credential("changed");
    assert_eq!((app.get("changed/x").status, other.get("changed/x").status), (200, 200));
    let new = json!({"values": {"production": {"token": "the-token-6"}}, "verify": "skip"});
    app.done("PATCH", &format!("/credentials/{id}"), &new, 200);
    let began = Instant::now();
    assert_eq!(app.get("changed/x").status, 200);
    assert_eq!(upstream.last().header("authorization"), "Bearer the-token-6");
    loop {
        assert_eq!(other.get("changed/x").status, 200);
        if upstream.last().header("authorization") == "Bearer the-token-6" {
            break;
        }
        assert!(began.elapsed() < BOUND + SLACK, "the other server still sends the old value");
    }

    // A secret that calls read: changed here, sent there.
    app.set_secret("shared_key", "the-first-value");
    app.credential(
        "templated",
        "custom",
        &json!({"base_url": upstream.url(), "auth_headers": {"X-Key": "{{ get_secret('shared_key') }}"}}),
    );
    let sent = |app: &TestApp| {
        assert_eq!(app.get("templated/x").status, 200);
        upstream.last().header("x-key").to_owned()
    };
    assert_eq!((sent(&app), sent(&other)), ("the-first-value".into(), "the-first-value".into()));
    app.set_secret("shared_key", "the-second-value");
    let began = Instant::now();
    assert_eq!(sent(&app), "the-second-value");
    while sent(&other) != "the-second-value" {
        assert!(began.elapsed() < BOUND + SLACK, "the other server still sends the old value");
    }
    other.stop();
    app.stop();
}

/// A wire to the database that can be cut and mended.
struct Wire {
    at: SocketAddr,
    state: Arc<Mutex<(bool, Vec<TcpStream>)>>,
}

impl Wire {
    fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let state: Arc<Mutex<(bool, Vec<TcpStream>)>> = Arc::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let Ok(near) = near else { return };
                let mut state = shared.lock().unwrap();
                if state.0 {
                    continue;
                }
                let far = TcpStream::connect(&target).unwrap();
                state.1.extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)]
                {
                    std::thread::spawn(move || {
                        let mut bytes = vec![0; 64 * 1024];
                        while let Ok(got) = from.read(&mut bytes) {
                            if got == 0 || to.write_all(&bytes[..got]).is_err() {
                                break;
                            }
                        }
                        // The other direction may have closed it already.
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { at, state }
    }

    fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 = true;
        for stream in state.1.drain(..) {
            // One that ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.state.lock().unwrap().0 = false;
    }
}

/// The database's clock was ahead for a moment, or is set back: what is dated beyond now hides nothing that comes after it.
#[test]
fn a_change_that_is_dated_in_the_future_hides_no_other() {
    let upstream = Upstream::recording();
    let url = Postgres::shared().fresh_database();
    let app = setup().database(&url).start();
    let other = app.beside().start();
    app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    let key = app.limited_key(&json!({"name": "short-lived", "environment": "production"}));
    let (id, secret) = (key["id"].as_str().unwrap(), key["key"].as_str().unwrap());
    Postgres::shared().run(
        &url,
        "UPDATE scopes SET changed_at = changed_at + 3600000 WHERE id = (SELECT MIN(id) FROM scopes)",
    );
    // Three looks.
    std::thread::sleep(Duration::from_secs(1));
    ended(&app, &other, secret, "up", 401, || {
        app.done("DELETE", &format!("/projects/{PROJECT}/api-keys/{id}"), &Value::Null, 204);
    });
    other.stop();
    app.stop();
}

#[test]
fn without_the_database_calls_go_on_until_the_stale_limit() {
    let upstream = Upstream::recording();
    let url = Postgres::shared().fresh_database();
    let (before, rest) = url.rsplit_once('@').unwrap();
    let (server, database) = rest.split_once('/').unwrap();
    let wire = Wire::to(server.to_owned());
    let app = setup()
        .database(&format!("{before}@{}/{database}", wire.at))
        .set("LATCHSTRING_STALE_LIMIT", "4s")
        .start();
    app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    // Both cores know the way: connections go to the one that has fewer.
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(app.get("up/x").status, 200));
        }
    });
    let before = upstream.count();
    wire.cut();
    let began = Instant::now();
    let mut served = 0;
    let refused = loop {
        let answer = app.get("up/x");
        if answer.status != 200 {
            break answer;
        }
        served += 1;
        assert!(began.elapsed() < Duration::from_secs(30), "still served long after the limit");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(served >= 10, "calls went on for a while: {served}");
    assert_eq!(
        (refused.status, refused.header("latchstring-error")),
        (503, Some("unavailable")),
        "{}",
        refused.text()
    );
    assert!(refused.header("retry-after").is_some());
    assert_eq!(latchstring_testkit::http::get(&app.at("/healthz"), &[]).status, 200);
    assert_eq!(latchstring_testkit::http::get(&app.at("/readyz"), &[]).status, 503);
    assert_eq!(upstream.count(), served + before, "the refused one was not sent");
    wire.mend();
    eventually("calls after the database is back", || (app.get("up/x").status == 200).then_some(()));
    let sent = upstream.count();
    eventually("every call in the trail", || {
        let uses = app
            .audit("")
            .iter()
            .filter(|item| item["action"] == "credential.use" && item["outcome"] == "ok")
            .count();
        (uses == sent).then_some(())
    });
    app.stop();
}
