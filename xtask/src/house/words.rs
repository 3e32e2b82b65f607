//! Words for people that stand where they cannot be translated: in templates, in the code of pages, in scripts.

use std::ops::Range;

use super::source::{Source, closing, find_words};

/// Attributes that people read or hear, whatever stands in them.
const READ: &[&str] = &[
    "alt",
    "aria-description",
    "aria-label",
    "aria-roledescription",
    "aria-valuetext",
    "label",
    "placeholder",
    "title",
];
/// Attributes with several words for machines.
const LISTS: &[&str] = &["aria-describedby", "aria-labelledby", "class", "content", "d", "rel"];
/// What leads to an element by its selector.
const SELECTING: &[&str] =
    &["querySelector(", "querySelectorAll(", "matches(", "matches?.(", "closest(", "closest?.("];

/// Where in a file of pages there are words for people.
pub fn places(path: &str, text: &str, source: Option<&Source>) -> Vec<usize> {
    match source {
        Some(source) => in_code(source),
        None if path.ends_with(".html") => in_template(text),
        None if path.ends_with(".js") => in_script(text),
        None => Vec::new(),
    }
}

/// A word as it stands in a sentence: letters, with what may stand before and after it there.
fn is_word(token: &str) -> bool {
    let bare =
        token.trim_start_matches(['(', '"', '“', '‘']).trim_end_matches(['.', ',', '!', '?', ')', '…', '”']);
    let mut letters = bare.chars();
    bare.len() >= 2
        && letters.next().is_some_and(char::is_alphabetic)
        && letters.all(|c| c.is_lowercase() || c == '\'' || c == '’')
}

/// Without what is filled in (`{name}`, `${name}`), and without tags.
fn bare(literal: &str) -> (String, bool) {
    let (mut text, mut filled, mut depth) = (String::new(), false, 0i32);
    for c in literal.replace("\\n", " ").replace("\\\"", "\"").chars() {
        match c {
            '{' | '<' => {
                filled |= c == '{';
                depth += 1;
                text.push_str(" | ");
            }
            '}' | '>' => depth -= 1,
            _ if depth <= 0 => text.push(c),
            _ => {}
        }
    }
    (text, filled)
}

/// Two words in a row, a word beside what is filled in, or one that begins like a label.
fn speaks(literal: &str) -> bool {
    // What is typed into a terminal is the same in every language.
    if literal.starts_with("curl ") {
        return false;
    }
    let (text, filled) = bare(literal);
    let tokens: Vec<&str> = text.split_whitespace().collect();
    let in_a_row = tokens.windows(2).any(|two| two.iter().all(|token| is_word(token)));
    let words = tokens.iter().filter(|token| is_word(token)).count();
    let said = tokens.iter().filter(|token| token.chars().any(char::is_alphanumeric)).count();
    let label =
        words == 1 && said == 1 && text.trim_start_matches([' ', '|']).starts_with(char::is_uppercase);
    in_a_row || label || (filled && words > 0 && literal.contains(' ') && !literal.contains('<'))
}

fn in_code(source: &Source) -> Vec<usize> {
    // The log is for who runs the server, an attribute for who reads the code.
    let mut apart: Vec<Range<usize>> = Vec::new();
    for (opener, bracket) in [("tracing::", '('), ("#[", '[')] {
        for at in find_words(&source.code, opener) {
            let open = source.code[at..].find(bracket).map(|length| at + length);
            apart.extend(open.and_then(|open| Some(open..closing(source.code.as_bytes(), open)?)));
        }
    }
    let strings = source.strings.iter().filter(|(at, _)| !apart.iter().any(|range| range.contains(at)));
    strings.filter(|(_, text)| speaks(text)).map(|(at, _)| *at).collect()
}

/// Literals of a script, with where they begin.
fn literals(text: &str) -> Vec<(usize, &str)> {
    let bytes = text.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        let until =
            |end: &[u8]| rest.windows(end.len()).position(|window| window == end).unwrap_or(rest.len());
        match bytes[at] {
            b'/' if rest.starts_with(b"//") => at += until(b"\n"),
            b'/' if rest.starts_with(b"/*") => at += until(b"*/") + 2,
            quote @ (b'"' | b'\'' | b'`') => {
                let start = at + 1;
                let mut end = start;
                // A quote in a regular expression ends with its line.
                while end < bytes.len() && bytes[end] != quote && (quote == b'`' || bytes[end] != b'\n') {
                    end += if bytes[end] == b'\\' { 2 } else { 1 };
                }
                found.extend(text.get(start..end).map(|literal| (start, literal)));
                at = end + 1;
            }
            _ => at += 1,
        }
    }
    found
}

