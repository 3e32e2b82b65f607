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
    /// The line that says who asks; sent to every subject, so that all read the same request.
    pub who: String,
    pub ask: Ask,
}

pub enum Ask {
    Get,
    /// A POST with a body of that many bytes.
    Upload(usize),
    /// GET, with the first `{}` of the path replaced by a random number below `among`, asked by the one of these whose
    /// place is the remainder of the number.
    Spread {
        among: u32,
        who: Vec<String>,
    },
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

fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}")
}

impl Load {
    pub fn get(path: impl Into<String>, key: &str) -> Self {
        Self { path: path.into(), who: bearer(key), ask: Ask::Get }
    }

    /// A page, as a browser that has this cookie asks for it.
    pub fn page(path: impl Into<String>, cookie: &str) -> Self {
        Self { path: path.into(), who: format!("Cookie: {cookie}"), ask: Ask::Get }
    }

    pub fn upload(path: impl Into<String>, key: &str, length: usize) -> Self {
        Self { path: path.into(), who: bearer(key), ask: Ask::Upload(length) }
    }

    pub fn spread(path: impl Into<String>, key: &str, among: u32) -> Self {
        Self::spread_among(path, &[key.to_owned()], among)
    }

    /// As [`Load::spread`], for numbers that belong to one of several people.
    pub fn spread_among(path: impl Into<String>, keys: &[String], among: u32) -> Self {
        let who: Vec<String> = keys.iter().map(|key| bearer(key)).collect();
        let first = who.first().cloned().unwrap_or_default();
        Self { path: path.into(), who: first, ask: Ask::Spread { among, who } }
    }

    fn script(&self, port: u16) -> String {
        match &self.ask {
            Ask::Get => DONE.to_owned(),
            Ask::Upload(length) => format!(
                "wrk.method = \"POST\"\nwrk.headers[\"Content-Type\"] = \"application/octet-stream\"\nwrk.body = string.rep(\"x\", {length})\n{DONE}"
            ),
            Ask::Spread { among, who } => {
                let (before, after) = match self.path.split_once("{}") {
                    Some((before, after)) => (format!("{before}\" .. number .. \""), after),
                    None => (self.path.clone(), ""),
                };
                let who: Vec<String> = who.iter().map(|line| format!("\"{line}\"")).collect();
                format!(
                    r#"local n = 0
function setup(thread) thread:set("seed", n) n = n + 1 end
function init(args) math.randomseed(os.time() * 16 + seed) end
local who = {{ {who} }}
local middle = " HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
function request()
  local number = math.random(0, {among} - 1)
  return "GET {before}{after}" .. middle .. who[number % #who + 1] .. "\r\n\r\n"
end
{DONE}"#,
                    who = who.join(", ")
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
        .args(["-H", &subject.load.who])
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
        let script = Load::spread("/proxy/b-{}/small", "k", 7).script(80);
        assert!(script.contains(r#""GET /proxy/b-" .. number .. "/small" .. middle"#), "{script}");
        assert!(
            script.contains("math.random(0, 7 - 1)") && script.contains(r#"{ "Authorization: Bearer k" }"#),
            "{script}"
        );
        let keys = ["k".to_owned(), "l".to_owned()];
        let script = Load::spread_among("/all", &keys, 7).script(80);
        assert!(
            script.contains(r#""GET /all" .. middle"#)
                && script.contains(r#"k", "Authorization: Bearer l" }"#),
            "{script}"
        );
    }
}
