//! Where Latchstring's CPU goes: perf over one busy stretch of bearer calls.

use std::process::Command;
use std::thread;

use super::options::Options;
use super::suites::{Place, profiled};
use super::wrk::measure;
use crate::Done;
use crate::run;

/// Lines of the report that are worth a look.
const LINES: usize = 70;
const CONNECTIONS: u32 = 64;
/// Threads beside the data cores, as the kernel shortens their names.
const OTHERS: &str = "latchstring,tokio-rt-worker,sqlx-sqlite-wor";

pub fn run(place: &Place<'_>, sides: &super::suites::Sides) -> Done {
    for subject in profiled(sides) {
        let Options { seconds, .. } = place.options;
        let data = place.folder.path("perf.data");
        let mut record = Command::new("perf");
        record
            .args(["record", "-q", "-F", "997", "-g", "-p", &subject.server.pid().to_string(), "-o"])
            .arg(&data)
            .args(["--", "sleep", &seconds.to_string()]);
        let sample = thread::scope(|scope| {
            let recorder = scope.spawn(move || run::output(&mut record));
            let sample = measure(place.folder, &subject, CONNECTIONS, seconds + 1);
            recorder.join().map_err(|_| "perf's thread panicked".to_owned())??;
            sample
        })?;
        println!(
            "\n=== {}, {CONNECTIONS} connections: {:.0} req/s, {:.3} CPU-s per 10,000\n",
            subject.name,
            sample.rate(),
            sample.cpu_per_10k()
        );
        let report = |more: &[&str]| {
            let mut report = Command::new("perf");
            report
                .args(["report", "--stdio", "-q", "-g", "none", "--percent-limit", "0.25", "-i"])
                .arg(&data)
                .args(more);
            run::output(&mut report)
        };
        println!("by thread:\n{}", report(&["--no-children", "--sort", "comm"])?.trim());
        println!("\nby thread and object:\n{}", report(&["--no-children", "--sort", "comm,dso"])?.trim());
        let views: [(&str, &[&str]); 3] = [
            ("its own time, on the data cores", &["--no-children", "--comms", "data-core-0,data-core-1"]),
            ("its own time, on other threads", &["--no-children", "--comms", OTHERS]),
            ("with all it calls", &["--children"]),
        ];
        for (what, view) in views {
            let text = report(&[view, &["--sort", "comm,symbol"]].concat())?;
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(LINES).collect();
            println!("\nby function, {what}:\n{}", lines.join("\n"));
        }
    }
    Ok(())
}
