//! A real PostgreSQL for tests: one cluster per test binary, one fresh database per test.
//!
//! The cluster lives in a temporary folder, listens on a free loopback port and wants a password. A
//! watchdog holds the reading end of a pipe of ours: when this process ends, however it ends, the pipe
//! closes and the watchdog stops the server and removes the folder.
//!
//! `LATCHSTRING_TEST_POSTGRES_URL`, the URL of a superuser, names a running server to use instead.

use std::fmt;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

pub const URL_VARIABLE: &str = "LATCHSTRING_TEST_POSTGRES_URL";

/// The superuser of a cluster that we start. It listens on loopback only and ends with the tests.
const USER: &str = "postgres";
const PASSWORD: &str = "latchstring-test";

/// A running server.
pub struct Postgres {
    url: String,
    psql: PathBuf,
    /// `None` for a server that somebody else started.
    _cluster: Option<Cluster>,
}

struct Cluster {
    watchdog: Child,
    /// Closed on drop, which is the watchdog's sign.
    pipe: Option<ChildStdin>,
}

/// What kept the server from starting, with the lines that say what to do.
#[derive(Debug)]
pub struct PostgresError(String);

impl fmt::Display for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PostgresError {}

type Result<T> = std::result::Result<T, PostgresError>;

impl Postgres {
    /// The server that all tests of this binary share. Panics when there is none: a database test that is
    /// passed over is one that does not test.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| match Postgres::start() {
            Ok(postgres) => postgres,
            Err(error) => panic!("no PostgreSQL for the tests: {error}"),
        })
    }

    /// Uses the server named by [`URL_VARIABLE`], or starts one.
    pub fn start() -> Result<Postgres> {
        let bin = binaries()?;
        let psql = bin.join("psql");
        if let Ok(url) = std::env::var(URL_VARIABLE) {
            return Ok(Postgres { url, psql, _cluster: None });
        }
        let folder = make_folder()?;
        let started = start_cluster(&bin, &folder);
        if started.is_err() {
            let _ = fs::remove_dir_all(&folder);
        }
        let (port, cluster) = started?;
        let url = format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres");
        Ok(Postgres { url, psql, _cluster: Some(cluster) })
    }

    /// The superuser's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of a new, empty database in UTF-8.
    pub fn fresh_database(&self) -> String {
        self.fresh_database_with("ENCODING 'UTF8'")
    }

    /// The same with other options of `CREATE DATABASE`.
    pub fn fresh_database_with(&self, options: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        self.run(
            &self.url,
            &format!("CREATE DATABASE {name} TEMPLATE template0 {options} LC_COLLATE 'C' LC_CTYPE 'C'"),
        );
        self.url_of(&name)
    }

    /// The superuser's URL of a database of that name, which need not exist.
    pub fn url_of(&self, database: &str) -> String {
        let (server, parameters) = match self.url.split_once('?') {
            Some((server, parameters)) => (server, format!("?{parameters}")),
            None => (self.url.as_str(), String::new()),
        };
        let server = server.rsplit_once('/').map_or(server, |(server, _)| server);
        format!("{server}/{database}{parameters}")
    }

    /// Runs SQL as the superuser and gives what it printed, unaligned. Panics when it fails.
    pub fn run(&self, url: &str, sql: &str) -> String {
        let done = Command::new(&self.psql)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, url])
            .stdin(Stdio::null())
            .output();
        match checked("psql", done) {
            Ok(text) => text,
            Err(error) => panic!("{sql}: {error}"),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.watchdog.wait();
    }
}

/// The newest installed server's programs, 15 or later.
fn binaries() -> Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(version, bin)| *version >= 15 && bin.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin).ok_or_else(|| {
        PostgresError(format!(
            "no PostgreSQL 15 or newer in /usr/lib/postgresql. Install it with\n    apt-get install -y postgresql\n\
             or name a running server's superuser in {URL_VARIABLE}"
        ))
    })
}

/// The server refuses to run as root: then it runs as `postgres`, or as `nobody`.
fn unprivileged() -> Result<Option<(String, u32, u32)>> {
    let uid = checked("id", Command::new("id").arg("-u").output())?;
    if uid.trim() != "0" {
        return Ok(None);
    }
    let users =
        fs::read_to_string("/etc/passwd").map_err(|error| PostgresError(format!("/etc/passwd: {error}")))?;
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2);
        Some((name.to_owned(), ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody")).map(Some).ok_or_else(|| {
        PostgresError("running as root, and there is no user `postgres` or `nobody` to run as".into())
    })
}

