//! What is measured: the subjects, the loads, and the order.

mod bodies;
mod calls;
mod lists;
mod start;
mod stored;

use super::needs::Tools;
use super::options::{Options, Suite};
use super::profile;
use super::results::{Cell, Results};
use super::sides::http;
use super::sides::keeper::{Folder, Server};
use super::sides::latchstring::Upstreams;
use super::sides::{self, bare, nginx, usage};
use super::wrk::{Ask, Load, measure};
use crate::Done;

pub const NGINX: &str = "nginx";
pub const ENVOY: &str = "Envoy";
pub const BARE: &str = "bare hyper";
pub const BARE_RS256: &str = "bare hyper, RS256";
pub const BEARER: &str = "Latchstring, bearer";
pub const OAUTH: &str = "Latchstring, cached OAuth token";
pub const RS256: &str = "Latchstring, RS256 JWT";
pub const ES256: &str = "Latchstring, ES256 JWT";
pub const HS256: &str = "Latchstring, HS256 JWT";

pub use bodies::KINDS as BODIES;
pub use calls::{GROUP as SMALL, Sides, profiled};
pub use lists::{
    CONNECTIONS as LISTS_CONNECTIONS, LONGEST as LONGEST_LIST, LONGEST_PAGE, PAGES_CONNECTIONS,
    PAGES_POSTGRES, PAGES_SQLITE, PEOPLE as LISTS_PEOPLE, POSTGRES as LISTS_POSTGRES,
    PROJECTS as LISTS_PROJECTS, SQLITE as LISTS_SQLITE,
};
pub use stored::{
    GROUP as STORED, LISTS as STORED_LISTS, LISTS_CONNECTIONS as STORED_LISTS_CONNECTIONS,
    remembered as stored_subjects,
};

/// Whether a run has use for Latchstring at all.
pub fn wants_latchstring(options: &Options) -> bool {
    let subjects = [BEARER, OAUTH, RS256, ES256, HS256];
    [Suite::Start, Suite::Stored, Suite::Lists].into_iter().any(|suite| options.wants(suite))
        || subjects.iter().any(|name| options.wants_subject(name))
}

/// Where a run happens.
pub struct Place<'a> {
    pub tools: &'a Tools,
    pub folder: &'a Folder,
    pub options: &'a Options,
}

/// What all suites share: where calls end.
pub struct Ends {
    upstreams: Upstreams,
    _api: Server,
    _sink: Server,
}

impl Ends {
    fn start(place: &Place<'_>) -> Done<Self> {
        bare::keys(&place.tools.bare, place.folder)?;
        let [api, sink] = sides::free_ports()?;
        Ok(Self {
            upstreams: Upstreams { api, sink },
            _api: nginx::upstream(&place.tools.nginx, place.folder, api)?,
            _sink: bare::sink(&place.tools.bare, place.folder, sink)?,
        })
    }
}

pub fn run(place: &Place<'_>, results: &mut Results) -> Done {
    let (machine, own) = (usage::machine(), usage::own());
    if place.options.wants_proxies() {
        proxies(place, results)?;
    }
    if place.options.wants(Suite::Lists) {
        lists::run(place, results)?;
    }
    let busy = usage::machine() - machine;
    results.foreign = Some(((busy - (usage::own() - own)) / busy).max(0.0));
    Ok(())
}

fn proxies(place: &Place<'_>, results: &mut Results) -> Done {
    let ends = Ends::start(place)?;
    if place.options.wants(Suite::Start) {
        start::run(place, &ends, results)?;
    }
    if place.options.wants(Suite::Calls) || place.options.wants(Suite::Bodies) {
        let sides = calls::Sides::start(place, &ends)?;
        if place.options.wants(Suite::Calls) {
            calls::run(place, &sides, results)?;
        }
        if place.options.wants(Suite::Bodies) {
            bodies::run(place, &ends, &sides, results)?;
        }
        if place.options.profile {
            profile::run(place, &sides)?;
        }
    }
    if place.options.wants(Suite::Stored) {
        stored::run(place, &ends, results)?;
    }
    Ok(())
}

/// One subject of a group: the server whose CPU counts, and what is asked of it.
pub struct Subject<'a> {
    pub name: &'static str,
    pub server: &'a Server,
    pub load: Load,
    /// Seconds of the load before anything is measured.
    pub warm: u32,
}

impl<'a> Subject<'a> {
    pub fn new(name: &'static str, server: &'a Server, load: Load) -> Self {
        Self { name, server, load, warm: 1 }
    }
}

/// wrk takes a redirection for an answer: a page must not be one that sends to the sign-in.
fn answers(subject: &Subject<'_>) -> Done {
    let Load { path, who, ask: Ask::Get } = &subject.load else { return Ok(()) };
    match http::Client::of(subject.server.port, who)?.send("GET", path, "")? {
        (200, _) => Ok(()),
        (status, body) => Err(format!("{}: GET {path} answered {status}: {body}", subject.name)),
    }
}

/// Seconds of warming up without a pause: nobody calls at full speed for minutes, and a server that is called so keeps its
/// records in its journal until that is full, and refuses.
const WARM_AT_ONCE: u32 = 15;

/// Warms each subject up, then measures all of them in turn, round after round.
fn interleaved(
    place: &Place<'_>,
    group: &str,
    connections: u32,
    subjects: &[Subject<'_>],
    results: &mut Results,
) -> Done {
    let subjects: Vec<&Subject<'_>> =
        subjects.iter().filter(|subject| place.options.wants_subject(subject.name)).collect();
    let mut cells: Vec<Cell> = subjects
        .iter()
        .map(|subject| Cell {
            group: group.to_owned(),
            subject: subject.name,
            connections,
            rounds: Vec::new(),
        })
        .collect();
    for subject in &subjects {
        answers(subject)?;
        let mut left = subject.warm;
        while left > 0 {
            let seconds = left.min(WARM_AT_ONCE);
            measure(place.folder, subject, connections, seconds)?;
            left -= seconds;
        }
    }
    for round in 1..=place.options.rounds {
        for (subject, cell) in subjects.iter().zip(&mut cells) {
            let sample = measure(place.folder, subject, connections, place.options.seconds)?;
            println!(
                "{group:24} {connections:>4} connections  round {round}  {:34} {:>9.0} req/s  p50 {:>8.3} ms  p99 {:>8.3} ms  {:.3} CPU-s/10k ({:.3} of it in {:.1} s afterwards){}",
                subject.name,
                sample.rate(),
                sample.p50,
                sample.p99,
                sample.cpu_per_10k(),
                sample.after_per_10k(),
                sample.quiet_after,
                if sample.errors > 0.0 { format!("  {} ERRORS", sample.errors) } else { String::new() },
            );
            cell.rounds.push(sample);
        }
    }
    results.cells.extend(cells);
    Ok(())
}
