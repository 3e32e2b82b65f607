//! The trail beside live servers: checkpoints in a second place, what they alone show, how long records are kept, and
//! the trail as text.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use latchstring_testkit::postgres::Postgres;
use latchstring_testkit::{AppSetup, TestApp, eventually};
use serde_json::{Value, json};

use crate::support::{Upstream, setup};

const CHECKPOINTS: &str = "LATCHSTRING_AUDIT_CHECKPOINTS";

fn with_checkpoints(setup: AppSetup) -> (AppSetup, PathBuf) {
    let file = setup.folder().join("checkpoints.jsonl");
    (setup.set(CHECKPOINTS, file.display().to_string()), file)
}

fn ended(done: &Output) -> (Option<i32>, Value) {
    let out = String::from_utf8_lossy(&done.stdout);
    let report = serde_json::from_str(&out)
        .unwrap_or_else(|_| panic!("{out}\n{}", String::from_utf8_lossy(&done.stderr)));
    (done.status.code(), report)
}

fn verify(setup: &AppSetup) -> (Option<i32>, Value) {
    ended(&setup.run(&["audit", "verify", "--json"]))
}

/// The database alone.
fn verify_alone(setup: &AppSetup) -> (Option<i32>, Value) {
    ended(&setup.command(&["audit", "verify", "--json"]).env_remove(CHECKPOINTS).output().unwrap())
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The row of the newest record, as checkpoints count.
fn newest(app: &TestApp) -> i64 {
    let page = app.done("GET", "/projects/acme/audit?limit=1", &Value::Null, 200);
    page["items"][0]["seq"].as_i64().unwrap() / 4096
}

fn covered(file: &Path, row: i64) -> Option<()> {
    lines(file).last().filter(|line| line["seq"].as_i64() >= Some(row)).map(|_| ())
}

#[test]
fn checkpoints_come_within_a_second_and_verification_runs_beside_the_server() {
    for database in [None, Some(Postgres::shared().fresh_database())] {
        let (first, file) = with_checkpoints(setup());
        let first = match &database {
            Some(url) => first.database(url),
            None => first,
        };
        let (app, upstream) = (first.start(), Upstream::recording());
        app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
        for number in 0..3 {
            app.set_secret(&format!("name_{number}"), "x");
            let row = newest(&app);
            let began = Instant::now();
            eventually("the record's checkpoint", || covered(&file, row));
            // A second, the look before it, and a machine that does other things as well.
            assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        }
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(app.get("up/x").status, 200);
                    app.set_secret("again", "x");
                }
            });
            for _ in 0..4 {
                let (code, report) = verify(app.setup());
                assert_eq!((code, &report["broken"]), (Some(0), &Value::Null), "{report}");
                assert!(report["checkpoints"]["rows_covered"].as_u64() > Some(3), "{report}");
            }
            done.store(true, Ordering::Relaxed);
        });
        let setup = app.stop();
        // The last one is written at the end, so that nothing stands behind it.
        let (code, report) = verify(&setup);
        assert_eq!((code, &report["checkpoints"]["rows_after"]), (Some(0), &json!(0)), "{report}");
        assert!(report["checkpoints"]["credentials"].as_u64() >= Some(1), "{report}");
        let all = lines(&file);
        assert!(all.iter().skip(1).all(|line| line["previous"].is_string()));
        // The next run goes on from there; a line that is taken out is found.
        let setup = setup.start().stop();
        assert_eq!(verify(&setup).0, Some(0));
        let text = fs::read_to_string(&file).unwrap();
        let less: Vec<&str> =
            text.lines().enumerate().filter(|(at, _)| *at != 1).map(|(_, line)| line).collect();
        fs::write(&file, less.join("\n") + "\n").unwrap();
        let (code, report) = verify(&setup);
        assert_eq!((code, &report["found_by_checkpoints"]), (Some(1), &json!(true)), "{report}");
    }
}

#[test]
fn a_database_that_was_put_back_is_found_by_checkpoints_alone() {
    let (first, _) = with_checkpoints(setup());
    let app = first.start();
    app.set_secret("before", "x");
    let setup = app.stop();
    let database = setup.data().join("latchstring.db");
    let older = setup.folder().join("older.db");
    fs::copy(&database, &older).unwrap();
    let app = setup.start();
    app.set_secret("after", "x");
    let setup = app.stop();
    assert_eq!(verify(&setup).0, Some(0));
    for name in ["latchstring.db-wal", "latchstring.db-shm"] {
        let _ = fs::remove_file(setup.data().join(name));
    }
    fs::copy(&older, &database).unwrap();
    assert_eq!(verify_alone(&setup).0, Some(0), "it was true once");
    let (code, report) = verify(&setup);
    assert_eq!((code, &report["found_by_checkpoints"]), (Some(1), &json!(true)), "{report}");
    assert!(report["broken"].as_str().unwrap().contains("older state"), "{report}");
    let text = setup.run(&["audit", "verify"]);
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(text.starts_with("BROKEN: ") && text.contains("The database alone does not show this"), "{text}");
}

