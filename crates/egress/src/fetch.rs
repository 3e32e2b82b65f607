//! A whole exchange for requests of our own: tokens, verifications, discovery documents.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use latchstring_model::Origin;
use tokio::time::timeout;

use crate::body::RequestBody;
use crate::error::{EgressError, Stage};
use crate::permit::Permit;
use crate::pool::Pool;
use crate::tls::Identity;

/// An answer read whole.
#[derive(Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The body was longer than the limit and is cut there.
    pub truncated: bool,
}

impl Pool {
    /// Sends a request and reads the answer, at most `max_body` bytes of it and all `within` a time.
    pub async fn fetch<'p>(
        &self,
        permit: impl Into<Permit<'p>>,
        identity: Option<&Identity>,
        origin: &Origin,
        request: Request<Bytes>,
        max_body: usize,
        within: Duration,
    ) -> Result<Answer, EgressError> {
        let permit = permit.into();
        let exchange = async {
            let answer = self.send(permit, identity, origin, request.map(RequestBody::full)).await?;
            let (head, mut body) = answer.into_parts();
            let expected = usize::try_from(body.size_hint().lower()).unwrap_or(max_body).min(max_body);
            let mut read = BytesMut::with_capacity(expected);
            let mut truncated = false;
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame?.into_data() else { continue };
                let room = max_body - read.len();
                read.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() > room {
                    truncated = true;
                    break;
                }
            }
            Ok(Answer { status: head.status, headers: head.headers, body: read.freeze(), truncated })
        };
        timeout(within, exchange).await.unwrap_or(Err(EgressError::Timeout { stage: Stage::Whole }))
    }
}
