//! `latchstring audit verify`.

use latchstring_broker::audit::verify::{Report, verify_audit};

use super::{on_runtime, print, stopped};
use crate::settings::{Raw, Settings};
use crate::{Config, Ending, start};

#[derive(clap::Subcommand)]
pub enum Audit {
    /// Check every chain of the audit trail; exit 1 and the first broken record if one does not hold
    #[command(after_help = "Example:\n  latchstring audit verify        also beside a running server")]
    Verify(Box<Verify>),
}

#[derive(clap::Args)]
pub struct Verify {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    raw: Raw,
}

pub fn run(audit: Audit) -> Ending {
    let Audit::Verify(verify) = audit;
    on_runtime(async move {
        let settings = Settings::read(verify.raw, verify.config.config.as_deref()).map_err(stopped)?;
        let opened = start::open(&settings, false).await.map_err(stopped)?;
        match verify_audit(&opened.store).await {
            Ok(report) => {
                print(&if verify.json { as_json(&report).to_string() } else { as_text(&report) });
                Ok(Ending::Good)
            }
            Err(error) if error.is_broken() => {
                print(&if verify.json {
                    serde_json::json!({ "broken": error.to_string() }).to_string()
                } else {
                    format!("BROKEN: {error}")
                });
                Ok(Ending::No)
            }
            Err(error) => Err(Ending::Stopped(error.to_string())),
        }
    })
}

fn as_json(report: &Report) -> serde_json::Value {
    let heads: Vec<_> = report
        .heads
        .iter()
        .map(|head| serde_json::json!({ "writer": head.writer, "number": head.number, "hash": head.hash }))
        .collect();
    serde_json::json!({ "broken": null, "records": report.records, "heads": heads })
}

fn as_text(report: &Report) -> String {
    let mut text = format!("{} records in {} chains hold together.", report.records, report.heads.len());
    for head in &report.heads {
        text.push_str(&format!("\n{} {} {}", head.writer, head.number, head.hash));
    }
    text.push_str("\nA chain that was cut or written anew from the database alone shows only against heads kept elsewhere: compare these with the last ones.");
    text
}
