//! Compressed answers on their way to the caller: decoded on the side and searched for echoes of the credential, while
//! the bytes that pass are the upstream's own. A byte passes once everything that it decodes to has been searched.
//!
//! An echo in a compressed body cannot be blotted out in place. While nothing has been passed on yet — the beginning of
//! an answer is looked at before its head is — a small answer is decoded, masked and given out plain; for all others
//! the call ends with `answer_withheld`, or breaks off in the middle.
//!
//! What does not decode is no such coding, and is masked as the plain text that it then is. Work is bounded: so many
//! bytes per turn, and in all so many for each byte that came.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, header, response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use latchstring_egress::{EgressError, ResponseBody};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem};

use super::answer::AnswerBody;
use super::decode::{After, Coding, Decoder, decode_all};
use super::mask::{Masker, StreamMask};
use super::record::Noted;
use super::trailers;

/// Bytes of a compressed answer that are looked at before its head is passed on.
const BEGINNING: usize = 64 * 1024;
/// For so long, unless the answer says that it is no longer than that: a stream shall not wait for more.
const BEGINNING_WITHIN: Duration = Duration::from_millis(100);
/// A decoded answer that is given out plain, at most.
const PLAIN: usize = 1024 * 1024;
/// Bytes that are decoded before others on this core get their turn.
const TURN: usize = 512 * 1024;
/// Bytes that are decoded of one answer, and as many more for each byte that came.
const DECODED: u64 = 64 * 1024 * 1024;
const PER_BYTE: u64 = 200;
/// Compressed bytes that are held back because what they decode to may be the beginning of an echo.
const HELD: usize = 256 * 1024;
const SPACE: usize = 16 * 1024;

/// The answer may not be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Withheld {
    Echo,
    /// It decodes to more than can be searched, or holds back more than can be kept.
    TooMuch,
    /// There is no room to look into one more.
    NoRoom,
}

impl std::fmt::Display for Withheld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Withheld::Echo => "the compressed answer repeats the credential, so the rest of it is withheld",
            Withheld::TooMuch => {
                "the compressed answer cannot be searched for the credential, so the rest of it is withheld"
            }
            Withheld::NoRoom => {
                "too many answers in brotli are being searched for credentials, so one more is withheld"
            }
        })
    }
}

impl std::error::Error for Withheld {}

fn withheld(why: Withheld) -> Box<Problem> {
    let detail = match why {
        Withheld::Echo => {
            "The API's compressed answer repeats the credential, and an echo cannot be masked inside compressed bytes. The request was made; its answer was withheld."
        }
        Withheld::TooMuch => {
            "The API's compressed answer expands to more than can be searched for echoes of the credential. The request was made; its answer was withheld."
        }
        Withheld::NoRoom => {
            "The API answered in brotli, and too many such answers are being searched for echoes of credentials at the moment. The request was made; its answer was withheld."
        }
    };
    Problem::new(Code::AnswerWithheld, detail)
        .hint("Ask with `Accept-Encoding: identity`: in an answer that is not compressed, echoes are masked in place.")
        .into()
}

/// Raw bytes of one piece, and how far decoding had come at places in it.
struct Piece {
    raw: Bytes,
    marks: VecDeque<(usize, u64)>,
}

/// Searches the decoded side of a coded body.
struct Sift {
    masker: Masker,
    coding: Coding,
    decoder: Decoder,
    /// The coded data has ended: what follows is another member, or plain bytes.
    between: bool,
    /// Not coded after all, or no more: masked as it comes.
    plain: Option<StreamMask>,
    /// Decoded bytes: the last `tail` of what was searched, then space.
    space: Vec<u8>,
    tail: usize,
    decoded: u64,
    came: u64,
    /// Bytes that may be decoded, besides those for each byte that came.
    allowance: u64,
    /// The piece that is being decoded, and how much of it is.
    now: Option<(Piece, usize)>,
    /// Decoded, and held back because of the tail.
    held: VecDeque<Piece>,
}

impl Sift {
    fn new(masker: Masker, coding: Coding) -> Result<Self, Withheld> {
        Ok(Self {
            masker,
            coding,
            decoder: Decoder::new(coding).ok_or(Withheld::NoRoom)?,
            between: false,
            plain: None,
            space: Vec::new(),
            tail: 0,
            decoded: 0,
            came: 0,
            allowance: DECODED,
            now: None,
            held: VecDeque::new(),
        })
    }

    fn is_idle(&self) -> bool {
        self.now.is_none()
    }

    fn take(&mut self, raw: Bytes) {
        self.came += raw.len() as u64;
        self.now = Some((Piece { raw, marks: VecDeque::new() }, 0));
    }

