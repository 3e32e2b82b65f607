//! Masking of echoes: an API that repeats the credential in its answer does not hand it to the caller.
//!
//! Best effort, and never the boundary — that is the pin. Every secret of at least eight bytes is looked
//! for raw, in base64, base64url, hex, URL-encoded and JSON-escaped form ([`echo`]), and replaced by as many `*`, so
//! that lengths stay true. A stream is passed on as it comes: held back is only a tail that could be the
//! beginning of a secret. How what only one call has is looked for is told in [`super::fresh`].

use std::ops::Range;
use std::sync::Arc;

use aho_corasick::packed::{self, Searcher};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use latchstring_model::SecretString;
use latchstring_schemes::echo;
use zeroize::Zeroizing;

use super::fresh::Fresh;

/// Shorter values are not masked: they would hide half of an ordinary answer.
pub const SHORTEST: usize = 8;

/// What stands for a short secret: its length is nobody's business.
const HIDDEN: &str = "***";

/// Looks for many patterns at once.
enum Finder {
    /// By vector instructions, 16 or 32 bytes at a step.
    Packed(Searcher),
    /// A byte at a step, whatever the patterns and the text are.
    Automaton(AhoCorasick),
}

/// Bytes of all patterns. The fastest automaton keeps about 500 bytes for each of them.
const LARGE: usize = 16 * 1024;

impl Finder {
    fn new(patterns: &[Vec<u8>]) -> Option<Self> {
        if patterns.is_empty() {
            return None;
        }
        if patterns.iter().all(|pattern| is_quickly_refuted(pattern)) {
            let config = packed::Config::new().match_kind(packed::MatchKind::LeftmostLongest).clone();
            if let Some(searcher) = config.builder().extend(patterns).build() {
                return Some(Self::Packed(searcher));
            }
        }
        let bytes: usize = patterns.iter().map(Vec::len).sum();
        AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .kind((bytes > LARGE).then_some(AhoCorasickKind::ContiguousNFA))
            .build(patterns)
            .ok()
            .map(Self::Automaton)
    }

    fn find(&self, bytes: &[u8], from: usize) -> Option<Range<usize>> {
        match self {
            Self::Packed(searcher) => {
                let span = aho_corasick::Span { start: from, end: bytes.len() };
                searcher.find_in(bytes, span).map(|hit| hit.span().range())
            }
            Self::Automaton(automaton) => {
                automaton.find(aho_corasick::Input::new(bytes).range(from..)).map(|hit| hit.range())
            }
        }
    }
}

/// A vectored search compares a pattern wherever its first bytes stand. Where a long beginning of the pattern
/// repeats within itself, a text can be made in which that is so at nearly every byte, and each comparison is long:
/// such patterns are left to the automaton, whose time follows the text's length alone.
fn is_quickly_refuted(pattern: &[u8]) -> bool {
    /// Comparisons up to here are one or two steps.
    const SHORT: usize = 64;
    // The lengths of the borders of all beginnings (Knuth, Morris and Pratt's failure function).
    let mut borders = vec![0; pattern.len()];
    let mut border = 0;
    for at in 1..pattern.len() {
        while border > 0 && pattern[border] != pattern[at] {
            border = borders[border - 1];
        }
        border += usize::from(pattern[border] == pattern[at]);
        borders[at] = border;
        if at >= SHORT && border > (at + 1) / 4 * 3 {
            return false;
        }
    }
    true
}

/// The forms of a set of secrets, compiled once per route or token.
pub struct MaskSet {
    finder: Option<Finder>,
    patterns: Vec<Zeroizing<Vec<u8>>>,
    longest: usize,
    /// Too short to be looked for in answers, but not to be shown where they were put.
    short: Vec<SecretString>,
}

impl MaskSet {
    pub fn new(secrets: &[SecretString]) -> Self {
        let mut patterns: Vec<Vec<u8>> = secrets
            .iter()
            .map(SecretString::expose)
            .filter(|secret| secret.len() >= SHORTEST)
            .flat_map(echo::forms)
            .map(String::into_bytes)
            .collect();
        patterns.sort();
        patterns.dedup();
        let finder = Finder::new(&patterns);
        let longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
        let short = secrets.iter().filter(|secret| (1..SHORTEST).contains(&secret.expose().len()));
        let short = short.cloned().collect();
        Self { finder, patterns: patterns.into_iter().map(Zeroizing::new).collect(), longest, short }
    }

