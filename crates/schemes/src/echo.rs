//! In which forms a text commonly comes back from where it was sent: what is looked for to find an echo.
//!
//! So many forms however long the text is, and of a text of letters and digits, as most keys are, only a few.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use crate::encoding::hex;

/// How URLs are written: the signs that stay as they are, beside letters and digits, and whether a blank is a `+`.
const URLS: [(&str, bool); 5] = [
    ("", false),
    // RFC 3986, and the same in a query as Go and Python write it.
    ("-._~", false),
    ("-._~", true),
    // Forms of browsers and Java.
    ("*-._", true),
    // encodeURIComponent of JavaScript.
    ("-_.!~*'()", false),
];

/// How JSON is written.
struct Json {
    /// Signs that become `\u00XX`.
    signs: &'static str,
    /// Whether everything that is not ASCII does.
    ascii: bool,
    /// Whether `/` becomes `\/`.
    slash: bool,
}

const JSON: [Json; 8] = [
    Json { signs: "", ascii: false, slash: false },
    Json { signs: "", ascii: false, slash: true },
    // Go, Rails.
    Json { signs: "&<>", ascii: false, slash: false },
    // Gson.
    Json { signs: "&<>='", ascii: false, slash: false },
    // Python.
    Json { signs: "", ascii: true, slash: false },
    // PHP; and with what Symfony and Drupal ask of it.
    Json { signs: "", ascii: true, slash: true },
    Json { signs: "&<>'\"", ascii: true, slash: true },
    // .NET.
    Json { signs: "&<>+'`\"", ascii: true, slash: false },
];

/// Every form, each once.
pub fn forms(text: &str) -> Vec<String> {
    let mut list = written(text);
    let small = hex(text.as_bytes());
    list.extend([
        STANDARD.encode(text),
        STANDARD_NO_PAD.encode(text),
        URL_SAFE.encode(text),
        URL_SAFE_NO_PAD.encode(text),
        small.to_ascii_uppercase(),
        small,
    ]);
    list.sort_unstable();
    list.dedup();
    list
}

/// Those that are made sign by sign, each once: the end of one is a form of the text's end.
pub fn written(text: &str) -> Vec<String> {
    let mut list = vec![text.to_owned()];
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return list;
    }
    for upper in [true, false] {
        list.extend(URLS.iter().map(|(open, plus)| in_url(text, open, *plus, upper)));
        if text.bytes().any(|byte| !(0x20..0x7f).contains(&byte) || b"\"\\/&<>='+`".contains(&byte)) {
            list.extend(JSON.iter().map(|how| in_json(text, how, upper)));
        }
    }
    list.sort_unstable();
    list.dedup();
    list
}

fn digits(upper: bool) -> &'static [u8; 16] {
    if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" }
}

fn in_url(text: &str, open: &str, plus: bool, upper: bool) -> String {
    let digits = digits(upper);
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || open.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else if byte == b' ' && plus {
            out.push('+');
        } else {
            let digit = |at: u8| char::from(digits[usize::from(at)]);
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out
}

fn in_json(text: &str, how: &Json, upper: bool) -> String {
    let digits = digits(upper);
    let mut out = String::with_capacity(text.len() * 2);
    for sign in text.chars() {
        let escaped = match sign {
            sign if how.signs.contains(sign) || (how.ascii && !sign.is_ascii()) => None,
            '"' | '\\' => Some(sign),
            '/' if how.slash => Some('/'),
            '\u{8}' => Some('b'),
            '\u{c}' => Some('f'),
            '\n' => Some('n'),
            '\r' => Some('r'),
            '\t' => Some('t'),
            '\0'..' ' => None,
            _ => {
                out.push(sign);
                continue;
            }
        };
        match escaped {
            Some(sign) => out.extend(['\\', sign]),
            // What is beyond the first 65,536 signs is two units.
            None => {
                for unit in sign.encode_utf16(&mut [0; 2]) {
                    let digit = |shift: u32| char::from(digits[usize::from(*unit >> shift & 15)]);
                    out.extend(['\\', 'u', digit(12), digit(8), digit(4), digit(0)]);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_common_writers_are_among_them() {
        for (text, spellings) in [
            (
                "AbC/dEf+gH==",
                &[
                    "AbC/dEf+gH==",
                    "AbC%2FdEf%2BgH%3D%3D",
                    "AbC%2fdEf%2bgH%3d%3d",
                    "AbC\\/dEf+gH==",
                    "AbC/dEf\\u002BgH==",
                    "AbC/dEf\\u002bgH==",
                    "AbC/dEf+gH\\u003d\\u003d",
                    "QWJDL2RFZitnSD09",
                    "4162432F6445662B67483D3D",
                    "4162432f6445662b67483d3d",
                ][..],
            ),
            (
                "Pä ss&\"W'<~",
                &[
                    "P%C3%A4%20ss%26%22W%27%3C~",
                    "P%c3%a4%20ss%26%22W%27%3c~",
                    "P%c3%a4+ss%26%22W%27%3c~",
                    "P%C3%A4+ss%26%22W%27%3C%7E",
                    "P%C3%A4%20ss%26%22W'%3C~",
                    "P%c3%a4%20ss%26%22W%27%3c%7e",
                    "Pä ss&\\\"W'<~",
                    "Pä ss\\u0026\\\"W'\\u003c~",
                    "Pä ss\\u0026\\\"W\\u0027\\u003c~",
                    "P\\u00e4 ss&\\\"W'<~",
                    "P\\u00E4 ss&\\\"W'<~",
                    "P\\u00E4 ss\\u0026\\u0022W\\u0027\\u003C~",
                ],
            ),
            ("x/\n\u{1f}\u{1F511}", &["x\\/\\n\\u001f\\ud83d\\udd11", "x/\\n\\u001F\\uD83D\\uDD11"]),
            // Azure's.
            ("a~B.c-D_e", &["a%7EB.c-D_e", "a%7eB.c-D_e", "a%7eB%2ec%2dD%5fe"]),
        ] {
            let forms = forms(text);
            for spelling in spellings {
                assert!(forms.iter().any(|form| form == spelling), "{spelling}: {forms:?}");
            }
        }
    }

    #[test]
    fn there_are_never_many() {
        assert_eq!(written("ghp0123456789AbCdEf"), ["ghp0123456789AbCdEf"]);
        assert!(forms("ghp0123456789AbCdEfOo").len() <= 7, "raw, base64, hex");
        let token = "eyJhbGciOi.eyJpc3-MiOi.bmlj_ZS1z";
        assert_eq!(
            written(token).len(),
            3,
            "as it is, and all signs escaped, in two cases: {:?}",
            written(token)
        );
        let worst: String = ('\u{1}'..'\u{ff}').chain(['\u{1F511}']).collect();
        for length in [1, 20] {
            let forms = forms(&worst.repeat(length));
            assert!(forms.len() <= 33, "{}", forms.len());
            assert!(forms.iter().all(|form| form.len() <= 6 * worst.len() * length));
        }
        let key =
            format!("-----BEGIN PRIVATE KEY-----\n{}=\n-----END PRIVATE KEY-----\n", "Ab/9+".repeat(330));
        assert!(forms(&key).len() <= 20, "{}", forms(&key).len());
    }

    #[test]
    fn the_end_of_a_form_is_a_form_of_the_end() {
        let (text, end) = ("Begin: ä/\"+=&'x<y>z~*`\n", "&'x<y>z~*`\n");
        let ends = written(end);
        for form in written(text) {
            assert!(ends.iter().any(|end| form.ends_with(end.as_str())), "{form}");
        }
    }
}
