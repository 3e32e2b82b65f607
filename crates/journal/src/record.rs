//! The two immutable facts of a call. They are joined by `call_id` when they are read.
//!
//! A record as it is written *is* the canonical form that the audit chain hashes: compact JSON,
//! members in the order below, absent members left out, times in milliseconds since 1970 (UTC).

use std::borrow::Cow;

use latchstring_model::Timestamp;
use latchstring_model::entity::Outcome;
use latchstring_model::id::{CallId, CredentialId, ProjectId};
use serde::{Deserialize, Serialize};

/// One line of the journal.
#[allow(
    clippy::large_enum_variant,
    reason = "made for one append and borrowed from there; a box would be an allocation"
)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Record<'a> {
    Intent(Intent<'a>),
    Result(CallResult<'a>),
}

/// A secret is about to leave: who uses which credential for what, and where it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent<'a> {
    pub call_id: Cow<'a, CallId>,
    pub at: Timestamp,
    /// The project on whose behalf; `None` where a person tries a credential of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<Cow<'a, ProjectId>>,
    pub credential_id: Cow<'a, CredentialId>,
    pub actor: Actor<'a>,
    /// The credential's environment whose values are used.
    pub environment: Cow<'a, str>,
    /// The project's environment in which the call is made; `None` where no project calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_environment: Option<Cow<'a, str>>,
    pub purpose: Purpose,
    /// As sent, in capitals.
    pub method: Cow<'a, str>,
    /// Host, with the port where it is not the scheme's own.
    pub host: Cow<'a, str>,
    /// The caller's path, never the rendered one; without the query, whose values may be secret.
    pub path: Cow<'a, str>,
    /// The caller's address, without the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Cow<'a, str>>,
    /// Whom the other side takes for who did it, as the credential's owner noted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acts_as: Option<Cow<'a, str>>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallResult<'a> {
    pub call_id: Cow<'a, CallId>,
    pub at: Timestamp,
    pub outcome: Outcome,
    /// The upstream's status, when it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub duration_ms: u64,
    /// Bytes of the answer's body that were handed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Latchstring's own error code, when the error is Latchstring's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'a, str>>,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor<'a> {
    #[serde(rename = "type")]
    pub kind: ActorKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    User,
    Key,
    Server,
    Anonymous,
}

impl ActorKind {
    pub const ALL: &'static [ActorKind] =
        &[ActorKind::User, ActorKind::Key, ActorKind::Server, ActorKind::Anonymous];

    pub const fn as_str(self) -> &'static str {
        match self {
            ActorKind::User => "user",
            ActorKind::Key => "key",
            ActorKind::Server => "server",
            ActorKind::Anonymous => "anonymous",
        }
    }
}

/// What a secret leaves for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Call,
    Verify,
    Token,
    Revoke,
    Step,
    Metadata,
    Operation,
    Database,
    /// Not a use: somebody is told about the credential, and nothing of it is sent.
    Webhook,
}

impl Purpose {
    pub const ALL: &'static [Purpose] = &[
        Purpose::Call,
        Purpose::Verify,
        Purpose::Token,
        Purpose::Revoke,
        Purpose::Step,
        Purpose::Metadata,
        Purpose::Operation,
        Purpose::Database,
        Purpose::Webhook,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::Call => "call",
            Purpose::Verify => "verify",
            Purpose::Token => "token",
            Purpose::Revoke => "revoke",
            Purpose::Step => "step",
            Purpose::Metadata => "metadata",
            Purpose::Operation => "operation",
            Purpose::Database => "database",
            Purpose::Webhook => "webhook",
        }
    }
}

