//! How a client proves itself, and whether it has what that takes: a secret, a key for assertions, a certificate with
//! its key; and the key that its tokens are bound to.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use latchstring_connectors::ClientAuthMethod;
use latchstring_model::problem::Refused;
use latchstring_model::{FieldError, SecretString};
use latchstring_schemes::dpop::DpopKey;
use latchstring_schemes::jws::Algorithm;
use latchstring_schemes::mutual_tls::MutualTls;
use latchstring_store::oauth_clients::OAuthClientRow;
use serde_json::Value;

use super::Secrets;
use super::input::ClientInput;
use super::keys::{self, Kept};
use crate::credentials::keypair::{self, Kind};
use crate::{Broker, key_making, refusals};

fn given<T>(sent: &Option<Option<T>>) -> bool {
    matches!(sent, Some(Some(_)))
}

/// What was sent and does not go with the way of proving.
fn misplaced(auth: ClientAuthMethod, input: &ClientInput, errors: &mut Vec<FieldError>) {
    let word = auth.as_str();
    if (given(&input.private_key) || input.generate_key.is_some()) && !auth.needs_key() {
        let pointer = if input.generate_key.is_some() { "/generate_key" } else { "/private_key" };
        let detail = format!(
            "client_auth `{word}` has no key; one belongs to `private_key_jwt`, or with a certificate to `tls_client_auth` \
             or `self_signed_tls_client_auth`"
        );
        errors.push(FieldError::new(pointer, detail));
    }
    if given(&input.client_secret) && !auth.needs_secret() {
        let detail = format!("client_auth `{word}` sends no secret; leave it out, or use `basic` or `post`");
        errors.push(FieldError::new("/client_secret", detail));
    }
    if given(&input.certificate) && !auth.by_certificate() {
        let detail = format!(
            "client_auth `{word}` shows no certificate; `tls_client_auth` and `self_signed_tls_client_auth` do"
        );
        errors.push(FieldError::new("/certificate", detail));
    }
    if input.generate_key.is_some() && auth == ClientAuthMethod::TlsClientAuth {
        errors.push(FieldError::new(
            "/generate_key",
            "`tls_client_auth` wants a certificate that an authority has signed: send it with its `private_key`; one made \
             here belongs to `self_signed_tls_client_auth`",
        ));
    }
}

impl Broker {
    pub(super) async fn proof(
        &self,
        row: &mut OAuthClientRow,
        secrets: &mut Secrets,
        input: &ClientInput,
        new: bool,
        errors: &mut Vec<FieldError>,
    ) -> Refused<()> {
        let given_key = given(&input.private_key) || input.generate_key.is_some();
        if new && input.client_auth.is_none() {
            if given(&input.certificate) {
                let detail = "is needed with a certificate: `tls_client_auth` or `self_signed_tls_client_auth`, as the provider has it registered";
                errors.push(FieldError::new("/client_auth", detail));
                return Ok(());
            }
            if given_key {
                row.client_auth = ClientAuthMethod::PrivateKeyJwt.as_str().to_owned();
            }
        }
        let Some(auth) = ClientAuthMethod::parse(&row.client_auth) else { return Ok(()) };
        misplaced(auth, input, errors);
        // What another way of proving leaves behind is not kept.
        if !auth.needs_secret() {
            secrets.client_secret = None;
        }
        if !auth.needs_key() || matches!(input.private_key, Some(None)) {
            secrets.private_key = None;
            (row.key_algorithm, row.key_id, row.public_key) = (None, None, None);
        }
        if !auth.by_certificate() || matches!(input.certificate, Some(None)) {
            row.certificate = None;
        }
        if errors.is_empty() && auth.needs_key() {
            if auth.by_certificate() && input.generate_key.is_some() {
                self.self_signed(row, secrets, input, errors).await?;
            } else {
                key(row, secrets, input, errors).await?;
                if auth.by_certificate() && errors.is_empty() {
                    certificate(row, secrets, input, errors);
                }
            }
        }
        if row.client_id.is_some() && errors.is_empty() {
            lacking(auth, row, secrets, errors);
        }
        Ok(())
    }

    /// A key and the certificate of it, both made here.
    async fn self_signed(
        &self,
        row: &mut OAuthClientRow,
        secrets: &mut Secrets,
        input: &ClientInput,
        errors: &mut Vec<FieldError>,
    ) -> Refused<()> {
        let algorithm = input.generate_key.as_deref().and_then(Algorithm::parse);
        let kind = match algorithm {
            Some(Algorithm::Rs256) => Kind::Rsa2048,
            Some(Algorithm::Es256) => Kind::Ec256,
            _ => {
                errors.push(FieldError::new("/generate_key", "is RS256 or ES256 for a certificate"));
                return Ok(());
            }
        };
        let (name, now) = (row.name.clone(), self.now());
        let made = key_making::alone(move || keypair::make(kind, &name, now)).await?;
        let made = made.map_err(|error| refusals::internal(&error))?;
        let wished = input.key_id.clone().flatten();
        let kept = keys::pasted(&made, None, algorithm.map(Algorithm::as_str), wished)
            .map_err(|error| refusals::internal(&error.detail))?;
        row.certificate = Some(keypair::certificates(made.expose()));
        put(row, secrets, kept);
        certificate(row, secrets, &ClientInput::default(), errors);
        Ok(())
    }

