//! Which crate may reach which: read from the graph that cargo resolved, dev-dependencies left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use serde_json::Value;

use crate::Done;
use crate::run::{self, cargo, locked};

/// `from` must not reach `never` through normal dependencies.
struct Wall {
    from: &'static [&'static str],
    never: &'static [&'static str],
    /// Whether the way through other crates counts too.
    any_depth: bool,
    why: &'static str,
}

const OURS: &[&str] = &[
    "latchstring-model",
    "latchstring-schemes",
    "latchstring-connectors",
    "latchstring-vault",
    "latchstring-egress",
    "latchstring-store",
    "latchstring-journal",
    "latchstring-broker",
    "latchstring-gateway",
    "latchstring-server",
    "latchstring-sandbox",
    "latchstring",
];

const WALLS: &[Wall] = &[
    Wall {
        from: &["latchstring-model", "latchstring-schemes", "latchstring-connectors", "latchstring-vault"],
        never: &["tokio", "hyper", "axum", "sqlx", "sqlx-core", "mio", "socket2"],
        any_depth: true,
        why: "sans-IO: what goes on the wire and what is sealed is decided without a socket, a runtime or a database",
    },
    Wall {
        from: &["latchstring-store"],
        never: &["latchstring-vault", "latchstring-schemes", "latchstring-connectors"],
        any_depth: true,
        why: "the store returns sealed bytes and cannot open them",
    },
    Wall {
        from: &["latchstring-egress"],
        never: &[
            "latchstring-store",
            "latchstring-vault",
            "latchstring-schemes",
            "latchstring-connectors",
            "sqlx",
            "axum",
        ],
        any_depth: true,
        why: "the way out knows addresses and tickets, not what is stored",
    },
    Wall {
        from: &["latchstring-server", "latchstring-gateway"],
        never: &[
            "latchstring-store",
            "latchstring-vault",
            "latchstring-egress",
            "latchstring-schemes",
            "latchstring-connectors",
            "sqlx",
        ],
        any_depth: false,
        why: "the outer faces translate and decide nothing: everything goes through the broker",
    },
    Wall {
        from: &["latchstring-gateway"],
        never: &["axum", "askama"],
        any_depth: false,
        why: "what callers reach stays small: hyper alone, no pages",
    },
    Wall {
        from: &["latchstring-journal"],
        never: &[
            "latchstring-store",
            "latchstring-vault",
            "latchstring-schemes",
            "latchstring-connectors",
            "sqlx",
            "hyper",
        ],
        any_depth: true,
        why: "the journal must be writable when everything else is down",
    },
    Wall {
        from: &["latchstring-sandbox"],
        never: &[
            "latchstring-schemes",
            "latchstring-connectors",
            "latchstring-vault",
            "latchstring-egress",
            "latchstring-store",
            "latchstring-journal",
            "latchstring-broker",
        ],
        any_depth: true,
        why: "the sandbox is the independent other side: it must not check our signatures with our own code",
    },
    Wall {
        from: OURS,
        never: &["latchstring-testkit", "xtask", "reqwest", "openssl", "native-tls", "ring", "rsa"],
        any_depth: true,
        why: "test code stays out of the program; one cryptography library and one client",
    },
];

pub fn reasons() -> impl Iterator<Item = (String, &'static str)> {
    WALLS.iter().map(|wall| {
        let depth = if wall.any_depth { "does not reach" } else { "does not itself name" };
        (format!("{} {depth} {}", wall.from.join(", "), wall.never.join(", ")), wall.why)
    })
}

pub fn metadata(root: &Path) -> Done<Value> {
    let mut command = cargo(root);
    let text = run::output(locked(command.arg("metadata")).args(["--format-version", "1"]))?;
    serde_json::from_str(&text).map_err(|e| format!("cargo metadata: {e}"))
}

/// The names of the workspace's packages.
pub fn members(metadata: &Value) -> Vec<String> {
    let graph = Graph::read(metadata);
    let ids = metadata["workspace_members"].as_array().into_iter().flatten().filter_map(Value::as_str);
    ids.filter_map(|id| graph.names.get(id).map(|name| (*name).to_owned())).collect()
}

