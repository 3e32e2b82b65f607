//! How the program starts, refuses to start, and stops.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;

use aws_lc_rs::digest;
use latchstring_testkit::AppSetup;
use serde_json::json;

use crate::support::{RawServer, Upstream, app, connect, head, read_head, setup};

/// Every file and folder with mode and content: a start that refuses changes nothing.
fn state(folder: &Path) -> BTreeMap<String, (u32, String)> {
    fn walk(folder: &Path, all: &mut BTreeMap<String, (u32, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let about = fs::metadata(&path).unwrap();
            let content = if about.is_dir() {
                walk(&path, all);
                "folder".to_owned()
            } else {
                hex::encode(digest::digest(&digest::SHA256, &fs::read(&path).unwrap()))
            };
            all.insert(path.display().to_string(), (about.permissions().mode(), content));
        }
    }
    let mut all = BTreeMap::new();
    walk(folder, &mut all);
    all
}

/// It must not start: exit code 2, one line that has these words, nothing written.
#[track_caller]
fn refuses(setup: &AppSetup, words: &[&str]) {
    let before = state(setup.folder());
    let (code, said) = setup.refused();
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} in {said}");
    }
    assert_eq!(state(setup.folder()), before, "nothing was written");
}

fn with_data() -> AppSetup {
    let app = app();
    app.credential("up", "bearer", &json!({"base_url": "http://127.0.0.1:1", "token": "the-token-5"}));
    app.stop()
}

#[test]
fn a_root_key_that_is_missing_short_wrong_or_readable_by_others_stops_the_start() {
    let setup = with_data();
    let key = setup.data().join("root.key");
    let good = fs::read(&key).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let write = |bytes: &[u8], mode: u32| {
        fs::write(&key, bytes).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    };

    fs::remove_file(&key).unwrap();
    refuses(&setup, &["root.key", "missing", "backup"]);
    write(b"", 0o600);
    refuses(&setup, &["root.key", "is empty", "restore it from your backup"]);
    write(&good[..good.len() / 2], 0o600);
    refuses(&setup, &["root.key", "cut off", "restore it from your backup"]);
    write(b"not a key ring at all\n", 0o600);
    refuses(&setup, &["root.key", "is not a Latchstring key ring", "restore it from your backup"]);
    for mode in [0o644, 0o640, 0o604, 0o660] {
        write(&good, mode);
        refuses(&setup, &["root.key", "others", "chmod 600"]);
    }
    // A good key ring of another installation.
    let other = with_data();
    write(&fs::read(other.data().join("root.key")).unwrap(), 0o600);
    refuses(&setup, &["root.key", "another instance's key file", "use the file that holds rky_"]);

    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o700)).unwrap();
    refuses(&setup, &["root.key", "not a file"]);
    fs::remove_dir(&key).unwrap();

    write(&good, 0o600);
    setup.start().stop();
}

#[test]
fn a_missing_root_key_stops_the_start_on_postgresql_too() {
    let url = latchstring_testkit::postgres::Postgres::shared().fresh_database();
    let setup = setup().database(&url).start().stop();
    let key = setup.data().join("root.key");
    let good = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    refuses(&setup, &["root.key", "missing"]);
    fs::write(&key, good).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    setup.start().stop();
}

