//! Key pairs made here: a field that says `generate` in its definition takes `{"generate": true}` in place of a PEM.
//! The private key is sealed like any other value and never shown; its self-signed certificate (RFC 5280), which the
//! provider wants to have, is stored behind it in the same PEM text and can be downloaded by the owner.
//!
//! A shared secret is not made here: the provider would need to be told, and it could not be shown.

use std::collections::BTreeMap;

use latchstring_connectors::AuthMethod;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem, SecretString, Timestamp};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, KeyUsagePurpose, RsaKeySize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::access::owned;
use super::input::{Verify, escape};
use crate::actor::Actor;
use crate::audit::Event;
use crate::permissions::Operation;
use crate::{Broker, key_making, refusals};

/// How long a certificate of ours is good (days). Providers do not care who signed it, only whether it has ended.
const CERTIFICATE_DAYS: i64 = 5 * 365;
/// Keys that one request makes at most.
const MOST_KEYS: usize = 4;
/// For providers whose clock is behind (seconds).
const BACKDATED_SECS: i64 = 3600;
/// RFC 5280 appendix A: the longest common name, in characters.
const LONGEST_NAME: usize = 64;

/// What can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rsa2048,
    Rsa4096,
    Ec256,
    Ed25519,
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "rsa2048" => Some(Self::Rsa2048),
            "rsa4096" => Some(Self::Rsa4096),
            "ec256" => Some(Self::Ec256),
            "ed25519" => Some(Self::Ed25519),
            _ => None,
        }
    }
}

/// The private key (PKCS#8) and its certificate, as one PEM text.
pub(crate) fn make(kind: Kind, name: &str, now: Timestamp) -> Result<SecretString, rcgen::Error> {
    let key = match kind {
        Kind::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        Kind::Rsa4096 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096),
        Kind::Ec256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        Kind::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
    }?;
    let at = |moment: Timestamp| {
        OffsetDateTime::from_unix_timestamp(moment.secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    };
    let mut params = CertificateParams::default();
    params.not_before = at(now.plus_secs(-BACKDATED_SECS));
    params.not_after = at(now.plus_secs(CERTIFICATE_DAYS * 24 * 3600));
    params.distinguished_name = DistinguishedName::new();
    let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let certificate = params.self_signed(&key)?.pem();
    let private = SecretString::new(key.serialize_pem());
    Ok(SecretString::new(format!("{}{certificate}", private.expose())))
}

/// The certificates that stand in a PEM text, and nothing else of it.
pub(crate) fn certificates(text: &str) -> String {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut found = String::new();
    let mut rest = text;
    while let Some((_, tail)) = rest.split_once(BEGIN) {
        let Some((body, tail)) = tail.split_once(END) else { break };
        // Base64 and line ends are all that stands between: a text that was put together wrongly shows nothing.
        if body.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=\r\n ".contains(&b)) {
            found.push_str(&format!("{BEGIN}{body}{END}\n"));
        }
        rest = tail;
    }
    found
}

/// `{"generate": true}`, or `{"generate": "ec256"}` for another kind than the definition's.
fn asked(value: &Value) -> Option<&Value> {
    let map = value.as_object()?;
    if map.len() == 1 { map.get("generate") } else { None }
}

/// Which key is to be made for a field, or why none can be.
fn wanted(method: &AuthMethod, name: &str, how: &Value) -> Result<Kind, String> {
    let own = method.field(name).and_then(|field| field.generate.as_deref());
    let Some(own) = own else {
        return Err("nothing can be generated for this field; give its value".to_owned());
    };
    let named = match how {
        Value::Bool(true) => own,
        Value::String(kind) => kind,
        _ => {
            return Err("`generate` is true, or one of rsa2048, rsa4096, ec256 and ed25519".to_owned());
        }
    };
    Kind::parse(named).ok_or_else(|| {
        format!(
            "`{named}` cannot be generated here; key pairs can: rsa2048, rsa4096, ec256, ed25519. A shared secret has to be given, because the provider needs it too"
        )
    })
}

