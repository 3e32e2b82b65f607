//! Where in a text something is wrong: as the use cases say it, and `serde_json`.

/// How use cases and forms say where: `line 3, column 5: …`.
pub fn at_line(line: usize, column: usize, text: &str) -> String {
    format!("line {line}, column {column}: {text}")
}

/// Line, column and what is wrong there.
pub fn read(detail: &str) -> Option<(usize, usize, &str)> {
    let (place, text) = detail.strip_prefix("line ")?.split_once(": ")?;
    let (line, column) = place.split_once(", column ")?;
    Some((line.trim().parse().ok()?, column.trim().parse().ok()?, text))
}

/// Why a text is no JSON, with its place.
pub fn of_json(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    let text = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(text, _)| text);
    at_line(error.line(), error.column(), text)
}
