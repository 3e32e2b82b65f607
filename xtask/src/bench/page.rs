//! `docs/BENCHMARKS.md`, from what was measured alone.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::needs::Tools;
use super::options::Options;
use super::results::{Cell, Results, Sample};
use super::sides::nginx;
use super::suites::{
    BODIES, ENVOY, LISTS_CONNECTIONS, LISTS_PEOPLE, LISTS_POSTGRES, LISTS_PROJECTS, LISTS_SQLITE, NGINX,
    PAGES_CONNECTIONS, PAGES_POSTGRES, PAGES_SQLITE, SMALL, STORED, STORED_LISTS, STORED_LISTS_CONNECTIONS,
};
use super::targets::Verdict;
use super::{commit, first_line};
use crate::run;

const MIB: f64 = 1024.0 * 1024.0;

/// What the figures depend on; no names, no places.
pub struct Facts(Vec<(&'static str, String)>);

impl Facts {
    pub fn read(root: &Path, tools: &Tools, options: &Options) -> Self {
        let proc = |file: &str| fs::read_to_string(Path::new("/proc").join(file)).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
        };
        let cpuinfo = proc("cpuinfo");
        let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
        let memory = field(&proc("meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0) / MIB;
        // Behind the version stands whose build it is, which is no fact about speed.
        let kernel: String =
            proc("sys/kernel/osrelease").chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let disk = run::output(Command::new("stat").args(["-f", "-c", "%T"]).arg(std::env::temp_dir()));
        let said = |program: &Path, args: &[&str]| first_line(&program.to_string_lossy(), args);
        let envoy = said(&tools.envoy, &["--version"]);
        let envoy = envoy
            .split('/')
            .find(|part| part.starts_with(|c: char| c.is_ascii_digit()) && part.contains('.'));
        Self(vec![
            ("commit", commit(root)),
            ("day", first_line("date", &["-u", "+%F"])),
            ("processor", format!("{cores} cores, {}", field(&cpuinfo, "model name"))),
            ("memory", format!("{memory:.0} GiB")),
            ("kernel", format!("Linux {kernel}")),
            ("data folder on", disk.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())),
            ("nginx", said(&tools.nginx, &["-v"]).replace("nginx version: nginx/", "")),
            ("Envoy", envoy.unwrap_or("unknown").to_owned()),
            ("wrk", first_line("wrk", &["-v"]).split(" Copyright").next().unwrap_or_default().to_owned()),
            ("Rust", first_line("rustc", &["--version"])),
            ("each cell", format!("{} s, {} rounds", options.seconds, options.rounds)),
        ])
    }
}

pub fn write(facts: &Facts, results: &Results, verdicts: &[Verdict]) -> String {
    let mut page = String::new();
    fill(&mut page, facts, results, verdicts).map_or_else(|e| format!("{e}"), |()| page)
}

fn fill(page: &mut String, facts: &Facts, results: &Results, verdicts: &[Verdict]) -> std::fmt::Result {
    page.push_str(HEAD);
    page.push_str("\n## Targets\n\n| what | wanted | measured | met |\n| --- | ---: | ---: | --- |\n");
    for verdict in verdicts {
        let met = match verdict.met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "not measured",
        };
        writeln!(page, "| {} | {} | {} | {met} |", verdict.what, verdict.wanted, verdict.measured)?;
    }
    page.push_str("\n## The machine and the run\n\n| | |\n| --- | --- |\n");
    for (name, value) in &facts.0 {
        writeln!(page, "| {name} | {value} |")?;
    }
    if let Some(foreign) = results.foreign {
        writeln!(
            page,
            "| CPU time used by other programs meanwhile | {:.0} % of the busy time |",
            foreign * 100.0
        )?;
    }
    let mut connections: Vec<u32> =
        results.cells.iter().filter(|cell| cell.group == SMALL).map(|cell| cell.connections).collect();
    connections.dedup();
    for count in connections {
        let plural = if count == 1 { "" } else { "s" };
        writeln!(page, "\n## Answers of {SMALL}, {count} connection{plural}\n")?;
        calls(page, results, SMALL, count)?;
    }
    for (group, ..) in BODIES {
        if let Some(cell) = results.cells.iter().find(|cell| cell.group == *group) {
            writeln!(page, "\n## Bodies of {group}, {} connections\n", cell.connections)?;
            calls(page, results, group, cell.connections)?;
        }
    }
    stored(page, results)?;
    lists(page, results)?;
    starts(page, results)
}

fn of<'r>(results: &'r Results, group: &str, connections: u32) -> Vec<&'r Cell> {
    results.cells.iter().filter(|cell| cell.group == group && cell.connections == connections).collect()
}

