//! One PostgreSQL cluster for the tests: own folder, free loopback port, own password, gone afterwards.
//!
//! The server runs under a small shell that waits for the end of its standard input. The other end
//! of that pipe is ours, so the server stops and its folder goes however we end: normally, by a
//! failure, by Ctrl-C or by `kill -9`. It is in a process group of its own, so that Ctrl-C reaches
//! it only through us, after the tests.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Done;
use crate::run;

/// The oldest major version that the store supports.
const OLDEST: u32 = 15;

const KEEPER: &str = r#"
"$1" -D "$2/data" -c port="$3" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
  -c max_connections=300 -c fsync=off -c full_page_writes=off -c synchronous_commit=off \
  -c logging_collector=off -c timezone=UTC </dev/null >"$2/log" 2>&1 &
server=$!
cat >/dev/null
kill -INT "$server" 2>/dev/null
wait "$server"
cd / && rm -rf "$2"
"#;

pub struct Cluster {
    keeper: Child,
    folder: PathBuf,
    pub url: String,
}

/// Who runs the server: it refuses to be root.
#[derive(Clone, Copy)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Cluster {
    pub fn start() -> Done<Self> {
        let bin = server_binaries().ok_or("PostgreSQL's server is not installed; run `cargo xtask setup`")?;
        let account = if is_root() { Some(unprivileged()?) } else { None };
        let mut last = String::new();
        // A port can be taken by somebody else between our look and the server's bind.
        for _ in 0..4 {
            match Self::try_start(&bin, account) {
                Ok(cluster) => return Ok(cluster),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    fn try_start(bin: &Path, account: Option<Account>) -> Done<Self> {
        let token = random_hex()?;
        let folder = std::env::temp_dir().join(format!("latchstring-pg-{token}"));
        let prepared = prepare(bin, account, &folder, &token);
        let started = prepared.and_then(|()| keep(bin, account, &folder, &token));
        if started.is_err() {
            let _ = fs::remove_dir_all(&folder);
        }
        started
    }

    /// The folder that is gone once the cluster is dropped.
    #[cfg(test)]
    fn folder(&self) -> PathBuf {
        self.folder.clone()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn as_account(command: &mut Command, account: Option<Account>) -> &mut Command {
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

fn prepare(bin: &Path, account: Option<Account>, folder: &Path, password: &str) -> Done {
    let say = |e: io::Error| format!("{}: {e}", folder.display());
    fs::DirBuilder::new().mode(0o700).create(folder).map_err(say)?;
    let password_file = folder.join("password");
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&password_file).map_err(say)?;
    writeln!(file, "{password}").map_err(say)?;
    if let Some(account) = account {
        chown(folder, Some(account.uid), Some(account.gid)).map_err(say)?;
        chown(&password_file, Some(account.uid), Some(account.gid)).map_err(say)?;
    }
    let mut initdb = Command::new(bin.join("initdb"));
    initdb
        .args(["--no-sync", "--no-locale", "--encoding=UTF8", "--username=latchstring"])
        .args(["--auth=scram-sha-256", "--pwfile"])
        .arg(&password_file)
        .arg("-D")
        .arg(folder.join("data"))
        .current_dir(folder);
    run::output(as_account(&mut initdb, account)).map(drop)
}

fn keep(bin: &Path, account: Option<Account>, folder: &Path, password: &str) -> Done<Cluster> {
    let port = free_port()?;
    let mut keeper = Command::new("/bin/sh");
    keeper
        .args(["-c", KEEPER, "postgres-keeper"])
        .arg(bin.join("postgres"))
        .arg(folder)
        .arg(port.to_string())
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    // The tests' cluster must not be steered by a person's own settings.
    for name in ["PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGOPTIONS"] {
        keeper.env_remove(name);
    }
    let keeper =
        as_account(&mut keeper, account).spawn().map_err(|e| format!("cannot start /bin/sh: {e}"))?;
    let cluster = Cluster {
        keeper,
        folder: folder.to_owned(),
        url: format!("postgres://latchstring:{password}@127.0.0.1:{port}/postgres"),
    };
    // On an early return the drop above stops what was started.
    wait_until_ready(folder)?;
    Ok(cluster)
}

/// The server writes `ready` into its pid file once it takes connections.
fn wait_until_ready(folder: &Path) -> Done {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let state = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
        if state.lines().any(|line| line.trim() == "ready") {
            return Ok(());
        }
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        if log.contains("FATAL") || Instant::now() > deadline {
            return Err(format!("PostgreSQL did not start:\n{log}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The folder of the newest server binaries of at least [`OLDEST`].
pub fn server_binaries() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Ok(named) = run::output(Command::new("pg_config").arg("--bindir")) {
        folders.push(PathBuf::from(named.trim()));
    }
    if let Some(path) = std::env::var_os("PATH") {
        folders.extend(std::env::split_paths(&path));
    }
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|entry| entry.path().join("bin")));
    }
    folders
        .into_iter()
        .filter(|folder| folder.join("initdb").is_file())
        .filter_map(|folder| Some((major(&folder.join("postgres"))?, folder)))
        .filter(|(version, _)| *version >= OLDEST)
        .max_by_key(|(version, _)| *version)
        .map(|(_, folder)| folder)
}

fn major(server: &Path) -> Option<u32> {
    parse_major(&run::output(Command::new(server).arg("--version")).ok()?)
}

/// Reads `postgres (PostgreSQL) 15.14 (Debian …)`.
fn parse_major(text: &str) -> Option<u32> {
    let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

pub fn is_root() -> bool {
    run::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// The account that Debian's package makes, else `nobody`.
fn unprivileged() -> Done<Account> {
    let text = fs::read_to_string("/etc/passwd").map_err(|e| format!("/etc/passwd: {e}"))?;
    ["postgres", "nobody"].iter().find_map(|name| passwd_entry(&text, name)).ok_or_else(|| {
        "PostgreSQL refuses to run as root, and there is no account postgres or nobody".to_owned()
    })
}

fn passwd_entry(text: &str, name: &str) -> Option<Account> {
    text.lines().find_map(|line| {
        let mut parts = line.split(':');
        if parts.next() != Some(name) {
            return None;
        }
        let uid = parts.nth(1)?.parse().ok()?;
        let gid = parts.next()?.parse().ok()?;
        Some(Account { uid, gid })
    })
}

fn free_port() -> Done<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|e| format!("no free loopback port: {e}"))
}

fn random_hex() -> Done<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|e| format!("/dev/urandom: {e}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_accounts_are_read() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("nothing"), None);
        let passwd = "daemon:x:1:2::/:/bin/sh\npostgres:x:101:104::/var:/bin/bash\n";
        let account = passwd_entry(passwd, "postgres").unwrap();
        assert_eq!((account.uid, account.gid), (101, 104));
        assert!(passwd_entry(passwd, "nobody").is_none());
    }

    #[test]
    fn a_cluster_starts_and_leaves_nothing() {
        let cluster = Cluster::start().unwrap();
        let folder = cluster.folder();
        let address =
            cluster.url.split(['@', '/']).find(|part| part.starts_with("127.0.0.1:")).unwrap().to_owned();
        std::net::TcpStream::connect(&address).unwrap();
        drop(cluster);
        assert!(!folder.exists());
        assert!(std::net::TcpStream::connect(&address).is_err());
    }
}
