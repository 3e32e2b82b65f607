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
                .args(["report", "--stdio", "-q", "-g", "none", "--percent-limit", "0.4", "-i"])
                .arg(&data)
                .args(more);
            run::output(&mut report)
        };
        println!("by thread:\n{}", report(&["--no-children", "--sort", "comm"])?.trim());
        println!("\nby thread and object:\n{}", report(&["--no-children", "--sort", "comm,dso"])?.trim());
        for (what, children) in [("its own time", "--no-children"), ("with all it calls", "--children")] {
            let text = report(&[children, "--sort", "symbol"])?;
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(LINES).collect();
            println!("\nby function, {what}:\n{}", lines.join("\n"));
        }
    }
    Ok(())
}
