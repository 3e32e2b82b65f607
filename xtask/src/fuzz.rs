//! Fuzzing as part of the long tests: each target of `fuzz/` for a while.
//!
//! libFuzzer from the crate `libfuzzer-sys`, on this repository's own stable compiler: the coverage instrumentation is
//! a pass of LLVM that stable compilers have too. Only the address sanitizer needs a nightly one, and there is no
//! unsafe code here for it to look at; panics, failed assertions, overflows, hangs and memory that grows without end
//! are found without it.
//!
//! What was found to reach new code is kept in `.cache/fuzz/<target>` from run to run; what is worth keeping for ever is
//! copied by hand into `fuzz/seeds/<target>`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::Done;
use crate::run::{self, cargo};
use crate::setup::{self, Need};
use crate::test::append_figure;

/// How long each target runs (seconds) unless `LATCHSTRING_FUZZ_SECONDS` says otherwise.
const SECONDS: u32 = 120;
/// One input may not take longer (seconds), nor more memory (MiB).
const SLOWEST: u32 = 10;
const MOST_MEMORY: u32 = 1024;

/// What cargo-fuzz asks of the compiler, less the sanitizer.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

const NEEDS: &[Need] = &[Need { what: "a C++ compiler", packages: &["g++"], there: || run::exists("c++") }];

/// The names of the targets in `fuzz/fuzz_targets`.
pub fn targets(root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root.join("fuzz/fuzz_targets")) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort_unstable();
    names
}

/// The triple of this machine: with a target named, build scripts are not instrumented.
fn host(root: &Path) -> Done<String> {
    let said = run::output(Command::new("rustc").arg("-vV").current_dir(root))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned);
    host.ok_or_else(|| "`rustc -vV` names no host".to_owned())
}

/// Builds all targets; gives the folder of their programs.
pub fn build(root: &Path) -> Done<PathBuf> {
    setup::system(NEEDS)?;
    let host = host(root)?;
    let target_dir =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("fuzz");
    let mut build = cargo(&root.join("fuzz"));
    // Without `--locked`: the list follows that of the crates above, which changes with every dependency.
    build.args(["build", "--release", "--target", &host]);
    let flags = COVERAGE.split_whitespace().collect::<Vec<_>>().join(" ");
    run::run(build.env("RUSTFLAGS", flags).env("CARGO_TARGET_DIR", &target_dir))?;
    Ok(target_dir.join(host).join("release"))
}

fn seconds() -> u32 {
    std::env::var("LATCHSTRING_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS)
}

pub fn run(root: &Path, programs: &Path, target: &str, figures: &Path) -> Done {
    let kept = root.join(".cache/fuzz").join(target);
    fs::create_dir_all(&kept).map_err(|e| format!("{}: {e}", kept.display()))?;
    let mut fuzz = Command::new(programs.join(target));
    fuzz.arg(&kept);
    let mut seeds = vec![root.join("fuzz/seeds").join(target)];
    if target == "connector" {
        seeds.push(root.join("connectors"));
    }
    // A folder that is not there would be an error.
    fuzz.args(seeds.iter().filter(|folder| folder.is_dir()));
    fuzz.args([
        format!("-max_total_time={}", seconds()),
        format!("-timeout={SLOWEST}"),
        format!("-rss_limit_mb={MOST_MEMORY}"),
        format!("-artifact_prefix={}/", root.join(".cache/fuzz").display()),
        "-max_len=16384".to_owned(),
        "-verbosity=0".to_owned(),
        "-print_final_stats=1".to_owned(),
    ]);
    let start = Instant::now();
    println!("$ {}", run::line(&fuzz));
    let out = fuzz.current_dir(root).output().map_err(|e| format!("cannot start {target}: {e}"))?;
    let said = String::from_utf8_lossy(&out.stderr);
    if !out.status.success() {
        let tail: Vec<&str> = said.lines().rev().take(60).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        return Err(format!("{target} found something:\n{}", tail.join("\n")));
    }
    let runs = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let runs = runs.map(str::trim).unwrap_or("?");
    println!("{target}: {runs} inputs in {} s, no finding", start.elapsed().as_secs());
    append_figure(
        figures,
        &format!("fuzz {target}"),
        &format!("{runs} inputs in {} s, no finding", start.elapsed().as_secs()),
    )
}
