//! `latchstring audit verify`.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use latchstring_broker::audit::checkpoint::{Checkpoints, Reading};
use latchstring_broker::audit::signing::{PublicKeys, SigningError};
use latchstring_broker::audit::verify::{Against, Report, VerifyError, verify_against};
use serde_json::json;

use crate::commands::{counted, on_runtime, print, stopped};
use crate::settings::{Raw, Settings};
use crate::start::Opened;
use crate::{Config, Ending, checkpoints, start};

pub const HELP: &str = "Examples:
  latchstring audit verify                              also beside a running server
  latchstring audit verify --checkpoints /mnt/second/checkpoints
  latchstring audit verify --checkpoints a --checkpoints b --json

Without --checkpoints, the file of LATCHSTRING_AUDIT_CHECKPOINTS is read if there is one. Name the files of
all servers, and older parts that were moved away; - is standard input.

Exit codes: 0 it holds, 1 it does not (the first broken record is named), 2 it could not be checked.";

/// What an attacker who may write to the whole database leaves without a trace in it.
const NEEDED: &str = "Only checkpoints show what puts back a state that was true once: a chain that was cut together with its head, or deleted as a whole, and a credential or a whole database from an older copy.";

#[derive(clap::Args)]
pub struct Verify {
    /// A file with checkpoints, also one of several; - for standard input
    #[arg(long = "checkpoints", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// Fingerprint of the key that must have signed them, as an earlier report shows it
    #[arg(long, value_name = "SHA256")]
    key: Option<String>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    raw: Raw,
}

pub fn run(verify: Verify) -> Ending {
    on_runtime(async move {
        let settings = Settings::read(verify.raw, verify.config.config.as_deref()).map_err(stopped)?;
        let opened = start::open(&settings, false).await.map_err(stopped)?;
        let files = match (&verify.checkpoints, &settings.audit_checkpoints) {
            (named, _) if !named.is_empty() => named.clone(),
            (_, Some(checkpoints::Checkpoints::File(file))) => vec![file.clone()],
            _ => Vec::new(),
        };
        let outcome = look(&opened, &files, verify.key.as_deref()).await;
        match outcome {
            Ok((report, against)) => {
                print(&if verify.json {
                    as_json(&report, &against).to_string()
                } else {
                    as_text(&report, &against)
                });
                Ok(Ending::Good)
            }
            Err(Trouble::Broken { what, by_checkpoints }) => {
                print(&if verify.json {
                    json!({ "broken": what, "found_by_checkpoints": by_checkpoints }).to_string()
                } else if by_checkpoints {
                    format!("BROKEN: {what}\nThe database alone does not show this; the checkpoints do.")
                } else {
                    format!("BROKEN: {what}")
                });
                Ok(Ending::No)
            }
            Err(Trouble::Unknown(why)) => Err(Ending::Stopped(why)),
        }
    })
}

enum Trouble {
    Broken { what: String, by_checkpoints: bool },
    Unknown(String),
}

impl From<VerifyError> for Trouble {
    fn from(error: VerifyError) -> Self {
        if error.is_broken() {
            Trouble::Broken { what: error.to_string(), by_checkpoints: error.needs_checkpoints() }
        } else {
            Trouble::Unknown(error.to_string())
        }
    }
}

impl From<SigningError> for Trouble {
    fn from(error: SigningError) -> Self {
        if error.is_foreign() {
            let what = format!("{error}: its row was changed, or another key was put in its place");
            Trouble::Broken { what, by_checkpoints: false }
        } else {
            Trouble::Unknown(error.to_string())
        }
    }
}

/// The checkpoints first: what is in them must be in the database, which goes on growing.
async fn look(
    opened: &Opened,
    files: &[PathBuf],
    pinned: Option<&str>,
) -> Result<(Report, Against), Trouble> {
    let keys = PublicKeys::of(&opened.store, &opened.vault).await?;
    if let Some(pinned) = pinned
        && !keys.fingerprints().iter().any(|(_, known)| known.eq_ignore_ascii_case(pinned.trim()))
    {
        let what =
            format!("no audit key of this installation has the fingerprint {pinned}: the key was replaced");
        return Err(Trouble::Broken { what, by_checkpoints: true });
    }
    let mut against = Against { signed: true, keys, checkpoints: None };
    if !files.is_empty() {
        let (keys, files) = (against.keys.clone(), files.to_vec());
        let read = tokio::task::spawn_blocking(move || read(&keys, &files)).await;
        against.checkpoints =
            Some(read.map_err(|error| Trouble::Unknown(format!("a worker thread ended early: {error}")))??);
    }
    let report = verify_against(&opened.store, &against).await?;
    Ok((report, against))
}