    pub fn empty() -> Arc<Self> {
        Arc::new(Self { finder: None, patterns: Vec::new(), longest: 0, short: Vec::new() })
    }

    fn blot(&self, bytes: &mut [u8]) {
        let Some(finder) = &self.finder else { return };
        let mut from = 0;
        while let Some(span) = finder.find(bytes, from) {
            from = span.end;
            bytes[span].fill(b'*');
        }
    }
}

/// What one answer is masked with: what the route knows, what the token adds, what this call made.
#[derive(Clone)]
pub struct Masker {
    sets: [Option<Arc<MaskSet>>; 3],
    fresh: Vec<Arc<Fresh>>,
}

impl Masker {
    pub fn new(route: Option<Arc<MaskSet>>, token: Option<Arc<MaskSet>>) -> Self {
        Self { sets: [route, token, None], fresh: Vec::new() }
    }

    /// What a request of our own is made of beside its scheme.
    pub fn also(&mut self, own: Arc<MaskSet>) {
        let [_, _, set] = &mut self.sets;
        *set = Some(own);
    }

    fn finders(&self) -> impl Iterator<Item = &Finder> {
        self.sets.iter().flatten().filter_map(|set| set.finder.as_ref())
    }

    fn short(&self) -> impl Iterator<Item = &SecretString> {
        self.sets.iter().flatten().flat_map(|set| &set.short)
    }

    /// What only this call has: a JWT, a signature.
    pub fn add_fresh(&mut self, secret: SecretString) {
        if secret.len() >= SHORTEST {
            self.fresh.push(Arc::new(Fresh::new(secret)));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.finders().next().is_none()
    }

    pub(super) fn found_in(&self, bytes: &[u8]) -> bool {
        bytes.len() >= SHORTEST && self.finders().any(|finder| finder.find(bytes, 0).is_some())
            || self.fresh.iter().any(|fresh| fresh.is_in(bytes))
    }

    fn blot(&self, bytes: &mut [u8]) {
        // First what may have a stored value within it.
        for fresh in &self.fresh {
            fresh.blot(bytes);
        }
        for set in self.sets.iter().flatten() {
            set.blot(bytes);
        }
    }

    /// A whole text, such as an excerpt that an error shows.
    pub fn mask(&self, bytes: Bytes) -> Bytes {
        if self.is_empty() || !self.found_in(&bytes) {
            return bytes;
        }
        let mut copy = BytesMut::from(bytes.as_ref());
        self.blot(&mut copy);
        copy.freeze()
    }

    pub fn mask_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.mask(Bytes::copy_from_slice(text.as_bytes()))).into_owned()
    }

    /// Whether a part of a request of our own is made of a secret that is too short to be looked for.
    pub(super) fn is_short(&self, part: &str) -> bool {
        let decoded = percent_encoding::percent_decode_str(part).decode_utf8_lossy();
        let spaced = decoded.replace('+', " ");
        self.short().any(|secret| {
            let secret = secret.expose();
            // Of four bytes and more also beside other text, as in `key-1234`.
            let is_in = |text: &str| text == secret || (secret.len() >= 4 && text.contains(secret));
            is_in(&decoded) || is_in(&spaced)
        })
    }

    /// The URL of a request of our own, as people may see it: in its path and query also short secrets are hidden.
    pub fn mask_url(&self, url: &str) -> String {
        let masked = self.mask_text(url);
        if self.short().next().is_none() {
            return masked;
        }
        let (place, query) = masked.split_once('?').map_or((masked.as_str(), None), |(a, b)| (a, Some(b)));
        let segment =
            |segment: &str| if self.is_short(segment) { HIDDEN.to_owned() } else { segment.to_owned() };
        let start = place.find("://").map_or(0, |at| at + 3);
        let start = place.get(start..).and_then(|rest| rest.find('/')).map_or(place.len(), |at| start + at);
        let (origin, path) = place.split_at(start);
        let path: Vec<String> = path.split('/').map(segment).collect();
        let mut shown = format!("{origin}{}", path.join("/"));
        if let Some(query) = query {
            let pair = |pair: &str| match pair.split_once('=') {
                Some((name, value)) if self.is_short(value) => format!("{name}={HIDDEN}"),
                _ => segment(pair),
            };
            shown.push('?');
            shown.push_str(&query.split('&').map(pair).collect::<Vec<_>>().join("&"));
        }
        shown
    }

    /// A header of a request of our own, likewise.
    pub fn mask_own_header(&self, text: &str) -> String {
        if self.is_short(text) { HIDDEN.to_owned() } else { self.mask_text(text) }
    }

    /// A header's value; untouched (and not copied) unless it repeats a secret.
    pub fn mask_header(&self, value: &mut HeaderValue) {
        if self.found_in(value.as_bytes()) {
            let masked = self.mask(Bytes::copy_from_slice(value.as_bytes()));
            *value = HeaderValue::from_bytes(&masked).unwrap_or_else(|_| HeaderValue::from_static("masked"));
        }
    }

    /// How long a tail of `bytes` could be the beginning of a secret.
    pub(super) fn open_tail(&self, bytes: &[u8]) -> usize {
        let sets = self.sets.iter().flatten().map(|set| open_tail(bytes, &set.patterns, set.longest));
        sets.chain(self.fresh.iter().map(|fresh| fresh.open_tail(bytes))).max().unwrap_or(0)
    }
}

