//! Use records: none is lost, whatever becomes of the process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use latchstring_testkit::postgres::Postgres;
use latchstring_testkit::{AppSetup, TestApp, eventually, figure, long};
use serde_json::{Value, json};

use crate::support::{RawServer, Upstream, app, connect, head, read_head, setup};

/// The trail's calls by id.
fn calls(app: &TestApp) -> BTreeMap<String, Value> {
    app.audit("")
        .into_iter()
        .filter(|item| item["action"] == "credential.use")
        .map(|item| (item["call"]["id"].as_str().unwrap().to_owned(), item))
        .collect()
}

/// Makes so many calls from several threads; gives the ids that were acknowledged.
fn make(app: &TestApp, count: usize) -> BTreeSet<String> {
    const THREADS: usize = 8;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let mut ids = Vec::new();
                    for _ in (thread..count).step_by(THREADS) {
                        let answer = app.get("up/a/path?secret=query");
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        ids.push(answer.header("latchstring-call-id").unwrap().to_owned());
                    }
                    ids
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn killed_after_500(setup: AppSetup) {
    let upstream = Upstream::recording();
    let mut app = setup.start();
    app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    let mut made = BTreeSet::new();
    let rounds = if long() { 20 } else { 1 };
    for _ in 0..rounds {
        made.extend(make(&app, 500));
        app = app.kill().start();
        assert_eq!(made.len() % 500, 0);
        eventually("every acknowledged call in the trail", || {
            let known = calls(&app);
            made.iter().all(|id| known.contains_key(id)).then_some(())
        });
    }
    assert_eq!(made.len(), 500 * rounds);
    assert_eq!(calls(&app).len(), made.len(), "each once");
    figure("rounds of 500 calls followed by kill -9, none lost", rounds);
    let verify = app.setup().run(&["audit", "verify"]);
    assert_eq!(verify.status.code(), Some(0), "{}", String::from_utf8_lossy(&verify.stdout));
    app.stop();
}

#[test]
fn kill_9_after_500_calls_loses_none_on_sqlite() {
    killed_after_500(setup());
}

#[test]
fn kill_9_after_500_calls_loses_none_on_postgresql() {
    killed_after_500(setup().database(&Postgres::shared().fresh_database()));
}

/// The bound is the middle of several: one that met a busy machine is no news.
#[test]
fn a_call_is_in_the_database_within_a_second() {
    let (app, upstream) = (app(), Upstream::recording());
    app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    let mut took = Vec::new();
    for number in 0..11 {
        // Out of step with whoever ships them.
        std::thread::sleep(Duration::from_millis(number * 31));
        let answer = app.get("up/x");
        let began = Instant::now();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer.header("latchstring-call-id").unwrap();
        eventually("the call with its outcome", || {
            calls(&app).get(id).filter(|item| item["call"]["status"] == 200).map(drop)
        });
        took.push(began.elapsed());
    }
    took.sort();
    let median = took[took.len() / 2];
    figure("milliseconds until a call stands in the audit trail, median of 11", median.as_millis());
    assert!(median <= Duration::from_secs(1), "{took:?}");
    app.stop();
}

#[test]
fn a_record_says_who_what_where_and_how_it_ended() {
    let (app, upstream) = (app(), Upstream::start(|_| crate::support::reply(418, "short and stout")));
    app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    let answer = app.call("PUT", "up/a/path%20x?secret=query", &[], b"body");
    assert_eq!(answer.status, 418);
    let id = answer.header("latchstring-call-id").unwrap().to_owned();
    let item = eventually("the call with its outcome", || {
        calls(&app).remove(&id).filter(|item| !item["call"]["status"].is_null())
    });
    assert_eq!(
        (&item["call"]["method"], &item["call"]["host"], &item["call"]["path"], &item["call"]["status"]),
        (&json!("PUT"), &json!(upstream.at.to_string()), &json!("/a/path%20x"), &json!(418))
    );
    assert_eq!(
        (&item["actor"]["type"], &item["environment"], &item["outcome"]),
        (&json!("key"), &json!("production"), &json!("ok"))
    );
    assert!(item["call"]["duration_ms"].is_u64() && item["target"].as_str().unwrap().starts_with("crd_"));
    assert!(item["hash"].as_str().unwrap().len() == 64);

    // An upstream that cannot be reached is a use, too: the credential was about to leave.
    app.credential("gone", "bearer", &json!({"base_url": "http://127.0.0.1:1", "token": "the-token-5"}));
    let answer = app.get("gone/x");
    assert_eq!(answer.status, 502);
    let id = answer.header("latchstring-call-id").unwrap().to_owned();
    let item =
        eventually("the failed call", || calls(&app).remove(&id).filter(|item| item["outcome"] == "failed"));
    assert_eq!(item["call"]["code"], "upstream_unreachable");

    // A refusal is a record without a call.
    assert_eq!(app.get("up/%2e%2e/x").status, 400);
    let staging = app.service_key("staging");
    assert_eq!(app.call_with(&staging, "GET", "up/x", &[], b"").status, 403);
    eventually("the refusals", || {
        let refused: Vec<Value> =
            app.audit("").into_iter().filter(|item| item["outcome"] == "refused").collect();
        let text = json!(refused).to_string();
        (text.contains("bad_path") && text.contains("no_grant")).then_some(())
    });
    app.stop();
}

#[test]
fn a_caller_that_goes_away_leaves_a_record_of_it() {
    let raw = RawServer::start(|_, stream| {
        use std::io::Write;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nsome");
        // Until the other side hangs up.
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(stream, &mut rest);
    });
    let app = app();
    app.credential("up", "bearer", &json!({"base_url": raw.url(), "token": "the-token-5"}));
    let mut stream = connect(&app);
    std::io::Write::write_all(&mut stream, &head(&app, "GET", "up/x", "")).unwrap();
    let answer = String::from_utf8(read_head(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(stream);
    eventually("the record", || {
        calls(&app)
            .into_values()
            .find(|item| item["outcome"] == "failed" && item["call"]["code"] == "caller_gone")
    });
}

#[test]
fn a_changed_record_is_found() {
    let url = Postgres::shared().fresh_database();
    let (app, upstream) = (setup().database(&url).start(), Upstream::recording());
    app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    let made = make(&app, 20);
    eventually("the trail", || (calls(&app).len() == made.len()).then_some(()));
    let verify = |app: &TestApp| app.setup().run(&["audit", "verify", "--json"]);
    let good = verify(&app);
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
    let report: Value = serde_json::from_slice(&good.stdout).unwrap();
    assert!(report["broken"].is_null() && report["records"].as_u64().unwrap() >= 40, "{report}");
    let changed = Postgres::shared().run(
        &url,
        "UPDATE audit SET body = replace(body, '/a/path', '/b/path') WHERE body LIKE '%/a/path%' RETURNING 1",
    );
    // Many calls lie in one row.
    assert!(changed.lines().count() >= 1, "{changed}");
    let broken = verify(&app);
    assert_eq!(broken.status.code(), Some(1), "{}", String::from_utf8_lossy(&broken.stdout));
    let report: Value = serde_json::from_slice(&broken.stdout).unwrap();
    assert!(report["broken"].is_string(), "{report}");
}
