//! `latchstring admin …`: users and keys from the machine itself, whether or not a server runs. Audited.

use std::io::Read;

use latchstring_broker::Actor;
use latchstring_broker::people::Names;
use latchstring_broker::people::operator::OperatorKey;
use latchstring_broker::people::users::NewUser;
use latchstring_model::SecretString;

use super::{on_runtime, print, refused, say, stopped};
use crate::settings::{Raw, Settings};
use crate::{Config, Ending, start};

#[derive(clap::Subcommand)]
pub enum Admin {
    /// Make an account
    #[command(
        after_help = "Example:\n  echo -n 'a long pass phrase' | latchstring admin create-user --email ada@example.com --superuser --password-stdin"
    )]
    CreateUser(Box<CreateUser>),
    /// Make a personal key with scope manage, or with --project a service key or account; prints the key alone
    #[command(
        after_help = "Example:\n  export LATCHSTRING_API_KEY=$(latchstring admin create-key --email ada@example.com --name laptop)"
    )]
    CreateKey(Box<CreateKey>),
    /// Print a link with which a person who forgot their password chooses a new one (once, for an hour)
    #[command(
        after_help = "Example:\n  latchstring admin reset-password --email ada@example.com\n\nGive the link to the person. Their sessions end when it is used, a second factor stays, and owner rights rest for a day."
    )]
    ResetPassword(Box<OfPerson>),
    /// Remove the second factor of a person who has lost app and recovery codes
    #[command(after_help = "Example:\n  latchstring admin remove-second-factor --email ada@example.com")]
    RemoveSecondFactor(Box<OfPerson>),
    /// Take passwords again, when the sign-in provider is gone
    #[command(after_help = "Example:\n  latchstring admin allow-passwords")]
    AllowPasswords(Box<AllowPasswords>),
}

#[derive(clap::Args)]
pub struct OfPerson {
    #[arg(long, value_name = "ADDRESS")]
    email: String,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    raw: Raw,
}

#[derive(clap::Args)]
pub struct AllowPasswords {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    raw: Raw,
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
    /// Slug or id: a service key of this project (with --environment), or a service account (with --manage)
    #[arg(long, requires = "kind")]
    project: Option<String>,
    /// The one environment that the service key is for
    #[arg(long, requires = "project", group = "kind")]
    environment: Option<String>,
    /// A service account: it manages the project and calls nothing
    #[arg(long, requires = "project", group = "kind")]
    manage: bool,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    raw: Raw,
}

pub fn run(admin: Admin) -> Ending {
    match admin {
        Admin::CreateUser(command) => on_runtime(create_user(*command)),
        Admin::CreateKey(command) => on_runtime(create_key(*command)),
        Admin::ResetPassword(command) => on_runtime(reset_password(*command)),
        Admin::RemoveSecondFactor(command) => on_runtime(remove_second_factor(*command)),
        Admin::AllowPasswords(command) => on_runtime(allow_passwords(*command)),
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
        service: command.project.map(|project| (project, command.environment)),
    };
    let key =
        broker.operator_create_key(&Actor::operator(), new).await.map_err(|problem| refused(&problem))?;
    print(key.reveal());
    Ok(Ending::Good)
}

async fn reset_password(command: OfPerson) -> Result<Ending, Ending> {
    let broker = broker(command.raw, &command.config).await?;
    let link = broker
        .operator_reset_password(&Actor::operator(), &command.email)
        .await
        .map_err(|problem| refused(&problem))?;
    print(link.reveal());
    Ok(Ending::Good)
}

async fn remove_second_factor(command: OfPerson) -> Result<Ending, Ending> {
    let broker = broker(command.raw, &command.config).await?;
    broker
        .operator_remove_second_factor(&Actor::operator(), &command.email)
        .await
        .map_err(|problem| refused(&problem))?;
    say("The second factor is gone; the person is told, where this server sends mail.");
    Ok(Ending::Good)
}

async fn allow_passwords(command: AllowPasswords) -> Result<Ending, Ending> {
    let broker = broker(command.raw, &command.config).await?;
    let changed =
        broker.operator_allow_passwords(&Actor::operator()).await.map_err(|problem| refused(&problem))?;
    say(if changed {
        "Passwords are taken again."
    } else {
        "Passwords were taken already; nothing was changed."
    });
    Ok(Ending::Good)
}
