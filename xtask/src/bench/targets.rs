//! What was promised, what was measured, and whether the one meets the other.

use super::results::{Cell, Results, Sample, median};
use super::suites::{
    BARE_RS256, BEARER, ENVOY, LISTS_POSTGRES, LISTS_SQLITE, LONGEST_LIST, LONGEST_PAGE, NGINX,
    PAGES_POSTGRES, PAGES_SQLITE, RS256, SMALL, STORED, stored_subjects,
};

const MIB: f64 = 1024.0 * 1024.0;
/// Two cells that should be alike never are quite; this much apart is no slope.
const SLOPE: f64 = 0.10;
const STORED_CONNECTIONS: u32 = 64;

pub struct Verdict {
    pub what: String,
    pub wanted: String,
    pub measured: String,
    /// `None`: this run did not measure it.
    pub met: Option<bool>,
}

impl Verdict {
    fn new(what: impl Into<String>, bound: Bound, unit: &str, measured: f64) -> Self {
        let (sign, limit, met) = match bound {
            Bound::AtMost(limit) => ("≤", limit, measured <= limit),
            Bound::AtLeast(limit) => ("≥", limit, measured >= limit),
        };
        let known = measured.is_finite();
        Self {
            what: what.into(),
            wanted: format!("{sign} {limit}{unit}"),
            measured: if known { format!("{}{unit}", figure(measured)) } else { "not measured".to_owned() },
            met: known.then_some(met),
        }
    }
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// As many digits as mean something.
fn figure(value: f64) -> String {
    if value >= 20.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn ratio(ours: Option<&Cell>, theirs: Option<&Cell>, of: impl Fn(&Sample) -> f64) -> f64 {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours.ratio(theirs, of),
        _ => f64::NAN,
    }
}

pub fn judge(results: &Results) -> Vec<Verdict> {
    let small = |subject: &str, connections: u32| results.cell(SMALL, subject, connections);
    let cpu = |connections: u32| {
        let measured = ratio(small(BEARER, connections), small(NGINX, connections), Sample::cpu_per_10k);
        Verdict::new(
            format!("bearer: CPU per call beside nginx, {connections} connections"),
            Bound::AtMost(1.8),
            "×",
            measured,
        )
    };
    let rate = |what: &str, least: f64, ours: &str, theirs: &str, connections: u32| {
        let measured = ratio(small(ours, connections), small(theirs, connections), Sample::rate);
        Verdict::new(format!("{what}, {connections} connections"), Bound::AtLeast(least), "×", measured)
    };
    let mut verdicts = vec![
        cpu(16),
        cpu(64),
        rate("bearer: requests/s beside nginx", 0.6, BEARER, NGINX, 64),
        rate("bearer: requests/s beside Envoy", 1.8, BEARER, ENVOY, 64),
        rate("RS256: requests/s beside the bare proxy that signs", 0.85, RS256, BARE_RS256, 16),
        rate("RS256: requests/s beside the bare proxy that signs", 0.85, RS256, BARE_RS256, 64),
    ];
    let mut spreads = stored_subjects().map(|name| (name, results.cell(STORED, name, STORED_CONNECTIONS)));
    if let Some((_, few)) = spreads.next() {
        for (name, many) in spreads {
            let what = |of: &str| format!("{of} with {name} (many: {}), beside 10 stored", results.many);
            let rate = ratio(many, few, Sample::rate);
            verdicts.push(Verdict::new(what("requests/s"), Bound::AtLeast(1.0 - SLOPE), "×", rate));
            let cpu = ratio(many, few, Sample::cpu_per_10k);
            verdicts.push(Verdict::new(what("CPU per call"), Bound::AtMost(1.0 + SLOPE), "×", cpu));
        }
    }
    for start in &results.starts {
        let idle = median(start.idle.clone()) / MIB;
        verdicts.push(Verdict::new(
            format!("idle memory, {}", start.what),
            Bound::AtMost(60.0),
            " MiB",
            idle,
        ));
        let ready = median(start.ready.clone());
        verdicts.push(Verdict::new(
            format!("time to ready, {}", start.what),
            Bound::AtMost(300.0),
            " ms",
            ready,
        ));
    }
    for cell in &results.cells {
        let longest = match cell.group.as_str() {
            LISTS_SQLITE | LISTS_POSTGRES => LONGEST_LIST,
            PAGES_SQLITE | PAGES_POSTGRES => LONGEST_PAGE,
            _ => continue,
        };
        let what = format!("{} ({} credentials): {}, p99", cell.group, results.many, cell.subject);
        let slowest = cell.median(|sample| sample.p99);
        verdicts.push(Verdict::new(what, Bound::AtMost(longest), " ms", slowest));
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::options::Options;
    use crate::bench::results::Start;

    #[test]
    fn a_missed_target_says_so_and_an_unmeasured_one_too() {
        let mut results = Results::new(&Options::default());
        let cell = |subject, requests, cpu| Cell {
            group: SMALL.to_owned(),
            subject,
            connections: 64,
            rounds: vec![Sample { requests, seconds: 1.0, cpu, ..Sample::default() }],
        };
        results.cells = vec![cell(NGINX, 100.0, 1.0), cell(BEARER, 50.0, 0.8)];
        results.starts.push(Start { what: "x".into(), ready: vec![299.0], idle: vec![61.0 * MIB] });
        let met =
            |part: &str| judge(&results).iter().find(|verdict| verdict.what.contains(part)).unwrap().met;
        assert_eq!(met("beside nginx, 64"), Some(true), "0.016 s a call beside 0.01");
        assert_eq!(met("requests/s beside nginx"), Some(false));
        assert_eq!(met("Envoy"), None);
        assert_eq!((met("idle"), met("ready")), (Some(false), Some(true)));
        let list = |subject, p99| Cell {
            group: LISTS_SQLITE.to_owned(),
            subject,
            connections: 4,
            rounds: vec![Sample { p99, ..Sample::default() }],
        };
        results.cells.extend([list("slow", 50.1), list("fast", 49.9)]);
        let met =
            |part: &str| judge(&results).iter().find(|verdict| verdict.what.contains(part)).unwrap().met;
        assert_eq!((met("slow"), met("fast")), (Some(false), Some(true)));
    }
}
