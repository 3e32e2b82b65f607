//! TLS to the API: whom we trust, who we are, and what a failure means.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The public roots, the operator's extra ones, and the settings for connections without an identity.
pub(crate) struct Trust {
    provider: Arc<CryptoProvider>,
    roots: RootCertStore,
    pub(crate) anonymous: Arc<ClientConfig>,
    /// For sessions that are not HTTP: no ALPN.
    pub(crate) anonymous_raw: Arc<ClientConfig>,
}

impl Trust {
    pub(crate) fn new(extra_ca_pem: Option<&[u8]>) -> Result<Self, crate::SetupError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(pem) = extra_ca_pem {
            add_roots(&mut roots, pem).map_err(crate::SetupError::ExtraCa)?;
        }
        let (http, raw) = configs(&provider, roots.clone(), None).map_err(crate::SetupError::Tls)?;
        Ok(Self { provider, roots, anonymous: http, anonymous_raw: raw })
    }

    /// Reads an identity: keys and certificates are parsed here, once, not per connection.
    pub(crate) fn identity(&self, parts: &IdentityParts<'_>) -> Result<Identity, IdentityError> {
        let mut roots = self.roots.clone();
        if let Some(pem) = parts.extra_ca_pem {
            add_roots(&mut roots, pem)?;
        }
        let client = match (parts.certificate_chain_pem, parts.private_key_pem) {
            (None, None) => None,
            (Some(chain), Some(key)) => Some((read_chain(chain)?, read_key(key)?)),
            (None, Some(_)) => return Err(IdentityError::CertificateMissing),
            (Some(_), None) => return Err(IdentityError::KeyMissing),
        };
        let (http, raw) = configs(&self.provider, roots, client).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => IdentityError::KeyDoesNotFit,
            other => IdentityError::Unusable(other.to_string()),
        })?;
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in [parts.certificate_chain_pem, parts.private_key_pem, parts.extra_ca_pem] {
            let part = part.unwrap_or_default();
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut id = [0; 32];
        id.copy_from_slice(hash.finish().as_ref());
        Ok(Identity { id: IdentityId(id), http, raw })
    }
}

type Client = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn configs(
    provider: &Arc<CryptoProvider>,
    roots: RootCertStore,
    client: Option<Client>,
) -> Result<(Arc<ClientConfig>, Arc<ClientConfig>), rustls::Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(verifier);
    let mut http = match client {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    let raw = http.clone();
    http.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(http), Arc::new(raw)))
}

fn add_roots(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), IdentityError> {
    for certificate in read_chain(pem)? {
        roots.add(certificate).map_err(|_| IdentityError::NotACertificate)?;
    }
    Ok(())
}

fn read_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(IdentityError::NotACertificate),
    }
}

fn read_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, IdentityError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| IdentityError::NotAKey)
}

/// What an [`Identity`] is made of, all in PEM.
#[derive(Clone, Copy, Default)]
pub struct IdentityParts<'a> {
    /// The client certificate first, then what signed it.
    pub certificate_chain_pem: Option<&'a [u8]>,
    /// PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub private_key_pem: Option<&'a [u8]>,
    /// Further authorities to trust on this connection.
    pub extra_ca_pem: Option<&'a [u8]>,
}

/// Who we are to the API and whom we trust there. Connections are shared only within one identity.
#[derive(Clone)]
pub struct Identity {
    pub(crate) id: IdentityId,
    pub(crate) http: Arc<ClientConfig>,
    pub(crate) raw: Arc<ClientConfig>,
}

/// A digest of the identity's parts: read again from the same values it is the same identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct IdentityId([u8; 32]);

/// Why values do not make an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("there is no certificate in it; give PEM that begins with -----BEGIN CERTIFICATE-----")]
    NotACertificate,
    #[error(
        "there is no usable private key in it; give PEM that begins with -----BEGIN PRIVATE KEY-----, not encrypted"
    )]
    NotAKey,
    #[error("a private key needs its client certificate beside it")]
    CertificateMissing,
    #[error("a client certificate needs its private key beside it")]
    KeyMissing,
    #[error("the private key does not belong to the client certificate")]
    KeyDoesNotFit,
    #[error("certificate and key cannot be used for TLS: {0}")]
    Unusable(String),
}

