//! One run of wrk against one subject, and the CPU that the subject used meanwhile.

use std::process::Command;
use std::time::{Duration, Instant};

use super::results::Sample;
use super::sides::keeper::{Folder, Server};
use super::sides::{WORKERS, usage};
use super::suites::Subject;
use crate::Done;
use crate::run;

/// A server that uses less than this part of a core has nothing left to do.
const QUIET: f64 = 0.1;
const LOOK: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked, over and over.
pub struct Load {
    pub path: String,
    /// Sent to every subject, so that all read the same request.
    pub key: String,
    pub ask: Ask,
}

pub enum Ask {
    Get,
    /// A POST with a body of that many bytes.
    Upload(usize),
    /// GET, with the first `{}` of the path replaced by a random number below this.
    Spread(u32),
}

/// wrk calls this once at the end; a figure for each `Sample` field that it knows.
const DONE: &str = r#"
function done(summary, latency, requests)
  local e = summary.errors
  print(string.format("@@ %d %f %f %f %d", summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

impl Load {
    pub fn get(path: impl Into<String>, key: &str) -> Self {
        Self { path: path.into(), key: key.to_owned(), ask: Ask::Get }
    }

    pub fn spread(path: impl Into<String>, key: &str, among: u32) -> Self {
        Self { path: path.into(), key: key.to_owned(), ask: Ask::Spread(among) }
    }

    fn script(&self, port: u16) -> String {
        match self.ask {
            Ask::Get => DONE.to_owned(),
            Ask::Upload(length) => format!(
                "wrk.method = \"POST\"\nwrk.headers[\"Content-Type\"] = \"application/octet-stream\"\nwrk.body = string.rep(\"x\", {length})\n{DONE}"
            ),
            Ask::Spread(among) => {
                let (before, after) = self.path.split_once("{}").unwrap_or((&self.path, ""));
                format!(
                    r#"local n = 0
function setup(thread) thread:set("seed", n) n = n + 1 end
function init(args) math.randomseed(os.time() * 16 + seed) end
local before = "GET {before}"
local after = "{after} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {}\r\n\r\n"
function request() return before .. math.random(0, {} - 1) .. after end
{DONE}"#,
                    self.key, among
                )
            }
        }
    }
}

pub fn measure(folder: &Folder, subject: &Subject<'_>, connections: u32, seconds: u32) -> Done<Sample> {
    let server = subject.server;
    let script = folder.write("load.lua", &subject.load.script(server.port))?;
    let threads = connections.min(u32::try_from(WORKERS).unwrap_or(1));
    let mut wrk = Command::new("wrk");
    wrk.args(["--latency", "--timeout", "30s", "-t", &threads.to_string(), "-c", &connections.to_string()])
        .args(["-d", &format!("{seconds}s"), "-s"])
        .arg(&script)
        .args(["-H", &format!("Authorization: Bearer {}", subject.load.key)])
        .arg(format!("http://127.0.0.1:{}{}", server.port, subject.load.path.replace("{}", "0")));
    let before = server.usage();
    let text = run::output(&mut wrk)?;
    let after = server.usage();
    let (rest, quiet_after) = settle(server, after.cpu);
    if !usage::alive(server.pid()) {
        return Err(format!("{} has ended; it said:\n{}", subject.name, server.said()));
    }
    let mut sample = read(&text).ok_or_else(|| format!("wrk said something else than expected:\n{text}"))?;
    // None at all is a result too, where bodies are large and the proxy is slow.
    if sample.errors > sample.requests / 100.0 {
        return Err(format!(
            "{}: {} answers, {} errors; it said:\n{}",
            subject.name,
            sample.requests,
            sample.errors,
            server.said()
        ));
    }
    sample.cpu = after.cpu - before.cpu;
    sample.cpu_after = rest;
    sample.quiet_after = quiet_after;
    #[allow(clippy::cast_precision_loss, reason = "memory sizes are far below 2^52")]
    {
        sample.resident = after.resident as f64;
    }
    Ok(sample)
}

/// Waits until the server has done what the calls left behind (records to ship, buffers to write), so that it
/// is counted, and not in the next one's time. What it used meanwhile, and how long it took; both in seconds.
fn settle(server: &Server, used: f64) -> (f64, f64) {
    let began = Instant::now();
    let mut last = used;
    loop {
        std::thread::sleep(LOOK);
        let now = server.usage().cpu;
        if now - last <= QUIET * LOOK.as_secs_f64() || began.elapsed() > PATIENCE {
            return (now - used, began.elapsed().as_secs_f64());
        }
        last = now;
    }
}

fn read(text: &str) -> Option<Sample> {
    let line = text.lines().find_map(|line| line.strip_prefix("@@ "))?;
    let figures: Vec<f64> = line.split(' ').flat_map(str::parse).collect();
    match figures.as_slice() {
        [requests, seconds, p50, p99, errors] => Some(Sample {
            requests: *requests,
            seconds: *seconds,
            p50: *p50,
            p99: *p99,
            errors: *errors,
            ..Sample::default()
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_a_run() {
        let sample = read("Running 5s test\n@@ 1000 2.500000 0.125000 3.250000 2\n").unwrap();
        assert!((sample.rate() - 400.0).abs() < 1e-9);
        assert_eq!((sample.p50, sample.p99, sample.errors), (0.125, 3.25, 2.0));
        assert!(read("@@ 1 2 3\n").is_none() && read("").is_none());
    }

    #[test]
    fn a_spread_load_asks_for_all_of_them() {
        let load = Load { path: "/proxy/b-{}/small".into(), key: "k".into(), ask: Ask::Spread(7) };
        let script = load.script(80);
        assert!(
            script.contains(r#"local before = "GET /proxy/b-""#) && script.contains("math.random(0, 7 - 1)")
        );
        assert!(script.contains(r#"local after = "/small HTTP/1.1\r\n"#));
    }
}
