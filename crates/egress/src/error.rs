//! What can go wrong on the way out: what happened, why that usually is, what to do next.

use std::error::Error;
use std::fmt;
use std::io;

use latchstring_model::{Code, Origin, Problem};

use crate::rules::Refusal;
use crate::tls::TlsFault;

/// Why no answer came back.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The permit is not for this origin. Nothing was sent.
    #[error("{origin} is not a destination that this credential is pinned to")]
    NotPinned { origin: Box<Origin> },
    /// Not resolved, refused by the rules, or nobody listening: one text for all. Nothing was sent.
    #[error("{0}")]
    Unreachable(#[from] Unreachable),
    /// TLS could not be agreed on.
    #[error("{0}")]
    Tls(#[from] TlsFault),
    /// As many connections are open as there may be. Nothing was sent.
    #[error("as many connections to APIs are open as this server allows")]
    TooMany,
    /// A limit passed.
    #[error("{}", .stage.text())]
    Timeout { stage: Stage },
    /// The connection broke, or what came over it was not HTTP.
    #[error("the connection to the API broke before its answer was complete")]
    Broken {
        /// The API may have acted on the request: sending it again may do a thing twice.
        maybe_processed: bool,
        reason: Box<str>,
    },
    /// The body that was to be sent failed: its sender went away or broke its framing.
    #[error("the request's body ended before it was complete")]
    RequestBody { reason: Box<str> },
}

/// Where the time went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Look-up and connection. Nothing was sent.
    Connect,
    /// TLS handshake. Nothing was sent.
    Handshake,
    /// The request is sent, the head of the answer did not come.
    ResponseHead,
    /// The request's own body stalled: whoever sends it stopped.
    RequestBody,
    /// The answer's body stalled.
    ResponseBody,
    /// The caller's limit for the whole exchange.
    Whole,
}

impl Stage {
    fn text(self) -> &'static str {
        match self {
            Stage::Connect => "the API did not accept a connection in time",
            Stage::Handshake => "the API accepted a connection but did not finish the TLS handshake in time",
            Stage::ResponseHead => "the API took the request but did not begin to answer in time",
            Stage::RequestBody => "the request's body stopped coming before it was complete",
            Stage::ResponseBody => "the API stopped in the middle of its answer",
            Stage::Whole => "the API did not answer completely in time",
        }
    }

    fn sent(self) -> bool {
        !matches!(self, Stage::Connect | Stage::Handshake)
    }
}

/// No connection to the host. `Display` is the one outward text; the reason is for operators.
#[derive(Debug)]
pub struct Unreachable {
    reason: UnreachableReason,
}

#[derive(Debug)]
pub(crate) enum UnreachableReason {
    Unresolved(io::Error),
    NoAddress,
    Refused(Refusal),
    Connect(io::Error),
    Proxy(Box<str>),
}

impl Unreachable {
    pub(crate) fn new(reason: UnreachableReason) -> Self {
        Self { reason }
    }

    /// The precise reason, for the operator's log only: shown to callers it would make a port
    /// scanner of every verification.
    pub fn operator_reason(&self) -> String {
        match &self.reason {
            UnreachableReason::Unresolved(error) => format!("the name was not resolved: {error}"),
            UnreachableReason::NoAddress => "the name has no address".to_owned(),
            UnreachableReason::Refused(refusal) => format!("the address is refused: {}", refusal.explain()),
            UnreachableReason::Connect(error) => format!("the connection failed: {error}"),
            UnreachableReason::Proxy(what) => format!("the outbound proxy: {what}"),
        }
    }

    /// The refusal, when it was the rules that said no. For operators and tests.
    pub fn refusal(&self) -> Option<Refusal> {
        match self.reason {
            UnreachableReason::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host could not be reached")
    }
}

impl Error for Unreachable {}

impl EgressError {
    /// Whether the API may have acted on the request. `false`: it is safe to send it again.
    pub fn maybe_processed(&self) -> bool {
        match self {
            EgressError::NotPinned { .. } | EgressError::Unreachable(_) | EgressError::TooMany => false,
            EgressError::Tls(fault) => fault.after_sending(),
            EgressError::Timeout { stage } => stage.sent(),
            EgressError::Broken { maybe_processed, .. } => *maybe_processed,
            EgressError::RequestBody { .. } => true,
        }
    }

