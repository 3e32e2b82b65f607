//! `latchstring audit export`: the trail as text, from the database, whether or not a server runs.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use latchstring_broker::audit::export::{self, ForOperator, Format};
use latchstring_broker::audit::list::Filter;
use latchstring_model::Timestamp;
use latchstring_model::id::ServerId;

use crate::commands::{on_runtime, refused, stopped};
use crate::settings::{Raw, Settings};
use crate::{Config, Ending, start};

pub const HELP: &str = "Examples:
  latchstring audit export > audit.jsonl
  latchstring audit export --format csv --project acme --from 2027-01-01T00:00:00Z --out acme.csv
  latchstring audit export --action credential.use --follow | your-log-collector

Oldest first. What retention is about to cut is exported with --to. The export is itself recorded.";

/// How often a follower looks.
const LOOK: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub struct Export {
    /// jsonl (a JSON object a line) or csv
    #[arg(long, default_value = "jsonl", value_parser = ["jsonl", "csv"])]
    format: String,
    /// Only this project: its slug or id
    #[arg(long, conflicts_with = "instance")]
    project: Option<String>,
    /// Only what belongs to no project and no credential
    #[arg(long)]
    instance: bool,
    /// Only this credential: its id, or its slug with --project
    #[arg(long)]
    credential: Option<String>,
    /// Only this actor: an id or an e-mail address
    #[arg(long)]
    actor: Option<String>,
    /// Only this action, such as credential.use
    #[arg(long)]
    action: Option<String>,
    /// From this moment on, such as 2027-01-31T12:00:00Z
    #[arg(long, value_parser = time)]
    from: Option<Timestamp>,
    /// Before this moment
    #[arg(long, value_parser = time)]
    to: Option<Timestamp>,
    /// Behind this `seq`: to go on where an earlier export ended
    #[arg(long, default_value_t = 0, value_name = "SEQ")]
    after: i64,
    /// Go on with what is recorded from now on, until it is stopped
    #[arg(long)]
    follow: bool,
    /// Write to a file that is not there yet, instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    raw: Raw,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "write a time such as 2027-01-31T12:00:00Z".to_owned())
}

pub fn run(command: Export) -> Ending {
    on_runtime(export(command))
}

async fn export(command: Export) -> Result<Ending, Ending> {
    let settings = Settings::read(command.raw, command.config.config.as_deref()).map_err(stopped)?;
    let opened = start::open(&settings, false).await.map_err(stopped)?;
    let store = &opened.store;
    let format = if command.format == "csv" { Format::Csv } else { Format::JsonLines };
    let filter = Filter {
        credential: command.credential,
        actor: command.actor,
        action: command.action,
        from: command.from,
        to: command.to,
    };
    let wanted = ForOperator::of(store, command.project.as_deref(), command.instance, &filter)
        .await
        .map_err(|problem| refused(&problem))?;
    let mut out = open(command.out.as_ref())?;
    let server = ServerId::new(opened.clock.now(), &*opened.entropy);
    let failed = |error: latchstring_store::StoreError| Ending::Stopped(error.to_string());
    wanted.note(store, &server, opened.clock.now(), &filter, format).await.map_err(failed)?;

    let mut after = command.after;
    let mut text = if after == 0 { export::head(format) } else { String::new() };
    loop {
        let part = wanted.part(store, after).await.map_err(failed)?;
        text.push_str(&export::lines(format, &part.items));
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => {}
            // Whoever read has seen enough (`| head`).
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(Ending::Good),
            Err(error) => return Err(Ending::Stopped(format!("the export cannot be written: {error}"))),
        }
        text.clear();
        after = part.next;
        if part.more {
            continue;
        }
        if !command.follow {
            return Ok(Ending::Good);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn open(path: Option<&PathBuf>) -> Result<Box<dyn Write + Send>, Ending> {
    use std::os::unix::fs::OpenOptionsExt;
    let Some(path) = path else { return Ok(Box::new(std::io::stdout())) };
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match file {
        Ok(file) => Ok(Box::new(std::io::BufWriter::new(file))),
        Err(error) => Err(Ending::Stopped(format!(
            "{} cannot be made: {error}; name a file that is not there yet",
            path.display()
        ))),
    }
}