    /// Works for one turn. What may pass is added to `out`; whether the piece is done shows in `is_idle`.
    fn work(&mut self, out: &mut VecDeque<Bytes>) -> Result<(), Withheld> {
        let Some((mut piece, mut at)) = self.now.take() else { return Ok(()) };
        if let Some(mask) = &mut self.plain {
            push(out, mask.feed(piece.raw, false));
            return Ok(());
        }
        let turn_ends = self.decoded + TURN as u64;
        while at < piece.raw.len() || !self.between {
            let rest = piece.raw.get(at..).unwrap_or_default();
            if self.between {
                // RFC 1952 section 2.2: members follow each other.
                if self.coding != Coding::Gzip || rest.first() != Some(&0x1f) {
                    return self.no_more(piece, at, out);
                }
                self.decoder = Decoder::new(self.coding).ok_or(Withheld::NoRoom)?;
                self.between = false;
            }
            self.space.resize(self.tail + SPACE, 0);
            let space = self.space.get_mut(self.tail..).unwrap_or_default();
            let Ok(step) = self.decoder.step(rest, space) else {
                return self.no_more(piece, at, out);
            };
            at += step.read;
            self.search(step.written)?;
            piece.marks.push_back((at, self.decoded));
            if self.decoded > self.allowance + PER_BYTE.saturating_mul(self.came) {
                return Err(Withheld::TooMuch);
            }
            match step.after {
                After::Hungry => break,
                After::Ended => self.between = true,
                After::Full if self.decoded >= turn_ends => {
                    self.now = Some((piece, at));
                    return Ok(());
                }
                After::Full => {}
            }
        }
        self.held.push_back(piece);
        self.release(out);
        if self.held.iter().map(|piece| piece.raw.len()).sum::<usize>() > HELD {
            return Err(Withheld::TooMuch);
        }
        Ok(())
    }

    /// Searches what was just decoded together with the tail before it.
    fn search(&mut self, written: usize) -> Result<(), Withheld> {
        let filled = self.tail + written;
        let seen = self.space.get(..filled).unwrap_or_default();
        if self.masker.found_in(seen) {
            return Err(Withheld::Echo);
        }
        self.decoded += written as u64;
        let tail = self.masker.open_tail(seen);
        self.space.copy_within(filled - tail..filled, 0);
        self.tail = tail;
        Ok(())
    }

    /// Lets pass what decodes to nothing of the tail.
    fn release(&mut self, out: &mut VecDeque<Bytes>) {
        let searched = self.decoded - self.tail as u64;
        while let Some(piece) = self.held.front_mut() {
            let mut upto = 0;
            while let Some((at, decoded)) = piece.marks.front().copied()
                && (self.tail == 0 || decoded <= searched)
            {
                upto = at;
                piece.marks.pop_front();
            }
            let whole = piece.marks.is_empty();
            let pass = piece.raw.split_to(if whole { piece.raw.len() } else { upto });
            push(out, pass);
            if !whole {
                for mark in &mut piece.marks {
                    mark.0 -= upto;
                }
                return;
            }
            self.held.pop_front();
        }
    }

    /// From `at` on this is not what the coding's name says. The bytes held back are not decoded by anybody either.
    fn no_more(&mut self, piece: Piece, at: usize, out: &mut VecDeque<Bytes>) -> Result<(), Withheld> {
        let mut mask = StreamMask::new(self.masker.clone());
        for held in self.held.drain(..) {
            push(out, mask.feed(held.raw, false));
        }
        let mut decoded = piece.raw;
        let rest = decoded.split_off(at);
        push(out, mask.feed(decoded, false));
        push(out, mask.feed(rest, false));
        self.plain = Some(mask);
        self.tail = 0;
        Ok(())
    }

    /// The body has ended: the tail was no echo after all.
    fn finish(&mut self, out: &mut VecDeque<Bytes>) {
        if let Some(held) = self.plain.as_mut().and_then(StreamMask::finish) {
            push(out, held);
        }
        for piece in self.held.drain(..) {
            push(out, piece.raw);
        }
    }
}

fn push(out: &mut VecDeque<Bytes>, bytes: Bytes) {
    if !bytes.is_empty() {
        out.push_back(bytes);
    }
}

/// Why a body broke off.
pub(super) enum Broken {
    Upstream(EgressError),
    Withheld,
}

/// A coded body that is searched while it passes.
pub(super) struct CodedBody {
    body: ResponseBody,
    sift: Sift,
    ready: VecDeque<Bytes>,
    /// What the head called its connection's own.
    named: Vec<HeaderName>,
    trailers: Option<Frame<Bytes>>,
    /// All bytes are here and searched; trailers may come yet, or nothing but the end.
    whole: bool,
    /// Nothing more comes from the upstream, and all that came is searched.
    ended: bool,
    failed: Option<Result<EgressError, Withheld>>,
}

