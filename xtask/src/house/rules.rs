//! Words that must not stand in sources, one table: what, where, and why. Each rule carries a planted
//! violation and something that looks like one and is fine; the tests below run both.

use super::source::{Source, find_words};
use super::words;

/// What a rule looks for.
enum Look {
    /// Whole words in code, also where a `use` spells them in a group.
    Code(&'static [&'static str]),
    /// In the text of string literals.
    Strings(fn(&str) -> bool),
    /// In any line of any file, comments and documents included.
    Anywhere(&'static [&'static str]),
    /// `#[ignore]`, but for a test that another one starts as its child process.
    Ignored,
    /// More lines than this in a file of code.
    Lines(usize),
    /// The file itself, by the end of its name.
    Named(&'static str),
    /// Words for people ([`words`]).
    Words,
}

struct Rule {
    name: &'static str,
    why: &'static str,
    look: Look,
    /// Path prefixes where the rule holds; empty is everywhere.
    within: &'static [&'static str],
    /// Path prefixes where it does not.
    except: &'static [&'static str],
    /// Whether it holds in tests too.
    in_tests: bool,
    /// A path and text that break it, and ones that do not.
    #[cfg(test)]
    planted: &'static [(&'static str, &'static str)],
    #[cfg(test)]
    innocent: &'static [(&'static str, &'static str)],
}

const SANS_IO: &[&str] =
    &["crates/model/src/", "crates/schemes/src/", "crates/connectors/src/", "crates/vault/src/"];
/// Longest source file: beyond it, it holds more than one thing.
const MOST_LINES: usize = 900;

