//! Fuzzing as part of the long tests: each target for a while, with cargo-fuzz on a nightly compiler.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::Done;
use crate::run;
use crate::test::append_figure;

/// How long each target runs.
const SECONDS: u32 = 120;

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

pub fn run(root: &Path, target: &str, figures: &Path) -> Done {
    if run::output(Command::new("cargo").args(["+nightly", "fuzz", "--version"])).is_err() {
        return Err("cargo-fuzz on a nightly compiler is missing. Run this and try again:\n    \
                    rustup toolchain install nightly\n    cargo install cargo-fuzz --locked"
            .to_owned());
    }
    let start = Instant::now();
    // rustup's `cargo`, not this toolchain's own: it is the one that understands `+nightly`.
    let mut fuzz = Command::new("cargo");
    fuzz.args(["+nightly", "fuzz", "run", target, "--", &format!("-max_total_time={SECONDS}")]);
    run::run(fuzz.current_dir(root).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO"))?;
    append_figure(figures, &format!("fuzz {target}"), &format!("{} s, no finding", start.elapsed().as_secs()))
}