impl CodedBody {
    fn new(
        body: ResponseBody,
        masker: Masker,
        coding: Coding,
        named: Vec<HeaderName>,
    ) -> Result<Self, Withheld> {
        Ok(Self {
            body,
            sift: Sift::new(masker, coding)?,
            ready: VecDeque::new(),
            named,
            trailers: None,
            whole: false,
            ended: false,
            failed: None,
        })
    }

    fn into_body(self) -> ResponseBody {
        self.body
    }

    /// Reads and searches until something more may pass, the body has ended, or `failed` is set.
    /// `raw` sees every piece as it came.
    fn poll_more(&mut self, cx: &mut Context<'_>, raw: &mut dyn FnMut(&Bytes)) -> Poll<()> {
        loop {
            if !self.sift.is_idle() {
                let known = self.ready.len();
                if let Err(why) = self.sift.work(&mut self.ready) {
                    self.failed = Some(Err(why));
                    return Poll::Ready(());
                }
                if !self.sift.is_idle() {
                    // Others on this core first.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if self.body.is_end_stream() {
                    self.end();
                } else if self.body.is_whole() {
                    self.whole = true;
                    self.sift.finish(&mut self.ready);
                }
                if self.ended || self.whole || self.ready.len() > known {
                    return Poll::Ready(());
                }
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => {
                    self.end();
                    return Poll::Ready(());
                }
                Some(Err(error)) => {
                    self.failed = Some(Ok(error));
                    return Poll::Ready(());
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        raw(&data);
                        self.sift.take(data);
                    }
                    Err(frame) => {
                        self.trailers = trailers::passed(frame, &self.named, Some(&self.sift.masker));
                        self.end();
                        return Poll::Ready(());
                    }
                },
            }
        }
    }

    fn end(&mut self) {
        (self.whole, self.ended) = (true, true);
        self.sift.finish(&mut self.ready);
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Some(failed) = self.failed.take() {
                (self.whole, self.ended) = (true, true);
                self.trailers = None;
                let broken = match failed {
                    Ok(error) => Broken::Upstream(error),
                    Err(why) => {
                        tracing::warn!("{why}");
                        Broken::Withheld
                    }
                };
                return Poll::Ready(Some(Err(broken)));
            }
            if self.ended {
                return Poll::Ready(self.trailers.take().map(Ok));
            }
            ready!(self.poll_more(cx, &mut |_| {}));
        }
    }

    pub(super) fn is_end(&self) -> bool {
        self.ended && self.ready.is_empty() && self.trailers.is_none() && self.failed.is_none()
    }
}

/// Headers about the compressed bytes, which are not true of the decoded ones.
static OF_THE_CODED: [HeaderName; 6] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::ETAG,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("digest"),
];

/// The coding that an answer's body can be looked into with.
pub(super) fn coding_of(headers: &HeaderMap, status: http::StatusCode) -> Option<Coding> {
    let mut all = headers.get_all(header::CONTENT_ENCODING).iter();
    let coding = Coding::named(all.next()?.to_str().ok()?)?;
    // A slice out of the middle cannot be decoded by itself.
    let whole = status != http::StatusCode::PARTIAL_CONTENT;
    (whole && all.next().is_none()).then_some(coding)
}

