//! What was asked for on the command line.

use crate::Done;

pub const HELP: &str = "\
cargo xtask bench [SUITE…] [OPTIONS]

  calls       small answers at 1, 16, 64 and 256 connections, every way to authenticate
  bodies      64 KiB and 10 MiB, down and up
  stored      with 10 and with 100,000 stored credentials
  start       idle memory and time to ready
  lists       lists and searches of 100,000 credentials in 1,000 projects, on both databases

  --quick              2 s for each cell instead of 5 s
  --seconds N          seconds for each cell
  --rounds N           rounds, of which the median counts [default: 3]
  --connections A,B    instead of 1,16,64,256
  --only TEXT          only subjects whose name contains TEXT
  --credentials N      how many are stored where many are [default: 100000]
  --profile            afterwards, where Latchstring's CPU goes (needs perf)

A run of all suites (2 s for each cell at least) writes docs/BENCHMARKS.md, which says how long each cell was; any
other writes bench/BENCHMARKS.md in the target folder.";

/// Seconds below which a cell says more about its start than about its speed.
const SHORTEST: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    Calls,
    Bodies,
    Stored,
    Start,
    Lists,
}

const SUITES: &[(&str, Suite)] = &[
    ("calls", Suite::Calls),
    ("bodies", Suite::Bodies),
    ("stored", Suite::Stored),
    ("start", Suite::Start),
    ("lists", Suite::Lists),
];

#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    suites: Vec<Suite>,
    pub seconds: u32,
    pub rounds: u32,
    pub connections: Vec<u32>,
    pub only: Option<String>,
    pub credentials: u32,
    pub profile: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            suites: Vec::new(),
            seconds: 5,
            rounds: 3,
            connections: vec![1, 16, 64, 256],
            only: None,
            credentials: 100_000,
            profile: false,
        }
    }
}

impl Options {
    pub fn read(args: &[&str]) -> Done<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || {
                args.next()
                    .copied()
                    .ok_or_else(|| format!("{arg} wants a value; see cargo xtask bench --help"))
            };
            match *arg {
                "--quick" => options.seconds = 2,
                "--seconds" => options.seconds = number(value()?)?,
                "--rounds" => options.rounds = number(value()?)?,
                "--credentials" => options.credentials = number(value()?)?,
                "--only" => options.only = Some(value()?.to_owned()),
                "--connections" => {
                    options.connections = value()?.split(',').map(number).collect::<Done<_>>()?
                }
                "--profile" => options.profile = true,
                name => match SUITES.iter().find(|(known, _)| *known == name) {
                    Some((_, suite)) => options.suites.push(*suite),
                    None => return Err(format!("no suite or option `{name}`\n{HELP}")),
                },
            }
        }
        Ok(options)
    }

    pub fn wants(&self, suite: Suite) -> bool {
        self.suites.is_empty() || self.suites.contains(&suite)
    }

    /// Whether anything is measured that calls go through: lists alone want no other proxies and no upstream.
    pub fn wants_proxies(&self) -> bool {
        self.suites.is_empty() || self.suites.iter().any(|suite| *suite != Suite::Lists)
    }

    pub fn wants_subject(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|part| name.to_lowercase().contains(&part.to_lowercase()))
    }

    /// Whether the run is fit for the page in the repository: everything was measured. How long each cell was,
    /// and how often, stands on the page.
    pub fn complete(&self) -> bool {
        let whole =
            Self { profile: self.profile, rounds: self.rounds, seconds: self.seconds, ..Self::default() };
        self.seconds >= SHORTEST && whole == *self
    }
}

fn number(text: &str) -> Done<u32> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("`{text}` is not a number from 1 on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_of_everything_is_for_the_repository() {
        assert!(Options::read(&[]).unwrap().complete());
        assert!(Options::read(&["--profile", "--rounds", "5"]).unwrap().complete());
        assert!(Options::read(&["--quick", "--rounds", "1"]).unwrap().complete());
        for args in [
            &["calls"][..],
            &["--seconds", "1"],
            &["--credentials", "100"],
            &["--only", "nginx"],
            &["--connections", "1,2"],
        ] {
            assert!(!Options::read(args).unwrap().complete(), "{args:?}");
        }
        for args in [&["call"][..], &["--seconds"], &["--seconds", "0"], &["--connections", "1,x"]] {
            assert!(Options::read(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn suites_can_be_named() {
        let options = Options::read(&["bodies", "--only", "NGINX"]).unwrap();
        assert!(options.wants(Suite::Bodies) && !options.wants(Suite::Calls));
        assert!(options.wants_subject("nginx") && !options.wants_subject("Envoy"));
        let proxies = |args: &[&str]| Options::read(args).unwrap().wants_proxies();
        assert!(proxies(&[]) && proxies(&["lists", "start"]) && !proxies(&["lists"]));
    }
}
