//! Content codings (RFC 9110 section 8.4.1) taken off piece by piece, with bounded memory and bounded work per step:
//! gzip (RFC 1952), deflate (RFC 1950, and the bare RFC 1951 that some servers send under that name), br (RFC 7932).
//!
//! Memory per answer: about 50 KiB for gzip and deflate, at most 16 MiB of window for br (large windows are refused);
//! so there are [`BROTLI_AT_ONCE`] of these at most, and while there is no place for another, br is not asked for.
//! zstd is not here: the decoder that there is in Rust gives nothing out before a whole window has passed.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderValue;
use tokio::sync::{Semaphore, SemaphorePermit};

/// In a process: 256 MiB of windows.
const BROTLI_AT_ONCE: usize = 16;
static BROTLI: Semaphore = Semaphore::const_new(BROTLI_AT_ONCE);

/// Whether an answer in br could be looked into now.
pub fn has_room_for_brotli() -> bool {
    BROTLI.available_permits() > 0
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Deflate,
    Brotli,
}

impl Coding {
    pub fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "br" => Some(Self::Brotli),
            _ => None,
        }
    }
}

/// What of an `Accept-Encoding` is asked for: the codings that can be looked into. `None` when that is all of it.
/// `brotli`: whether br is one of them.
pub fn readable_only(accept: &HeaderValue, brotli: bool) -> Option<HeaderValue> {
    let text = accept.to_str().ok()?;
    let readable = |part: &&str| {
        let name = part.split(';').next().unwrap_or_default().trim();
        let coding = Coding::named(name).filter(|coding| brotli || *coding != Coding::Brotli);
        name.is_empty() || name.eq_ignore_ascii_case("identity") || coding.is_some()
    };
    if text.split(',').all(|part| readable(&part)) {
        return None;
    }
    let kept: Vec<&str> = text.split(',').filter(readable).map(str::trim).collect();
    let kept = kept.join(", ");
    Some(
        HeaderValue::from_str(&kept)
            .ok()
            .filter(|_| !kept.is_empty())
            .unwrap_or(HeaderValue::from_static("identity")),
    )
}

/// What came of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The output is full: there may be more without further input.
    Full,
    /// All input is used.
    Hungry,
    /// The coded data has ended; what follows in the input is something else.
    Ended,
}

#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub read: usize,
    pub written: usize,
    pub after: After,
}

/// The bytes are not what the coding's name says.
#[derive(Debug)]
pub struct NotCoded;

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

enum Kind {
    /// Which of the two it is shows in the first byte.
    DeflateUnseen,
    Inflate(Decompress),
    Brotli(Box<Brotli>),
}

pub struct Decoder {
    kind: Kind,
    /// Held as long as the window is.
    _place: Option<SemaphorePermit<'static>>,
}

impl Decoder {
    /// `None`: too many answers in br are being looked into at the moment.
    pub fn new(coding: Coding) -> Option<Self> {
        Self::placed(coding, &BROTLI)
    }

    fn placed(coding: Coding, places: &'static Semaphore) -> Option<Self> {
        let mut place = None;
        let kind = match coding {
            Coding::Gzip => Kind::Inflate(Decompress::new_gzip(15)),
            Coding::Deflate => Kind::DeflateUnseen,
            Coding::Brotli => {
                let (bytes, words, codes) = Default::default();
                place = Some(places.try_acquire().ok()?);
                Kind::Brotli(Box::new(BrotliState::new_strict(bytes, words, codes)))
            }
        };
        Some(Self { kind, _place: place })
    }

