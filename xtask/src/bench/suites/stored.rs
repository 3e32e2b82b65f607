//! Whether calls cost more when more credentials are stored, and when they are spread over more of them.

use super::{Ends, Place, Subject, interleaved};
use crate::Done;
use crate::bench::results::{Results, Start};
use crate::bench::sides;
use crate::bench::sides::http;
use crate::bench::sides::latchstring::{EMAIL, Home, PASSWORD};
use crate::bench::wrk::Load;

pub const GROUP: &str = "stored credentials";
pub const CONNECTIONS: u32 = 64;
pub const LISTS: &str = "lists of whoever has all";
pub const LISTS_CONNECTIONS: u32 = 1;
const FEW: u32 = 10;

struct Spread {
    name: &'static str,
    /// Whether of the large store.
    large: bool,
    /// Over how many of them calls are spread at most.
    over: u32,
    /// Seconds until each core has called each of them.
    warm: u32,
}

const fn spread(name: &'static str, large: bool, over: u32, warm: u32) -> Spread {
    Spread { name, large, over, warm }
}

/// A core remembers 16,384 routes: the last of these is more than that on purpose.
const SPREADS: &[Spread] = &[
    spread("few stored, calls over all 10", false, FEW, 1),
    spread("many stored, calls over 10", true, FEW, 1),
    spread("many stored, calls over 1,000", true, 1_000, 5),
    spread("many stored, calls over 10,000", true, 10_000, 60),
    spread("many stored, calls over all", true, u32::MAX, 5),
];

/// What the one person and the one project list who have all of them.
const ASKED: &[(&str, &str)] = &[
    ("the owner's, first page", "credentials"),
    ("the owner's, by a name that one has", "credentials?q=b-4711"),
    ("the owner's, by a name that none has", "credentials?q=no-such-name"),
    ("the owner's, by a connector that none has", "credentials?connector=openai"),
    ("the owner's, by a status that none has", "credentials?status=failing"),
    ("the project's, first page", "credentials?project=bench"),
    ("the project's, by a name that none has", "credentials?project=bench&q=no-such-name"),
];

const PAGES: &[(&str, &str)] = &[
    ("page: My credentials", "/credentials"),
    ("page: the project's credentials", "/projects/bench/credentials"),
    ("page: the project's audit", "/projects/bench/audit"),
];

/// Those whose routes a core can remember, and which should not cost more than few.
pub fn remembered() -> impl Iterator<Item = &'static str> {
    SPREADS.iter().filter(|spread| spread.over != u32::MAX).map(|spread| spread.name)
}

pub fn run(place: &Place<'_>, ends: &Ends, results: &mut Results) -> Done {
    let many = place.options.credentials;
    let [few_port, many_port] = sides::free_ports()?;
    let home = |name: &str| Home::new(&place.tools.latchstring, place.folder, name, ends.upstreams);
    let (few_home, many_home) = (home("few")?, home("many")?);
    let few_server = few_home.start(few_port)?;
    let few_key = few_home.project(few_port)?;
    few_home.store_many(few_port, 0, FEW)?;

    let filling = many_home.start(many_port)?;
    let many_key = many_home.project(many_port)?;
    println!("storing {many} credentials through the API …");
    let took = many_home.store_many(many_port, 0, many)?.as_secs_f64();
    results.stored = Some((many, took));
    drop(filling);
    // Started anew: what is measured is a server with many credentials, not one that has just made them.
    let many_server = many_home.start(many_port)?;
    let ready = many_server.ready_after.as_secs_f64() * 1e3;
    std::thread::sleep(super::start::REST);
    let idle = super::start::resident(&many_server);
    results.starts.push(Start {
        what: format!("with {many} credentials"),
        ready: vec![ready],
        idle: vec![idle],
    });

    let subjects: Vec<Subject<'_>> = SPREADS
        .iter()
        .map(|spread| {
            let (server, key) =
                if spread.large { (&many_server, &many_key) } else { (&few_server, &few_key) };
            let over = if spread.large { spread.over.min(many) } else { FEW };
            let load = Load::spread("/proxy/b-{}/small", key, over);
            Subject { warm: spread.warm, ..Subject::new(spread.name, server, load) }
        })
        .collect();
    interleaved(place, GROUP, CONNECTIONS, &subjects, results)?;
    let list = |(name, path): &(&'static str, &str)| {
        Subject::new(name, &many_server, Load::get(format!("/api/v1/{path}"), many_home.key()))
    };
    let mut lists: Vec<Subject<'_>> = ASKED.iter().map(list).collect();
    let cookie = http::sign_in(many_port, EMAIL, PASSWORD)?;
    lists.extend(
        PAGES.iter().map(|(name, path)| Subject::new(name, &many_server, Load::page(*path, &cookie))),
    );
    interleaved(place, LISTS, LISTS_CONNECTIONS, &lists, results)
}
