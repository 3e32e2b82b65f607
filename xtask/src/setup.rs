//! Finds or installs what the tests need: PostgreSQL's server, Chromium, Node and Python packages.
//!
//! As root, system packages come through apt; otherwise the lines to run are printed. Packages of npm
//! and PyPI go into ignored folders of the repository, in the versions of the checked-in lists, and
//! are installed anew when a list changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Done;
use crate::postgres;
use crate::run;

/// Node's oldest major version that `oidc-provider` runs on.
const NODE: u32 = 20;

/// Where npm puts packages, and where ES modules beside it find them.
const NODE_PACKAGES: &str = "tests/e2e/node_modules";
const NODE_LIST: &str = "tests/e2e/package-lock.json";
/// The Python environment; the test kit knows this path too.
const VENV: &str = ".cache/venv";
const PYTHON_LIST: &str = "tests/e2e/requirements.txt";

pub fn all(root: &Path) -> Done {
    locked(root, || {
        system(NEEDS)?;
        node_packages(root)?;
        python(root, PYTHON_LIST, VENV)
    })
}

/// Two runs at once must not install into the same folders.
pub fn locked(root: &Path, install: impl FnOnce() -> Done) -> Done {
    let cache = root.join(".cache");
    fs::create_dir_all(&cache).map_err(|e| format!("{}: {e}", cache.display()))?;
    let lock = fs::File::create(cache.join("setup.lock")).map_err(|e| format!("setup.lock: {e}"))?;
    lock.lock().map_err(|e| format!("setup.lock: {e}"))?;
    install()
}

/// One thing from the system: how to see that it is there, and the Debian packages that bring it.
pub struct Need {
    pub what: &'static str,
    pub packages: &'static [&'static str],
    pub there: fn() -> bool,
}

const NEEDS: &[Need] = &[
    Need {
        what: "PostgreSQL's server, 15 or newer",
        packages: &["postgresql"],
        there: || postgres::server_binaries().is_some(),
    },
    Need {
        what: "Node 20 or newer",
        packages: &["nodejs"],
        there: || node_major().is_some_and(|v| v >= NODE),
    },
    Need { what: "npm", packages: &["npm"], there: || run::exists("npm") },
    // The pages are tested in a real browser, through its own driver.
    Need {
        what: "Chromium with chromedriver",
        packages: &["chromium", "chromium-driver"],
        there: || run::exists("chromium") && run::exists("chromedriver"),
    },
    Need { what: "Python 3 with venv", packages: &["python3", "python3-venv"], there: python_can_make_venvs },
];

/// Finds all of these, or installs what is missing.
pub fn system(needs: &[Need]) -> Done {
    let missing = || needs.iter().filter(|need| !(need.there)()).collect::<Vec<_>>();
    let wanted = missing();
    if wanted.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = wanted.iter().flat_map(|need| need.packages).copied().collect();
    if !postgres::is_root() || !run::exists("apt-get") {
        return Err(advice(&wanted.iter().map(|need| need.what).collect::<Vec<_>>(), &packages));
    }
    run::run(&mut apt(&["update", "-q"]))?;
    run::run(apt(&["install", "-q", "-y", "--no-install-recommends"]).args(&packages))?;
    match missing().as_slice() {
        [] => Ok(()),
        still => Err(format!(
            "apt installed {}, but still missing: {}. This system's packages are too old; install it by hand.",
            packages.join(" "),
            still.iter().map(|need| need.what).collect::<Vec<_>>().join(", "),
        )),
    }
}

fn apt(args: &[&str]) -> Command {
    let mut apt = Command::new("apt-get");
    // Runlevel 1 keeps Debian's scripts from starting a database server of their own.
    apt.args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("RUNLEVEL", "1")
        .stdin(std::process::Stdio::null());
    apt
}

fn advice(what: &[&str], packages: &[&str]) -> String {
    format!(
        "missing: {}. Run this and try again:\n    sudo apt-get update\n    sudo apt-get install -y {}",
        what.join("; "),
        packages.join(" ")
    )
}

fn node_major() -> Option<u32> {
    parse_node(&run::output(Command::new("node").arg("--version")).ok()?)
}

/// Reads `v20.20.2`.
fn parse_node(text: &str) -> Option<u32> {
    text.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

pub fn python_can_make_venvs() -> bool {
    run::output(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_ok()
}

fn node_packages(root: &Path) -> Done {
    let stamp = Stamp::new(root, NODE_LIST, &format!("{NODE_PACKAGES}/.installed"))?;
    if stamp.fresh() {
        return Ok(());
    }
    let folder = root.join("tests/e2e");
    run::run(
        Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder),
    )?;
    stamp.write()
}

/// A Python environment of its own with the packages of a list.
pub fn python(root: &Path, list: &str, venv: &str) -> Done {
    let stamp = Stamp::new(root, list, &format!("{venv}/.installed"))?;
    let python = root.join(venv).join("bin/python");
    if stamp.fresh() && run::exists(&python.to_string_lossy()) {
        return Ok(());
    }
    run::run(Command::new("python3").args(["-m", "venv", "--clear", venv]).current_dir(root))?;
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", list]);
    run::run(pip.current_dir(root))?;
    stamp.write()
}

/// A copy of the list that was installed, beside what was installed from it.
struct Stamp {
    list: String,
    path: PathBuf,
}

impl Stamp {
    fn new(root: &Path, list: &str, stamp: &str) -> Done<Self> {
        let list = fs::read_to_string(root.join(list)).map_err(|e| format!("{list}: {e}"))?;
        Ok(Self { list, path: root.join(stamp) })
    }

    fn fresh(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|installed| installed == self.list)
    }

    fn write(&self) -> Done {
        fs::write(&self.path, &self.list).map_err(|e| format!("{}: {e}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_is_lines_that_can_be_run() {
        let text = advice(&["npm"], &["npm", "postgresql"]);
        assert!(text.contains("\n    sudo apt-get install -y npm postgresql"));
        assert_eq!(parse_node("v20.20.2\n"), Some(20));
        assert_eq!(parse_node("oops"), None);
    }

    #[test]
    fn a_changed_list_is_installed_again() {
        let root = std::env::temp_dir().join(format!("latchstring-stamp-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("list"), "a==1").unwrap();
        let stamp = Stamp::new(&root, "list", "stamp").unwrap();
        assert!(!stamp.fresh());
        stamp.write().unwrap();
        assert!(stamp.fresh());
        fs::write(root.join("list"), "a==2").unwrap();
        assert!(!Stamp::new(&root, "list", "stamp").unwrap().fresh());
        fs::remove_dir_all(&root).unwrap();
    }
}
