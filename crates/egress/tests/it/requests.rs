//! What goes over the wire and what comes back: targets, framing, bodies, trailers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::BodyExt;
use latchstring_egress::{Pool, RequestBody, Wire};
use latchstring_model::Origin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::support::*;

/// A body fed by hand.
fn by_hand() -> (mpsc::Sender<Frame<Bytes>>, RequestBody) {
    let (feed, body) = channel_body();
    (feed, RequestBody::stream(body))
}

fn channel_body()
-> (mpsc::Sender<Frame<Bytes>>, impl http_body::Body<Data = Bytes, Error = std::io::Error> + Send) {
    let (feed, mut frames) = mpsc::channel::<Frame<Bytes>>(1);
    (feed, ChannelBody { poll: Box::new(move |cx| frames.poll_recv(cx)) })
}

type Next = Box<dyn FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<Frame<Bytes>>> + Send>;

struct ChannelBody {
    poll: Next,
}

impl http_body::Body for ChannelBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        (self.poll)(cx).map(|frame| frame.map(Ok))
    }
}

/// The same server in clear (HTTP/1.1) and behind TLS with either protocol.
async fn three_ways<H, F>(handler: H) -> Vec<(Pool, Origin, Version)>
where
    H: Fn(Request<hyper::body::Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<AnyBody>> + Send + 'static,
{
    let authority = Authority::new();
    let clear = serve(None, handler.clone()).await;
    let h1 = serve(Some(authority.server(&["http/1.1"])), handler.clone()).await;
    let h2 = serve(Some(authority.server(&["h2", "http/1.1"])), handler).await;
    let settings = || {
        let mut settings = on_loopback();
        settings.extra_ca_pem = Some(authority.pem.clone().into_bytes());
        settings
    };
    vec![
        (pool(settings()), clear.origin(), Version::HTTP_11),
        (pool(settings()), localhost(&h1), Version::HTTP_11),
        (pool(settings()), localhost(&h2), Version::HTTP_2),
    ]
}

#[tokio::test]
async fn the_target_is_sent_byte_for_byte() {
    let echo = |request: Request<hyper::body::Incoming>| async move {
        let host = match request.version() {
            Version::HTTP_2 => request.uri().authority().unwrap().to_string(),
            _ => request.headers()["host"].to_str().unwrap().to_owned(),
        };
        let target = request.uri().path_and_query().unwrap().to_string();
        let mut answer = Response::new(full(target));
        answer.headers_mut().insert("x-host", host.parse().unwrap());
        answer.headers_mut().insert("x-hosts", request.headers().get_all("host").iter().count().into());
        answer
    };
    for (pool, origin, version) in three_ways(echo).await {
        for target in
            ["/", "/a/b?c=d", "/%2e%2e/x%2Fy", "//double", "/a;b=c/@:!$&'()*+,", "/?q=%00&&x", "/ü?ö"]
        {
            let Ok(mut request) = Request::get(target).body(RequestBody::empty()) else { continue };
            request.headers_mut().insert("host", "evil.example".parse().unwrap());
            let answer = pool.send(&ticket(&origin), None, &origin, request).await.unwrap();
            assert_eq!(answer.version(), version);
            assert_eq!(answer.headers()["x-host"], origin.authority().as_str());
            assert_eq!(answer.headers()["x-hosts"], if version == Version::HTTP_2 { "0" } else { "1" });
            assert_eq!(text(answer.into_body()).await, target, "{version:?}");
        }
        let absolute = Request::get("http://evil.example/path?x=1").body(RequestBody::empty()).unwrap();
        let answer = pool.send(&ticket(&origin), None, &origin, absolute).await.unwrap();
        assert_eq!(answer.headers()["x-host"], origin.authority().as_str());
        assert_eq!(text(answer.into_body()).await, "/path?x=1");
    }
}

#[tokio::test]
async fn bodies_stream_both_ways_and_keep_trailers() {
    // Echoes each piece as it comes, then says how many there were in a trailer.
    let echo = |request: Request<hyper::body::Incoming>| async move {
        let (feed, body) = channel_body();
        tokio::spawn(async move {
            let mut body = request.into_body();
            let mut trailers = HeaderMap::new();
            while let Some(frame) = body.frame().await {
                match frame.unwrap().into_data() {
                    Ok(data) => feed.send(Frame::data(data)).await.unwrap(),
                    Err(frame) => trailers = frame.into_trailers().unwrap(),
                }
            }
            trailers.insert("x-end", "reached".parse().unwrap());
            feed.send(Frame::trailers(trailers)).await.unwrap();
        });
        let mut answer = Response::new(body.map_err(Into::into).boxed_unsync());
        answer.headers_mut().insert("trailer", "x-end, x-sum".parse().unwrap());
        answer
    };
    for (pool, origin, version) in three_ways(echo).await {
        let (feed, body) = by_hand();
        let mut request = Request::post("/").body(body).unwrap();
        request.headers_mut().insert("te", "trailers".parse().unwrap());
        request.headers_mut().insert("trailer", "x-sum".parse().unwrap());
        let answer = pool.send(&ticket(&origin), None, &origin, request).await.unwrap();
        let mut body = answer.into_body();
        // The next piece is sent only after the last one is back: nothing waits for the whole.
        for piece in ["one", "two", "three"] {
            feed.send(Frame::data(piece.into())).await.unwrap();
            let back = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(back, piece, "{version:?}");
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "3".parse().unwrap());
        feed.send(Frame::trailers(trailers)).await.unwrap();
        drop(feed);
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["x-end"], "reached", "{version:?}");
        assert_eq!(trailers["x-sum"], "3", "{version:?}");
        let kept = pool.stats().idle;
        assert_eq!(kept, u64::from(version == Version::HTTP_11), "{version:?}: they end the answer");
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test]
async fn a_wish_for_trailers_is_said_as_each_protocol_has_it() {
    let tell = |request: Request<hyper::body::Incoming>| async move {
        let told: Vec<String> = ["te", "connection"]
            .iter()
            .flat_map(|name| request.headers().get_all(*name))
            .map(|value| value.to_str().unwrap().to_owned())
            .collect();
        Response::new(full(told.join(" ")))
    };
    for (pool, origin, version) in three_ways(tell).await {
        for (te, told) in [(Some("trailers"), "trailers TE"), (None, "")] {
            let mut request = get("/");
            if let Some(te) = te {
                request.headers_mut().insert("te", te.parse().unwrap());
            }
            let answer = pool.send(&ticket(&origin), None, &origin, request).await.unwrap();
            let told = if version == Version::HTTP_2 { told.trim_end_matches(" TE") } else { told };
            assert_eq!(text(answer.into_body()).await, told, "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_reader_that_stops_holds_the_sender_back() {
    let sent = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = sent.clone();
    let endless = move |_| {
        let counter = counter.clone();
        async move {
            let (feed, body) = channel_body();
            tokio::spawn(async move {
                let piece = Bytes::from(vec![7; 64 * 1024]);
                while feed.send(Frame::data(piece.clone())).await.is_ok() {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            });
            Response::new(body.map_err(Into::into).boxed_unsync())
        }
    };
    for (pool, origin, version) in three_ways(endless).await {
        let mut body = pool.send(&ticket(&origin), None, &origin, get("/")).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        // Until the sender makes no more headway, however often everybody has had their turn.
        let (mut before, mut same) = (0, 0);
        while same < 200 {
            tokio::task::yield_now().await;
            let now = sent.load(Ordering::SeqCst);
            same = if now == before { same + 1 } else { 0 };
            before = now;
        }
        assert!(before * 64 * 1024 < 64 << 20, "{version:?}: {before} pieces");
        drop(body);
    }
}

#[tokio::test]
async fn answers_without_a_body_end_at_once() {
    let answer = |request: Request<hyper::body::Incoming>| async move {
        let mut answer = Response::new(full(""));
        match request.uri().path() {
            "/204" => *answer.status_mut() = StatusCode::NO_CONTENT,
            "/304" => *answer.status_mut() = StatusCode::NOT_MODIFIED,
            "/302" => {
                *answer.status_mut() = StatusCode::FOUND;
                answer.headers_mut().insert("location", "/elsewhere".parse().unwrap());
            }
            // hyper's server leaves the body of an answer to HEAD away on HTTP/1.1 only.
            _ => {
                answer.headers_mut().insert("content-length", "12".parse().unwrap());
            }
        }
        answer
    };
    for (pool, origin, _) in three_ways(answer).await {
        for (method, path, status, length) in [
            (Method::HEAD, "/", 200, Some("12")),
            (Method::GET, "/204", 204, None),
            (Method::GET, "/304", 304, None),
            (Method::GET, "/302", 302, None),
        ] {
            let request = Request::builder().method(method).uri(path).body(RequestBody::empty()).unwrap();
            let answer = pool.send(&ticket(&origin), None, &origin, request).await.unwrap();
            assert_eq!(answer.status(), status);
            if let Some(length) = length {
                assert_eq!(answer.headers()["content-length"], length);
            }
            assert_eq!(text(answer.into_body()).await, "");
        }
        assert_eq!(pool.stats().opened, 1, "each left the connection usable");
    }
}

/// Head and as much body as its Content-Length says.
async fn whole_request(stream: &mut tokio::net::TcpStream) -> Option<String> {
    let (mut request, mut buffer) = (String::new(), vec![0; 4096]);
    loop {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        request.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return Some(request);
        }
    }
}

/// What a client writes, as bytes: a server that answers each request with a fixed text.
async fn raw_server(answer: &'static str) -> (std::net::SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = listen("127.0.0.1:0").await;
    let at = listener.local_addr().unwrap();
    let (heard, hears) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move {
                while let Some(request) = whole_request(&mut stream).await {
                    heard.send(request).unwrap();
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (at, hears)
}

#[tokio::test]
async fn framing_comes_from_the_body_not_from_the_headers() {
    let (at, mut hears) = raw_server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let pool = pool(on_loopback());
    let origin = http_at(at);
    let mut ask = async |method: Method, body: RequestBody| {
        // In origin form on the wire, whatever form it comes in (RFC 9112 section 3.2.1).
        let mut request = Request::builder().method(method).uri("http://evil.example/p").body(body).unwrap();
        for (name, value) in [
            ("transfer-encoding", "chunked"),
            ("content-length", "77"),
            ("connection", "x-a"),
            ("upgrade", "h2c"),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        pool.send(&ticket(&origin), None, &origin, request).await.unwrap();
        hears.recv().await.unwrap()
    };
    let host = origin.authority();
    assert_eq!(
        ask(Method::GET, RequestBody::empty()).await,
        format!("GET /p HTTP/1.1\r\nhost: {host}\r\n\r\n")
    );
    let post = ask(Method::POST, RequestBody::empty()).await;
    assert!(
        post.contains("content-length: 0\r\n")
            && !post.contains("chunked")
            && !post.contains("content-length: 77"),
        "{post}"
    );
    let post = ask(Method::POST, RequestBody::full("abc")).await;
    assert!(post.contains("content-length: 3\r\n") && post.ends_with("\r\n\r\nabc"), "{post}");
    assert!(!post.contains("chunked") && !post.contains("upgrade") && !post.contains("x-a"), "{post}");
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let (at, _hears) = raw_server(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let pool = pool(on_loopback());
    let origin = http_at(at);
    let answer = pool.send(&ticket(&origin), None, &origin, get("/")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(text(answer.into_body()).await, "ok");
}

#[tokio::test]
async fn what_is_not_http_is_an_error_that_says_it_may_have_worked() {
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    ] {
        let (at, _hears) = raw_server(answer).await;
        let pool = pool(on_loopback());
        let origin = http_at(at);
        let error = pool.send(&ticket(&origin), None, &origin, get("/")).await.map(|_| ()).unwrap_err();
        assert!(error.maybe_processed(), "{answer}: {error:?}");
        assert_eq!(latchstring_model::Problem::from(error).code.as_str(), "upstream_unreachable");
    }
}

#[tokio::test]
async fn a_connect_request_is_not_sent() {
    let server = hello().await;
    let pool = pool(on_loopback());
    let origin = server.origin();
    let connect = Request::connect("example.com:443").body(RequestBody::empty()).unwrap();
    let error = pool.send(&ticket(&origin), None, &origin, connect).await.map(|_| ()).unwrap_err();
    assert!(!error.maybe_processed(), "{error:?}");
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn fetch_reads_whole_answers_up_to_a_limit() {
    let echo = |request: Request<hyper::body::Incoming>| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut answer = Response::new(full(body));
        *answer.status_mut() = StatusCode::CREATED;
        answer
    };
    for (pool, origin, _) in three_ways(echo).await {
        for (limit, back, cut) in
            [(3, "abc", true), (6, "abcdef", false), (100, "abcdef", false), (0, "", true)]
        {
            let request = Request::post("/token").body(Bytes::from("abcdef")).unwrap();
            let minute = std::time::Duration::from_secs(60);
            let answer = pool.fetch(&ticket(&origin), None, &origin, request, limit, minute).await.unwrap();
            assert_eq!(
                (answer.status.as_u16(), &answer.body[..], answer.truncated),
                (201, back.as_bytes(), cut)
            );
        }
    }
}

#[tokio::test]
async fn a_raw_stream_is_checked_too_and_can_go_over_to_tls() {
    let authority = Authority::new();
    let listener = listen("127.0.0.1:0").await;
    let at = listener.local_addr().unwrap();
    let config = authority.server(&[]);
    let secured = Arc::new(AtomicBool::new(false));
    let seen = secured.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // As PostgreSQL has it: a question in clear, one letter back, then TLS.
        let mut question = [0; 8];
        stream.read_exact(&mut question).await.unwrap();
        stream.write_all(b"S").await.unwrap();
        let mut stream = tokio_rustls::TlsAcceptor::from(config).accept(stream).await.unwrap();
        seen.store(true, Ordering::SeqCst);
        stream.write_all(b"welcome").await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let mut settings = on_loopback();
    settings.extra_ca_pem = Some(authority.pem.into_bytes());
    let pool = pool(settings);
    let origin = origin(&format!("https://localhost:{}", at.port()));
    let ticket = ticket(&origin);
    let egress = pool.egress();
    let mut stream = egress.connect(&ticket, None, &origin, Wire::StartTls).await.unwrap();
    assert!(!stream.is_tls());
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'S');
    let mut stream = egress.start_tls(stream, None, &origin).await.unwrap();
    assert!(stream.is_tls());
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "welcome");
    assert!(secured.load(Ordering::SeqCst));
}
