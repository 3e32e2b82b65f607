//! Client certificates.

use latchstring_model::SecretString;
use latchstring_schemes::bearer::Bearer;
use latchstring_schemes::jws::KeyError;
use latchstring_schemes::mutual_tls::{MutualTls, TlsIdentity};
use latchstring_schemes::{Scheme, SchemeError};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{Request, key_file, prepared, refused};

fn pair(certificate: &str, key: &str, passphrase: Option<&str>) -> MutualTls {
    MutualTls {
        certificate: certificate.to_owned(),
        private_key: key.into(),
        passphrase: passphrase.map(SecretString::from),
    }
}

/// The TLS library that egress uses takes it, and agrees that the two belong together.
fn rustls_takes(tls: &TlsIdentity) -> bool {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(tls.cert_chain_pem().as_bytes()).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(tls.key_pem().expose().as_bytes()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).unwrap();
    rustls::sign::CertifiedKey::new(chain, key).keys_match().is_ok()
}

fn identity(tls: MutualTls) -> TlsIdentity {
    tls.identity().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_pair_that_belongs_together() {
    for (certificate, key, passphrase) in [
        ("rsa2048.cert.pem", "rsa2048.pkcs8.pem", None),
        ("rsa2048.cert.pem", "rsa2048.pkcs1.pem", None),
        ("rsa2048.cert.pem", "rsa2048.aes256.pem", Some("correct horse")),
        ("p256.cert.pem", "p256.sec1.pem", None),
        ("p256.cert.pem", "p256.nopub.pem", None),
        ("ed25519.cert.pem", "ed25519.pkcs8.pem", None),
    ] {
        let tls = identity(pair(&key_file(certificate), &key_file(key), passphrase));
        assert_eq!(tls.cert_chain_pem(), key_file(certificate), "{key}");
        let plain = match key {
            "rsa2048.aes256.pem" => key_file("rsa2048.pkcs8.pem"),
            other => key_file(other),
        };
        assert!(tls.key_pem().expose() == plain, "{key}: not encrypted, unchanged otherwise");
        assert_eq!(tls.id().len(), 64);
        assert!(rustls_takes(&tls), "{key}");
    }
}

#[test]
fn the_own_certificate_comes_first() {
    let (own, other) = (key_file("p256.cert.pem"), key_file("rsa2048.cert.pem"));
    let key = key_file("p256.pkcs8.pem");
    let messy = format!("subject=/CN=ca\n{other}\r\n{}{key}", own.replace('\n', "\r\n"));
    let tls = identity(pair(&messy, &key, None));
    assert_eq!(tls.cert_chain_pem(), format!("{own}{other}"));
    assert!(!tls.cert_chain_pem().contains("PRIVATE"));
    let again = identity(pair(&format!("{own}{other}"), &key.replace('\n', "\\n"), None));
    assert_eq!(tls.id(), again.id(), "the same identity however it was pasted");
    assert_ne!(tls.id(), identity(pair(&own, &key, None)).id());
}

#[test]
fn what_is_wrong_is_said() {
    let (cert, key) = (key_file("p256.cert.pem"), key_file("p256.pkcs8.pem"));
    let error = |certificate: &str, key: &str| pair(certificate, key, None).identity().err().unwrap();
    assert_eq!(error(&cert, &key_file("rsa2048.pkcs8.pem")), SchemeError::CertificateKeyMismatch);
    assert_eq!(error("", &key), SchemeError::NotACertificate { field: "certificate" });
    assert_eq!(error(&key, &key), SchemeError::NotACertificate { field: "certificate" });
    assert_eq!(error(&cert[..200], &key), SchemeError::BadCertificate { field: "certificate" });
    assert_eq!(
        error(&key_file("p256.pub.pem").replace("PUBLIC KEY", "CERTIFICATE"), &key),
        SchemeError::BadCertificate { field: "certificate" }
    );
    assert_eq!(error(&cert, &cert), SchemeError::Key { field: "private_key", source: KeyError::Certificate });
    assert_eq!(
        error(&cert, &key_file("rsa2048.aes256.pem")),
        SchemeError::Key { field: "private_key", source: KeyError::PassphraseMissing }
    );
}

#[test]
fn it_combines_with_one_method() {
    let tls = || pair(&key_file("p256.cert.pem"), &key_file("p256.pkcs8.pem"), None);
    let alone = prepared(Scheme::MutualTls(tls(), None));
    let mut request = Request::get("https://h/").with("x", "y");
    request.sign(&alone, None).unwrap();
    assert_eq!(request.headers.len(), 1);
    assert!(alone.tls_identity().is_some());

    let bearer = Scheme::Bearer(Bearer { token: "t".into() });
    let both = prepared(Scheme::MutualTls(tls(), Some(Box::new(bearer))));
    request.sign(&both, None).unwrap();
    assert_eq!(request.header("authorization"), "Bearer t");
    assert!(both.tls_identity() == alone.tls_identity());
    assert_eq!(
        refused(Scheme::MutualTls(tls(), Some(Box::new(Scheme::MutualTls(tls(), None))))),
        SchemeError::NestedMethod
    );
}
