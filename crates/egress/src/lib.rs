//! The only way out: every outgoing connection of Latchstring is opened here.
//!
//! What it promises:
//! * **Filter at connect.** A name is resolved once; every address it has, and every literal, is
//!   judged by [`Rules`]; exactly the judged address is dialled. There is no second look-up that an
//!   attacker's DNS server could answer differently. Of several addresses those that are refused are
//!   left out and the others are used; when none is left, the destination is unreachable.
//! * **Pins.** Nothing is sent without a [`Permit`], which names the origins it is good for.
//! * **No redirects, no environment.** Redirects are answers like any other. `HTTP_PROXY`,
//!   `SSL_CERT_FILE`, `SSLKEYLOGFILE` and `.netrc` are not read; trust and a proxy are [`Settings`].
//! * **One outward text.** Not resolved, refused by the rules, and nobody listening read the same
//!   ([`Unreachable`]), so that verifying a credential is no port scanner; the precise reason is for
//!   the operator's log only.
//!
//! With an outbound proxy names are still resolved and judged here, and `CONNECT` names the judged
//! address: the proxy cannot be talked into a second look-up either. TLS runs inside the tunnel and
//! still proves the *name*.
//!
//! Speed: a [`Pool`] belongs to one runtime (one per data core) and is the only thing that a warm
//! call touches; its locks are never contended there. Sockets belong to the runtime that opened them.
//!
//! Units: all limits are [`std::time::Duration`]s and bytes.

mod body;
mod dial;
mod error;
mod fetch;
mod limits;
mod patience;
mod permit;
mod pool;
mod proxy;
mod resolve;
mod rules;
mod send;
mod stream;
mod tls;

pub use body::{BoxError, RequestBody, ResponseBody};
pub use dial::{Egress, Settings, Wire};
pub use error::{EgressError, SetupError, Stage, Unreachable};
pub use fetch::Answer;
pub use limits::Limits;
pub use patience::PatientTimer;
pub use permit::{Configured, Permit};
pub use pool::{Pool, Stats};
pub use proxy::OutboundProxy;
pub use resolve::{Resolve, Resolving, SystemResolver};
pub use rules::{AllowRule, AllowRuleError, Policy, Refusal, Rules, Verdict, judge};
pub use stream::Stream;
pub use tls::{Identity, IdentityError, IdentityParts, TlsFault};