fn calls(page: &mut String, results: &Results, group: &str, connections: u32) -> std::fmt::Result {
    head(page, &["requests/s ÷ nginx", "CPU ÷ nginx", "requests/s ÷ Envoy", "MiB/s"])?;
    #[allow(clippy::cast_precision_loss, reason = "bodies are far shorter than 2^52")]
    let length =
        BODIES.iter().find(|(name, ..)| *name == group).map_or(nginx::SMALL, |(_, length, _)| *length) as f64;
    for cell in of(results, group, connections) {
        let against = |name: &str, figure: fn(&Sample) -> f64| {
            let other = results.cell(group, name, connections);
            shown(other.map_or(f64::NAN, |other| cell.ratio(other, figure)), 2)
        };
        let more = [
            against(NGINX, Sample::rate),
            against(NGINX, Sample::cpu_per_10k),
            against(ENVOY, Sample::rate),
            shown(cell.median(Sample::rate) * length / MIB, 0),
        ];
        row(page, cell, &more)?;
    }
    Ok(())
}

fn stored(page: &mut String, results: &Results) -> std::fmt::Result {
    let of_suite = results.cells.iter().find(|cell| cell.group == STORED);
    let Some(connections) = of_suite.map(|cell| cell.connections) else { return Ok(()) };
    writeln!(page, "\n## Stored credentials, {connections} connections\n")?;
    writeln!(page, "Bearer, answers of {SMALL}; few: 10, many: {}.", results.many)?;
    writeln!(
        page,
        "Each call picks one at random, of those that were called before: each core remembers up to 16,384"
    )?;
    writeln!(
        page,
        "routes. Of more than that (the last row) most are read from the database again, by design: memory is bounded."
    )?;
    if let Some((count, seconds)) = results.stored {
        let each = f64::from(count) / seconds;
        writeln!(page, "Storing {count} through the API took {seconds:.0} s ({each:.0} a second).")?;
    }
    page.push('\n');
    head(page, &["requests/s ÷ few", "CPU ÷ few"])?;
    let cells = of(results, STORED, connections);
    for cell in &cells {
        let few = cells.first().unwrap_or(cell);
        let ratio = |figure: fn(&Sample) -> f64| shown(cell.ratio(few, figure), 2);
        row(page, cell, &[ratio(Sample::rate), ratio(Sample::cpu_per_10k)])?;
    }
    Ok(())
}

fn lists(page: &mut String, results: &Results) -> std::fmt::Result {
    for (group, database) in [(LISTS_SQLITE, "SQLite"), (LISTS_POSTGRES, "PostgreSQL")] {
        let cells = of(results, group, LISTS_CONNECTIONS);
        if cells.is_empty() {
            continue;
        }
        writeln!(page, "\n## Lists and searches, {database}, {LISTS_CONNECTIONS} connections\n")?;
        writeln!(
            page,
            "{} credentials in {LISTS_PROJECTS} projects, of {LISTS_PEOPLE} people; four own what one project uses. A page has 50 unless\nit says otherwise. Who asks, and about which project, changes with every request.\n",
            results.many
        )?;
        head(page, &[])?;
        cells.into_iter().try_for_each(|cell| row(page, cell, &[]))?;
    }
    for (group, database) in [(PAGES_SQLITE, "SQLite"), (PAGES_POSTGRES, "PostgreSQL")] {
        let cells = of(results, group, PAGES_CONNECTIONS);
        if cells.is_empty() {
            continue;
        }
        writeln!(page, "\n## Pages, {database}, one at a time\n")?;
        writeln!(page, "The same {} credentials; the pages of one of those people, whole.\n", results.many)?;
        head(page, &[])?;
        cells.into_iter().try_for_each(|cell| row(page, cell, &[]))?;
    }
    let cells = of(results, STORED_LISTS, STORED_LISTS_CONNECTIONS);
    if cells.is_empty() {
        return Ok(());
    }
    writeln!(page, "\n## Lists and searches where one has all, SQLite, one at a time\n")?;
    writeln!(page, "{} credentials of one person, all shared with one project.\n", results.many)?;
    head(page, &[])?;
    cells.into_iter().try_for_each(|cell| row(page, cell, &[]))
}

/// The columns that all tables of calls have, around those of one.
fn head(page: &mut String, more: &[&str]) -> std::fmt::Result {
    let columns = ["", "requests/s", "(rounds)", "p50 ms", "p99 ms", "CPU-s per 10,000", "(afterwards)"];
    let columns = [&columns, more, &["memory MiB"]].concat();
    writeln!(page, "| {} |", columns.join(" | "))?;
    writeln!(page, "| --- |{}", " ---: |".repeat(columns.len() - 1))
}