fn read(keys: &PublicKeys, files: &[PathBuf]) -> Result<Checkpoints, Trouble> {
    let mut reading = Reading::new(keys);
    for path in files {
        let cannot = |error: std::io::Error| {
            Trouble::Unknown(format!("the checkpoints {} cannot be read: {error}", path.display()))
        };
        let source: Box<dyn Read> = if path == Path::new("-") {
            Box::new(std::io::stdin())
        } else {
            Box::new(std::fs::File::open(path).map_err(cannot)?)
        };
        reading.file(&path.display().to_string());
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while source.read_until(b'\n', &mut line).map_err(cannot)? > 0 {
            // A line that is being written at this moment has no end yet: it is not there yet.
            if line.pop_if(|byte| *byte == b'\n').is_some() {
                reading
                    .line(&String::from_utf8_lossy(&line))
                    .map_err(|error| Trouble::Broken { what: error.to_string(), by_checkpoints: true })?;
            }
            line.clear();
        }
    }
    Ok(reading.finish())
}

fn as_json(report: &Report, against: &Against) -> serde_json::Value {
    let heads: Vec<_> = report
        .heads
        .iter()
        .map(|head| json!({ "writer": head.writer, "number": head.number, "hash": head.hash }))
        .collect();
    let keys: Vec<_> = against
        .keys
        .fingerprints()
        .into_iter()
        .map(|(id, fingerprint)| json!({ "id": id.as_str(), "sha256": fingerprint }))
        .collect();
    let checkpoints = against.checkpoints.as_ref().zip(report.covered.as_ref()).map(|(known, covered)| {
        json!({
            "files": known.files, "lines": known.lines,
            "last_at": known.last_at.map(|at| at.to_rfc3339()),
            "rows_covered": covered.rows, "rows_after": covered.after, "credentials": covered.credentials,
            "begin_later": known.begin_later, "torn_lines": known.torn,
        })
    });
    json!({
        "broken": null, "records": report.records, "rows": report.rows, "cut": report.cut, "heads": heads,
        "keys": keys, "checkpoints": checkpoints,
    })
}

fn as_text(report: &Report, against: &Against) -> String {
    let mut text = format!(
        "{} in {} hold together.",
        counted(report.records, "record"),
        counted(report.heads.len(), "chain")
    );
    if report.cut > 0 {
        text.push_str(&format!(
            "\n{} older ones were cut away by retention, behind signed anchors.",
            report.cut
        ));
    }
    for head in &report.heads {
        text.push_str(&format!("\n{} {} {}", head.writer, head.number, head.hash));
    }
    match against.checkpoints.as_ref().zip(report.covered.as_ref()) {
        None => {
            text.push_str(&format!("\nChecked without checkpoints. {NEEDED} Set LATCHSTRING_AUDIT_CHECKPOINTS, and name their files with --checkpoints."));
        }
        Some((known, covered)) => {
            let last = known.last_at.map_or_else(|| "never".to_owned(), |at| at.to_rfc3339());
            text.push_str(&format!(
                "\nSeen by {} (the last of {last}): {} of the chains' {} and {}; newer than that: {}.",
                counted(known.lines, "checkpoint"),
                covered.rows,
                counted(report.rows, "row"),
                counted(covered.credentials, "credential"),
                counted(covered.after, "row")
            ));
            for file in &known.begin_later {
                text.push_str(&format!(
                    "\n{file} goes on from a checkpoint that is not in these files: name the older parts too."
                ));
            }
            for (id, fingerprint) in against.keys.fingerprints() {
                text.push_str(&format!("\nSigned by {id}, SHA-256 {fingerprint}"));
            }
        }
    }
    text
}
