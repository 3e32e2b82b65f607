//! A helper program that says where it listens and ends with us.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// The one line that helps when something is not installed.
const SETUP: &str = "run `cargo xtask setup` (or `cargo xtask test`, which begins with it)";

/// How long a helper may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(120);

/// A child process that exits when its standard input closes, which the kernel does for us even
/// when this process is killed.
pub struct Helper {
    child: Child,
    /// The line of JSON with which it said that it is ready.
    pub ready: Value,
}

impl Helper {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {:?}: {e}; {SETUP}", command.get_program()));
        let stdout = child.stdout.take().expect("stdout is piped");
        let (says, said) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            // Nobody listens any more when it was too late.
            let _ = says.send(read.map(|_| line));
        });
        let line = match said.recv_timeout(PATIENCE) {
            Ok(line) => line.expect("stdout can be read"),
            Err(_) => String::new(),
        };
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "{:?} did not start in {PATIENCE:?} (its own words are above); {SETUP}",
                command.get_program()
            )
        });
        Self { child, ready }
    }

    /// The text that `ready` holds under a name.
    pub fn said(&self, name: &str) -> String {
        self.ready[name].as_str().unwrap_or_else(|| panic!("{} has no {name}", self.ready)).to_owned()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that reads one JSON value and answers with one.
pub fn ask(command: &mut Command, question: &Value) -> Value {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {:?}: {e}; {SETUP}", command.get_program()));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A program that ends early is told apart below by its exit code.
    let _ = stdin.write_all(question.to_string().as_bytes());
    drop(stdin);
    let out = child.wait_with_output().expect("the program can be waited for");
    assert!(out.status.success(), "{:?} ended with {}; {SETUP}", command.get_program(), out.status);
    serde_json::from_slice(&out.stdout).expect("the program answers with JSON")
}

/// Runs a script of tests/e2e with Node.
pub fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    // Hints about versions are noise in a test's output.
    command.arg("--no-warnings").arg(script_path(script));
    command
}

/// Runs a script of tests/e2e with the Python environment of `cargo xtask setup`.
pub fn python(script: &str) -> Command {
    let mut command = Command::new(crate::root().join(".cache/venv/bin/python"));
    command.arg(script_path(script)).env("PYTHONUNBUFFERED", "1").env("PYTHONWARNINGS", "ignore");
    command
}

fn script_path(script: &str) -> PathBuf {
    crate::root().join("tests/e2e").join(script)
}
