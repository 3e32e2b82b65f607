//! A server under a small shell that waits for the end of its standard input. The other end of that pipe is
//! ours, so the server stops however we end, `kill -9` included.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::http;
use super::usage::{self, Usage};
use crate::Done;

/// First argument: the log file. Then the server's command line. Its process id is the only line we get.
const KEEPER: &str = r#"
log=$1; shift
"$@" </dev/null >"$log" 2>&1 &
server=$!
echo "$server"
exec >/dev/null
cat >/dev/null
kill -TERM "$server" 2>/dev/null
{ sleep 10; kill -KILL "$server"; } 2>/dev/null &
killer=$!
wait "$server"
kill "$killer" 2>/dev/null
"#;

/// A server that takes longer than this to answer has failed to start.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The run's own folder, gone afterwards.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Done<Self> {
        let path = std::env::temp_dir().join(format!("latchstring-bench-{}", std::process::id()));
        fs::create_dir(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self(path))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> Done<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub struct Server {
    keeper: Child,
    pid: u32,
    pub port: u16,
    log: PathBuf,
    /// From just before the start to the first good answer.
    pub ready_after: Duration,
}

impl Server {
    /// Starts it and waits until `GET path` answers 200.
    pub fn start(
        folder: &Folder,
        name: &str,
        port: u16,
        path: &str,
        program: &Path,
        args: &[&str],
    ) -> Done<Self> {
        let log = folder.path(&format!("{name}.log"));
        let began = Instant::now();
        let mut keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&log)
            .arg(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{name} cannot be started: {e}"))?;
        let mut line = String::new();
        if let Some(out) = keeper.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(|e| format!("{name}: {e}"))?;
        }
        let pid = line.trim().parse().map_err(|_| format!("{name} did not start"))?;
        let mut server = Self { keeper, pid, port, log, ready_after: Duration::ZERO };
        while http::get(port, path) != Some(200) {
            if !usage::alive(pid) || began.elapsed() > START_LIMIT {
                return Err(format!("{name} did not come up; it said:\n{}", server.said()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        server.ready_after = began.elapsed();
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Of the process and all below it.
    pub fn usage(&self) -> Usage {
        Usage::of(self.pid)
    }

    /// The end of its log.
    pub fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