fn in_script(text: &str) -> Vec<usize> {
    let for_machines = |at: usize| {
        let before = text[..at - 1].trim_end();
        // Names of keys and the like are compared, not shown.
        let compared = ["===", "!==", "includes("].iter().any(|end| before.ends_with(end));
        compared || SELECTING.iter().any(|end| before.ends_with(end))
    };
    let spoken = literals(text).into_iter().filter(|(at, literal)| speaks(literal) && !for_machines(*at));
    spoken.map(|(at, _)| at).collect()
}

/// Takes out what stands between these, and gives it to somebody else. What is left of it is no word.
fn taken(text: &mut [u8], open: &[u8], close: &[u8], mut take: impl FnMut(usize, &str)) {
    let mut from = 0;
    while let Some(at) = text[from..].windows(open.len()).position(|window| window == open).map(|n| from + n)
    {
        let rest = &text[at..];
        let length = rest
            .windows(close.len())
            .position(|window| window == close)
            .map_or(rest.len(), |n| n + close.len());
        take(at, &String::from_utf8_lossy(&rest[..length]));
        text[at..at + length].fill(b'|');
        from = at + length;
    }
}

fn in_template(text: &str) -> Vec<usize> {
    let mut left = text.as_bytes().to_vec();
    let mut places = Vec::new();
    taken(&mut left, b"{#", b"#}", |_, _| {});
    for (open, close) in [(b"{{", b"}}"), (b"{%", b"%}")] {
        taken(&mut left, open, close, |at, inside| {
            let spoken = literals(inside).into_iter().filter(|(_, literal)| speaks(literal));
            places.extend(spoken.map(|(within, _)| at + within));
        });
    }
    taken(&mut left, b"<!--", b"-->", |_, _| {});
    taken(&mut left, b"<", b">", |at, tag| {
        let mut name = tag;
        let mut from = 0;
        for (index, part) in tag.split('"').enumerate() {
            if index % 2 == 0 {
                name = part;
            } else if says(name.trim_end_matches('=').rsplit([' ', '\n']).next().unwrap_or_default(), part) {
                places.push(at + from);
            }
            from += part.len() + 1;
        }
    });
    let rest = String::from_utf8_lossy(&left).into_owned();
    let mut before = ' ';
    for (at, c) in rest.char_indices() {
        if c.is_alphabetic() && !before.is_alphabetic() {
            places.push(at);
        }
        before = c;
    }
    places
}

/// Whether an attribute's value is for people.
fn says(name: &str, value: &str) -> bool {
    if READ.contains(&name) {
        value.chars().any(char::is_alphabetic)
    } else {
        !LISTS.contains(&name) && speaks(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_told_from_what_machines_read() {
        for spoken in [
            "Save",
            "it is saved",
            "{took} ms",
            "Delete {name}",
            "line {line}, column {column}: {text}",
            "Saved.",
        ] {
            assert!(speaks(spoken), "{spoken}");
        }
        for silent in [
            "text/css; charset=utf-8",
            "public, max-age=3600",
            "/projects/{}/keys",
            "Path=/; HttpOnly",
            "{}: {}",
            "flash",
            "<span class=\\\"tile tile-{ground}\\\" aria-hidden=\\\"true\\\">{initials}</span>",
            "curl -H \\\"Authorization: Bearer {key}\\\" {url}",
        ] {
            assert!(!speaks(silent), "{silent}");
        }
    }

    #[test]
    fn every_place_of_a_template_is_looked_at() {
        let at = |text: &str| in_template(text).len();
        assert_eq!(at("<p>Saved</p>"), 1);
        assert_eq!(at("<a href=\"/x\" title=\"{{ f.t.a }} more\">{{ f.t.b }}</a>"), 1);
        assert_eq!(at("<input type=\"submit\" value=\"Save\">"), 1);
        assert_eq!(at("{{ f.say(\"two words\") }}"), 1);
        assert_eq!(
            at(
                "<p class=\"soft small\">{% if a %}{{ f.icon(\"check-circle\") }}{% endif %} · {{ f.t.b }}</p>{# a word #}"
            ),
            0
        );
    }
}