const RULES: &[Rule] = &[
    Rule {
        name: "SQL stays in the store",
        why: "one place to see every statement, to run it on both databases and to check its tenant",
        look: Look::Strings(looks_like_sql),
        within: &["crates/"],
        except: &["crates/store/", "crates/testkit/src/postgres.rs"],
        in_tests: false,
        #[cfg(test)]
        planted: &[
            ("crates/broker/src/a.rs", "const Q: &str = \"SELECT id FROM users\";"),
            ("crates/server/src/a.rs", "q(r#\"\n  UPDATE users\n  SET name = $1\"#)"),
            ("crates/broker/src/a.rs", "q(\"delete from users\".to_owned() + \"DELETE FROM users\")"),
        ],
        #[cfg(test)]
        innocent: &[
            ("crates/store/src/a.rs", "const Q: &str = \"SELECT id FROM users\";"),
            ("crates/broker/src/a.rs", "// SELECT id FROM users\nlet a = \"UPDATE it, please\";"),
            (
                "crates/broker/src/a.rs",
                "#[cfg(test)]\nmod tests { const Q: &str = \"SELECT id FROM users\"; }",
            ),
        ],
    },
    Rule {
        name: "sqlx stays in the store",
        why: "nothing else may hold a database connection",
        look: Look::Code(&["sqlx"]),
        within: &["crates/"],
        except: &["crates/store/", "crates/testkit/src/postgres.rs"],
        in_tests: true,
        #[cfg(test)]
        planted: &[("crates/broker/src/a.rs", "use sqlx::Row;")],
        #[cfg(test)]
        innocent: &[
            ("crates/store/src/a.rs", "use sqlx::Row;"),
            ("crates/broker/src/a.rs", "/// Not sqlx::Row.\nfn a() {}"),
        ],
    },
    Rule {
        name: "sans-IO crates touch no system",
        why: "what goes on the wire must follow from its inputs alone, so that it can be tested, fuzzed and replayed",
        look: Look::Code(&[
            "std::env",
            "std::fs",
            "std::process",
            "std::thread",
            "std::io::stdin",
            "std::net::TcpStream",
            "std::net::TcpListener",
            "std::net::UdpSocket",
            "std::net::ToSocketAddrs",
            "env::var",
            "env::vars",
            "fs::read",
            "fs::write",
            "fs::read_to_string",
            "File::open",
            "File::create",
        ]),
        within: SANS_IO,
        except: &[],
        in_tests: false,
        #[cfg(test)]
        planted: &[
            ("crates/schemes/src/a.rs", "let a = std::env::var(\"HOME\");"),
            ("crates/vault/src/a.rs", "use std::{fmt, fs};"),
            ("crates/connectors/src/a.rs", "use std::{io, net::{IpAddr, TcpStream}};"),
        ],
        #[cfg(test)]
        innocent: &[
            (
                "crates/connectors/src/a.rs",
                "use std::net::IpAddr; const A: &str = env!(\"CARGO_PKG_VERSION\");",
            ),
            ("crates/schemes/src/a.rs", "#[cfg(test)]\nmod tests { use std::fs; }"),
            ("crates/connectors/build.rs", "use std::fs;"),
            ("crates/egress/src/a.rs", "use std::fs;"),
        ],
    },
    Rule {
        name: "sans-IO crates have no clock",
        why: "`now` is a parameter there",
        look: Look::Code(&["SystemTime::now", "Instant::now", "now_utc", "now_local", "UNIX_EPOCH.elapsed"]),
        within: SANS_IO,
        except: &[],
        in_tests: true,
        #[cfg(test)]
        planted: &[
            ("crates/schemes/src/a.rs", "let t = std::time::Instant::now();"),
            ("crates/vault/src/a.rs", "let t = OffsetDateTime::now_utc();"),
        ],
        #[cfg(test)]
        innocent: &[("crates/schemes/src/a.rs", "fn sign(now: Timestamp) { let d = \"Instant::now\"; }")],
    },
    Rule {
        name: "sans-IO crates have no randomness of their own",
        why: "random bytes come in as `&dyn Entropy`; only the signing library may salt its own signatures",
        look: Look::Code(&[
            "getrandom",
            "rand::fill",
            "rand::generate",
            "rand::random",
            "rand::rng",
            "thread_rng",
            "OsRng",
            "fastrand",
        ]),
        within: SANS_IO,
        except: &[],
        in_tests: false,
        #[cfg(test)]
        planted: &[
            ("crates/schemes/src/a.rs", "getrandom::fill(&mut bytes);"),
            ("crates/vault/src/a.rs", "aws_lc_rs::rand::fill(&mut nonce)?;"),
        ],
        #[cfg(test)]
        innocent: &[(
            "crates/schemes/src/a.rs",
            "let rng = aws_lc_rs::rand::SystemRandom::new(); key.sign(&rng, m)",
        )],
    },
    Rule {
        name: "the way out is egress",
        why: "an address is filtered where it is dialled: a second dialler would go round the filter",
        look: Look::Code(&[
            "TcpStream::connect",
            "TcpSocket",
            "lookup_host",
            "ToSocketAddrs",
            "to_socket_addrs",
            "UdpSocket",
            "UnixStream::connect",
            "HttpConnector",
            "hyper_util::client",
        ]),
        within: &["crates/"],
        except: &["crates/egress/", "crates/testkit/"],
        in_tests: false,
        #[cfg(test)]
        planted: &[
            ("crates/broker/src/a.rs", "let s = tokio::net::TcpStream::connect(a).await?;"),
            ("crates/gateway/src/a.rs", "use tokio::net::{lookup_host, TcpListener};"),
            ("crates/latchstring/src/a.rs", "use std::net::{IpAddr, UdpSocket};"),
        ],
        #[cfg(test)]
        innocent: &[
            ("crates/egress/src/a.rs", "TcpStream::connect(a)"),
            ("crates/gateway/src/a.rs", "use tokio::net::{TcpListener, TcpStream};"),
            ("crates/gateway/tests/it/main.rs", "TcpStream::connect(a)"),
        ],
    },
    Rule {
        name: "one clock",
        why: "time is a parameter everywhere, so that tests can set it; the binary owns the only real clock",
        look: Look::Code(&["SystemTime::now", "now_utc", "now_local"]),
        within: &["crates/"],
        except: &["crates/latchstring/src/clock.rs", "crates/testkit/"],
        in_tests: false,
        #[cfg(test)]
        planted: &[
            ("crates/broker/src/a.rs", "let t = SystemTime::now();"),
            ("crates/latchstring/src/main.rs", "time::OffsetDateTime::now_utc()"),
        ],
        #[cfg(test)]
        innocent: &[
            ("crates/latchstring/src/clock.rs", "SystemTime::now()"),
            ("crates/egress/src/a.rs", "let took = Instant::now() - start;"),
        ],
    },
    Rule {
        name: "settings come from the binary",
        why: "an environment variable read in the depths is a setting that nobody documents, checks or sees",
        look: Look::Code(&["env::var", "env::var_os", "env::vars", "env::vars_os", "env::args"]),
        within: &["crates/"],
        except: &["crates/latchstring/", "crates/testkit/"],
        in_tests: false,
        #[cfg(test)]
        planted: &[
            ("crates/egress/src/a.rs", "let proxy = std::env::var(\"HTTPS_PROXY\");"),
            ("crates/broker/src/a.rs", "use std::env::{temp_dir, var_os};"),
        ],
        #[cfg(test)]
        innocent: &[
            ("crates/latchstring/src/settings.rs", "std::env::vars()"),
            ("crates/server/src/a.rs", "let v = env!(\"CARGO_PKG_VERSION\"); std::env::temp_dir()"),
            ("crates/broker/tests/it/main.rs", "std::env::var(\"LATCHSTRING_TEST_LONG\")"),
        ],
    },
    Rule {
        name: "only authorise mints an OpenTicket",
        why: "no value is opened for a caller who was not let in",
        look: Look::Code(&["OpenTicket::mint"]),
        within: &["crates/"],
        except: &["crates/broker/src/road/authorise.rs"],
        in_tests: false,
        #[cfg(test)]
        planted: &[("crates/broker/src/tokens/a.rs", "vault.open(&OpenTicket::mint(), &aad, s)")],
        #[cfg(test)]
        innocent: &[
            ("crates/broker/src/road/authorise.rs", "OpenTicket::mint()"),
            ("crates/vault/src/a.rs", "#[cfg(test)]\nmod tests { fn a() { OpenTicket::mint(); } }"),
        ],
    },
    Rule {
        name: "only record mints a CallTicket",
        why: "no secret leaves before its intent is in the journal",
        look: Look::Code(&["CallTicket::mint"]),
        within: &["crates/"],
        except: &["crates/broker/src/road/record.rs"],
        in_tests: false,
        #[cfg(test)]
        planted: &[("crates/broker/src/road/forward.rs", "let t = CallTicket::mint(id, None, pins);")],
        #[cfg(test)]
        innocent: &[("crates/egress/tests/it/main.rs", "CallTicket::mint(id, None, pins)")],
    },
    Rule {
        name: "tickets are named as they are",
        why: "an alias would hide `mint` from the two rules above",
        look: Look::Code(&["OpenTicket as", "CallTicket as"]),
        within: &["crates/"],
        except: &[],
        in_tests: true,
        #[cfg(test)]
        planted: &[("crates/broker/src/a.rs", "use latchstring_model::CallTicket as T;")],
        #[cfg(test)]
        innocent: &[("crates/broker/src/a.rs", "use latchstring_model::{CallTicket, OpenTicket};")],
    },
    Rule {
        name: "outer faces open no secret",
        why: "the server and the gateway hand secrets over to the broker; they never read one",
        look: Look::Code(&[".expose()"]),
        within: &["crates/server/", "crates/gateway/"],
        except: &[],
        in_tests: false,
        #[cfg(test)]
        planted: &[("crates/server/src/a.rs", "let text = secret.expose();")],
        #[cfg(test)]
        innocent: &[
            ("crates/broker/src/a.rs", "secret.expose()"),
            ("crates/server/src/a.rs", "// never .expose()\nexposed();"),
        ],
    },
    Rule {
        name: "no printing from the depths",
        why: "logs go through tracing, where secrets are kept out and operators can filter; only commands talk to a terminal",
        look: Look::Code(&["println!", "eprintln!", "print!", "eprint!", "dbg!"]),
        within: &["crates/"],
        except: &["crates/latchstring/src/"],
        in_tests: false,
        #[cfg(test)]
        planted: &[("crates/store/src/a.rs", "println!(\"{row}\");"), ("crates/broker/src/a.rs", "dbg!(x);")],
        #[cfg(test)]
        innocent: &[
            ("crates/latchstring/src/commands/a.rs", "println!(\"{key}\");"),
            ("crates/store/src/a.rs", "writeln!(out, \"println!\")"),
        ],
    },
    Rule {
        name: "words of the pages stand with the texts",
        why: "who translates finds all of them in crates/server/src/texts, and the compiler finds what is missing; a \
              script takes its words from the page",
        look: Look::Words,
        within: &["crates/server/templates/", "crates/server/src/pages/", "crates/server/assets/js/"],
        // For pages of others: it throws errors, and what people read there is theirs.
        except: &["crates/server/assets/js/connect.js"],
        in_tests: false,
        #[cfg(test)]
        planted: &[
            ("crates/server/templates/a.html", "<p>Saved</p>"),
            ("crates/server/templates/a.html", "<button aria-label=\"Close {{ name }}\"></button>"),
            ("crates/server/templates/a.html", "{{ f.note(\"It is saved\") }}"),
            ("crates/server/templates/a.html", "<input type=\"submit\" value=\"Save\">"),
            ("crates/server/src/pages/a.rs", "Field::text(t, \"name\", \"Name\")"),
            ("crates/server/src/pages/a.rs", "format!(\"{took} ms\")"),
            ("crates/server/src/pages/a.rs", "let a = \"it is saved\";"),
            ("crates/server/assets/js/a.js", "say(\"It is saved\");"),
            ("crates/server/assets/js/a.js", "say(`Removed ${tag}`);"),
        ],
        #[cfg(test)]
        innocent: &[
            (
                "crates/server/templates/a.html",
                "<p class=\"soft small\" title=\"{{ f.t.a }}\">{{ f.icon(\"bell\") }} · {{ f.t.b }}</p>",
            ),
            (
                "crates/server/src/pages/a.rs",
                "// A word.\nlet a = (\"name\", format!(\"/projects/{slug}\"));",
            ),
            ("crates/server/src/pages/a.rs", "tracing::error!(%error, \"a page could not be drawn\");"),
            ("crates/server/src/pages/a.rs", "#[cfg(test)]\nmod tests { const A: &str = \"it is saved\"; }"),
            (
                "crates/server/assets/js/a.js",
                "if (event.key === \"Enter\") form.querySelectorAll(\"input, select, textarea\"); // In words.",
            ),
            ("crates/server/assets/js/connect.js", "throw new TypeError(\"It is not saved\");"),
            ("crates/server/src/texts/a.rs", "saved: \"It is saved.\","),
        ],
    },
    Rule {
        name: "nothing is left for later",
        why: "a stub that compiles looks finished",
        look: Look::Code(&["todo!", "unimplemented!"]),
        within: &[],
        except: &[],
        in_tests: true,
        #[cfg(test)]
        planted: &[
            ("crates/store/src/a.rs", "fn a() { todo!() }"),
            ("crates/store/tests/it/a.rs", "unimplemented!()"),
        ],
        #[cfg(test)]
        innocent: &[("crates/store/src/a.rs", "// todo!()\nlet a = \"todo!\";")],
    },
    Rule {
        name: "no test is switched off",
        why: "a test that does not run proves nothing; what is too long for every day asks the test kit's `long()`, \
              and only a test's own child process may say `#[ignore = \"the child of that_test\"]`",
        look: Look::Ignored,
        within: &[],
        except: &[],
        in_tests: true,
        #[cfg(test)]
        planted: &[
            ("crates/store/src/a.rs", "#[test]\n#[ignore]\nfn a() {}"),
            ("crates/store/tests/it/a.rs", "#[ignore = \"slow\"]\nfn a() {}"),
            ("crates/store/tests/it/a.rs", "#[ignore = \"the child of nobody\"]\nfn a() {}"),
        ],
        #[cfg(test)]
        innocent: &[
            ("crates/store/src/a.rs", "/// Not #[ignore].\nfn ignore() {}"),
            (
                "crates/store/tests/it/a.rs",
                "fn a() { spawn() }\n#[test]\n#[ignore = \"the child of a\"]\nfn b() {}",
            ),
        ],
    },
    Rule {
        name: "lints are not switched off where they guard",
        why: "clippy.toml bans a method for a reason; an exception belongs into this table",
        look: Look::Code(&["clippy::disallowed_methods", "clippy::disallowed_types"]),
        within: &["crates/"],
        // Egress asks the kernel about addresses with a socket; the test kit is a dialler by trade.
        except: &["crates/latchstring/src/clock.rs", "crates/egress/", "crates/testkit/"],
        in_tests: false,
        #[cfg(test)]
        planted: &[("crates/broker/src/a.rs", "#[allow(clippy::disallowed_methods)]\nfn a() {}")],
        #[cfg(test)]
        innocent: &[(
            "crates/latchstring/src/clock.rs",
            "#[expect(clippy::disallowed_methods, reason = \"the clock\")]",
        )],
    },
    Rule {
        name: "files stay small",
        why: "a file of more than 900 lines holds more than the feature it is named after",
        look: Look::Lines(MOST_LINES),
        within: &[],
        except: &[],
        in_tests: true,
        #[cfg(test)]
        planted: &[],
        #[cfg(test)]
        innocent: &[("crates/store/src/a.rs", "fn a() {}\n")],
    },
    Rule {
        name: "no path of one machine",
        why: "the repository must work wherever it is cloned",
        look: Look::Anywhere(&[concat!("/wo", "rk/"), concat!("/ro", "ot/")]),
        within: &[],
        except: &[],
        in_tests: true,
        #[cfg(test)]
        planted: &[
            ("docs/a.md", concat!("see /wo", "rk/main/x")),
            ("crates/store/tests/it/a.rs", concat!("// in /ro", "ot/.cache")),
        ],
        #[cfg(test)]
        innocent: &[(
            "docs/a.md",
            concat!("GET https://api.example.com/wo", "rk/items and teamwo", "rk/play"),
        )],
    },
    Rule {
        name: "no registry host",
        why: "where packages come from is the setting of whoever builds",
        look: Look::Anywhere(&[
            concat!("registry.npm", "js.org"),
            concat!("registry.yarn", "pkg.com"),
            concat!("pypi.", "org"),
            concat!("files.python", "hosted.org"),
            concat!("static.crates", ".io"),
            concat!("index.crates", ".io"),
            concat!("deb.debian", ".org"),
            concat!("proxy.golang", ".org"),
        ]),
        within: &[],
        except: &[],
        in_tests: true,
        #[cfg(test)]
        planted: &[(
            "tests/e2e/package-lock.json",
            concat!("\"resolved\": \"https://registry.npm", "js.org/jose\""),
        )],
        #[cfg(test)]
        innocent: &[("README.md", "from npm and PyPI")],
    },
    Rule {
        name: "no pending snapshot",
        why: "an outward text that changed is looked at and accepted, or it is a mistake",
        look: Look::Named(".snap.new"),
        within: &[],
        except: &[],
        in_tests: true,
        #[cfg(test)]
        planted: &[("crates/server/tests/it/snapshots/a.snap.new", "x")],
        #[cfg(test)]
        innocent: &[("crates/server/tests/it/snapshots/a.snap", "x")],
    },
];

