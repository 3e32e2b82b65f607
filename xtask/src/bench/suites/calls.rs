//! Small answers: every proxy, every way to authenticate, at several numbers of connections.

use super::wants_latchstring;
use super::{
    BARE, BARE_RS256, BEARER, ENVOY, ES256, Ends, HS256, NGINX, OAUTH, Place, RS256, Subject, interleaved,
};
use crate::Done;
use crate::bench::results::Results;
use crate::bench::sides::keeper::Server;
use crate::bench::sides::latchstring::{Home, Method};
use crate::bench::sides::{self, TOKEN, bare, envoy, nginx};
use crate::bench::wrk::Load;

pub const GROUP: &str = "200 bytes";

/// The credentials of the one Latchstring that calls are measured on.
const METHODS: &[(&str, &str, Method)] = &[
    (OAUTH, "oauth", Method::ClientCredentials),
    (RS256, "rs256", Method::Jwt("RS256")),
    (ES256, "es256", Method::Jwt("ES256")),
    (HS256, "hs256", Method::Jwt("HS256")),
];

/// All proxies, up for the whole run.
pub struct Sides {
    pub nginx: Server,
    pub envoy: Server,
    pub bare: Server,
    pub signing: Server,
    pub latchstring: Option<Server>,
    /// The callers' key of Latchstring; the others get it too, and replace it.
    pub key: String,
}

impl Sides {
    pub fn start(place: &Place<'_>, ends: &Ends) -> Done<Self> {
        let (tools, folder, to) = (place.tools, place.folder, ends.upstreams);
        let [nginx, envoy, bare, signing, latchstring] = sides::free_ports()?;
        let key = folder.path("rsa.pem").to_string_lossy().into_owned();
        let mut sides = Self {
            nginx: nginx::proxy(&tools.nginx, folder, nginx, to.api, to.sink)?,
            envoy: envoy::start(&tools.envoy, folder, envoy, to.api, to.sink)?,
            bare: bare::proxy(&tools.bare, folder, "bare", bare, (to.api, "/small"), None)?,
            signing: bare::proxy(&tools.bare, folder, "signing", signing, (to.api, "/small"), Some(&key))?,
            latchstring: None,
            key: format!("lst_{TOKEN}"),
        };
        if wants_latchstring(place.options) {
            let home = Home::new(&tools.latchstring, folder, "latchstring", to)?;
            let server = home.start(latchstring)?;
            sides.key = home.project(latchstring)?;
            home.store(latchstring, "bearer", &Method::bearer())?;
            home.store(latchstring, "upload", &Method::uploads())?;
            for (_, slug, method) in METHODS {
                home.store(latchstring, slug, method)?;
            }
            sides.latchstring = Some(server);
        }
        Ok(sides)
    }

    pub fn get<'s>(&'s self, name: &'static str, server: &'s Server, path: &str) -> Subject<'s> {
        Subject::new(name, server, Load::get(path, &self.key))
    }
}

pub fn run(place: &Place<'_>, sides: &Sides, results: &mut Results) -> Done {
    let mut subjects = vec![
        sides.get(NGINX, &sides.nginx, "/small"),
        sides.get(ENVOY, &sides.envoy, "/small"),
        sides.get(BARE, &sides.bare, "/small"),
        sides.get(BARE_RS256, &sides.signing, "/small"),
    ];
    if let Some(server) = &sides.latchstring {
        subjects.push(sides.get(BEARER, server, "/proxy/bearer/small"));
        for (name, slug, _) in METHODS {
            subjects.push(sides.get(name, server, &format!("/proxy/{slug}/small")));
        }
    }
    for connections in &place.options.connections {
        interleaved(place, GROUP, *connections, &subjects, results)?;
    }
    Ok(())
}

/// What `--profile` looks at.
pub fn profiled(sides: &Sides) -> Vec<Subject<'_>> {
    let Some(server) = &sides.latchstring else { return Vec::new() };
    vec![
        sides.get(BEARER, server, "/proxy/bearer/small"),
        sides.get(RS256, server, "/proxy/rs256/small"),
        sides.get("Latchstring, bearer, 64 KiB down", server, "/proxy/bearer/middle"),
    ]
}