fn row(page: &mut String, cell: &Cell, more: &[String]) -> std::fmt::Result {
    let common = [
        name(cell),
        shown(cell.median(Sample::rate), 0),
        range(cell),
        shown(cell.median(|sample| sample.p50), 2),
        shown(cell.median(|sample| sample.p99), 2),
        shown(cell.median(Sample::cpu_per_10k), 3),
        shown(cell.median(Sample::after_per_10k), 3),
    ];
    let memory = [shown(cell.median(|sample| sample.resident) / MIB, 0)];
    writeln!(page, "| {} |", [&common, more, &memory].concat().join(" | "))
}

/// What could not be had (a ratio to nothing, CPU for no calls) is a dash.
fn shown(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "–".to_owned() }
}

fn starts(page: &mut String, results: &Results) -> std::fmt::Result {
    if results.starts.is_empty() {
        return Ok(());
    }
    page.push_str("\n## Start\n\nFrom the start of the process to the first 200 of `/readyz`; memory two seconds later.\n\n");
    page.push_str("| | ready after ms | idle memory MiB |\n| --- | --- | --- |\n");
    let list = |values: &[f64], unit: f64| {
        values.iter().map(|value| format!("{:.0}", value / unit)).collect::<Vec<_>>().join(", ")
    };
    for start in &results.starts {
        writeln!(page, "| {} | {} | {} |", start.what, list(&start.ready, 1.0), list(&start.idle, MIB))?;
    }
    Ok(())
}

fn name(cell: &Cell) -> String {
    match cell.errors() {
        0.0 => cell.subject.to_owned(),
        errors => format!("{} ({errors:.0} errors)", cell.subject),
    }
}

/// How far apart the rounds were: what the medians can be trusted for.
fn range(cell: &Cell) -> String {
    let rates: Vec<f64> = cell.rounds.iter().map(Sample::rate).collect();
    let low = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let high = rates.iter().copied().fold(0.0, f64::max);
    format!("{low:.0}–{high:.0}")
}

const HEAD: &str = "\
# Benchmarks

Written by `cargo xtask bench`; do not edit. All proxies stay up through one run on one machine, and each row
is measured in turn, round after round; a figure is the median of its rounds, a ratio the median of the
ratios within each round. Upstream, proxy and wrk share the machine's cores, and everything is on loopback.

- **nginx**: a reverse proxy that sets the same Authorization header, connections to the upstream kept open,
  two workers, no access log, bodies streamed.
- **Envoy**: credential injector with a generic secret, concurrency 2, no access log.
- **bare hyper**: `benches/bare`, two threads with a runtime and a pool each; it adds one header and does
  nothing else. With RS256 it signs a fresh JWT for every call with aws-lc-rs, its key parsed once.
- **Latchstring**: a build as packages hold it (profile `dist`; `cargo run --release` is about a tenth slower),
  with its defaults and two data cores: the caller's key checked, pins, address filter, two journal records
  for each call, masking of what comes back.
- CPU is that of the proxy's own processes, until they are quiet again: (afterwards) is the part of it that
  came when wrk had stopped, such as shipping the records of the calls into the database.
- Memory is resident memory afterwards, summed over processes (what nginx's processes share counts more
  than once).
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_was_missed() {
        let mut results = Results::new(&Options::default());
        let round =
            |requests| Sample { requests, seconds: 1.0, cpu: 1.0, resident: MIB, ..Sample::default() };
        for (subject, rounds) in [(NGINX, [100.0, 200.0]), (ENVOY, [50.0, 100.0])] {
            let rounds = rounds.map(round).to_vec();
            results.cells.push(Cell { group: SMALL.to_owned(), subject, connections: 16, rounds });
        }
        let verdict =
            Verdict { what: "speed".into(), wanted: "≥ 2".into(), measured: "1".into(), met: Some(false) };
        let text = write(&Facts(vec![("commit", "abc".into())]), &results, &[verdict]);
        assert!(text.contains("| speed | ≥ 2 | 1 | **no** |"), "{text}");
        assert!(text.contains("| Envoy | 75 | 50–100 |"), "{text}");
        assert!(text.contains("| 0.50 | 2.00 | 1.00 | 0 | 1 |"), "{text}");
        for other in ["Stored credentials, ", "Lists and searches"] {
            assert!(!text.contains(other), "what was not measured has no table");
        }
        let rounds = vec![Sample { p99: 12.5, ..round(400.0) }];
        results.cells.push(Cell {
            group: LISTS_SQLITE.to_owned(),
            subject: "by name",
            connections: 4,
            rounds,
        });
        let text = write(&Facts(Vec::new()), &results, &[]);
        assert!(text.contains("## Lists and searches, SQLite") && text.contains("| 12.50 |"), "{text}");
    }
}