#[test]
fn a_key_that_was_pinned_is_the_one_that_signs() {
    let setup = setup().start().stop();
    let (code, report) = verify(&setup);
    let known = report["keys"][0]["sha256"].as_str().unwrap().to_owned();
    assert_eq!((code, known.len()), (Some(0), 64), "{report}");
    let pinned = |key: &str| ended(&setup.run(&["audit", "verify", "--json", "--key", key]));
    for same in [known.clone(), known.to_uppercase(), format!(" {known}\n")] {
        assert_eq!(pinned(&same).0, Some(0), "{same:?}");
    }
    for other in ["0".repeat(64), known[..32].to_owned(), String::new()] {
        let (code, report) = pinned(&other);
        assert_eq!((code, &report["found_by_checkpoints"]), (Some(1), &json!(true)), "{report}");
        assert!(report["broken"].as_str().unwrap().contains("the key was replaced"), "{report}");
    }
}

#[test]
fn a_place_that_cannot_be_written_is_told_and_calls_go_on() {
    let first = setup();
    let (folder, away) = (first.folder().join("second"), first.folder().join("moved-away"));
    fs::create_dir(&folder).unwrap();
    let file = folder.join("checkpoints.jsonl");
    let (app, upstream) = (first.set(CHECKPOINTS, file.display().to_string()).start(), Upstream::recording());
    app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    eventually("the first checkpoints", || covered(&file, newest(&app)));
    fs::rename(&folder, &away).unwrap();
    app.set_secret("while_it_is_away", "x");
    let instance = |app: &TestApp| {
        let told = app.setup().run(&["audit", "export", "--instance"]);
        String::from_utf8(told.stdout).unwrap()
    };
    eventually("the trail says so", || instance(&app).contains("audit.checkpoint_failed").then_some(()));
    assert_eq!(app.get("up/x").status, 200);
    fs::create_dir(&folder).unwrap();
    eventually("a new file", || covered(&file, newest(&app)));
    let setup = app.stop();
    let (old, new) = (away.join("checkpoints.jsonl"), file.display().to_string());
    let both = ["audit", "verify", "--json", "--checkpoints", old.to_str().unwrap(), "--checkpoints", &new];
    let (code, report) = ended(&setup.run(&both));
    assert_eq!((code, &report["checkpoints"]["begin_later"]), (Some(0), &json!([])), "{report}");
    // Without the older part it is told that there is one.
    let (code, report) = verify(&setup);
    assert_eq!((code, &report["checkpoints"]["begin_later"]), (Some(0), &json!([new])), "{report}");
    assert_eq!(report["checkpoints"]["rows_after"], 0, "{report}");
}

#[test]
fn one_server_one_file_and_what_cannot_be_understood_stops_the_start() {
    let (first, file) = with_checkpoints(setup());
    let app = first.start();
    for (value, wanted) in [
        (file.display().to_string(), "another server"),
        ("s3://bucket/x".to_owned(), "file on this machine"),
        ("off".to_owned(), "leave it out"),
        ("/no/such/folder/checkpoints".to_owned(), "cannot be written"),
    ] {
        let (code, said) = setup().set(CHECKPOINTS, value).refused();
        assert_eq!((code, said.trim_end().lines().count()), (Some(2), 1), "{said}");
        assert!(said.contains(CHECKPOINTS) && said.contains(wanted), "{said}");
    }
    for value in ["0s", "10ms", "a year", "365"] {
        let (code, said) = setup().set("LATCHSTRING_AUDIT_RETENTION", value).refused();
        assert_eq!((code, said.trim_end().lines().count()), (Some(2), 1), "{said}");
        assert!(said.contains("LATCHSTRING_AUDIT_RETENTION"), "{said}");
    }
    app.stop();
}