fn make_folder() -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("latchstring-pg-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    let failed = |error: io::Error| PostgresError(format!("{}: {error}", folder.display()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(failed)?;
    fs::write(folder.join("password"), PASSWORD).map_err(failed)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    if let Some((_, uid, gid)) = unprivileged()? {
        std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).map_err(failed)?;
        std::os::unix::fs::chown(folder.join("password"), Some(uid), Some(gid)).map_err(failed)?;
    }
    Ok(folder)
}

fn start_cluster(bin: &Path, folder: &Path) -> Result<(u16, Cluster)> {
    let user = unprivileged()?;
    let command = |program: &Path| match &user {
        Some((_, uid, gid)) => {
            let mut command = Command::new("setpriv");
            command
                .args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()])
                .arg(program);
            command
        }
        None => Command::new(program),
    };
    let run = |mut command: Command, what: &str| {
        // Environment of the caller (PGDATA, PGPORT, …) must not steer the server of the tests.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
            command.env_remove(name);
        }
        checked(what, command.current_dir(folder).stdin(Stdio::null()).output())
    };
    let data = folder.join("data");
    let mut initdb = command(&bin.join("initdb"));
    initdb
        .arg("-D")
        .arg(&data)
        .args([
            "-U",
            USER,
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ])
        .arg(format!("--pwfile={}", folder.join("password").display()));
    run(initdb, "initdb")?;

    // The port is free when asked; another process may be quicker, then the next one is tried.
    let mut failed = None;
    for _ in 0..5 {
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .map_err(|error| PostgresError(format!("no free loopback port: {error}")))?
            .port();
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off \
             -c synchronous_commit=off -c full_page_writes=off -c max_connections=200 -c shared_buffers=64MB",
            folder.display()
        );
        let log = folder.join("log");
        let mut start = command(&bin.join("pg_ctl"));
        start.arg("-D").arg(&data).arg("-l").arg(&log).args(["-w", "-t", "60", "-o", &options, "start"]);
        // The server would hold our pipes open: its output goes to the log, pg_ctl's own is not kept.
        start.stdout(Stdio::null()).stderr(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
            start.env_remove(name);
        }
        let started = start.current_dir(folder).stdin(Stdio::null()).status();
        if started.as_ref().is_ok_and(std::process::ExitStatus::success) {
            let mut stop = command(&bin.join("pg_ctl"));
            stop.arg("-D").arg(&data).args(["-m", "immediate", "-w", "stop"]);
            return watchdog(&stop, folder).map(|cluster| (port, cluster));
        }
        failed = Some(fs::read_to_string(&log).unwrap_or_default());
    }
    Err(PostgresError(format!("pg_ctl start failed:\n{}", failed.unwrap_or_default())))
}

/// `sh` that waits for the end of our pipe, in its own process group so that Ctrl-C does not end it first.
fn watchdog(stop: &Command, folder: &Path) -> Result<Cluster> {
    let mut watchdog = Command::new("sh")
        .arg("-c")
        .arg("read -r _; folder=$1; shift; \"$@\" >/dev/null 2>&1; rm -rf -- \"$folder\"")
        .arg("watchdog")
        .arg(folder)
        .arg(stop.get_program())
        .args(stop.get_args())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| PostgresError(format!("sh: {error}")))?;
    let pipe = watchdog.stdin.take();
    Ok(Cluster { watchdog, pipe })
}

fn checked(what: &str, done: io::Result<Output>) -> Result<String> {
    let done = done.map_err(|error| PostgresError(format!("{what}: {error}")))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(PostgresError(format!(
        "{what} ended with {}:\n{}{}",
        done.status,
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_starts_and_goes_with_us() {
        if std::env::var(URL_VARIABLE).is_ok() {
            // The given server is not ours to stop; using it is what the next test does.
            return;
        }
        let postgres = match Postgres::start() {
            Ok(postgres) => postgres,
            Err(error) => panic!("{error}"),
        };
        let url = postgres.fresh_database();
        assert_eq!(postgres.run(&url, "SELECT 40 + 2").trim(), "42");
        let port = url.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next()?.parse::<u16>().ok());
        let Some(port) = port else { panic!("a port in {url}") };
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        drop(postgres);
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    #[test]
    fn databases_are_apart() {
        let postgres = Postgres::shared();
        let (one, other) = (postgres.fresh_database(), postgres.fresh_database());
        assert_ne!(one, other);
        postgres.run(&one, "CREATE TABLE t (n INT)");
        assert_eq!(postgres.run(&other, "SELECT COUNT(*) FROM pg_tables WHERE tablename = 't'").trim(), "0");
    }
}
