//! Generated files are checked in: a test compares them, `cargo xtask generate` writes them anew.

use std::fs;

/// Compares `content` with the file at `path` (from the repository's root). Call it from a test
/// whose name begins with `generated_`; with `cargo xtask generate` it writes the file instead.
#[track_caller]
pub fn assert_generated(path: &str, content: &str) {
    let file = crate::root().join(path);
    if std::env::var_os("LATCHSTRING_GENERATE").is_some() {
        fs::write(&file, content).expect("a generated file can be written");
        return;
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    if let Some(line) = first_difference(&there, content) {
        panic!(
            "{path} is out of date from line {line} on; run `cargo xtask generate` and look at the change"
        );
    }
}

fn first_difference(a: &str, b: &str) -> Option<usize> {
    if a == b {
        return None;
    }
    let same = a.split('\n').zip(b.split('\n')).take_while(|(a, b)| a == b).count();
    Some(same + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_differing_line_is_named() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("a\n", "a"), Some(2));
        assert_eq!(first_difference("", "a"), Some(1));
    }
}
