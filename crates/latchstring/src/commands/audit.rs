//! `latchstring audit …`: whether the trail holds, and the trail as text.

mod export;
mod verify;

use crate::Ending;

#[derive(clap::Subcommand)]
pub enum Audit {
    /// Check every chain of the audit trail; exit 1 and the first broken record if one does not hold
    #[command(after_help = verify::HELP)]
    Verify(Box<verify::Verify>),
    /// Write the audit trail as JSON lines or CSV
    #[command(after_help = export::HELP)]
    Export(Box<export::Export>),
}

pub fn run(audit: Audit) -> Ending {
    match audit {
        Audit::Verify(verify) => verify::run(*verify),
        Audit::Export(export) => export::run(*export),
    }
}