    /// The precise reason, for the operator's log only.
    pub fn operator_reason(&self) -> String {
        match self {
            EgressError::Unreachable(unreachable) => unreachable.operator_reason(),
            EgressError::Broken { reason, .. } | EgressError::RequestBody { reason } => reason.to_string(),
            EgressError::Tls(fault) => fault.operator_reason(),
            other => other.to_string(),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            EgressError::NotPinned { .. } => {
                "A credential's values go only where it was verified. If the API has moved, its owner verifies the credential with the new address."
            }
            EgressError::Unreachable(_) => {
                "Usually the host name has a typing error, the server is down, or it is in a private network that the operator has not allowed. Check the address; an operator finds the exact reason in the log and can allow a network with LATCHSTRING_EGRESS_ALLOW."
            }
            EgressError::Tls(fault) => fault.hint(),
            EgressError::TooMany => {
                "Nothing was sent; try again in a moment, with fewer calls at once. Whoever runs the server gives it more open files (`ulimit -n`, LimitNOFILE)."
            }
            EgressError::Timeout { stage: Stage::Connect | Stage::Handshake } => {
                "Usually a firewall drops the packets, or the port is wrong. Nothing was sent; it is safe to try again."
            }
            EgressError::Timeout { stage: Stage::RequestBody } | EgressError::RequestBody { .. } => {
                "Send the whole body, with a Content-Length that fits it. The API may have seen a part of it."
            }
            EgressError::Timeout { .. } => {
                "Usually the API is overloaded or the request asks for much. It may have been processed: look before you send it again."
            }
            EgressError::Broken { maybe_processed: true, .. } => {
                "Usually the API restarted or a gateway before it hung up. The request may have been processed: look before you send it again."
            }
            EgressError::Broken { maybe_processed: false, .. } => {
                "Usually the API restarted or a gateway before it hung up. The request was not sent; it is safe to try again."
            }
        }
    }
}

impl From<&EgressError> for Problem {
    fn from(error: &EgressError) -> Self {
        let code = match error {
            EgressError::NotPinned { .. } => Code::DestinationNotAllowed,
            EgressError::TooMany => Code::Busy,
            EgressError::Unreachable(_) | EgressError::Tls(_) | EgressError::Broken { .. } => {
                Code::UpstreamUnreachable
            }
            EgressError::RequestBody { .. } | EgressError::Timeout { stage: Stage::RequestBody } => {
                Code::BadRequest
            }
            EgressError::Timeout { .. } => Code::UpstreamTimeout,
        };
        let text = error.to_string();
        let mut detail = String::with_capacity(text.len() + 1);
        let mut letters = text.chars();
        if let Some(first) = letters.next() {
            detail.extend(first.to_uppercase());
        }
        detail.push_str(letters.as_str());
        detail.push('.');
        let problem = Problem::new(code, detail).hint(error.hint());
        if code == Code::Busy { problem.retry_after(1) } else { problem }
    }
}

impl From<EgressError> for Problem {
    fn from(error: EgressError) -> Self {
        Problem::from(&error)
    }
}

/// A setting that cannot be used; the server does not start with it.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the extra CA file: {0}")]
    ExtraCa(crate::tls::IdentityError),
    #[error("TLS could not be set up: {0}")]
    Tls(rustls::Error),
    #[error("the outbound proxy is no address like http://proxy.example.com:3128")]
    Proxy,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable(reason: UnreachableReason) -> EgressError {
        EgressError::Unreachable(Unreachable::new(reason))
    }

    #[test]
    fn unresolved_refused_and_dead_read_the_same() {
        let all = [
            unreachable(UnreachableReason::Unresolved(io::Error::other("NXDOMAIN"))),
            unreachable(UnreachableReason::NoAddress),
            unreachable(UnreachableReason::Refused(Refusal::Private)),
            unreachable(UnreachableReason::Refused(Refusal::Metadata)),
            unreachable(UnreachableReason::Refused(Refusal::OwnListener)),
            unreachable(UnreachableReason::Refused(Refusal::Cleartext)),
            unreachable(UnreachableReason::Connect(io::ErrorKind::ConnectionRefused.into())),
            unreachable(UnreachableReason::Proxy("403".into())),
        ];
        let texts: std::collections::HashSet<_> =
            all.iter().map(|e| Problem::from(e).to_json().to_string()).collect();
        assert_eq!(texts.len(), 1);
        let reasons: std::collections::HashSet<_> = all.iter().map(EgressError::operator_reason).collect();
        assert_eq!(reasons.len(), all.len(), "the operator sees each");
    }
}
