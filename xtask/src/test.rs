//! `cargo xtask test`: every check and every test, in the order in which they fail fastest.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Done;
use crate::fuzz;
use crate::house;
use crate::postgres::Cluster;
use crate::report::Report;
use crate::run::{self, Counts, cargo, counted, locked};
use crate::setup;

/// How many tests of one program run at the same time; libtest's own choice is one for each core.
const THREADS: &str = "RUST_TEST_THREADS";

/// What was asked for on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    fmt: bool,
    house: bool,
    lint: bool,
    unit: bool,
    /// Packages to test; `None` is the whole workspace.
    packages: Option<Vec<String>>,
    long: bool,
    /// After `--`: for the test binaries.
    extra: Vec<String>,
}

impl Plan {
    fn read(args: &[&str], crates: &[String]) -> Done<Self> {
        let (args, extra) = match args.iter().position(|arg| *arg == "--") {
            Some(at) => (&args[..at], &args[at + 1..]),
            None => (args, &[][..]),
        };
        let mut plan = Self { extra: extra.iter().map(|arg| (*arg).to_owned()).collect(), ..Self::default() };
        let mut named = Vec::new();
        let mut part = false;
        for arg in args {
            match *arg {
                "--long" => plan.long = true,
                "fmt" => (plan.fmt, part) = (true, true),
                "house" => (plan.house, part) = (true, true),
                "lint" => (plan.lint, part) = (true, true),
                "unit" => (plan.unit, part) = (true, true),
                name => named.push(package(name, crates)?),
            }
        }
        if named.is_empty() && !part {
            (plan.fmt, plan.house, plan.lint) = (true, true, true);
        } else {
            plan.packages = Some(named);
        }
        Ok(plan)
    }

    fn needs_servers(&self) -> bool {
        self.unit || self.packages.as_ref().is_none_or(|named| !named.is_empty())
    }
}

/// `store` and `latchstring-store` name the same package.
fn package(name: &str, crates: &[String]) -> Done<String> {
    let long = format!("latchstring-{name}");
    crates.iter().find(|known| **known == name || **known == long).cloned().ok_or_else(|| {
        let known =
            crates.iter().map(|c| c.strip_prefix("latchstring-").unwrap_or(c)).collect::<Vec<_>>().join(", ");
        format!("no part or crate `{name}`; parts are fmt, house, lint, unit; crates are {known}")
    })
}

pub fn run(root: &Path, args: &[&str]) -> Done {
    let tree = house::edges::tree(root)?;
    let plan = Plan::read(args, &house::edges::members(&tree))?;
    if plan.needs_servers() {
        setup::all(root)?;
    }
    let mut report = Report::default();
    let before = tracked_changes(root)?;
    if plan.fmt {
        report.check("fmt", || run::run(cargo(root).args(["fmt", "--all", "--check"])));
    }
    if plan.house {
        report.check("house", || house::check(root, &tree));
    }
    if plan.lint {
        report.check("lint", || run::run(&mut lint(root)));
        match deny(root, plan.long) {
            Some(mut deny) => report.check("deny", || run::run(&mut deny)),
            None => {
                println!("deny: not run, cargo-deny is not installed (cargo install cargo-deny --locked)")
            }
        }
    }
    if plan.unit {
        report.tests("unit", || counted(&mut unit(root, &plan)));
    }
    if plan.packages.as_ref().is_none_or(|named| !named.is_empty()) {
        tests(root, &plan, &mut report);
        if !plan.long {
            report.check("tree unchanged", || unchanged(root, &before));
        }
    }
    report.close()
}

fn lint(root: &Path) -> Command {
    let mut clippy = cargo(root);
    locked(clippy.arg("clippy")).args(["--workspace", "--all-targets", "--", "-D", "warnings"]);
    clippy
}