/// Why TLS failed, as far as somebody can do something about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// Signed by nobody we trust: a private authority, or a server that does not send its chain.
    UnknownIssuer,
    Expired,
    NotYetValid,
    WrongName,
    Revoked,
    /// Another fault of the server's certificate.
    Certificate(Box<str>),
    /// The server wants a client certificate and got none.
    ClientCertificateRequired,
    /// The server does not accept the one it got.
    ClientCertificateRefused(Box<str>),
    /// What answered does not speak TLS.
    NotTls,
    /// No version or cipher in common, or another breach of the protocol.
    Protocol(Box<str>),
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsFault::UnknownIssuer => {
                "the server's certificate is signed by an authority that is not trusted here"
            }
            TlsFault::Expired => "the server's certificate has expired",
            TlsFault::NotYetValid => "the server's certificate is not valid yet",
            TlsFault::WrongName => "the server's certificate is for another name",
            TlsFault::Revoked => "the server's certificate is revoked",
            TlsFault::Certificate(_) => "the server's certificate is not acceptable",
            TlsFault::ClientCertificateRequired => "the server wants a client certificate",
            TlsFault::ClientCertificateRefused(_) => "the server does not accept the client certificate",
            TlsFault::NotTls => "the server does not speak TLS at this port",
            TlsFault::Protocol(_) => "no secure connection could be agreed on with the server",
        })
    }
}

impl Error for TlsFault {}

impl TlsFault {
    /// With TLS 1.3 a server judges the client certificate after the first request is on its way,
    /// but before it reads it: none of these means that a request was processed.
    pub(crate) fn after_sending(&self) -> bool {
        false
    }

    pub(crate) fn operator_reason(&self) -> String {
        match self {
            TlsFault::Certificate(what)
            | TlsFault::ClientCertificateRefused(what)
            | TlsFault::Protocol(what) => {
                format!("{self}: {what}")
            }
            _ => self.to_string(),
        }
    }

    pub(crate) fn hint(&self) -> &'static str {
        match self {
            TlsFault::UnknownIssuer => {
                "If the authority is your own, the operator gives its certificate in LATCHSTRING_EXTRA_CA_FILE; otherwise the server does not send its intermediate certificates and has to be set right."
            }
            TlsFault::Expired => {
                "Whoever runs the server has to renew its certificate; check this machine's clock too."
            }
            TlsFault::NotYetValid => "Check the clock of this machine and of the server.",
            TlsFault::WrongName => "Use the name that the certificate is for; an IP address seldom is.",
            TlsFault::Revoked | TlsFault::Certificate(_) => {
                "Whoever runs the server has to replace its certificate."
            }
            TlsFault::ClientCertificateRequired => {
                "Use an auth method with a client certificate (mutual TLS)."
            }
            TlsFault::ClientCertificateRefused(_) => {
                "Usually it has expired, or was issued by another authority than the server trusts; ask the API's provider which it accepts."
            }
            TlsFault::NotTls => {
                "Usually the port is wrong, or the address should begin with http:// (which the operator must allow)."
            }
            TlsFault::Protocol(_) => {
                "Usually the server offers only outdated TLS versions; TLS 1.2 or 1.3 is needed."
            }
        }
    }

    fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(fault) => match fault {
                CertificateError::UnknownIssuer => TlsFault::UnknownIssuer,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    TlsFault::NotYetValid
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    TlsFault::WrongName
                }
                CertificateError::Revoked => TlsFault::Revoked,
                other => TlsFault::Certificate(format!("{other:?}").into()),
            },
            rustls::Error::AlertReceived(alert) => match alert {
                AlertDescription::CertificateRequired => TlsFault::ClientCertificateRequired,
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                // A signature in its chain is wrong.
                | AlertDescription::DecryptError
                | AlertDescription::AccessDenied => {
                    TlsFault::ClientCertificateRefused(format!("{alert:?}").into())
                }
                other => TlsFault::Protocol(format!("{other:?}").into()),
            },
            rustls::Error::InvalidMessage(_) => TlsFault::NotTls,
            other => TlsFault::Protocol(other.to_string().into()),
        }
    }

    pub(crate) fn of_io(error: &io::Error) -> Option<Self> {
        error.get_ref().and_then(|inner| Self::within(inner))
    }

    /// Looks for a TLS failure among an error and its causes.
    pub(crate) fn within(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Some(Self::of(tls));
            }
            // An io::Error's source() skips the error that it wraps.
            if let Some(fault) = error.downcast_ref::<io::Error>().and_then(Self::of_io) {
                return Some(fault);
            }
            cause = error.source();
        }
        None
    }
}
