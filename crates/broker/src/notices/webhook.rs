//! One webhook's delivery, as Standard Webhooks has it: `webhook-id` (the notice's, the same with every try),
//! `webhook-timestamp` (seconds since 1970, of this try), `webhook-signature` (`v1,` and the base64 of
//! HMAC-SHA256 over `id.timestamp.body`; two of them while a secret is being replaced).
//!
//! It takes the road of every other request: recorded, pinned to its address, by the tenant policy of egress.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use latchstring_journal::Purpose;
use latchstring_model::address::Address;
use latchstring_model::id::WebhookId;
use latchstring_model::problem::Refused;
use latchstring_model::{Entropy, Pin, PinPurpose, SecretBytes, SecretString, Timestamp};
use latchstring_schemes::wire::WireRequest;
use latchstring_store::deliveries::DeliveryRow;
use latchstring_store::webhooks::{self, WebhookRow};
use latchstring_store::{StoreError, credentials, projects, shares};
use latchstring_vault::Sealed;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::actor::Actor;
use crate::road::authorise;
use crate::road::own::OwnCall;
use crate::sealing::webhook_aad;
use crate::{Broker, refusals};

/// How long an endpoint may take to answer.
const WITHIN: Duration = Duration::from_secs(15);
/// Bytes of its answer that are read; none of them is kept.
const READ: usize = 16 * 1024;
/// The status with which an endpoint says that it wants no more (Standard Webhooks).
const GONE: u16 = 410;

pub(super) enum HookError {
    /// There is no such endpoint any more.
    Gone(String),
    Answered {
        status: u16,
        retry_after_secs: Option<i64>,
        why: String,
    },
    NoAnswer(String),
}

impl From<StoreError> for HookError {
    fn from(error: StoreError) -> Self {
        HookError::NoAnswer(super::deliver::trouble_here(&error))
    }
}

/// What lies sealed in a webhook's row.
#[derive(Serialize, Deserialize)]
struct Secrets {
    current: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
}

impl Drop for Secrets {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.current);
        zeroize::Zeroize::zeroize(&mut self.before);
    }
}

/// A new secret: 256 random bits, as Standard Webhooks writes them.
pub(crate) fn new_secret(entropy: &dyn Entropy) -> SecretString {
    let mut bytes = Zeroizing::new([0; 32]);
    entropy.fill(bytes.as_mut());
    SecretString::new(format!("whsec_{}", STANDARD.encode(bytes.as_ref())))
}

/// `v1,…` for one secret.
fn signature(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
    let key = Zeroizing::new(STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?);
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
    context.update(format!("{id}.{timestamp}.").as_bytes());
    context.update(body);
    Some(format!("v1,{}", STANDARD.encode(context.sign().as_ref())))
}

/// Where it goes, without what may be secret in a path or query.
pub(crate) fn host(url: &str) -> String {
    Address::parse(url).map(|address| address.origin.to_string()).unwrap_or_default()
}

impl Broker {
    /// Seals a new secret, and the one that it takes the place of, for the version that the row will have.
    pub(crate) fn seal_webhook(
        &self,
        row: &WebhookRow,
        version: i64,
        secret: &SecretString,
        before: Option<&SecretString>,
    ) -> Refused<Sealed> {
        let secrets = Secrets {
            current: secret.expose().to_owned(),
            before: before.map(|secret| secret.expose().to_owned()),
        };
        let text = Zeroizing::new(serde_json::to_vec(&secrets).map_err(|error| refusals::internal(&error))?);
        self.seal(&webhook_aad(&row.project_id, &row.id, version), &text)
    }

    /// The secret, and the one before it.
    pub(crate) async fn open_webhook(
        &self,
        row: &WebhookRow,
    ) -> Refused<(SecretString, Option<SecretString>)> {
        self.ensure_data_key(&row.data_key).await?;
        let ticket = authorise::webhook_opens();
        let aad = webhook_aad(&row.project_id, &row.id, row.secret_version);
        let bytes = self.open(&ticket, &aad, &row.sealed)?;
        let mut secrets: Secrets = serde_json::from_slice(bytes.expose())
            .map_err(|_| refusals::internal(&"a webhook's secret is not what was put in"))?;
        let current = SecretString::new(std::mem::take(&mut secrets.current));
        Ok((current, secrets.before.take().map(SecretString::new)))
    }

