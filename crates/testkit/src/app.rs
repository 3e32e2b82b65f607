//! The real program under test: the binary that cargo built, as a child process on a free port, with a data
//! folder of its own, on SQLite or PostgreSQL.
//!
//! The first start makes an account, a project `acme` (environments `production` and `staging`), a personal
//! key with scope manage and a service key for production, all through the API, as a person would.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{self, Answer};

/// How long a start or a stop may take before the test fails: far more than either needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A temporary folder that goes with its last user.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(what: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("latchstring-{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        // One of a test that was killed and had the same process id.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a temporary folder can be made");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How a server is to be started.
#[derive(Clone)]
pub struct AppSetup {
    binary: PathBuf,
    settings: BTreeMap<String, String>,
    sandbox: bool,
    folder: Arc<Folder>,
    keys: Keys,
}

#[derive(Clone, Default)]
struct Keys {
    manage: String,
    service: String,
}

impl AppSetup {
    /// `env!("CARGO_BIN_EXE_latchstring")` names the binary in tests of its crate.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let folder = Arc::new(Folder::new("app"));
        let settings = BTreeMap::from([
            ("LATCHSTRING_LISTEN".into(), "127.0.0.1:0".into()),
            ("LATCHSTRING_DATA_DIR".into(), folder.path().join("data").display().to_string()),
            ("LATCHSTRING_EGRESS_ALLOW".into(), "127.0.0.0/8,::1".into()),
        ]);
        Self { binary: binary.into(), settings, sandbox: false, folder, keys: Keys::default() }
    }

    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// Another binary, or one that wraps it.
    pub fn binary(mut self, binary: impl Into<PathBuf>) -> Self {
        self.binary = binary.into();
        self
    }

    pub fn sandbox(mut self) -> Self {
        self.sandbox = true;
        self
    }

    /// On PostgreSQL, in the database of this URL.
    pub fn database(self, url: &str) -> Self {
        self.set("LATCHSTRING_DATABASE_URL", url)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        PathBuf::from(&self.settings["LATCHSTRING_DATA_DIR"])
    }

    /// The binary with these settings and nothing of the test's own environment that would steer it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("LATCHSTRING_")) {
                command.env_remove(name);
            }
        }
        command.envs(&self.settings);
        command
    }

    /// Runs a command to its end. `serve` would not end: see [`AppSetup::start`].
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary can be started")
    }

    /// A start that must fail: its exit code and what it said on stderr. Panics when it starts.
    pub fn refused(&self) -> (Option<i32>, String) {
        let mut child = self
            .command(&["serve"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be started");
        let Some(status) = ended_within(&mut child, PATIENCE) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the server started, or hangs, though it should refuse to");
        };
        let mut said = String::new();
        child.stderr.take().expect("stderr is piped").read_to_string(&mut said).expect("stderr is text");
        (status.code(), said)
    }

    /// Starts the server and waits until it answers; sets it up when it has no user yet.
    pub fn start(self) -> TestApp {
        let mut app = self.spawn();
        app.set_up();
        app
    }

    /// Starts a server that nobody has set up; the path of its set-up link comes with it.
    pub fn start_untouched(self) -> (TestApp, String) {
        let app = self.spawn();
        let said = app.stdout();
        let token = said.split("/setup/").nth(1).and_then(|rest| rest.split_whitespace().next());
        let path = format!("/setup/{}", token.expect("the server printed a set-up link"));
        (app, path)
    }

    fn spawn(self) -> TestApp {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let run = NEXT.fetch_add(1, Ordering::Relaxed);
        let stdout = self.folder.path().join(format!("stdout-{run}"));
        let log = self.folder.path().join(format!("stderr-{run}"));
        let mut command = self.command(&["serve"]);
        if self.sandbox {
            command.arg("--sandbox");
        }
        let child = command
            .stdout(File::create(&stdout).expect("a file for stdout"))
            .stderr(File::create(&log).expect("a file for stderr"))
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.binary.display()));
        let watchdog = Watchdog::over(child.id());
        let mut app =
            TestApp { url: String::new(), child: Some(child), _watchdog: watchdog, setup: self, stdout, log };
        app.wait_until_ready();
        app
    }
}

