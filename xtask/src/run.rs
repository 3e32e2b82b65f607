//! Running other programs: what they print is passed on, what they are asked for is said first.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Done;

/// How many tests a run counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
}

impl Counts {
    pub fn add(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// A `cargo` that does not inherit what the outer `cargo run` put into our environment: variables of
/// this package would make build scripts run again.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO" {
            command.env_remove(&name);
        }
    }
    command
}

/// In CI the lock file is law; at home a new dependency may still be written into it.
pub fn locked(command: &mut Command) -> &mut Command {
    if std::env::var_os("CI").is_some() {
        command.arg("--locked");
    }
    command
}

/// The command line as a person would type it.
pub fn line(command: &Command) -> String {
    let mut text =
        Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}

/// Runs to the end; anything but exit code 0 is an error.
pub fn run(command: &mut Command) -> Done {
    println!("$ {}", line(command));
    let status = command.status().map_err(|e| format!("cannot start `{}`: {e}", line(command)))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` ended with {status}", line(command))) }
}

/// Runs to the end without showing anything; gives what it wrote to standard output.
pub fn output(command: &mut Command) -> Done<String> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("cannot start `{}`: {e}", line(command)))?;
    if out.status.success() {
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&out.stderr);
        Err(format!("`{}` ended with {}: {}", line(command), out.status, said.trim()))
    }
}

/// Runs a `cargo test`, passes its output on line by line, and adds up its result lines.
pub fn counted(command: &mut Command) -> (Counts, Done) {
    println!("$ {}", line(command));
    let mut counts = Counts::default();
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(e) => return (counts, Err(format!("cannot start `{}`: {e}", line(command)))),
    };
    if let Some(stdout) = child.stdout.take() {
        counts = tally(BufReader::new(stdout), std::io::stdout().lock());
    }
    let done = match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{}` ended with {status}", line(command))),
        Err(e) => Err(format!("`{}`: {e}", line(command))),
    };
    (counts, done)
}

fn tally(from: impl BufRead, mut to: impl Write) -> Counts {
    let mut counts = Counts::default();
    for text in from.split(b'\n').map_while(Result::ok) {
        // A closed pipe of our own is no reason to stop the tests.
        let _ = to.write_all(&text).and_then(|()| to.write_all(b"\n"));
        counts.add(result_line(&String::from_utf8_lossy(&text)));
    }
    counts
}

/// Reads `test result: ok. 3 passed; 0 failed; …`.
fn result_line(text: &str) -> Counts {
    let Some((_, rest)) = text.split_once("test result: ") else { return Counts::default() };
    let number_before = |word: &str| {
        rest.split([';', '.'])
            .find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
            .unwrap_or(0)
    };
    Counts { passed: number_before("passed"), failed: number_before("failed") }
}

/// Whether a program can be started at all.
pub fn exists(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_added_up() {
        let ok =
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(result_line(ok), Counts { passed: 12, failed: 0 });
        let bad = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(result_line(bad), Counts { passed: 3, failed: 2 });
        assert_eq!(result_line("test something ... ok"), Counts::default());
    }

    #[test]
    fn a_failing_program_is_an_error() {
        assert!(run(Command::new("sh").args(["-c", "exit 3"])).is_err());
        assert!(output(&mut Command::new("no-such-program-here")).is_err());
        assert!(counted(Command::new("sh").args(["-c", "exit 101"])).1.is_err());
    }

    #[test]
    fn output_is_passed_on_and_counted() {
        let said = "test a ... ok\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n\ntest result: ok. 2 passed; 0 failed\n";
        let mut shown = Vec::new();
        assert_eq!(tally(said.as_bytes(), &mut shown), Counts { passed: 3, failed: 1 });
        assert_eq!(shown, said.as_bytes());
    }
}