/// Licences, sources and crates that must not be, where cargo-deny is there: building it takes longer than all else in
/// CI. Advisories are asked for with `--long` only: they come over the network, and change without a change of ours.
fn deny(root: &Path, long: bool) -> Option<Command> {
    let there = cargo(root).args(["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    let mut deny = cargo(root);
    deny.arg("deny");
    if !long {
        deny.arg("--offline");
    }
    deny.args(["check", "bans", "licenses", "sources"]);
    if long {
        deny.arg("advisories");
    }
    there.then_some(deny)
}

fn unit(root: &Path, plan: &Plan) -> Command {
    let mut test = cargo(root);
    locked(test.arg("test"))
        .args(["--workspace", "--no-fail-fast", "--lib", "--bins", "--"])
        .args(&plan.extra);
    test
}

/// The tests with all servers; documentation tests come with them.
fn tests(root: &Path, plan: &Plan, report: &mut Report) {
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(why) => return report.check("PostgreSQL", || Err(why)),
    };
    let mut test = cargo(root);
    locked(test.arg("test")).arg("--no-fail-fast");
    match &plan.packages {
        Some(named) => named.iter().for_each(|name| {
            test.args(["--package", name]);
        }),
        None => {
            test.arg("--workspace");
        }
    }
    // Alone, they would find no program to test: with the workspace's tests it is built anyway.
    let alone =
        plan.packages.as_ref().is_some_and(|named| named.iter().any(|name| name == "latchstring-e2e"));
    if alone && let Err(why) = run::run(&mut program(root, plan.long)) {
        return report.check("the program", || Err(why));
    }
    // Most tests wait for servers, browsers and disks as long as they work: two for each core. The long ones work.
    if !plan.long && std::env::var_os(THREADS).is_none() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        test.env(THREADS, (2 * cores).to_string());
    }
    // Snapshots are compared, never written, by a test run.
    test.env("LATCHSTRING_TEST_POSTGRES_URL", &cluster.url)
        .env("INSTA_UPDATE", "no")
        .env_remove("LATCHSTRING_GENERATE");
    if !plan.long {
        test.arg("--").args(&plan.extra);
        return report.tests("tests", || counted(&mut test));
    }
    let figures = std::env::temp_dir().join(format!("latchstring-figures-{}", std::process::id()));
    // A part of the full rounds can be asked for: LATCHSTRING_TEST_LONG=0.2.
    let scale = std::env::var("LATCHSTRING_TEST_LONG").unwrap_or_else(|_| "1".to_owned());
    test.arg("--release").env("LATCHSTRING_TEST_LONG", &scale).env("LATCHSTRING_TEST_FIGURES", &figures);
    test.arg("--").args(&plan.extra);
    report.tests("long tests", || counted(&mut test));
    if plan.packages.is_none() {
        fuzzing(root, report, &figures);
        let all = report.failed();
        report.check("docs/RELIABILITY.md", || {
            if all {
                let measured = fs::read_to_string(&figures).unwrap_or_default();
                Err(format!("not written: a test failed. What was measured:\n{measured}"))
            } else {
                write_reliability(root, &figures, &scale)
            }
        });
    }
    let _ = fs::remove_file(&figures);
}

/// The binary that the browser tests start. With the whole workspace: a package alone has other features of what it
/// depends on, and would build nearly everything anew.
pub fn program(root: &Path, release: bool) -> Command {
    let mut build = cargo(root);
    locked(build.arg("build")).args(["--workspace", "--bin", "latchstring"]);
    if release {
        build.arg("--release");
    }
    build
}

/// Every page in both themes and two widths, as pictures in a folder that git ignores.
pub fn screenshots(root: &Path, args: &[&str]) -> Done {
    setup::all(root)?;
    run::run(&mut program(root, false))?;
    let folder = root.join(".cache/screenshots");
    let mut test = cargo(root);
    locked(test.arg("test")).args(["--workspace", "--test", "it", "--"]);
    test.args(if args.is_empty() { &["every_page"][..] } else { args });
    test.env("LATCHSTRING_TEST_SCREENSHOTS", &folder);
    let done = run::run(&mut test);
    println!("pictures are in {}", folder.display());
    done
}

fn fuzzing(root: &Path, report: &mut Report, figures: &Path) {
    let mut programs = None;
    report.check("fuzz: build", || {
        programs = Some(fuzz::build(root)?);
        Ok(())
    });
    let Some(programs) = programs else { return };
    for target in fuzz::targets(root) {
        report.check(&format!("fuzz {target}"), || fuzz::run(root, &programs, &target, figures));
    }
}