/// The longest end of `bytes` that one of the patterns begins with and goes on from.
pub(super) fn open_tail(bytes: &[u8], patterns: &[Zeroizing<Vec<u8>>], longest: usize) -> usize {
    let window = bytes.len().min(longest.saturating_sub(1));
    let begin = bytes.len() - window;
    // Nearly every byte is none that a pattern begins with.
    let mut begins = [false; 256];
    for first in patterns.iter().filter_map(|pattern| pattern.first()) {
        begins[usize::from(*first)] = true;
    }
    (begin..bytes.len())
        .filter(|at| begins[usize::from(bytes[*at])])
        .find(|at| {
            let tail = &bytes[*at..];
            patterns.iter().any(|pattern| pattern.len() > tail.len() && pattern.starts_with(tail))
        })
        .map_or(0, |at| bytes.len() - at)
}

/// Masks a stream chunk by chunk.
pub struct StreamMask {
    masker: Masker,
    held: BytesMut,
    is_text: bool,
}

impl StreamMask {
    pub fn new(masker: Masker) -> Self {
        Self { masker, held: BytesMut::new(), is_text: true }
    }

    /// For a body that is no text, and passes as it is: what comes behind it is masked all the same.
    pub fn of_trailers(masker: Masker) -> Self {
        Self { is_text: false, ..Self::new(masker) }
    }

    pub fn masker(&self) -> &Masker {
        &self.masker
    }

    /// What may pass now. With `last`, nothing is held back.
    pub fn feed(&mut self, chunk: Bytes, last: bool) -> Bytes {
        if !self.is_text {
            return chunk;
        }
        let joined = if self.held.is_empty() {
            chunk
        } else {
            self.held.extend_from_slice(&chunk);
            self.held.split().freeze()
        };
        let masked = self.masker.mask(joined);
        let tail = if last { 0 } else { self.masker.open_tail(&masked) };
        if tail == 0 {
            return masked;
        }
        let pass = masked.slice(..masked.len() - tail);
        self.held.extend_from_slice(&masked[masked.len() - tail..]);
        pass
    }

    /// The held tail once the stream has ended: it was no secret after all.
    pub fn finish(&mut self) -> Option<Bytes> {
        (!self.held.is_empty()).then(|| self.masker.mask(self.held.split().freeze()))
    }
}

