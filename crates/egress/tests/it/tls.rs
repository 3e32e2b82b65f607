//! Certificates: whom we trust, who we are, and what each failure tells.

use std::sync::Arc;

use http::Response;
use latchstring_egress::{EgressError, IdentityError, IdentityParts, Pool, TlsFault};
use latchstring_model::{Origin, Problem};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;

use crate::support::*;

async fn tls_server(config: Arc<ServerConfig>) -> Server {
    serve(Some(config), |_| async { Response::new(full("hello")) }).await
}

fn trusting(authority: &Authority) -> Pool {
    let mut settings = on_loopback();
    settings.extra_ca_pem = Some(authority.pem.clone().into_bytes());
    pool(settings)
}

async fn fault(pool: &Pool, origin: &Origin) -> TlsFault {
    match pool.send(&ticket(origin), None, origin, get("/")).await.map(|_| ()) {
        Err(EgressError::Tls(fault)) => fault,
        other => panic!("no TLS fault: {other:?}"),
    }
}

#[tokio::test]
async fn trust_comes_from_the_settings_and_nowhere_else() {
    let authority = Authority::new();
    let server = tls_server(authority.server(&["h2", "http/1.1"])).await;
    let origin = localhost(&server);
    let unknown = fault(&pool(on_loopback()), &origin).await;
    assert_eq!(unknown, TlsFault::UnknownIssuer);
    let problem = Problem::from(EgressError::Tls(unknown));
    assert!(problem.hint.unwrap().contains("LATCHSTRING_EXTRA_CA_FILE"));
    let pool = trusting(&authority);
    for origin in [&origin, &super::support::origin(&format!("https://{}", server.at))] {
        let answer = pool.send(&ticket(origin), None, origin, get("/")).await.unwrap();
        assert_eq!(answer.version(), http::Version::HTTP_2);
        assert_eq!(text(answer.into_body()).await, "hello");
    }
}

#[tokio::test]
async fn an_authority_of_one_credential_is_trusted_for_it_alone() {
    let authority = Authority::new();
    let server = tls_server(authority.server(&["http/1.1"])).await;
    let origin = localhost(&server);
    let pool = pool(on_loopback());
    let parts = IdentityParts { extra_ca_pem: Some(authority.pem.as_bytes()), ..IdentityParts::default() };
    let identity = pool.egress().identity(&parts).unwrap();
    let answer = pool.send(&ticket(&origin), Some(&identity), &origin, get("/")).await.unwrap();
    assert_eq!(text(answer.into_body()).await, "hello");
    assert_eq!(fault(&pool, &origin).await, TlsFault::UnknownIssuer, "not on the warm connection either");
}

