//! The README's tour, run as it stands: the blocks behind `<!-- tour -->`, in one shell, against a fresh server
//! with a sandbox. A block can say what its output has to hold: `<!-- tour: text -->`. Guides in `docs/` go on from the
//! README's first block. After the tour the lines that the server printed at its start have to work, too.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

#[derive(Clone)]
struct Block {
    wanted: Option<String>,
    script: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(mark) = line.strip_prefix("<!-- tour").and_then(|rest| rest.strip_suffix(" -->")) else {
            continue;
        };
        assert_eq!(lines.next(), Some("```sh"), "a tour mark stands right above a sh block");
        let script: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(Block { wanted: mark.strip_prefix(": ").map(str::to_owned), script: script.join("\n") });
    }
    blocks
}

fn page(name: &str) -> Vec<Block> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    blocks(&std::fs::read_to_string(root.join(name)).unwrap())
}

#[test]
fn the_tour_of_the_readme_works_as_it_stands() {
    let blocks = page("README.md");
    assert!(blocks.len() >= 6, "the tour is there");
    run("readme", &blocks);
}

#[test]
fn the_guides_that_go_on_from_it_work_as_they_stand() {
    for (name, least) in [
        ("ownership", 5),
        ("keychains", 4),
        ("integration-users", 2),
        ("audit", 6),
        ("as-code", 4),
        ("import", 4),
    ] {
        let mut all: Vec<Block> = page("README.md").into_iter().take(1).collect();
        all.extend(page(&format!("docs/{name}.md")));
        assert!(all.len() > least, "docs/{name}.md has its blocks");
        run(name, &all);
    }
}

fn run(what: &str, blocks: &[Block]) {
    let folder = std::env::temp_dir().join(format!("latchstring-tour-{what}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_latchstring"));
    let mut server = Command::new(binary)
        .args(["serve", "--sandbox", "--listen", "127.0.0.1:0"])
        .current_dir(&folder)
        .env("LATCHSTRING_AUDIT_CHECKPOINTS", "checkpoints.jsonl")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut greeting = BufReader::new(server.stdout.take().unwrap()).lines();
    let (mut listen, mut printed) = (None, Vec::new());
    while let Some(Ok(line)) = greeting.next() {
        if let Some((what, url)) = line.split_once(" listens on ")
            && what.starts_with("Latchstring")
        {
            listen = Some(url.trim().to_owned());
        }
        if line.trim_start().starts_with("curl ") {
            printed.push(line.trim().to_owned());
            // The last line of the greeting.
            if line.contains("/proxy/") {
                break;
            }
        }
    }
    let listen = listen.unwrap();
    assert_eq!(printed.len(), 2, "{printed:?}");

    // A line between the blocks' outputs, so that each can be looked at alone.
    const CUT: &str = "-----the next block-----";
    let mut script = String::from("set -e\n");
    // Both of the keys that they name are made in the whole tour alone.
    let printed = printed.iter().filter(|_| what == "readme").map(|line| Block {
        wanted: Some("answered 200".to_owned()),
        script: format!("{line} -sS -w ' answered %{{http_code}}'"),
    });
    let blocks: Vec<Block> = blocks.iter().cloned().chain(printed).collect();
    for block in &blocks {
        let here = block
            .script
            .replace("http://127.0.0.1:5282", &listen)
            .replace("$PWD/target/release", &binary.parent().unwrap().display().to_string());
        script.push_str(&here);
        script.push_str(&format!("\necho '{CUT}'\n"));
    }
    let run = Command::new("bash").arg("-c").arg(&script).current_dir(&folder).output().unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();

    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{out}\n{err}");
    let outputs: Vec<&str> = out.split(CUT).collect();
    for (block, output) in blocks.iter().zip(outputs) {
        if let Some(wanted) = &block.wanted {
            assert!(
                output.contains(wanted.as_str()),
                "wanted {wanted} of\n{}\n{output}\n{err}",
                block.script
            );
        }
    }
}
