//! A Rust file taken apart as far as the rules need: code without comments and literals, the string
//! literals, the paths that `use` brings in, and which parts are tests.

use std::ops::Range;

pub struct Source {
    /// Same length and lines as the file; comments and the insides of literals are blanks.
    pub code: String,
    /// The insides of string literals, with where they begin.
    pub strings: Vec<(usize, String)>,
    /// Every path that a `use` names, groups written out: `use std::{fs, io};` is two.
    pub uses: Vec<(usize, String)>,
    tests: Vec<Range<usize>>,
}

impl Source {
    pub fn read(path: &str, text: &str) -> Self {
        let (code, strings) = split(text);
        let uses = uses(&code);
        let whole = is_test_file(path) || code.contains("#![cfg(test)]");
        let tests = if whole { std::iter::once(0..code.len()).collect() } else { test_regions(&code) };
        Self { code, strings, uses, tests }
    }

    pub fn in_tests(&self, at: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&at))
    }
}

/// Integration tests, benches, and modules that are tests by name.
fn is_test_file(path: &str) -> bool {
    let crate_tests = path.starts_with("crates/") && (path.contains("/tests/") || path.contains("/benches/"));
    crate_tests || path.starts_with("tests/") || path.ends_with("/tests.rs") || path.starts_with("fuzz/")
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Where `needle` stands as whole words.
pub fn find_words<'a>(text: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = text.as_bytes();
    let open_left = needle.bytes().next().is_some_and(is_word);
    let open_right = needle.bytes().last().is_some_and(is_word);
    text.match_indices(needle).map(|(at, _)| at).filter(move |at| {
        let end = at + needle.len();
        let left = !open_left || *at == 0 || !is_word(bytes[at - 1]);
        let right = !open_right || end == bytes.len() || !is_word(bytes[end]);
        left && right
    })
}

/// Blanks comments and literals, and collects the strings.
fn split(text: &str) -> (String, Vec<(usize, String)>) {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut strings = Vec::new();
    let blank = |code: &mut Vec<u8>, range: Range<usize>| {
        for byte in &mut code[range] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    };
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let after_word = at > 0 && is_word(bytes[at - 1]);
        if rest.starts_with(b"//") {
            let end = rest.iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| at + n);
            blank(&mut code, at..end);
            at = end;
        } else if rest.starts_with(b"/*") {
            let end = at + block_comment(rest);
            blank(&mut code, at..end);
            at = end;
        } else if let Some((open, hashes)) = raw_string(rest).filter(|_| !after_word) {
            let start = at + open;
            let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
            let end = find(&bytes[start..], &close).map_or(bytes.len(), |n| start + n);
            strings.push((start, text.get(start..end).unwrap_or_default().to_owned()));
            blank(&mut code, start..end);
            at = (end + close.len()).min(bytes.len());
        } else if rest[0] == b'"' {
            let start = at + 1;
            let end = start + plain_end(&bytes[start..], b'"');
            strings.push((start, text.get(start..end).unwrap_or_default().to_owned()));
            blank(&mut code, start..end);
            at = (end + 1).min(bytes.len());
        } else if rest[0] == b'\'' {
            match char_literal(text.get(at + 1..).unwrap_or_default()) {
                Some(length) => {
                    blank(&mut code, at + 1..at + 1 + length);
                    at += length + 2;
                }
                // A lifetime.
                None => at += 1,
            }
        } else {
            at += 1;
        }
    }
    (String::from_utf8(code).unwrap_or_default(), strings)
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle)
}

