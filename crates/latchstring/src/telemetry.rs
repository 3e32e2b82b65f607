//! Logs: structured, to stderr, never a secret (the types do not print).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::settings::{SettingError, Settings};

pub fn start(settings: &Settings) -> Result<(), SettingError> {
    let filter = EnvFilter::try_new(&settings.log)
        .map_err(|error| SettingError(format!("LATCHSTRING_LOG={:?} cannot be understood: {error}; write info, or latchstring_broker=debug,info", settings.log)))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Colours are for people, not for files.
        .with_ansi(std::io::stderr().is_terminal());
    let started = if settings.log_json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_target(false).compact().try_init()
    };
    started.map_err(|error| SettingError(format!("logging cannot start: {error}")))
}
