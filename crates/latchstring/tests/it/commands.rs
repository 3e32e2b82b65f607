//! The commands beside `serve`: what they print and how they end.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Authority, Upstream, app, localhost, reply, setup};

fn text(done: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

#[test]
fn every_command_has_help_with_an_example() {
    let setup = setup();
    // The whole tree, as the help of each command lists what is below it.
    let (mut seen, mut open) = (Vec::new(), vec![Vec::<String>::new()]);
    while let Some(command) = open.pop() {
        let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let (code, out, _) = text(&setup.run(&arguments));
        assert_eq!(code, Some(0), "{command:?}");
        let below = out.split_once("\nCommands:\n").map(|(_, rest)| rest.split("\n\n").next().unwrap());
        let names = below.unwrap_or_default().lines().filter_map(|line| {
            // What a name is for can go on in further lines, which stand further to the right.
            let name = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '))?;
            name.split_whitespace().next().filter(|name| *name != "help")
        });
        open.extend(names.map(|name| command.iter().cloned().chain([name.to_owned()]).collect()));
        let example = out.split_once("\nExample").map_or("", |(_, rest)| rest);
        let wanted = format!("latchstring {}", command.join(" "));
        assert!(example.contains(wanted.trim_end()), "{command:?} has no example of itself: {out}");
        seen.push(command.join(" "));
    }
    for known in
        ["", "serve", "admin reset-password", "audit verify", "connector check", "keys retire", "call"]
    {
        assert!(seen.iter().any(|one| one == known), "{known:?} was not looked at: {seen:?}");
    }
    assert!(seen.len() >= 20, "{seen:?}");
    let (code, _, said) = text(&setup.run(&["serv"]));
    assert_eq!(code, Some(2), "{said}");
    assert!(!setup.data().exists(), "asking for help makes nothing");
}

const GOOD: &str = "id: my-api\nname: My API\nbase_url: https://api.example.com\nauth_methods:\n  key:\n    label: Key\n    fields:\n      key: {type: text, secret: true, label: Key}\n    scheme: {type: api_key, in: header, key: X-Key, value: \"{{ key }}\"}\n";

#[test]
fn definitions_are_checked() {
    let setup = setup();
    let folder = setup.folder();
    fs::write(folder.join("good.yaml"), GOOD).unwrap();
    fs::write(
        folder.join("bad.yaml"),
        GOOD.replace("base_url:", "base_ulr:").replace("type: api_key", "type: api_kee"),
    )
    .unwrap();
    let (code, out, _) = text(&setup.run(&["connector", "check", "good.yaml"]));
    assert_eq!((code, out.as_str()), (Some(0), ""));
    let (code, out, _) = text(&setup.run(&["connector", "check", "good.yaml", "bad.yaml"]));
    assert_eq!(code, Some(1), "{out}");
    assert!(out.lines().any(|line| line.starts_with("bad.yaml:3:1") && line.contains("base_url")), "{out}");
    assert!(out.lines().any(|line| line.starts_with("bad.yaml:9:") && line.contains("api_key")), "{out}");
    let (code, out, _) = text(&setup.run(&["connector", "check", "--json", "bad.yaml"]));
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &found[0]["file"]), (Some(1), &json!("bad.yaml")));
    assert!(found.as_array().unwrap().iter().any(|item| item["line"] == 3 && item["column"] == 1), "{found}");
    let (code, out, _) = text(&setup.run(&["connector", "check", "--json", "good.yaml"]));
    assert_eq!((code, out.trim()), (Some(0), "[]"));
    let (code, _, said) = text(&setup.run(&["connector", "check", "nothing.yaml"]));
    assert_eq!((code, said.trim_end().lines().count()), (Some(2), 1), "{said}");
}