/// A table of what the long tests measured, with the commit they ran on.
fn write_reliability(root: &Path, figures: &Path, scale: &str) -> Done {
    let lines = fs::read_to_string(figures).unwrap_or_default();
    let commit =
        run::output(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).current_dir(root))?;
    let changed = if tracked_changes(root)?.is_empty() { "" } else { ", with changes not committed" };
    let on = if scale == "1" { String::new() } else { format!(", {scale} of the full rounds") };
    let text = reliability(&lines, &format!("{}{changed}{on}", commit.trim()));
    let path = root.join("docs/RELIABILITY.md");
    fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// What stands above the figures.
const RELIABILITY: &str = include_str!("reliability.md");

/// One figure is a line `what<TAB>value`, appended by the test kit's `figure`.
fn reliability(lines: &str, commit: &str) -> String {
    let mut figures: Vec<(&str, &str)> = lines.lines().filter_map(|line| line.split_once('\t')).collect();
    figures.sort_unstable();
    figures.dedup();
    let mut text = RELIABILITY.replace("COMMIT", commit);
    text.push_str("| what | figure |\n| --- | --- |\n");
    for (what, value) in figures {
        text.push_str(&format!("| {what} | {value} |\n"));
    }
    text
}

/// Tests named `generated_*` write their file instead of comparing it.
pub fn generate(root: &Path) -> Done {
    let mut test = cargo(root);
    test.args(["test", "--workspace", "--lib", "--bins", "--tests", "--", "generated_"]);
    let (Counts { passed, .. }, done) = counted(test.env("LATCHSTRING_GENERATE", "1"));
    done?;
    println!("{passed} generated files are up to date");
    Ok(())
}

/// A digest of every change to a tracked file against the last commit.
fn tracked_changes(root: &Path) -> Done<String> {
    run::output(Command::new("git").args(["diff", "--raw", "--abbrev=40", "HEAD"]).current_dir(root))
}

/// Tests must leave the tree as it was. While a person edits, that cannot be told apart: then it is only said.
fn unchanged(root: &Path, before: &str) -> Done {
    let after = tracked_changes(root)?;
    if after == before {
        return Ok(());
    }
    let why = format!("tracked files changed while the tests ran:\n{after}");
    if std::env::var_os("CI").is_some() {
        return Err(why);
    }
    println!("note: {why}");
    Ok(())
}

/// As the test kit's `figure` does it: one line per figure.
pub fn append_figure(figures: &Path, what: &str, value: &str) -> Done {
    use std::io::Write;
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(figures)
        .and_then(|mut file| writeln!(file, "{what}\t{value}"))
        .map_err(|e| format!("{}: {e}", figures.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crates() -> Vec<String> {
        ["latchstring", "latchstring-store", "xtask"].map(str::to_owned).to_vec()
    }

    #[test]
    fn without_parts_everything_runs() {
        let plan = Plan::read(&[], &crates()).unwrap();
        assert!(plan.fmt && plan.house && plan.lint && !plan.unit && plan.packages.is_none());
        assert!(plan.needs_servers());
        assert!(Plan::read(&["--long"], &crates()).unwrap().long);
    }

    #[test]
    fn parts_and_crates_are_named() {
        let plan = Plan::read(&["lint"], &crates()).unwrap();
        assert!(plan.lint && !plan.fmt && !plan.needs_servers());
        let plan = Plan::read(&["store", "latchstring", "--", "migrations"], &crates()).unwrap();
        assert_eq!(plan.packages.unwrap(), ["latchstring-store", "latchstring"]);
        assert_eq!(plan.extra, ["migrations"]);
        assert!(Plan::read(&["stroe"], &crates()).unwrap_err().contains("store"));
    }

    #[test]
    fn figures_become_a_table() {
        let text = reliability("b\t2\nnot a figure\na\t1\n", "abc");
        assert!(text.contains("commit abc"));
        assert!(text.ends_with("| --- | --- |\n| a | 1 |\n| b | 2 |\n"));
    }
}