#[tokio::test]
async fn each_fault_of_a_certificate_is_told_apart() {
    let authority = Authority::new();
    let pool = trusting(&authority);
    let expired = authority.sign(&["localhost"], |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let future = authority.sign(&["localhost"], |params| {
        params.not_before = rcgen::date_time_ymd(4000, 1, 1);
        params.not_after = rcgen::date_time_ymd(4001, 1, 1);
    });
    let other = authority.sign(&["other.example"], |_| {});
    for (signed, expected) in
        [(expired, TlsFault::Expired), (future, TlsFault::NotYetValid), (other, TlsFault::WrongName)]
    {
        let server = tls_server(signed.server(&["http/1.1"])).await;
        assert_eq!(fault(&pool, &localhost(&server)).await, expected);
    }
    let clear = hello().await;
    assert_eq!(fault(&pool, &localhost(&clear)).await, TlsFault::NotTls);
    let protocol = tls_server(authority.server(&["only-this"])).await;
    assert!(matches!(fault(&pool, &localhost(&protocol)).await, TlsFault::Protocol(_)));
}

fn demanding(
    server: &Authority,
    clients: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let mut roots = rustls::RootCertStore::empty();
    let der = rustls_pki_types::pem::PemObject::from_pem_slice(clients.pem.as_bytes()).unwrap();
    roots.add(der).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
    let signed = server.sign(&["localhost"], |_| {});
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![signed.der.clone()], signed.key_der())
        .unwrap();
    Arc::new(config)
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_refusal_understood() {
    let (authority, clients) = (Authority::new(), Authority::new());
    // One by another name, and one that pretends to be the right one.
    let (strangers, forgers) = (Authority::named("strangers"), Authority::new());
    let pool = trusting(&authority);
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12][..]] {
        let server = tls_server(demanding(&authority, &clients, versions)).await;
        let origin = localhost(&server);
        let ask = async |client: Option<&Authority>| {
            let identity = client.map(|authority| {
                let signed = authority.sign(&["client"], |_| {});
                let key = signed.key.serialize_pem();
                let parts = IdentityParts {
                    certificate_chain_pem: Some(signed.chain.as_bytes()),
                    private_key_pem: Some(key.as_bytes()),
                    extra_ca_pem: None,
                };
                pool.egress().identity(&parts).unwrap()
            });
            pool.send(&ticket(&origin), identity.as_ref(), &origin, get("/"))
                .await
                .map(|answer| answer.status())
        };
        assert_eq!(ask(Some(&clients)).await.unwrap(), 200);
        for client in [None, Some(&strangers), Some(&forgers)] {
            let error = ask(client).await.unwrap_err();
            assert!(!error.maybe_processed(), "{error:?}");
            match error {
                EgressError::Tls(TlsFault::ClientCertificateRequired) => assert!(client.is_none()),
                EgressError::Tls(TlsFault::ClientCertificateRefused(_)) => assert!(client.is_some()),
                // TLS 1.2 has no alert of its own for a missing certificate.
                EgressError::Tls(TlsFault::Protocol(_))
                    if versions[0].version == rustls::ProtocolVersion::TLSv1_2 =>
                {
                    assert!(client.is_none());
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn values_that_are_no_identity_say_what_is_wrong() {
    let egress = latchstring_egress::Egress::new(on_loopback()).unwrap();
    let authority = Authority::new();
    let (one, other) = (authority.sign(&["a"], |_| {}), authority.sign(&["b"], |_| {}));
    let (key, other_key) = (one.key.serialize_pem(), other.key.serialize_pem());
    let public = one.key.public_key_pem();
    let read = |chain: Option<&str>, key: Option<&str>, ca: Option<&str>| {
        egress
            .identity(&IdentityParts {
                certificate_chain_pem: chain.map(str::as_bytes),
                private_key_pem: key.map(str::as_bytes),
                extra_ca_pem: ca.map(str::as_bytes),
            })
            .map(|_| ())
    };
    let chain = Some(one.chain.as_str());
    assert_eq!(read(chain, Some(&key), None), Ok(()));
    assert_eq!(read(chain, Some(&key.replace('\n', "\r\n")), None), Ok(()));
    assert_eq!(read(None, None, Some(&authority.pem)), Ok(()));
    assert_eq!(read(chain, Some(&other_key), None), Err(IdentityError::KeyDoesNotFit));
    assert_eq!(read(chain, None, None), Err(IdentityError::KeyMissing));
    assert_eq!(read(None, Some(&key), None), Err(IdentityError::CertificateMissing));
    for wrong in ["", "hello", public.as_str(), one.chain.as_str()] {
        assert_eq!(read(chain, Some(wrong), None), Err(IdentityError::NotAKey), "{wrong}");
    }
    for wrong in ["", "hello", key.as_str()] {
        assert_eq!(read(Some(wrong), Some(&key), None), Err(IdentityError::NotACertificate), "{wrong}");
        assert_eq!(read(None, None, Some(wrong)), Err(IdentityError::NotACertificate), "{wrong}");
    }
    let mut settings = on_loopback();
    settings.extra_ca_pem = Some(b"not pem".to_vec());
    let error = latchstring_egress::Egress::new(settings).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("extra CA file"), "{error}");
}