/// Every wall that has a hole, with the way through it.
pub fn broken(metadata: &Value) -> Done<Vec<String>> {
    let graph = Graph::read(metadata);
    let mut found = Vec::new();
    for wall in WALLS {
        for from in wall.from {
            let id = graph
                .id(from)
                .ok_or_else(|| format!("no crate `{from}` in the workspace; correct xtask's WALLS"))?;
            for way in graph.reached(id, wall.any_depth) {
                let Some(last) = way.last() else { continue };
                if wall.never.contains(last) {
                    found.push(format!("dependency {}: {}", way.join(" → "), wall.why));
                }
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

struct Graph<'a> {
    names: BTreeMap<&'a str, &'a str>,
    normal: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Graph<'a> {
    fn read(metadata: &'a Value) -> Self {
        let list = |value: &'a Value| value.as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |value: &'a Value| value.as_str().unwrap_or_default();
        let names = list(&metadata["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
        let normal = list(&metadata["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let deps = list(&node["deps"]).iter().filter(|dep| {
                    // The kind of a normal dependency is null; the others are "dev" and "build".
                    list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null())
                });
                (text(&node["id"]), deps.map(|dep| text(&dep["pkg"])).collect())
            })
            .collect();
        Self { names, normal }
    }

    fn id(&self, name: &str) -> Option<&'a str> {
        self.names.iter().find(|(_, known)| **known == name).map(|(id, _)| *id)
    }

    /// The shortest way, as names, to each package that can be reached.
    fn reached(&self, start: &'a str, any_depth: bool) -> Vec<Vec<&'a str>> {
        let mut seen = BTreeSet::from([start]);
        let mut queue = VecDeque::from([(start, vec![self.names.get(start).copied().unwrap_or(start)])]);
        let mut ways = Vec::new();
        while let Some((id, way)) = queue.pop_front() {
            for next in self.normal.get(id).into_iter().flatten() {
                if !seen.insert(next) {
                    continue;
                }
                let mut longer = way.clone();
                longer.push(self.names.get(next).copied().unwrap_or(next));
                ways.push(longer.clone());
                if any_depth {
                    queue.push_back((next, longer));
                }
            }
        }
        ways
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A workspace of our crates without edges, plus those given as (from, to, kind).
    fn workspace(edges: &[(&str, &str, Option<&str>)]) -> Value {
        let mut names: BTreeSet<&str> = OURS.iter().copied().collect();
        names.extend(edges.iter().flat_map(|(from, to, _)| [*from, *to]));
        let nodes: Vec<Value> = names
            .iter()
            .map(|name| {
                let deps: Vec<Value> = edges
                    .iter()
                    .filter(|(from, ..)| from == name)
                    .map(|(_, to, kind)| json!({"pkg": to, "dep_kinds": [{"kind": kind}]}))
                    .collect();
                json!({"id": name, "deps": deps})
            })
            .collect();
        let packages: Vec<Value> = names.iter().map(|name| json!({"id": name, "name": name})).collect();
        json!({"packages": packages, "workspace_members": OURS, "resolve": {"nodes": nodes}})
    }

    #[test]
    fn a_house_without_edges_is_clean() {
        assert_eq!(broken(&workspace(&[])).unwrap(), Vec::<String>::new());
        assert_eq!(members(&workspace(&[])).len(), OURS.len());
    }

    #[test]
    fn every_wall_is_seen_when_it_has_a_hole() {
        for wall in WALLS {
            for from in wall.from {
                for never in wall.never {
                    let found = broken(&workspace(&[(from, never, None)])).unwrap();
                    assert!(found.iter().any(|text| text.contains(wall.why)), "{from} → {never}");
                }
            }
        }
    }

    #[test]
    fn the_long_way_round_is_found_and_shown() {
        let found =
            broken(&workspace(&[("latchstring-vault", "helper", None), ("helper", "tokio", None)])).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("dependency latchstring-vault → helper → tokio: "), "{}", found[0]);
        // The server may reach the store, but only through the broker.
        let through = [
            ("latchstring-server", "latchstring-broker", None),
            ("latchstring-broker", "latchstring-store", None),
        ];
        assert!(broken(&workspace(&through)).unwrap().is_empty());
    }

    #[test]
    fn dev_and_build_dependencies_are_free() {
        let edges = [
            ("latchstring-model", "tokio", Some("dev")),
            ("latchstring-vault", "sqlx", Some("build")),
            ("latchstring", "latchstring-testkit", Some("dev")),
        ];
        assert!(broken(&workspace(&edges)).unwrap().is_empty());
    }
}