/// Whether a body of this type is text that could repeat a secret in a form we look for.
pub fn is_text(content_type: Option<&HeaderValue>) -> bool {
    let Some(value) = content_type.and_then(|value| value.to_str().ok()) else { return true };
    // Nearly every API's answer.
    if value.eq_ignore_ascii_case("application/json") {
        return true;
    }
    let kind = value.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match kind.split_once('/') {
        Some(("text" | "multipart" | "message", _)) => true,
        Some(("image", sub)) => sub == "svg+xml",
        Some(("audio" | "video" | "font" | "model", _)) => false,
        Some(("application", sub)) => {
            !matches!(
                sub,
                "octet-stream"
                    | "zip"
                    | "gzip"
                    | "x-gzip"
                    | "pdf"
                    | "x-tar"
                    | "x-7z-compressed"
                    | "vnd.rar"
                    | "wasm"
                    | "protobuf"
                    | "grpc"
            ) && !sub.starts_with("vnd.openxmlformats")
                && !sub.starts_with("vnd.ms-")
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECRET: &str = "S3cr3t/\"päss word\"+=";

    fn masker() -> Masker {
        Masker::new(Some(Arc::new(MaskSet::new(&[SECRET.into(), "short".into()]))), None)
    }

    #[test]
    fn every_form_is_found_and_length_is_kept() {
        let masker = masker();
        let spelled = [
            "S3cr3t/\"päss word\"+=",
            "S3cr3t%2F%22p%C3%A4ss%20word%22%2B%3D",
            "S3cr3t%2f%22p%c3%a4ss+word%22%2b%3d",
            "S3cr3t\\/\\\"päss word\\\"+=",
            "S3cr3t\\/\\\"p\\u00e4ss word\\\"+=",
            "S3cr3t/\\u0022p\\u00E4ss word\\u0022\\u002B=",
            "UzNjcjN0LyJww6RzcyB3b3JkIis9",
        ];
        let forms = echo::forms(SECRET);
        for form in spelled.into_iter().chain(forms.iter().map(String::as_str)) {
            let masked = masker.mask_text(&format!("{{\"echo\": \"{form}\"}}"));
            assert_eq!(masked, format!("{{\"echo\": \"{}\"}}", "*".repeat(form.len())), "{form}");
        }
        assert_eq!(masker.mask_text("a short text"), "a short text", "short values are not masked");
    }

    #[test]
    fn patterns_that_repeat_within_themselves_are_left_to_the_automaton() {
        let packed = |secret: &str| match Finder::new(&[secret.as_bytes().to_vec()]) {
            Some(Finder::Packed(_)) => true,
            Some(Finder::Automaton(_)) => false,
            None => panic!("no finder"),
        };
        assert!(!packed(&"a".repeat(4096)));
        let many: Vec<_> = (100..300).map(|i| format!("{i}{}", "a".repeat(200)).into_bytes()).collect();
        let finder = Finder::new(&many).unwrap();
        assert!(matches!(finder, Finder::Automaton(_)), "too many");
        assert_eq!(finder.find(&many[7], 0), Some(0..203));
        assert!(!packed(&format!("{}b", "ab".repeat(100))), "only its beginning does");
        assert!(is_quickly_refuted(b"aaaaaaaaaaaaaaaa"), "short ones are compared at once");
        assert!(is_quickly_refuted(
            format!("{0}{0}", "0123456789abcdefghijklmnopqrstuvwxyz-0123456789").as_bytes()
        ));
        let mut masker = Masker::new(Some(Arc::new(MaskSet::new(&["ab".repeat(100).as_str().into()]))), None);
        assert_eq!(masker.mask_text(&"ab".repeat(101)), format!("{}ab", "*".repeat(200)));
        masker =
            Masker::new(Some(Arc::new(MaskSet::new(&["x-12345678".into(), "x-1234567890".into()]))), None);
        assert_eq!(
            masker.mask_text("x-1234567890 x-12345678"),
            format!("{} {}", "*".repeat(12), "*".repeat(10)),
            "the longest that fits"
        );
    }

    #[test]
    fn a_secret_cut_at_any_byte_is_found_and_nothing_else_waits() {
        let text = format!("before {SECRET} after");
        for cut in 0..=text.len() {
            let mut stream = StreamMask::new(masker());
            let mut out = stream.feed(Bytes::copy_from_slice(&text.as_bytes()[..cut]), false).to_vec();
            out.extend_from_slice(&stream.feed(Bytes::copy_from_slice(&text.as_bytes()[cut..]), true));
            out.extend(stream.finish().into_iter().flatten());
            assert_eq!(
                String::from_utf8(out).unwrap(),
                format!("before {} after", "*".repeat(SECRET.len())),
                "cut at {cut}"
            );
        }
        let mut stream = StreamMask::new(masker());
        assert_eq!(
            stream.feed(Bytes::from_static(b"data: tick\n\n"), false),
            "data: tick\n\n",
            "events pass at once"
        );
    }

    #[test]
    fn byte_by_byte_nothing_is_lost() {
        let text = format!("S3cr3 {SECRET}{SECRET} S3cr3t/\"pä");
        let mut stream = StreamMask::new(masker());
        let mut out = Vec::new();
        for byte in text.as_bytes() {
            out.extend_from_slice(&stream.feed(Bytes::copy_from_slice(&[*byte]), false));
        }
        out.extend(stream.finish().into_iter().flatten());
        let stars = "*".repeat(2 * SECRET.len());
        assert_eq!(String::from_utf8(out).unwrap(), format!("S3cr3 {stars} S3cr3t/\"pä"));
    }

    #[test]
    fn what_only_this_call_has_is_masked_too() {
        let mut masker = Masker::new(None, None);
        assert!(masker.is_empty());
        masker.add_fresh("eyJhbGciOi.eyJ.sig".into());
        assert_eq!(masker.mask_text("you sent eyJhbGciOi.eyJ.sig!"), format!("you sent {}!", "*".repeat(18)));
        let mut header = HeaderValue::from_static("x eyJhbGciOi.eyJ.sig");
        masker.mask_header(&mut header);
        assert_eq!(header, "x ******************");
    }

    /// A claim of a JWT is a value of the credential, in base64: what is left of the JWT without it would be enough.
    #[test]
    fn a_stored_value_within_what_this_call_has_leaves_nothing_of_it() {
        let known = Arc::new(MaskSet::new(&["{\"iss\":\"me\"}".into()]));
        let mut masker = Masker::new(Some(known), None);
        let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJtZSJ9.bmljZS1zaWduYXR1cmU";
        masker.add_fresh(jwt.into());
        assert_eq!(masker.mask_text(jwt), "*".repeat(jwt.len()));
    }

    #[test]
    fn short_secrets_are_hidden_where_they_were_put() {
        let masker =
            Masker::new(Some(Arc::new(MaskSet::new(&["ab 1".into(), "7".into(), SECRET.into()]))), None);
        assert!(!masker.is_empty());
        for (url, shown) in [
            (
                "https://api.example.com/v7/x?key=ab%201&page=7",
                "https://api.example.com/v7/x?key=***&page=***",
            ),
            ("https://api.example.com/7/x?key=ab+1", "https://api.example.com/***/x?key=***"),
            ("https://api.example.com:7/x?k=pre-ab%201", "https://api.example.com:7/x?k=***"),
            ("https://api.example.com", "https://api.example.com"),
            ("https://api.example.com?7", "https://api.example.com?***"),
            ("https://api.example.com/x?limit=77", "https://api.example.com/x?limit=77"),
        ] {
            assert_eq!(masker.mask_url(url), shown);
        }
        assert_eq!(masker.mask_own_header("7"), "***");
        assert_eq!(masker.mask_own_header("17"), "17");
        let only_short = Masker::new(Some(Arc::new(MaskSet::new(&["abc".into()]))), None);
        assert!(only_short.is_empty(), "answers are not searched for it");
        assert_eq!(only_short.mask_url("https://a.example/?key=abc"), "https://a.example/?key=***");
    }

    #[test]
    fn text_types() {
        for text in [
            "text/plain",
            "application/json; charset=utf-8",
            "application/problem+json",
            "image/svg+xml",
            "application/xml",
        ] {
            assert!(is_text(Some(&HeaderValue::from_static(text))), "{text}");
        }
        assert!(is_text(None));
        for binary in ["image/png", "application/octet-stream", "video/mp4", "application/zip"] {
            assert!(!is_text(Some(&HeaderValue::from_static(binary))), "{binary}");
        }
    }
}
