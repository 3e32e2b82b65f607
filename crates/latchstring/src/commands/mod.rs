//! The commands, one file each.

pub mod admin;
pub mod audit;
pub mod call;
pub mod client;
pub mod code;
pub mod connector;
pub mod import;
pub mod keys;
pub mod oauth_clients;
pub mod serve;

use std::fmt::Display;
use std::future::Future;
use std::io::Write;

use latchstring_model::Problem;

use crate::Ending;
use crate::settings::SettingError;

/// Runs a command's work on a control runtime of its own.
pub fn on_runtime(work: impl Future<Output = Result<Ending, Ending>>) -> Ending {
    match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime.block_on(work).unwrap_or_else(|ending| ending),
        Err(error) => Ending::Stopped(format!("the runtime cannot start: {error}")),
    }
}

/// A refusal on the terminal: what happened, and what to do next.
pub fn refused(problem: &Problem) -> Ending {
    let mut text = problem.detail.to_string();
    for error in &problem.errors {
        if problem.errors.len() > 1 {
            text.push_str(&format!(" {}: {};", error.pointer, error.detail));
        }
    }
    if let Some(hint) = &problem.hint {
        text.push(' ');
        text.push_str(hint);
    }
    Ending::Stopped(text)
}

pub fn stopped(error: SettingError) -> Ending {
    Ending::Stopped(error.0)
}

/// `1 step`, `2 steps`.
pub fn counted(many: impl Display + PartialEq + From<u8>, what: &str) -> String {
    let s = if many == 1.into() { "" } else { "s" };
    format!("{many} {what}{s}")
}

/// For output that is data: commands print nothing else to stdout.
pub fn print(text: &str) {
    // Whoever read has closed the pipe (`| head`): no reason to end a server.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// What a command tells a person beside its output.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
