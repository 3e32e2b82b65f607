//! `latchstring export` and `apply`: a project as a file, there and back.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use latchstring_testkit::app::EMAIL;
use latchstring_testkit::{TestApp, eventually};
use serde_json::{Value, json};

use crate::support::setup;

/// What no output may show.
const PLANTED: [&str; 4] =
    ["planted-secret-1", "planted-secret-2", "planted-secret-3", "sandbox-key-not-a-secret"];
const KEY: &str = "sandbox-key-not-a-secret";

struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn ran(done: &Output) -> Run {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let run = Run { code: done.status.code(), out: text(&done.stdout), err: text(&done.stderr) };
    // The sandbox says itself which key it takes.
    let err = run.err.replace("The key is sandbox-key-not-a-secret", "");
    for planted in PLANTED {
        assert!(!run.out.contains(planted) && !err.contains(planted), "{planted}: {}{}", run.out, run.err);
    }
    run
}

fn command(app: &TestApp, key: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = app.setup().command(arguments);
    command.env("LATCHSTRING_URL", &app.url).env("LATCHSTRING_API_KEY", key).envs(variables.iter().copied());
    command
}

fn run(app: &TestApp, key: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
    ran(&command(app, key, arguments, variables).output().unwrap())
}

/// As its owner.
fn ada(app: &TestApp, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
    run(app, app.manage_key(), arguments, variables)
}

#[track_caller]
fn good(run: &Run) {
    assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
}

fn file(app: &TestApp, name: &str, text: &str) {
    fs::write(app.setup().folder().join(name), text).unwrap();
}

