//! The binary: settings, telemetry, `serve` and the other commands. The only place where all parts are joined.

mod checkpoints;
mod clock;
mod commands;
mod entropy;
mod root_key;
mod settings;
mod start;
mod telemetry;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Every call allocates some dozens of small pieces on the core that serves it; the system's allocator took an
/// eighth of the time of a call for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "latchstring",
    version,
    about = "A self-hosted credential broker: programs call external APIs through it and never hold a secret.",
    after_help = "Example:\n  latchstring serve --sandbox      start here; it prints what to do next\n\nWithout a command it runs `serve`."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: commands::serve::Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server
    #[command(
        after_help = "Example:\n  latchstring serve --listen 127.0.0.1:5282 --data-dir /var/lib/latchstring"
    )]
    Serve(Box<commands::serve::Serve>),
    /// Work on users and keys from this machine, whether or not a server runs
    #[command(
        subcommand,
        after_help = "Example:\n  latchstring admin create-key --email ada@example.com --name laptop"
    )]
    Admin(commands::admin::Admin),
    /// Look at connector definitions
    #[command(subcommand, after_help = "Example:\n  latchstring connector check my-api.yaml")]
    Connector(commands::connector::Connector),
    /// Check and export the audit trail
    #[command(subcommand, after_help = "Example:\n  latchstring audit verify --json")]
    Audit(commands::audit::Audit),
    /// Rotate and retire keys
    #[command(subcommand, after_help = "Example:\n  latchstring keys rotate")]
    Keys(commands::keys::Keys),
    /// Write a project as a file, without secrets
    Export(commands::code::Export),
    /// Make a project as a file says; shows a plan first
    Apply(commands::code::Apply),
    /// Take credentials over from n8n, a .env file or OpenFn; reports first what becomes what
    Import(Box<commands::import::Import>),
    /// Call an API through a running server
    Call(commands::call::Call),
    /// List OAuth clients with their redirect URIs, or print the one of a client alone
    #[command(name = "oauth-clients")]
    OAuthClients(commands::oauth_clients::OAuthClients),
}

/// Every command ends with one of these: 0, 1 (it looked and the answer is no), 2 (it could not begin).
pub enum Ending {
    Good,
    No,
    Stopped(String),
}

impl From<settings::SettingError> for Ending {
    fn from(error: settings::SettingError) -> Self {
        Ending::Stopped(error.0)
    }
}

/// Where the settings file is, for every command that reads settings.
#[derive(clap::Args, Clone, Default)]
pub struct Config {
    /// Settings file [default: latchstring.toml, if there is one]
    #[arg(long, env = "LATCHSTRING_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ending = match cli.command {
        None => commands::serve::run(cli.serve),
        Some(Command::Serve(serve)) => commands::serve::run(*serve),
        Some(Command::Admin(admin)) => commands::admin::run(admin),
        Some(Command::Connector(connector)) => commands::connector::run(connector),
        Some(Command::Audit(audit)) => commands::audit::run(audit),
        Some(Command::Keys(keys)) => commands::keys::run(keys),
        Some(Command::Export(export)) => commands::code::run_export(export),
        Some(Command::Apply(apply)) => commands::code::run_apply(apply),
        Some(Command::Import(import)) => commands::import::run(*import),
        Some(Command::Call(call)) => commands::call::run(call),
        Some(Command::OAuthClients(wanted)) => commands::oauth_clients::run(wanted),
    };
    match ending {
        Ending::Good => ExitCode::SUCCESS,
        Ending::No => ExitCode::from(1),
        Ending::Stopped(why) => {
            #[allow(clippy::print_stderr, reason = "one clear line is the contract")]
            {
                eprintln!("latchstring: {}", why.replace('\n', " "));
            }
            ExitCode::from(2)
        }
    }
}
