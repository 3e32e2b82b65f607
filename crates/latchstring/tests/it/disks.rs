//! Disks that are full and databases that are read-only: nothing goes wrong silently, and all is well once there is room.
//!
//! A full disk is a small tmpfs where the tests may mount one (as root), else a limit on the size of files.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use latchstring_testkit::postgres::Postgres;
use latchstring_testkit::{AppSetup, TestApp, eventually};
use serde_json::json;

use crate::support::{BINARY, Upstream, setup};

/// A small file system of its own.
struct Small {
    at: PathBuf,
    mounted: bool,
}

impl Small {
    fn at(path: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"])
            .arg(path)
            .stderr(Stdio::null())
            .status();
        mount.is_ok_and(|status| status.success()).then(|| Self { at: path.to_owned(), mounted: true })
    }

    /// Takes all the room there is; the file's end gives it back.
    fn fill(&self) -> PathBuf {
        let path = self.at.join("filler");
        let mut file = fs::File::create(&path).unwrap();
        for size in [64 * 1024, 1024, 1] {
            let block = vec![0x55; size];
            while file.write_all(&block).is_ok() {}
        }
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if std::mem::take(&mut self.mounted) {
            let _ = Command::new("umount").arg("-l").arg(&self.at).status();
        }
    }
}

fn up(app: &TestApp) -> Upstream {
    let upstream = Upstream::recording();
    app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    upstream
}

/// A start of the binary in which no file grows beyond so many bytes.
fn limited(setup: AppSetup, bytes: u64) -> AppSetup {
    let script = setup.folder().join("limited");
    let blocks = bytes / 512;
    let text = format!("#!/bin/sh\ntrap '' XFSZ\nulimit -f {blocks}\nexec {BINARY} \"$@\"\n");
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    setup.binary(script)
}

fn make_project(app: &TestApp, number: usize) -> latchstring_testkit::http::Answer {
    app.api("POST", "/projects", &json!({"slug": format!("p-{number}"), "name": "x".repeat(190)}))
}

/// Writes are refused in words, nothing half-done is left, and calls go on.
fn refused_writes(app: &TestApp, upstream: &Upstream) -> usize {
    let mut made = 0;
    let refused = loop {
        let answer = make_project(app, made);
        if answer.status != 201 {
            break answer;
        }
        made += 1;
        assert!(made < 20_000, "the disk does not fill up");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    let problem = refused.json();
    assert_eq!(problem["code"], "unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("disk of the database"), "{problem}");
    assert!(problem["hint"].is_string() && refused.header("retry-after").is_some());
    let before = upstream.count();
    assert_eq!(app.get("up/while-it-is-full").status, 200, "what is known goes on");
    assert_eq!(upstream.count(), before + 1);
    made
}

fn all_is_well(app: &TestApp, made: usize) {
    assert_eq!(make_project(app, made).status, 201, "the refused one can be made now");
    eventually("the calls that were made meanwhile in the trail", || {
        let items = app.audit("&action=credential.use");
        let found = items.iter().any(|item| item["call"]["path"] == "/while-it-is-full");
        found.then_some(())
    });
    assert!(app.setup().run(&["audit", "verify"]).status.success());
}

#[test]
fn a_full_disk_of_the_database() {
    let first = setup();
    let data = first.data();
    let Some(disk) = Small::at(&data, "6m") else {
        let app = first.start();
        let upstream = up(&app);
        assert_eq!(app.get("up/x").status, 200);
        let setup = app.stop();
        let size = fs::metadata(setup.data().join("latchstring.db")).unwrap().len();
        let app = limited(setup, size.max(512 * 1024) + 64 * 1024).start();
        assert_eq!(app.get("up/x").status, 200);
        let made = refused_writes(&app, &upstream);
        let app = app.stop().binary(BINARY).start();
        return all_is_well(&app, made);
    };
    // The journal has room of its own: only the database shall be out of it.
    let journal = Small::at(&data.join("journal"), "8m").expect("a second one where one could be mounted");
    let app = first.start();
    let upstream = up(&app);
    assert_eq!(app.get("up/x").status, 200);
    let filler = disk.fill();
    let made = refused_writes(&app, &upstream);
    fs::remove_file(filler).unwrap();
    eventually("room for writes", || (make_project(&app, 100_000).status == 201).then_some(()));
    all_is_well(&app, made);
    drop(app);
    drop((journal, disk));
}

#[test]
fn a_full_disk_of_the_journal() {
    let first = setup().database(&Postgres::shared().fresh_database());
    let refused = |app: &TestApp, upstream: &Upstream| {
        // What fits is still written; then no call is made that could not be recorded.
        for number in 0..100_000 {
            let before = upstream.count();
            let answer = app.get(&format!("up/{}-{number}", "long-".repeat(60)));
            if answer.status == 200 {
                continue;
            }
            assert_eq!((answer.status, answer.header("latchstring-error")), (503, Some("unavailable")));
            assert!(answer.text().contains("could not be written"), "{}", answer.text());
            assert!(answer.json()["hint"].as_str().unwrap().contains("disk is full"));
            assert!(answer.header("retry-after").is_some());
            assert_eq!(upstream.count(), before, "nothing was sent");
            return;
        }
        panic!("the journal does not fill up");
    };
    let journal = first.data().join("journal");
    let Some(disk) = Small::at(&journal, "2m") else {
        let app = limited(first, 256 * 1024).start();
        let upstream = up(&app);
        return refused(&app, &upstream);
    };
    let app = first.start();
    let upstream = up(&app);
    assert_eq!(app.get("up/x").status, 200);
    let filler = disk.fill();
    refused(&app, &upstream);
    assert_eq!(app.api("GET", "/projects", &json!({})).status, 200, "what needs no record goes on");
    fs::remove_file(filler).unwrap();
    eventually("calls once there is room", || (app.get("up/after").status == 200).then_some(()));
    assert!(app.setup().run(&["audit", "verify"]).status.success());
    drop(app);
    drop(disk);
}

#[test]
fn a_read_only_database_on_postgresql() {
    let url = Postgres::shared().fresh_database();
    let app = setup().database(&url).start();
    let upstream = up(&app);
    assert_eq!(app.get("up/x").status, 200);
    let name = url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let set = |value: &str| {
        let sql = format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = {value}");
        let server = Postgres::shared();
        server.run(server.url(), &sql);
        // Sessions that are open do not see it.
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        );
        server.run(server.url(), &end);
    };
    set("on");
    let refused = eventually("a refused write", || {
        let answer = make_project(&app, 1);
        (answer.json()["detail"].as_str()?.contains("read-only")).then_some(answer)
    });
    assert_eq!(
        (refused.status, refused.json()["code"].as_str()),
        (503, Some("unavailable")),
        "{}",
        refused.text()
    );
    assert!(refused.json()["hint"].is_string());
    // Nor does a server start on it, and it says why in one line.
    let second = app.setup().clone();
    let (code, said) = second.refused();
    assert_eq!((code, said.trim_end().lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("read-only"), "{said}");
    set("off");
    eventually("writes", || (make_project(&app, 2).status == 201).then_some(()));
    app.stop();
    drop(upstream);
}