    /// Takes of `input` what fills `output` at most.
    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, NotCoded> {
        if let Kind::DeflateUnseen = self.kind {
            let Some(first) = input.first() else {
                return Ok(Step { read: 0, written: 0, after: After::Hungry });
            };
            // RFC 1950: method 8 and a window of at most 32 KiB. Bare deflate begins with a block header whose
            // padding, in the only block type that these bits could mean, is not set by any encoder.
            self.kind = Kind::Inflate(Decompress::new(first & 0x0f == 8 && first >> 4 <= 7));
        }
        match &mut self.kind {
            Kind::DeflateUnseen => Err(NotCoded),
            Kind::Inflate(inflate) => {
                let (read, written) = (inflate.total_in(), inflate.total_out());
                let status =
                    inflate.decompress(input, output, FlushDecompress::None).map_err(|_| NotCoded)?;
                let moved = |to: u64, from: u64| usize::try_from(to - from).map_err(|_| NotCoded);
                let (read, written) =
                    (moved(inflate.total_in(), read)?, moved(inflate.total_out(), written)?);
                let after = match status {
                    Status::StreamEnd => After::Ended,
                    _ if written == output.len() => After::Full,
                    _ if read == input.len() => After::Hungry,
                    Status::Ok => After::Full,
                    Status::BufError => return Err(NotCoded),
                };
                Ok(Step { read, written, after })
            }
            Kind::Brotli(state) => {
                let (mut left, mut read, mut room, mut written) = (input.len(), 0, output.len(), 0);
                let mut total = 0;
                let result = BrotliDecompressStream(
                    &mut left,
                    &mut read,
                    input,
                    &mut room,
                    &mut written,
                    output,
                    &mut total,
                    state,
                );
                let after = match result {
                    BrotliResult::ResultSuccess => After::Ended,
                    BrotliResult::NeedsMoreInput => After::Hungry,
                    BrotliResult::NeedsMoreOutput => After::Full,
                    BrotliResult::ResultFailure => return Err(NotCoded),
                };
                Ok(Step { read, written, after })
            }
        }
    }
}

/// A whole coded body as plain bytes, if it is one and not longer than `max`.
pub fn decode_all(coding: Coding, mut input: &[u8], max: usize) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let mut space = vec![0; 16 * 1024];
    let mut decoder = Decoder::new(coding)?;
    loop {
        let step = decoder.step(input, &mut space).ok()?;
        plain.extend_from_slice(space.get(..step.written)?);
        if plain.len() > max {
            return None;
        }
        input = input.get(step.read..)?;
        match step.after {
            After::Full => {}
            After::Hungry => return None,
            After::Ended if input.is_empty() => return Some(plain),
            // RFC 1952 section 2.2: members follow each other.
            After::Ended if coding == Coding::Gzip && input.starts_with(&[0x1f]) => {
                decoder = Decoder::new(coding)?
            }
            After::Ended => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_can_be_read_is_asked_for() {
        for (sent, asked) in [
            ("gzip, br", None),
            ("gzip;q=0.8, identity", None),
            ("", None),
            ("gzip, deflate, br, zstd", Some("gzip, deflate, br")),
            ("zstd", Some("identity")),
            ("*", Some("identity")),
            ("br;q=1.0, dcb;q=0.5, X-GZIP", Some("br;q=1.0, X-GZIP")),
        ] {
            let got = readable_only(&HeaderValue::from_static(sent), true);
            assert_eq!(got, asked.map(HeaderValue::from_static), "{sent}");
        }
        for (sent, asked) in [("gzip, br", Some("gzip")), ("br", Some("identity")), ("gzip", None)] {
            let got = readable_only(&HeaderValue::from_static(sent), false);
            assert_eq!(got, asked.map(HeaderValue::from_static), "{sent} without room for br");
        }
    }

    #[test]
    fn brotli_windows_are_counted_in_the_process() {
        static TWO: Semaphore = Semaphore::const_new(2);
        let held = [Decoder::placed(Coding::Brotli, &TWO), Decoder::placed(Coding::Brotli, &TWO)];
        assert!(held.iter().all(Option::is_some));
        assert!(Decoder::placed(Coding::Brotli, &TWO).is_none());
        assert!(Decoder::placed(Coding::Gzip, &TWO).is_some(), "the others have small windows");
        drop(held);
        assert!(Decoder::placed(Coding::Brotli, &TWO).is_some());
    }
}
