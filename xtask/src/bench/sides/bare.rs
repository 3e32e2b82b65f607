//! The program in `benches/bare`: a bare hyper proxy, with and without signing, and the sink of uploads.

use std::path::Path;
use std::process::Command;

use super::keeper::{Folder, Server};
use crate::Done;
use crate::run;

fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

pub fn sink(program: &Path, folder: &Folder, port: u16) -> Done<Server> {
    Server::start(folder, "sink", port, "/upload", program, &["sink", &loopback(port)])
}

pub fn proxy(
    program: &Path,
    folder: &Folder,
    name: &str,
    port: u16,
    to: (u16, &str),
    key: Option<&str>,
) -> Done<Server> {
    let (listen, upstream) = (loopback(port), loopback(to.0));
    let mut args = vec!["proxy", &listen, &upstream];
    args.extend(key);
    Server::start(folder, name, port, to.1, program, &args)
}

/// The keys of this run.
pub fn keys(program: &Path, folder: &Folder) -> Done {
    run::output(Command::new(program).arg("keys").arg(folder.path(""))).map(drop)
}
