//! Where sealed values belong: the AAD of each kind, in one place. What is sealed under one of these opens
//! nowhere else.

use latchstring_model::entity::Principal;
use latchstring_model::id::{
    AuditKeyId, ConsentId, CredentialId, EnvironmentId, OAuthClientId, ProjectId, SignInId, UserId, WebhookId,
};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, OpenTicket, Problem, SecretBytes, Timestamp};
use latchstring_store::secrets::SecretKind;
use latchstring_vault::{Aad, OpenError, Purpose, Sealed};
use serde_json::{Map, Value};

use crate::{Broker, refusals};

fn project_of(owner: &Principal) -> Option<ProjectId> {
    match owner {
        Principal::Project(id) => Some(id.clone()),
        Principal::User(_) => None,
    }
}

pub fn values_aad(credential: &CredentialId, owner: &Principal, environment: &str, version: i64) -> Aad {
    Aad {
        purpose: Purpose::CredentialValues,
        object: credential.to_string(),
        environment: Some(environment.to_owned()),
        version,
        project: project_of(owner),
    }
}

/// A token's id is a digest of everything that it depends on, its credential included.
pub fn token_aad(id: &str, environment: &str, version: i64) -> Aad {
    Aad {
        purpose: Purpose::Token,
        object: id.to_owned(),
        environment: Some(environment.to_owned()),
        version,
        project: None,
    }
}

pub fn secret_aad(
    project: &ProjectId,
    environment: &EnvironmentId,
    kind: SecretKind,
    name: &str,
    version: i64,
) -> Aad {
    Aad {
        purpose: match kind {
            SecretKind::Secret => Purpose::Secret,
            SecretKind::Variable => Purpose::Variable,
        },
        object: format!("{environment}/{name}"),
        environment: Some(environment.to_string()),
        version,
        project: Some(project.clone()),
    }
}

/// What a webhook's deliveries are signed with.
pub fn webhook_aad(project: &ProjectId, id: &WebhookId, version: i64) -> Aad {
    Aad {
        purpose: Purpose::WebhookSecret,
        object: id.to_string(),
        environment: None,
        version,
        project: Some(project.clone()),
    }
}

/// What is secret of an OAuth client, as one JSON object. Clients belong to the instance.
pub fn oauth_client_aad(client: &OAuthClientId, sealed_version: i64) -> Aad {
    Aad {
        purpose: Purpose::OAuthClient,
        object: client.to_string(),
        environment: None,
        version: sealed_version,
        project: None,
    }
}

/// What is secret of a consent under way: the PKCE verifier, or the device code.
pub fn consent_aad(consent: &ConsentId, sealed_version: i64) -> Aad {
    Aad {
        purpose: Purpose::ConsentState,
        object: consent.to_string(),
        environment: None,
        version: sealed_version,
        project: None,
    }
}

/// The seed of the key that the audit trail's checkpoints and anchors are signed with.
pub fn audit_key_aad(id: &AuditKeyId) -> Aad {
    Aad { purpose: Purpose::AuditKey, object: id.to_string(), environment: None, version: 0, project: None }
}

/// The secret of a person's time-based codes.
pub fn second_factor_aad(user: &UserId, secret_version: i64) -> Aad {
    Aad {
        purpose: Purpose::TotpSecret,
        object: user.to_string(),
        environment: None,
        version: secret_version,
        project: None,
    }
}

/// What is secret of a sign-in under way: PKCE verifier and nonce. An id of its own kind, so no consent's.
pub fn sign_in_aad(id: &SignInId) -> Aad {
    Aad {
        purpose: Purpose::ConsentState,
        object: id.to_string(),
        environment: None,
        version: 0,
        project: None,
    }
}

/// The token of a password reset until its mail is on its way. `created_at`: of that reset.
pub fn password_reset_aad(user: &UserId, created_at: Timestamp) -> Aad {
    Aad {
        purpose: Purpose::Setting,
        object: format!("password_reset/{user}"),
        environment: None,
        version: created_at.millis(),
        project: None,
    }
}

impl Broker {
    pub(crate) fn seal(&self, aad: &Aad, plaintext: &[u8]) -> Refused<Sealed> {
        self.parts
            .vault
            .seal(aad, plaintext, &*self.parts.entropy)
            .map_err(|error| refusals::internal(&error))
    }

    pub(crate) fn open(&self, ticket: &OpenTicket, aad: &Aad, sealed: &[u8]) -> Refused<SecretBytes> {
        self.parts.vault.open(ticket, aad, sealed).map_err(|error| match error {
            // Another server rotates; this one loads the new key within seconds.
            OpenError::UnknownDataKey { .. } => {
                tracing::warn!(error = %error, "a value is sealed under a data key that is not loaded yet");
                Problem::new(Code::Unavailable, "The values are being sealed anew at the moment.")
                    .hint("Try again in a few seconds.")
                    .retry_after(3)
                    .into()
            }
            _ => refusals::internal(&error),
        })
    }

    pub(crate) fn seal_json(&self, aad: &Aad, values: &Map<String, Value>) -> Refused<Sealed> {
        let bytes =
            zeroize::Zeroizing::new(serde_json::to_vec(values).map_err(|error| refusals::internal(&error))?);
        self.seal(aad, &bytes)
    }

    pub(crate) fn open_json(
        &self,
        ticket: &OpenTicket,
        aad: &Aad,
        sealed: &[u8],
    ) -> Refused<Map<String, Value>> {
        let bytes = self.open(ticket, aad, sealed)?;
        serde_json::from_slice(bytes.expose())
            .map_err(|_| refusals::internal(&"a sealed value is not the JSON that was put in"))
    }
}
