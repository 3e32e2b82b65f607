//! Writes the JSON Schema of definitions: `cargo run -p latchstring-connectors --example schema > connectors/schema.json`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    let schema = serde_json::to_string_pretty(&latchstring_connectors::json_schema())?;
    writeln!(std::io::stdout(), "{schema}")
}
