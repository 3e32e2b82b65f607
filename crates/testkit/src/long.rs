//! Tests that are too long for every day, and what they measured.

use std::io::Write;

/// Whether `cargo xtask test --long` runs: then a test does its full rounds, else a few.
pub fn long() -> bool {
    std::env::var_os("LATCHSTRING_TEST_LONG").is_some()
}

/// Leaves a figure for docs/RELIABILITY.md; without `--long` it goes nowhere.
pub fn figure(what: &str, value: impl std::fmt::Display) {
    let Some(path) = std::env::var_os("LATCHSTRING_TEST_FIGURES") else { return };
    let line = format!(
        "{}\t{}\n",
        what.replace(['\t', '\n', '|'], " "),
        value.to_string().replace(['\n', '|'], " ")
    );
    // One write of one line: tests of several processes append to the same file.
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("the file of figures can be written");
}
