//! What `cargo xtask bench` compares Latchstring with, built from the same parts: a proxy that is nothing
//! but hyper with a runtime per core and a pool per thread, the same with one RS256 signature per call,
//! and a server that swallows uploads. No security, no limits, no records: the floor, not a product.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod cores;
mod keys;
mod pool;
mod proxy;
mod sign;
mod sink;

use std::net::SocketAddr;
use std::process::ExitCode;

const HELP: &str = "\
latchstring-bare proxy LISTEN UPSTREAM            forward
latchstring-bare proxy LISTEN UPSTREAM RSA.PEM    forward, with a fresh RS256 JWT on every call
latchstring-bare sink LISTEN                      read every request to its end, answer 200
latchstring-bare keys FOLDER                      write rsa.pem and ec.pem";

/// As many as the other proxies are told to use.
const CORES: usize = 2;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("latchstring-bare: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<(), String> {
    match args {
        ["proxy", listen, upstream] => proxy::run(address(listen)?, address(upstream)?, None),
        ["proxy", listen, upstream, key] => {
            let signer = sign::Signer::read(key)?;
            proxy::run(address(listen)?, address(upstream)?, Some(signer))
        }
        ["sink", listen] => sink::run(address(listen)?),
        ["keys", folder] => keys::write(folder),
        _ => Err(format!("what to do?\n{HELP}")),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an address such as 127.0.0.1:8080"))
}
