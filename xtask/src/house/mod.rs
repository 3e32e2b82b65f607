//! What must never be: edges between crates ([`edges`]) and words in sources ([`rules`]).

pub mod edges;
mod rules;
mod source;
mod words;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Done;

pub fn run(root: &Path, args: &[&str]) -> Done {
    match args {
        [] => check(root, &edges::tree(root)?),
        ["--list"] => {
            for (name, why) in edges::reasons().chain(rules::reasons()) {
                println!("{name}\n    {why}");
            }
            Ok(())
        }
        _ => Err("check-house takes no arguments, or --list".to_owned()),
    }
}

pub fn check(root: &Path, tree: &str) -> Done {
    let mut found = edges::broken(tree)?;
    let paths = files(root)?;
    for path in &paths {
        // What is not text has no words; what was deleted is no longer here.
        if let Ok(text) = fs::read_to_string(root.join(path)) {
            found.extend(rules::findings(path, &text));
        }
    }
    if found.is_empty() {
        println!("{} files and all dependency edges are as the house wants them", paths.len());
        return Ok(());
    }
    Err(format!(
        "{}\n{} findings; `cargo xtask check-house --list` shows every rule",
        found.join("\n"),
        found.len()
    ))
}

/// All files of the repository that git does not ignore, committed or not.
fn files(root: &Path) -> Done<Vec<String>> {
    let list = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|e| format!("git: {e}"))?;
    if !list.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&list.stderr).trim()));
    }
    let mut files: Vec<String> = String::from_utf8_lossy(&list.stdout)
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect();
    files.sort_unstable();
    files.dedup();
    if files.is_empty() { Err("git lists no file".to_owned()) } else { Ok(files) }
}
