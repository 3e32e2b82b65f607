//! `latchstring admin …`: users and keys from the machine itself, whether or not a server runs. Audited.

use std::io::Read;

use latchstring_broker::Actor;
use latchstring_broker::people::Names;
use latchstring_broker::people::operator::OperatorKey;
use latchstring_broker::people::users::NewUser;
use latchstring_model::SecretString;

use super::{on_runtime, print, refused, stopped};
use crate::settings::{Raw, Settings};
use crate::{Config, Ending, start};

#[derive(clap::Subcommand)]
pub enum Admin {
    /// Make an account
    #[command(
        after_help = "Example:\n  echo -n 'a long pass phrase' | latchstring admin create-user --email ada@example.com --superuser --password-stdin"
    )]
    CreateUser(Box<CreateUser>),
    /// Make a personal key with scope manage, or with --project a service key; prints the key alone
    #[command(
        after_help = "Example:\n  export LATCHSTRING_API_KEY=$(latchstring admin create-key --email ada@example.com --name laptop)"
    )]
    CreateKey(Box<CreateKey>),
}

#[derive(clap::Args)]
pub struct CreateUser {
    #[arg(long, value_name = "ADDRESS")]
    email: String,
    #[arg(long)]
    name: Option<String>,
    #[arg(long)]
    superuser: bool,
    /// Read the password from standard input (a line end at its end is dropped)
    #[arg(long, required = true)]
    password_stdin: bool,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    raw: Raw,
}

#[derive(clap::Args)]
pub struct CreateKey {
    #[arg(long, value_name = "ADDRESS")]
    email: String,
    /// What the key is for
    #[arg(long)]
    name: String,
    /// Slug or id: a service key of this project
    #[arg(long, requires = "environment")]
    project: Option<String>,
    /// The one environment that the service key is for
    #[arg(long, requires = "project")]
    environment: Option<String>,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    raw: Raw,
}

pub fn run(admin: Admin) -> Ending {
    match admin {
        Admin::CreateUser(command) => on_runtime(create_user(*command)),
        Admin::CreateKey(command) => on_runtime(create_key(*command)),
    }
}

async fn broker(raw: Raw, config: &Config) -> Result<std::sync::Arc<latchstring_broker::Broker>, Ending> {
    let settings = Settings::read(raw, config.config.as_deref()).map_err(stopped)?;
    let opened = start::open(&settings, true).await.map_err(stopped)?;
    let egress = start::egress(&settings, Vec::new()).map_err(stopped)?;
    start::broker(&settings, &opened, egress, None).map_err(stopped)
}

async fn create_user(command: CreateUser) -> Result<Ending, Ending> {
    let mut password = zeroize::Zeroizing::new(String::new());
    std::io::stdin().read_to_string(&mut password).map_err(|error| {
        Ending::Stopped(format!("the password cannot be read from standard input: {error}"))
    })?;
    let password = SecretString::new(password.trim_end_matches(['\r', '\n']));
    let broker = broker(command.raw, &command.config).await?;
    let new = NewUser {
        email: command.email,
        names: Names { name: command.name, ..Names::default() },
        superuser: command.superuser,
        password: Some(password),
    };
    let user =
        broker.operator_create_user(&Actor::operator(), new).await.map_err(|problem| refused(&problem))?;
    print(user.id.as_str());
    Ok(Ending::Good)
}

async fn create_key(command: CreateKey) -> Result<Ending, Ending> {
    let broker = broker(command.raw, &command.config).await?;
    let new = OperatorKey {
        email: command.email,
        name: command.name,
        service: command.project.zip(command.environment),
    };
    let key =
        broker.operator_create_key(&Actor::operator(), new).await.map_err(|problem| refused(&problem))?;
    print(key.reveal());
    Ok(Ending::Good)
}