/// Statements as this house writes them: keywords in capitals.
fn looks_like_sql(text: &str) -> bool {
    let has = |word: &str| find_words(text, word).next().is_some();
    (has("SELECT") && has("FROM"))
        || has("INSERT INTO")
        || has("DELETE FROM")
        || (has("UPDATE") && has("SET"))
        || has("CREATE TABLE")
        || text.trim_start().starts_with("SELECT ")
}

pub fn reasons() -> impl Iterator<Item = (String, &'static str)> {
    RULES.iter().map(|rule| (rule.name.to_owned(), rule.why))
}

/// Every breach in one file, as `path:line: rule: reason`.
pub fn findings(path: &str, text: &str) -> Vec<String> {
    let source = path.ends_with(".rs").then(|| Source::read(path, text));
    let mut found = Vec::new();
    for rule in RULES.iter().filter(|rule| rule.holds_at(path)) {
        let mut places = rule.places(path, text, source.as_ref());
        if !rule.in_tests {
            places.retain(|at| !source.as_ref().is_some_and(|source| source.in_tests(*at)));
        }
        let mut lines: Vec<usize> = places.into_iter().map(|at| line_of(text, at)).collect();
        lines.sort_unstable();
        lines.dedup();
        found.extend(lines.into_iter().map(|line| format!("{path}:{line}: {}: {}", rule.name, rule.why)));
    }
    found
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

impl Rule {
    fn holds_at(&self, path: &str) -> bool {
        let under = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
        (self.within.is_empty() || under(self.within)) && !under(self.except)
    }

    fn places(&self, path: &str, text: &str, source: Option<&Source>) -> Vec<usize> {
        match &self.look {
            Look::Code(words) => source.map(|source| code_places(source, words)).unwrap_or_default(),
            Look::Strings(bad) => {
                let strings = source.map(|source| source.strings.as_slice()).unwrap_or_default();
                strings.iter().filter(|(_, string)| bad(string)).map(|(at, _)| *at).collect()
            }
            // The lock file names the index by design.
            Look::Anywhere(_) if path == "Cargo.lock" => Vec::new(),
            Look::Anywhere(words) => words.iter().flat_map(|word| anywhere(text, word)).collect(),
            Look::Words => words::places(path, text, source),
            Look::Ignored => source.map(|source| ignored(source, text)).unwrap_or_default(),
            Look::Named(ending) => {
                if path.ends_with(ending) {
                    vec![0]
                } else {
                    Vec::new()
                }
            }
            Look::Lines(most) => {
                let code = [".rs", ".mjs", ".js", ".py", ".sh"].iter().any(|ending| path.ends_with(ending));
                if code && text.lines().count() > *most { vec![text.len()] } else { Vec::new() }
            }
        }
    }
}

fn code_places(source: &Source, words: &[&str]) -> Vec<usize> {
    let mut places = Vec::new();
    for word in words {
        places.extend(find_words(&source.code, word));
        places.extend(
            source.uses.iter().filter(|(_, path)| find_words(path, word).next().is_some()).map(|(at, _)| *at),
        );
    }
    places
}

/// Where a test is ignored without being the child of another test in the same file.
fn ignored(source: &Source, text: &str) -> Vec<usize> {
    let is_child = |at: &usize| {
        let reason = text.get(*at..).and_then(|rest| rest.strip_prefix("#[ignore = \"the child of "));
        let parent = reason.and_then(|rest| rest.split('"').next());
        parent.is_some_and(|name| find_words(&source.code, &format!("fn {name}(")).next().is_some())
    };
    find_words(&source.code, "#[ignore").filter(|at| !is_child(at)).collect()
}

/// A word that begins with `/` must not be the middle of a longer path or URL.
fn anywhere<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = text[..*at].chars().next_back();
        !word.starts_with('/') || !before.is_some_and(|c| c.is_alphanumeric() || "._-~}>$*)".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaks(rule: &Rule, path: &str, text: &str) -> bool {
        let needle = format!(": {}: ", rule.name);
        findings(path, text).iter().any(|finding| finding.contains(&needle))
    }

    #[test]
    fn every_planted_violation_is_found() {
        for rule in RULES {
            for (path, text) in rule.planted {
                assert!(breaks(rule, path, text), "{}: not found in {path}: {text}", rule.name);
            }
            assert!(
                !rule.planted.is_empty() || matches!(rule.look, Look::Lines(_)),
                "{} plants nothing",
                rule.name
            );
        }
    }

    #[test]
    fn what_only_looks_like_it_is_left_alone() {
        for rule in RULES {
            for (path, text) in rule.innocent {
                assert!(!breaks(rule, path, text), "{}: found in {path}: {text}", rule.name);
            }
            assert!(!rule.innocent.is_empty(), "{} has nothing innocent", rule.name);
        }
    }

    #[test]
    fn the_place_is_named() {
        let found = findings("crates/broker/src/a.rs", "fn a() {}\n\nfn b() { todo!() }\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("crates/broker/src/a.rs:3: "), "{}", found[0]);
    }

    #[test]
    fn a_long_file_is_found() {
        let line = "// one\n";
        assert!(findings("crates/store/src/a.rs", &line.repeat(MOST_LINES)).is_empty());
        assert_eq!(findings("crates/store/src/a.rs", &line.repeat(MOST_LINES + 1)).len(), 1);
        assert!(findings("docs/long.md", &line.repeat(MOST_LINES + 1)).is_empty());
    }
}
