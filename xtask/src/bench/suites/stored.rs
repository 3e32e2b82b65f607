//! Whether calls cost more when more credentials are stored, and when they are spread over more of them.

use super::{Ends, Place, Subject, interleaved};
use crate::Done;
use crate::bench::results::{Results, Start};
use crate::bench::sides;
use crate::bench::sides::latchstring::Home;
use crate::bench::wrk::Load;

pub const GROUP: &str = "stored credentials";
pub const CONNECTIONS: u32 = 64;
const FEW: u32 = 10;

/// Name, whether of the large store, and over how many of them calls are spread at most.
const SPREADS: &[(&str, bool, u32)] = &[
    ("few stored, calls over all 10", false, FEW),
    ("many stored, calls over 10", true, FEW),
    ("many stored, calls over 1,000", true, 1_000),
    ("many stored, calls over 10,000", true, 10_000),
    ("many stored, calls over all", true, u32::MAX),
];

pub fn subjects() -> impl Iterator<Item = &'static str> {
    SPREADS.iter().map(|(name, ..)| *name)
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
        .map(|(name, large, over)| {
            let (server, key) = if *large { (&many_server, &many_key) } else { (&few_server, &few_key) };
            let over = if *large { (*over).min(many) } else { FEW };
            Subject { name, server, load: Load::spread("/proxy/b-{}/small", key, over) }
        })
        .collect();
    interleaved(place, GROUP, CONNECTIONS, &subjects, results)
}