/// Several servers that start for the first time on one database, each with a key file of its own: one wins.
#[test]
fn of_first_starts_side_by_side_one_wins_and_the_others_leave_no_key() {
    for round in 0..3 {
        let url = latchstring_testkit::postgres::Postgres::shared().fresh_database();
        let setups: Vec<AppSetup> = (0..3).map(|_| setup().database(&url)).collect();
        let mut children: Vec<_> = setups
            .iter()
            .map(|setup| {
                setup
                    .command(&["serve"])
                    .stdout(std::process::Stdio::null())
                    .stderr(fs::File::create(setup.folder().join("said")).unwrap())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let losers = latchstring_testkit::eventually("two of three to give up", || {
            let ended: Vec<usize> = children
                .iter_mut()
                .enumerate()
                .filter_map(|(number, child)| child.try_wait().unwrap().map(|_| number))
                .collect();
            (ended.len() >= 2).then_some(ended)
        });
        // The winner is still there a moment later.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let winner = (0..3).find(|number| !losers.contains(number)).unwrap();
        assert!(children[winner].try_wait().unwrap().is_none(), "round {round}: one serves");
        for loser in losers {
            let said = fs::read_to_string(setups[loser].folder().join("said")).unwrap();
            let status = children[loser].wait().unwrap();
            let last = said.trim_end().lines().last().unwrap_or_default();
            assert_eq!(status.code(), Some(2), "round {round}: {said}");
            assert!(last.contains("root key"), "round {round}: {said}");
            assert!(
                !setups[loser].data().join("root.key").exists(),
                "round {round}: a key that opens nothing is left"
            );
        }
        children[winner].kill().unwrap();
        children[winner].wait().unwrap();
        // What it made opens with its key.
        setups[winner].clone().start().stop();
    }
}

#[test]
fn a_port_in_use_stops_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    refuses(&setup().set("LATCHSTRING_LISTEN", &at), &[&at, "LATCHSTRING_LISTEN"]);
    // A second server on the same port and data.
    let app = app();
    let second = app.setup().clone().set("LATCHSTRING_LISTEN", app.authority());
    let (code, said) = second.refused();
    assert_eq!((code, said.trim_end().lines().count()), (Some(2), 1), "{said}");
    app.stop();
}

#[test]
fn a_folder_that_cannot_be_written_stops_the_start() {
    const HINT: &str = "check that this user may read and write it and its folder";
    let setup = with_data();
    // As a user without rights over it: root may write everywhere.
    let id = std::process::Command::new("id").arg("-u").output().unwrap();
    if String::from_utf8_lossy(&id.stdout).trim() != "0" {
        fs::set_permissions(setup.data(), fs::Permissions::from_mode(0o500)).unwrap();
        let (code, said) = setup.refused();
        fs::set_permissions(setup.data(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!((code, said.trim_end().lines().count()), (Some(2), 1), "{said}");
        assert!(said.contains(HINT), "{said}");
        return;
    }
    let chown = |who: &str, path: &Path| {
        assert!(std::process::Command::new("chown").arg("-R").arg(who).arg(path).status().unwrap().success());
    };
    chown("nobody", setup.folder());
    chown("root", &setup.data());
    chown("nobody", &setup.data().join("root.key"));
    for (name, mode) in [("latchstring.db", 0o644), (".", 0o755)] {
        fs::set_permissions(setup.data().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    // The binary may lie where `nobody` cannot reach it.
    let binary = setup.folder().join("latchstring");
    fs::copy(crate::support::BINARY, &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let before = state(&setup.data());
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(&binary).arg("serve");
    let like = setup.command(&["serve"]);
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut child = command
        .current_dir(setup.folder())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let status = latchstring_testkit::eventually("the end of the start", || child.try_wait().unwrap());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((status.code(), said.trim_end().lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains(HINT) && said.contains("latchstring.db"), "{said}");
    assert_eq!(state(&setup.data()), before);
}

#[test]
fn settings_that_cannot_be_understood_stop_the_start() {
    refuses(
        &setup().set("LATCHSTRING_LISTENS", "127.0.0.1:1"),
        &["LATCHSTRING_LISTENS", "did you mean LATCHSTRING_LISTEN"],
    );
    refuses(&setup().set("LATCHSTRING_STALE_LIMIT", "60"), &["LATCHSTRING_STALE_LIMIT", "60"]);
    refuses(&setup().set("LATCHSTRING_EGRESS_ALLOW", "10.0.0.0/99"), &["LATCHSTRING_EGRESS_ALLOW"]);
    refuses(&setup().set("LATCHSTRING_LOG", "trace=trace=trace"), &["LATCHSTRING_LOG"]);
    refuses(&setup().set("LATCHSTRING_EXTRA_CA_FILE", "/nothing/there.pem"), &["LATCHSTRING_EXTRA_CA_FILE"]);
    refuses(&setup().set("LATCHSTRING_OUTBOUND_PROXY", "not a proxy"), &["LATCHSTRING_OUTBOUND_PROXY"]);
    let secret = "postgres://postgres:hunter22-planted@127.0.0.1:1/none";
    let setup_with = setup().database(secret);
    let (code, said) = setup_with.refused();
    assert_eq!((code, said.trim_end().lines().count()), (Some(2), 1), "{said}");
    assert!(!said.contains("hunter22"), "{said}");
    let in_file = setup();
    fs::write(in_file.folder().join("latchstring.toml"), "stale_limit = \"60s\"\nlisten_on = \"x\"\n")
        .unwrap();
    refuses(&in_file, &["latchstring.toml:2", "listen_on"]);
}

#[test]
fn the_sandbox_is_for_this_machine_only() {
    for setup in
        [setup().set("LATCHSTRING_LISTEN", "0.0.0.0:0"), setup().database("postgres://x@127.0.0.1:1/x")]
    {
        let done = setup.run(&["serve", "--sandbox"]);
        assert_eq!(done.status.code(), Some(2), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(String::from_utf8_lossy(&done.stderr).contains("--sandbox"));
        assert!(!setup.data().exists());
    }
}

#[test]
fn the_sandbox_goes_the_whole_way() {
    // Without a rule of the operator's: exactly the sandbox may be reached.
    let app = setup().set("LATCHSTRING_EGRESS_ALLOW", "").sandbox().start();
    let said = app.stdout();
    let base = said.split("listens on ").nth(2).unwrap().split_whitespace().next().unwrap().to_owned();
    let create = |slug: &str, method: &str, values: serde_json::Value| {
        app.api(
            "POST",
            "/credentials",
            &json!({
                "name": slug, "connector": "sandbox", "auth_method": method, "values": {"production": values},
                "shares": [{"project": "acme", "slug": slug, "grants": {"production": "production"}}],
            }),
        )
    };
    let shown = latchstring_testkit::http::get(&base, &[]).json();
    let pem = shown["credentials"]["jwt_bearer"]["private_key"].as_str().unwrap_or_else(|| panic!("{shown}"));
    for (slug, method, values) in [
        ("key", "api_key", json!({"base_url": base, "key": "sandbox-key-not-a-secret"})),
        (
            "client",
            "oauth2_client_credentials",
            json!({"base_url": base, "client_id": "sandbox-client", "client_secret": "sandbox-client-secret-not-a-secret"}),
        ),
        ("robot", "oauth2_jwt_bearer", json!({"base_url": base, "private_key": pem})),
        ("jwt", "jwt", json!({"base_url": base, "private_key": pem})),
    ] {
        let made = create(slug, method, values);
        assert_eq!(made.status, 201, "{slug}: {}", made.text());
        assert_eq!(made.json()["environments"]["production"]["status"], "verified", "{slug}");
        let answer = app.get(&format!("{slug}/v1/people"));
        assert_eq!(answer.status, 200, "{slug}: {}", answer.text());
        assert!(answer.json()["items"].is_array());
    }
    let wrong = create("wrong", "api_key", json!({"base_url": base, "key": "a-mistyped-key-of-mine"}));
    assert_eq!(
        (wrong.status, &wrong.json()["code"]),
        (422, &json!("verification_failed")),
        "{}",
        wrong.text()
    );
    assert!(wrong.json()["hint"].is_string() && !wrong.text().contains("a-mistyped-key"), "{}", wrong.text());
    // Nothing else on loopback.
    let upstream = Upstream::recording();
    app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    assert_eq!((app.get("up/x").status, upstream.count()), (502, 0));
    app.stop();
}

/// Its credentials are public: beside real ones it must not even be on offer.
#[test]
fn without_the_flag_there_is_no_sandbox() {
    let ids = |app: &latchstring_testkit::TestApp| -> Vec<String> {
        let all = app.done("GET", "/connectors", &json!(null), 200)["items"].as_array().unwrap().clone();
        all.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    let credential = json!({
        "name": "Play", "connector": "sandbox", "auth_method": "api_key",
        "values": {"production": {"key": "sandbox-key-not-a-secret"}},
    });
    let app = app();
    let known = ids(&app);
    assert!(known.len() > 40 && !known.contains(&"sandbox".to_owned()), "{known:?}");
    app.done("GET", "/connectors/sandbox", &json!(null), 404);
    let mut skipped = credential.clone();
    skipped["verify"] = "skip".into();
    for body in [credential.clone(), skipped] {
        let refused = app.done("POST", "/credentials", &body, 422);
        assert_eq!(refused["errors"][0]["pointer"], "/connector", "{refused}");
        let detail = refused["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.contains("there is no connector `sandbox`"), "{refused}");
    }
    assert_eq!(app.done("GET", "/credentials", &json!(null), 200)["items"], json!([]));
    assert!(!app.stdout().contains("andbox"), "nor does the greeting speak of it");
    let app = app.stop().sandbox().start();
    assert!(ids(&app).contains(&"sandbox".to_owned()));
    app.done("POST", "/credentials", &credential, 201);
    app.stop();
}

#[test]
fn sigterm_lets_an_open_request_finish() {
    for signal in ["TERM", "INT"] {
        let (began, has_begun) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let raw = RawServer::start(move |_, stream| {
            began.send(()).unwrap();
            wait.lock().unwrap().recv().unwrap();
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone");
        });
        let mut app = app();
        app.credential("up", "bearer", &json!({"base_url": raw.url(), "token": "the-token-5"}));
        let mut stream = connect(&app);
        let idle = connect(&app);
        stream.write_all(&head(&app, "GET", "up/x", "")).unwrap();
        has_begun.recv().unwrap();
        app.signal(signal);
        latchstring_testkit::eventually("that nobody is let in any more", || {
            std::net::TcpStream::connect(app.authority()).is_err().then_some(())
        });
        go.send(()).unwrap();
        let answer = String::from_utf8(read_head(&mut stream)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let mut body = [0; 4];
        stream.read_exact(&mut body).unwrap();
        assert_eq!(&body, b"done");
        assert_eq!(app.wait().code(), Some(0), "{}", app.log());
        drop(idle);
        // The call's outcome was shipped before the end.
        let app = app.setup().clone().start();
        let items = app.audit("");
        let call = items.iter().find(|item| item["action"] == "credential.use").unwrap();
        assert_eq!(call["call"]["status"], 200, "{call}");
    }
}

/// With the sandbox: `readme`, at the end of the tour.
#[test]
fn the_line_that_is_printed_works_with_a_key() {
    let app = app();
    let said = app.stdout();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("curl ")).collect();
    let [line] = lines.as_slice() else { panic!("one line to copy: {said}") };
    let run = |key: &str| {
        let script = format!("{line} -sS -w ' answered %{{http_code}}'");
        let done = std::process::Command::new("bash").arg("-c").arg(script).env("KEY", key).output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    let answer = run(app.manage_key());
    assert!(answer.contains(latchstring_testkit::app::EMAIL), "{answer}");
    assert!(answer.ends_with(" answered 200"), "{answer}");
    assert!(run("lst_wrong").ends_with(" answered 401"));
    app.stop();
}

#[test]
fn the_set_up_link_is_on_the_terminal_and_never_in_the_log() {
    for format in ["text", "json"] {
        let loud = setup().set("LATCHSTRING_LOG", "trace").set("LATCHSTRING_LOG_FORMAT", format);
        let (app, path) = loud.start_untouched();
        let token = path.trim_start_matches("/setup/");
        assert_eq!(token.len(), 43, "{path}");
        assert_eq!(app.stdout().matches(&app.at(&path)).count(), 1, "{}", app.stdout());
        assert_eq!(latchstring_testkit::http::get(&app.at(&path), &[]).status, 200);
        let account = json!({"token": token, "email": "ada@example.com", "name": "Ada", "password": "a long pass phrase"});
        let made = latchstring_testkit::http::post_json(&app.at("/api/v1/setup"), &account);
        assert_eq!(made.status, 201, "{}", made.text());
        assert!(!app.log().is_empty() && !app.log().contains(token), "{format}");
        let setup = app.stop();
        // And of the next start, which has nothing to offer.
        let again = setup.start();
        assert!(!again.stdout().contains("/setup/") && !again.log().contains(token), "{}", again.stdout());
        again.stop();
    }
}

#[test]
fn a_server_answers_its_health_and_logs_without_colours() {
    let app = app();
    assert!(app.log().contains("INFO") && !app.log().contains('\x1b'), "{}", app.log());
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/api/v1/nothing", 404)] {
        assert_eq!(latchstring_testkit::http::get(&app.at(path), &[]).status, status, "{path}");
    }
    app.stop();
}
