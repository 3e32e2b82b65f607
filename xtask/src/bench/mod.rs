//! `cargo xtask bench`: Latchstring beside nginx, Envoy and a bare hyper proxy, on loopback, in one run.
//!
//! The servers all stay up; every cell (one subject under one load) is measured in turn, A B C A B C, for
//! several rounds, so that what else the machine does meets all of them. A figure is the median of its
//! rounds. CPU is that of the proxy's own processes, read from `/proc` before and after; times are wrk's.

mod needs;
mod options;
mod page;
mod profile;
mod results;
mod sides;
mod suites;
mod targets;
mod wrk;

use std::fs;
use std::path::{Path, PathBuf};

use crate::Done;
use crate::run;
use options::Options;
use results::Results;
use sides::keeper::Folder;

/// Runs what the arguments name, or all.
pub fn run(root: &Path, args: &[&str]) -> Done {
    if matches!(args, ["--help" | "-h" | "help", ..]) {
        println!("{}", options::HELP);
        return Ok(());
    }
    let options = Options::read(args)?;
    let tools = needs::find(root, &options)?;
    let folder = Folder::new()?;
    let mut results = Results::new(&options);
    let place = suites::Place { tools: &tools, folder: &folder, options: &options };
    suites::run(&place, &mut results)?;
    let verdicts = targets::judge(&results);
    let facts = page::Facts::read(root, &tools, &options);
    let text = page::write(&facts, &results, &verdicts);
    println!("\n{text}");
    let to = if options.complete() {
        root.join("docs/BENCHMARKS.md")
    } else {
        scratch(root)?.join("BENCHMARKS.md")
    };
    fs::write(&to, text).map_err(|e| format!("{}: {e}", to.display()))?;
    println!("written to {}", to.strip_prefix(root).unwrap_or(&to).display());
    Ok(())
}

/// What is not for the repository goes where builds go.
fn scratch(root: &Path) -> Done<PathBuf> {
    let folder = needs::target_folder(root).join("bench");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}

/// What a program says about itself, first line only.
fn first_line(program: &str, args: &[&str]) -> String {
    let out = std::process::Command::new(program).args(args).stdin(std::process::Stdio::null()).output();
    let Ok(out) = out else { return "unknown".to_owned() };
    let text = [out.stdout, out.stderr].concat();
    String::from_utf8_lossy(&text)
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("unknown")
        .to_owned()
}

/// The commit that was measured, and whether the tree was as committed.
fn commit(root: &Path) -> String {
    let git = |args: &[&str]| run::output(std::process::Command::new("git").args(args).current_dir(root));
    let Ok(hash) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    // What is built, what is measured beside it, and how; not the page that is written.
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)docs"])
        .is_ok_and(|text| !text.trim().is_empty());
    format!("{}{}", hash.trim(), if changed { " with changes" } else { "" })
}
