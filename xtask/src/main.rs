//! The repository's own chores: `cargo xtask help` lists them.
//!
//! It depends on almost nothing, because it is the first thing compiled on a cold machine.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod fuzz;
mod house;
mod postgres;
mod report;
mod run;
mod setup;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

/// What went wrong, in words for the person at the terminal.
pub type Done<T = ()> = Result<T, String>;

const HELP: &str = "\
cargo xtask COMMAND

  test              everything: fmt, house, lint, the tests of all crates on SQLite and PostgreSQL
  test PART…        only these parts: fmt, house, lint, unit, or a crate's name (store, broker, …);
                    after `--`, what the test binaries should get: cargo xtask test store -- migrations
  test --long       what is too long for every day (full rounds, kill loops, soak, fuzzing); writes
                    docs/RELIABILITY.md
  check-house       what must never be: dependency edges and source rules (also: test house)
  check-house --list  every rule with its reason
  generate          write the generated files anew (tests named generated_* verify them)
  setup             install what the tests need: PostgreSQL, Chromium, Node and Python packages
  screenshots       every page in both themes and two widths, into .cache/screenshots
  bench [SUITE…]    the benchmarks beside nginx and Envoy; writes docs/BENCHMARKS.md (bench --help)
  help              this text

The tests start the servers they need on free loopback ports and stop them at the end.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    let root = root();
    let done = match args.first().map(String::as_str) {
        Some("test") => test::run(&root, &rest),
        Some("check-house") => house::run(&root, &rest),
        Some("generate") => test::generate(&root),
        Some("setup") => setup::all(&root),
        Some("screenshots") => test::screenshots(&root, &rest),
        Some("bench") => bench::run(&root, &rest),
        None | Some("help" | "--help" | "-h") => {
            println!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!("no command `{other}`; `cargo xtask help` lists them")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder. At run time where cargo says it, so that a moved target folder does no harm.
fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map(PathBuf::from).unwrap_or(here)
}
