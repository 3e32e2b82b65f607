//! A request's body that is taken in whole before it is sent: because a signature goes over it, or because it is small and
//! may have to be sent twice.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;
use latchstring_egress::{BoxError, EgressError, Stage};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem};

use super::lane::egress_problem;

pub(super) struct Whole {
    pub bytes: Bytes,
    pub trailers: Option<HeaderMap>,
}

fn too_long(max: usize) -> Box<Problem> {
    Problem::new(
        Code::BodyTooLarge,
        format!(
            "This credential signs the body, so it must be held in memory, and it is longer than {max} bytes."
        ),
    )
    .hint("Send a smaller body; if the API offers uploads in parts, use those.")
    .into()
}

/// `patience`: how long no piece may come.
pub(super) async fn hold<B>(mut body: B, max: usize, patience: Duration) -> Refused<Whole>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    // Said before it is sent: a client that waits for `100 Continue` need not send it at all.
    if body.size_hint().lower() > max as u64 {
        return Err(too_long(max));
    }
    // Mostly it comes in one piece, which need not be copied.
    let (mut first, mut all) = (Bytes::new(), BytesMut::new());
    let mut trailers = None;
    loop {
        let Ok(frame) = tokio::time::timeout(patience, body.frame()).await else {
            return Err(egress_problem(&EgressError::Timeout { stage: Stage::RequestBody }));
        };
        let frame = match frame {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                let reason = error.into().to_string().into();
                return Err(egress_problem(&EgressError::RequestBody { reason }));
            }
        };
        match frame.into_data() {
            Ok(data) if first.len() + all.len() + data.len() > max => return Err(too_long(max)),
            Ok(data) if first.is_empty() && all.is_empty() => first = data,
            Ok(data) => {
                if all.is_empty() {
                    all.extend_from_slice(&std::mem::take(&mut first));
                }
                all.extend_from_slice(&data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(Whole { bytes: if all.is_empty() { first } else { all.freeze() }, trailers })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;

    use super::*;

    /// Ends, or says nothing more for ever.
    struct Pieces(std::vec::IntoIter<Frame<Bytes>>, bool);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.next() {
                None if !self.1 => Poll::Pending,
                piece => Poll::Ready(piece.map(Ok)),
            }
        }
    }

    fn pieces(all: &[&'static str], ends: bool) -> Pieces {
        Pieces(all.iter().map(|piece| Frame::data((*piece).into())).collect::<Vec<_>>().into_iter(), ends)
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn it_comes_whole_however_it_is_cut() {
        for all in [&["abcdef"][..], &["abc", "def"], &["", "a", "bcde", "", "f"]] {
            let whole = hold(pieces(all, true), 6, PATIENCE).await.unwrap();
            assert_eq!(whole.bytes, "abcdef");
            assert!(whole.trailers.is_none());
            let refused = hold(pieces(all, true), 5, PATIENCE).await.err().unwrap();
            assert_eq!(refused.code, Code::BodyTooLarge);
        }
    }

    #[tokio::test]
    async fn its_trailers_are_kept() {
        let mut fields = HeaderMap::new();
        fields.insert("x-sum", "1".parse().unwrap());
        let all = vec![Frame::data("abc".into()), Frame::trailers(fields.clone())];
        let whole = hold(Pieces(all.into_iter(), true), 3, PATIENCE).await.unwrap();
        assert_eq!((whole.bytes, whole.trailers), ("abc".into(), Some(fields)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_in_the_middle_is_not_waited_for() {
        let refused = hold(pieces(&["abc"], false), 6, PATIENCE).await.err().unwrap();
        assert_eq!(refused.code, Code::BadRequest);
    }
}