#[test]
fn standard_output_is_a_place_as_well() {
    let app = setup().set(CHECKPOINTS, "stdout").start();
    app.set_secret("x", "x");
    let row = newest(&app);
    let said = eventually("the checkpoint", || {
        let said = app.stdout();
        let whole = said.rsplit_once('\n')?.0;
        let last = whole.lines().rfind(|line| line.starts_with("{\"checkpoint\":"))?;
        let last: Value = serde_json::from_str(last).unwrap();
        (last["seq"].as_i64()? >= row).then_some(said.clone())
    });
    let mut child = app
        .setup()
        .command(&["audit", "verify", "--json", "--checkpoints", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // As a log has it: greetings and checkpoints in one stream, with a time before each.
    let logged: String =
        said.lines().map(|line| format!("2027-01-31T12:00:00Z latchstring {line}\n")).collect();
    child.stdin.take().unwrap().write_all(logged.as_bytes()).unwrap();
    let (code, report) = ended(&child.wait_with_output().unwrap());
    assert_eq!(code, Some(0), "{report}");
    assert!(report["checkpoints"]["rows_covered"].as_u64() >= Some(1), "{report}");
    app.stop();
}

#[test]
fn old_records_are_cut_behind_an_anchor_and_the_rest_holds() {
    for database in [None, Some(Postgres::shared().fresh_database())] {
        let (first, _) = with_checkpoints(setup().set("LATCHSTRING_AUDIT_RETENTION", "2s"));
        let first = match &database {
            Some(url) => first.database(url),
            None => first,
        };
        let (app, upstream) = (first.start(), Upstream::recording());
        app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
        assert_eq!(app.get("up/x").status, 200);
        eventually("the old ones are gone", || {
            let items = app.audit("");
            (!items
                .iter()
                .any(|item| item["action"] == "credential.create" || item["action"] == "credential.use"))
            .then_some(())
        });
        app.set_secret("after", "x");
        let (code, report) = verify(app.setup());
        assert_eq!(code, Some(0), "{report}");
        assert!(report["cut"].as_u64() > Some(3), "{report}");
        let told = app.setup().run(&["audit", "export", "--instance", "--action", "audit.cut"]);
        assert!(String::from_utf8_lossy(&told.stdout).contains("up_to"), "the cut is told");
        app.stop();
    }
}

#[test]
fn the_command_exports_and_follows() {
    let (app, upstream) = (setup().start(), Upstream::recording());
    app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    assert_eq!(app.get("up/x").status, 200);
    eventually("the call with its end", || {
        app.audit("&action=credential.use").iter().any(|item| !item["call"]["status"].is_null()).then_some(())
    });
    let export = |more: &[&str]| {
        let done = app.setup().run(&[&["audit", "export"], more].concat());
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let items: Vec<Value> =
        export(&["--project", "acme"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut listed = app.audit("");
    listed.reverse();
    let last = listed.len() - 1;
    assert_eq!(listed[last]["action"], "audit.export", "that somebody took a copy");
    assert_eq!(listed[last]["actor"]["type"], "server");
    assert_eq!(items[..], listed[..items.len()]);
    assert!(items.len() >= last);
    // Behind what is known already; everything, and what belongs to nobody.
    let after = items[items.len() - 2]["seq"].to_string();
    assert!(export(&["--project", "acme", "--after", &after]).lines().count() >= 1);
    let everything = export(&[]);
    assert!(everything.contains("session.create") || everything.contains("user.create"));
    assert!(everything.contains("credential.use"));
    let csv =
        export(&["--project", "acme", "--format", "csv", "--action", "credential.use", "--credential", "up"]);
    let rows: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!(rows.len(), 2, "{csv}");
    assert!(rows[0].starts_with("seq,at,") && rows[1].contains("/x,200,"), "{csv}");
    let file = app.setup().folder().join("out.jsonl");
    let path = file.display().to_string();
    assert_eq!(export(&["--out", &path]), "");
    assert!(fs::read_to_string(&file).unwrap().contains("credential.use"));
    let again = app.setup().run(&["audit", "export", "--out", &path]);
    assert_eq!(again.status.code(), Some(2), "nothing is written over");
    for wrong in [&["--project", "nothing"][..], &["--project", "acme", "--credential", "nothing"]] {
        let done = app.setup().run(&[&["audit", "export"], wrong].concat());
        assert_eq!(done.status.code(), Some(2), "{}", String::from_utf8_lossy(&done.stderr));
    }

    let mut follower = app
        .setup()
        .command(&["audit", "export", "--project", "acme", "--action", "secret.set", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(follower.stdout.take().unwrap()).lines();
    for name in ["one", "two"] {
        app.set_secret(name, "x");
        let line: Value = serde_json::from_str(&told.next().unwrap().unwrap()).unwrap();
        assert_eq!((&line["action"], &line["target"]), (&json!("secret.set"), &json!(name)));
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
    app.stop();
}
