//! Which crate may reach which: read from the graph that cargo resolved, dev-dependencies left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

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

/// What cargo really activates, as `cargo tree` prints it. (`cargo metadata` also lists what an
/// optional feature would bring if something else asked for it.)
pub fn tree(root: &Path) -> Done<String> {
    let mut command = cargo(root);
    locked(command.arg("tree"));
    command.args([
        "--workspace",
        "--edges",
        "normal",
        "--prefix",
        "depth",
        "--target",
        "all",
        "--format",
        "{p}",
    ]);
    run::output(&mut command)
}

/// The names of the workspace's packages.
pub fn members(tree: &str) -> Vec<String> {
    Graph::read(tree).roots.into_iter().map(str::to_owned).collect()
}

/// Every wall that has a hole, with the way through it.
pub fn broken(tree: &str) -> Done<Vec<String>> {
    let graph = Graph::read(tree);
    let mut found = Vec::new();
    for wall in WALLS {
        for from in wall.from {
            if !graph.roots.contains(from) {
                return Err(format!("no crate `{from}` in the workspace; correct WALLS in {}", file!()));
            }
            for way in graph.ways(from, wall.any_depth) {
                if way.last().is_some_and(|last| wall.never.contains(last)) {
                    found.push(format!("dependency {}: {}", way.join(" → "), wall.why));
                }
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Who names whom. Two versions of a package are one here: a wall is about the name.
struct Graph<'a> {
    roots: BTreeSet<&'a str>,
    edges: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Graph<'a> {
    /// Reads lines such as `2tokio v1.48.0 (*)`: the depth, then the package.
    fn read(tree: &'a str) -> Self {
        let mut graph = Self { roots: BTreeSet::new(), edges: BTreeMap::new() };
        let mut above: Vec<&str> = Vec::new();
        for line in tree.lines() {
            let digits = line.bytes().take_while(u8::is_ascii_digit).count();
            let (depth, package) = line.split_at(digits);
            let (Ok(depth), Some(name)) = (depth.parse::<usize>(), package.split_whitespace().next()) else {
                continue;
            };
            above.truncate(depth);
            match above.last() {
                // What a macro needs runs in the compiler, not in the program.
                Some(from) if !from.is_empty() => {
                    graph.edges.entry(from).or_default().insert(name);
                }
                Some(_) => {}
                None => {
                    graph.roots.insert(name);
                }
            }
            above.push(if package.contains("(proc-macro)") { "" } else { name });
        }
        graph
    }

    /// The shortest way to each package that can be reached.
    fn ways(&self, start: &'a str, any_depth: bool) -> Vec<Vec<&'a str>> {
        let mut seen = BTreeSet::from([start]);
        let mut queue = VecDeque::from([vec![start]]);
        let mut ways = Vec::new();
        while let Some(way) = queue.pop_front() {
            let next = way.last().and_then(|last| self.edges.get(last));
            for name in next.into_iter().flatten().filter(|name| seen.insert(name)) {
                let mut longer = way.clone();
                longer.push(name);
                if any_depth {
                    queue.push_back(longer.clone());
                }
                ways.push(longer);
            }
        }
        ways
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace of our crates without edges, plus one way into the depth.
    fn workspace(way: &[&str]) -> String {
        let mut tree: String = OURS.iter().map(|name| format!("0{name} v0.1.0 (/somewhere)\n")).collect();
        for (depth, name) in way.iter().enumerate() {
            tree.push_str(&format!("{depth}{name} v1.2.3\n"));
        }
        tree
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
                    let found = broken(&workspace(&[from, never])).unwrap();
                    assert!(found.iter().any(|text| text.contains(wall.why)), "{from} → {never}");
                }
            }
        }
    }

    #[test]
    fn the_long_way_round_is_found_and_shown() {
        let found = broken(&workspace(&["latchstring-vault", "helper", "tokio"])).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("dependency latchstring-vault → helper → tokio: "), "{}", found[0]);
        // The server may reach the store, but only through the broker.
        let through = ["latchstring-server", "latchstring-broker", "latchstring-store"];
        assert!(broken(&workspace(&through)).unwrap().is_empty());
    }

    #[test]
    fn siblings_are_not_taken_for_children() {
        let tree = workspace(&[])
            + "0latchstring-model v0.1.0\n1serde v1.0.0\n2serde_core v1.0.0\n1url v2.0.0\n0latchstring-egress v0.1.0\n1tokio v1.0.0\n";
        assert!(broken(&tree).unwrap().is_empty());
    }

    #[test]
    fn what_a_macro_needs_is_free() {
        let tree = workspace(&[]) + "0latchstring-model v0.1.0\n1derive v1.0.0 (proc-macro)\n2tokio v1.0.0\n";
        assert!(broken(&tree).unwrap().is_empty());
    }

    #[test]
    fn a_wall_around_nothing_is_an_error() {
        assert!(broken("0xtask v0.1.0\n").is_err());
    }
}
