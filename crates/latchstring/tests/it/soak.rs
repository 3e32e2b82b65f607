//! Long hours in short: callers that never stop, tokens that end every few seconds, an API that now and then refuses
//! one. Nobody gets an error, memory and open files stay where they were, every call is in the trail.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use latchstring_testkit::postgres::Postgres;
use latchstring_testkit::{AppSetup, OidcProvider, TestApp, eventually, figure, long, rounds};
use serde_json::{Value, json};

use crate::support::{Seen, Upstream, json_reply, reply, setup};

/// Seconds that an access token lives.
const TTL: u64 = 6;
const CALLERS: u64 = 4;
/// One call in so many is answered 401 although its token lives.
const REFUSED: u64 = 997;
/// What memory may grow by after the first fifth, beside a tenth of what it was.
const GROWTH: u64 = 24 << 20;

fn open_files(app: &TestApp) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", app.pid())).unwrap().count()
}

fn soak(setup: AppSetup, database: &str) {
    let length = Duration::from_secs(rounds(8, 600) as u64);
    let oidc = OidcProvider::with(&json!({"settings": {"access_token_ttl": TTL}}));
    let asked = AtomicU64::new(0);
    let upstream = Upstream::forgetful(move |seen: &Seen| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        if number % REFUSED == REFUSED - 1 {
            return reply(401, "no");
        }
        json_reply(&json!({"length": seen.body.len()}))
    });
    let app = setup.start();
    app.credential("bearer", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    app.credential(
        "client",
        "oauth2_client_credentials",
        &json!({
            "base_url": upstream.url(), "token_url": oidc.token_url(), "client_id": OidcProvider::CLIENT_ID,
            "client_secret": OidcProvider::CLIENT_SECRET,
        }),
    );
    crate::rotation::credential(&app, &oidc, &upstream.url(), "rotating");
    let slugs = ["bearer", "client", "rotating"];
    let (stop, calls, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let (mut early, mut files) = (0, 0);
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (app, stop, calls, refused) = (&app, &stop, &calls, &refused);
            scope.spawn(move || {
                let mut number = caller;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let slug = slugs[usize::try_from(number % 3).unwrap()];
                    let length =
                        usize::try_from((number * 7919) % 60_000).unwrap() * usize::from(number % 5 == 0);
                    let body = vec![b'x'; length];
                    let method = if length == 0 { "GET" } else { "POST" };
                    let answer = app.call(method, &format!("{slug}/x/{number}?a=b"), &[], &body);
                    calls.fetch_add(1, Ordering::Relaxed);
                    match answer.status {
                        200 => assert_eq!(answer.json()["length"], length),
                        // The upstream's own: of a bearer always, else when a refresh was forced a moment ago.
                        401 if answer.header("latchstring-error").is_none() => {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        other => {
                            stop.store(true, Ordering::Relaxed);
                            panic!("{slug}: {other} {}", answer.text());
                        }
                    }
                }
            });
        }
        let began = Instant::now();
        while began.elapsed() < length && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(200));
            if early == 0 && began.elapsed() > length / 5 {
                (early, files) = (app.memory(), open_files(&app));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (calls, refused) = (calls.into_inner(), refused.into_inner());
    let (late, files_late) = (app.memory(), open_files(&app));
    assert!(late < early + early / 10 + GROWTH, "memory went from {early} to {late} bytes");
    assert!(files_late < files + 64, "open files went from {files} to {files_late}");
    // Every call has both its records: none is missing and none is without an end.
    eventually("the trail", || {
        let check = app.setup().run(&["audit", "verify"]);
        let metrics = latchstring_testkit::http::get(&app.at("/metrics"), &[]).text();
        let backlog = metrics.lines().find(|line| line.starts_with("latchstring_journal_unshipped_bytes"));
        let shipped = backlog.and_then(|line| line.rsplit(' ').next()).is_some_and(|bytes| bytes == "0");
        (shipped && check.status.code() == Some(0)).then_some(())
    });
    let shown = app.done("GET", "/credentials?limit=10", &Value::Null, 200);
    for credential in shown["items"].as_array().unwrap() {
        assert_ne!(credential["environments"]["production"]["status"], "needs_reconnect", "{credential}");
    }
    let renewed = oidc.token_requests();
    let expected = 2 * (length.as_secs() / TTL).saturating_sub(1);
    assert!(renewed >= expected, "{renewed} token requests in {length:?}");
    figure(
        &format!("soak of {} s on {database}: calls / errors of ours", length.as_secs()),
        format!("{calls} / 0 ({refused} times the API's own 401, {renewed} token requests)"),
    );
    figure(
        &format!("soak of {} s on {database}: memory after a fifth → at the end", length.as_secs()),
        format!("{} MiB → {} MiB, {files} → {files_late} open files", early >> 20, late >> 20),
    );
    app.stop();
}

#[test]
fn it_goes_on_and_on_on_sqlite() {
    soak(setup(), "SQLite");
}

#[test]
fn it_goes_on_and_on_on_postgresql() {
    if long() {
        soak(setup().database(&Postgres::shared().fresh_database()), "PostgreSQL");
    }
}
