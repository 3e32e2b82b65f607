//! Time to ready and idle memory, for a first start on an empty folder and for later ones.

use std::time::Duration;

use super::{Ends, Place};
use crate::Done;
use crate::bench::results::{Results, Start};
use crate::bench::sides;
use crate::bench::sides::keeper::Server;
use crate::bench::sides::latchstring::Home;

/// Memory is looked at after this long without a request.
pub const REST: Duration = Duration::from_secs(2);
const STARTS: u32 = 5;

pub const FIRST: &str = "first start, empty folder";
pub const LATER: &str = "later start";

pub fn resident(server: &Server) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "memory sizes are far below 2^52")]
    let bytes = server.usage().resident as f64;
    bytes
}

pub fn run(place: &Place<'_>, ends: &Ends, results: &mut Results) -> Done {
    let mut first = Start { what: FIRST.to_owned(), ready: Vec::new(), idle: Vec::new() };
    let mut later = Start { what: LATER.to_owned(), ready: Vec::new(), idle: Vec::new() };
    for number in 0..STARTS {
        let home =
            Home::empty(&place.tools.latchstring, place.folder, &format!("start-{number}"), ends.upstreams);
        for start in [&mut first, &mut later] {
            let [port] = sides::free_ports()?;
            let server = home.start(port)?;
            start.ready.push(server.ready_after.as_secs_f64() * 1e3);
            std::thread::sleep(REST);
            start.idle.push(resident(&server));
        }
    }
    for start in [first, later] {
        println!("{:26} ready after {:?} ms, {:?} bytes", start.what, start.ready, start.idle);
        results.starts.push(start);
    }
    Ok(())
}