impl Broker {
    /// Puts keys in place of what asks for them. The new key's certificate is not with the provider yet, so that
    /// the values cannot be verified now.
    pub(super) async fn make_keys(
        &self,
        method: &AuthMethod,
        name: &str,
        verify: Verify,
        values: &mut BTreeMap<String, Option<Map<String, Value>>>,
    ) -> Refused<()> {
        let mut errors = Vec::new();
        let mut orders = Vec::new();
        for (environment, given) in values.iter() {
            for (field, value) in given.iter().flatten() {
                let Some(how) = asked(value) else { continue };
                match wanted(method, field, how) {
                    Ok(kind) => orders.push((environment.clone(), field.clone(), kind)),
                    Err(detail) => errors.push(FieldError::new(
                        format!("/values/{}/{}", escape(environment), escape(field)),
                        detail,
                    )),
                }
            }
        }
        if orders.len() > MOST_KEYS {
            let detail = format!("asks for {} keys; one request makes at most {MOST_KEYS}", orders.len());
            errors.push(FieldError::new("/values", detail));
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let Some((environment, field, _)) = orders.first() else { return Ok(()) };
        if verify == Verify::Required {
            let at = format!("/values/{}/{}", escape(environment), escape(field));
            let detail =
                "the provider does not have the new key's certificate yet, so that it cannot be verified now";
            return Err(Problem::invalid(vec![FieldError::new(at, detail)])
                .hint("Send `\"verify\": \"skip\"`, give the provider the certificate (GET /api/v1/credentials/{id}/certificate), then verify: POST /api/v1/credentials/{id}/verify.")
                .into());
        }
        for (environment, field, kind) in orders {
            let (name, now) = (name.to_owned(), self.now());
            let made = key_making::alone(move || make(kind, &name, now))
                .await?
                .map_err(|error| refusals::internal(&error))?;
            if let Some(Some(given)) = values.get_mut(&environment) {
                given.insert(field, made.expose().into());
            }
        }
        Ok(())
    }

    /// The certificate that stands behind a private key of this environment, as PEM; for the owner.
    pub async fn credential_certificate(
        &self,
        actor: &Actor,
        id: &str,
        environment: &str,
        field: Option<&str>,
    ) -> Refused<String> {
        self.unfrozen(actor)?;
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let row = owned(&mut tx, actor, id, Operation::CredentialCertificate).await?;
        let rows = latchstring_store::values::list(&mut tx, &row).await.map_err(refusals::store)?;
        drop(tx);
        let values = rows
            .iter()
            .find(|values| values.environment == environment)
            .ok_or_else(|| refusals::not_found("The credential has no values for that environment."))?;
        let opened = self.open_values(&row, values)?;
        let found = opened
            .iter()
            .filter(|(name, _)| field.is_none_or(|field| field == name.as_str()))
            .filter(|(name, _)| !values.withheld.contains(name))
            .find_map(|(_, value)| {
                let text = value.as_str().filter(|text| text.contains("-----BEGIN"))?;
                Some(certificates(text)).filter(|found| !found.is_empty())
            });
        let Some(found) = found else {
            return Err(Problem::new(Code::NotFound, "There is no certificate in these values.")
                .hint("One is made with the key when a field that can generate one is set to {\"generate\": true}.")
                .into());
        };
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        let event = Event::new("credential.view")
            .credential(&row.id)
            .target(row.name.clone())
            .detail("certificate_of", environment);
        self.record(&mut tx, actor, event).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_767_225_600);

    #[test]
    fn only_certificates_are_shown() {
        let made = make(Kind::Ec256, "A credential", NOW).unwrap();
        assert!(made.expose().starts_with("-----BEGIN PRIVATE KEY-----"));
        let shown = certificates(made.expose());
        assert!(shown.starts_with("-----BEGIN CERTIFICATE-----") && !shown.contains("PRIVATE"), "{shown}");
        assert_eq!(certificates("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "");
        let nested = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n-----END CERTIFICATE-----";
        assert_eq!(certificates(nested), "");
        assert_eq!(certificates("-----BEGIN CERTIFICATE-----\nAAAA"), "");
    }

    #[test]
    fn what_asks_for_a_key_is_told_from_what_does_not() {
        assert_eq!(asked(&serde_json::json!({"generate": true})), Some(&Value::Bool(true)));
        assert_eq!(asked(&serde_json::json!({"generate": true, "a": 1})), None);
        assert_eq!(asked(&serde_json::json!("generate")), None);
    }
}
