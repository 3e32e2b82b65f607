//! What a sealed value is bound to.

use latchstring_model::id::ProjectId;

/// What kind of value is sealed. The text goes into the AAD: it is never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// The values of one environment of a credential, current or kept as a version.
    CredentialValues,
    /// What a scheme obtained: access token, refresh token, session.
    Token,
    /// A project's secret for templates.
    Secret,
    /// A project's variable for templates.
    Variable,
    /// The client secret or private key of an OAuth client.
    OAuthClient,
    /// The state of a consent under way: PKCE verifier, nonce.
    ConsentState,
    /// A person's second factor.
    TotpSecret,
    /// The secret that a webhook's senders sign with.
    WebhookSecret,
    /// A setting of the instance that is secret.
    Setting,
    /// The key that audit checkpoints and anchors are signed with.
    AuditKey,
}

impl Purpose {
    pub const ALL: &'static [Purpose] = &[
        Purpose::CredentialValues,
        Purpose::Token,
        Purpose::Secret,
        Purpose::Variable,
        Purpose::OAuthClient,
        Purpose::ConsentState,
        Purpose::TotpSecret,
        Purpose::WebhookSecret,
        Purpose::Setting,
        Purpose::AuditKey,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::CredentialValues => "credential_values",
            Purpose::Token => "token",
            Purpose::Secret => "secret",
            Purpose::Variable => "variable",
            Purpose::OAuthClient => "oauth_client",
            Purpose::ConsentState => "consent_state",
            Purpose::TotpSecret => "totp_secret",
            Purpose::WebhookSecret => "webhook_secret",
            Purpose::Setting => "setting",
            Purpose::AuditKey => "audit_key",
        }
    }
}

/// The place of a sealed value in the world of *words* (credential, environment, version), never
/// of tables and columns, so that a migration moves rows without re-sealing them.
///
/// The format is not a member: it is the first byte of the sealed value and is bound with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Aad {
    pub purpose: Purpose,
    /// The logical id of what the value belongs to: `crd_…`, `oac_…`, a secret's name, a token's
    /// key. With several secret fields of one object, the field's name belongs in here too.
    pub object: String,
    /// The environment whose value it is; `None` for what has no environments.
    pub environment: Option<String>,
    /// The version of the value; any number, 0 where there are no versions.
    pub version: i64,
    /// The project that owns it; `None` for what a person or the instance owns.
    pub project: Option<ProjectId>,
}

impl Aad {
    /// Injective: two different AADs never encode to the same bytes, because every text is
    /// preceded by its length (u64, big-endian) and every option by 0 or 1.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(192);
        put(&mut out, self.purpose.as_str());
        put(&mut out, &self.object);
        put_option(&mut out, self.environment.as_deref());
        out.extend_from_slice(&self.version.to_be_bytes());
        put_option(&mut out, self.project.as_ref().map(ProjectId::as_str));
        out
    }
}

pub(crate) fn put(out: &mut Vec<u8>, text: &str) {
    // A usize is at most 64 bits wide on every platform Rust has.
    out.extend_from_slice(&(text.len() as u64).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_option(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => out.push(0),
        Some(text) => {
            out.push(1);
            put(out, text);
        }
    }
}
