//! The benchmarks. A suite is one entry of [`SUITES`]; its code is a module of this folder.

use std::path::Path;

use crate::Done;

/// A benchmark that `cargo xtask bench NAME` runs.
pub struct Suite {
    pub name: &'static str,
    pub about: &'static str,
    pub run: fn(&Path) -> Done,
}

pub const SUITES: &[Suite] = &[];

/// Runs the named suites, or all.
pub fn run(root: &Path, names: &[&str]) -> Done {
    let known =
        || SUITES.iter().map(|s| format!("  {:16} {}", s.name, s.about)).collect::<Vec<_>>().join("\n");
    if let Some(unknown) = names.iter().find(|name| !SUITES.iter().any(|suite| suite.name == **name)) {
        return Err(format!("no benchmark `{unknown}`; there are:\n{}", known()));
    }
    if SUITES.is_empty() {
        return Err("no benchmark has been written yet".to_owned());
    }
    for suite in SUITES.iter().filter(|suite| names.is_empty() || names.contains(&suite.name)) {
        (suite.run)(root)?;
    }
    Ok(())
}