/// Ada at a terminal.
struct Sitting {
    child: Child,
    keyboard: ChildStdin,
    seen: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Sitting {
    fn at(app: &TestApp, line: &str, variables: &[(&str, &str)]) -> Self {
        let inner = format!("{} {line}", crate::support::BINARY);
        let shell = command(app, app.manage_key(), &[], variables);
        let variables: Vec<_> =
            shell.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        let mut child = Command::new("script")
            .args(["-q", "-e", "-c", &inner, "/dev/null"])
            .envs(variables)
            .current_dir(app.setup().folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (into, mut from) = (Arc::clone(&seen), child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            let mut some = [0; 512];
            while let Ok(count @ 1..) = from.read(&mut some) {
                into.lock().unwrap().extend_from_slice(&some[..count]);
            }
        });
        let keyboard = child.stdin.take().unwrap();
        Self { child, keyboard, seen, reader }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    fn asked(&self, question: &str) {
        eventually(question, || self.shown().contains(question).then_some(()));
    }

    fn says(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// How it ended, and all that was on the screen.
    fn left(mut self) -> (Option<i32>, String) {
        let done = eventually("the end", || self.child.try_wait().unwrap());
        drop(self.keyboard);
        self.reader.join().unwrap();
        (done.code(), String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned())
    }
}

/// Somebody's by hand, granted to an environment of the project `first`; its address.
fn credential(app: &TestApp, name: &str, environment: &str) -> String {
    let body = json!({
        "name": name, "connector": "sandbox", "auth_method": "api_key", "verify": "skip", "values": {"live": {"key": KEY}},
        "shares": [{"project": "first", "grants": {environment: "live"}}],
    });
    let made = app.done("POST", "/credentials", &body, 201);
    format!("/credentials/{}?purge=true", made["id"].as_str().unwrap())
}

fn account(app: &TestApp, project: &str) -> String {
    let body = json!({"name": "ci", "scope": "manage"});
    app.done("POST", &format!("/projects/{project}/api-keys"), &body, 201)["key"].as_str().unwrap().to_owned()
}

fn export(app: &TestApp, project: &str) -> String {
    let done = ada(app, &["export", "--project", project], &[]);
    good(&done);
    done.out
}

fn tree(yaml: &str) -> Value {
    latchstring_connectors::to_json(yaml).unwrap_or_else(|wrong| panic!("{wrong}\n{yaml}"))
}

/// What was recorded in a project, but for looking.
fn records(app: &TestApp, project: &str) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page =
            app.done("GET", &format!("/projects/{project}/audit?limit=200{cursor}"), &Value::Null, 200);
        let items = page["items"].as_array().unwrap().iter();
        all.extend(items.map(|item| item["action"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    all.retain(|action| action != "credential.view");
    all
}

const CONNECTOR: &str = "id: own-api
name: Own API
base_url: https://api.example.com
auth_methods:
  key:
    label: Key
    fields:
      region: {type: text, label: Region}
      key: {type: text, secret: true, label: Key}
    scheme: {type: api_key, in: header, key: X-Key, value: '{{ key }}'}
";

/// The secrets of [`WHOLE`].
const VARIABLES: [(&str, &str); 4] = [
    ("LATCHSTRING_SECRETS_PRODUCTION_TOKEN", "planted-secret-1"),
    ("LATCHSTRING_CREDENTIALS_PEOPLE_LIVE_KEY", KEY),
    ("LATCHSTRING_CREDENTIALS_OWN_LIVE_KEY", "planted-secret-2"),
    ("LATCHSTRING_CREDENTIALS_MINE_LIVE_PASSWORD", "planted-secret-3"),
];

fn whole() -> String {
    let definition: String = CONNECTOR.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "latchstring: 1
project: {{name: Whole}}
environments: [production, staging]
members:
  {EMAIL}: owner
  bob@example.com: editor
connectors:
  own-api:
    definition: |
{definition}variables:
  production:
    REGION: eu
    LIMIT: '5'
    ONLY: {{value: there, hosts: [api.example.com]}}
secrets:
  production:
    TOKEN: {{hosts: [api.example.com]}}
credentials:
  people:
    name: People
    connector: sandbox
    auth_method: api_key
    owner: project
    note: 'the team: everybody'
    external_id: north
    values:
      live:
        secret_fields: [key]
    grants: {{production: live, staging: live}}
  own:
    name: Own
    connector: own-api
    auth_method: key
    owner: project
    values:
      live:
        fields: {{region: eu}}
        secret_fields: [key]
    grants: {{production: live}}
  mine:
    name: Mine
    connector: http
    auth_method: basic
    owner: {EMAIL}
    values:
      live:
        fields: {{base_url: 'https://api.example.com', username: ada}}
        secret_fields: [password]
    grants: {{staging: live}}
keychains:
  customers:
    name: Customers
    connector: sandbox
    by: '{{{{ input.customer }}}}'
    default: people
webhooks:
  - url: https://hooks.example.com/latchstring
    events: [credential.failing]
    description: pager
"
    )
}

fn sandboxed() -> TestApp {
    // Nothing is recorded here but what these commands do.
    let app = setup().sandbox().set("LATCHSTRING_VERIFY_EVERY", "off").start();
    app.person("bob@example.com", "viewer");
    file(&app, "whole.yaml", &whole());
    app
}

/// Made from a file, with secrets of the environment.
fn made(app: &TestApp, slug: &str) {
    let mut arguments = vec!["apply", "whole.yaml", "--project", slug, "--yes"];
    let kept = format!("new-{slug}");
    arguments.extend(["--new-secrets", &kept]);
    good(&ada(app, &arguments, &VARIABLES));
}

#[test]
fn a_project_is_made_again_from_its_export() {
    let app = sandboxed();
    made(&app, "first");
    // A signing secret is shown once, and went where it was to go: to a file of its owner alone.
    let kept = app.setup().folder().join("new-first");
    assert!(fs::read_to_string(&kept).unwrap().contains("whsec_"));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    let first = export(&app, "first");
    // What was written by hand is what comes back, in order and in full.
    let mut wanted = tree(&whole());
    wanted["project"] = json!({"slug": "first", "name": "Whole"});
    wanted["service_keys"] = json!([]);
    assert_eq!(tree(&first), wanted, "{first}");
    file(&app, "first.yaml", &first);
    let second = ada(&app, &["apply", "first.yaml", "--project", "second", "--yes"], &VARIABLES);
    good(&second);
    assert!(
        second.out.contains("its signing secret was not kept") && !second.out.contains("whsec_"),
        "{}",
        second.out
    );
    assert_eq!(export(&app, "second"), first.replace("slug: first", "slug: second"));
    // And it works: what was shared is used through the key that a person makes.
    let key = app.done(
        "POST",
        "/projects/second/api-keys",
        &json!({"name": "n", "environment": "production"}),
        201,
    );
    let key = key["key"].as_str().unwrap();
    assert_eq!(app.call_with(key, "GET", "people/v1/people?limit=1", &[], b"").status, 200);
    assert!(!app.log().contains("planted-secret"));
    app.stop();
}

#[test]
fn applied_again_nothing_changes_and_what_changed_by_hand_is_seen() {
    let app = sandboxed();
    made(&app, "first");
    // The dry request is a call, and comes into the trail a moment later.
    let before = eventually("the verification is in the trail", || {
        Some(records(&app, "first")).filter(|all| all.iter().any(|action| action == "credential.verify"))
    });
    assert!(before.len() > 15, "{before:?}");
    let again = ada(&app, &["apply", "whole.yaml", "--project", "first"], &[]);
    good(&again);
    assert!(again.out.contains("Nothing to do.") && !again.out.contains("For a person"), "{}", again.out);
    good(&ada(&app, &["apply", "whole.yaml", "--project", "first", "--plan"], &[]));
    assert_eq!(records(&app, "first"), before, "nothing was written");
    // By hand: something of each kind.
    let base = "/projects/first";
    let crd = app.done("GET", "/credentials?project=first&q=Mine", &Value::Null, 200);
    let crd = format!("/credentials/{}", crd["items"][0]["id"].as_str().unwrap());
    app.done(
        "PATCH",
        &crd,
        &json!({"name": "Ours", "verify": "skip", "values": {"live": {"username": "eve"}}}),
        200,
    );
    app.done(
        "PUT",
        &format!("{base}/environments/production/variables/REGION"),
        &json!({"value": "us"}),
        204,
    );
    app.done("DELETE", &format!("{base}/environments/production/secrets/TOKEN"), &Value::Null, 204);
    app.done("PUT", &format!("{base}/members/bob@example.com"), &json!({"role": "viewer"}), 200);
    app.done(
        "PATCH",
        &format!("{base}/keychains/customers"),
        &json!({"by": "{{ input.other }}", "default": null}),
        200,
    );
    app.done("PATCH", base, &json!({"environments": ["staging", "production"]}), 200);
    app.done("PUT", &format!("{base}/environments/staging/variables/EXTRA"), &json!({"value": "x"}), 204);
    let plan = ada(&app, &["apply", "whole.yaml", "--project", "first", "--plan"], &[]);
    assert_eq!(plan.code, Some(1), "there is something: {}", plan.out);
    for line in [
        "~ credential mine: name \"Ours\" → \"Mine\", values.live.fields.username \"eve\" → \"ada\"",
        "~ variable production/REGION: value \"us\" → \"eu\"",
        "+ secret production/TOKEN: needs secrets.production.TOKEN",
        "~ member bob@example.com: role \"viewer\" → \"editor\"",
        "~ keychain customers: by \"{{ input.other }}\" → \"{{ input.customer }}\", default – → \"people\"",
        "~ environment: order",
        "variable staging/EXTRA\n",
        "1 to make, 5 to change, 0 to remove.",
    ] {
        assert!(plan.out.contains(line), "{line}\n{}", plan.out);
    }
    good(&ada(&app, &["apply", "whole.yaml", "--project", "first", "--yes", "--unverified"], &VARIABLES));
    let exported = tree(&export(&app, "first"));
    assert_eq!(exported["variables"]["staging"], json!({"EXTRA": "x"}), "what the file does not name stays");
    assert_eq!(exported["environments"], json!(["production", "staging"]));
    assert_eq!(exported["credentials"], tree(&whole())["credentials"]);
    good(&ada(&app, &["apply", "whole.yaml", "--project", "first", "--plan"], &[]));
    app.stop();
}

#[test]
fn only_what_apply_has_made_is_pruned() {
    let app = sandboxed();
    made(&app, "first");
    let base = "/projects/first";
    let by_hand = |name: &str| {
        app.done(
            "PUT",
            &format!("{base}/environments/production/variables/{name}"),
            &json!({"value": "x"}),
            204,
        );
    };
    by_hand("HAND");
    // Made by apply once, removed, and made anew by hand: a person's.
    app.done("DELETE", &format!("{base}/environments/production/variables/LIMIT"), &Value::Null, 204);
    by_hand("LIMIT");
    app.done("POST", &format!("{base}/webhooks"), &json!({"url": "https://hooks.example.com/hand"}), 201);
    let short = "latchstring: 1\nproject: {slug: first}\nenvironments: [production]\nmembers: {}\nconnectors: {}\nvariables: {}\nsecrets: {}\ncredentials: {}\nkeychains: {}\nwebhooks: []\n";
    file(&app, "short.yaml", short);
    let before = export(&app, "first");
    let left = ada(&app, &["apply", "short.yaml"], &[]);
    good(&left);
    for line in [
        "Nothing to do.",
        "variable production/REGION  (made by apply: --prune removes it)",
        "variable production/HAND\n",
        "variable production/LIMIT\n",
        "webhook https://hooks.example.com/hand\n",
        "member ada@example.com\n",
        "environment staging  (made by apply",
    ] {
        assert!(left.out.contains(line), "{line}\n{}", left.out);
    }
    assert_eq!(export(&app, "first"), before, "without --prune nothing is removed");
    // Somebody has put something into an environment that apply has made: it would go with it.
    let secret = format!("{base}/environments/staging/secrets/HAND");
    app.done("PUT", &secret, &json!({"value": "planted-secret-2"}), 204);
    let key = json!({"name": "nightly", "environment": "staging"});
    let key = app.done("POST", &format!("{base}/api-keys"), &key, 201);
    let key = format!("{base}/api-keys/{}", key["id"].as_str().unwrap());
    let own = credential(&app, "By hand", "staging");
    let left = ada(&app, &["apply", "short.yaml"], &[]);
    assert!(left.out.contains("environment staging  (made by apply, and kept by"), "{}", left.out);
    let pruned = ada(&app, &["apply", "short.yaml", "--prune", "--yes"], &[]);
    good(&pruned);
    let held = "! environment staging: remove it: it stays, because it holds what apply did not make: ";
    let names = "secret staging/HAND, the grant of credential by-hand, service key nightly.";
    assert!(pruned.out.contains(&format!("{held}{names} Remove that first")), "{}", pruned.out);
    let after = tree(&export(&app, "first"));
    assert_eq!(after["environments"], json!(["production", "staging"]));
    assert_eq!(after["secrets"], json!({"staging": {"HAND": {}}}));
    assert_eq!(after["service_keys"][0]["name"], "nightly");
    assert_eq!(after["credentials"]["by-hand"]["grants"], json!({"staging": "live"}));
    // Each of them keeps it, also alone.
    app.done("DELETE", &secret, &Value::Null, 204);
    app.done("DELETE", &own, &Value::Null, 204);
    let plan = ada(&app, &["apply", "short.yaml", "--prune", "--plan"], &[]);
    assert!(
        plan.code == Some(1) && plan.out.contains(&format!("{held}service key nightly.")),
        "{}",
        plan.out
    );
    app.done("DELETE", &key, &Value::Null, 204);
    let pruned = ada(&app, &["apply", "short.yaml", "--prune", "--yes"], &[]);
    good(&pruned);
    assert!(pruned.out.contains("done  - environment staging"), "{}", pruned.out);
    let after = tree(&export(&app, "first"));
    assert_eq!(after["variables"], json!({"production": {"HAND": "x", "LIMIT": "x"}}));
    assert_eq!(after["webhooks"], json!([{"url": "https://hooks.example.com/hand"}]));
    assert_eq!(after["members"], json!({EMAIL: "owner"}));
    assert_eq!(
        (&after["credentials"], &after["keychains"], &after["environments"]),
        (&json!({}), &json!({}), &json!(["production"]))
    );
    assert!(after.get("secrets").is_none(), "{after}");
    // Credentials are restorable; the file brings them back.
    let plan = ada(&app, &["apply", "whole.yaml", "--project", "first", "--plan"], &[]);
    assert!(plan.out.contains("~ credential people: restored"), "{}", plan.out);
    let told = ada(&app, &["apply", "whole.yaml", "--project", "first", "--plan", "--json"], &[]);
    assert_eq!((told.code, told.err.as_str()), (plan.code, ""), "{}", told.out);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(told["project"], "first");
    let steps = told["steps"].as_array().unwrap();
    let lines =
        plan.out.lines().filter(|line| ["  + ", "  ~ ", "  - "].iter().any(|sign| line.starts_with(sign)));
    assert_eq!(steps.len(), lines.count(), "{told}\n{}", plan.out);
    let restored = steps.iter().find(|step| step["kind"] == "credential" && step["name"] == "people");
    assert_eq!(restored.unwrap()["act"], "restore");
    assert!(steps.iter().any(|step| step["act"] == "make" && step["kind"] == "secret"), "{told}");
    app.stop();
}

/// A plan is read by somebody, and meanwhile others go on.
#[test]
fn what_came_after_the_plan_is_not_pruned() {
    let app = sandboxed();
    made(&app, "first");
    let short = "latchstring: 1\nproject: {slug: first}\nenvironments: [production]\n";
    file(&app, "short.yaml", short);
    let secret = "/projects/first/environments/staging/secrets/LATE";
    let mut sitting = Sitting::at(&app, "apply short.yaml --prune", &[]);
    sitting.asked("Do it? [y/N]");
    app.done("PUT", secret, &json!({"value": "planted-secret-2"}), 204);
    sitting.says("y");
    let (code, text) = sitting.left();
    assert!(code == Some(1) && text.contains("not   - environment staging"), "{text}");
    assert!(text.contains("what apply did not make: secret staging/LATE."), "{text}");
    app.done("GET", secret, &Value::Null, 200);
    app.stop();
}

#[test]
fn secrets_come_from_a_file_from_the_environment_and_from_who_sits_there() {
    let app = sandboxed();
    let text = "latchstring: 1\nproject: {slug: acme}\nsecrets: {production: {A: {}, B: {}, C: {}}}\ncredentials:\n  p:\n    {name: P, connector: sandbox, auth_method: api_key, values: {live: {secret_fields: [key]}}, grants: {production: live}}\n";
    file(&app, "p.yaml", text);
    file(
        &app,
        "s.yaml",
        "secrets: {production: {A: planted-secret-1}}\ncredentials: {p: {live: {key: sandbox-key-not-a-secret}}}\n",
    );
    let before = records(&app, "acme");
    // Nobody sits there: what is missing is named, and nothing is done.
    let missing = ada(
        &app,
        &["apply", "p.yaml", "--yes", "--secrets", "s.yaml"],
        &[("LATCHSTRING_SECRETS_PRODUCTION_B", "planted-secret-2")],
    );
    assert_eq!(missing.code, Some(2), "{}{}", missing.out, missing.err);
    assert!(
        missing.err.contains("secrets.production.C (LATCHSTRING_SECRETS_PRODUCTION_C)"),
        "{}",
        missing.err
    );
    assert!(
        !missing.err.contains("production.A") && !missing.err.contains("production.B"),
        "{}",
        missing.err
    );
    let unasked = ada(&app, &["apply", "p.yaml"], &VARIABLES);
    assert!(unasked.code == Some(2) && unasked.err.contains("--yes"), "{}", unasked.err);
    assert_eq!(records(&app, "acme"), before);
    // In a terminal: a question, then the secret, which is not shown.
    let variables = [("LATCHSTRING_SECRETS_PRODUCTION_B", "planted-secret-2")];
    let mut sitting = Sitting::at(&app, "apply p.yaml --secrets s.yaml", &variables);
    sitting.asked("Do it? [y/N]");
    sitting.says("y");
    sitting.asked("secrets.production.C (not shown)");
    // The terminal has to have taken its echo off.
    std::thread::sleep(std::time::Duration::from_millis(300));
    sitting.says("planted-secret-3");
    let (code, text) = sitting.left();
    assert!(code == Some(0) && text.contains("Done: 4 steps."), "{text}");
    PLANTED.iter().for_each(|planted| assert!(!text.contains(planted), "{text}"));
    for name in ["A", "B", "C"] {
        app.done("GET", &format!("/projects/acme/environments/production/secrets/{name}"), &Value::Null, 200);
    }
    app.stop();
}

#[test]
fn a_step_that_fails_says_where_and_is_gone_on_from() {
    let app = sandboxed();
    let wrong = [("LATCHSTRING_CREDENTIALS_PEOPLE_LIVE_KEY", "planted-secret-1")];
    let variables: Vec<(&str, &str)> =
        VARIABLES.into_iter().filter(|(name, _)| !name.contains("PEOPLE")).chain(wrong).collect();
    let broken = ada(&app, &["apply", "whole.yaml", "--project", "first", "--yes"], &variables);
    assert_eq!(broken.code, Some(1), "{}{}", broken.out, broken.err);
    let line = 1 + whole().lines().position(|line| line == "  people:").unwrap();
    assert!(broken.err.contains(&format!("whole.yaml:{line}:3: credentials.people: ")), "{}", broken.err);
    assert!(broken.err.contains("apply the same file again"), "{}", broken.err);
    assert!(
        broken.out.contains("done  + secret production/TOKEN")
            && broken.out.contains("not   + credential people"),
        "{}",
        broken.out
    );
    assert!(!broken.out.contains("done  + keychain"), "{}", broken.out);
    // What was done is done, and is not done again.
    let rest = ada(&app, &["apply", "whole.yaml", "--project", "first", "--yes"], &VARIABLES);
    good(&rest);
    assert!(
        !rest.out.contains("variable")
            && rest.out.contains("done  + credential people")
            && rest.out.contains("done  + keychain customers"),
        "{}",
        rest.out
    );
    good(&ada(&app, &["apply", "whole.yaml", "--project", "first", "--plan"], &[]));
    app.stop();
}

#[test]
fn a_service_account_does_it_and_leaves_to_people_what_is_theirs() {
    let app = sandboxed();
    made(&app, "first");
    let key = account(&app, "first");
    app.person("eve@example.com", "viewer");
    let changed = whole()
        .replace("LIMIT: '5'", "LIMIT: '6'")
        .replace("bob@example.com: editor", "bob@example.com: viewer\n  eve@example.com: admin")
        .replace("by: '{{ input.customer }}'", "by: '{{ input.shop }}'")
        .replace("username: ada", "username: grace")
        + "service_keys:\n  - {name: nightly, environment: production, credentials: [people]}\n";
    file(&app, "changed.yaml", &changed);
    // Secrets of others are not asked for: only what this key changes.
    let done = run(&app, &key, &["apply", "changed.yaml", "--project", "first", "--yes"], &[]);
    good(&done);
    for line in [
        "done  ~ variable production/LIMIT",
        "done  ~ member bob@example.com",
        "done  ~ keychain customers",
        "! member eve@example.com: admin: a service account makes and changes no admins and owners",
        "! service key nightly: a key is shown once",
    ] {
        assert!(done.out.contains(line), "{line}\n{}", done.out);
    }
    // It does not see the fields of what is ada's, and so it cannot say what of them differs.
    assert!(!done.out.contains("grace"), "{}", done.out);
    let plan = run(&app, &key, &["apply", "changed.yaml", "--project", "first", "--plan"], &[]);
    assert!(
        plan.code == Some(1) && plan.out.contains("Nothing to do."),
        "a person has something to do: {}",
        plan.out
    );
    // It makes what the project owns, in its own project alone.
    let more = "latchstring: 1\nproject: {slug: first}\nenvironments: [production, staging, test]\ncredentials:\n  more: {name: More, connector: sandbox, auth_method: api_key, values: {live: {secret_fields: [key]}}, grants: {test: live}}\n  hers: {name: Hers, connector: sandbox, auth_method: api_key, owner: eve@example.com}\n";
    file(&app, "more.yaml", more);
    let done =
        run(&app, &key, &["apply", "more.yaml", "--yes"], &[("LATCHSTRING_CREDENTIALS_MORE_LIVE_KEY", KEY)]);
    good(&done);
    assert!(done.out.contains("! credential hers: it is eve@example.com's"), "{}", done.out);
    let export = run(&app, &key, &["export", "--project", "first"], &[]);
    good(&export);
    assert_eq!(tree(&export.out)["credentials"]["more"]["grants"], json!({"test": "live"}));
    assert!(export.err.contains("credential mine: its fields are not in it"), "{}", export.err);
    assert_eq!(
        tree(&export.out)["credentials"]["mine"]["values"]["live"],
        json!({"secret_fields": ["password"]})
    );
    for arguments in
        [&["export", "--project", "acme"][..], &["apply", "more.yaml", "--project", "nowhere", "--plan"]]
    {
        let foreign = run(&app, &key, arguments, &[]);
        assert!(foreign.code == Some(2) && foreign.err.contains("there is no project"), "{}", foreign.err);
    }
    app.stop();
}

/// The old way to lose a grant: it stays until the file says that it goes.
#[test]
fn grants_fields_and_sets_go_when_the_file_says_so() {
    let app = sandboxed();
    made(&app, "first");
    let without = whole().replace("grants: {production: live, staging: live}", "grants: {production: live}");
    file(&app, "without.yaml", &without);
    good(&ada(&app, &["apply", "without.yaml", "--project", "first", "--plan"], &[]));
    let null = whole()
        .replace("grants: {production: live, staging: live}", "grants: {production: live, staging: null}")
        .replace("note: 'the team: everybody'", "note: null")
        .replace("REGION: eu", "REGION: ''");
    file(&app, "null.yaml", &null);
    good(&ada(&app, &["apply", "null.yaml", "--project", "first", "--yes"], &[]));
    let people = tree(&export(&app, "first"));
    assert_eq!(people["credentials"]["people"]["grants"], json!({"production": "live"}));
    assert!(people["credentials"]["people"].get("note").is_none(), "{people}");
    assert_eq!(people["variables"]["production"]["REGION"], "");
    good(&ada(&app, &["apply", "null.yaml", "--project", "first", "--plan"], &[]));
    // With --prune, what apply made is as the file says.
    good(&ada(&app, &["apply", "whole.yaml", "--project", "first", "--yes"], &[]));
    good(&ada(&app, &["apply", "without.yaml", "--project", "first", "--yes", "--prune"], &[]));
    assert_eq!(
        tree(&export(&app, "first"))["credentials"]["people"]["grants"],
        json!({"production": "live"})
    );
    app.stop();
}

#[test]
fn what_is_wrong_with_a_file_is_said_at_its_place_and_all_at_once() {
    let app = sandboxed();
    file(
        &app,
        "wrong.yaml",
        "latchstring: 1
project: {slug: acme}
enviroments: [production]
members:
  x@example.com: edtor
secrets:
  production:
    TOKEN: planted-secret-1
webhooks:
  - events: []
connectors:
  bad:
    definition: |
      id: bad
      name: Bad
credentials:
  a:
    name: A
    connector: http
    auth_method: basic
    vales: {}
",
    );
    let wrong = ada(&app, &["apply", "wrong.yaml", "--plan"], &[]);
    assert_eq!(wrong.code, Some(1), "{}{}", wrong.out, wrong.err);
    for line in [
        "wrong.yaml:3:1: `enviroments` is no part of a project file (did you mean `environments`?)",
        "wrong.yaml:5:18: `edtor` is no role (did you mean `editor`?)",
        "wrong.yaml:8:12: a secret's value does not stand in the file",
        "wrong.yaml:10:5: an entry of webhooks needs `url`",
        "wrong.yaml:14:7: connectors.bad: `auth_methods` is missing",
        "wrong.yaml:21:5: credentials.a has no `vales` (did you mean `values`?)",
    ] {
        assert!(wrong.out.contains(line), "{line}\n{}", wrong.out);
    }
    let told = ada(&app, &["apply", "wrong.yaml", "--plan", "--json"], &[]);
    assert_eq!(told.code, Some(1), "{}{}", told.out, told.err);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    let places: Vec<(u64, u64)> = told["wrong"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["line"].as_u64().unwrap(), one["column"].as_u64().unwrap()))
        .collect();
    assert!(places.contains(&(3, 1)) && places.contains(&(21, 5)), "{told}");
    file(
        &app,
        "wrong.yaml",
        "latchstring: 1
project: {slug: acme}
variables: {prodution: {A: b}}
credentials:
  a:
    name: A
    connector: htp
    auth_method: basic
  b:
    name: B
    connector: http
    auth_method: basic
    values: {live: {fields: {base_url: 'https://a.example.com', password: planted-secret-2}, secret_fields: [username]}}
    grants: {production: life}
  c:
    name: C
    connector: no-such-thing-at-all
    auth_method: basic
",
    );
    let wrong = ada(&app, &["apply", "wrong.yaml", "--plan"], &[]);
    assert_eq!(wrong.code, Some(1), "{}{}", wrong.out, wrong.err);
    for line in [
        "wrong.yaml:3:25: the project has no environment `prodution` (did you mean `production`?)",
        "wrong.yaml:7:16: credentials.a: there is no connector `htp` (did you mean `http`?)",
        "wrong.yaml:13:75: credentials.b.values.live: `password` is secret and does not stand in the file",
        "`username` is not secret",
        "wrong.yaml:14:26: credentials.b has no values `life` (did you mean `live`?)",
        "wrong.yaml:17:16: credentials.c: there is no connector `no-such-thing-at-all`; the server's page /docs/connectors lists what there is, `connectors:` in this file brings one of your own, and `http`",
    ] {
        assert!(wrong.out.contains(line), "{line}\n{}", wrong.out);
    }
    for (text, said) in [
        ("a: [", "not valid YAML"),
        ("project: {}\n", "begin it with `latchstring: 1`"),
        ("latchstring: 2\n", "form 1"),
    ] {
        file(&app, "wrong.yaml", text);
        let wrong = ada(&app, &["apply", "wrong.yaml", "--plan"], &[]);
        assert!(
            wrong.code == Some(1) && wrong.out.starts_with("wrong.yaml:") && wrong.out.contains(said),
            "{}",
            wrong.out
        );
    }
    let nowhere = ada(&app, &["apply", "nothing.yaml"], &[]);
    assert!(nowhere.code == Some(2) && nowhere.err.contains("cannot be read"), "{}", nowhere.err);
    app.stop();
}