    /// The key that tokens are bound to (RFC 9449): made here, and anew only after it was switched off.
    pub(super) fn dpop(&self, row: &mut OAuthClientRow, secrets: &mut Secrets, input: &ClientInput) {
        match input.dpop {
            Some(true) if secrets.dpop_key.is_none() || row.dpop_jkt.is_none() => {
                let made = DpopKey::generate(&*self.parts.entropy)
                    .and_then(|pem| DpopKey::parse(&pem, None).map(|key| (pem, key.thumbprint())));
                match made {
                    Ok((pem, thumbprint)) => {
                        (secrets.dpop_key, row.dpop_jkt) = (Some(pem), Some(thumbprint));
                    }
                    // Four scalars out of range in a row: the machine's randomness is broken, and what needs the key
                    // is refused until there is one.
                    Err(error) => tracing::error!(error = %error, "a DPoP key could not be made"),
                }
            }
            Some(false) => (secrets.dpop_key, row.dpop_jkt) = (None, None),
            _ => {}
        }
    }
}

/// The private key, of assertions or of the certificate.
async fn key(
    row: &mut OAuthClientRow,
    secrets: &mut Secrets,
    input: &ClientInput,
    errors: &mut Vec<FieldError>,
) -> Refused<()> {
    let key_id = match &input.key_id {
        Some(given) => given.clone(),
        // Of another key: not this one's name.
        None if given(&input.private_key) => None,
        None => row.key_id.clone(),
    };
    let kept = if let Some(algorithm) = input.generate_key.as_deref().and_then(Algorithm::parse) {
        let wished = input.key_id.clone().flatten();
        Some(Ok(keys::generated(algorithm, wished).await?))
    } else if let Some(Some(pem)) = &input.private_key {
        Some(keys::pasted(pem, input.passphrase.as_ref(), input.key_algorithm.as_deref(), key_id))
    } else {
        let stored = secrets
            .private_key
            .as_ref()
            .filter(|_| input.key_algorithm.is_some() || input.key_id.is_some() || row.public_key.is_none());
        let algorithm = input.key_algorithm.as_deref().or(row.key_algorithm.as_deref());
        stored.map(|pem| keys::pasted(pem, None, algorithm, key_id))
    };
    match kept {
        Some(Ok(kept)) => put(row, secrets, kept),
        Some(Err(error)) => errors.push(error),
        None => {}
    }
    Ok(())
}

fn put(row: &mut OAuthClientRow, secrets: &mut Secrets, kept: Kept) {
    secrets.private_key = Some(kept.pem);
    row.key_algorithm = Some(kept.algorithm.as_str().to_owned());
    row.key_id = kept.key_id;
    row.public_key = Some(kept.public_jwk);
}

/// The certificate of the key: that they belong together is found out here, not when somebody has consented.
fn certificate(
    row: &mut OAuthClientRow,
    secrets: &Secrets,
    input: &ClientInput,
    errors: &mut Vec<FieldError>,
) {
    if let Some(Some(pem)) = &input.certificate {
        row.certificate = Some(pem.clone());
    }
    let (Some(pem), Some(key)) = (&row.certificate, &secrets.private_key) else { return };
    let own = MutualTls { certificate: pem.clone(), private_key: key.clone(), passphrase: None };
    match own.identity() {
        Ok(identity) => {
            let chain = identity.cert_chain_pem().to_owned();
            if let Some(Value::Object(jwk)) = &mut row.public_key {
                // RFC 8705 section 2.2.2: how a certificate stands in a key set.
                let all = ders(&chain);
                let hash = all.first().map(|der| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der));
                let x5c: Vec<Value> = all.iter().map(|der| STANDARD.encode(der).into()).collect();
                jwk.insert("x5c".into(), x5c.into());
                if let Some(hash) = hash {
                    jwk.insert("x5t#S256".into(), URL_SAFE_NO_PAD.encode(hash).into());
                }
            }
            row.certificate = Some(chain);
        }
        Err(error) => errors.push(FieldError::new("/certificate", error.to_string())),
    }
}

/// What stands in PEM blocks.
fn ders(chain: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut body = String::new();
    for line in chain.lines() {
        match line {
            _ if line.starts_with("-----BEGIN") => body.clear(),
            _ if line.starts_with("-----END") => all.extend(STANDARD.decode(&body).ok()),
            _ => body.push_str(line.trim()),
        }
    }
    all
}

fn lacking(auth: ClientAuthMethod, row: &OAuthClientRow, secrets: &Secrets, errors: &mut Vec<FieldError>) {
    let word = auth.as_str();
    let missing = |there: &Option<SecretString>| there.is_none();
    if auth.needs_secret() && missing(&secrets.client_secret) {
        let detail =
            format!("is needed with client_auth `{word}`; for a client without a secret send `none`");
        errors.push(FieldError::new("/client_secret", detail));
    }
    if auth.needs_key() && missing(&secrets.private_key) {
        let makes = if auth == ClientAuthMethod::TlsClientAuth { "" } else { "; `generate_key` makes one" };
        errors.push(FieldError::new("/private_key", format!("is needed with client_auth `{word}`{makes}")));
    }
    if auth.by_certificate() && row.certificate.is_none() {
        errors.push(FieldError::new("/certificate", format!("is needed with client_auth `{word}`")));
    }
}
