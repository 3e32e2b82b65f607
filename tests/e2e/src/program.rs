//! The program under test.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use latchstring_testkit::{AppSetup, TestApp};

/// What the binary is made of.
const MADE_OF: [&str; 3] = ["crates", "connectors", "docs/errors.md"];

/// The newest change below a folder, tests left out.
fn newest(path: &Path) -> SystemTime {
    let about = path.metadata().expect("a file of the repository");
    let name = path.file_name().unwrap_or_default();
    if !about.is_dir() {
        return about.modified().expect("files have a time here");
    }
    if name == "tests" || name == "testkit" || name == "target" {
        return SystemTime::UNIX_EPOCH;
    }
    let entries = path.read_dir().expect("a folder of the repository");
    entries.map(|entry| newest(&entry.unwrap().path())).max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// `target/debug/latchstring`, beside this test's own binary. An old one would test what is no more.
pub fn binary() -> PathBuf {
    let here = std::env::current_exe().expect("a test has a path");
    let folder = here.ancestors().nth(2).expect("target/debug/deps/it");
    let binary = folder.join("latchstring");
    let advice = "build it first: cargo build --package latchstring (cargo xtask test e2e does)";
    let built = binary.metadata().unwrap_or_else(|error| panic!("{}: {error}; {advice}", binary.display()));
    let root = latchstring_testkit::root();
    let changed = MADE_OF.iter().map(|path| newest(&root.join(path))).max().unwrap();
    assert!(built.modified().unwrap() >= changed, "{} is older than its sources; {advice}", binary.display());
    binary
}

/// With the sandbox, and with the account and project of the test kit.
pub fn app() -> TestApp {
    setup().start()
}

pub fn setup() -> AppSetup {
    AppSetup::new(binary()).sandbox()
}

/// As its first start leaves it: nobody has an account. The path of the set-up link comes with it.
pub fn fresh() -> (TestApp, String) {
    setup().start_untouched()
}