    /// Tries once; the answer's status when the endpoint took it.
    pub(super) async fn post_webhook(&self, row: &DeliveryRow) -> Result<u16, HookError> {
        let gone = |why: &str| HookError::Gone(why.to_owned());
        let id: WebhookId = row.target.parse().map_err(|_| gone("the webhook is gone"))?;
        let mut reader = self.parts.store.begin_read().await?;
        let webhook =
            webhooks::for_upkeep(&mut reader, &id).await?.ok_or_else(|| gone("the webhook is gone"))?;
        if webhook.disabled {
            return Err(gone("the webhook is disabled"));
        }
        let Some(credential) = &row.notice.credential_id else {
            return Err(gone("the notice names no credential"));
        };
        let project = projects::by_slug_or_id(&mut reader, webhook.project_id.as_str()).await?;
        let project = project.ok_or_else(|| gone("the project is gone"))?;
        let slug = match credentials::for_upkeep(&mut reader, credential).await? {
            Some(_) => shares::in_project(&mut reader, &project.id, credential.as_str())
                .await?
                .map(|share| share.slug),
            None => None,
        };
        drop(reader);

        let mut data = row.notice.data.clone();
        if let Some(data) = data.as_object_mut() {
            data.insert("project".into(), json!({"id": project.id, "slug": project.slug}));
            if let Some(about) = data.get_mut("credential").and_then(Value::as_object_mut) {
                about.insert("slug".into(), slug.into());
            }
        }
        let body = json!({
            "type": row.notice.event,
            "timestamp": row.notice.at.to_rfc3339(),
            "data": data,
        })
        .to_string();

        let refused =
            |problem: Box<latchstring_model::Problem>| HookError::NoAnswer(problem.detail.to_string());
        let now = self.now();
        let headers = self
            .signed_webhook(&webhook, row.notice.id.as_str(), now, body.as_bytes())
            .await
            .map_err(refused)?;
        let address = Address::parse(&webhook.url).map_err(|error| HookError::Gone(error.to_string()))?;
        let pins: Arc<[Pin]> = [Pin::new(PinPurpose::Call, address.origin.clone(), &address.path)].into();
        let actor = Actor::operator();
        let own = OwnCall {
            actor: &actor,
            project: Some(&project.id),
            credential,
            environment: row.notice.environment.as_deref().unwrap_or_default(),
            project_environment: None,
            purpose: Purpose::Webhook,
            pins: &pins,
            pin: PinPurpose::Call,
            identity: None,
            path: "(webhook)",
            acts_as: None,
            max_body: READ,
            within: WITHIN,
        };
        let request =
            WireRequest { method: Method::POST, address, headers, body: SecretBytes::new(body.as_bytes()) };
        let answer = self
            .fetch(own, request)
            .await
            .map_err(|failure| HookError::NoAnswer(failure.problem.detail.to_string()))?;
        match answer.status {
            200..300 => Ok(answer.status),
            GONE => {
                self.endpoint_is_gone(&webhook, now).await?;
                Err(gone("the endpoint answered 410 Gone, and was disabled"))
            }
            status => Err(HookError::Answered {
                status,
                retry_after_secs: answer
                    .headers
                    .get(RETRY_AFTER)
                    .and_then(|value| value.to_str().ok()?.trim().parse().ok())
                    .filter(|secs| *secs > 0),
                why: match status {
                    300..400 => format!(
                        "the endpoint answered {status}; redirects are not followed, so enter the address that it leads to"
                    ),
                    _ => format!("the endpoint answered {status}"),
                },
            }),
        }
    }

    async fn endpoint_is_gone(&self, webhook: &WebhookRow, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.parts.store.begin_upkeep().await?;
        self.disable_webhook(&mut tx, webhook, "the endpoint answered 410 Gone", now, now).await?;
        tx.commit().await.map(|_| ())
    }

    async fn signed_webhook(
        &self,
        webhook: &WebhookRow,
        id: &str,
        now: Timestamp,
        body: &[u8],
    ) -> Refused<HeaderMap> {
        let (current, before) = self.open_webhook(webhook).await?;
        let before = before.filter(|_| webhook.old_until.is_some_and(|until| now < until));
        let signatures: Option<Vec<String>> = [Some(&current), before.as_ref()]
            .into_iter()
            .flatten()
            .map(|secret| signature(secret.expose(), id, now.secs(), body))
            .collect();
        let bad = || refusals::internal(&"a webhook's secret cannot sign");
        let signatures = signatures.ok_or_else(bad)?.join(" ");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("Latchstring/", env!("CARGO_PKG_VERSION"))));
        for (name, value) in [
            ("webhook-id", id),
            ("webhook-timestamp", &now.secs().to_string()),
            ("webhook-signature", &signatures),
        ] {
            headers.insert(name, HeaderValue::from_str(value).map_err(|_| bad())?);
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_project_does_not_read_what_the_database_said() {
        let error = StoreError::CannotOpen("/srv/data/latchstring.db".into());
        assert!(error.to_string().contains("/srv/data"), "{error}");
        let HookError::NoAnswer(kept) = HookError::from(error) else {
            unreachable!("the endpoint is still there")
        };
        assert!(kept.contains("trouble on this server") && !kept.contains("/srv"), "{kept}");
    }

    /// The example of the Standard Webhooks specification's reference libraries.
    #[test]
    fn the_signature_of_standard_webhooks() {
        let signed = signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            b"{\"test\": 2432232314}",
        );
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(signature("sec_x", "m", 1, b""), None);
    }

    #[test]
    fn an_address_is_named_without_what_may_be_secret() {
        assert_eq!(
            host("https://hooks.example.com:8443/services/T0/secret?k=v"),
            "https://hooks.example.com:8443"
        );
    }
}