fn block_comment(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// `r"`, `br##"`, …: the length up to the quote, and the number of hashes.
fn raw_string(text: &[u8]) -> Option<(usize, usize)> {
    let prefix = if text.starts_with(b"r") {
        1
    } else if text.starts_with(b"br") || text.starts_with(b"cr") {
        2
    } else {
        return None;
    };
    let hashes = text[prefix..].iter().take_while(|b| **b == b'#').count();
    (text.get(prefix + hashes) == Some(&b'"')).then_some((prefix + hashes + 1, hashes))
}

fn plain_end(text: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < text.len() && text[at] != quote {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at.min(text.len())
}

/// The length of what stands between the quotes, if this is a character and not a lifetime.
fn char_literal(text: &str) -> Option<usize> {
    if text.starts_with('\\') {
        return Some(plain_end(text.as_bytes(), b'\''));
    }
    let first = text.chars().next()?;
    text[first.len_utf8()..].starts_with('\'').then_some(first.len_utf8())
}

/// The items under `#[cfg(test)]` or `#[test]`, from the attribute to the closing brace.
fn test_regions(code: &str) -> Vec<Range<usize>> {
    let bytes = code.as_bytes();
    let mut regions = Vec::new();
    for (at, _) in code.match_indices("#[") {
        let Some(close) = closing(bytes, at + 1) else { continue };
        let attribute: String = code[at + 2..close].split_whitespace().collect();
        let test = attribute == "test"
            || attribute == "cfg(test)"
            || attribute.starts_with("cfg(all(test")
            || attribute.starts_with("cfg(any(test")
            || attribute.starts_with("tokio::test");
        if !test {
            continue;
        }
        let mut end = close;
        while end < bytes.len() && bytes[end] != b'{' && bytes[end] != b';' {
            end = match bytes[end] {
                b'(' | b'[' => closing(bytes, end).map_or(bytes.len(), |n| n + 1),
                _ => end + 1,
            };
        }
        if end < bytes.len() && bytes[end] == b'{' {
            end = closing(bytes, end).unwrap_or(bytes.len());
        }
        regions.push(at..end);
    }
    regions
}

/// The bracket that closes the one at `open`.
pub fn closing(code: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0i32;
    for (at, byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn uses(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in find_words(code, "use") {
        let before = code[..at].trim_end();
        // `use` also stands in `impl Trait + use<'a>`.
        let statement =
            before.is_empty() || before.ends_with([';', '{', '}', ')', ']']) || before.ends_with("pub");
        let Some(length) = code[at..].find(';').filter(|_| statement) else { continue };
        expand("", &code[at + 3..at + length], at, &mut found);
    }
    found
}

/// `a::{b, c::{d as e, self}}` → `a::b`, `a::c::d`, `a::c`.
fn expand(prefix: &str, tree: &str, at: usize, found: &mut Vec<(usize, String)>) {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let head = format!("{prefix}{}", tree[..open].trim());
        let inner = tree[open + 1..].trim_end().strip_suffix('}').unwrap_or(&tree[open + 1..]);
        let (mut depth, mut start) = (0, 0);
        for (i, c) in inner.char_indices().chain(std::iter::once((inner.len(), ','))) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(&head, &inner[start..i], at, found);
                    start = i + 1;
                }
                _ => {}
            }
        }
    } else if !tree.is_empty() {
        let name = tree.split(" as ").next().unwrap_or(tree).trim();
        let path =
            if name == "self" { prefix.trim_end_matches("::").to_owned() } else { format!("{prefix}{name}") };
        found.push((at, path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        Source::read("crates/x/src/lib.rs", text).uses.into_iter().map(|(_, path)| path).collect()
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        let text = "let a = \"x // y \\\" z\"; // todo!()\n/* a /* b */ c */ let b = r#\"raw \" here\"#; let c = '\"'; let d: &'static str = b'\\'';";
        let source = Source::read("crates/x/src/lib.rs", text);
        assert_eq!(source.code.len(), text.len());
        assert!(!source.code.contains("todo") && !source.code.contains("raw") && !source.code.contains("y"));
        assert!(source.code.contains("&'static str"));
        let strings: Vec<&str> = source.strings.iter().map(|(_, s)| s.as_str()).collect();
        assert_eq!(strings, ["x // y \\\" z", "raw \" here"]);
    }

    #[test]
    fn groups_are_written_out() {
        assert_eq!(
            paths("use std::{fs, net::{TcpStream as T, self}, io::Read};\npub use a::b;"),
            ["std::fs", "std::net::TcpStream", "std::net", "std::io::Read", "a::b"]
        );
        assert_eq!(paths("fn f() -> impl Iterator + use<'_> { x; }"), Vec::<String>::new());
    }

    #[test]
    fn tests_are_told_apart() {
        let text = "fn a() { one }\n#[cfg(test)]\nmod tests { fn b() { two } }\nfn c() { three }\n#[tokio::test(flavor = \"x\")]\nasync fn d() { four }\n";
        let source = Source::read("crates/x/src/lib.rs", text);
        let at = |word: &str| source.in_tests(text.find(word).unwrap());
        assert_eq!(["one", "two", "three", "four"].map(at), [false, true, false, true]);
        assert!(Source::read("crates/x/tests/it/main.rs", "fn a() {}").in_tests(3));
    }

    #[test]
    fn only_whole_words_are_found() {
        assert_eq!(find_words("eprintln!(); println!();", "println!").count(), 1);
        assert_eq!(find_words("my_std::env std::env::var std::envy", "std::env").count(), 1);
    }
}