/// A body that is no record of this version.
#[derive(Debug, thiserror::Error)]
#[error("a line of the journal is not a record that this version knows: {0}")]
pub struct NotARecord(#[from] serde_json::Error);

impl Record<'_> {
    /// Reads the body of a line.
    pub fn parse(body: &[u8]) -> Result<Record<'static>, NotARecord> {
        Ok(serde_json::from_slice(body)?)
    }

    pub fn call_id(&self) -> &CallId {
        match self {
            Record::Intent(intent) => &intent.call_id,
            Record::Result(result) => &result.call_id,
        }
    }

    /// The canonical form. The same bytes as serde_json's (a property test holds them together),
    /// at half the cost: this runs twice for every call, before and after the secret leaves.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Record::Intent(intent) => {
                raw(out, r#"{"fact":"intent","call_id":"#);
                plain(out, intent.call_id.as_str());
                raw(out, r#","at":"#);
                number(out, intent.at.millis());
                if let Some(project) = &intent.project_id {
                    raw(out, r#","project_id":"#);
                    plain(out, project.as_str());
                }
                raw(out, r#","credential_id":"#);
                plain(out, intent.credential_id.as_str());
                raw(out, r#","actor":{"type":"#);
                plain(out, intent.actor.kind.as_str());
                optional(out, r#","id":"#, intent.actor.id.as_deref());
                optional(out, r#","email":"#, intent.actor.email.as_deref());
                raw(out, r#"},"environment":"#);
                text(out, &intent.environment);
                optional(out, r#","project_environment":"#, intent.project_environment.as_deref());
                raw(out, r#","purpose":"#);
                plain(out, intent.purpose.as_str());
                raw(out, r#","method":"#);
                text(out, &intent.method);
                raw(out, r#","host":"#);
                text(out, &intent.host);
                raw(out, r#","path":"#);
                text(out, &intent.path);
                optional(out, r#","client":"#, intent.client.as_deref());
                optional(out, r#","acts_as":"#, intent.acts_as.as_deref());
            }
            Record::Result(result) => {
                raw(out, r#"{"fact":"result","call_id":"#);
                plain(out, result.call_id.as_str());
                raw(out, r#","at":"#);
                number(out, result.at.millis());
                raw(out, r#","outcome":"#);
                plain(out, result.outcome.as_str());
                if let Some(status) = result.status {
                    raw(out, r#","status":"#);
                    number(out, status);
                }
                raw(out, r#","duration_ms":"#);
                number(out, result.duration_ms);
                if let Some(bytes) = result.bytes {
                    raw(out, r#","bytes":"#);
                    number(out, bytes);
                }
                optional(out, r#","code":"#, result.code.as_deref());
            }
        }
        out.push(b'}');
    }
}

fn raw(out: &mut Vec<u8>, json: &str) {
    out.extend_from_slice(json.as_bytes());
}

fn optional(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        raw(out, name);
        text(out, value);
    }
}

/// Ids and our own words: their alphabets hold nothing that JSON escapes.
fn plain(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn text(out: &mut Vec<u8>, value: &str) {
    // Without a branch in it, so that the compiler can look at many bytes at once.
    let escape = |bad, byte: &u8| bad | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\');
    if value.as_bytes().iter().fold(false, escape) {
        // Writing into memory cannot fail.
        let _ = serde_json::to_writer(out, value);
    } else {
        plain(out, value);
    }
}

fn number(out: &mut Vec<u8>, value: impl Serialize) {
    let _ = serde_json::to_writer(out, &value);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn any_text() -> impl Strategy<Value = Cow<'static, str>> {
        // With quotes, backslashes, control characters and what is not ASCII.
        prop_oneof!["[a-z/._-]{0,20}", "\\PC{0,10}", any::<String>()].prop_map(Cow::Owned)
    }

    fn id<T: std::str::FromStr + Clone>(prefix: &str, digits: &str) -> Cow<'static, T> {
        Cow::Owned(format!("{prefix}{digits}").parse().ok().unwrap())
    }

    prop_compose! {
        fn any_intent()(
            digits in "[0-9a-h]{26}",
            at: i64,
            project in option::of("[0-9a-h]{26}"),
            kind in select(ActorKind::ALL),
            actor in (option::of(any_text()), option::of(any_text())),
            environment in any_text(),
            purpose in select(Purpose::ALL),
            target in (any_text(), any_text(), any_text()),
            client in option::of(any_text()),
            acts_as in option::of(any_text()),
            project_environment in option::of(any_text()),
        ) -> Record<'static> {
            Record::Intent(Intent {
                call_id: id("cal_", &digits),
                at: Timestamp(at),
                project_id: project.map(|digits| id("prj_", &digits)),
                credential_id: id("crd_", &digits),
                actor: Actor { kind, id: actor.0, email: actor.1 },
                environment,
                project_environment,
                purpose,
                method: target.0,
                host: target.1,
                path: target.2,
                client,
                acts_as,
            })
        }
    }

    prop_compose! {
        fn any_result()(
            digits in "[0-9a-h]{26}",
            at: i64,
            outcome in select(Outcome::ALL),
            status: Option<u16>,
            duration_ms: u64,
            bytes: Option<u64>,
            code in option::of(any_text()),
        ) -> Record<'static> {
            let call_id = id("cal_", &digits);
            let at = Timestamp(at);
            Record::Result(CallResult { call_id, at, outcome, status, duration_ms, bytes, code })
        }
    }

    proptest! {
        #[test]
        fn records_are_written_as_serde_writes_them(record in prop_oneof![any_intent(), any_result()]) {
            let mut out = Vec::new();
            record.write(&mut out);
            prop_assert_eq!(&out, &serde_json::to_vec(&record).unwrap());
            prop_assert!(!out.contains(&b'\n'));
            prop_assert_eq!(Record::parse(&out).unwrap(), record);
        }
    }

    #[test]
    fn the_canonical_form_does_not_change() {
        let call: CallId = "cal_00000000010000000000000000".parse().unwrap();
        let credential: CredentialId = "crd_00000000020000000000000000".parse().unwrap();
        let intent = Record::Intent(Intent {
            call_id: Cow::Borrowed(&call),
            at: Timestamp(1_700_000_000_123),
            project_id: None,
            credential_id: Cow::Borrowed(&credential),
            actor: Actor { kind: ActorKind::Key, id: Some("key_1".into()), email: None },
            environment: "production".into(),
            project_environment: None,
            purpose: Purpose::Call,
            method: "GET".into(),
            host: "api.example.com".into(),
            path: "/a\n\"b\"".into(),
            client: None,
            acts_as: None,
        });
        let mut out = Vec::new();
        intent.write(&mut out);
        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            concat!(
                r#"{"fact":"intent","call_id":"cal_00000000010000000000000000","at":1700000000123,"#,
                r#""credential_id":"crd_00000000020000000000000000","actor":{"type":"key","id":"key_1"},"#,
                r#""environment":"production","purpose":"call","method":"GET","host":"api.example.com","#,
                r#""path":"/a\n\"b\""}"#
            )
        );
        assert_eq!(Record::parse(&out).unwrap(), intent);

        let result = Record::Result(CallResult {
            call_id: Cow::Borrowed(&call),
            at: Timestamp(5),
            outcome: Outcome::Failed,
            status: Some(502),
            duration_ms: 7,
            bytes: None,
            code: Some("upstream_unreachable".into()),
        });
        out.clear();
        result.write(&mut out);
        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            concat!(
                r#"{"fact":"result","call_id":"cal_00000000010000000000000000","at":5,"#,
                r#""outcome":"failed","status":502,"duration_ms":7,"code":"upstream_unreachable"}"#
            )
        );
        assert_eq!(Record::parse(&out).unwrap(), result);
        assert_eq!(Record::parse(&out).unwrap().call_id(), &call);
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        for body in ["", "{}", r#"{"fact":"other"}"#, r#"{"fact":"intent","call_id":"x"}"#] {
            assert!(Record::parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
