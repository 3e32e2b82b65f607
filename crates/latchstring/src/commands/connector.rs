//! `latchstring connector check`: reads definitions as an upload would, and says all that is wrong.

use std::path::PathBuf;

use super::{print, say};
use crate::Ending;

#[derive(clap::Subcommand)]
pub enum Connector {
    /// Check definitions; exit 1 and file:line:column messages when one is wrong
    #[command(after_help = "Example:\n  latchstring connector check my-api.yaml")]
    Check {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print what was found as JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(connector: Connector) -> Ending {
    let Connector::Check { files, json } = connector;
    let mut found = Vec::new();
    let mut good = true;
    for file in &files {
        let name = file.display().to_string();
        let source = match std::fs::read_to_string(file) {
            Ok(source) => source,
            Err(error) => return Ending::Stopped(format!("{name} cannot be read: {error}")),
        };
        match latchstring_connectors::check(&source, &name) {
            Ok(definition) => {
                if !json {
                    say(&format!(
                        "{name}: {} is good ({} auth methods)",
                        definition.id,
                        definition.auth_methods.len()
                    ));
                }
            }
            Err(diagnostics) => {
                good = false;
                for diagnostic in diagnostics {
                    if json {
                        found.push(serde_json::json!({
                            "file": name,
                            "line": diagnostic.at.line,
                            "column": diagnostic.at.column,
                            "message": diagnostic.message,
                            "suggestion": diagnostic.suggestion,
                        }));
                    } else {
                        print(&diagnostic.to_string());
                    }
                }
            }
        }
    }
    if json {
        print(&serde_json::Value::Array(found).to_string());
    }
    if good { Ending::Good } else { Ending::No }
}