/// Ends the server when the test's process ends, however it ends: its standard input closes then.
struct Watchdog {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    fn over(pid: u32) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", "read -r word; [ \"$word\" = done ] || kill -KILL \"$1\"", "watchdog"])
            .arg(pid.to_string())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh can be started");
        let pipe = child.stdin.take();
        Self { child, pipe }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        use std::io::Write;
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.child.wait();
    }
}

fn ended_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("the child can be asked") {
            return Some(status);
        }
        if began.elapsed() > limit {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Looks again and again until something is there. Panics after a minute.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what} did not come about within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running server. Dropping it kills it; [`TestApp::stop`] ends it in order and checks that it did.
pub struct TestApp {
    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub url: String,
    child: Option<Child>,
    _watchdog: Watchdog,
    setup: AppSetup,
    stdout: PathBuf,
    log: PathBuf,
}

/// The project that every server has here.
pub const PROJECT: &str = "acme";
pub const EMAIL: &str = "ada@example.com";
pub const PASSWORD: &str = "a long pass phrase for tests";

impl TestApp {
    /// On SQLite.
    pub fn start(binary: impl Into<PathBuf>) -> Self {
        AppSetup::new(binary).start()
    }

    fn wait_until_ready(&mut self) {
        let began = Instant::now();
        loop {
            let said = self.stdout();
            // The last line is out when the port is open and the greeting is whole.
            if let Some(url) =
                said.lines().find_map(|line| line.split_once(" listens on ").map(|(_, url)| url))
                && said.contains("/proxy/")
            {
                self.url = url.trim().to_owned();
                return;
            }
            let child = self.child.as_mut().expect("it was started");
            if let Some(status) = child.try_wait().expect("the child can be asked") {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            assert!(began.elapsed() < PATIENCE, "the server is not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn set_up(&mut self) {
        let said = self.stdout();
        let Some(token) = said.split("/setup/").nth(1).and_then(|rest| rest.split_whitespace().next()) else {
            return;
        };
        let answer = http::post_json(
            &self.at("/api/v1/setup"),
            &json!({
                "token": token, "email": EMAIL, "name": "Ada Lovelace", "password": PASSWORD,
                "project": {"slug": PROJECT, "name": "Acme", "environments": ["production", "staging"]},
            }),
        );
        assert_eq!(answer.status, 201, "{}", answer.text());
        let cookie = answer.header("set-cookie").and_then(|text| text.split(';').next()).expect("a session");
        let made = http::request(
            "POST",
            &self.at("/api/v1/me/keys"),
            &[("cookie", cookie), ("origin", &self.url), ("content-type", "application/json")],
            json!({"name": "tests", "scope": "manage"}).to_string().as_bytes(),
        );
        assert_eq!(made.status, 201, "{}", made.text());
        self.setup.keys.manage = made.json()["key"].as_str().expect("a key").to_owned();
        self.setup.keys.service = self.service_key("production");
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// `127.0.0.1:PORT`.
    pub fn authority(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// A personal key with scope manage.
    pub fn manage_key(&self) -> &str {
        &self.setup.keys.manage
    }

    /// The service key of [`PROJECT`] in production.
    pub fn key(&self) -> &str {
        &self.setup.keys.service
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub fn setup(&self) -> &AppSetup {
        &self.setup
    }

    /// What this run printed.
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// What this run logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Resident memory in bytes, now.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs on Linux");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// A request to the API with the manage key.
    pub fn api(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.api_as(self.manage_key(), method, path, body)
    }

    pub fn api_as(&self, key: &str, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {key}");
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let mut headers = vec![("authorization", bearer.as_str())];
        if !body.is_null() {
            headers.push(("content-type", "application/json"));
        }
        http::request(method, &self.at(&format!("/api/v1{path}")), &headers, text.as_bytes())
    }

    /// The same, which must end with this status.
    #[track_caller]
    pub fn done(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let answer = self.api(method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    /// A service key of [`PROJECT`].
    pub fn service_key(&self, environment: &str) -> String {
        self.limited_key(&json!({"name": "service", "environment": environment}))["key"]
            .as_str()
            .expect("a key")
            .to_owned()
    }

    /// A service key of [`PROJECT`]; gives what the API answered, `id` and `key` in it.
    #[track_caller]
    pub fn limited_key(&self, key: &Value) -> Value {
        self.done("POST", &format!("/projects/{PROJECT}/api-keys"), key, 201)
    }

    /// Stores a credential of the connector `http` under this slug, unverified, and shares it with [`PROJECT`].
    #[track_caller]
    pub fn credential(&self, slug: &str, method: &str, values: &Value) -> Value {
        self.credential_of("http", slug, method, values)
    }

    #[track_caller]
    pub fn credential_of(&self, connector: &str, slug: &str, method: &str, values: &Value) -> Value {
        self.done(
            "POST",
            "/credentials",
            &json!({
                "name": slug, "connector": connector, "auth_method": method, "verify": "skip",
                "values": {"production": values},
                "shares": [{"project": PROJECT, "slug": slug, "grants": {"production": "production"}}],
            }),
            201,
        )
    }

    pub fn set_secret(&self, name: &str, value: &str) {
        let path = format!("/projects/{PROJECT}/environments/production/secrets/{name}");
        self.done("PUT", &path, &json!({"value": value}), 204);
    }

    /// Another person, with a key that may call.
    #[track_caller]
    pub fn person(&self, email: &str, role: &str) -> String {
        let made = self
            .setup
            .command(&[
                "admin",
                "create-user",
                "--email",
                email,
                "--name",
                "Someone Else",
                "--password-stdin",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut made = made.expect("the binary can be started");
        let mut pipe = made.stdin.take().expect("stdin is piped");
        std::io::Write::write_all(&mut pipe, PASSWORD.as_bytes()).expect("a password is read");
        drop(pipe);
        let made = made.wait_with_output().expect("it ends");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        self.done("PUT", &format!("/projects/{PROJECT}/members/{email}"), &json!({"role": role}), 200);
        let key = self.setup.run(&["admin", "create-key", "--email", email, "--name", "tests"]);
        assert!(key.status.success(), "{}", String::from_utf8_lossy(&key.stderr));
        String::from_utf8(key.stdout).expect("text").trim().to_owned()
    }

    /// A call with the service key of production.
    pub fn call(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.call_with(self.key(), method, target, headers, body)
    }

    /// `target` is what follows `/proxy/`.
    #[track_caller]
    pub fn call_with(
        &self,
        key: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut all = vec![("latchstring-key", key)];
        all.extend(headers);
        let answer = http::request(method, &self.at(&format!("/proxy/{target}")), &all, body);
        answer.says_what_to_do();
        answer
    }

    pub fn get(&self, target: &str) -> Answer {
        self.call("GET", target, &[], b"")
    }

    /// All of the project's trail, newest first or as the API lists it.
    pub fn audit(&self, filter: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.done(
                "GET",
                &format!("/projects/{PROJECT}/audit?limit=200{filter}{cursor}"),
                &Value::Null,
                200,
            );
            items.extend(page["items"].as_array().expect("items").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(done.expect("kill can be run").success());
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        match ended_within(&mut child, PATIENCE) {
            Some(status) => status,
            None => {
                self.child = Some(child);
                panic!("the server does not stop:\n{}", self.log())
            }
        }
    }

    /// Ends it as an operator does, and checks that it ended in order.
    pub fn stop(mut self) -> AppSetup {
        self.signal("TERM");
        let status = self.wait();
        let log = self.log();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains("panicked"), "{log}");
        self.setup.clone()
    }

    /// Ends it as a power cut does.
    pub fn kill(mut self) -> AppSetup {
        self.signal("KILL");
        self.wait();
        self.setup.clone()
    }

    /// Another server on the same database and root key, with a journal of its own.
    pub fn beside(&self) -> AppSetup {
        let mut other = self.setup.clone();
        let root_key = self.setup.data().join("root.key").display().to_string();
        let data = self.setup.folder().join("data-2").display().to_string();
        other.settings.insert("LATCHSTRING_ROOT_KEY_FILE".into(), root_key);
        other.settings.insert("LATCHSTRING_DATA_DIR".into(), data);
        other
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            let mut out = std::io::stderr().lock();
            for line in tail.iter().rev() {
                // The test has failed already; its log is only what helps.
                let _ = std::io::Write::write_all(&mut out, format!("| {line}\n").as_bytes());
            }
        }
    }
}