/// Step 8 for a compressed text: the answer as it came, or decoded and masked, or a refusal.
pub(super) async fn returned(
    mut head: response::Parts,
    body: ResponseBody,
    masker: Masker,
    coding: Coding,
    named: Vec<HeaderName>,
    noted: Noted,
) -> Refused<Response<AnswerBody>> {
    let length = body.size_hint().exact();
    let events = head
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let mut coded = match CodedBody::new(body, masker.clone(), coding, named) {
        Ok(coded) => coded,
        Err(why) => {
            noted.failed(Code::AnswerWithheld);
            return Err(withheld(why));
        }
    };
    let mut seen = Vec::new();
    if !events {
        let beginning = async {
            while !coded.whole && coded.failed.is_none() && seen.len() <= BEGINNING {
                std::future::poll_fn(|cx| coded.poll_more(cx, &mut |raw| seen.extend_from_slice(raw))).await;
            }
        };
        if length.is_some_and(|length| length <= BEGINNING as u64) {
            beginning.await;
        } else {
            // What is not here by then is searched as it passes.
            drop(tokio::time::timeout(BEGINNING_WITHIN, beginning).await);
        }
    }
    match &coded.failed {
        None | Some(Ok(_)) => Ok(Response::from_parts(head, AnswerBody::coded(coded, length, noted))),
        Some(Err(why)) => {
            // The first decoder's place is the second's.
            let (why, mut body) = (*why, coded.into_body());
            let rest = async {
                while seen.len() <= BEGINNING {
                    match body.frame().await {
                        None => return true,
                        Some(Ok(frame)) => seen.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                        Some(Err(_)) => return false,
                    }
                }
                false
            };
            let whole = tokio::time::timeout(BEGINNING_WITHIN, rest).await.unwrap_or(false);
            let plain = (why == Withheld::Echo && whole).then(|| decode_all(coding, &seen, PLAIN)).flatten();
            let Some(plain) = plain else {
                noted.failed(Code::AnswerWithheld);
                return Err(withheld(why));
            };
            for name in &OF_THE_CODED {
                head.headers.remove(name);
            }
            head.headers.remove("repr-digest");
            Ok(Response::from_parts(head, AnswerBody::masked(masker.mask(plain.into()), noted)))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;
    use std::sync::Arc;

    use super::*;
    use crate::road::mask::MaskSet;

    const SECRET: &str = "the-secret-of-this-credential";

    fn masker() -> Masker {
        Masker::new(Some(Arc::new(MaskSet::new(&[SECRET.into()]))), None)
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        writer.write_all(plain).unwrap();
        writer.finish().unwrap()
    }

    fn coded(coding: &str, plain: &[u8]) -> (Coding, Vec<u8>) {
        match coding {
            "gzip" => (Coding::Gzip, gzip(plain)),
            "two members" => {
                let (one, two) = plain.split_at(plain.len() / 2);
                (Coding::Gzip, [gzip(one), gzip(two)].concat())
            }
            "zlib" => {
                let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
                writer.write_all(plain).unwrap();
                (Coding::Deflate, writer.finish().unwrap())
            }
            "bare deflate" => {
                let mut writer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
                writer.write_all(plain).unwrap();
                (Coding::Deflate, writer.finish().unwrap())
            }
            _ => {
                let mut out = Vec::new();
                let params = brotli::enc::BrotliEncoderParams { quality: 5, ..Default::default() };
                brotli::BrotliCompress(&mut &*plain, &mut out, &params).unwrap();
                (Coding::Brotli, out)
            }
        }
    }

    const CODINGS: [&str; 5] = ["gzip", "two members", "zlib", "bare deflate", "br"];

    /// What passes of a body that comes in pieces of this size, and why no more does.
    fn pass(coding: Coding, raw: &[u8], size: usize) -> (Vec<u8>, Option<Withheld>) {
        let (mut sift, mut out) = (Sift::new(masker(), coding).unwrap(), VecDeque::new());
        let mut passed = Vec::new();
        for piece in raw.chunks(size) {
            sift.take(Bytes::copy_from_slice(piece));
            while !sift.is_idle() {
                if let Err(why) = sift.work(&mut out) {
                    return (passed, Some(why));
                }
            }
            passed.extend(out.drain(..).flatten());
        }
        sift.finish(&mut out);
        passed.extend(out.drain(..).flatten());
        (passed, None)
    }

    /// Text that compresses like text.
    fn text(length: usize) -> Vec<u8> {
        let mut state = 7_u32;
        let words =
            ["alpha ", "beta ", "the-secret-of-", "{\"id\": ", "the-secret-of-this-credentia? ", "\n"];
        let mut text = Vec::new();
        while text.len() < length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.extend_from_slice(words[(state >> 16) as usize % words.len()].as_bytes());
            text.extend_from_slice((state >> 8).to_string().as_bytes());
        }
        text
    }

    #[test]
    fn what_holds_no_echo_passes_byte_for_byte() {
        for coding in CODINGS {
            for length in [0, 1, 300, 70_000, 1_500_000] {
                let (kind, raw) = coded(coding, &text(length));
                for size in [1, 7, 4_096, usize::MAX] {
                    if size == 1 && length > 70_000 {
                        continue;
                    }
                    let (passed, why) = pass(kind, &raw, size);
                    assert!(
                        passed == raw && why.is_none(),
                        "{coding}, {length} bytes in pieces of {size}: {why:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn an_echo_is_found_wherever_it_stands_and_no_more_of_it_passes() {
        for coding in CODINGS {
            for (before, after) in [(0, 0), (10, 500), (16_380, 50), (100_000, 100_000)] {
                let mut plain = text(before);
                plain.extend_from_slice(SECRET.as_bytes());
                plain.extend_from_slice(&text(after));
                let (kind, raw) = coded(coding, &plain);
                for size in [1, 1_000, usize::MAX] {
                    let (passed, why) = pass(kind, &raw, size);
                    assert_eq!(why, Some(Withheld::Echo), "{coding}, {before} before, pieces of {size}");
                    let mut seen = Vec::new();
                    let (mut decoder, mut space, mut rest) =
                        (Decoder::new(kind).unwrap(), vec![0; 1 << 20], &*passed);
                    while !rest.is_empty() {
                        let Ok(step) = decoder.step(rest, &mut space) else { break };
                        seen.extend_from_slice(&space[..step.written]);
                        rest = &rest[step.read..];
                        if step.after == After::Ended {
                            decoder = Decoder::new(kind).unwrap();
                        } else if step.after == After::Hungry {
                            break;
                        }
                    }
                    let own = &plain[..before.min(seen.len())];
                    assert!(seen.starts_with(own) || seen.len() < before, "{coding}");
                    assert!(!seen.ends_with(b"the-secret-of-this"), "{coding}: half of it had passed");
                    assert!(memchr::memmem::find(&seen, SECRET.as_bytes()).is_none());
                }
                assert_eq!(decode_all(kind, &raw, PLAIN).unwrap(), plain, "{coding}");
            }
        }
    }

    #[test]
    fn a_flushed_event_passes_at_once() {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let (mut sift, mut out, mut sent) = (Sift::new(masker(), Coding::Gzip).unwrap(), VecDeque::new(), 0);
        for number in 0..5 {
            write!(writer, "data: {number}\n\n").unwrap();
            writer.flush().unwrap();
            let piece = Bytes::copy_from_slice(&writer.get_ref()[sent..]);
            sent += piece.len();
            sift.take(piece.clone());
            sift.work(&mut out).unwrap();
            assert!(sift.is_idle());
            assert_eq!(out.drain(..).flatten().collect::<Vec<u8>>(), piece, "event {number}");
        }
    }

    #[test]
    fn a_bomb_is_worked_on_in_turns_and_then_given_up() {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..20 {
            writer.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        let raw = Bytes::from(writer.finish().unwrap());
        assert!(raw.len() < 30_000);
        let (mut sift, mut out, mut turns) =
            (Sift::new(masker(), Coding::Gzip).unwrap(), VecDeque::new(), 0_u64);
        sift.allowance = 1 << 20;
        let mut rest = raw.clone();
        let why = loop {
            if sift.is_idle() {
                sift.take(rest.split_to(rest.len().min(16 * 1024)));
            }
            turns += 1;
            if let Err(why) = sift.work(&mut out) {
                break why;
            }
            assert!(sift.decoded <= turns * (TURN + SPACE) as u64, "a turn is bounded");
        };
        assert_eq!(why, Withheld::TooMuch);
        assert!(sift.decoded <= sift.allowance + PER_BYTE * raw.len() as u64 + SPACE as u64);
        assert!(decode_all(Coding::Gzip, &raw, PLAIN).is_none(), "and never given out plain");
    }

    #[test]
    fn what_is_no_such_coding_is_masked_as_text() {
        let said = format!("plain text with {SECRET}, said to be gzip");
        let stars = said.replace(SECRET, &"*".repeat(SECRET.len()));
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Deflate] {
            for size in [1, 5, usize::MAX] {
                let (passed, why) = pass(coding, said.as_bytes(), size);
                assert_eq!(why, None);
                assert_eq!(String::from_utf8_lossy(&passed), stars, "{coding:?} in pieces of {size}");
            }
        }
        // Something plain behind the coded part.
        let raw = [gzip(b"hello"), said.clone().into_bytes()].concat();
        let (passed, _) = pass(Coding::Gzip, &raw, 9);
        assert!(passed.ends_with(stars.as_bytes()));
    }

    #[test]
    fn bytes_that_decode_to_nothing_are_not_held_for_ever() {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        writer.write_all(b"the-secret-of-").unwrap();
        writer.flush().unwrap();
        let start = writer.get_ref().clone();
        let (mut sift, mut out) = (Sift::new(masker(), Coding::Gzip).unwrap(), VecDeque::new());
        sift.take(start.into());
        sift.work(&mut out).unwrap();
        // Empty stored blocks, without end.
        let empty = Bytes::from([0, 0, 0, 0xff, 0xff].repeat(10_000));
        let why = (0..100).find_map(|_| {
            sift.take(empty.clone());
            sift.work(&mut out).err()
        });
        assert_eq!(why, Some(Withheld::TooMuch));
        assert!(out.iter().map(Bytes::len).sum::<usize>() < 30);
    }
}
