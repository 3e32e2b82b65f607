//! A plain text mail as it goes over the wire (RFC 5322, RFC 2045, RFC 2047): ASCII, lines of at most 76
//! characters, so that no server has to change anything in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchstring_model::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::words::Words;

/// Bytes of text in one encoded word: 60 characters of base64.
const WORD: usize = 45;
/// Bytes of text in one line of the body: 76 characters of base64.
const LINE: usize = 57;

pub struct Message<'a> {
    pub to: &'a str,
    pub words: &'a Words,
    /// Without the angle brackets: the same with every try, so that a copy is known as one.
    pub id: &'a str,
    /// When it happened.
    pub at: Timestamp,
}

impl Message<'_> {
    pub fn bytes(&self, from_name: &str, from: &str) -> Vec<u8> {
        let date = OffsetDateTime::from_unix_timestamp(self.at.secs())
            .ok()
            .and_then(|at| at.format(&Rfc2822).ok())
            .unwrap_or_else(|| "Thu, 01 Jan 1970 00:00:00 +0000".to_owned());
        let sender = if from_name.is_empty() {
            format!("<{from}>")
        } else {
            format!("{} <{from}>", phrase(from_name))
        };
        let mut out = String::new();
        for (name, value) in [
            ("Date", date.as_str()),
            ("From", &sender),
            ("To", &format!("<{}>", self.to)),
            ("Subject", &text(&self.words.subject)),
            ("Message-ID", &format!("<{}>", self.id)),
            // RFC 3834: nobody's automatic answer answers this.
            ("Auto-Submitted", "auto-generated"),
            ("MIME-Version", "1.0"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Transfer-Encoding", "base64"),
        ] {
            out.push_str(name);
            out.push_str(": ");
            out.push_str(value);
            out.push_str("\r\n");
        }
        out.push_str("\r\n");
        let body = self.words.body.replace("\r\n", "\n").replace('\n', "\r\n");
        for line in body.as_bytes().chunks(LINE) {
            out.push_str(&STANDARD.encode(line));
            out.push_str("\r\n");
        }
        out.into_bytes()
    }
}

/// A display name: quoted, or encoded when it is not ASCII.
fn phrase(name: &str) -> String {
    if name.is_ascii() {
        format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        encoded(name)
    }
}

/// A header's text. A line break in it would begin another header: encoded, it cannot.
fn text(value: &str) -> String {
    let plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !value.contains("=?");
    if plain && value.len() <= 60 { value.to_owned() } else { encoded(value) }
}

/// RFC 2047 section 2, cut between characters, each word on a line of its own.
fn encoded(value: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut current = String::new();
    for c in value.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if current.len() + c.len_utf8() > WORD {
            words.push(std::mem::take(&mut current));
        }
        current.push(c);
    }
    words.push(current);
    let words: Vec<String> =
        words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word))).collect();
    words.join("\r\n ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_in_it_ends_a_header_or_a_line() {
        let words = Words {
            subject: format!("Söme subject\r\nBcc: eve@example.com {}", "long ".repeat(30)),
            body: format!(".\r\nfirst\nsecond {}\n", "x".repeat(2000)),
        };
        let message = Message {
            to: "ada@example.com",
            words: &words,
            id: "dlv_1@host",
            at: Timestamp(1_700_000_000_123),
        };
        let text = String::from_utf8(message.bytes("Bröker \"B\"", "l@example.com")).unwrap();
        assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 90), "{text}");
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
        assert!(!text.contains("\r\nBcc") && !text.contains("\r\n."), "{text}");
        assert!(text.starts_with("Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"), "{text}");
        assert!(text.contains("\r\nMessage-ID: <dlv_1@host>\r\n"));
    }

    #[test]
    fn plain_text_stays_plain() {
        assert_eq!(text("Reconnect CRM"), "Reconnect CRM");
        assert_eq!(phrase("A \"B\""), "\"A \\\"B\\\"\"");
    }
}
