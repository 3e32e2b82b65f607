//! Through an outbound proxy: what it is asked for, and that the filter still decides.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use http::Response;
use latchstring_egress::{EgressError, Settings};
use rustls::ServerConfig;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::TcpStream;

use crate::support::*;

/// A proxy that tunnels; returns its port and what it was asked for.
async fn proxy(status: &'static str, tls: Option<Arc<ServerConfig>>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = listen("127.0.0.1:0").await;
    let port = listener.local_addr().unwrap().port();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (log, tls) = (log.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => tunnel(stream, status, log).await,
                    Some(tls) => {
                        tunnel(
                            tokio_rustls::TlsAcceptor::from(tls).accept(stream).await.unwrap(),
                            status,
                            log,
                        )
                        .await
                    }
                }
            });
        }
    });
    (port, asked)
}

async fn tunnel<S>(stream: S, status: &'static str, log: Arc<Mutex<Vec<String>>>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut client = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        client.read_line(&mut head).await.unwrap();
    }
    log.lock().unwrap().push(head.clone());
    client.write_all(format!("HTTP/1.1 {status}\r\nVia: test\r\n\r\n").as_bytes()).await.unwrap();
    if status.starts_with("200") {
        let target = head.split_whitespace().nth(1).unwrap();
        let mut upstream = TcpStream::connect(target).await.unwrap();
        drop(copy_bidirectional(&mut client, &mut upstream).await);
    }
}

#[tokio::test]
async fn the_proxy_is_given_the_judged_address_and_tls_proves_the_name() {
    let authority = Authority::new();
    for (scheme, tls) in [("http", None), ("https", Some(authority.server(&[])))] {
        let server = serve(Some(authority.server(&["h2"])), |_| async { Response::new(full("hello")) }).await;
        let (port, asked) = proxy("200 OK", tls).await;
        let mut settings = on_loopback();
        settings.extra_ca_pem = Some(authority.pem.clone().into_bytes());
        settings.proxy = Some(format!("{scheme}://me:secret@127.0.0.1:{port}").parse().unwrap());
        let pool = pool(settings);
        let origin = localhost(&server);
        for _ in 0..2 {
            let answer = pool.send(&ticket(&origin), None, &origin, get("/")).await.unwrap();
            assert_eq!(text(answer.into_body()).await, "hello");
        }
        let asked = asked.lock().unwrap();
        let [head] = asked.as_slice() else { panic!("{asked:?}") };
        assert!(head.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", server.at)), "{head}");
        assert!(head.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"), "{head}");
    }
}

#[tokio::test]
async fn the_filter_decides_before_the_proxy_is_asked() {
    let (port, asked) = proxy("200 OK", None).await;
    let settings =
        Settings { proxy: Some(format!("http://127.0.0.1:{port}").parse().unwrap()), ..Settings::default() };
    let private: IpAddr = "10.0.0.1".parse().unwrap();
    let pool = pool_with(settings, answers(move |_| vec![private]));
    for url in ["https://inside.example", "https://10.0.0.1", "https://169.254.169.254"] {
        let origin = origin(url);
        let error = pool.send(&ticket(&origin), None, &origin, get("/")).await.map(|_| ()).unwrap_err();
        let EgressError::Unreachable(no) = error else { panic!("{error:?}") };
        assert!(no.refusal().is_some());
    }
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_proxy_that_says_no_is_for_the_operator_to_see() {
    for status in ["403 Forbidden", "407 Proxy Authentication Required", "nonsense"] {
        let (port, _) = proxy(status, None).await;
        let mut settings = on_loopback();
        settings.proxy = Some(format!("http://127.0.0.1:{port}").parse().unwrap());
        let pool = pool(settings);
        let origin = origin("http://127.0.0.1:1");
        let error = pool.send(&ticket(&origin), None, &origin, get("/")).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, EgressError::Unreachable(_)), "{error:?}");
        assert!(error.operator_reason().contains("proxy"), "{}", error.operator_reason());
    }
}
