//! Whatever is uploaded or typed: an answer, never a panic, and no mistake that cannot be placed.

use latchstring_connectors::answer::Path;
use latchstring_connectors::{FILES, Template, check};
use proptest::prelude::*;

/// Pieces that get further into the parsers than random letters do.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~é\n\t]{0,12}",
        prop::sample::select(vec![
            "{{",
            "}}",
            "{%",
            "%}",
            "{#",
            "#}",
            " if ",
            " else ",
            "endif",
            "'",
            "\"",
            "|",
            ".",
            "[",
            "]",
            "(",
            ")",
            "{",
            "}",
            ":",
            ",",
            "~",
            "-",
            " not ",
            " in ",
            "now(",
            "get_secret('a')",
            "id: ",
            "\n  ",
            "- ",
            "&a",
            "*a",
            "!t",
            "<<: ",
            "\\u00e9",
            "\\ud83d",
            "0",
            "99999999999999999999",
            "1e5",
            "null",
            "auth_methods:",
            "scheme: ",
            "type: ",
        ])
        .prop_map(str::to_owned),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn templates(source in text()) {
        let _ = Template::parse(&source);
        let _ = Template::parse(&format!("{{{{ {source} }}}}"));
    }

    #[test]
    fn paths(source in text()) {
        if let Ok(path) = Path::parse(&source) {
            let _ = path.get(&serde_json::json!({"a": [1, {"b": null}]}));
        }
    }

    #[test]
    fn definitions(source in text(), at in 0usize..4000, file in 0usize..FILES.len()) {
        let (_, whole) = FILES[file];
        let mut at = at.min(whole.len());
        while !whole.is_char_boundary(at) {
            at -= 1;
        }
        let mixed = format!("{}{source}{}", &whole[..at], &whole[at..]);
        for source in [source.as_str(), mixed.as_str()] {
            if let Err(problems) = check(source, "f") {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    prop_assert!(problem.at.line >= 1 && problem.at.column >= 1, "{problem}");
                }
            }
        }
    }
}

#[test]
fn brackets_without_end_do_not_exhaust_the_stack() {
    for unit in ["[", "{", "- ", "{a: ", "[[", "? ", "a: {b: ["] {
        let source = unit.repeat(200_000 / unit.len());
        assert!(check(&source, "f").is_err());
    }
}