#[test]
fn a_call_from_the_shell() {
    let upstream = Upstream::start(|seen| match seen.method.as_str() {
        "GET" => reply(200, format!("{}?", seen.target)),
        "POST" => reply(201, seen.body.clone()),
        _ => reply(404, "nothing here"),
    });
    let app = app();
    app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    let run = |key: &str, arguments: &[&str]| {
        let all: Vec<&str> = ["call"].iter().chain(arguments).copied().collect();
        let mut command = app.setup().command(&all);
        command.env("LATCHSTRING_URL", &app.url).env("LATCHSTRING_API_KEY", key);
        text(&command.output().unwrap())
    };
    assert_eq!(run(app.key(), &["up", "GET", "/a/b?c=d"]), (Some(0), "/a/b?c=d?".into(), String::new()));
    app.credential(
        "deep",
        "bearer",
        &json!({"base_url": format!("{}/v1/all", upstream.url()), "token": "t"}),
    );
    for (path, sent) in [
        ("", "/v1/all"),
        ("?c=d", "/v1/all?c=d"),
        ("a", "/v1/all/a"),
        ("/a", "/v1/all/a"),
        ("//a", "/v1/all//a"),
    ] {
        assert_eq!(run(app.key(), &["deep", "GET", path]).1, format!("{sent}?"), "{path}");
    }
    let (code, out, _) = run(app.key(), &["../api/v1/me", "GET", "/x"]);
    assert_eq!(code, Some(1), "it is a credential's name, whatever stands in it: {out}");
    assert!(out.contains("credential"), "{out}");
    let (code, out, said) = run(app.key(), &["up", "post", "/x", "-d", "the body", "-i"]);
    assert_eq!((code, out.as_str()), (Some(0), "the body"));
    assert!(said.contains("201") && said.contains("latchstring-call-id"), "{said}");
    let (code, out, _) = run(app.key(), &["up", "DELETE", "/x"]);
    assert_eq!((code, out.as_str()), (Some(1), "nothing here"));
    let (code, out, _) = run("lst_wrong", &["up", "GET", "/x"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("unauthenticated"), "{out}");
    let (code, out, _) =
        run(app.manage_key(), &["up", "GET", "/x", "--project", "acme", "--environment", "production"]);
    assert_eq!((code, out.as_str()), (Some(0), "/x?"));
    let (code, _, said) = run(app.key(), &["up", "GET", "/x", "--url", "http://127.0.0.1:1"]);
    assert_eq!((code, said.trim_end().lines().count()), (Some(2), 1), "{said}");
}

#[test]
fn a_server_with_a_certificate_of_ones_own() {
    let authority = Authority::new();
    let server = Upstream::with(Some(authority.server(&["http/1.1"], false)), |_| reply(200, "there"));
    let setup = setup();
    let ca = setup.folder().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let run = |file: Option<&std::path::Path>| {
        let mut command = setup.command(&["call", "up", "GET", "/x", "--url", &localhost(&server)]);
        command.env("LATCHSTRING_API_KEY", "lst_x").env_remove("LATCHSTRING_EXTRA_CA_FILE");
        if let Some(file) = file {
            command.env("LATCHSTRING_EXTRA_CA_FILE", file);
        }
        text(&command.output().unwrap())
    };
    assert_eq!(run(None).0, Some(2));
    assert_eq!(run(Some(&ca)), (Some(0), "there".into(), String::new()));
    assert_eq!(server.last().target, "/proxy/up/x");
    let (code, _, said) = run(Some(&setup.folder().join("none.pem")));
    assert!(code == Some(2) && said.contains("LATCHSTRING_EXTRA_CA_FILE"), "{said}");
}

#[test]
fn accounts_and_keys_from_the_machine() {
    // Without a server, and beside one.
    let setup = setup();
    let create = |email: &str, password: &str| {
        let mut child = setup
            .command(&["admin", "create-user", "--email", email, "--superuser", "--password-stdin"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), password.as_bytes()).unwrap();
        text(&child.wait_with_output().unwrap())
    };
    let (code, out, said) = create("first@example.com", "a long pass phrase\n");
    assert_eq!(code, Some(0), "{said}");
    assert!(out.starts_with("usr_") && out.lines().count() == 1, "{out}");
    let (code, _, said) = create("first@example.com", "a long pass phrase");
    assert_eq!((code, said.trim_end().lines().count()), (Some(2), 1), "{said}");
    let (code, _, said) = create("second@example.com", "short");
    assert_eq!(code, Some(2), "{said}");
    let (code, key, said) =
        text(&setup.run(&["admin", "create-key", "--email", "first@example.com", "--name", "k"]));
    assert_eq!(code, Some(0), "{said}");
    assert!(key.starts_with("lst_") && key.lines().count() == 1);
    let app = setup.clone().start();
    assert!(!app.stdout().contains("/setup/"), "there is somebody already");
    let me = app.api_as(key.trim(), "GET", "/me", &Value::Null);
    assert_eq!(me.json()["email"], "first@example.com", "{}", me.text());
    let made = app.api_as(
        key.trim(),
        "POST",
        "/projects",
        &json!({"slug": "acme", "name": "A", "environments": ["production"]}),
    );
    assert_eq!(made.status, 201, "{}", made.text());
    let arguments = [
        "admin",
        "create-key",
        "--email",
        "first@example.com",
        "--name",
        "s",
        "--project",
        "acme",
        "--environment",
        "production",
    ];
    let (code, service, said) = text(&setup.run(&arguments));
    assert_eq!(code, Some(0), "{said}");
    let refused = app.call_with(service.trim(), "GET", "nothing/x", &[], b"");
    assert_eq!(refused.header("latchstring-error"), Some("credential_not_found"), "the key itself is good");
    let (code, _, said) =
        text(&setup.run(&["admin", "create-key", "--email", "nobody@example.com", "--name", "k"]));
    assert_eq!((code, said.trim_end().lines().count()), (Some(2), 1), "{said}");
    app.stop();
}

#[test]
fn keys_are_rotated_while_calls_go_on() {
    let (app, upstream) = (app(), Upstream::recording());
    app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    assert_eq!(app.get("up/x").status, 200);
    let before = fs::read(app.setup().data().join("root.key")).unwrap();
    for command in [&["keys", "rotate"][..], &["keys", "rotate", "--data"], &["keys", "retire"]] {
        // A running server reads the key file again by itself, within seconds.
        latchstring_testkit::eventually(&command.join(" "), || {
            let (code, out, said) = text(&app.setup().run(command));
            assert!(
                code == Some(0) || said.contains("Then run this command again"),
                "{command:?}: {out}{said}"
            );
            (code == Some(0)).then_some(())
        });
        assert_eq!(app.get("up/x").status, 200, "{command:?}");
    }
    assert_ne!(fs::read(app.setup().data().join("root.key")).unwrap(), before);
    let app = app.stop().start();
    assert_eq!(app.get("up/x").status, 200);
    app.stop();
}

/// What a provider's form wants is there to be copied, before the provider has given anything.
#[test]
fn the_redirect_uri_of_an_oauth_client_is_printed_alone() {
    let app = app();
    let run = |key: &str, more: &[&str]| {
        let mut arguments = vec!["oauth-clients", "--url", &app.url];
        arguments.extend(more);
        let mut command = app.setup().command(&arguments);
        text(&command.env("LATCHSTRING_API_KEY", key).output().unwrap())
    };
    assert_eq!(run(app.manage_key(), &["--json"]), (Some(0), "[]\n".into(), String::new()));
    let (code, out, said) = run(app.manage_key(), &[]);
    assert_eq!((code, out.as_str()), (Some(0), ""));
    assert!(said.contains("A superuser makes them"), "{said}");
    let draft = |name: &str| {
        app.done(
            "POST",
            "/oauth-clients",
            &json!({"name": name, "connector": "zoom", "projects": ["acme"]}),
            201,
        )
    };
    let (zoom, other) = (draft("Zoom of the sales team"), draft("Twice"));
    draft("Twice");
    let uri = zoom["redirect_uri"].as_str().unwrap();
    for named in ["Zoom of the sales team", zoom["id"].as_str().unwrap()] {
        assert_eq!(run(app.manage_key(), &[named]), (Some(0), format!("{uri}\n"), String::new()), "{named}");
    }
    let (code, out, _) = run(app.manage_key(), &["--project", "acme"]);
    assert_eq!(code, Some(0));
    assert!(
        out.contains("Zoom of the sales team  (zoom, a draft)")
            && out.contains(&format!("redirect URI  {uri}\n")),
        "{out}"
    );
    let (code, out, said) = run(app.manage_key(), &["--json"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 3, "{all}");
    assert!(all.as_array().unwrap().iter().any(|one| one["redirect_uri"] == uri), "{all}");
    let (code, out, _) = run(app.manage_key(), &["Zoom of the sales team", "--json"]);
    let one: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &one["id"], &one["redirect_uri"]), (Some(0), &zoom["id"], &zoom["redirect_uri"]));
    let (code, out, said) = run(app.manage_key(), &["Twice"]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{said}");
    assert!(said.contains(other["id"].as_str().unwrap()), "{said}");
    let (code, _, said) = run(app.manage_key(), &["Nobody's"]);
    assert!(code == Some(2) && said.contains("no OAuth client `Nobody's`"), "{said}");
    let (code, _, said) = run("lst_nonsense", &[]);
    assert!(code == Some(2) && said.contains("key"), "{said}");
    app.stop();
}
