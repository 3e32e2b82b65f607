//! Tests that are too long for every day, and what they measured.

use std::io::Write;

/// Whether `cargo xtask test --long` runs: then a test does its full rounds, else a few.
pub fn long() -> bool {
    std::env::var_os("LATCHSTRING_TEST_LONG").is_some()
}

/// How often to do something: `few` every day, `full` with `--long`. `LATCHSTRING_TEST_LONG=0.2` is a fifth of the
/// full rounds, for a machine that has other work.
pub fn rounds(few: usize, full: usize) -> usize {
    let Some(scale) = std::env::var_os("LATCHSTRING_TEST_LONG") else { return few };
    let scale = scale.to_str().and_then(|text| text.parse::<f64>().ok()).unwrap_or(1.0);
    scaled(few, full, scale)
}

fn scaled(few: usize, full: usize, scale: f64) -> usize {
    // Numbers of rounds are small: nothing is lost on the way.
    ((full as f64 * scale).ceil() as usize).clamp(few.min(full), full)
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

#[cfg(test)]
mod tests {
    use super::scaled;

    #[test]
    fn a_part_of_the_rounds_is_never_less_than_the_few() {
        assert_eq!(scaled(2, 50, 1.0), 50);
        assert_eq!(scaled(2, 50, 0.2), 10);
        assert_eq!(scaled(2, 50, 0.0), 2);
        assert_eq!(scaled(2, 50, 7.0), 50);
    }
}
