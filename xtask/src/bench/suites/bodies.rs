//! Larger bodies, down and up, streamed by all.

use super::calls::Sides;
use super::{BARE, BEARER, ENVOY, Ends, NGINX, Place, Subject, interleaved};
use crate::Done;
use crate::bench::results::Results;
use crate::bench::sides::nginx::{LARGE, MIDDLE};
use crate::bench::sides::{self, bare};
use crate::bench::wrk::Load;

/// Group, bytes of a body, path of a download (an upload otherwise).
pub const KINDS: &[(&str, usize, Option<&str>)] = &[
    ("64 KiB down", MIDDLE, Some("/middle")),
    ("10 MiB down", LARGE, Some("/large")),
    ("64 KiB up", MIDDLE, None),
    ("10 MiB up", LARGE, None),
];

/// Enough to keep two cores busy.
pub const CONNECTIONS: u32 = 16;

pub fn run(place: &Place<'_>, ends: &Ends, sides: &Sides, results: &mut Results) -> Done {
    // The bare proxy knows one upstream: uploads have one of their own.
    let [port] = sides::free_ports()?;
    let to = (ends.upstreams.sink, "/upload");
    let bare_up = bare::proxy(&place.tools.bare, place.folder, "bare-up", port, to, None)?;
    for (group, length, down) in KINDS {
        let load = |prefix: &str| match down {
            Some(path) => Load::get(format!("{prefix}{path}"), &sides.key),
            None => Load::upload(format!("{prefix}/upload"), &sides.key, *length),
        };
        let bare = if down.is_some() { &sides.bare } else { &bare_up };
        let mut subjects = vec![
            Subject::new(NGINX, &sides.nginx, load("")),
            Subject::new(ENVOY, &sides.envoy, load("")),
            Subject::new(BARE, bare, load("")),
        ];
        if let Some(server) = &sides.latchstring {
            let credential = if down.is_some() { "/proxy/bearer" } else { "/proxy/upload" };
            subjects.push(Subject::new(BEARER, server, load(credential)));
        }
        interleaved(place, group, CONNECTIONS, &subjects, results)?;
    }
    Ok(())
}
